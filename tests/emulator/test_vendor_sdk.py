"""The vendor's own SDK, which shares no line with us, finds in the emulator what it expects of DashScope."""

import io
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import dashscope
import httpx
import pytest
from dashscope.aigc import image_generation, image_synthesis, multimodal_conversation
from dashscope.api_entities.aio_session import close_shared_aio_session
from dashscope.api_entities.dashscope_response import Message
from dashscope.client import base_api
from dashscope.v2.resources import _jobs
from PIL import Image

from emulator.rig import draw
from emulator.sockets import Served, serving_emulator
from imgapi.emulator.app import Pace, Progress

# The SDK's annotations contradict its own documentation, so its classes are taken as they come.
ImageSynthesis: Any = image_synthesis.ImageSynthesis
AioImageSynthesis: Any = image_synthesis.AioImageSynthesis
ImageGeneration: Any = image_generation.ImageGeneration
MultiModalConversation: Any = multimodal_conversation.MultiModalConversation
BaseAsyncApi: Any = base_api.BaseAsyncApi
BaseAsyncAioApi: Any = base_api.BaseAsyncAioApi
Jobs: Any = _jobs.Jobs
AsyncJobs: Any = _jobs.AsyncJobs

EDIT = "wanx2.1-imageedit"
BACKGROUND = "wanx-background-generation-v2"
RGB = "http://pictures.test/rgb.png"
PHOTO = "http://pictures.test/photo.jpg"
TRY_ON_PATH = ("aigc", "image2image", "image-synthesis")
BACKGROUND_PATH = ("aigc", "background-generation", "generation")
TRY_ON_INPUT = {"person_image_url": PHOTO, "top_garment_url": RGB, "bottom_garment_url": RGB}
BACKGROUND_INPUT = {"base_image_url": "http://pictures.test/rgba.png", "ref_image_url": RGB, "ref_prompt": "山脉"}
BACKGROUND_PARAMETERS = {"n": 1, "model_version": "v3", "noise_level": 300, "ref_prompt_weight": 0.5}
ENDED_BY_FIRST_LOOK = Pace(Progress.LOOKS, looks=0)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """An emulator whose tasks are over when they are first looked at, so that the SDK never sleeps."""
    with serving_emulator(pace=ENDED_BY_FIRST_LOOK, enforce_limits=False) as served:
        yield served


@pytest.fixture(autouse=True)
def pointed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK, pointed at the emulator the way its documentation says."""
    monkeypatch.setattr(dashscope, "base_http_api_url", served.base_url)
    monkeypatch.setattr(dashscope, "api_key", "sk-test")


@pytest.fixture
async def shared_session() -> AsyncIterator[None]:
    """The SDK's shared session of this event loop, closed in the end: it would not do so itself."""
    yield
    await close_shared_aio_session()


def open_link(url: str) -> Image.Image:
    """Download a result without a key and open it."""
    response = httpx.get(url, trust_env=False)
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content))


def test_expand_step_by_step(served: Served) -> None:
    """async_call, wait, fetch and list of ImageSynthesis follow one outpainting to its link."""
    started = ImageSynthesis.async_call(
        model=EDIT,
        function="expand",
        prompt="扩图",
        base_image_url=RGB,
        n=1,
        top_scale=1.5,
        bottom_scale=1.5,
        left_scale=1.5,
        right_scale=1.5,
    )
    assert (started.status_code, started.output.task_status) == (200, "PENDING")
    ended = ImageSynthesis.wait(started, wait_timeout=30)
    assert (ended.output.task_status, ended.usage.image_count) == ("SUCCEEDED", 1)
    assert ended.output.task_metrics == {"TOTAL": 1, "SUCCEEDED": 1, "FAILED": 0}
    assert open_link(ended.output.results[0].url).size == (1280, 1120)
    assert ImageSynthesis.fetch(started.output.task_id).output.task_status == "SUCCEEDED"
    day = time.strftime("%Y%m%d", time.gmtime(time.time() + 8 * 3600))
    listed = ImageSynthesis.list(
        start_time=f"{day}000000",
        end_time=f"{day}235959",
        model_name=EDIT,
        status="SUCCEEDED",
        page_no=1,
        page_size=5,
    )
    assert listed.status_code == 200
    assert started.output.task_id in [row["task_id"] for row in listed.output["data"]]


