"""Decoded frames, oriented, each as a viewer would show it."""

from collections.abc import Iterator
from itertools import islice

from PIL import Image

from imgapi.errors import UnreadableImage
from imgapi.pictures import gif
from imgapi.pictures.limits import PictureLimits, check_size
from imgapi.pictures.probe import PictureInfo
from imgapi.pictures.rasters import decoding, open_raster, orient, oriented_size

# A JPEG is decoded at 1/2, 1/4 or 1/8 as long as this many times the target remain for Lanczos to work on.
_DRAFT_MARGIN = 1.5


def first_frame(content: bytes, info: PictureInfo, *, target: tuple[int, int] | None = None) -> Image.Image:
    """Decode the first frame of a raster, oriented; its ICC profile stays in `info["icc_profile"]`.

    Args:
        content: The picture, already probed.
        info: What probing it told.
        target: The size it will be scaled to; a large JPEG is then decoded at a fraction not below it.
    """
    with decoding(info.format):
        if info.format == "gif":
            return _first(gif.composited_frames(content), info)
        image = open_raster(content, info.format)
        if info.format == "jpeg" and target is not None:
            width, height = oriented_size(*target, info.orientation)
            image.draft(None, (round(width * _DRAFT_MARGIN), round(height * _DRAFT_MARGIN)))
        image.load()
        # Pillow turns a TIFF while loading it.
        return image if info.format == "tiff" else orient(image, info.orientation)


def _first(frames: Iterator[Image.Image], info: PictureInfo) -> Image.Image:
    for frame in islice(frames, 1):
        return frame
    raise UnreadableImage(f"the {info.format} picture has no frame")


def all_frames(content: bytes, info: PictureInfo, limits: PictureLimits) -> Iterator[Image.Image]:
    """Decode every frame in order, one held at a time; a page of a TIFF has its own size."""
    if info.format == "gif":
        frames = gif.composited_frames(content)
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
        # The default image of an APNG that is not part of its animation.
        hidden = 1 if getattr(image, "default_image", False) else 0
        for number in range(hidden, info.frames + hidden):
            image.seek(number)
            check_size(*image.size, max_pixels=limits.max_pixels, max_side=limits.max_side)
            image.load()
            frame = image.copy()
            yield frame if info.format == "tiff" else orient(frame, info.orientation)


def verify(content: bytes, info: PictureInfo) -> None:
    """Make sure that the pixels decode to their end, as cheaply as the format allows; UnreadableImage if not."""
    with decoding(info.format), open_raster(content, info.format) as image:
        if info.format == "jpeg":
            # An eighth still reads every coefficient but computes few pixels.
            image.draft(None, (1, 1))
        image.load()
