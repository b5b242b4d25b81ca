"""PNG made sound: what decoders must not stumble over is taken out, so that only missing pixels make one unreadable.

Damaged, foreign or misplaced ancillary chunks are no reason to refuse a picture (PNG specification, section 13.2), and
an animation counts as far as it is consistent. Pillow and strict readers refuse both.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zlib_ng import zlib_ng

from imgapi.errors import UnreadableImage
from imgapi.pictures.code_points import is_understood, profile_of

# The library's types call it an exception, not a kind of them.
_INFLATE_ERROR: type[Exception] = zlib_ng.error  # type: ignore[assignment]
SIGNATURE = b"\x89PNG\r\n\x1a\n"
# More chunks than any writer makes of a picture within the byte limit; beyond it, only the walk itself would cost.
MAX_CHUNKS = 100_000
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PALETTE_TYPE = 3
_GREY_TYPES = frozenset({0, 4})
_LAST_INTENT = 3
# In hundred thousandths: what libpng takes for a gamma, and the most that x and y of a colour have together.
_GAMMAS, _WHOLE = range(16, 625_000_001), 100_000
# Length of the body where the specification fixes it, else 0.
_COLOUR_BYTES = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"mDCV": 24, b"cLLI": 8, b"iCCP": 0, b"sBIT": 0}
_KEY_BYTES = {0: 2, 2: 6}
_SBIT_BYTES = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
MAX_PROFILE_BYTES = 8 * 1024 * 1024
_PROFILE_HEADER_BYTES = 128
_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT"})
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_LAST_FILTER = 4

Chunk = tuple[bytes, memoryview]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of an APNG: the body of its fcTL after the sequence number, and its compressed pixels."""

    control: bytes
    data: tuple[memoryview, ...]
    is_default_image: bool


@dataclass(frozen=True, slots=True)
class SoundPng:
    """The sound part of a PNG.

    Attributes:
        header: Body of IHDR.
        ancillary: Colour chunks, PLTE and tRNS in an order that is allowed.
        data: The bodies of IDAT.
        exif: Body of an eXIf before the pixels, empty without one.
        frames: Frames of the animation as far as they are consistent; none for a still picture.
        plays: Body of acTL after the number of frames.
    """

    header: bytes
    ancillary: tuple[Chunk, ...]
    data: tuple[memoryview, ...]
    exif: bytes
    frames: tuple[Frame, ...]
    plays: bytes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        width, height = struct.unpack(">II", self.header[:8])
        return width, height

    @property
    def coded_profile(self) -> bytes | None:
        """The ICC profile that the code points of its colours stand for; None without any, or where they say sRGB."""
        body = self.body_of(b"cICP")
        return profile_of(body) if body and self.header[9] not in _GREY_TYPES else None

    def body_of(self, name: bytes) -> bytes:
        """Give the body of an ancillary chunk, empty without one."""
        return next((bytes(body) for each, body in self.ancillary if each == name), b"")

    def write(self, *, animated: bool, ancillary: tuple[Chunk, ...] | None = None) -> bytes:
        """Write the file anew, its pixels as they are; as a still picture unless `animated`."""
        frames = self.frames if animated else ()
        pieces = [SIGNATURE, chunk_bytes(b"IHDR", self.header)]
        if frames:
            pieces.append(chunk_bytes(b"acTL", struct.pack(">I", len(frames)) + self.plays))
        pieces += [chunk_bytes(*chunk) for chunk in (self.ancillary if ancillary is None else ancillary)]
        sequence = 0
        if frames and frames[0].is_default_image:
            pieces.append(chunk_bytes(b"fcTL", struct.pack(">I", sequence) + frames[0].control))
            sequence, frames = 1, frames[1:]
        pieces.append(chunk_bytes(b"IDAT", b"".join(self.data)))
        for frame in frames:
            pieces.append(chunk_bytes(b"fcTL", struct.pack(">I", sequence) + frame.control))
            pieces += [
                chunk_bytes(b"fdAT", struct.pack(">I", number) + bytes(data))
                for number, data in enumerate(frame.data, sequence + 1)
            ]
            sequence += 1 + len(frame.data)
        pieces.append(chunk_bytes(b"IEND", b""))
        return b"".join(pieces)


def chunk_bytes(name: bytes, body: bytes | memoryview) -> bytes:
    """Write one chunk with its CRC."""
    return b"".join((struct.pack(">I", len(body)), name, body, struct.pack(">I", _checksum(name, body))))


def _checksum(name: bytes, body: bytes | memoryview) -> int:
    return zlib_ng.crc32(body, zlib_ng.crc32(name))


