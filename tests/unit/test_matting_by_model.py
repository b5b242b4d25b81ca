"""Matting with a model in the service: had at the first use, one process, and told in every reply."""

import asyncio
import base64
import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

import tiny_models
from conftest import run_service
from drawings import decode, encode, mug
from fakes import VirtualClock
from imgapi.cli import cli
from imgapi.errors import CapabilityMissing, Overloaded, UnreadableImage
from imgapi.matting.by_model import ByModel
from imgapi.matting.cutout import Cutout
from imgapi.matting.model_files import ModelFiles
from imgapi.matting.models import MODELS, ModelChoice, choose
from tiny_models import write_model

CONTENT = base64.b64decode(tiny_models.U2NET)
KNOWN = replace(MODELS["u2netp"], sha256=hashlib.sha256(CONTENT).hexdigest(), size_bytes=len(CONTENT))


class StandInProcesses:
    """Answers in place of a pool, or fails by a script."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.error: Exception | None = None
        self.is_closed = False

    async def run(self, _function: Callable[..., Any], *args: Any) -> Any:
        """Note the network's file."""
        self.paths.append(args[1].path)
        if self.error is not None:
            raise self.error
        return Cutout(b"png", 0.9, ())

    async def close(self) -> None:
        """Note that."""
        self.is_closed = True


class Scene:
    """A model that was chosen by name, and a server that can be held up or be gone."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self.processes = StandInProcesses()
        self.requests = 0
        self.is_gone = False
        self.gate = asyncio.Event()
        self.gate.set()
        files = ModelFiles(folder, client=self._client)
        choice = ModelChoice("u2netp", KNOWN.signature, known=KNOWN)
        self.by_model = ByModel(choice, files, self.processes, threads=1, clock=self.clock, wait_seconds=0.3)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    async def _answer(self, _request: httpx.Request) -> httpx.Response:
        self.requests += 1
        await self.gate.wait()
        return httpx.Response(404) if self.is_gone else httpx.Response(200, stream=httpx.ByteStream(CONTENT))


async def test_first_callers_share_one_download(tmp_path: Path) -> None:
    """Callers at the same time wait for one download, and later ones for none."""
    scene = Scene(tmp_path)
    assert scene.requests == 0
    cutouts = await asyncio.gather(*(scene.by_model.cut_out(b"picture") for _ in range(3)))
    assert [each.content for each in cutouts] == [b"png"] * 3
    await scene.by_model.cut_out(b"picture")
    assert scene.requests == 1
    assert scene.processes.paths == [tmp_path / "u2netp.onnx"] * 4
    await scene.by_model.close()
    assert scene.processes.is_closed


async def test_callers_are_not_held_by_a_long_download(tmp_path: Path) -> None:
    """Who waited long enough is told to come again; the download goes on and serves those who do."""
    scene = Scene(tmp_path)
    scene.gate.clear()
    with pytest.raises(Overloaded, match="being downloaded") as caught:
        await scene.by_model.cut_out(b"picture")
    assert caught.value.retry_after >= 10
    scene.gate.set()
    assert (await scene.by_model.cut_out(b"picture")).content == b"png"
    assert scene.requests == 1
    await scene.by_model.close()


async def test_close_ends_a_download(tmp_path: Path) -> None:
    """A stop does not wait for a download."""
    scene = Scene(tmp_path)
    scene.gate.clear()
    with pytest.raises(Overloaded):
        await scene.by_model.cut_out(b"picture")
    await asyncio.wait_for(scene.by_model.close(), timeout=5)
    assert scene.processes.is_closed


async def test_failed_download_is_not_repeated_at_once(tmp_path: Path) -> None:
    """For a minute the same failure is answered, which names nothing of this machine; then it is tried again."""
    scene = Scene(tmp_path)
    scene.is_gone = True
    for _ in range(2):
        with pytest.raises(CapabilityMissing) as caught:
            await scene.by_model.cut_out(b"picture")
        assert str(tmp_path) not in caught.value.message
        assert str(tmp_path) in str(caught.value.detail)
    assert scene.requests == 1
    scene.is_gone = False
    await scene.clock.advance(61)
    assert (await scene.by_model.cut_out(b"picture")).content == b"png"
    await scene.by_model.close()


async def test_slow_model_is_not_the_pictures_fault(tmp_path: Path) -> None:
    """When the pool ends a process for its time, the caller is not told to send another picture."""
    scene = Scene(tmp_path)
    scene.processes.error = UnreadableImage("the picture took longer than 120 s to process")
    with pytest.raises(UnreadableImage):
        await scene.by_model.cut_out(b"picture")
    scene.processes.error.__cause__ = TimeoutError()
    with pytest.raises(CapabilityMissing, match="smaller one"):
        await scene.by_model.cut_out(b"picture")
    await scene.by_model.close()


async def test_own_file_that_went_away_is_told(tmp_path: Path) -> None:
    """A file that was there at the start and is gone answers without its path."""
    choice = choose(f"onnx:{tmp_path}/gone.onnx")
    assert choice is not None
    by_model = ByModel(choice, ModelFiles(tmp_path), StandInProcesses(), threads=1, clock=VirtualClock())
    with pytest.raises(CapabilityMissing) as caught:
        await by_model.cut_out(b"picture")
    assert str(tmp_path) not in caught.value.message


def test_service_cuts_out_with_the_model_and_says_so(tmp_path: Path, data_url: Callable[..., str]) -> None:
    """With IMGAPI_MATTING set, /remove_bg and /operations name the model, and no folder of the machine."""
    tiny_models.need_onnxruntime()
    path = write_model(tmp_path / "house-model.onnx", tiny_models.U2NET)
    for service in run_service(tmp_path, matting=f"onnx:{path}"):
        image, _ = mug()
        answer = service.post("/remove_bg", {"image_url": data_url(encode(image))})
        assert answer.status_code == 200, answer.text
        reply = answer.json()
        assert reply["engine"] == "onnx:house-model"
        assert reply["confidence"] > 0.7
        cut = decode(httpx.get(reply["results"][0]["url"], trust_env=False).content)
        assert cut.info["Software"] == "imgapi onnx:house-model"
        assert (cut.mode, cut.size) == ("RGBA", image.size)
        operations = service.client.get("/operations")
        assert operations.json()["matting"] == "onnx:house-model"
        engines = {each["path"]: each["engine"] for each in operations.json()["operations"]}
        assert engines["/remove_bg"] == "onnx:house-model"
        assert str(tmp_path) not in operations.text
        nothing = service.post("/remove_bg", {"image_url": data_url(b"\x89PNG nothing")})
        assert nothing.json()["field"] == "image_url"


def test_missing_model_answers_without_blaming_a_field(tmp_path: Path, data_url: Callable[..., str]) -> None:
    """A known model that is not there and may not be downloaded is this installation's lack: 500, no field."""
    tiny_models.need_onnxruntime()
    for service in run_service(tmp_path, matting="onnx:u2netp", models_offline=True):
        answer = service.post("/remove_bg", {"image_url": data_url(encode(mug()[0]))})
        assert answer.status_code == 500
        assert answer.json()["code"] == "capability_missing"
        assert "field" not in answer.json()
        assert str(tmp_path) not in answer.text


