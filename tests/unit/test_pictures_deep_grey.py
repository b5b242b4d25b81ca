"""16-bit grey pictures keep what is clear in them, all their bits, and the profile of their samples."""

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ImageCms

from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.resize import resize
from pictures import decode, exif_bytes, png_chunk, read_deep

LIMITS = PictureLimits()
WIDTH, HEIGHT = 24, 16
GREY, GREY_WITH_ALPHA = 0, 4
KEY = 0xFFFF
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = _SRGB[:16] + b"GRAY" + _SRGB[20:]

Samples = npt.NDArray[np.uint16]


def grey_samples() -> Samples:
    """Dark on the left, full on the right."""
    samples = np.full((HEIGHT, WIDTH), KEY, np.uint16)
    samples[:, : WIDTH // 2] = 0x0123
    return samples


def png_of(samples: Samples, *chunks: bytes) -> bytes:
    """Make a PNG of H×W or H×W×2 samples."""
    kind = GREY if samples.ndim == 2 else GREY_WITH_ALPHA
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, kind, 0, 0, 0)
    raw = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in samples)
    pixels = png_chunk(b"IDAT", zlib.compress(raw))
    return b"".join((b"\x89PNG\r\n\x1a\n", png_chunk(b"IHDR", header), *chunks, pixels, png_chunk(b"IEND", b"")))


def profile_chunk() -> bytes:
    """State the grey profile."""
    return png_chunk(b"iCCP", b"grey\x00\x00" + zlib.compress(GREY_PROFILE))


def kind_of(png: bytes) -> tuple[int, int]:
    """Tell bits a sample and colour type."""
    return png[24], png[25]


def halved(content: bytes) -> bytes:
    """Scale to half the width."""
    return resize(content, min_dim=1, max_dim=WIDTH // 2, limits=LIMITS, svg_renderer="resvg").content


def converted(content: bytes, **options: Any) -> tuple[bytes, ...]:
    """Convert."""
    return convert_to_png(content, **{"all_frames": False} | options, limits=LIMITS, svg_renderer="resvg").frames


def test_a_clear_grey_stays_clear_when_scaled() -> None:
    """The edge beside the grey that tRNS calls clear is half clear and as dark as the rest, not a lighter grey."""
    scaled = halved(png_of(grey_samples(), png_chunk(b"tRNS", struct.pack(">H", KEY))))
    assert kind_of(scaled) == (16, GREY_WITH_ALPHA)
    pixels = read_deep(scaled)
    assert not pixels[:, WIDTH // 4 :, 3].any()
    assert (pixels[:, : WIDTH // 4, 3] == 0xFFFF).all()
    assert (pixels[:, : WIDTH // 4, 0] == 0x0123).all()


@pytest.mark.parametrize("orientation", [1, 6])
def test_grey_with_alpha_keeps_its_profile_and_every_bit(orientation: int) -> None:
    """Converted, turned or not, grey with alpha stays that, under the profile of its greys."""
    samples = np.dstack((grey_samples(), np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 170))
    turned = png_chunk(b"eXIf", exif_bytes(orientation).removeprefix(b"Exif\x00\x00"))
    (content,) = converted(png_of(samples, profile_chunk(), turned))
    assert kind_of(content) == (16, GREY_WITH_ALPHA)
    assert decode(content).info["icc_profile"] == GREY_PROFILE
    expected = samples if orientation == 1 else np.rot90(samples, 3)
    assert np.array_equal(read_deep(content)[..., [0, 3]], expected)


def test_scaled_grey_with_alpha_keeps_its_profile() -> None:
    """Scaled too, it has 16 bits, one grey and its profile."""
    scaled = halved(png_of(np.dstack((grey_samples(), grey_samples())), profile_chunk()))
    assert kind_of(scaled) == (16, GREY_WITH_ALPHA)
    assert decode(scaled).info["icc_profile"] == GREY_PROFILE


def test_frames_with_a_clear_grey_are_clear_there() -> None:
    """A frame of 16-bit grey shows what is under the grey that tRNS calls clear, and is written as grey with alpha."""
    key = png_chunk(b"tRNS", struct.pack(">H", KEY))
    control = struct.pack(">IIIIIHHBB", 0, WIDTH, HEIGHT, 0, 0, 1, 10, 0, 0)
    chunks = (png_chunk(b"acTL", struct.pack(">II", 2, 0)), profile_chunk(), key, png_chunk(b"fcTL", control))
    still = png_of(grey_samples(), *chunks)
    data = still[still.index(b"IDAT") + 4 : still.index(b"IEND") - 8]
    second = png_chunk(b"fcTL", struct.pack(">I", 1) + control[4:]) + png_chunk(b"fdAT", struct.pack(">I", 2) + data)
    end = still.index(b"IEND") - 4
    frames = converted(still[:end] + second + still[end:], all_frames=True)
    for frame in frames:
        assert kind_of(frame) == (16, GREY_WITH_ALPHA)
        assert decode(frame).info["icc_profile"] == GREY_PROFILE
        pixels = read_deep(frame)
        assert np.array_equal(pixels[..., 3] == 0, grey_samples() == KEY)
    assert len(frames) == 2
