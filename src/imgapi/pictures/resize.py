"""A picture brought into a range of sides, its format kept."""

from xml.etree.ElementTree import Element

from PIL import Image, JpegImagePlugin

from imgapi.errors import InvalidParameter
from imgapi.pictures.chunks import stated_colours, strip_png, strip_webp
from imgapi.pictures.colour import as_png_mode, as_srgb, expand_key_colour, profile_fits
from imgapi.pictures.deep import decode_deep, deep_profile, encode_deep_png, is_deep_colour, resample_deep
from imgapi.pictures.encode import WEBP_SIDE, StatedColours, encode_jpeg, encode_png, encode_webp
from imgapi.pictures.frames import first_frame, verify
from imgapi.pictures.jpeg_sound import strip_jpeg
from imgapi.pictures.limits import PictureLimits, check_bytes
from imgapi.pictures.outcomes import PictureInfo, Resized
from imgapi.pictures.probe import probe, probe_svg
from imgapi.pictures.rasters import decoding, open_raster, oriented_size
from imgapi.pictures.scale import resample, scaled_to_range
from imgapi.pictures.signatures import recognise
from imgapi.pictures.svg import draw_svg_png
from imgapi.pictures.svg_document import read_svg

_KEPT_FORMATS = frozenset({"jpeg", "png", "webp"})


def resize(content: bytes, *, min_dim: int, max_dim: int, limits: PictureLimits, svg_renderer: str) -> Resized:
    """Scale a picture by the resize rule; one already in range keeps its pixels, only its metadata go.

    An animation that has to be resampled becomes its first frame; an SVG is drawn at the size it shall have.

    Raises:
        InvalidParameter: The result would be beyond the limits.
        UnreadableImage: The bytes can't be decoded.
        UnsupportedFormat: A format that is not taken.
        ImageTooLarge: Beyond the limits.
        CapabilityMissing: An SVG, and no renderer for it.
    """
    check_bytes(len(content), limits.max_bytes)
    # What is probed is what is drawn: reading a large document takes as long as drawing it.
    drawing = read_svg(content, limits.max_svg_bytes) if recognise(content) == "svg" else None
    info = probe(content, limits) if drawing is None else probe_svg(drawing, len(content), limits)
    size = scaled_to_range(info.width, info.height, min_dim=min_dim, max_dim=max_dim)
    max_pixels = limits.max_svg_pixels if info.format == "svg" else limits.max_pixels
    if size[0] * size[1] > max_pixels:
        raise InvalidParameter(
            f"min_dim {min_dim} would make the picture {size[0]}x{size[1]} pixels; "
            f"at most {max_pixels / 1e6:.4g} megapixels are made",
            field="min_dim",
        )
    if info.format == "webp" and max(size) > WEBP_SIDE:
        raise InvalidParameter(
            f"max_dim {max_dim} would make the picture {size[0]}x{size[1]} pixels; "
            f"a WebP may have at most {WEBP_SIDE} a side",
            field="max_dim",
        )
    if drawing is not None:
        resized = _draw_svg(drawing, size, limits, svg_renderer)
    elif size == (info.width, info.height) and info.format in _KEPT_FORMATS:
        resized = _keep_pixels(content, info)
    else:
        resized = _resample(content, info, size)
    kept_format = info.format if info.format in _KEPT_FORMATS else "png"
    return Resized(resized, kept_format, info.width, info.height, *size)


def _draw_svg(drawing: Element, size: tuple[int, int], limits: PictureLimits, renderer: str) -> bytes:
    return draw_svg_png(
        drawing,
        renderer=renderer,
        max_pixels=limits.max_svg_pixels,
        max_side=max(limits.max_side, *size),
        scale=lambda _width, _height: size,
    )


def _keep_pixels(content: bytes, info: PictureInfo) -> bytes:
    if info.orientation == 1:
        verify(content, info)
        stripped = _strip(content, info.format)
        if stripped is not None:
            return stripped
    return _resample(content, info, (info.width, info.height))


def _strip(content: bytes, format_name: str) -> bytes | None:
    """Take the metadata out; None where that leaves no sound file, so that it has to be written anew."""
    if format_name == "png":
        with decoding(format_name):
            return strip_png(content, keep_animation=True)
    try:
        return strip_jpeg(content) if format_name == "jpeg" else strip_webp(content)
    except EOFError:
        # Its pixels decode, but its container ends early.
        return None


def _resample(content: bytes, info: PictureInfo, size: tuple[int, int]) -> bytes:
    if is_deep_colour(info) and info.format != "webp":
        deep = decode_deep(content, info)
        if deep is not None:
            return encode_deep_png(resample_deep(deep, size), deep_profile(content, info), _stated(content, info))
    resampled = size != (info.width, info.height)
    image = first_frame(content, info, target=size if resampled else None)
    profile = image.info.get("icc_profile") if profile_fits(image) else None
    if info.format == "jpeg":
        return _encode_like(content, resample(image, size), profile, resampled=resampled, info=info)
    if image.mode in ("CMYK", "LAB"):
        image, profile = as_srgb(image), None
    image = resample(as_png_mode(expand_key_colour(image)), size)
    if info.format == "webp":
        return encode_webp(image, profile, lossless=b"VP8L" in content[:64])
    return encode_png(image, profile, stated=_stated(content, info))


def _stated(content: bytes, info: PictureInfo) -> StatedColours:
    return stated_colours(content) if info.format == "png" else ()


def _encode_like(
    content: bytes,
    image: Image.Image,
    profile: bytes | None,
    *,
    resampled: bool,
    info: PictureInfo,
) -> bytes:
    """Encode a JPEG with its original's chroma sampling, and its tables too where the pixels are the same."""
    with decoding("jpeg"), open_raster(content, "jpeg") as original:
        sampling = JpegImagePlugin.get_sampling(original)
        tables = original.quantization if isinstance(original, JpegImagePlugin.JpegImageFile) else {}
    turned = oriented_size(1, 2, info.orientation) != (1, 2)
    # 4:2:2 turned by a quarter would be 4:4:0, which the encoder does not offer.
    subsampling = 0 if sampling == 0 or (sampling == 1 and turned) else 2 if sampling < 0 else sampling
    if image.mode == "CMYK":
        # No ink is mere chroma: halving magenta and yellow smears what they draw.
        subsampling = 0
    if resampled or not tables:
        return encode_jpeg(image, profile, subsampling=subsampling)
    return encode_jpeg(image, profile, subsampling=subsampling, tables=tables)
