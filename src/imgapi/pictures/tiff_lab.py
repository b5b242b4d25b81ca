"""CIE L*a*b* samples of a TIFF turned into sRGB.

Sources: Adobe's TIFF technical notes of 2002, which give 16 bits to what TIFF 6.0 has in 8; for photometric 9 the ICC
specification of 1998, table of L*a*b* encodings; white is D50 in both, as Photoshop and every ICC profile have it.
"""

import numpy as np
import numpy.typing as npt

CIE_LAB, ICC_LAB = 8, 9
DEPTHS = (8, 16)
_FULL = 65_535
# As many rows are turned at once, in floats.
_BAND_ROWS = 16
# The lightness of white, and a step of 1 in a* and b*, by depth.
_WHITE = {(8, CIE_LAB): 255, (16, CIE_LAB): 65_535, (8, ICC_LAB): 255, (16, ICC_LAB): 0xFF00}
_STEP = {8: 1, 16: 256}
_D50 = np.array((0.96422, 1.0, 0.82521), np.float32)
# XYZ under D50 to linear sRGB, adapted to D65 by Bradford's matrix; rows are X, Y and Z.
_TO_SRGB = np.array(
    ((3.1338561, -0.9787684, 0.0719453), (-1.6168667, 1.9161415, -0.2289914), (-0.4906146, 0.0334540, 1.4052427)),
    np.float32,
)
# CIE 15, section 8.2.1.
_EPSILON, _KAPPA = 216 / 24_389, 24_389 / 27

_Floats = npt.NDArray[np.float32]


def lab_to_srgb(numbers: npt.NDArray[np.generic], depth: int, photometric: int) -> npt.NDArray[np.uint16]:
    """Turn H×W×3 samples as they are stored into RGB, 0..65535; colours outside of sRGB are clipped.

    Args:
        numbers: L*, a* and b*, as unsigned numbers whatever they mean.
        depth: One of `DEPTHS`, bits a sample.
        photometric: `CIE_LAB`, whose a* and b* are signed, or `ICC_LAB`, where they are moved up by 128.
    """
    converted = np.empty(numbers.shape, np.uint16)
    kind = np.dtype(f"i{depth // 8}")
    for top in range(0, len(numbers), _BAND_ROWS):
        band = numbers[top : top + _BAND_ROWS]
        lightness = band[..., 0].astype(np.float32) * np.float32(100 / _WHITE[depth, photometric])
        if photometric == CIE_LAB:
            opponents = band[..., 1:].astype(kind).astype(np.float32) / np.float32(_STEP[depth])
        else:
            opponents = band[..., 1:].astype(np.float32) / np.float32(_STEP[depth]) - np.float32(128)
        linear = np.clip(_to_xyz(lightness, opponents) @ _TO_SRGB, 0, 1)
        converted[top : top + _BAND_ROWS] = _curved(linear) * np.float32(_FULL) + np.float32(0.5)
    return converted


def _to_xyz(lightness: _Floats, opponents: _Floats) -> _Floats:
    roots = np.empty((*lightness.shape, 3), np.float32)
    roots[..., 1] = (lightness + 16) / 116
    roots[..., 0] = roots[..., 1] + opponents[..., 0] / 500
    roots[..., 2] = roots[..., 1] - opponents[..., 1] / 200
    cubes = roots * roots * roots
    dark = cubes <= _EPSILON
    cubes[dark] = (116 * roots[dark] - 16) / np.float32(_KAPPA)
    return cubes * _D50


def _curved(linear: _Floats) -> _Floats:
    """Apply sRGB's curve (IEC 61966-2-1)."""
    curved = np.float32(1.055) * linear ** np.float32(1 / 2.4) - np.float32(0.055)
    dark = linear <= 0.0031308  # noqa: PLR2004 - where the curve begins
    curved[dark] = linear[dark] * np.float32(12.92)
    return curved