def _chunks(content: bytes) -> Iterator[Chunk]:
    """Walk the chunks whose CRC is right, and what there is of an IDAT that the file's end cuts.

    Raises:
        UnreadableImage: A critical chunk with a wrong CRC, or far too many chunks.
    """
    offset, view = len(SIGNATURE), memoryview(content)
    for _ in range(MAX_CHUNKS):
        if offset + 8 > len(content):
            return
        (length,) = struct.unpack_from(">I", content, offset)
        name, end = content[offset + 4 : offset + 8], offset + 8 + length
        body = view[offset + 8 : end]
        if end + 4 > len(content):
            if name == b"IDAT":
                yield name, body
            return
        if struct.unpack_from(">I", content, end)[0] == _checksum(name, body):
            yield name, body
        elif name in _CRITICAL:
            raise UnreadableImage(f"the png picture is damaged: the checksum of its {name.decode()} chunk is wrong")
        if name == b"IEND":
            return
        offset = end + 4
    raise UnreadableImage(f"the png picture has more than {MAX_CHUNKS} chunks")


def read_sound(content: bytes) -> SoundPng:
    """Sort out the chunks of a PNG.

    Raises:
        UnreadableImage: A header that can't be, a damaged critical chunk, or a palette picture without palette.
        EOFError: The file ends before its pixels begin.
    """
    chunks = _chunks(content)
    header = _checked_header(next((bytes(body) for name, body in chunks if name == b"IHDR"), b""))
    exif = b""
    found: dict[bytes, memoryview] = {}
    data: list[memoryview] = []
    animation = _Animation(header)
    for name, body in chunks:
        if name == b"IDAT":
            data.append(body)
            animation.take_default_image(body)
        elif name == b"eXIf":
            # Behind the pixels, no browser applies it (CSS Images 3, #url-metadata).
            exif = exif or (b"" if data else bytes(body))
        elif name in _ANIMATION:
            animation.take(name, body, after_pixels=bool(data))
        elif not data and name not in found and _is_sound(name, body, header, has_palette=b"PLTE" in found):
            found[name] = body
    if not data:
        raise EOFError
    if header[9] == _PALETTE_TYPE and b"PLTE" not in found:
        raise UnreadableImage("the png picture's pixels refer to a palette that it does not have")
    return SoundPng(header, _ordered(found, header), tuple(data), exif, animation.finished(), animation.plays)


def _checked_header(body: bytes) -> bytes:
    if not body:
        raise EOFError
    if len(body) != 13:  # noqa: PLR2004 - length of IHDR
        raise UnreadableImage("the png picture's header is damaged")
    width, height, depth, kind, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
    if depth not in _DEPTHS.get(kind, ()) or compression or filtering or interlace > 1:
        raise UnreadableImage(
            f"the png picture says it has {depth} bits of colour type {kind}, compression {compression}, "
            f"filter {filtering} and interlace {interlace}, which no png can have",
        )
    if min(width, height) < 1:
        raise UnreadableImage(f"the png picture says it is {width}x{height} pixels")
    return body


def _is_sound(name: bytes, body: memoryview, header: bytes, *, has_palette: bool) -> bool:
    depth, kind = header[8], header[9]
    if name == b"PLTE":
        return kind not in _GREY_TYPES and len(body) > 0 and not len(body) % 3
    if name == b"tRNS":
        length = _KEY_BYTES.get(kind)
        return len(body) == length if length else kind == _PALETTE_TYPE and has_palette and len(body) > 0
    if name not in _COLOUR_BYTES or has_palette or len(body) != (_COLOUR_BYTES[name] or len(body)):
        return False
    most_bits = 8 if kind == _PALETTE_TYPE else depth
    checks: dict[bytes, Callable[[], bool]] = {
        b"iCCP": lambda: _has_profile(body, kind),
        b"gAMA": lambda: int.from_bytes(body, "big") in _GAMMAS,
        b"cHRM": lambda: all(0 < y <= _WHOLE - x for x, y in struct.iter_unpack(">II", body)),
        b"sRGB": lambda: body[0] <= _LAST_INTENT,
        b"sBIT": lambda: len(body) == _SBIT_BYTES[kind] and all(0 < bits <= most_bits for bits in body),
    }
    return checks[name]() if name in checks else True


def _has_profile(body: memoryview, kind: int) -> bool:
    name, _, packed = bytes(body).partition(b"\x00")
    if not 0 < len(name) < 80 or packed[:1] != b"\x00":  # noqa: PLR2004 - the longest keyword has 79 letters
        return False
    inflate = zlib_ng.decompressobj()
    try:
        profile = inflate.decompress(packed[1:], MAX_PROFILE_BYTES)
    except _INFLATE_ERROR:
        return False
    # Where it names its colour space; neither kind of pixels may have a profile of the other.
    fits = profile[16:20] == (b"GRAY" if kind in _GREY_TYPES else b"RGB ")
    return inflate.eof and len(profile) >= _PROFILE_HEADER_BYTES and fits


