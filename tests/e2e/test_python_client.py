"""The Python client: fresh as committed, typed (mypy checks this file), installed, and run against the service."""

import io
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from PIL import Image

import typed_clients
from conftest import Service
from imgapi_client import Client
from imgapi_client.api.edits import change_background, fix_picture, remove_background, remove_watermark
from imgapi_client.api.service import get_file, upload_file
from imgapi_client.api.tasks import delete_task, follow_task, get_task, list_tasks
from imgapi_client.api.utils import resize_photo
from imgapi_client.models import (
    Box,
    ChangeBgRequest,
    ErrorReply,
    FileReply,
    FixRequest,
    PicturesReply,
    RemoveBgReply,
    RemoveBgRequest,
    RemoveWatermarkRequest,
    ResizePhotoBody,
    ResizeReply,
    TaskListReply,
    TaskReply,
    UploadFileBody,
)
from imgapi_client.types import UNSET, File
from pictures import draw_photo, encode
from readme_examples import example

PHOTO = encode(draw_photo(640, 480), "jpeg")
WAIT_SECONDS = 30.0


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    """The generated client of the service."""
    with Client(base_url=service.address) as opened:
        yield opened


@pytest.fixture(scope="module")
def url(client: Client) -> str:
    """The URL of an uploaded photo."""
    answer = upload_file.sync(client=client, body=UploadFileBody(file=File(io.BytesIO(PHOTO))))
    assert isinstance(answer, FileReply)
    kept = get_file.sync(answer.name, client=client)
    assert isinstance(kept, File)
    assert kept.payload.read() == PHOTO
    return answer.url


def test_committed_client_is_current(tmp_path: Path) -> None:
    """`imgapi_client` is what the generator makes of openapi.json, and each file says that it is generated."""
    typed_clients.python_client(tmp_path)
    assert list(typed_clients.differences(tmp_path, typed_clients.PYTHON_PACKAGE)) == [], "run: sh scripts/clients"
    for path in (tmp_path / typed_clients.PYTHON_PACKAGE).rglob("*.py"):
        assert path.read_text(encoding="utf-8").startswith(f"# {typed_clients.GENERATED}\n"), path


def test_a_client_that_differs_is_noticed(tmp_path: Path) -> None:
    """A changed, a missing and a surplus file are each named."""
    committed = typed_clients.CLIENTS / typed_clients.PYTHON_PACKAGE
    fresh = tmp_path / typed_clients.PYTHON_PACKAGE
    fresh.mkdir(parents=True)
    for path in committed.glob("*.py"):
        (fresh / path.name).write_bytes(path.read_bytes())
    (fresh / "types.py").write_text("changed")
    (fresh / "surplus.py").touch()
    (fresh / "errors.py").unlink()
    named = {Path(each).name for each in typed_clients.differences(tmp_path, typed_clients.PYTHON_PACKAGE)}
    assert {"types.py", "surplus.py", "errors.py"} <= named
    assert "client.py" not in named


def test_clients_have_the_version_of_the_document() -> None:
    """Document, pyproject.toml and package.json name one version."""
    document = json.loads(typed_clients.DOCUMENT.read_text(encoding="utf-8"))["info"]["version"]
    project = tomllib.loads((typed_clients.CLIENTS / "python" / "pyproject.toml").read_text(encoding="utf-8"))
    package = json.loads((typed_clients.TYPESCRIPT / "package.json").read_text(encoding="utf-8"))
    assert {project["project"]["version"], package["version"]} == {document}


def test_upload_leaves_defaults_to_the_service(client: Client) -> None:
    """A form with a file arrives; what is left out is not sent: `max_dim` below the default `min_dim` is no mistake."""
    answer = resize_photo.sync(client=client, body=ResizePhotoBody(image=File(io.BytesIO(PHOTO)), max_dim=64))
    assert isinstance(answer, ResizeReply)
    assert (answer.original_size, answer.resized_size) == ("640x480px", "64x48px")


