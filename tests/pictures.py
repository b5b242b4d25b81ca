"""Pictures for tests: drawn from a seed, taken from real photographs, or hostile on purpose."""

import io
import struct
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageDraw

SVG_LEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
_SKLEARN_PHOTOS = frozenset({"china", "flower"})


def draw_photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Draw an RGB picture with a sky, shapes and a little noise; the same seed gives the same pixels."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    base = np.stack([rows * 200 / height, columns * 200 / width, 220 - rows * 120 / height], axis=-1)
    noise = random.normal(0, 4, (height, width, 3))
    image = Image.fromarray(np.clip(base + noise, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = int(random.integers(0, width)), int(random.integers(0, height))
        right, bottom = left + max(2, width // 5), top + max(2, height // 5)
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        draw.ellipse((left, top, right, bottom), fill=(colour[0], colour[1], colour[2]))
    return image


def draw_cutout(width: int, height: int, seed: int = 0) -> Image.Image:
    """Draw an RGBA picture: an ellipse of a drawn photo, clear around it, half clear at its left."""
    image = draw_photo(width, height, seed).convert("RGBA")
    alpha = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(alpha)
    draw.ellipse((width // 6, height // 6, width - width // 6, height - height // 6), fill=255)
    alpha.paste(alpha.crop((0, 0, width // 2, height)).point(lambda value: value // 2), (0, 0))
    image.putalpha(alpha)
    return image


@cache
def _photo_bytes(name: str) -> bytes:
    if name in _SKLEARN_PHOTOS:
        return files("sklearn.datasets.images").joinpath(f"{name}.jpg").read_bytes()
    folder = files("skimage.data")
    for suffix in ("png", "jpg"):
        path = folder.joinpath(f"{name}.{suffix}")
        if path.is_file():
            return path.read_bytes()
    raise ValueError(name)


def photo_bytes(name: str) -> bytes:
    """Read a real photograph as its package ships it: `china`, `flower`, `astronaut`, `chelsea`, `coffee`."""
    return _photo_bytes(name)


def photo(name: str) -> Image.Image:
    """Open a real photograph in RGB."""
    with Image.open(io.BytesIO(photo_bytes(name))) as image:
        return image.convert("RGB")


def encode(image: Image.Image, format_name: str, **options: Any) -> bytes:
    """Encode with Pillow; `format_name` as PictureInfo.format has it."""
    out = io.BytesIO()
    image.save(out, format_name.upper(), **options)
    return out.getvalue()


def decode(content: bytes) -> Image.Image:
    """Decode fully with Pillow."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def exif_bytes(orientation: int = 1) -> bytes:
    """Make an EXIF block with an orientation, a camera maker and a GPS position."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (31.0, 13.0, 49.0)
    return exif.tobytes()


def swapped_profile() -> bytes:
    """Make an RGB ICC profile whose red and green primaries are exchanged, so that using it can't be missed."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    places = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def cmyk_profile() -> bytes:
    """Make a CMYK ICC profile of a press whose cyan ink is red, so that using it can't be missed."""
    corners = bytearray()
    for corner in range(16):
        cyan, black = corner & 8, corner & 1
        corners += bytes((0, 128, 128) if black else (136, 208, 195) if cyan else (255, 128, 128))
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 if place % 4 == 0 else 0 for place in range(9)))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + identity * 4 + bytes(corners) + identity * 3
    header = bytearray(128)
    struct.pack_into(
        ">I4sI4s4s4s", header, 0, 128 + 4 + 12 + len(table), b"test", 0x02400000, b"prtr", b"CMYK", b"Lab "
    )
    header[36:40] = b"acsp"
    struct.pack_into(">3i", header, 68, 63190, 65536, 54061)
    return bytes(header) + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table


def svg_bytes(body: str = "", attributes: str = 'width="120" height="80"') -> bytes:
    """Write an SVG; without a body it is a red circle on nothing."""
    drawn = body or '<circle cx="60" cy="40" r="30" fill="#ff0000"/>'
    return f"{SVG_LEAD} {attributes}>{drawn}</svg>".encode()


def animated_gif(frames: int = 3, size: tuple[int, int] = (40, 30)) -> bytes:
    """Make a GIF whose frame number n is one flat colour, (60 n, 0, 0)."""
    pictures = [Image.new("RGB", size, (60 * number, 0, 0)) for number in range(frames)]
    return encode(pictures[0], "gif", save_all=True, append_images=pictures[1:], duration=50, optimize=False)


def gif_of(
    size: tuple[int, int], *frames: tuple[tuple[int, int, int, int], int, int], delay: int = 5, loops: bool = False
) -> bytes:
    """Write a GIF block by block: palette clear, red, green, blue; index 0 is transparent.

    Args:
        size: Width and height of the canvas.
        frames: ((left, top, width, height), colour index of all its pixels, disposal) each.
        delay: Hundredths of a second that each frame is shown.
        loops: Whether it says that it repeats.
    """
    palette = bytes((0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255))
    parts = [b"GIF89a", struct.pack("<HHBBB", *size, 0x81, 0, 0), palette]
    if loops:
        parts.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
    for (left, top, width, height), index, disposal in frames:
        parts.append(b"\x21\xf9\x04" + bytes((disposal << 2 | 1, delay, 0, 0, 0)))
        parts.append(b"," + struct.pack("<HHHHB", left, top, width, height, 0))
        parts.append(_flat_lzw(index, width * height))
    return b"".join([*parts, b";"])


def _flat_lzw(index: int, count: int) -> bytes:
    """Write GIF image data of one colour: a clear code before each pixel keeps all codes 3 bits long."""
    codes = [code for _ in range(count) for code in (4, index)] + [5]
    bits = sum(code << 3 * position for position, code in enumerate(codes))
    data = bits.to_bytes((3 * len(codes) + 7) // 8, "little")
    blocks = [data[at : at + 255] for at in range(0, len(data), 255)]
    return b"\x02" + b"".join(bytes((len(block),)) + block for block in blocks) + b"\x00"


def bmp_of(
    size: tuple[int, int],
    bits: int,
    pixels: bytes,
    *,
    compression: int = 0,
    palette: bytes = b"",
    masks: tuple[int, ...] = (),
    header_bytes: int = 40,
    tail: bytes = b"",
) -> bytes:
    """Write a BMP; a palette entry has four bytes, three with the 12-byte header."""
    if header_bytes == 12:
        header = struct.pack("<IHHHH", 12, *size, 1, bits)
    else:
        fields = struct.pack("<iiHHIIiiII", *size, 1, bits, compression, len(pixels), 0, 0, len(palette) // 4, 0)
        in_header = struct.pack(f"<{len(masks)}I", *masks) if header_bytes > 40 else b""
        header = (struct.pack("<I", header_bytes) + fields + in_header).ljust(header_bytes, b"\x00")[:header_bytes]
    between = struct.pack(f"<{len(masks)}I", *masks) if header_bytes == 40 else b""
    offset = 14 + len(header) + len(between) + len(palette)
    lead = b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset)
    return lead + header + between + palette + pixels + tail


def palette_of(*colours: tuple[int, int, int]) -> bytes:
    """Write the entries of a BMP's palette, four bytes each, blue first."""
    return b"".join(bytes((*colour[::-1], 0)) for colour in colours)


def tiff_of(
    blocks: list[bytes],
    *,
    samples: int,
    bits: int,
    order: str = "<",
    tags: Mapping[int, tuple[int, ...]] | None = None,
    size: tuple[int, int] = (20, 12),
    big: bool = False,
    packed_already: bool = False,
) -> bytes:
    """Write a TIFF of one page, its blocks compressed with Deflate; `tags` add to or replace what follows."""
    packed = blocks if packed_already else [zlib.compress(block) for block in blocks]
    start = 16 if big else 8
    places = [start + sum(map(len, packed[:at])) for at in range(len(packed))]
    values: dict[int, tuple[int, ...]] = {
        256: (size[0],),
        257: (size[1],),
        258: (bits,) * samples,
        259: (8,),
        262: (2 if samples >= 3 else 1,),
        277: (samples,),
        **(tags or {}),
    }
    tiled = 322 in values
    values[324 if tiled else 273] = tuple(places)
    values[325 if tiled else 279] = tuple(map(len, packed))
    layout, entry, offset_layout = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    room = struct.calcsize(offset_layout)
    directory_at = start + sum(map(len, packed))
    after = directory_at + struct.calcsize(layout) + len(values) * (struct.calcsize("<" + entry) + room) + room
    entries, arrays = b"", b""
    for tag, numbers in sorted(values.items()):
        body = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(body) > room:
            arrays, body = arrays + body, struct.pack(order + offset_layout, after + len(arrays))
        entries += struct.pack(order + entry, tag, 4, len(numbers)) + body.ljust(room, b"\x00")
    lead = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    lead += struct.pack(order + "HHQ", 8, 0, directory_at) if big else struct.pack(order + "I", directory_at)
    directory = struct.pack(order + layout, len(values)) + entries + bytes(room)
    return lead + b"".join(packed) + directory + arrays


def read_deep(png: bytes) -> npt.NDArray[np.uint16]:
    """Read a PNG's samples as they are, whatever their depth: H×W, or H×W×channels with red first."""
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return np.asarray(pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]], np.uint16)


def png_chunk(name: bytes, body: bytes) -> bytes:
    """Write one PNG chunk with its CRC."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_claiming(width: int, height: int) -> bytes:
    """Make a PNG of a few bytes whose header claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def deep_png(width: int = 24, height: int = 16) -> bytes:
    """Make a 16-bit RGB PNG whose samples need all 16 bits."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.uint32)
    samples = np.stack([rows * 2001 + 7, columns * 1009 + 3, rows * columns + 1], axis=-1).astype(">u2")
    raw = b"".join(b"\x00" + row.tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(raw))
        + png_chunk(b"IEND", b"")
    )
