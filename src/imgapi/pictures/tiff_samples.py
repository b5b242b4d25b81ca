"""TIFF pixels of the kinds Pillow has no mode for: colours of more than 8 bits, Lab, floats, odd depths, planes.

Pillow is given the same compressed blocks under a directory that calls them rows of bytes, so that libtiff unpacks
them; what the bytes mean is worked out here.
"""

import io
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from imgapi.errors import ImageTooLarge, UnreadableImage
from imgapi.pictures import tiff_lab
from imgapi.pictures.tiff_pages import TiffPage

# H×W×samples of a pixel, 0..65535
Samples = npt.NDArray[np.uint16]
_Bytes = npt.NDArray[np.uint8]
_Numbers = npt.NDArray[np.generic]

_FULL = 65_535
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK = 0, 1, 2, 3, 5
_LAB = frozenset({tiff_lab.CIE_LAB, tiff_lab.ICC_LAB})
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4} | dict.fromkeys(_LAB, 3)
_GREY_KINDS = frozenset({_WHITE_IS_ZERO, _BLACK_IS_ZERO, 32844})
# None, LZW, Deflate (two numbers), PackBits, LZMA, Zstandard: those that know nothing of samples.
_PLAIN_COMPRESSIONS = frozenset({1, 5, 8, 32946, 32773, 34925, 50000})
# Each block is a WebP file; Pillow's libtiff is built without it.
_WEBP = 50001
# Luminance as logarithm, alone or with chromaticity (LogL and LogLuv), and what packs it.
_LOG_COLOURS = {32844: 1, 32845: 3}
_LOG_COMPRESSIONS = frozenset({34676, 34677})
_PILLOW_DEPTHS = frozenset({1, 2, 4, 8, 16})
_FLOAT, _SIGNED = 3, 2
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3
_PREMULTIPLIED, _NO_ALPHA = 1, 0
_LOWEST_FIRST, _NOT_COMPRESSED = 2, 1
_MAX_RAW_BYTES = 512 * 1024 * 1024
_BAND_NUMBERS = 65536

# libtiff turns luminances into 8 bits a sample when asked for such; Pillow only has to let it.
TiffImagePlugin.OPEN_INFO[b"II", 32844, (1,), 1, (8,), ()] = ("L", "L")
TiffImagePlugin.OPEN_INFO[b"II", 32845, (1,), 1, (8, 8, 8), ()] = ("RGB", "RGB")


def is_needed(page: TiffPage) -> bool:
    """Tell whether a page is of a kind that is read here, and not by Pillow."""
    colours = _COLOURS.get(page.photometric)
    if colours is None or page.compression not in _PLAIN_COMPRESSIONS or len(set(page.bits)) > 1:
        return _is_webp(page) or _is_log(page)
    depth, samples = page.bits[0], len(page.bits)
    if samples < colours or not _has_known_depth(page):
        return False
    if page.is_big and not page.little_endian:
        # Pillow knows BigTIFF in the other byte order only.
        return True
    if samples == 1:
        return _is_odd_alone(page)
    # Lab it knows only in part, and turns it by tables that miss saturated colours.
    if depth != 8 or samples > colours + 1 or page.photometric in _LAB:  # noqa: PLR2004 - what Pillow reads
        return True
    # Palettes and inks with alpha it refuses, and of grey with alpha in planes of their own it reads the first.
    return samples > colours and (page.photometric in (_PALETTE, _CMYK) or (colours == 1 and page.planes_apart))


def _has_known_depth(page: TiffPage) -> bool:
    depth, is_float = page.bits[0], page.sample_format == _FLOAT
    if page.photometric in _LAB:
        return depth in tiff_lab.DEPTHS and not is_float
    return 0 < depth <= 64 and (not is_float or depth in (16, 32, 64))  # noqa: PLR2004 - bits