async def test_json_edit_is_answered_with_its_types(service: Service, url: str) -> None:
    """An edit that is waited for has its documented reply; what it doesn't have is UNSET."""
    async with Client(base_url=service.address) as client:
        answer = await fix_picture.asyncio(client=client, body=FixRequest(base_image_url=url, upscale_factor=1))
    assert isinstance(answer, PicturesReply)
    assert (answer.task_status, answer.task_metrics.succeeded, answer.billed) == ("SUCCEEDED", 1, False)
    assert answer.results[0].url.startswith("http")
    assert answer.upstream_task_id is not UNSET
    assert answer.warnings is UNSET


def test_task_is_polled_followed_and_forgotten(client: Client, url: str) -> None:
    """202 is a task; it is looked at until its end, its events are read, it is listed and forgotten."""
    body = RemoveWatermarkRequest(image_url=url, boxes=[Box(x=4, y=4, width=40, height=20), [60, 10, 30, 20]])
    begun = remove_watermark.sync_detailed(client=client, body=body, prefer="respond-async", idempotency_key="python-1")
    task = begun.parsed
    assert (begun.status_code, type(task)) == (HTTPStatus.ACCEPTED, TaskReply)
    until = time.monotonic() + WAIT_SECONDS
    while isinstance(task, TaskReply) and task.status in {"queued", "running"} and time.monotonic() < until:
        time.sleep(0.1)
        task = get_task.sync(task.task_id, client=client)
    assert isinstance(task, TaskReply)
    assert (task.status, task.operation, task.usage.images) == ("succeeded", "remove_watermark", 1)
    assert isinstance(task.results, list)
    told = follow_task.sync(task.task_id, client=client)
    assert isinstance(told, str)
    assert "event: succeeded" in told
    listed = list_tasks.sync(client=client, operation="remove_watermark", status="succeeded", limit=100)
    assert isinstance(listed, TaskListReply)
    assert task.task_id in [each.task_id for each in listed.tasks]
    assert delete_task.sync_detailed(task.task_id, client=client).status_code == HTTPStatus.NO_CONTENT
    gone = get_task.sync(task.task_id, client=client)
    assert isinstance(gone, ErrorReply)


def test_accept_decides_between_picture_and_json(service: Service, client: Client, url: str) -> None:
    """One function answers the picture itself where `Accept` asks for it, and the documented reply otherwise."""
    body = RemoveBgRequest(image_url=url)
    with Client(base_url=service.address, headers={"Accept": "image/webp"}) as pictures:
        picture = remove_background.sync(client=pictures, body=body)
    assert isinstance(picture, File)
    assert picture.mime_type == "image/webp"
    with Image.open(picture.payload) as opened:
        assert (opened.format, opened.size) == ("WEBP", (640, 480))
    assert isinstance(remove_background.sync(client=client, body=body), RemoveBgReply)


def test_error_is_an_answer_with_its_fields(client: Client, url: str) -> None:
    """A refusal is an ErrorReply that says which field, and no exception."""
    answer = change_background.sync(client=client, body=ChangeBgRequest(base_image_url=url, ref_image_url="x", n=7))
    assert isinstance(answer, ErrorReply)
    assert (answer.code, answer.field) == ("invalid_parameter", "n")
    assert answer.task_id is UNSET


def test_readme_example_works_as_it_stands(service: Service, tmp_path: Path) -> None:
    """The README's example runs with the package as it is built and installed, and makes its picture."""
    tools = typed_clients.python_tools()
    build = [str(tools / "python"), "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=typed_clients.CLIENTS / "python", check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(wheel)], check=True, capture_output=True)
    assert (tmp_path / "site" / "imgapi_client" / "py.typed").exists()
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    code = example(typed_clients.CLIENTS / "python" / "README.md", "python", service.address)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    run = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"status='succeeded'", done.stdout)
    assert (tmp_path / "cut-out.png").read_bytes().startswith(b"\x89PNG")