def _ordered(found: dict[bytes, memoryview], header: bytes) -> tuple[Chunk, ...]:
    """Put colours before the palette and transparency after it; cut entries that no pixel can mean."""
    if is_understood(bytes(found.get(b"cICP", b""))):
        # It outranks the other two.
        found.pop(b"iCCP", None)
    if b"iCCP" in found:
        found.pop(b"sRGB", None)
    if header[9] == _PALETTE_TYPE:
        found[b"PLTE"] = found[b"PLTE"][: 3 << header[8]]
        if b"tRNS" in found:
            found[b"tRNS"] = found[b"tRNS"][: len(found[b"PLTE"]) // 3]
    else:
        # A suggested palette of a colour picture means nothing to its pixels.
        found.pop(b"PLTE", None)
        if b"tRNS" in found:
            found[b"tRNS"] = _key_of(found[b"tRNS"], header[8])
    last = [(name, found[name]) for name in (b"PLTE", b"tRNS") if name in found]
    return (*((name, body) for name, body in found.items() if name in _COLOUR_BYTES), *last)


def _key_of(body: memoryview, depth: int) -> memoryview:
    """Clear the bits of a clear colour that no sample has, as decoders have to (11.3.2.1) and not all do."""
    samples = struct.unpack(f">{len(body) // 2}H", body)
    return memoryview(struct.pack(f">{len(samples)}H", *(sample & ((1 << depth) - 1) for sample in samples)))


class _Animation:
    """Collects frames until the first inconsistency."""

    def __init__(self, header: bytes) -> None:
        self._stated, self.plays = 0, b""
        self._width, self._height = struct.unpack(">II", header[:8])
        self._frames: list[Frame] = []
        self._control, self._data, self._is_default_image = b"", list[memoryview](), False
        self._sequence = 0
        self._is_over = False

    def take_default_image(self, body: memoryview) -> None:
        if self._control and (not self._data or self._is_default_image):
            self._is_default_image = True
            self._data.append(body)

    def take(self, name: bytes, body: memoryview, *, after_pixels: bool) -> None:
        if name == b"acTL":
            if not self._stated and not after_pixels and len(body) == 8:  # noqa: PLR2004 - its length
                self._stated, self.plays = int.from_bytes(body[:4], "big"), bytes(body[4:])
            return
        # The first fcTL may come before acTL: whether there is an animation at all is told at the end.
        in_order = len(body) >= 4 and int.from_bytes(body[:4], "big") == self._sequence  # noqa: PLR2004
        self._is_over = self._is_over or not in_order
        if self._is_over:
            return
        self._sequence += 1
        if name == b"fcTL":
            self._end_frame()
            self._begin_frame(bytes(body[4:]), whole=not after_pixels)
        elif self._control and not self._is_default_image and after_pixels:
            self._data.append(body[4:])
        else:
            self._is_over = True

    def _begin_frame(self, control: bytes, *, whole: bool) -> None:
        if len(control) == 22 and self._fits(control, whole=whole):  # noqa: PLR2004 - fcTL after its number
            self._control = control
        else:
            self._is_over = True

    def _fits(self, control: bytes, *, whole: bool) -> bool:
        width, height, left, top = struct.unpack(">IIII", control[:16])
        disposal, blending = control[20], control[21]
        if whole and (width, height, left, top) != (self._width, self._height, 0, 0):
            return False
        inside = 0 < width <= self._width - left and 0 < height <= self._height - top
        return inside and disposal <= 2 and blending <= 1  # noqa: PLR2004 - the last of each

    def _end_frame(self) -> None:
        if self._control and self._data:
            self._frames.append(Frame(self._control, tuple(self._data), self._is_default_image))
        elif self._control:
            self._is_over = True
        self._control, self._data, self._is_default_image = b"", [], False

    def finished(self) -> tuple[Frame, ...]:
        self._end_frame()
        return tuple(self._frames[: self._stated]) if self._stated < 1 << 31 else ()


def has_whole_pixels(png: SoundPng) -> bool:
    """Tell whether the compressed pixels are exactly those of the header, as a strict reader wants them.

    Raises:
        EOFError: Pixels are missing.
    """
    expected = sum(stride * rows for stride, rows in _passes(png.header))
    inflate = zlib_ng.decompressobj()
    # A byte too many says enough: what a few bytes more of it unfold to may be gigabytes.
    pieces, left = list[bytes](), expected + 1
    try:
        for data in png.data:
            pieces.append(inflate.decompress(data, left))
            left -= len(pieces[-1])
            if left == 0:
                return False
        raw = b"".join((*pieces, inflate.flush()))
    except _INFLATE_ERROR:
        return False
    if len(raw) < expected:
        raise EOFError
    if len(raw) > expected or not inflate.eof or inflate.unused_data:
        return False
    offset = 0
    for stride, rows in _passes(png.header):
        if rows and max(raw[offset : offset + stride * rows : stride]) > _LAST_FILTER:
            return False
        offset += stride * rows
    return True


def _passes(header: bytes) -> list[tuple[int, int]]:
    """List bytes a row (with its filter byte) and rows of each pass."""
    width, height, depth, kind, _, _, interlace = struct.unpack(">IIBBBBB", header)
    bits = depth * _SAMPLES[kind]
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    sizes = [(-((left - width) // across), -((top - height) // down)) for left, top, across, down in passes]
    return [((columns * bits + 7) // 8 + 1, rows) for columns, rows in sizes if columns > 0 and rows > 0]
