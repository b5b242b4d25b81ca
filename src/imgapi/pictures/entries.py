"""What worker processes are asked for: there, at the first call, are the modules imported that decode and draw.

Whoever asks imports neither these nor the libraries under them, so that bytes from outside meet no decoder in the
process that holds keys and answers callers, and that process is smaller by them.
"""

from collections.abc import Sequence

from imgapi.pictures.bounds import Bounds
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.outcomes import Converted, Fitted, PictureInfo, Resized


def probe(content: bytes, limits: PictureLimits) -> PictureInfo:
    """Do `probe.probe`."""
    from imgapi.pictures import probe as module

    return module.probe(content, limits)


def resize(content: bytes, *, min_dim: int, max_dim: int, limits: PictureLimits, svg_renderer: str) -> Resized:
    """Do `resize.resize`."""
    from imgapi.pictures import resize as module

    return module.resize(content, min_dim=min_dim, max_dim=max_dim, limits=limits, svg_renderer=svg_renderer)


def convert_to_png(content: bytes, *, all_frames: bool, limits: PictureLimits, svg_renderer: str) -> Converted:
    """Do `convert.convert_to_png`."""
    from imgapi.pictures import convert as module

    return module.convert_to_png(content, all_frames=all_frames, limits=limits, svg_renderer=svg_renderer)


def reencode(content: bytes, wanted: str, *, limits: PictureLimits) -> bytes:
    """Do `reencode.reencode`."""
    from imgapi.pictures import reencode as module

    return module.reencode(content, wanted, limits=limits)


def fit(content: bytes, bounds: Bounds, limits: PictureLimits, *, svg_renderer: str = "resvg") -> Fitted:
    """Do `fit.fit`."""
    from imgapi.pictures import fit as module

    return module.fit(content, bounds, limits, svg_renderer=svg_renderer)


def enlarge_canvas(content: bytes, scales: tuple[float, float, float, float]) -> bytes:
    """Do `canvas.enlarge_canvas`."""
    from imgapi.pictures import canvas as module

    return module.enlarge_canvas(content, scales)


def has_clear_pixels(content: bytes) -> bool:
    """Do `canvas.has_clear_pixels`."""
    from imgapi.pictures import canvas as module

    return module.has_clear_pixels(content)


def draw_mask(
    size: tuple[int, int],
    target: tuple[int, int],
    boxes: Sequence[tuple[int, int, int, int]],
    mask: bytes | None,
) -> bytes:
    """Do `mask.draw_mask`."""
    from imgapi.pictures import mask as module

    return module.draw_mask(size, target, boxes, mask)
