"""Masks: the area of a picture that a caller marks, as a picture that models read."""

import io
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageDraw, ImageOps

from imgapi.errors import InvalidParameter

_WHITE_LEVEL = 127
_SHOWN_DIGITS = 9
_MOST_SHARE = 0.95
_MOST_DISTORTION = 0.02


def draw_mask(
    size: tuple[int, int],
    target: tuple[int, int],
    boxes: Sequence[tuple[int, int, int, int]],
    mask: bytes | None,
) -> bytes:
    """Draw what is marked in white on black: an RGB PNG of the target size.

    Args:
        size: Width and height of the picture as the caller sees it, which is what the boxes are measured in.
        target: Width and height of the picture as the model gets it.
        boxes: x, y, width and height each, in pixels; what lies outside the picture is cut off.
        mask: An encoded raster, white where the picture is to change; of the picture's proportions.

    Raises:
        InvalidParameter: A box outside the picture, a mask of other proportions, or nothing or nearly all is marked.
    """
    drawn = Image.new("L", target)
    _draw_boxes(drawn, size, boxes)
    if mask is not None:
        drawn = ImageChops.lighter(drawn, _read_mask(mask, size).resize(target, Image.Resampling.NEAREST))
    share = drawn.histogram()[255] / (target[0] * target[1])
    if share == 0:
        raise InvalidParameter("the mask marks nothing: it must be white where the picture is to change")
    if share > _MOST_SHARE:
        raise InvalidParameter(
            f"{share:.0%} of the picture is marked and nothing is left to fill it from; "
            f"mark at most {_MOST_SHARE:.0%}, and only what is to change"
        )
    out = io.BytesIO()
    drawn.convert("RGB").save(out, "PNG", compress_level=3)
    return out.getvalue()


def _draw_boxes(drawn: Image.Image, size: tuple[int, int], boxes: Sequence[tuple[int, int, int, int]]) -> None:
    ratios = (drawn.width / size[0], drawn.height / size[1])
    draw = ImageDraw.Draw(drawn)
    for x, y, width, height in boxes:
        if x >= size[0] or y >= size[1]:
            raise InvalidParameter(
                f"the box at {_shorten(x)},{_shorten(y)} lies outside the picture, which is {size[0]}x{size[1]} pixels"
            ).about("boxes")
        left, top = int(x * ratios[0]), int(y * ratios[1])
        # What lies beyond the picture marks nothing, and its numbers may be larger than any that can be drawn.
        right, bottom = min(x + width, size[0]) * ratios[0], min(y + height, size[1]) * ratios[1]
        # Both corners are drawn; a thin box still marks one pixel.
        draw.rectangle((left, top, max(left, int(right - 1e-6)), max(top, int(bottom - 1e-6))), fill=255)


def _shorten(number: int) -> str:
    """Write a number that a caller sent, which may have thousands of digits."""
    digits = str(number)
    return digits if len(digits) <= _SHOWN_DIGITS else f"{digits[:_SHOWN_DIGITS]}…"


def _read_mask(content: bytes, size: tuple[int, int]) -> Image.Image:
    with Image.open(io.BytesIO(content)) as opened:
        mask = ImageOps.exif_transpose(opened).convert("RGBA")
    if abs(mask.width * size[1] / (mask.height * size[0]) - 1) > _MOST_DISTORTION:
        raise InvalidParameter(
            f"the mask has {mask.width}x{mask.height} pixels and the picture {size[0]}x{size[1]}: "
            "send a mask of the same size"
        ).about("mask_url")
    # What is transparent marks nothing, whatever colour hides there.
    black = Image.new("RGBA", mask.size, "black")
    black.alpha_composite(mask)
    return black.convert("L").point([0] * (_WHITE_LEVEL + 1) + [255] * (255 - _WHITE_LEVEL))
