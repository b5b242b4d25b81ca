"""The before and after strips of the README, painted from photographs that may be shipped."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.preview_pictures import decode, encode, mark, shipped, wheel_photos
from bench.preview_sections import paint_job
from bench.preview_sheets import on_checkerboard
from bench.preview_work import Outcome, run_all
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from imgapi.emulator.painters import PaintJob

_WIDTH, _GAP, _CAPTION = 1000, 10, 30
_MOST_BYTES = 200_000
_QUALITIES = (90, 85, 80, 75, 70)
_PAPER, _INK = (255, 255, 255), (60, 60, 60)
_LINE = (230, 60, 50)


def write_strips(folder: Path) -> None:
    """Run the painters and write the three strips into a folder, at most 200 kB each."""
    photos = {photo.name: photo.image for photo in wheel_photos()}
    coffee, rocket, cat = photos["coffee"], photos["rocket"], photos["chelsea"]
    paving = Image.fromarray(shipped("brick")).convert("RGB")
    marked, _ = mark(rocket, "tiled")
    jobs: list[PaintJob | bytes] = [
        encode(coffee),
        paint_job("background", {"base": encode(coffee), "ref": encode(paving)}),
        paint_job("expand", {"base": encode(cat)}, left_scale=1.1, right_scale=1.35),
        paint_job("remove_watermark", {"base": encode(marked)}),
    ]
    cut, composed, expanded, cleaned = (_only_result(outcome) for outcome in run_all(jobs, processes=1))
    left = round(cat.width * 0.1)
    folder.mkdir(parents=True, exist_ok=True)
    strips = {
        "background": [("photo", coffee), ("/remove_bg", on_checkerboard(cut)), ("/change_bg", composed)],
        "expand": [("photo", cat), ("/expand: the photo ends at the red marks", _show_ends(expanded, left, cat.width))],
        "watermark": [("a watermark drawn over the photo", marked), ("/remove_watermark, found by itself", cleaned)],
    }
    for name, panels in strips.items():
        (folder / f"{name}.jpg").write_bytes(_encode(_join(panels)))


def _only_result(outcome: Outcome) -> Image.Image:
    if outcome.refusal:
        raise RuntimeError(outcome.refusal)
    return decode(outcome.pictures[0])


def _show_ends(expanded: Image.Image, left: int, width: int) -> Image.Image:
    """Mark at the top and the bottom where the original begins and ends; the seam itself stays visible."""
    image = expanded.convert("RGB")
    drawing = ImageDraw.Draw(image)
    for x in (left, left + width):
        for y in (0, image.height - 12):
            drawing.line((x, y, x, y + 12), fill=_LINE, width=2)
    return image


def _join(panels: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Set pictures side by side at one height, each above its caption."""
    shapes = [image.width / image.height for _, image in panels]
    height = int((_WIDTH - _GAP * (len(panels) - 1)) / sum(shapes))
    strip = Image.new("RGB", (_WIDTH, height + _CAPTION), _PAPER)
    drawing, font = ImageDraw.Draw(strip), ImageFont.load_default(15)
    left = 0
    for (text, image), shape in zip(panels, shapes, strict=True):
        size = (int(height * shape), height)
        strip.paste(image.convert("RGB").resize(size, Image.Resampling.LANCZOS), (left, 0))
        drawing.text((left + 2, height + 7), text, fill=_INK, font=font)
        left += size[0] + _GAP
    return strip


def _encode(strip: Image.Image) -> bytes:
    """Encode as the best JPEG that is small enough; raises ValueError when none is."""
    for quality in _QUALITIES:
        stream = io.BytesIO()
        strip.save(stream, "JPEG", quality=quality, optimize=True, subsampling=0)
        if stream.tell() <= _MOST_BYTES:
            return stream.getvalue()
    raise ValueError("the strip is too large even as a JPEG of low quality")
