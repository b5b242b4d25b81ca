"""The documents are complete: what they name exists, and what exists is named."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from imgapi.settings import Settings, environment_name

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def test_readme_lists_every_setting_with_its_default() -> None:
    """The README's table is the one that the code writes."""
    done = subprocess.run([sys.executable, ROOT / "scripts" / "settings_table.py", "--check"], check=False)
    assert done.returncode == 0, "run: python scripts/settings_table.py"


def test_every_variable_in_the_documents_is_a_setting() -> None:
    """No document names a variable that nothing reads."""
    known = {environment_name(name) for name in Settings.model_fields} | {
        "IMGAPI_TEST_REQUIRE",
        "IMGAPI_TEST_PROCESSES",
    }
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "compose.yaml", ROOT / "Dockerfile"]
    for file in files:
        named = set(re.findall(r"\b(?:IMGAPI|DASHSCOPE)_[A-Z_]+[A-Z]\b", file.read_text(encoding="utf-8")))
        foreign = {name for name in named if name.startswith("DASHSCOPE_")} - known
        assert named - known - foreign == set(), file.name


@pytest.mark.parametrize("file", [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], ids=lambda file: file.name)
def test_links_between_documents_lead_somewhere(file: Path) -> None:
    """Each relative link names a file that is there."""
    for target in LINK.findall(file.read_text(encoding="utf-8")):
        assert (file.parent / target).exists(), target


def test_docstrings_point_at_headings_that_exist() -> None:
    """Each `docs/upstream.md#…` in the code is a heading of that page."""
    page = (ROOT / "docs" / "upstream.md").read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    }
    for source in (ROOT / "src").rglob("*.py"):
        for anchor in re.findall(r"docs/upstream\.md#([\w-]+)", source.read_text(encoding="utf-8")):
            assert anchor in anchors, (source.name, anchor)


def test_architecture_names_files_that_exist() -> None:
    """Each module that the architecture page names is there."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for name in re.findall(r"\*\*`([a-z_/]+\.py)", page):
        assert (ROOT / "src" / "imgapi" / name).exists(), name


def test_module_runs_as_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m imgapi` is the command line."""
    monkeypatch.setattr(sys, "argv", ["imgapi", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("imgapi", run_name="__main__")
    assert ended.value.code == 0
    assert "serve" in capsys.readouterr().out


def test_every_fault_of_the_upstream_names_its_tests() -> None:
    """The table of faults has every row, and each test that it names is there."""
    table = (ROOT / "docs" / "emulator.md").read_text(encoding="utf-8").partition("## Faults and their tests")[2]
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|$", table, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 39))
    for number, tests in rows:
        named = re.findall(r"`(\S+?)::(\w+)`", tests)
        assert named or "so no test" in tests, number
        for file, name in named:
            code = (ROOT / "tests" / file).read_text(encoding="utf-8")
            assert re.search(rf"^(?:async )?def {name}\(", code, re.MULTILINE), f"{file}::{name}"
