"""A picture that was made here, in the format that its caller would rather have."""

from dataclasses import replace

import numpy as np
from PIL import Image

from imgapi.errors import ImageTooLarge
from imgapi.pictures.colour import as_srgb, profile_fits
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.encode import WEBP_SIDE, encode_jpeg, encode_webp
from imgapi.pictures.frames import first_frame
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.probe import probe

WHITE = (255, 255, 255, 255)


def reencode(content: bytes, wanted: str, *, limits: PictureLimits) -> bytes:
    """Write a picture as `png`, `jpeg` or `webp`: its first frame, in sRGB, without metadata.

    JPEG has no alpha, so clear pixels become white there; JPEG and WebP have 8 bits a sample.

    Raises:
        ImageTooLarge: A side is longer than WebP can hold.
        UnreadableImage: The bytes can't be decoded.
    """
    # The limit on bytes is one on what comes in.
    limits = replace(limits, max_bytes=len(content))
    if wanted == "png":
        return convert_to_png(content, all_frames=False, limits=limits, svg_renderer="resvg").frames[0]
    info = probe(content, limits)
    if wanted == "webp" and max(info.width, info.height) > WEBP_SIDE:
        raise ImageTooLarge(
            f"the result is {info.width}x{info.height} pixels, and a WebP may have at most {WEBP_SIDE} a side; "
            "ask for image/png"
        )
    image = _as_8_bit(as_srgb(first_frame(content, info)))
    # Grey samples stay as they are under their profile, which fits no RGB.
    profile = image.info.get("icc_profile") if image.mode == "L" and profile_fits(image) else None
    if wanted == "webp":
        return encode_webp(image)
    return encode_jpeg(_on_white(image), profile)


def _as_8_bit(image: Image.Image) -> Image.Image:
    if image.mode != "I;16":
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, WHITE)
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")
