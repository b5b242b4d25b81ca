"""What an upstream model accepts of a picture, and what a picture lacks for it."""

from collections.abc import Iterator
from dataclasses import dataclass

from imgapi.pictures.outcomes import PictureInfo

_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an upstream model accepts; the numbers are in `docs/upstream.md`.

    Attributes:
        formats: Names as PictureInfo.format has them.
        min_side: Smallest width and height in pixels.
        max_side: Largest width and height in pixels.
        max_bytes: Largest encoded size.
        min_bytes: Smallest encoded size.
        max_aspect: Largest longer side divided by shorter side; None for any.
        alpha: Transparency is accepted; otherwise it is laid onto white.
    """

    formats: frozenset[str]
    min_side: int
    max_side: int
    max_bytes: int
    min_bytes: int = 0
    max_aspect: float | None = None
    alpha: bool = True


def misfits(info: PictureInfo, bounds: Bounds) -> tuple[str, ...]:
    """Say why a picture can't be passed on as it is, limit and actual value in each part; empty when it can."""
    return (*_misfits_of_size(info, bounds), *_misfits_of_kind(info, bounds))


def _misfits_of_size(info: PictureInfo, bounds: Bounds) -> Iterator[str]:
    width, height = info.width, info.height
    if min(width, height) < bounds.min_side:
        yield f"it is {width}x{height} pixels, each side must have at least {bounds.min_side}"
    if max(width, height) > bounds.max_side:
        yield f"it is {width}x{height} pixels, a side may have at most {bounds.max_side}"
    if bounds.max_aspect is not None and max(width, height) > bounds.max_aspect * min(width, height):
        yield f"its longer side is {_aspect(width, height)} times the shorter, accepted is {bounds.max_aspect:g}"
    if info.size_bytes > bounds.max_bytes:
        yield f"it has {info.size_bytes} bytes, accepted are at most {bounds.max_bytes}"
    if info.size_bytes < bounds.min_bytes:
        yield f"it has {info.size_bytes} bytes, accepted are at least {bounds.min_bytes}"


def _misfits_of_kind(info: PictureInfo, bounds: Bounds) -> Iterator[str]:
    if info.format not in bounds.formats:
        yield f"the format is {info.format}, accepted are {', '.join(sorted(bounds.formats))}"
    if info.orientation != 1:
        yield f"its EXIF orientation is {info.orientation}, which a model may not apply; expected is 1"
    if info.frames > 1:
        yield f"it has {info.frames} frames, accepted is 1"
    if info.has_transparency and not bounds.alpha:
        yield "it has transparency, accepted are only opaque pictures"
    if info.deep or info.mode not in _EIGHT_BIT_MODES:
        yield f"its pixels are of mode {info.mode}{' with 16 bits' if info.deep else ''}, accepted are 8-bit RGB"


def _aspect(width: int, height: int) -> str:
    return f"{max(width, height) / min(width, height):.3g}"
