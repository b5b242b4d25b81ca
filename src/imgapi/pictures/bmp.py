"""BMP: its headers, and its pixels decoded as browsers show them.

Pillow refuses most bit fields, OS/2's codings and short headers, and palettes of odd sizes, so all kinds are read here.
Sources: the BITMAPV5HEADER reference; the notes of the bmpsuite collection on what browsers take.
"""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgapi.errors import UnreadableImage
from imgapi.pictures.bmp_huffman import decode_huffman
from imgapi.pictures.bmp_runs import decode_runs
from imgapi.pictures.signatures import OS2_HEADER_SIZES

_RGB, _RLE8, _RLE4, _BITFIELDS, _JPEG, _PNG, _ALPHABITFIELDS = range(7)
_HUFFMAN, _RLE24 = 103, 104
_OS2_COMPRESSIONS = {0: _RGB, 1: _RLE8, 2: _RLE4, 3: _HUFFMAN, 4: _RLE24}
_CORE, _INFO, _WITH_MASKS, _WITH_ALPHA_MASK, _V5 = 12, 40, 52, 56, 124
_WITH_COMPRESSION, _WITH_COLOURS = 20, 36
_FILE_HEADER = 14
_DEPTHS = {
    _RGB: (1, 2, 4, 8, 16, 24, 32, 64),
    _RLE8: (8,),
    _RLE4: (4,),
    _RLE24: (24,),
    _HUFFMAN: (1,),
    _BITFIELDS: (16, 32),
    _ALPHABITFIELDS: (16, 32),
}
_EMBEDDED = {_JPEG: "jpeg", _PNG: "png"}
_UNCODED = frozenset({_RGB, _BITFIELDS, _ALPHABITFIELDS})
_DEFAULT_MASKS = {16: (0x7C00, 0x03E0, 0x001F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
_PALETTE_BITS = 8
_BAND_ROWS = 256
# A sample of 64-bit pixels is linear light, signed, with 13 bits after the point.
_LINEAR_ONE = 8192.0

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class BmpHeader:
    """What a BMP says of itself.

    Attributes:
        width: Pixels, at least 1.
        height: Pixels, at least 1.
        top_down: The first stored row is the uppermost.
        bits: Bits a pixel: 1, 2, 4, 8, 16, 24, 32 or 64; 0 when another picture is embedded.
        compression: A value of the BITMAPV5HEADER, OS/2's own ones told apart from them.
        masks: Bits of red, green, blue and alpha in a pixel of 16 or 32 bits; an alpha of 0 means none.
        palette: Three bytes a colour, red first.
        data_offset: Where the pixels begin.
        profile: Embedded ICC profile.
    """

    width: int
    height: int
    top_down: bool
    bits: int
    compression: int
    masks: tuple[int, int, int, int]
    palette: bytes
    data_offset: int
    profile: bytes | None

    @property
    def embedded(self) -> str | None:
        """Format of the picture that lies in place of the pixels, `jpeg` or `png`."""
        return _EMBEDDED.get(self.compression)

    @property
    def mode(self) -> str:
        """Pillow's mode of the decoded pixels; run-length coded ones become RGBA where runs leave pixels out."""
        if 0 < self.bits <= _PALETTE_BITS:
            return "P"
        return "RGBA" if self.masks[3] or self.bits == 64 else "RGB"  # noqa: PLR2004 - always with alpha


def read_header(content: bytes) -> BmpHeader:
    """Read the headers and the palette.

    Raises:
        UnreadableImage: What the headers say can't be.
        struct.error: The file ends inside a header.
    """
    (data_offset,) = struct.unpack_from("<I", content, 10)
    (length,) = struct.unpack_from("<I", content, _FILE_HEADER)
    layout = "<HHHH" if length == _CORE else "<iiHH"
    width, height, _planes, bits = struct.unpack_from(layout, content, 18)
    stated = struct.unpack_from("<I", content, 30)[0] if length >= _WITH_COMPRESSION else _RGB
    compression = _compression(length, bits, stated)
    known = bits == 0 if compression in _EMBEDDED else bits in _DEPTHS.get(compression, ())
    if width < 1 or not height or not known:
        raise UnreadableImage(
            f"the bmp picture says it is {width}x{height} pixels of {bits} bits in coding {stated}, which can't be",
        )
    masks, end = _read_masks(content, length, bits, compression)
    palette, end = _read_palette(content, length, bits, end)
    if not data_offset or (data_offset < end and _ends_with_pixels(content, end, (width, height, bits), compression)):
        data_offset = end
    return BmpHeader(
        width,
        abs(height),
        height < 0,
        bits,
        compression,
        masks,
        palette,
        data_offset,
        _read_profile(content) if length == _V5 else None,
    )


def _compression(length: int, bits: int, stated: int) -> int:
    # A header of 40 bytes may be of either kind, but bit fields of a single bit can't be.
    is_os2 = length in OS2_HEADER_SIZES or (length == _INFO and bits == 1 and stated == _BITFIELDS)
    if is_os2:
        return _OS2_COMPRESSIONS.get(stated, -1)
    return stated if stated <= _ALPHABITFIELDS else -1


def _read_masks(content: bytes, length: int, bits: int, compression: int) -> tuple[tuple[int, int, int, int], int]:
    """Read the channels' bit masks, and tell where the headers end."""
    end = _FILE_HEADER + length
    if compression not in (_BITFIELDS, _ALPHABITFIELDS):
        return _DEFAULT_MASKS.get(bits, (0, 0, 0, 0)), end
    count = 4 if compression == _ALPHABITFIELDS or length >= _WITH_ALPHA_MASK else 3
    masks = (*struct.unpack_from(f"<{count}I", content, 54), 0)[:4]
    return (masks[0], masks[1], masks[2], masks[3]), end if length >= _WITH_MASKS else end + 4 * count


def _read_palette(content: bytes, length: int, bits: int, start: int) -> tuple[bytes, int]:
    """Read the colours, and tell where they end."""
    entry = 3 if length == _CORE else 4
    stated = struct.unpack_from("<I", content, 46)[0] if length >= _WITH_COLOURS else 0
    if not 0 < bits <= _PALETTE_BITS:
        return b"", start
    count = min(stated or 1 << bits, 1 << bits)
    # A short palette without its length, or pixels said to begin in it: what follows then counts as colours too.
    raw = content[start : start + count * entry]
    whole = len(raw) // entry * entry
    colours = np.frombuffer(raw[:whole], np.uint8).reshape(-1, entry)[:, 2::-1]
    return colours.tobytes(), start + count * entry


def _ends_with_pixels(content: bytes, start: int, size: tuple[int, int, int], compression: int) -> bool:
    """Tell whether pixels that begin there would be the rest of the file; the last row may lack its padding."""
    width, height, bits = size
    used = (width * bits + 7) // 8
    stride = (used + 3) // 4 * 4
    whole = stride * abs(height)
    if compression not in _UNCODED:
        whole = used = stride = int.from_bytes(content[34:38], "little")
    return whole - (stride - used) <= len(content) - start <= whole


def _read_profile(content: bytes) -> bytes | None:
    kind, place, size = content[70:74], *struct.unpack_from("<II", content, 126)
    start = _FILE_HEADER + place
    # The four letters are a number, least significant byte first.
    return content[start : start + size] if kind == b"DEBM" and size and start + size <= len(content) else None


def decode(content: bytes) -> Image.Image:
    """Decode the pixels, top row first: mode P, RGB or RGBA; its ICC profile in `info["icc_profile"]`.

    Raises:
        UnreadableImage: Headers that can't be, or an embedded picture, which is not decoded here.
        EOFError: Pixels are missing at the file's end.
    """
    header = read_header(content)
    if header.compression in (_RLE8, _RLE4, _RLE24):
        image = _decode_runs(content, header)
    elif header.compression == _HUFFMAN:
        image = _decode_huffman(content, header)
    elif header.embedded:
        raise UnreadableImage("the bmp picture's pixels are another picture, which was not looked into")
    else:
        image = _decode_rows(content, header)
    if header.profile is not None:
        image.info["icc_profile"] = header.profile
    return image


def embedded_picture(content: bytes) -> bytes:
    """Give the JPEG or PNG file that lies in place of the pixels."""
    return content[read_header(content).data_offset :]


def _decode_runs(content: bytes, header: BmpHeader) -> Image.Image:
    bytes_a_pixel = max(1, header.bits // 8)
    drawn, pixels = decode_runs(content[header.data_offset :], header.width, header.height, header.bits)
    shape = (header.height, header.width, bytes_a_pixel)
    values = np.frombuffer(pixels, np.uint8).reshape(shape)
    covered = np.frombuffer(drawn, np.uint8).reshape(shape[:2])
    if not header.top_down:
        values, covered = values[::-1], covered[::-1]
    if bytes_a_pixel == 1:
        image = _with_palette(Image.fromarray(np.ascontiguousarray(values[..., 0])), header.palette)
    else:
        image = Image.fromarray(np.ascontiguousarray(values[..., ::-1]))
    if not covered.all():
        pixels_with_alpha = np.array(image.convert("RGBA"))
        pixels_with_alpha[covered == 0] = 0
        image = Image.fromarray(pixels_with_alpha)
    return image


def _decode_huffman(content: bytes, header: BmpHeader) -> Image.Image:
    rows = decode_huffman(content[header.data_offset :], header.width, header.height)
    shown = rows if header.top_down else rows[::-1]
    return _with_palette(Image.fromarray(np.ascontiguousarray(shown)), header.palette)


def _with_palette(indices: Image.Image, palette: bytes) -> Image.Image:
    """Make a picture of mode P of indices; those that the palette lacks are black."""
    image = indices if indices.mode == "P" else Image.frombuffer("P", indices.size, indices.tobytes())
    image.putpalette(palette.ljust(768, b"\x00"))
    return image


def _decode_rows(content: bytes, header: BmpHeader) -> Image.Image:
    size = (header.width, header.height)
    stride = (header.width * header.bits + 31) // 32 * 4
    rows = memoryview(content)[header.data_offset : header.data_offset + stride * header.height]
    # The padding of the last row may be missing.
    if len(rows) < stride * (header.height - 1) + (header.width * header.bits + 7) // 8:
        raise EOFError
    data = bytes(rows).ljust(stride * header.height, b"\x00")
    direction = 1 if header.top_down else -1
    if header.bits <= _PALETTE_BITS:
        kind = "P" if header.bits == _PALETTE_BITS else f"P;{header.bits}"
        return _with_palette(Image.frombytes("P", size, data, "raw", kind, stride, direction), header.palette)
    if header.bits == 24 or (header.bits == 32 and header.masks == _DEFAULT_MASKS[32]):  # noqa: PLR2004 - bits
        return Image.frombytes("RGB", size, data, "raw", "BGR" if header.bits == 24 else "BGRX", stride, direction)  # noqa: PLR2004
    return _decode_fields(data, header, direction)


def _decode_fields(data: bytes, header: BmpHeader, direction: int) -> Image.Image:
    stored = np.frombuffer(data, f"<u{header.bits // 8}" if header.bits < 64 else "<i2")  # noqa: PLR2004 - bits
    rows = stored.reshape(header.height, -1)[::direction]
    channels = len(header.mode)
    pixels = np.empty((header.height, header.width, channels), np.uint8)
    for top in range(0, header.height, _BAND_ROWS):
        band = rows[top : top + _BAND_ROWS]
        if header.bits == 64:  # noqa: PLR2004 - bits
            pixels[top : top + _BAND_ROWS] = _from_linear(band[:, : header.width * 4].reshape(len(band), -1, 4))
            continue
        for channel in range(channels):
            pixels[top : top + _BAND_ROWS, :, channel] = _field(band[:, : header.width], header.masks[channel])
    if channels == 4 and not pixels[..., 3].any():  # noqa: PLR2004 - RGBA
        # Writers that know no alpha leave it 0 everywhere; browsers show such a picture.
        pixels[..., 3] = 255
    return Image.fromarray(pixels)


def _field(values: npt.NDArray[np.unsignedinteger], mask: int) -> Pixels:
    """Take the bits of a mask out of pixels and bring them to 0..255."""
    if not mask:
        return np.zeros(values.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    highest = mask >> shift
    field = (values.astype(np.uint32) & np.uint32(mask)) >> np.uint32(shift)
    scaled: Pixels = (field * np.float64(255 / highest) + 0.5).astype(np.uint8)
    return scaled


def _from_linear(samples: npt.NDArray[np.int16]) -> Pixels:
    """Bring linear blue, green, red and alpha to sRGB's curve and order."""
    linear = np.clip(samples[..., [2, 1, 0, 3]] / _LINEAR_ONE, 0, 1)
    curved = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)  # noqa: PLR2004 - sRGB
    curved[..., 3] = linear[..., 3]
    rounded: Pixels = np.rint(curved * 255).astype(np.uint8)
    return rounded
