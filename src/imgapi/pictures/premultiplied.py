"""Colours multiplied by their alpha, as renderers work with them, turned back into those of a PNG."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

_LEVELS = 256
_BLOCK_PIXELS = 128 * 1024


def straighten(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Divide colours by their alpha, with the rounding of resvg's own PNGs.

    Args:
        pixels: H×W×4, no colour above its alpha.

    Returns:
        Another H×W×4.
    """
    straight = np.array(pixels)
    words = straight.view("<u4").ravel()
    # By blocks, so that what is reckoned with stays small.
    for start in range(0, len(words), _BLOCK_PIXELS):
        _straighten_words(words[start : start + _BLOCK_PIXELS])
    return straight


def _straighten_words(words: NDArray[np.uint32]) -> None:
    """Divide in place; whole pixels, alpha in the highest byte, take half the time of single channels."""
    # Neither clear nor opaque, which mostly is the edges only: clear ones wrap around beyond opaque ones.
    partly = np.flatnonzero(words - np.uint32(1 << 24) < (_LEVELS - 2) << 24)
    picked = words[partly]
    row = picked >> 24 << 8
    divided = picked & 0xFF000000
    table = _quotients()
    for shift in (0, 8, 16):
        divided |= table.take(row | picked >> shift & 0xFF).astype(np.uint32) << shift
    words[partly] = divided


@cache
def _quotients() -> NDArray[np.uint8]:
    """Tabulate colour by alpha: 256 colours for each alpha of 0 to 255."""
    colours = np.arange(_LEVELS, dtype=np.float64)
    alphas = np.maximum(colours, 1)[:, None] / (_LEVELS - 1)
    return np.minimum(colours / alphas + 0.5, _LEVELS - 1).astype(np.uint8).ravel()
