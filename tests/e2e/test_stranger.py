"""What a stranger sees: a real server process without a key, the README's commands, real photos, pictures opened."""

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from pictures import encode, photo

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL_BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
FUNCTIONS = next(block for block in SHELL_BLOCKS if block.startswith("data()"))
COMMANDS = [block for block in SHELL_BLOCKS if block.startswith(("post /", "curl "))]
STARTUP_SECONDS = 60.0


def path_of(command: str) -> str:
    """The endpoint that a command calls."""
    found = re.search(r"(?:post |:5000)(/[a-z_/]+)", command)
    assert found
    return found[1]


class Process:
    """A server process of our own, and how to reach it."""

    def __init__(self, folder: Path, **variables: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("IMGAPI_", "DASHSCOPE_"))}
        environment = clean | {"IMGAPI_DATA_DIR": str(folder / "data"), "IMGAPI_SHUTDOWN_SECONDS": "1"} | variables
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "imgapi", "serve", "--port", str(self.port)], env=environment, stderr=log
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if httpx.get(f"{self.address}/readyz", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        pytest.fail(f"the server was not ready in time: {self.log.read_text()}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The service as `sh scripts/serve` starts it, without a key."""
    started = Process(tmp_path_factory.mktemp("server"))
    try:
        started.wait_until_ready()
        yield started
    finally:
        if started.process.poll() is None:
            started.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stranger's photo, and the samples where the clone has them."""
    here = tmp_path_factory.mktemp("stranger")
    (here / "photo.jpg").write_bytes(encode(photo("astronaut").convert("RGB"), "JPEG", quality=90))
    (here / "docs").symlink_to(ROOT / "docs")
    return here


def run(command: str, folder: Path, server: Process) -> dict[str, Any]:
    """Paste a command into a shell; return the JSON it prints."""
    script = (FUNCTIONS + command).replace("127.0.0.1:5000", f"127.0.0.1:{server.port}")
    done = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, timeout=90, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert "error" not in answer, answer
    return answer


def open_picture(content: bytes) -> Image.Image:
    """Decode a picture whole."""
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def download(url: str) -> Image.Image:
    """Open the picture behind a result link."""
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 200
    return open_picture(answer.content)


def rgb(picture: Image.Image) -> np.ndarray[Any, Any]:
    """A picture as H×W×3 float64."""
    return np.asarray(picture.convert("RGB"), dtype=np.float64)


def test_readme_has_one_command_for_each_endpoint() -> None:
    """The README shows each of the nine endpoints once."""
    golden = json.loads((ROOT / "tests" / "golden" / "contract.json").read_text(encoding="utf-8"))
    assert sorted(path_of(command) for command in COMMANDS) == sorted(golden["requests"])


def command_for(path: str) -> str:
    """The README's command for an endpoint."""
    found: str = next(command for command in COMMANDS if path_of(command) == path)
    return found


def test_cut_out_keeps_the_subject_and_clears_the_background(server: Process, folder: Path) -> None:
    """The README's /remove_bg answers an RGBA PNG of the photo's size: face opaque, corners clear."""
    answer = run(command_for("/remove_bg"), folder, server)
    picture = download(answer["results"][0]["url"])
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGBA", (512, 512))
    alpha = np.asarray(picture.getchannel("A"))
    assert alpha[80:180, 190:260].mean() > 250
    assert alpha[:40, :40].mean() < 20
    assert alpha[:150, 400:440].mean() < 60
    face = np.abs(rgb(picture) - rgb(Image.open(folder / "photo.jpg")))[80:180, 190:260]
    assert face.mean() < 3


def test_background_is_changed_and_the_subject_is_not(server: Process, folder: Path) -> None:
    """The README's /change_bg keeps size and face, and the corners are other ones."""
    reply = run(command_for("/change_bg"), folder, server)
    picture, original = download(reply["results"][0]["url"]), Image.open(folder / "photo.jpg")
    assert picture.size == original.size
    changed = np.abs(rgb(picture) - rgb(original))
    assert changed[100:170, 200:250].mean() < 25
    assert changed[:60, :60].mean() > 25


def test_expand_is_larger_on_the_sides_asked_for(server: Process, folder: Path) -> None:
    """The README's /expand adds a quarter left and right; the original stands in the middle, pixel for pixel."""
    reply = run(command_for("/expand"), folder, server)
    picture = download(reply["results"]["url"])
    assert picture.size == (768, 512)
    middle = rgb(picture)[:, 128:640]
    assert np.abs(middle - rgb(Image.open(folder / "photo.jpg"))).max() <= 1
    assert rgb(picture)[:, :100].std() > 5


def test_fix_is_twice_as_large_and_the_same_picture(server: Process, folder: Path) -> None:
    """The README's /fix doubles both sides and changes nothing else."""
    picture = download(run(command_for("/fix"), folder, server)["results"][0]["url"])
    original = Image.open(folder / "photo.jpg")
    assert picture.size == (1024, 1024)
    small = rgb(picture.resize(original.size, Image.Resampling.BOX))
    assert np.abs(small - rgb(original)).mean() < 4


def test_try_on_changes_the_clothes_and_keeps_the_face(server: Process, folder: Path) -> None:
    """The README's /change_cloth answers a JPEG whose jersey became the striped shirt and whose head stayed."""
    picture = download(run(command_for("/change_cloth"), folder, server)["image_url"])
    person = Image.open(folder / "docs" / "samples" / "person.jpg")
    assert (picture.format, picture.size) == ("JPEG", person.size)
    changed = np.abs(rgb(picture) - rgb(person))
    assert changed[50:85, 135:165].mean() < 12
    assert changed[120:200, 132:168].mean() > 40
    assert changed[250:350, 130:145].mean() > 20


def test_watermark_is_gone_and_the_rest_is_not(server: Process, folder: Path) -> None:
    """The README's /remove_watermark paints over the mark and leaves the other pixels."""
    reply = run(command_for("/remove_watermark"), folder, server)
    picture, marked = download(reply["results"][0]["url"]), Image.open(folder / "docs" / "samples" / "marked.jpg")
    assert picture.size == marked.size
    changed = np.abs(rgb(picture) - rgb(marked)).max(axis=2)
    assert changed[580:630, 640:950].max() > 60
    assert np.median(changed[:400]) <= 1


@pytest.mark.parametrize("path", ["/utils/photo_resize", "/utils/photo_resize_url"])
def test_resize_brings_the_picture_into_range(server: Process, folder: Path, path: str) -> None:
    """A 512x512 photo is already in range for the README's limits and keeps its size."""
    reply = run(command_for(path), folder, server)
    assert (reply["original_size"], reply["resized_size"]) == ("512x512px", "512x512px")
    picture = open_picture(base64.b64decode(reply["image_data"]))
    assert (picture.format, picture.size) == ("JPEG", (512, 512))


def test_convert_writes_a_png(server: Process, folder: Path) -> None:
    """The README's /utils/convert_to_png answers a PNG with the photo's pixels."""
    reply = run(command_for("/utils/convert_to_png"), folder, server)
    picture = open_picture(base64.b64decode(reply["image_data"]))
    assert picture.format == "PNG"
    assert np.abs(rgb(picture) - rgb(Image.open(folder / "photo.jpg"))).max() == 0


def test_results_can_be_inputs(server: Process, folder: Path) -> None:
    """A link that this service answered is taken as a picture, without private sources being allowed."""
    url = run(command_for("/remove_bg"), folder, server)["results"][0]["url"]
    answer = httpx.post(f"{server.address}/fix", json={"base_image_url": url}, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    chained = answer.json()["results"][0]["url"]
    resized = httpx.post(
        f"{server.address}/utils/photo_resize_url", json={"image_url": chained}, timeout=60, trust_env=False
    )
    assert resized.json()["original_size"] == "1024x1024px"


def test_logs_are_one_json_line_a_request_without_pictures_or_signatures(server: Process, folder: Path) -> None:
    """Each request is one JSON line with its id, route, status and duration; no link's query is in any line."""
    run(command_for("/fix"), folder, server)
    lines = [line for line in server.log.read_text().splitlines() if line.startswith("{")]
    requests = [line for line in map(json.loads, lines) if line["event"] == "request"]
    last = next(line for line in reversed(requests) if line["route"] == "/fix")
    assert last["status"] == 200
    assert last["duration_ms"] > 0
    assert {"request_id", "task_id", "method", "timestamp", "level"} <= set(last)
    assert "Signature=" not in server.log.read_text()
    assert "base64" not in server.log.read_text()


def test_start_says_where_everything_is(server: Process) -> None:
    """The first lines name the upstream, the docs and the address."""
    head = server.log.read_text()[:400]
    assert "local preview emulator" in head
    assert f"{server.address}/docs" in head


def test_decoders_are_only_in_the_workers(tmp_path: Path) -> None:
    """The process that holds the key maps no library that decodes pictures, even after it has served some."""
    server = Process(tmp_path)
    try:
        server.wait_until_ready()
        for path in ("/utils/photo_resize", "/utils/convert_to_png"):
            upload = {"image": ("a.png", encode(photo("astronaut"), "PNG"))}
            assert httpx.post(server.address + path, files=upload, trust_env=False).status_code == 200
        maps = Path(f"/proc/{server.process.pid}/maps")
        if not maps.is_file():
            pytest.skip("this system does not tell what a process maps (/proc)")
        mapped = maps.read_text(encoding="utf-8")
        assert not [name for name in ("/PIL/", "/numpy/", "/cv2/", "resvg", "cairo") if name in mapped]
        assert "/pydantic_core/" in mapped
    finally:
        server.stop()


def test_stop_is_quick_and_clean(tmp_path: Path) -> None:
    """SIGTERM ends the process with no traceback and nothing left running."""
    started = Process(tmp_path)
    started.wait_until_ready()
    assert started.stop() in {0, -signal.SIGTERM}
    assert "Traceback" not in started.log.read_text()


def test_stop_answers_whoever_waits(tmp_path: Path, folder: Path) -> None:
    """A stop in mid-edit tells every held caller its task in the documented shape, and is in time."""
    started = Process(tmp_path, IMGAPI_PREVIEW_PACE="realistic", IMGAPI_SHUTDOWN_SECONDS="0")
    started.wait_until_ready()
    body = {
        "base_image_url": f"data:image/jpeg;base64,{base64.b64encode((folder / 'photo.jpg').read_bytes()).decode()}"
    }
    with ThreadPoolExecutor(4) as callers:
        post = partial(httpx.post, f"{started.address}/fix", json=body, timeout=60, trust_env=False)
        waiting = [callers.submit(post) for _ in range(4)]
        deadline = time.monotonic() + STARTUP_SECONDS
        while started.log.read_text().count("submit accepted") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        stopped = time.monotonic()
        started.stop()
        assert time.monotonic() - stopped < 10
        answers = [call.result() for call in waiting]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(500, "still_running")] * 4
    assert all(f"/tasks/{answer.json()['task_id']}" in answer.json()["error"] for answer in answers)
    lines = [json.loads(line) for line in started.log.read_text().splitlines() if line.startswith("{")]
    assert sum(line["event"] == "submit intended" for line in lines) == 2
    assert "Traceback" not in started.log.read_text()


def test_wrong_setting_stops_the_start(tmp_path: Path) -> None:
    """A wrong value ends the start at once with a sentence that names the variable and no traceback."""
    environment = {**os.environ, "IMGAPI_MAX_PIXELS": "many", "IMGAPI_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "imgapi", "serve"], env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert b"IMGAPI_MAX_PIXELS" in done.stderr
    assert b"Traceback" not in done.stderr
