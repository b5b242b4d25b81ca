"""The code that the playground offers, copied and run as it stands."""

import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from conftest import Service
from playground import Playground, playing, write_astronaut

RUNNERS = {"curl": ["sh"], "Python": [sys.executable], "TypeScript": ["node"]}
ENDINGS = {"curl": "sh", "Python": "py", "TypeScript": "mjs"}


@pytest.fixture(scope="module")
def page(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    """A browser at the service."""
    with playing(service.address, tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real photo as a file."""
    return write_astronaut(tmp_path_factory.mktemp("photos"))


@pytest.mark.parametrize("language", RUNNERS)
@pytest.mark.parametrize("operation", ["fix", "photo_resize", "remove_watermark"])
def test_the_code_works_as_pasted(
    page: Playground, astronaut: Path, tmp_path: Path, language: str, operation: str
) -> None:
    """What Copy copies does the same call: with a file of an awkward name, with words that quote, with a URL alone."""
    if shutil.which(RUNNERS[language][0]) is None or shutil.which("curl") is None:
        pytest.skip(f"needs {RUNNERS[language][0]} and curl")
    awkward = tmp_path / 'it\'s my "photo"; 1.jpg'
    awkward.write_bytes(astronaut.read_bytes())
    page.open(operation)
    if operation == "remove_watermark":
        page.find("#sample").click()
    else:
        page.pick(awkward, "image" if operation == "photo_resize" else "base_image_url")
    if operation == "fix":
        words = page.field("prompt")
        words.clear()
        words.send_keys('it\'s `sharp` & "clean", $5 \\ 100%\n清晰')
    if operation == "photo_resize":
        limit = page.field("max_dim")
        limit.clear()
        limit.send_keys("300")
    program = tmp_path / f"call.{ENDINGS[language]}"
    program.write_text(page.code(language), encoding="utf-8")
    done = subprocess.run(
        [*RUNNERS[language], program.name], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "error" not in done.stdout
    if operation == "photo_resize":
        with Image.open(tmp_path / 'it\'s my "photo"; 1-photo_resize.jpg') as picture:
            assert picture.size == (300, 300)
    else:
        url = done.stdout.split('"url":"')[-1].split('"')[0].strip()
        with Image.open(io.BytesIO(httpx.get(url, trust_env=False).content)) as picture:
            assert picture.size == {"fix": (1024, 1024), "remove_watermark": (960, 640)}[operation]


def test_the_code_is_copied(page: Playground) -> None:
    """Copy puts the whole call on the clipboard, and says so."""
    page.open("fix")
    code = page.code("Python")
    page.find("#copy").click()
    assert page.until(lambda: page.find("#copied").text) == "Copied."
    page.run_script(
        "const area = document.createElement('textarea'); area.id = 'pasted'; document.body.append(area); area.focus();"
    )
    ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("v").key_up(Keys.CONTROL).perform()
    assert page.find("#pasted").get_attribute("value") == code
