"""The directories of a TIFF or BigTIFF: what each page is and where its pixels lie.

Source: TIFF 6.0; the BigTIFF layout of libtiff.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from struct import Struct
from typing import NamedTuple

from imgapi.errors import UnreadableImage

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_COUNTS, _PLANAR = 273, 274, 277, 278, 279, 284
_PREDICTOR, _COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 317, 320, 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _PROFILE = 338, 339, 34675
_NUMBERS = frozenset(
    {
        *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _STRIP_OFFSETS, _ORIENTATION, _SAMPLES),
        *(_ROWS_PER_STRIP, _STRIP_COUNTS, _PLANAR, _PREDICTOR, _COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS),
        *(_TILE_COUNTS, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _PROFILE),
    }
)
# A size in a kind that Pillow skips, such as 18, would be another to it.
_KINDS = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q"}
# Of other tags a single value is meant.
_MOST_VALUES = {_BITS: 256, _EXTRA_SAMPLES: 256, _COLOUR_MAP: 3 * 65_536}
_BLOCK_TAGS = frozenset({_STRIP_OFFSETS, _STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS})
# More strips than rows of the largest picture in its largest number of planes can't be.
_MAX_BLOCKS = 1_000_000
# In all directories together; those of pages lie over each other where a file is to take long.
_MAX_ENTRIES = 100_000
_MAX_PROFILE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TiffPage:
    """One page as its directory tells it.

    Attributes:
        place: Where its directory begins in the file.
        width: Pixels, before orientation.
        height: Pixels, likewise.
        orientation: 1 to 8.
        bits: Bits of each sample of a pixel.
        compression: Tag 259.
        photometric: Tag 262: 0 white is zero, 1 black is zero, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr, 8 Lab.
        planes_apart: Samples lie in planes of their own.
        predictor: 1 none, 2 horizontal differences, 3 differences of floats.
        extra_samples: What samples beyond the colours mean: 1 premultiplied alpha, 2 alpha, 0 anything.
        sample_format: 1 unsigned, 2 signed, 3 float.
        fill_order: 2 when the lowest bit of a byte comes first.
        colour_map: All reds, all greens, all blues, 16 bits each.
        block_size: Width and height of a tile; of a strip when not tiled.
        is_tiled: Pixels lie in tiles, not in strips.
        offsets: Where the blocks begin.
        counts: Bytes of each block.
        little_endian: Byte order of samples of more than 8 bits.
        is_big: The file is a BigTIFF.
        profile: ICC profile, empty without one.
    """

    place: int
    width: int
    height: int
    orientation: int
    bits: tuple[int, ...]
    compression: int
    photometric: int
    planes_apart: bool
    predictor: int
    extra_samples: tuple[int, ...]
    sample_format: int
    fill_order: int
    colour_map: tuple[int, ...]
    block_size: tuple[int, int]
    is_tiled: bool
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    little_endian: bool
    is_big: bool
    profile: bytes


class _Layout(NamedTuple):
    """How directories are written: byte order, and the forms of their length, their entries and their pointers."""

    order: str
    length: Struct
    entry: Struct
    pointer: Struct
    is_big: bool


class _Entry(NamedTuple):
    """What a directory says of a tag: the kind and the number of its values, and these or their place in the file."""

    kind: int
    number: int
    value: bytes


def read_pages(content: bytes) -> Iterator[TiffPage]:
    """Walk the pages of a file in order, without where their pixels lie; a chain that comes back to itself ends there.

    Raises:
        EOFError: A directory lies beyond the end of the file.
        struct.error: Likewise.
        UnreadableImage: There are far more entries than any writer makes.
    """
    for place in _places(content):
        yield _read_page(content, place, whole=False)


def page_at(content: bytes, number: int) -> TiffPage:
    """Read all of the directory of a page, 0 being the first; EOFError when there are fewer."""
    place = next(islice(_places(content), number, None), None)
    if place is None:
        raise EOFError
    return _read_page(content, place, whole=True)


def _layout_of(content: bytes) -> _Layout:
    order = "<" if content.startswith(b"II") else ">"
    is_big = content[2:4] in (b"+\x00", b"\x00+")
    length, entry, pointer = (Struct(order + form) for form in (("Q", "HHQ8s", "Q") if is_big else ("H", "HHI4s", "I")))
    return _Layout(order, length, entry, pointer, is_big)


def _places(content: bytes) -> Iterator[int]:
    """Tell where directories begin; none of their entries is read, so that a late page costs little."""
    layout = _layout_of(content)
    (place,) = layout.pointer.unpack_from(content, 8 if layout.is_big else 4)
    seen: set[int] = set()
    entries = 0
    while place and place not in seen:
        seen.add(place)
        (count,) = layout.length.unpack_from(content, place)
        end = place + layout.length.size + count * layout.entry.size
        if end > len(content):
            raise EOFError
        entries += count
        if entries > _MAX_ENTRIES:
            raise UnreadableImage(f"the tiff picture has more than {_MAX_ENTRIES} entries in its directories")
        yield place
        # A file may end without the pointer that ends the chain.
        (place,) = layout.pointer.unpack(content[end : end + layout.pointer.size].ljust(layout.pointer.size, b"\x00"))


def _read_page(content: bytes, place: int, *, whole: bool) -> TiffPage:
    layout = _layout_of(content)
    (count,) = layout.length.unpack_from(content, place)
    start = place + layout.length.size
    entries: dict[int, _Entry] = {}
    for at in range(start, start + count * layout.entry.size, layout.entry.size):
        tag, *entry = layout.entry.unpack_from(content, at)
        # Of a tag that comes twice the first counts, as for those that decode the pixels.
        if tag in _NUMBERS and tag not in entries:
            entries[tag] = _Entry(*entry)
    tags = {
        tag: _values(content, layout.order, entry, _MOST_VALUES.get(tag, 1) if whole or tag == _BITS else 1)
        for tag, entry in entries.items()
    }
    if not whole:
        return _page(tags, layout, place, b"")
    # No block holds less than a sample.
    blocks = math.prod(max(tags.get(tag, ()), default=1) for tag in (_WIDTH, _HEIGHT, _SAMPLES))
    for tag in _BLOCK_TAGS & entries.keys():
        tags[tag] = _values(content, layout.order, entries[tag], min(blocks, _MAX_BLOCKS))
    return _page(tags, layout, place, _profile(content, layout.order, entries.get(_PROFILE)))


def beginning_at(content: bytes, page: TiffPage) -> bytes:
    """Give the file with that page as its first, so that a reader need not understand those before."""
    order = "<" if page.little_endian else ">"
    if content[2:4] in (b"+\x00", b"\x00+"):
        return content[:8] + struct.pack(order + "Q", page.place) + content[16:]
    return content[:4] + struct.pack(order + "I", page.place) + content[8:]


def _values(content: bytes, order: str, entry: _Entry, most: int) -> tuple[int, ...]:
    """Read a tag's first values, which all lie in the entry itself if they fit and elsewhere in the file if not."""
    layout = _KINDS.get(entry.kind)
    if layout is None or not entry.number:
        return ()
    read = f"{order}{min(entry.number, most)}{layout}"
    if entry.number * struct.calcsize(layout) <= len(entry.value):
        return struct.unpack_from(read, entry.value)
    return struct.unpack_from(read, content, _place_in(entry, order))


