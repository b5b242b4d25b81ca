"""APNGs of 16 bits a sample, written chunk by chunk."""

import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from imgapi.errors import UnreadableImage
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from pictures import png_chunk

WIDTH, HEIGHT = 6, 4
KEEP, CLEAR, RESTORE = 0, 1, 2
GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6
CHANNELS = {GREY: 1, RGB: 3, GREY_ALPHA: 2, RGBA: 4}
Numbers = npt.NDArray[np.int64]


def drawn(kind: int, seed: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Numbers:
    """Draw samples that use all 16 bits, H×W×channels."""
    return np.random.default_rng(seed).integers(0, 65_536, (size[1], size[0], CHANNELS[kind]))


def packed(samples: Numbers) -> bytes:
    """Compress rows, each after a filter byte of 0."""
    return zlib.compress(b"".join(b"\x00" + row.astype(">u2").tobytes() for row in samples))


def apng_of(kind: int, *frames: tuple[Numbers, tuple[int, int], int, int], more: bytes = b"") -> bytes:
    """Write an APNG; samples, left and top, disposal and blending of each frame; `more` goes before the pixels."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, kind, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", png_chunk(b"IHDR", header), more]
    parts.append(png_chunk(b"acTL", struct.pack(">II", len(frames), 0)))
    sequence = 0
    for number, (samples, (left, top), disposal, blending) in enumerate(frames):
        height, width = samples.shape[:2]
        control = struct.pack(">IIIIIHHBB", sequence, width, height, left, top, 1, 10, disposal, blending)
        parts.append(png_chunk(b"fcTL", control))
        data = packed(samples)
        if number:
            parts.append(png_chunk(b"fdAT", struct.pack(">I", sequence + 1) + data))
            sequence += 2
        else:
            parts.append(png_chunk(b"IDAT", data))
            sequence += 1
    return b"".join([*parts, png_chunk(b"IEND", b"")])


def frames_of(content: bytes) -> list[Numbers]:
    """Convert all frames and read their samples as they are, red first."""
    result = convert_to_png(content, all_frames=True, limits=PictureLimits(), svg_renderer="resvg")
    frames = []
    for png in result.frames:
        read = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
        assert read is not None
        assert read.dtype == np.uint16
        pixels = read.reshape(*read.shape[:2], -1)
        frames.append(pixels[..., [2, 1, 0, 3][: pixels.shape[2]] if pixels.shape[2] > 1 else [0]].astype(np.int64))
    return frames


@pytest.mark.parametrize("kind", [GREY, RGB, RGBA])
def test_whole_frames_keep_every_bit(kind: int) -> None:
    """Frames that replace all before come out sample for sample."""
    drawings = [drawn(kind, seed) for seed in range(3)]
    content = apng_of(kind, *((drawing, (0, 0), KEEP, 0) for drawing in drawings))
    assert all(np.array_equal(*pair) for pair in zip(frames_of(content), drawings, strict=True))


def test_grey_with_alpha_keeps_every_bit() -> None:
    """Grey with alpha, which has no 16-bit mode, comes as colours with alpha."""
    drawings = [drawn(GREY_ALPHA, seed) for seed in range(2)]
    content = apng_of(GREY_ALPHA, *((drawing, (0, 0), KEEP, 0) for drawing in drawings))
    for frame, drawing in zip(frames_of(content), drawings, strict=True):
        assert np.array_equal(frame, drawing[..., [0, 0, 0, 1]])


def test_regions_are_disposed_of_and_blended() -> None:
    """Regions kept, cleared and restored, laid over or put in place, end as the specification has them."""
    ground = drawn(RGBA, 1)
    ground[..., 3] = 65_535
    parts = [drawn(RGBA, seed, (3, 2)) for seed in (2, 3, 4)]
    content = apng_of(
        RGBA,
        (ground, (0, 0), KEEP, 0),
        (parts[0], (1, 1), RESTORE, 1),
        (parts[1], (3, 2), CLEAR, 0),
        (parts[2], (0, 0), KEEP, 1),
    )
    shown = frames_of(content)
    first, second, third = ground.copy(), ground.copy(), ground.copy()
    alpha = parts[0][..., 3:] / 65_535
    second[1:3, 1:4, :3] = np.rint(parts[0][..., :3] * alpha + ground[1:3, 1:4, :3] * (1 - alpha))
    third[2:4, 3:6] = parts[1]
    fourth = ground.copy()
    fourth[2:4, 3:6] = 0
    alpha = parts[2][..., 3:] / 65_535
    fourth[:2, :3, :3] = np.rint(parts[2][..., :3] * alpha + ground[:2, :3, :3] * (1 - alpha))
    for frame, expected in zip(shown, (first, second, third, fourth), strict=True):
        opaque = frame.shape[2] == 3
        assert opaque == bool((expected[..., 3] == 65_535).all())
        assert np.abs(frame - (expected[..., :3] if opaque else expected)).max() <= 1


def test_stated_colours_are_stated_on_every_frame() -> None:
    """What a file says of its colours holds for each frame made of it."""
    more = png_chunk(b"gAMA", struct.pack(">I", 100_000))
    content = apng_of(RGB, (drawn(RGB, 1), (0, 0), KEEP, 0), (drawn(RGB, 2), (0, 0), KEEP, 0), more=more)
    result = convert_to_png(content, all_frames=True, limits=PictureLimits(), svg_renderer="resvg")
    assert all(more in frame for frame in result.frames)


def test_a_damaged_frame_is_refused() -> None:
    """A frame whose pixels don't inflate is the caller's error."""
    content = apng_of(RGB, (drawn(RGB, 1), (0, 0), KEEP, 0), (drawn(RGB, 2), (0, 0), KEEP, 0))
    data = packed(drawn(RGB, 2))
    bad = struct.pack(">I", 2) + b"\xff" * len(data)
    damaged = content.replace(png_chunk(b"fdAT", struct.pack(">I", 2) + data), png_chunk(b"fdAT", bad))
    assert damaged != content
    with pytest.raises(UnreadableImage):
        frames_of(damaged)
