"""Masks drawn from what a caller marks."""

import io

import numpy as np
import pytest
from PIL import Image

from imgapi.errors import InvalidParameter
from imgapi.pictures.mask import draw_mask
from pictures import encode


def read(content: bytes) -> np.ndarray:
    """A drawn mask as H×W bool; its format, mode and values are what models take."""
    with Image.open(io.BytesIO(content)) as mask:
        assert (mask.format, mask.mode) == ("PNG", "RGB")
        pixels = np.asarray(mask)
    assert set(np.unique(pixels)) <= {0, 255}
    assert (pixels == pixels[:, :, :1]).all()
    marked: np.ndarray = pixels[:, :, 0] == 255
    return marked


def test_boxes_are_white_and_all_else_is_black() -> None:
    """Each box covers exactly its pixels."""
    marked = read(draw_mask((40, 30), (40, 30), [(5, 6, 10, 4), (0, 0, 1, 1)], None))
    expected = np.zeros((30, 40), dtype=bool)
    expected[6:10, 5:15] = True
    expected[0, 0] = True
    assert np.array_equal(marked, expected)


def test_boxes_follow_the_picture_to_another_size() -> None:
    """Boxes are measured in the caller's pixels; the mask has the size that the model gets."""
    marked = read(draw_mask((300, 200), (768, 512), [(150, 100, 75, 50)], None))
    assert marked.shape == (512, 768)
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    assert (columns[0], columns[-1] + 1, rows[0], rows[-1] + 1) == (384, 576, 256, 384)


def test_small_box_survives_a_reduction() -> None:
    """A box thinner than a pixel of the mask still marks one."""
    assert read(draw_mask((1000, 1000), (100, 100), [(505, 505, 1, 1)], None)).sum() == 1


def test_box_that_overhangs_is_cut_off() -> None:
    """What lies beyond the right and lower edge is left out."""
    assert read(draw_mask((40, 30), (40, 30), [(35, 25, 100, 100)], None)).sum() == 25


@pytest.mark.parametrize("number", [2**31, 10**20, 10**4000], ids=["32 bits", "64 bits", "4,001 digits"])
def test_numbers_beyond_all_pictures_are_those_of_a_box_that_overhangs(number: int) -> None:
    """A width that nothing could draw is cut off like any other; a place that far off is refused in a few words."""
    assert read(draw_mask((40, 30), (40, 30), [(35, 25, number, number)], None)).sum() == 25
    for box in ((number, 0, 1, 1), (0, number, 1, 1)):
        with pytest.raises(InvalidParameter, match="lies outside the picture") as caught:
            draw_mask((40, 30), (40, 30), [box], None)
        assert len(caught.value.message) < 100


def test_mask_picture_and_boxes_are_added() -> None:
    """White, near-white and boxes mark; grey below the middle, black and transparent pixels don't."""
    mask = Image.new("RGBA", (4, 1), (255, 255, 255, 255))
    mask.putpixel((1, 0), (100, 100, 100, 255))
    mask.putpixel((2, 0), (255, 255, 255, 0))
    mask.putpixel((3, 0), (0, 0, 0, 255))
    marked = read(draw_mask((40, 10), (40, 10), [(35, 0, 5, 10)], encode(mask, "png")))
    assert marked.any(axis=0).tolist() == [True] * 10 + [False] * 25 + [True] * 5


@pytest.mark.parametrize(
    ("boxes", "mask", "words", "field"),
    [
        ([(40, 0, 5, 5)], None, "40x30", "boxes"),
        ([(0, 0, 40, 30)], None, "at most 95%", None),
        ([], Image.new("L", (40, 30)), "marks nothing", None),
        ([], Image.new("L", (30, 40), 255), "30x40", "mask_url"),
    ],
    ids=["outside", "all", "nothing", "proportions"],
)
def test_useless_marks_are_refused(
    boxes: list[tuple[int, int, int, int]], mask: Image.Image | None, words: str, field: str | None
) -> None:
    """Marks that can't be meant are a caller's error that says what is wrong, before anything is paid for."""
    with pytest.raises(InvalidParameter, match=words) as caught:
        draw_mask((40, 30), (40, 30), boxes, encode(mask, "png") if mask else None)
    assert caught.value.field == field