def _place_in(entry: _Entry, order: str) -> int:
    place: int = struct.unpack(order + ("Q" if len(entry.value) == 8 else "I"), entry.value)[0]  # noqa: PLR2004 - BigTIFF's pointers
    return place


def _profile(content: bytes, order: str, entry: _Entry | None) -> bytes:
    if entry is None or _KINDS.get(entry.kind) != "B" or not len(entry.value) < entry.number <= _MAX_PROFILE_BYTES:
        return b""
    place = _place_in(entry, order)
    return content[place : place + entry.number]


def _page(tags: dict[int, tuple[int, ...]], layout: _Layout, place: int, profile: bytes) -> TiffPage:
    def one(tag: int, otherwise: int) -> int:
        values = tags.get(tag, ())
        return values[0] if values else otherwise

    samples = min(max(1, one(_SAMPLES, 1)), 256)
    bits = tags.get(_BITS, ()) or (1,)
    orientation = one(_ORIENTATION, 1)
    is_tiled = _TILE_OFFSETS in tags
    width, height = one(_WIDTH, 0), one(_HEIGHT, 0)
    strip = (width, min(one(_ROWS_PER_STRIP, height) or height, height))
    return TiffPage(
        place=place,
        width=width,
        height=height,
        orientation=orientation if orientation in range(1, 9) else 1,
        bits=tuple(bits[min(sample, len(bits) - 1)] for sample in range(samples)),
        compression=one(_COMPRESSION, 1),
        photometric=one(_PHOTOMETRIC, 1),
        planes_apart=one(_PLANAR, 1) == 2 and samples > 1,  # noqa: PLR2004 - its value in the file
        predictor=one(_PREDICTOR, 1),
        extra_samples=tags.get(_EXTRA_SAMPLES, ()),
        sample_format=one(_SAMPLE_FORMAT, 1),
        fill_order=one(_FILL_ORDER, 1),
        colour_map=tags.get(_COLOUR_MAP, ()),
        block_size=(one(_TILE_WIDTH, 0), one(_TILE_HEIGHT, 0)) if is_tiled else strip,
        is_tiled=is_tiled,
        offsets=tags.get(_TILE_OFFSETS if is_tiled else _STRIP_OFFSETS, ()),
        counts=tags.get(_TILE_COUNTS if is_tiled else _STRIP_COUNTS, ()),
        little_endian=layout.order == "<",
        is_big=layout.is_big,
        profile=profile,
    )
