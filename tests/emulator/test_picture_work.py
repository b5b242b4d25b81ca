"""What models find wrong with pictures, what instructions are taken for, and how the pixel work may end."""

import io
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image, ImageOps

from emulator.rig import (
    BACKGROUND_PATH,
    CHAT_PATH,
    EDIT_PATH,
    Rig,
    background,
    chat,
    draw,
    edit,
    run_inline,
    to_data_url,
)
from imgapi.emulator.answers import TaskFailure
from imgapi.emulator.app import ModelLimits, Rate
from imgapi.emulator.canvas import find_inner, fit_size, flatten
from imgapi.emulator.catalogue import MODELS
from imgapi.emulator.checks import check_pictures
from imgapi.emulator.instructions import understand
from imgapi.errors import Overloaded, SubjectNotFound
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.outcomes import PictureInfo
from imgapi.pictures.probe import probe

INFO: PictureInfo = probe(draw(), PictureLimits())
RGBA = replace(INFO, mode="RGBA")
MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("model", "pictures", "code"),
    [
        ("wanx-background-generation-v2", {"base": replace(RGBA, format="webp")}, "BadRequest.UnsupportedFileFormat"),
        ("wanx-background-generation-v2", {"base": replace(RGBA, width=2049)}, "InvalidParameter"),
        (
            "wanx-background-generation-v2",
            {"base": RGBA, "ref": replace(INFO, format="tiff")},
            "InvalidParameter.ImageFormat",
        ),
        ("wanx2.1-imageedit", {"base": replace(INFO, format="gif")}, "InvalidParameter.ImageFormat"),
        ("wanx2.1-imageedit", {"base": replace(INFO, size_bytes=11 * MIB)}, "InvalidParameter"),
        ("wanx2.1-imageedit", {"base": replace(INFO, width=4097)}, "InvalidParameter"),
        ("wanx2.1-imageedit", {"base": INFO, "mask": replace(INFO, width=641)}, "InvalidParameter"),
        ("aitryon", {"person": replace(INFO, format="gif")}, "InvalidURL"),
        ("aitryon", {"person": replace(INFO, size_bytes=4 * 1024)}, "InvalidInputLength"),
        ("aitryon", {"person": replace(INFO, size_bytes=6 * MIB)}, "InvalidInputLength"),
        ("aitryon-refiner", {"person": INFO, "coarse": replace(INFO, width=639)}, "InvalidParameter"),
        ("wan2.7-image", {"1": replace(INFO, format="tiff")}, "InvalidParameter.ImageFormat"),
        ("wan2.7-image", {"1": replace(INFO, size_bytes=21 * MIB)}, "InvalidParameter"),
        ("wan2.7-image", {"1": replace(INFO, width=239)}, "InvalidParameter"),
        ("wan2.7-image", {"1": replace(INFO, width=8000)}, "InvalidParameter"),
        ("qwen-image-2.0", {"1": replace(INFO, format="svg")}, "InvalidParameter.ImageFormat"),
        ("qwen-image-2.0", {"1": replace(INFO, size_bytes=11 * MIB)}, "InvalidParameter"),
    ],
)
def test_pictures_a_model_does_not_take(model: str, pictures: dict[str, PictureInfo], code: str) -> None:
    """Format, bytes, sides and ratios beyond the documented limits fail the task with the model's code."""
    with pytest.raises(TaskFailure) as caught:
        check_pictures(MODELS[model], pictures)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "count", "operation", "roles"),
    [
        ("去除图像中的文字和水印", 1, "remove_watermark", {"base": "1"}),
        ("Remove the watermark; keep the background", 1, "remove_watermark", {"base": "1"}),
        ("图像超分：提高清晰度，不改变文字", 1, "super_resolution", {"base": "1"}),
        ("Outpaint this enlarged canvas", 1, "expand", {"base": "1"}),
        ("扩展画面，背景自然延伸", 1, "expand", {"base": "1"}),
        ("Put it on a beach background", 1, "background", {"base": "1"}),
        ("图1是背景参考，图2是主体。更换图2的背景", 2, "background", {"base": "2", "ref": "1"}),
        ("把图1的主体放到图2的背景里", 2, "background", {"base": "1", "ref": "2"}),
        ("Change the background", 2, "background", {"base": "1", "ref": "2"}),
        ("picture 2 is the subject, picture 1 is the background", 2, "background", {"base": "2", "ref": "1"}),
        (
            "虚拟试衣：让图3中的人物穿上图1的上衣和图2的下装",
            3,
            "try_on",
            {"person": "3", "top": "1", "bottom": "2"},
        ),
        ("Put the clothes on", 3, "try_on", {"person": "1", "top": "2", "bottom": "3"}),
        (
            "The person in picture 2 wears the garment of picture 1",
            2,
            "try_on",
            {"person": "2", "top": "1"},
        ),
        (
            "图1是蒙版，白色区域标出水印的位置；图2是原图。去除图2中白色区域内的水印（文字、标志）",
            2,
            "remove_watermark",
            {"mask": "1", "base": "2"},
        ),
        (
            "Remove the watermark. Picture 1 is the original, picture 2 is the mask",
            2,
            "remove_watermark",
            {"base": "1", "mask": "2"},
        ),
        ("换裤子：图1的人穿图2的裤子, 衣", 2, "try_on", {"person": "1", "bottom": "2"}),
    ],
)
def test_what_an_instruction_is_taken_for(text: str, count: int, operation: str, roles: dict[str, str]) -> None:
    """The first telling word, Chinese or English, names the operation; numbered pictures get their parts."""
    understood = understand(text, count)
    assert understood is not None
    assert (understood.operation, understood.roles) == (operation, roles)


