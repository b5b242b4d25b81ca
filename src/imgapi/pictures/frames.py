"""Decoded frames, oriented, each as a viewer would show it."""

from collections.abc import Iterator

from PIL import Image

from imgapi.errors import UnreadableImage
from imgapi.pictures import apng, bmp, gif, tiff_pages
from imgapi.pictures.deep import decode_odd_tiff
from imgapi.pictures.jpeg_sound import decode_without_end, is_lossless
from imgapi.pictures.limits import PictureLimits, check_size
from imgapi.pictures.outcomes import PictureInfo
from imgapi.pictures.rasters import decoding, open_raster, orient, oriented_size
from imgapi.pictures.unsupported import refuse_tiff

# A JPEG is decoded at 1/2, 1/4 or 1/8 as long as this many times the target remain for Lanczos to work on.
_DRAFT_MARGIN = 1.5


def first_frame(content: bytes, info: PictureInfo, *, target: tuple[int, int] | None = None) -> Image.Image:
    """Decode the first frame of a raster, oriented; its ICC profile stays in `info["icc_profile"]`.

    Of a GIF that is in parts, it is all of them.

    Args:
        content: The picture, already probed.
        info: What probing it told.
        target: The size it will be scaled to; a large JPEG is then decoded at a fraction not below it.
    """
    with decoding(info.format):
        if info.format == "gif":
            return gif.still(content)
        if info.format == "bmp":
            return _decode_bmp(content, info)
        if info.format == "tiff" and (odd := decode_odd_tiff(content, 0)) is not None:
            return odd
        image = open_raster(content, info.format)
        if info.format == "jpeg" and target is not None and not is_lossless(content):
            width, height = oriented_size(*target, info.orientation)
            image.draft(None, (round(width * _DRAFT_MARGIN), round(height * _DRAFT_MARGIN)))
        image = _load(image, content)
        # Pillow turns a TIFF while loading it.
        return image if info.format == "tiff" else orient(image, info.orientation)


def _load(image: Image.Image, content: bytes) -> Image.Image:
    try:
        image.load()
    except OSError:
        if image.format != "JPEG" or content.rstrip(b"\x00").endswith(b"\xff\xd9"):
            raise
        return decode_without_end(content)
    return image


def _decode_bmp(content: bytes, info: PictureInfo) -> Image.Image:
    embedded = bmp.read_header(content).embedded
    if embedded is None:
        return bmp.decode(content)
    image = open_raster(bmp.embedded_picture(content), embedded)
    if image.size != (info.width, info.height):
        raise UnreadableImage(f"the bmp picture says it is {info.width}x{info.height} pixels, its {embedded} does not")
    image.load()
    return image


def all_frames(content: bytes, info: PictureInfo, limits: PictureLimits) -> Iterator[Image.Image]:
    """Decode every frame in order, one held at a time; a page of a TIFF has its own size."""
    if info.format == "gif":
        frames = gif.composited_frames(content)
    elif info.format == "tiff" and info.frames > 1:
        frames = _tiff_pages(content, info, limits)
    elif info.format == "png" and (info.frames > 1 or info.hides_still):
        frames = (orient(frame, info.orientation) for frame in apng.composited_frames(content))
    elif info.frames > 1:
        frames = _seek_frames(content, info, limits)
    else:
        frames = iter((first_frame(content, info),))
    while True:
        with decoding(info.format):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def _seek_frames(content: bytes, info: PictureInfo, limits: PictureLimits) -> Iterator[Image.Image]:
    with open_raster(content, info.format) as image:
        for number in range(info.frames):
            image.seek(number)
            check_size(*image.size, max_pixels=limits.max_pixels, max_side=limits.max_side)
            image.load()
            yield orient(image.copy(), info.orientation)


def _tiff_pages(content: bytes, info: PictureInfo, limits: PictureLimits) -> Iterator[Image.Image]:
    pages = list(tiff_pages.read_pages(content))
    opened: Image.Image | None = None
    first = 0
    for number, page in enumerate(pages):
        check_size(page.width, page.height, max_pixels=limits.max_pixels, max_side=limits.max_side)
        refuse_tiff(page)
        odd = decode_odd_tiff(content, number)
        if odd is not None:
            yield odd
            continue
        if opened is None:
            # Pillow opens no file whose first page it can't read.
            opened, first = open_raster(tiff_pages.beginning_at(content, page), info.format), number
        opened.seek(number - first)
        opened.load()
        yield opened.copy()


def verify(content: bytes, info: PictureInfo) -> None:
    """Make sure that the pixels decode to their end, as cheaply as the format allows; UnreadableImage if not."""
    if info.format == "png":
        # Taking out its metadata reads all of its pixels.
        return
    with decoding(info.format), open_raster(content, info.format) as image:
        if info.format == "jpeg" and not is_lossless(content):
            # An eighth still reads every coefficient but computes few pixels.
            image.draft(None, (1, 1))
        _load(image, content)