@pytest.mark.parametrize(
    ("function", "prompt", "parameters", "size"),
    [
        ("super_resolution", "图像超分。", {"upscale_factor": 2}, (1280, 1120)),
        ("remove_watermark", "去除图像中的文字", {"n": 1}, (640, 560)),
    ],
)
def test_image_synthesis_in_one_call(
    function: str, prompt: str, parameters: dict[str, int], size: tuple[int, int]
) -> None:
    """ImageSynthesis.call submits, waits and returns the finished task."""
    ended = ImageSynthesis.call(model=EDIT, function=function, prompt=prompt, base_image_url=RGB, **parameters)
    assert (ended.status_code, ended.output.task_status) == (200, "SUCCEEDED")
    assert open_link(ended.output.results[0].url).size == size


def test_cancel_of_a_pending_and_of_an_ended_task(served: Served) -> None:
    """A PENDING task can be canceled; for an ended one the SDK passes our refusal on."""
    served.emulator.faults.script({"match": {"call": "submit"}, "do": {"hold": "PENDING"}})
    held = ImageSynthesis.async_call(model=EDIT, function="expand", prompt="扩图", base_image_url=RGB)
    assert ImageSynthesis.cancel(held).status_code == 200
    assert ImageSynthesis.fetch(held).output.task_status == "CANCELED"
    refused = ImageSynthesis.cancel(held)
    assert (refused.status_code, refused.code) == (400, "UnsupportedOperation")


def test_failed_and_unknown_tasks_end_the_wait(served: Served) -> None:
    """FAILED carries its code, an unknown id is UNKNOWN, a failed item has its code beside an empty link."""
    failed = ImageSynthesis.call(
        model=EDIT, function="super_resolution", prompt="x", base_image_url="http://pictures.test/small.png"
    )
    assert (failed.output.task_status, failed.output.code) == ("FAILED", "InvalidParameter")
    assert ImageSynthesis.wait("not-there").output.task_status == "UNKNOWN"
    served.emulator.faults.script({"match": {"call": "submit"}, "do": {"fail_items": [2]}})
    partial = ImageSynthesis.call(model=EDIT, function="super_resolution", prompt="x", base_image_url=RGB, n=3)
    assert [bool(item.url) for item in partial.output.results] == [True, False, True]
    assert partial.usage.image_count == 2


def test_refused_submit_is_passed_on() -> None:
    """A refused submit arrives as status, code and message."""
    refused = ImageSynthesis.async_call(model=EDIT, function="expand", prompt="扩图", base_image_url=RGB, n=9)
    assert (refused.status_code, refused.code) == (400, "InvalidParameter")
    assert refused.message == "Range of n should be [1, 4]"


def test_wait_survives_503_and_sees_a_running_task(served: Served) -> None:
    """The SDK polls on after a 503 and after RUNNING; this is the one test that lets it sleep, once."""
    served.emulator.faults.script({"match": {"call": "poll"}, "do": {"status": 503}})
    ended = ImageSynthesis.call(model=EDIT, function="super_resolution", prompt="x", base_image_url=RGB)
    assert ended.output.task_status == "SUCCEEDED"


def test_try_on(served: Served) -> None:
    """BaseAsyncApi serves the try-on, step by step and in one call."""
    model, parameters = "aitryon", {"resolution": -1, "restore_face": True}
    started = BaseAsyncApi.async_call(model, TRY_ON_INPUT, *TRY_ON_PATH, **parameters)
    ended = BaseAsyncApi.wait(started, wait_timeout=30)
    assert (ended.output["task_status"], ended.usage["image_count"]) == ("SUCCEEDED", 1)
    assert open_link(ended.output["image_url"]).format == "JPEG"
    assert "results" not in ended.output
    assert BaseAsyncApi.fetch(started).output["task_status"] == "SUCCEEDED"
    assert BaseAsyncApi.cancel(started).code == "UnsupportedOperation"
    called = BaseAsyncApi.call("aitryon-plus", TRY_ON_INPUT, *TRY_ON_PATH, **parameters)
    assert called.output["image_url"].startswith(f"{served.address}/results/")