def _is_odd_alone(page: TiffPage) -> bool:
    """Tell whether pixels of a single sample are of a kind that Pillow refuses, or gives other values for."""
    depth = page.bits[0]
    if page.sample_format == _FLOAT:
        # It knows one depth, and gets compressed ones wrong in the other byte order.
        return True
    if page.sample_format == _SIGNED and depth in (16, 32):
        return page.compression != _NOT_COMPRESSED and not page.little_endian
    if depth not in _PILLOW_DEPTHS:
        return True
    if depth == 16:  # noqa: PLR2004 - at which it turns no grey that counts from white, and knows no palette
        return page.photometric in (_WHITE_IS_ZERO, _PALETTE)
    return page.photometric == _PALETTE and page.fill_order == _LOWEST_FIRST


def _is_webp(page: TiffPage) -> bool:
    return (
        page.compression == _WEBP
        and page.photometric == _RGB
        and page.bits in ((8,) * 3, (8,) * 4)
        and not page.planes_apart
    )


def _is_log(page: TiffPage) -> bool:
    return page.photometric in _LOG_COLOURS and page.compression in _LOG_COMPRESSIONS


def mode_of(page: TiffPage) -> str:
    """Tell Pillow's mode that comes nearest to what `decode` gives."""
    if page.photometric == _CMYK:
        return "CMYK"
    grey = page.photometric in _GREY_KINDS
    if grey and not has_alpha(page):
        return "I;16" if page.bits[0] > 8 else "L"  # noqa: PLR2004 - bits a byte holds
    return "RGBA" if has_alpha(page) else "RGB"


def profile_of(page: TiffPage) -> bytes:
    """Give the ICC profile of what `decode` gives, empty without one: Lab has become sRGB there."""
    return b"" if page.photometric in _LAB else page.profile


def has_alpha(page: TiffPage) -> bool:
    """Tell whether a page that is read here has an alpha channel."""
    if _is_log(page):
        return False
    colours = _COLOURS[page.photometric]
    if len(page.bits) == colours or (page.photometric == _CMYK and not page.extra_samples):
        return False
    # Without a word on it, a fourth sample is alpha; said to mean nothing, it is none.
    return not page.extra_samples or page.extra_samples[0] != _NO_ALPHA


def decode(content: bytes, page: TiffPage) -> Samples:
    """Decode a page: H×W×1 grey, ×3 RGB, ×4 RGBA or CMYK, ×5 CMYK and alpha, in 0..65535, not oriented.

    Raises:
        UnreadableImage: The directory contradicts itself.
        ImageTooLarge: Unpacked, its bytes are beyond what one picture may take.
        OSError: The blocks can't be unpacked.
    """
    depth, samples = page.bits[0], len(page.bits)
    if _is_log(page):
        return _from_luminance(content, page)
    if page.compression == _WEBP:
        numbers: _Numbers = _webp_pixels(content, page)
    elif page.planes_apart:
        blocks = len(page.offsets) // samples
        planes = [_numbers(content, page, 1, slice(at * blocks, (at + 1) * blocks)) for at in range(samples)]
        numbers = np.concatenate(planes, axis=2)
    else:
        numbers = _numbers(content, page, samples, slice(None))
    if page.photometric == _PALETTE:
        return _through_palette(numbers, page)
    colours = _COLOURS[page.photometric]
    scaled = _from_lab(numbers, page) if page.photometric in _LAB else _to_16_bit(numbers, depth, page.sample_format)
    if page.photometric == _WHITE_IS_ZERO:
        scaled[..., 0] = _FULL - scaled[..., 0]
    if not has_alpha(page):
        return scaled[..., :colours]
    scaled = scaled[..., : colours + 1]
    if colours == 1:
        scaled = scaled[..., [0, 0, 0, 1]]
    return _divided(scaled) if page.extra_samples[:1] == (_PREMULTIPLIED,) and colours <= 3 else scaled  # noqa: PLR2004 - inks


def _from_lab(numbers: _Numbers, page: TiffPage) -> Samples:
    shown = tiff_lab.lab_to_srgb(numbers[..., :3], page.bits[0], page.photometric)
    if numbers.shape[2] == 3:  # noqa: PLR2004 - no alpha
        return shown
    return np.concatenate((shown, _to_16_bit(numbers[..., 3:], page.bits[0], 1)), axis=2)


