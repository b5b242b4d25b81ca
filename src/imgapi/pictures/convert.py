"""Any picture to PNG, looking as it should."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from imgapi.pictures.apng import composited_deep_frames
from imgapi.pictures.chunks import stated_colours, strip_png
from imgapi.pictures.colour import GREY_MODES, as_srgb, is_profile_of, is_srgb, profile_fits
from imgapi.pictures.deep import decode_deep, deep_profile, encode_deep_png, is_deep_colour, orient_deep
from imgapi.pictures.encode import encode_png
from imgapi.pictures.frames import all_frames as every_frame
from imgapi.pictures.frames import first_frame
from imgapi.pictures.limits import PictureLimits, check_bytes, check_total_pixels
from imgapi.pictures.outcomes import Converted, PictureInfo
from imgapi.pictures.probe import probe
from imgapi.pictures.rasters import decoding, open_raster
from imgapi.pictures.signatures import recognise
from imgapi.pictures.svg import render_svg_png

_COLOURS = 3


def convert_to_png(content: bytes, *, all_frames: bool, limits: PictureLimits, svg_renderer: str) -> Converted:
    """Make PNGs of a picture by the convert rule: oriented, in sRGB or the stated profile, 16 bits and alpha kept.

    An APNG may hide a still picture behind its frames: it is what one PNG shows, and no frame among all of them.

    Raises:
        UnreadableImage: The bytes can't be decoded.
        UnsupportedFormat: A format that is not taken.
        ImageTooLarge: Beyond the limits.
        CapabilityMissing: An SVG, and no renderer for it.
    """
    check_bytes(len(content), limits.max_bytes)
    if recognise(content) == "svg":
        # Not probed: that would be to read the document twice.
        rendered = render_svg_png(
            content,
            renderer=svg_renderer,
            max_pixels=limits.max_svg_pixels,
            max_side=limits.max_side,
            max_bytes=limits.max_svg_bytes,
        )
        return Converted("svg", (rendered,))
    info = probe(content, limits)
    if not all_frames or (info.frames == 1 and not info.hides_still):
        return Converted(info.format, (_convert_first(content, info),))
    check_total_pixels(info.total_pixels, limits)
    if info.format == "tiff":
        return Converted("tiff", tuple(_convert_pages(content, info, limits)))
    if info.format == "png" and info.deep:
        return Converted("png", tuple(_convert_deep_frames(content, info)))
    return Converted(info.format, tuple(_convert_frames(content, info, limits)))


def _convert_frames(content: bytes, info: PictureInfo, limits: PictureLimits) -> Iterator[bytes]:
    for frame in every_frame(content, info, limits):
        stated = stated_colours(content) if info.format == "png" and not frame.info.get("icc_profile") else ()
        image = as_srgb(frame)
        yield encode_png(image, _kept_profile(image), stated=stated)


def _convert_first(content: bytes, info: PictureInfo) -> bytes:
    if info.format == "png" and info.orientation == 1:
        stripped = _strip(content, info)
        if stripped is not None:
            return stripped
    if is_deep_colour(info):
        deep = _convert_deep(content, info, 0)
        if deep is not None:
            return deep
    image = first_frame(content, info)
    stated = stated_colours(content) if info.format == "png" and not image.info.get("icc_profile") else ()
    image = as_srgb(image)
    return encode_png(image, _kept_profile(image), stated=stated)


def _strip(content: bytes, info: PictureInfo) -> bytes | None:
    """Take out what is not pixels; None if the colours have to be converted or the file has to be written anew."""
    with decoding("png"):
        with open_raster(content, "png") as image:
            profile = image.info.get("icc_profile")
        fits = is_profile_of(profile, info.mode)
        # 16-bit samples stay as they are under their profile, since the conversion knows only 8.
        if not profile or info.deep or is_srgb(profile):
            return strip_png(content, keep_profile=fits)
    return None


def _convert_deep_frames(content: bytes, info: PictureInfo) -> Iterator[bytes]:
    profile, stated = deep_profile(content, info), stated_colours(content)
    frames = composited_deep_frames(content)
    while True:
        with decoding("png"):
            frame = next(frames, None)
        if frame is None:
            return
        if info.mode in GREY_MODES:
            # Of the same value in each colour.
            frame = frame[..., 0] if frame.shape[2] == _COLOURS else frame[..., [0, _COLOURS]]
        yield encode_deep_png(np.ascontiguousarray(orient_deep(frame, info.orientation)), profile, stated)


def _convert_pages(content: bytes, info: PictureInfo, limits: PictureLimits) -> list[bytes]:
    pages = []
    for number, page in enumerate(every_frame(content, info, limits)):
        deep = _convert_deep(content, info, number)
        image = as_srgb(page)
        pages.append(encode_png(image, _kept_profile(image)) if deep is None else deep)
    return pages


def _convert_deep(content: bytes, info: PictureInfo, page: int) -> bytes | None:
    pixels = decode_deep(content, info, page)
    if pixels is None:
        return None
    stated = stated_colours(content) if info.format == "png" else ()
    return encode_deep_png(pixels, deep_profile(content, info, page), stated)


def _kept_profile(image: Image.Image) -> bytes | None:
    """Give the profile of a grey picture, whose samples `as_srgb` leaves alone; colours are sRGB by then."""
    return image.info.get("icc_profile") if image.mode in GREY_MODES and profile_fits(image) else None
