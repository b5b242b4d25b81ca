"""What pixel work gives back, known without any of the libraries that do it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """The header of a picture.

    Attributes:
        format: `jpeg`, `png`, `webp`, `svg`, `tiff`, `gif` or `bmp`, by content, never by label.
        width: Pixels, after the EXIF orientation; an SVG's is its intrinsic width at 96 dpi.
        height: Pixels, likewise.
        mode: Pillow's mode of the stored pixels; `RGBA` for an SVG.
        frames: Frames of an animation or pages of a TIFF.
        orientation: EXIF orientation, 1 to 8.
        has_transparency: The header says that pixels may be transparent: alpha channel, tRNS, GIF colour key.
        size_bytes: Encoded size.
        total_pixels: Pixels of all frames together.
        deep: Samples have 16 bits or more.
        hides_still: The picture that an APNG shows where nothing moves is none of its frames.
    """

    format: str
    width: int
    height: int
    mode: str
    frames: int
    orientation: int
    has_transparency: bool
    size_bytes: int
    total_pixels: int = 0
    deep: bool = False
    hides_still: bool = False


@dataclass(frozen=True, slots=True)
class Resized:
    """A picture after the resize rule; sizes in pixels, both after orientation.

    Attributes:
        content: The encoded picture.
        format: `jpeg`, `png` or `webp`.
        original_width: Width before.
        original_height: Height before.
        width: Width after.
        height: Height after.
    """

    content: bytes
    format: str
    original_width: int
    original_height: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Converted:
    """The PNGs made of a picture.

    Attributes:
        original_format: Format of the input by its content: `jpeg`, `png`, `webp`, `svg`, `tiff`, `gif` or `bmp`.
        frames: One PNG a frame, in order; one only unless all frames were asked for.
    """

    original_format: str
    frames: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A picture that fits.

    Attributes:
        content: The encoded picture; the very input where it fitted.
        format: Its format.
        width: Pixels.
        height: Pixels.
        changes: What was done, for callers: `resized 300x200 to 768x512`, `converted gif to png`, `oriented` …
    """

    content: bytes
    format: str
    width: int
    height: int
    changes: tuple[str, ...]