@pytest.mark.parametrize(("text", "count"), [("唱一首歌", 1), ("去除水印", 0), ("", 2), ("去除水印", 2)])
def test_instruction_without_an_edit(text: str, count: int) -> None:
    """Words or a number of pictures that fit no edit are not guessed at."""
    assert understand(text, count) is None


def write(picture: Image.Image) -> bytes:
    """Encode as PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("border", [(100, 50, 0, 0), (0, 0, 30, 60), (40, 40, 40, 40), (0, 70, 0, 0)])
def test_inner_picture_is_found_exactly(border: tuple[int, int, int, int]) -> None:
    """A border of one colour on any sides is found to the pixel, and its scales lead back to the canvas."""
    original = Image.open(io.BytesIO(draw(300, 200))).convert("RGB")
    inner = find_inner(write(ImageOps.expand(original, border, (127, 127, 127))))
    assert inner is not None
    assert Image.open(io.BytesIO(inner.content)).size == (300, 200)
    left, top, right, bottom = border
    expected = {
        "left_scale": 1 + left / 300,
        "top_scale": 1 + top / 200,
        "right_scale": 1 + right / 300,
        "bottom_scale": 1 + bottom / 200,
    }
    assert inner.scales == pytest.approx(expected)


@pytest.mark.parametrize("picture", [draw(300, 200), write(Image.new("RGB", (300, 200), "grey"))])
def test_no_inner_picture(picture: bytes) -> None:
    """Without a border, or with nothing but border, there is nothing to outpaint."""
    assert find_inner(picture) is None


def test_results_are_opaque_and_of_the_size_asked_for() -> None:
    """Transparency is laid on white, and the picture fills its size exactly."""
    flat = Image.open(io.BytesIO(flatten(draw(mode="RGBA"))))
    assert (flat.mode, flat.getpixel((0, 0))) == ("RGB", (255, 255, 255))
    assert Image.open(io.BytesIO(fit_size(draw(), 512, 512))).size == (512, 512)


async def test_full_worker_pool_only_takes_longer(rig: Rig) -> None:
    """The upstream does not refuse an accepted task for want of capacity, so neither does the emulator."""
    refusals = iter([Overloaded("full", retry_after=2.0)] * 3)

    async def busy(function: Callable[..., Any], *args: Any) -> Any:
        for refusal in refusals:
            raise refusal
        return await run_inline(function, *args)

    rig.run_pixels = busy
    task_id = await rig.start(EDIT_PATH, edit())
    assert (await rig.poll(task_id))["output"]["task_status"] == "RUNNING"
    await rig.clock.advance(6.5)
    assert (await rig.finish(task_id))["output"]["task_status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("error", "code"),
    [(SubjectNotFound("nothing stands out"), "InternalError.Algo"), (RuntimeError("bug"), "InternalError.Algo")],
)
async def test_broken_work_fails_the_task(
    rig: Rig, error: Exception, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong in the work, the task ends FAILED and the model's place is free again."""

    async def broken(function: Callable[..., Any], *args: Any) -> Any:
        raise error

    rig.run_pixels = broken
    with caplog.at_level(logging.CRITICAL, "imgapi.emulator.jobs"):
        document = await rig.finish(await rig.start(BACKGROUND_PATH, background()))
    assert document["output"]["code"] == code
    rig.run_pixels = run_inline
    again = await rig.finish(await rig.start(BACKGROUND_PATH, background()))
    assert again["output"]["task_status"] == "SUCCEEDED"


async def test_broken_fetch_is_a_flat_500(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A bug within a call is answered in the upstream's shape, without a word of what happened."""
    rig.web.pictures["http://pictures.test/rgb.png"] = None  # type: ignore[assignment]  # what a broken fetch returns
    with caplog.at_level(logging.CRITICAL, "imgapi.emulator.desk"):
        response = await rig.submit(EDIT_PATH, edit())
    assert (response.status_code, response.json()["code"]) == (500, "InternalError")
    assert "NoneType" not in response.text


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (to_data_url(b"\x89PNG\r\n\x1a\n" + b"\0" * 100), "Failed to decode"),
        ("data:text/plain;base64,AAAA", "media format"),
        ("http://pictures.test/huge.png", "image size"),
    ],
)
async def test_pictures_that_are_none(rig: Rig, url: str, words: str) -> None:
    """A header without a picture, another kind of data and an endless picture are refused by the inspection."""
    header = Image.new("1", (20_000, 20_000))
    rig.web.pictures["http://pictures.test/huge.png"] = write(header)
    response = await rig.submit(EDIT_PATH, edit(base_image_url=url))
    assert (response.status_code, response.json()["code"]) == (400, "InvalidParameter.DataInspection")
    assert words in response.json()["message"]


async def test_more_pictures_than_a_painter_makes_at_once(rig: Rig) -> None:
    """Six pictures are painted in two rounds."""
    response = await rig.submit(CHAT_PATH, chat("去水印", "http://pictures.test/rgb.png", n=6))
    assert len(response.json()["output"]["choices"][0]["message"]["content"]) == 6
    assert rig.emulator.ledger.images_billed == 6


async def test_synchronous_calls_have_places_too() -> None:
    """A synchronous call beyond the running bound is a 429: it can't be queued."""
    limits = {"qwen-image-2.0": ModelLimits(Rate(100), 0)}
    async with Rig(limits=limits) as rig:
        response = await rig.submit(CHAT_PATH, chat("去水印", "http://pictures.test/rgb.png"))
    assert (response.status_code, response.json()["code"]) == (429, "Throttling.RateQuota")