def test_try_on_through_image_synthesis() -> None:
    """The detour over ImageSynthesis works, with its extra prompt in the input."""
    started = ImageSynthesis.async_call(
        model="aitryon", prompt="x", task="image2image", extra_input=TRY_ON_INPUT, resolution=-1
    )
    ended = ImageSynthesis.wait(started)
    assert ended.output["image_url"]
    assert ended.output.results == []


def test_background() -> None:
    """BaseAsyncApi serves the background model, and lists its tasks."""
    started = BaseAsyncApi.async_call(BACKGROUND, BACKGROUND_INPUT, *BACKGROUND_PATH, **BACKGROUND_PARAMETERS)
    ended = BaseAsyncApi.wait(started, wait_timeout=30)
    assert open_link(ended.output["results"][0]["url"]).size == (640, 560)
    page = BaseAsyncApi.list(page_no=1, page_size=2)
    assert page.output["data"][0]["task_id"] == started.output["task_id"]
    assert page.output["page_size"] == 2


async def test_asynchronous_twin_of_image_synthesis(served: Served, shared_session: None) -> None:
    """AioImageSynthesis works, trailing slashes and cancel body included."""
    called = await AioImageSynthesis.call(
        model=EDIT, function="super_resolution", prompt="图像超分。", base_image_url=RGB, upscale_factor=2, n=1
    )
    assert called.output.task_status == "SUCCEEDED"
    served.emulator.faults.script({"match": {"call": "submit"}, "do": {"hold": "PENDING"}})
    started = await AioImageSynthesis.async_call(model=EDIT, function="expand", prompt="扩图", base_image_url=RGB)
    assert (await AioImageSynthesis.cancel(started)).status_code == 200
    assert (await AioImageSynthesis.fetch(started)).output.task_status == "CANCELED"
    assert (await AioImageSynthesis.wait(started)).output.task_status == "CANCELED"
    listed = await AioImageSynthesis.list(page_no=1, page_size=5)
    assert listed.status_code == 200


async def test_asynchronous_twin_of_the_base_api(shared_session: None) -> None:
    """BaseAsyncAioApi serves background and try-on; call() copies its parameters to the query of the poll."""
    made = await BaseAsyncAioApi.call(BACKGROUND, BACKGROUND_INPUT, *BACKGROUND_PATH, **BACKGROUND_PARAMETERS)
    assert made.output["results"][0]["url"]
    started = await BaseAsyncAioApi.async_call("aitryon", TRY_ON_INPUT, *TRY_ON_PATH, resolution=-1)
    ended = await BaseAsyncAioApi.wait(started)
    assert ended.output["image_url"]
    assert (await BaseAsyncAioApi.fetch(started)).output["task_status"] == "SUCCEEDED"
    assert (await BaseAsyncAioApi.cancel(started)).code == "UnsupportedOperation"


@pytest.mark.parametrize(
    ("service", "model", "source"),
    [
        ("aigc/background-generation/generation", BACKGROUND, BACKGROUND_INPUT),
        ("aigc/image2image/image-synthesis", "aitryon", TRY_ON_INPUT),
        (
            "aigc/image2image/image-synthesis",
            EDIT,
            {"function": "expand", "prompt": "扩图", "base_image_url": RGB},
        ),
    ],
)
def test_v2_jobs(served: Served, service: str, model: str, source: dict[str, Any]) -> None:
    """The second generation's Jobs creates, waits, fetches, lists and cancels."""
    with dashscope.Client(api_key="sk-test", base_url=served.base_url) as client:
        jobs = Jobs(client, service, "aigc")
        created = jobs.create(model=model, input=source)
        assert created.status == "PENDING"
        ended = jobs.wait(created, timeout=30, _sleep=lambda _: None)
        assert ended.succeeded
        assert ended.usage is not None
        assert ended.finished_at is not None
        assert ended.image_urls or ended.output["image_url"]
        assert jobs.fetch(created.task_id).succeeded
        assert jobs.list(page_no=1, page_size=3).total >= 1
        served.emulator.faults.script({"match": {"call": "submit"}, "do": {"hold": "PENDING"}})
        held = jobs.create(model=model, input=source)
        jobs.cancel(held.task_id)
        assert jobs.fetch(held.task_id).status == "CANCELED"


