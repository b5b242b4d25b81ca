"""Decoders under damage: a picture or a named refusal, never anything else."""

import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgapi.errors import CallerError
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.resize import resize
from pictures import animated_gif, decode, draw_cutout, draw_photo, encode, exif_bytes, svg_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMITS = PictureLimits(max_pixels=1_000_000, max_total_pixels=2_000_000, max_svg_pixels=1_000_000)


def _seeds() -> "Sequence[bytes]":
    frames = [draw_cutout(20, 16, seed) for seed in range(3)]
    photo = draw_photo(40, 30)
    return [
        encode(photo, "jpeg", exif=exif_bytes(6), progressive=True),
        encode(photo.convert("CMYK"), "jpeg"),
        encode(photo, "png", exif=exif_bytes(3)),
        encode(photo.quantize(16), "png", transparency=2),
        encode(photo, "webp", exif=exif_bytes(8)),
        encode(photo, "bmp"),
        encode(photo, "tiff", compression="tiff_lzw"),
        encode(photo, "tiff", big_tiff=True),
        encode(frames[0], "webp", save_all=True, append_images=frames[1:]),
        encode(frames[0], "png", save_all=True, append_images=frames[1:]),
        animated_gif(3),
        svg_bytes('<g id="a"><rect style="fill:url(#a)" transform="rotate(3)" width="9" height="9"/></g>'),
    ]


SEEDS = _seeds()


@st.composite
def damaged_pictures(draw: st.DrawFn) -> bytes:
    """Choose a file, change up to eight of its bytes, and cut it off or not."""
    content = bytearray(draw(st.sampled_from(SEEDS)))
    for place, value in draw(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8)):
        content[place % len(content)] = value
    kept = draw(st.one_of(st.none(), st.integers(1, 1 << 20)))
    return bytes(content if kept is None else content[: 1 + kept % len(content)])


@pytest.fixture(scope="module", autouse=True)
def neighbour() -> Iterator[None]:
    """Draw from `random` in another thread, as a service in this process does: no reason to call a test flaky.

    Hypothesis warns of it, and a test that makes errors of all warnings (by a mark, which outweighs the settings of the
    whole suite) fails in one run and not in the next.
    """
    is_over = threading.Event()

    def disturb() -> None:
        while not is_over.wait(0.002):
            random.shuffle([0, 1])

    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    yield
    is_over.set()
    thread.join()


@settings(max_examples=250, deadline=None)
@given(damaged_pictures())
def test_damaged_pictures_are_converted_or_refused(damaged: bytes) -> None:
    """Whatever bytes of a real file change or go, the result is a PNG or a CallerError, without a warning."""
    with suppress(CallerError):
        for frame in convert_to_png(damaged, all_frames=True, limits=LIMITS, svg_renderer="resvg").frames:
            decode(frame)
    with suppress(CallerError):
        decode(resize(damaged, min_dim=1, max_dim=30, limits=LIMITS, svg_renderer="resvg").content)
    with suppress(CallerError):
        decode(resize(damaged, min_dim=1, max_dim=4096, limits=LIMITS, svg_renderer="resvg").content)
