"""Pixels to JPEG, PNG and WebP with no metadata but what is passed."""

import io

from PIL import Image

from imgapi.pictures.chunks import state_colours
from imgapi.pictures.png_writer import write_png
from imgapi.pictures.rasters import without_metadata

StatedColours = tuple[tuple[bytes, memoryview], ...]

# For the modes that ISA-L's writer leaves to zlib-ng; its level 3 is nearly as small as 6, and several times faster.
PNG_LEVEL = 3
JPEG_QUALITY = 90
WEBP_QUALITY = 90
# The format holds no more (RFC 9649, section 2.7.1).
WEBP_SIDE = 16_383


def encode_png(
    image: Image.Image,
    profile: bytes | None = None,
    *,
    stated: StatedColours = (),
    level: int | None = None,
) -> bytes:
    """Write a PNG that states the profile, or sRGB; pixels as they are in modes 1, L, LA, P, RGB, RGBA and I;16.

    Args:
        image: The pixels.
        profile: ICC profile to state.
        stated: Colour chunks to state instead of sRGB where there is no profile.
        level: Compression by zlib, 0 (none) to 9; the fastest way there is when unset.
    """
    written = write_png(image) if level is None else None
    if written is None:
        out = io.BytesIO()
        without_metadata(image).save(out, "PNG", compress_level=PNG_LEVEL if level is None else level)
        written = out.getvalue()
    return state_colours(written, profile, stated)


def encode_jpeg(
    image: Image.Image,
    profile: bytes | None = None,
    *,
    quality: int = JPEG_QUALITY,
    subsampling: int = 2,
    tables: dict[int, list[int]] | None = None,
) -> bytes:
    """Write a JPEG of mode L, RGB or CMYK.

    Args:
        image: The pixels.
        profile: ICC profile to state.
        quality: 1 to 95, unless `tables` are given.
        subsampling: 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0.
        tables: Quantisation tables to use, such as those of the JPEG the pixels come from.
    """
    out = io.BytesIO()
    options: dict[str, object] = {"quality": quality} if tables is None else {"qtables": tables}
    bare = image
    if image.info:
        bare = image.copy()
        bare.info = {}
    # Tables made for the picture would save 2 % of the bytes and cost as much time again as the encoding.
    bare.save(out, "JPEG", subsampling=subsampling, optimize=False, icc_profile=profile, **options)
    return out.getvalue()


def encode_webp(image: Image.Image, profile: bytes | None = None, *, lossless: bool = False) -> bytes:
    """Write a WebP; modes other than RGB and RGBA are turned into these."""
    out = io.BytesIO()
    options: dict[str, object] = {"lossless": True, "exact": True} if lossless else {"quality": WEBP_QUALITY}
    without_metadata(image).save(out, "WEBP", icc_profile=profile or b"", **options)
    return out.getvalue()