async def test_v2_async_jobs(served: Served) -> None:
    """The asynchronous Jobs does the same."""

    async def no_sleep(_: float) -> None:
        return None

    async with dashscope.AsyncClient(api_key="sk-test", base_url=served.base_url) as client:
        jobs = AsyncJobs(client, "aigc/background-generation/generation", "aigc")
        created = await jobs.create(model=BACKGROUND, input=BACKGROUND_INPUT, parameters={"n": 2})
        ended = await jobs.wait(created, timeout=30, _sleep=no_sleep)
        assert len(ended.image_urls) == 2
        assert (await jobs.fetch(created.task_id)).succeeded
        assert (await jobs.list()).total >= 1
        served.emulator.faults.script({"match": {"call": "submit"}, "do": {"hold": "PENDING"}})
        held = await jobs.create(model=BACKGROUND, input=BACKGROUND_INPUT)
        await jobs.cancel(held.task_id)
        assert (await jobs.fetch(held.task_id)).status == "CANCELED"


@pytest.mark.parametrize("model", ["qwen-image-2.0", "wan2.7-image"])
def test_multimodal_conversation(model: str) -> None:
    """MultiModalConversation reaches both chat-style families synchronously."""
    messages = [{"role": "user", "content": [{"image": RGB}, {"text": "去除水印"}]}]
    answer = MultiModalConversation.call(model=model, messages=messages, n=1, watermark=False, size="1024*1024")
    assert answer.status_code == 200, answer.message
    assert open_link(answer.output.choices[0].message.content[0]["image"]).size == (1024, 1024)


def test_image_generation_both_ways() -> None:
    """ImageGeneration calls wan2.7-image synchronously, and asynchronously with its leaked parameter."""
    messages = [Message(role="user", content=[{"image": RGB}, {"text": "去除水印"}])]
    answer = ImageGeneration.call(model="wan2.7-image", messages=messages, n=1, size="1K")
    assert answer.status_code == 200, answer.message
    assert open_link(answer.output.choices[0].message.content[0]["image"]).mode == "RGB"
    started = ImageGeneration.async_call(model="wan2.7-image", messages=messages, n=1, size="1K")
    assert started.output.task_status == "PENDING"
    ended = ImageGeneration.wait(started)
    assert ended.output.task_status == "SUCCEEDED"
    assert open_link(ended.output.choices[0].message.content[0]["image"]).mode == "RGB"


def test_local_file_is_uploaded_and_resolved(tmp_path: Path, served: Served) -> None:
    """A local file goes through policy, form and oss:// with the resolve header, all by the SDK."""
    path = tmp_path / "图 picture.png"
    path.write_bytes(draw(700, 600))
    ended = ImageSynthesis.call(
        model=EDIT, function="super_resolution", prompt="图像超分。", base_image_url=f"file://{path}", upscale_factor=1
    )
    assert ended.output.task_status == "SUCCEEDED", ended
    assert open_link(ended.output.results[0].url).size == (700, 600)
    assert [record.status for record in served.emulator.ledger.of("upload")] == [200]


def test_everything_carried_a_key_and_none_was_kept(served: Served) -> None:
    """The ledger knows that keys were sent, and holds none."""
    ImageSynthesis.fetch("not-there")
    assert served.emulator.ledger.authorization_seen
    assert "sk-test" not in str(served.emulator.ledger.describe())
