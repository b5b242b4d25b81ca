"""What a picture is, read from its header without decoding a pixel."""

from collections.abc import Callable
from xml.etree.ElementTree import Element

from imgapi.errors import UnreadableImage
from imgapi.pictures import headers
from imgapi.pictures.limits import PictureLimits, check_bytes, check_frames, check_size
from imgapi.pictures.outcomes import PictureInfo
from imgapi.pictures.rasters import decoding, exif_orientation, open_raster, oriented_size
from imgapi.pictures.signatures import recognise
from imgapi.pictures.svg_document import intrinsic_size, read_svg, rendered_size


def probe(content: bytes, limits: PictureLimits) -> PictureInfo:
    """Read format, size and kind of a picture; no pixel is decoded.

    Raises:
        UnreadableImage: Empty, truncated or damaged header, or no picture at all.
        UnsupportedFormat: A known format that is not taken.
        ImageTooLarge: Bytes, pixels, a side or frames beyond the limits.
    """
    check_bytes(len(content), limits.max_bytes)
    format_name = recognise(content)
    if format_name == "svg":
        return probe_svg(read_svg(content, limits.max_svg_bytes), len(content), limits)
    with decoding(format_name):
        header = _READERS[format_name](content, limits.max_frames)
    if min(header.width, header.height) < 1:
        raise UnreadableImage(f"the {format_name} picture says it is {header.width}x{header.height} pixels")
    check_size(header.width, header.height, max_pixels=limits.max_pixels, max_side=limits.max_side)
    check_frames(header.frames, limits)
    mode, orientation, transparent, deep = header.mode, header.orientation, header.transparent, header.deep
    if mode is None:
        with decoding(format_name), open_raster(content, format_name) as image:
            mode = image.mode
            if format_name == "jpeg":
                orientation = exif_orientation(image.info.get("exif", b""))
            transparent = transparent or image.has_transparency_data
    width, height = oriented_size(header.width, header.height, orientation)
    return PictureInfo(
        format=format_name,
        width=width,
        height=height,
        mode=mode,
        frames=header.frames,
        orientation=orientation,
        has_transparency=transparent,
        size_bytes=len(content),
        total_pixels=header.total_pixels or width * height * header.frames,
        deep=deep,
        hides_still=header.hides_still,
    )


def probe_svg(root: Element, size_bytes: int, limits: PictureLimits) -> PictureInfo:
    """Tell the size of an SVG that was read already.

    Raises:
        UnreadableImage: It says that it has no width or height.
        ImageTooLarge: Pixels or a side beyond the limits.
    """
    width, height = rendered_size(intrinsic_size(root))
    check_size(width, height, max_pixels=limits.max_svg_pixels, max_side=limits.max_side)
    return PictureInfo(
        format="svg",
        width=width,
        height=height,
        mode="RGBA",
        frames=1,
        orientation=1,
        has_transparency=True,
        size_bytes=size_bytes,
        total_pixels=width * height,
    )


_READERS: dict[str, Callable[[bytes, int], headers.Header]] = {
    "jpeg": headers.read_jpeg,
    "png": headers.read_png,
    "webp": headers.read_webp,
    "tiff": headers.read_tiff,
    "gif": headers.read_gif,
    "bmp": headers.read_bmp,
}
