"""The chat-style models: instructions, sizes, both ways of calling, the shape of their answers."""

import asyncio
import io

import pytest
from PIL import Image, ImageOps

from emulator.rig import CHAT_PATH, WAN_PATH, Rig, chat, draw, settle
from imgapi.emulator.app import ModelLimits, Pace, Progress, Rate

RGB = "http://pictures.test/rgb.png"
PHOTO = "http://pictures.test/photo.jpg"
IN_SECONDS = Pace(Progress.SECONDS, spread=0.0)


@pytest.mark.parametrize(
    ("text", "images", "size"),
    [
        ("去除图像中的水印", [RGB], (1088, 960)),
        ("Please remove the watermark", [RGB], (1088, 960)),
        ("图像超分", [RGB], (1088, 960)),
        ("把图1的主体放到图2的背景里", [RGB, PHOTO], (1088, 960)),
        ("虚拟试衣：让图2中的人物穿上图1的上衣", [RGB, PHOTO], (1088, 960)),
    ],
)
async def test_instructions_are_understood(rig: Rig, text: str, images: list[str], size: tuple[int, int]) -> None:
    """A chat-style model does what the instruction says, answers at once, opaque, near a million pixels."""
    response = await rig.submit(CHAT_PATH, chat(text, *images))
    document = response.json()
    assert response.status_code == 200, document
    assert document["usage"] == {"image_count": 1, "width": size[0], "height": size[1]}
    content = document["output"]["choices"][0]["message"]["content"]
    picture = await rig.open_result(content[0]["image"])
    assert (picture.size, picture.mode) == (size, "RGB")


async def test_outpainting_instruction_fills_the_uniform_border(rig: Rig) -> None:
    """The picture within a border of one colour is found and its surroundings are painted anew."""
    inner = Image.open(io.BytesIO(draw(600, 400)))
    framed = io.BytesIO()
    ImageOps.expand(inner, (300, 200, 0, 100), (128, 128, 128)).save(framed, "PNG")
    rig.web.pictures["http://pictures.test/framed.png"] = framed.getvalue()
    body = chat("扩展画面（outpainting）：填满灰色边框", "http://pictures.test/framed.png", size="1280*992")
    response = await rig.submit(CHAT_PATH, body)
    content = response.json()["output"]["choices"][0]["message"]["content"]
    picture = await rig.open_result(content[0]["image"])
    assert picture.size == (1280, 992)
    assert picture.getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("text", ["扩展画面", "唱一首歌"])
async def test_instruction_that_cannot_be_done_fails_openly(rig: Rig, text: str) -> None:
    """Nothing to fill, or nothing recognised, is an error that says so."""
    response = await rig.submit(CHAT_PATH, chat(text, RGB))
    assert (response.status_code, response.json()["code"]) == (500, "InternalError.Algo")
    assert rig.emulator.ledger.images_billed == 0


async def test_wan_task_answers_choices(rig: Rig) -> None:
    """An asynchronous chat-style task has one choice per picture, and its size in the usage."""
    body = chat("remove the watermark", RGB, model="wan2.7-image", n=2, size="1K", is_async=True)
    document = await rig.finish(await rig.start(WAN_PATH, body))
    output = document["output"]
    assert output["finished"] is True
    assert [choice["message"]["content"][0]["type"] for choice in output["choices"]] == ["image", "image"]
    assert document["usage"]["image_count"] == 2
    assert document["usage"]["size"] == "1088*960"
    assert "task_metrics" not in output


async def test_synchronous_call_takes_its_time(rig: Rig) -> None:
    """With seconds, a synchronous answer comes after the model's usual run time."""
    rig.emulator.pace = IN_SECONDS
    call = asyncio.create_task(rig.submit(CHAT_PATH, chat("去水印", RGB)))
    await settle()
    await rig.clock.advance(7.5)
    assert not call.done()
    await rig.clock.advance(1.0)
    assert (await call).status_code == 200


async def test_synchronous_call_leaves_its_place_to_the_queue() -> None:
    """A task that waited for a synchronous call of the same model starts when that call is answered."""
    limits = {"wan2.7-image": ModelLimits(Rate(5), 1)}
    async with Rig(pace=IN_SECONDS, limits=limits) as rig:
        call = asyncio.create_task(rig.submit(CHAT_PATH, chat("去水印", RGB, model="wan2.7-image")))
        await settle()
        queued = await rig.start(WAN_PATH, chat("去水印", RGB, model="wan2.7-image"))
        await rig.clock.advance(11)
        assert (await rig.poll(queued))["output"]["task_status"] == "PENDING"
        await rig.clock.advance(2)
        assert (await call).status_code == 200
        assert (await rig.poll(queued))["output"]["task_status"] == "RUNNING"