def test_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """A path that leads nowhere is told before anything is served."""
    tiny_models.need_onnxruntime()
    result = CliRunner().invoke(cli, ["serve"], env={"IMGAPI_MATTING": f"onnx:{tmp_path}/none.onnx"})
    assert result.exit_code == 78
    assert "IMGAPI_MATTING has a wrong value" in result.output
    assert "none.onnx" in result.output


def test_doctor_describes_the_matting(tmp_path: Path) -> None:
    """`imgapi doctor` names the model, onnxruntime, and whether the file is there and right."""
    tiny_models.need_onnxruntime()
    given = {"IMGAPI_MATTING": "onnx:u2netp", "IMGAPI_DATA_DIR": str(tmp_path)}
    result = CliRunner().invoke(cli, ["doctor"], env=given)
    assert result.exit_code == 0
    for word in ("onnx:u2netp", "onnxruntime", "missing; downloaded at first use", "imgapi models fetch u2netp"):
        assert word in result.output
    result = CliRunner().invoke(cli, ["doctor"], env=given | {"IMGAPI_MODELS_OFFLINE": "true"})
    assert result.exit_code == 1
    assert KNOWN.url in result.output


def test_doctor_describes_an_own_file(tmp_path: Path) -> None:
    """A file of the operator's own is named with its path; one that is not there fails the check."""
    tiny_models.need_onnxruntime()
    path = tmp_path / "mine.onnx"
    for is_there, word in ((False, "is no file"), (True, "your own, not checked")):
        if is_there:
            write_model(path, tiny_models.U2NET)
        result = CliRunner().invoke(cli, ["doctor"], env={"IMGAPI_MATTING": f"onnx:{path}"})
        assert result.exit_code == (0 if is_there else 1)
        assert word in result.output


def test_models_are_listed_and_checked(tmp_path: Path) -> None:
    """`imgapi models` lists what can be chosen, and says by hand-work what a fetch without network would need."""
    given = {"IMGAPI_MODELS_DIR": str(tmp_path), "IMGAPI_MODELS_OFFLINE": "true"}
    (tmp_path / "silueta.onnx").write_bytes(b"damaged")
    listed = CliRunner().invoke(cli, ["models", "list"], env=given)
    assert listed.exit_code == 0
    rows = {line.split()[0]: line for line in listed.output.splitlines()[1:]}
    assert set(rows) == set(MODELS)
    assert rows["silueta"].endswith("wrong checksum")
    assert rows["u2net"].endswith("missing")
    fetched = CliRunner().invoke(cli, ["models", "fetch", "u2netp"], env=given)
    assert fetched.exit_code == 1
    assert KNOWN.url in fetched.output
    unknown = CliRunner().invoke(cli, ["models", "fetch", "bria"], env=given)
    assert unknown.exit_code == 1
    assert "there are u2netp" in unknown.output


def test_service_process_imports_no_pixel_libraries() -> None:
    """What decodes, draws and cuts out is imported by worker processes only."""
    program = (
        "import imgapi.app, imgapi.cli, sys; "
        "sys.exit(bool({'PIL', 'cairosvg', 'cv2', 'numpy', 'onnxruntime', 'resvg_py'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
