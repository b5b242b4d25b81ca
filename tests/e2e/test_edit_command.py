"""The command line as people run it: processes of their own, files in and files out, killed and run again."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from e2e.processes import KEY, Emulator
from pictures import animated_gif, draw_photo, encode

WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.05


def environment(home: Path, **variables: str) -> dict[str, str]:
    """The variables of a person who has set nothing, at home in a folder of the test."""
    ours = ("IMGAPI_", "DASHSCOPE_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return clean | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "IMGAPI_WORKERS": "1"} | variables


def begin(*arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Start a command."""
    command = [sys.executable, "-m", "imgapi", "edit", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def run(*arguments: str, given: bytes = b"", **options: Any) -> tuple[int, bytes, str]:
    """Run a command to its end; return its exit code and what it wrote."""
    with begin(*arguments, **options) as process:
        out, told = process.communicate(given, timeout=WAIT_SECONDS)
        return process.returncode, out, told.decode()


def until(is_so: Callable[[], bool], words: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, words
        time.sleep(LOOK_SECONDS)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Three photos, one of them in a folder below."""
    folder = tmp_path / "album"
    (folder / "below").mkdir(parents=True)
    for number in range(3):
        place = folder / "below" if number == 2 else folder
        (place / f"photo{number}.png").write_bytes(encode(draw_photo(560, 520, number), "png"))
    return folder


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An upstream that bills."""
    with Emulator(tmp_path_factory.mktemp("upstream")) as emulator:
        yield emulator


@pytest.fixture
def paid(upstream: Emulator, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of a person with a key at an upstream that has forgotten everything."""
    upstream.reset()
    yield environment(
        tmp_path / "home",
        DASHSCOPE_API_KEY=KEY,
        DASHSCOPE_BASE_URL=upstream.base_url,
        IMGAPI_ALLOW_PRIVATE_SOURCES="true",
    )
    upstream.set_pace()


def submits(upstream: Emulator) -> list[dict[str, Any]]:
    """The submits that the upstream has received."""
    return [call for call in upstream.requests() if call["call"] == "submit"]


def test_stranger_edits_a_folder(album: Path, tmp_path: Path) -> None:
    """Without a key or a server a folder is edited here, says by whom, keeps its shape, and leaves nothing behind."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    options: dict[str, Any] = {"env": environment(tmp_path / "home", TMPDIR=str(temporary)), "cwd": tmp_path}
    code, out, told = run("remove-bg", str(album), "-r", "-o", "out", "--json", **options)
    assert code == 0, told
    assert "in this process" in told
    lines = [json.loads(line) for line in out.splitlines()]
    assert {line["status"] for line in lines} == {"done"}
    assert {line["engine"] for line in lines} == {"local-preview"}
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))
    assert made == ["below/photo2-remove-bg.png", *(f"photo{number}-remove-bg.png" for number in range(2))]
    with Image.open(tmp_path / "out" / "photo0-remove-bg.png") as picture:
        assert (picture.mode, picture.size) == ("RGBA", (560, 520))
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "home").exists()


def test_picture_goes_from_pipe_to_pipe(tmp_path: Path) -> None:
    """A picture on standard input comes out on standard output, and nothing else does."""
    photo = encode(draw_photo(90, 60), "webp")
    code, out, told = run("convert-to-png", "-", given=photo, env=environment(tmp_path / "home"), cwd=tmp_path)
    assert (code, told) == (0, "")
    with Image.open(io.BytesIO(out)) as picture:
        assert (picture.format, picture.size) == ("PNG", (90, 60))


def test_every_frame_is_written_here(tmp_path: Path) -> None:
    """Without a server an animation is split into all its frames, in order."""
    (tmp_path / "wave.gif").write_bytes(animated_gif(3))
    code, out, told = run(
        "convert-to-png",
        "wave.gif",
        "--keep-animation",
        "-o",
        "frames/",
        env=environment(tmp_path / "home"),
        cwd=tmp_path,
    )
    assert (code, told) == (0, "")
    assert out.decode().splitlines() == [f"frames/wave-convert-to-png-{number}.png" for number in (1, 2, 3)]
    for number in range(3):
        with Image.open(tmp_path / "frames" / f"wave-convert-to-png-{number + 1}.png") as picture:
            assert picture.convert("RGB").getpixel((0, 0)) == (60 * number, 0, 0)


def test_two_runs_never_pay_for_one_folder(
    album: Path, tmp_path: Path, upstream: Emulator, paid: dict[str, str]
) -> None:
    """While a run makes pictures for a folder, another is told to come later, and nothing of it is submitted."""
    upstream.set_pace(progress="looks", looks=1000)
    options: dict[str, Any] = {"env": paid, "cwd": tmp_path}
    with begin("fix", str(album / "photo0.png"), "-o", "out/", **options) as process:
        try:
            until(lambda: len(submits(upstream)) == 1, "the first run submitted")
            code, out, told = run("fix", str(album / "photo1.png"), "-o", "out/", **options)
        finally:
            process.kill()
            process.communicate()
    assert (code, out) == (75, b"")
    assert "Another imgapi edit makes pictures for" in told
    assert len(submits(upstream)) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_stopped_run_goes_on_and_nothing_is_paid_twice(
    album: Path, tmp_path: Path, upstream: Emulator, paid: dict[str, str], number: signal.Signals
) -> None:
    """A run that was stopped in the middle is gone on with by the same command: each picture is paid for once."""
    upstream.set_pace(progress="looks", looks=2)
    options: dict[str, Any] = {"env": paid, "cwd": tmp_path}
    arguments = ("fix", str(album), "-r", "-o", "out", "--json")
    with begin(*arguments, **options) as process:
        try:
            until(lambda: len(submits(upstream)) >= 2, "two edits were submitted")
            until(lambda: all(call["ended"] is not None for call in submits(upstream)), "they were answered")
            time.sleep(0.3)
            process.send_signal(number)
            _, told = process.communicate(timeout=WAIT_SECONDS)
        finally:
            process.kill()
    if number != signal.SIGKILL:
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number], told.decode()
        assert "0 of 3 are done" in told.decode()
        assert "Traceback" not in told.decode()
    upstream.set_pace()
    code, out, text = run(*arguments, **options)
    assert code == 0, text
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3
    assert {json.loads(line)["billed"] for line in out.splitlines()} == {True}
    assert upstream.ledger()["tasks_created"] == 3
    code, out, text = run(*arguments, **options)
    assert code == 0, text
    assert {json.loads(line)["status"] for line in out.splitlines()} == {"skipped"}
    assert upstream.ledger()["tasks_created"] == 3
