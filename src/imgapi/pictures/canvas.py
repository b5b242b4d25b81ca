"""Canvas work for upstream models: a larger canvas around a picture, and whether a picture has clear pixels."""

import io

from PIL import Image, ImageOps

GREY = (128, 128, 128)


def enlarge_canvas(content: bytes, scales: tuple[float, float, float, float]) -> bytes:
    """Put a picture onto a grey canvas enlarged by `scales` (top, bottom, left, right); return PNG bytes.

    A scale of 1.5 adds 50 % of the original side, as outpainting counts (docs/upstream.md#outpainting).
    """
    top, bottom, left, right = scales
    with Image.open(io.BytesIO(content)) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    width, height = picture.size
    size = (round(width * (left + right - 1)), round(height * (top + bottom - 1)))
    canvas = Image.new("RGB", size, GREY)
    canvas.paste(picture, (round(width * (left - 1)), round(height * (top - 1))))
    out = io.BytesIO()
    canvas.save(out, "PNG", compress_level=1)
    return out.getvalue()


def has_clear_pixels(content: bytes) -> bool:
    """Say whether a picture is of mode RGBA with at least one fully transparent pixel."""
    with Image.open(io.BytesIO(content)) as picture:
        if picture.mode != "RGBA":
            return False
        lowest, _ = picture.getchannel("A").getextrema()
        return bool(lowest == 0)
