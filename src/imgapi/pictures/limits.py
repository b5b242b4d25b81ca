"""How large a picture may be, checked before anything is decoded."""

from dataclasses import dataclass

from imgapi.errors import ImageTooLarge

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PictureLimits:
    """The largest picture that is opened, one number a dimension.

    Attributes:
        max_bytes: Size of the encoded picture.
        max_pixels: Width times height of one frame.
        max_total_pixels: The same over all frames, where all frames are decoded.
        max_side: Width or height in pixels.
        max_frames: Frames of an animation or pages of a TIFF.
        max_svg_bytes: Size of an SVG document.
        max_svg_pixels: Width times height an SVG is rendered at.
    """

    max_bytes: int = 20 * _MEBIBYTE
    max_pixels: int = 50_000_000
    max_total_pixels: int = 100_000_000
    max_side: int = 16_384
    max_frames: int = 500
    max_svg_bytes: int = 5 * _MEBIBYTE
    max_svg_pixels: int = 16_000_000


def check_bytes(size_bytes: int, max_bytes: int, what: str = "the picture") -> None:
    """Refuse more bytes than allowed with ImageTooLarge."""
    if size_bytes > max_bytes:
        raise ImageTooLarge(
            f"{what} has {size_bytes / _MEBIBYTE:.1f} MiB ({size_bytes} bytes); "
            f"at most {max_bytes / _MEBIBYTE:.4g} MiB are taken",
        )


def check_size(width: int, height: int, *, max_pixels: int, max_side: int) -> None:
    """Refuse a side or an area beyond the limits with ImageTooLarge, which names the limit and the actual value."""
    if max(width, height) > max_side:
        raise ImageTooLarge(f"the picture is {width}x{height} pixels; a side may have at most {max_side}")
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"the picture is {width}x{height} pixels ({width * height / 1e6:.1f} megapixels); "
            f"at most {max_pixels / 1e6:.4g} megapixels are taken",
        )


def check_frames(frames: int, limits: PictureLimits) -> None:
    """Refuse more frames than allowed with ImageTooLarge."""
    if frames > limits.max_frames:
        raise ImageTooLarge(f"the picture has more than {limits.max_frames} frames; at most that many are taken")


def check_total_pixels(total_pixels: int, limits: PictureLimits) -> None:
    """Refuse an animation whose frames together are too many pixels; for work that decodes every frame."""
    if total_pixels > limits.max_total_pixels:
        raise ImageTooLarge(
            f"all frames together are {total_pixels / 1e6:.1f} megapixels; "
            f"at most {limits.max_total_pixels / 1e6:.4g} are taken",
        )
