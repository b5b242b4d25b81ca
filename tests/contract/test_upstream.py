"""The upstream as our client meets it: the emulator in process, over a socket, and (`-m live`) DashScope itself.

The live run costs one picture of general image editing and needs `DASHSCOPE_API_KEY`.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr

from emulator.rig import Web, cut_out_simply, paint_simply
from emulator.sockets import run_in_thread, serving_emulator
from imgapi.clock import SystemClock
from imgapi.dashscope.client import Account, DashScope, ModelRetired
from imgapi.dashscope.uploads import upload
from imgapi.dashscope.wire import ImageEditInput, ImageEditParameters, SubmitBody, TaskStatus, read_pictures
from imgapi.emulator.app import Emulator, EmulatorConfig
from imgapi.errors import CallerError, UpstreamMisconfigured
from imgapi.parts.upstream import InProcessTransport
from imgapi.settings import Settings
from pictures import draw_photo, encode

MODEL = "wanx2.1-imageedit"
PATH = "aigc/image2image/image-synthesis"
KEYS = frozenset({"sk-right"})
LONGEST_RUN_SECONDS = 180.0


@contextlib.asynccontextmanager
async def client_of(account: Account, transport: httpx.AsyncBaseTransport) -> AsyncIterator[DashScope]:
    """A client of one upstream."""
    async with httpx.AsyncClient(transport=transport, timeout=60) as http:
        yield DashScope(http, http, account, SystemClock())


@contextlib.asynccontextmanager
async def upstream(way: str) -> AsyncIterator[DashScope]:
    """A client of the emulator in process, over a socket, or of DashScope."""
    if way == "in process":
        config = EmulatorConfig(public_url="http://upstream.test", api_keys=KEYS)
        emulator = Emulator(
            config, fetch=Web().fetch, run_pixels=run_in_thread, paint=paint_simply, cut_out=cut_out_simply
        )
        account = Account("http://upstream.test/api/v1", SecretStr("sk-right"))
        async with emulator, client_of(account, InProcessTransport(emulator.app)) as client:
            yield client
    elif way == "over a socket":
        with serving_emulator(api_keys=KEYS) as served:
            account = Account(served.base_url, SecretStr("sk-right"))
            async with client_of(account, httpx.AsyncHTTPTransport()) as client:
                yield client
    else:
        key = os.environ.get("DASHSCOPE_API_KEY")
        if not key:
            pytest.skip("live: DASHSCOPE_API_KEY is not set")
        account = Account(Settings.model_construct().base_url, SecretStr(key))
        async with client_of(account, httpx.AsyncHTTPTransport()) as client:
            yield client


@pytest.fixture(params=["in process", "over a socket", pytest.param("live", marks=pytest.mark.live)])
async def dashscope(request: pytest.FixtureRequest) -> AsyncIterator[DashScope]:
    """Each upstream in turn."""
    async with upstream(request.param) as client:
        yield client


def expansion(url: str, *, top: float = 1.25, model: str = MODEL) -> SubmitBody:
    """The body of an outpainting."""
    return SubmitBody(
        model=model,
        input=ImageEditInput(function="expand", prompt="按照原来图片背景来操作扩展", base_image_url=url),
        parameters=ImageEditParameters(top_scale=top, bottom_scale=1.0, left_scale=1.0, right_scale=1.0),
    )


async def follow(dashscope: DashScope, task_id: str) -> TaskStatus:
    """Look until a task has ended."""
    async with asyncio.timeout(LONGEST_RUN_SECONDS):
        while True:
            status = (await dashscope.query(task_id)).output.status
            if status.is_terminal:
                return status
            await asyncio.sleep(0.2)


async def test_a_task_from_upload_to_picture(dashscope: DashScope) -> None:
    """An uploaded picture is edited, the task is listed and can't be canceled any more, and its link is a picture."""
    url = await upload(dashscope, encode(draw_photo(640, 560), "png"), model=MODEL, suffix="png")
    assert url.startswith("oss://")
    accepted = await dashscope.submit(PATH, expansion(url), asynchronous=True)
    task_id = accepted.output.task_id
    assert task_id is not None
    assert await follow(dashscope, task_id) is TaskStatus.SUCCEEDED
    report = await dashscope.query(task_id)
    urls, failures = read_pictures(report.output)
    assert (len(urls), failures) == (1, ())
    assert report.usage is not None
    assert report.usage.image_count == 1
    picture = await dashscope.http.get(urls[0])
    assert picture.content.startswith(b"\x89PNG")
    statuses, _ = await dashscope.list_statuses("SUCCEEDED", page=1)
    assert statuses[task_id] == "SUCCEEDED"
    assert await dashscope.cancel(task_id) is False


async def test_unknown_task_is_unknown(dashscope: DashScope) -> None:
    """A task id that never was is UNKNOWN, not an error."""
    report = await dashscope.query("00000000-0000-4000-8000-000000000000")
    assert report.output.status is TaskStatus.UNKNOWN


async def test_wrong_value_is_refused_at_submit(dashscope: DashScope) -> None:
    """A value beyond its range is refused before anything is accepted."""
    url = await upload(dashscope, encode(draw_photo(640, 560), "png"), model=MODEL, suffix="png")
    with pytest.raises(CallerError):
        await dashscope.submit(PATH, expansion(url, top=9.0), asynchronous=True)


async def test_model_that_never_was_is_told_apart(dashscope: DashScope) -> None:
    """An unknown model is refused in the way that moves an edit on to its next model."""
    with pytest.raises(ModelRetired):
        await dashscope.submit(PATH, expansion("https://example.com/a.png", model="wanx0.0-none"), asynchronous=True)


async def test_wrong_key_is_the_operators_to_mend(dashscope: DashScope) -> None:
    """A wrong key is not the caller's fault, and is not told to the caller."""
    dashscope.account = Account(dashscope.account.base_url, SecretStr("sk-wrong"))
    with pytest.raises(UpstreamMisconfigured) as caught:
        await dashscope.submit(PATH, expansion("https://example.com/a.png"), asynchronous=True)
    assert "sk-wrong" not in str(caught.value)
