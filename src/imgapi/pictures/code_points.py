"""ICC profiles of the colours that a PNG states by code points, in its cICP chunk.

Sources: PNG specification, third edition, 11.3.2.6; ITU-T H.273, tables 2 and 3; ICC.1:2010.
"""

import struct
from functools import lru_cache

import numpy as np
import numpy.typing as npt

_Matrix = npt.NDArray[np.float64]
_Chromaticity = tuple[float, float]

_D65, _DCI = (0.3127, 0.3290), (0.314, 0.351)
# Red, green, blue and white by number.
_PRIMARIES: dict[int, tuple[_Chromaticity, ...]] = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
}
# Light of a value as (a × value + b) to the power g, or c × value below d: g, a, b, c, d.
_Curve = tuple[float, float, float, float, float]
_TELEVISION: _Curve = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_CURVES: dict[int, _Curve] = {
    **dict.fromkeys((1, 6, 14, 15), _TELEVISION),
    4: (2.2, 1, 0, 0, 0),
    5: (2.8, 1, 0, 0, 0),
    8: (1, 1, 0, 1, 0),
    13: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
}
_SRGB = (1, 13)
_RGB_IN_FULL_RANGE = (0, 1)
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def is_understood(body: bytes) -> bool:
    """Tell whether a cICP chunk states colours that have a profile; those of high dynamic range have none."""
    is_plain = len(body) == 4 and (body[2], body[3]) == _RGB_IN_FULL_RANGE  # noqa: PLR2004 - its length
    return is_plain and body[0] in _PRIMARIES and body[1] in _CURVES


@lru_cache(maxsize=64)
def profile_of(body: bytes) -> bytes | None:
    """Make the RGB profile that a cICP chunk stands for; None for sRGB and for what has none."""
    if not is_understood(body) or (body[0], body[1]) == _SRGB:
        return None
    curve = b"para" + struct.pack(">IHH", 0, 3, 0) + _fixed(*_CURVES[body[1]])
    text = "".join(f" {number}" for number in body)
    tags = [(b"desc", _text(f"cICP{text}")), (b"cprt", _text("CC0")), (b"wtpt", _xyz(_D50))]
    tags += zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, _colorants(*_PRIMARIES[body[0]]).T), strict=True)
    tags += [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    return _profile(tags)


def _colorants(red: _Chromaticity, green: _Chromaticity, blue: _Chromaticity, white: _Chromaticity) -> _Matrix:
    """Give XYZ of the primaries, one a column, as they are seen under D50."""
    columns = np.array([_light(*each) for each in (red, green, blue)]).T
    seen = _light(*white)
    scaled = columns * np.linalg.solve(columns, seen)
    cones = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ seen))
    return np.asarray(np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ scaled, np.float64)


def _light(x: float, y: float) -> _Matrix:
    return np.array([x / y, 1, (1 - x - y) / y])


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65_536) for number in numbers))


def _xyz(numbers: _Matrix) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*numbers)


def _text(words: str) -> bytes:
    encoded = words.encode("utf-16-be")
    return b"mluc" + struct.pack(">III2s2sII", 0, 1, 12, b"en", b"US", len(encoded), 28) + encoded


def _profile(tags: list[tuple[bytes, bytes]]) -> bytes:
    start = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for name, body in tags:
        table += struct.pack(">4sII", name, start + len(data), len(body))
        data += body.ljust(-(-len(body) // 4) * 4, b"\x00")
    header = struct.pack(">I4sI4s4s4s", start + len(data), bytes(4), 0x04300000, b"mntr", b"RGB ", b"XYZ ")
    header = (header.ljust(36, b"\x00") + b"acsp").ljust(68, b"\x00") + _fixed(*_D50)
    return header.ljust(128, b"\x00") + table + data
