"""A picture made to fit what an upstream model accepts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from imgapi.errors import ImageTooLarge, InvalidParameter
from imgapi.pictures.bounds import Bounds, misfits
from imgapi.pictures.colour import as_srgb
from imgapi.pictures.encode import encode_jpeg, encode_png, encode_webp
from imgapi.pictures.frames import first_frame
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.outcomes import Fitted, PictureInfo
from imgapi.pictures.probe import probe
from imgapi.pictures.scale import flatten, resample, scaled_to_range
from imgapi.pictures.svg import render_svg

_QUALITIES = (95, 90, 85, 75, 60)
_SHRINK, _GROW = 0.85, 1.5
_LOSSY_FORMATS = frozenset({"jpeg"})
_ALPHA_FORMATS = frozenset({"png", "webp"})
_OPAQUE_MODES = frozenset({"1", "L", "RGB", "CMYK", "YCbCr"})


def fit(content: bytes, bounds: Bounds, limits: PictureLimits, *, svg_renderer: str = "resvg") -> Fitted:
    """Change a picture as little as it takes to fit; one that fits is given back untouched.

    A photograph ends as JPEG of quality 95, transparency as PNG; quality and then size fall until the bytes fit.

    Raises:
        InvalidParameter: Nothing can make it fit: its proportions, or too few bytes at any size.
        ImageTooLarge: Beyond the limits, or too many bytes at any size.
        UnreadableImage: The bytes can't be decoded.
    """
    info = probe(content, limits)
    if not misfits(info, bounds):
        return Fitted(content, info.format, info.width, info.height, ())
    size = _fitting_size(info, bounds)
    changes = []
    if info.frames > 1:
        changes.append(f"first of {info.frames} frames")
    if info.orientation != 1:
        changes.append("oriented")
    image = _decode(content, info, size, limits, svg_renderer)
    if image.has_transparency_data and _is_opaque(image):
        image = image.convert("RGB")
    elif image.has_transparency_data and not (bounds.alpha and bounds.formats & _ALPHA_FORMATS):
        image = flatten(image)
        changes.append("flattened onto white")
    image = resample(image, size)
    fitted, format_name = _encode_within(image, info, bounds)
    width, height = fitted.size
    if format_name != info.format:
        changes.append(f"converted {info.format} to {format_name}")
    if (width, height) != (info.width, info.height):
        changes.append(f"resized {info.width}x{info.height} to {width}x{height}")
    if fitted.recompressed and format_name == info.format:
        changes.append(f"recompressed to fit {bounds.max_bytes} bytes")
    return Fitted(fitted.content, format_name, width, height, tuple(changes) or (f"rewritten as 8-bit {format_name}",))


@dataclass(frozen=True, slots=True)
class _Encoded:
    content: bytes
    size: tuple[int, int]
    recompressed: bool


def _fitting_size(info: PictureInfo, bounds: Bounds) -> tuple[int, int]:
    aspect = max(info.width, info.height) / min(info.width, info.height)
    if bounds.max_aspect is not None and aspect > bounds.max_aspect:
        raise InvalidParameter(
            f"the picture is {info.width}x{info.height} pixels, one side {aspect:.3g} times the other; "
            f"the model accepts at most {bounds.max_aspect:g}: crop it",
        )
    size = scaled_to_range(info.width, info.height, min_dim=bounds.min_side, max_dim=bounds.max_side)
    if min(size) < bounds.min_side:
        raise InvalidParameter(
            f"the picture is {info.width}x{info.height} pixels; with these proportions no size has both sides within "
            f"{bounds.min_side} to {bounds.max_side} pixels, as the model needs: crop it",
        )
    return size


def _decode(
    content: bytes,
    info: PictureInfo,
    size: tuple[int, int],
    limits: PictureLimits,
    svg_renderer: str,
) -> Image.Image:
    if info.format == "svg":
        return render_svg(
            content,
            renderer=svg_renderer,
            max_pixels=max(limits.max_svg_pixels, size[0] * size[1]),
            max_side=max(limits.max_side, *size),
            max_bytes=limits.max_svg_bytes,
            scale=lambda _width, _height: size,
        )
    image = as_srgb(first_frame(content, info, target=size))
    if image.mode == "I;16":
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("RGB", "RGBA", "L"):
        return image
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _is_opaque(image: Image.Image) -> bool:
    return image.convert("RGBA").getchannel("A").getextrema() == (255, 255)


def _encode_within(image: Image.Image, info: PictureInfo, bounds: Bounds) -> tuple[_Encoded, str]:
    """Try encodings from the best down, then sizes, until the bytes are within the bounds."""
    smallest = ""
    started_as = image.size
    while True:
        too_small = False
        for number, (content, format_name) in enumerate(_encodings(image, info, bounds)):
            if len(content) > bounds.max_bytes:
                smallest = f"{len(content)} bytes as {format_name} of {image.width}x{image.height} pixels"
            elif len(content) < bounds.min_bytes:
                too_small = True
            else:
                return _Encoded(content, image.size, number > 0 or image.size != started_as), format_name
        factor = _GROW if too_small else _SHRINK
        size = (round(image.width * factor), round(image.height * factor))
        if too_small and (smallest or max(size) > bounds.max_side):
            raise InvalidParameter(f"the picture has too little in it to reach {bounds.min_bytes} bytes")
        if min(size) < bounds.min_side:
            raise ImageTooLarge(f"the picture can't be brought below {bounds.max_bytes} bytes; it still has {smallest}")
        image = resample(image, size)


def _encodings(image: Image.Image, info: PictureInfo, bounds: Bounds) -> Iterator[tuple[bytes, str]]:
    """Encode as the formats allow: lossless for what came lossless or has alpha, then JPEG of falling quality."""
    opaque = image.mode in _OPAQUE_MODES
    lossless = not opaque or info.format not in (*_LOSSY_FORMATS, "webp") or not bounds.formats & _LOSSY_FORMATS
    if lossless and "png" in bounds.formats:
        yield encode_png(image), "png"
    if opaque and "jpeg" in bounds.formats:
        for quality in _QUALITIES:
            content = encode_jpeg(image, quality=quality, subsampling=0 if quality == _QUALITIES[0] else 2)
            yield content, "jpeg"
            if len(content) < bounds.min_bytes:
                break
    if "webp" in bounds.formats:
        yield encode_webp(image), "webp"
    if "png" in bounds.formats and bounds.min_bytes:
        # Uncompressed, for models that refuse files below a size.
        yield encode_png(image, level=0), "png"