def _from_luminance(content: bytes, page: TiffPage) -> Samples:
    """Let libtiff unpack luminances and turn them into what a screen shows: white is 1, the curve a square root."""
    colours = _LOG_COLOURS[page.photometric]
    if page.is_tiled or len(page.counts) != len(page.offsets):
        raise UnreadableImage("the tiff picture's luminances do not lie in strips")
    tags: list[tuple[int, tuple[int, ...]]] = [
        (256, (page.width,)),
        (257, (page.height,)),
        (258, (8,) * colours),
        (259, (page.compression,)),
        (262, (page.photometric,)),
        (273, page.offsets),
        (277, (colours,)),
        (278, (page.block_size[1],)),
        (279, page.counts),
        (339, (1,) * colours),
    ]
    with Image.open(io.BytesIO(_with_directory(content, tags)), formats=("TIFF",)) as image:
        image.load()
        shown = np.asarray(image).reshape(page.height, page.width, colours)
    return shown.astype(np.uint16) * 257


def _webp_pixels(content: bytes, page: TiffPage) -> _Bytes:
    """Decode blocks that are WebP files each, and put them in their places."""
    width, height = page.block_size
    samples = len(page.bits)
    if not width or not height or len(page.counts) != len(page.offsets):
        raise UnreadableImage("the tiff picture does not say where its pixels lie")
    across, down = -(-page.width // width), -(-page.height // height)
    if across * width * down * height * samples > _MAX_RAW_BYTES:
        raise ImageTooLarge("the tiff picture's samples take more memory than one picture may")
    if len(page.offsets) < across * down:
        raise EOFError
    pixels: _Bytes = np.zeros((down * height, across * width, samples), np.uint8)
    for number in range(across * down):
        block = content[page.offsets[number] :][: page.counts[number]]
        left, top = number % across * width, number // across * height
        with Image.open(io.BytesIO(block), formats=("WEBP",)) as image:
            if image.width > width or image.height > height:
                raise UnreadableImage("the tiff picture's blocks of pixels are larger than it says")
            read = np.asarray(image.convert("RGB" if samples == 3 else "RGBA"))  # noqa: PLR2004 - RGB
        pixels[top : top + read.shape[0], left : left + read.shape[1]] = read
    return pixels[: page.height, : page.width]


def _numbers(content: bytes, page: TiffPage, samples: int, blocks: slice) -> _Numbers:
    """Unpack blocks and read their bytes as H×W×samples numbers."""
    depth = page.bits[0]
    row = _unpack(content, page, samples, blocks)
    block_width, _ = page.block_size
    # Each tile's rows are coded for themselves.
    across = row.shape[1] * 8 // (block_width * samples * depth) if page.is_tiled else 1
    parts = np.split(row, across, axis=1) if across > 1 else [row]
    width = block_width if page.is_tiled else page.width
    read = np.concatenate([_read_block(part, page, samples, width) for part in parts], axis=1)
    return read[:, : page.width]


def _unpack(content: bytes, page: TiffPage, samples: int, blocks: slice) -> _Bytes:
    """Let Pillow unpack blocks as rows of bytes, H×bytes; tiles are not cut at the right edge."""
    block_width, block_height = page.block_size
    if not block_width or not block_height:
        raise UnreadableImage("the tiff picture's blocks of pixels have no size")
    block_bytes = (block_width * samples * page.bits[0] + 7) // 8
    across = -(-page.width // block_width) if page.is_tiled else 1
    if across * block_bytes * page.height > _MAX_RAW_BYTES:
        raise ImageTooLarge("the tiff picture's samples take more memory than one picture may")
    offsets, counts = page.offsets[blocks], page.counts[blocks]
    if not offsets or len(counts) != len(offsets):
        raise UnreadableImage("the tiff picture does not say where its pixels lie")
    tags: list[tuple[int, tuple[int, ...]]] = [
        (256, (across * block_bytes,)),
        (257, (page.height,)),
        (258, (8,)),
        (259, (page.compression,)),
        (262, (1,)),
        (266, (page.fill_order,)),
        (277, (1,)),
    ]
    if page.is_tiled:
        tags += [(322, (block_bytes,)), (323, (block_height,)), (324, offsets), (325, counts)]
    else:
        tags += [(273, offsets), (278, (block_height,)), (279, counts)]
    with Image.open(io.BytesIO(_with_directory(content, sorted(tags))), formats=("TIFF",)) as image:
        image.load()
        return np.asarray(image)


def _with_directory(content: bytes, tags: list[tuple[int, tuple[int, ...]]]) -> bytes:
    """Put a directory of 32-bit numbers before a file; offsets among them are meant within the file."""
    directory_bytes = 2 + 12 * len(tags) + 4
    start = 8 + directory_bytes + sum(4 * len(values) for _, values in tags)
    entries, arrays = [], b""
    for tag, values in tags:
        moved = [value + start for value in values] if tag in (273, 324) else values
        packed = struct.pack(f"<{len(values)}I", *moved)
        where = packed if len(values) == 1 else struct.pack("<I", 8 + directory_bytes + len(arrays))
        arrays += b"" if len(values) == 1 else packed
        entries.append(struct.pack("<HHI", tag, 4, len(values)) + where)
    directory = struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)
    lead = b"II*\x00" + struct.pack("<I", 8) + directory + arrays
    return lead.ljust(start, b"\x00") + content


def _read_block(rows: _Bytes, page: TiffPage, samples: int, width: int) -> _Numbers:
    depth = page.bits[0]
    if page.predictor == _FLOAT_DIFFERENCES and depth in (16, 32, 64):
        rows, little_endian = _undo_float_differences(rows, samples, depth // 8), False
    else:
        little_endian = page.little_endian
    if depth not in (8, 16, 32, 64):
        odd = _odd_numbers(rows, width * samples, depth, little_endian=little_endian)
        return odd.reshape(len(rows), width, samples)
    kind = "f" if page.sample_format == _FLOAT else "u"
    order = "<" if little_endian else ">"
    stored = np.ascontiguousarray(rows[:, : width * samples * depth // 8])
    if page.predictor != _DIFFERENCES:
        return stored.view(f"{order}{kind}{depth // 8}").reshape(len(rows), width, samples)
    differences = stored.view(f"{order}u{depth // 8}").reshape(len(rows), width, samples)
    unsigned = np.dtype(f"u{depth // 8}")
    return np.cumsum(differences.astype(unsigned), axis=1, dtype=unsigned).view(f"{kind}{depth // 8}")


def _undo_float_differences(rows: _Bytes, samples: int, size: int) -> _Bytes:
    """Undo Adobe's floating point predictor (TIFF technical note 3): big-endian floats come out."""
    summed = np.cumsum(rows.reshape(len(rows), -1, samples), axis=1, dtype=np.uint8).reshape(len(rows), size, -1)
    return np.ascontiguousarray(summed.transpose(0, 2, 1)).reshape(len(rows), -1)


def _odd_numbers(rows: _Bytes, count: int, depth: int, *, little_endian: bool) -> npt.NDArray[np.uint32]:
    """Read numbers of any depth, packed bit by bit with the highest first; whole bytes in the file's order.

    Of those beyond 32 bits, the upper 32 are given.
    """
    read = np.empty((len(rows), count), np.uint32)
    # Rows of a narrow tile are too short to be worth a turn each.
    band_rows = max(1, _BAND_NUMBERS // count)
    for top in range(0, len(rows), band_rows):
        bits = np.unpackbits(rows[top : top + band_rows], axis=1, count=count * depth)
        if little_endian and not depth % 8:
            bits = bits.reshape(-1, depth // 8, 8)[:, ::-1]
        padded = np.pad(bits.reshape(-1, depth)[:, :32], ((0, 0), (32 - min(depth, 32), 0)))
        read[top : top + band_rows] = np.packbits(padded, axis=1).view(">u4").reshape(-1, count)
    return read


def _to_16_bit(numbers: _Numbers, depth: int, sample_format: int) -> Samples:
    if sample_format == _FLOAT:
        colours = 3 if numbers.shape[2] >= 3 else 1  # noqa: PLR2004 - of RGB
        return np.concatenate((_light(numbers[..., :colours]), _light(numbers[..., colours:])), axis=2)
    # Of odd depths beyond it, the upper 32 bits were read.
    depth = min(depth, 8 * numbers.dtype.itemsize)
    is_signed = sample_format == _SIGNED
    if depth == 16 and not is_signed:  # noqa: PLR2004 - as they are
        return np.asarray(numbers, np.uint16)
    most, bands = None, _bands(numbers)
    if is_signed and numbers.shape[2] == 1 and depth in (16, 32):
        # Measurements come as they are where they fit, as Pillow gives those that it reads.
        most = max(_FULL, *(int(_widened(numbers[band], depth).max()) for band in bands))
    samples = np.empty(numbers.shape, np.uint16)
    for band in bands:
        samples[band] = _scaled(_widened(numbers[band], depth if is_signed else 0), depth - is_signed, most)
    return samples


def _bands(numbers: _Numbers) -> list[slice]:
    """Divide rows into bands: as wide as numbers are reckoned with, all of them at once would take gigabytes."""
    rows = max(1, _BAND_NUMBERS // max(1, numbers[:1].size))
    return [slice(top, top + rows) for top in range(0, len(numbers), rows)]


def _widened(numbers: _Numbers, signed_depth: int) -> npt.NDArray[np.uint64]:
    """Widen numbers; of signed ones, where a depth is given, those below zero are 0, as there is nothing to show."""
    wide = numbers.astype(np.uint64)
    if signed_depth:
        wide[wide >> np.uint64(signed_depth - 1) > 0] = 0
    return wide


def _scaled(numbers: npt.NDArray[np.uint64], depth: int, most: int | None) -> npt.NDArray[np.uint64]:
    """Bring numbers of so many bits, or up to the most there is, to 0..65535."""
    if most is not None:
        return numbers * np.uint64(_FULL) // np.uint64(most)
    if depth >= 16:  # noqa: PLR2004 - the upper half
        return numbers >> np.uint64(depth - 16)
    highest = (1 << depth) - 1
    return (numbers * np.uint64(_FULL) + np.uint64(highest // 2)) // np.uint64(max(1, highest))


def _light(values: _Numbers) -> Samples:
    """Let 1 be white and clip what is brighter, as image editors do; if most is brighter, 255 or more is white."""
    samples, bands = np.empty(values.shape, np.uint16), _bands(values)
    total, highest = 0.0, 0.0
    for band in bands:
        light = _finite(values[band])
        total, highest = total + float(light.sum(dtype=np.float64)), max(highest, float(light.max(initial=0)))
    average = total / max(1, values.size)
    white = 1 if average <= 1 else 255 if average <= 255 else max(_FULL, highest)  # noqa: PLR2004 - whites
    for band in bands:
        samples[band] = np.rint(np.minimum(_finite(values[band]) * np.float32(_FULL / white), _FULL))
    return samples


def _finite(values: _Numbers) -> npt.NDArray[np.float32]:
    """Give floats of 32 bits, 0 for what is below and for what is no number."""
    finite = np.nan_to_num(values.astype(np.float32), nan=0, posinf=0, neginf=0)
    return np.maximum(finite, np.float32(0))


def _through_palette(numbers: _Numbers, page: TiffPage) -> Samples:
    entries = 1 << page.bits[0]
    if page.bits[0] > 16 or len(page.colour_map) != 3 * entries:  # noqa: PLR2004 - depth of an index
        raise UnreadableImage("the tiff picture's palette does not fit its pixels")
    colours = np.array(page.colour_map, np.uint16).reshape(3, entries).T
    looked_up: Samples = colours[numbers[..., 0]]
    if not has_alpha(page):
        return looked_up
    alpha = _to_16_bit(numbers[..., 1:2], page.bits[0], 1)
    return np.concatenate((looked_up, alpha), axis=2)


def _divided(pixels: Samples) -> Samples:
    """Divide premultiplied colours by their alpha."""
    alpha = np.maximum(pixels[..., 3:].astype(np.float32), 1)
    divided = np.minimum(pixels[..., :3] * (_FULL / alpha), _FULL)
    return np.concatenate((np.rint(divided).astype(np.uint16), pixels[..., 3:]), axis=2)
