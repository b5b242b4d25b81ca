"""Painters: background replacement."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from drawings import cut_mug, decode, mug, paint, photo, pixels
from drawings import paint_job as job
from imgapi.emulator.painters import PaintingRefused


def test_background_is_replaced_and_subject_kept() -> None:
    """The mug stays red where it was; around it is the reference, at the base's size."""
    base, outline = cut_mug()
    painted = decode(paint(job("background", base=base, ref=photo("china")))[0])
    assert (painted.size, painted.mode, painted.format) == (base.size, "RGB", "PNG")
    cover = np.asarray(photo("china").resize(base.size)).astype(np.int32)
    result = pixels(painted)
    assert np.median(result[outline][:, 0] - result[outline][:, 2]) > 70
    far = ~np.asarray(Image.fromarray(outline).resize(base.size)) & (np.arange(300)[:, None] < 60)
    assert np.abs(result[far] - cover[far]).mean() < 25
    assert np.abs(result[far] - pixels(base)[:, :, :3][far]).mean() > 20


def test_four_backgrounds_are_four_compositions() -> None:
    """No two of four results are alike."""
    results = [
        pixels(decode(content)) for content in paint(job("background", base=cut_mug()[0], ref=photo("china"), count=4))
    ]
    for index, one in enumerate(results):
        for other in results[index + 1 :]:
            assert np.abs(one - other).mean() > 12


def test_opaque_base_is_cut_out_first() -> None:
    """Successor models get an opaque picture: its studio wall gives way to the reference all the same."""
    base, outline = mug()
    result = pixels(decode(paint(job("background", base=base, ref=Image.new("RGB", (300, 200), (20, 90, 40))))[0]))
    corner = result[5:40, 5:60].reshape(-1, 3).mean(axis=0)
    assert np.abs(corner - (20, 90, 40)).max() < 8
    assert np.median(result[outline][:, 0] - result[outline][:, 1]) > 60


def test_prompt_alone_paints_a_backdrop_in_its_colours() -> None:
    """Without a reference the prompt's words choose the colours: a forest is greener than a sunset."""
    base, outline = cut_mug()
    forest = pixels(decode(paint(job("background", base=base, prompt="a quiet forest"))[0]))[~outline].mean(axis=0)
    sunset = pixels(decode(paint(job("background", base=base, prompt="海边 日落"))[0]))[~outline].mean(axis=0)
    assert forest[1] > forest[0]
    assert sunset[0] > sunset[1] + 20


def test_background_wants_a_reference_or_a_prompt() -> None:
    """Neither a picture nor words is an InvalidParameter."""
    with pytest.raises(PaintingRefused) as refusal:
        paint(job("background", base=cut_mug()[0]))
    assert refusal.value.code == "InvalidParameter"


def test_reference_is_not_used_where_it_is_transparent() -> None:
    """The hidden colour of a reference's transparent zone does not reach the result."""
    reference = np.zeros((100, 140, 4), dtype=np.uint8)
    reference[:, :, 0] = 255
    reference[:, 70:] = (0, 0, 200, 255)
    base, outline = cut_mug()
    result = pixels(decode(paint(job("background", base=base, ref=Image.fromarray(reference)))[0]))
    assert result[~outline][:, 0].max() < 120


def test_no_subject_in_an_opaque_base_fails_the_task() -> None:
    """An empty wall can't be given another background; the refusal says what to send."""
    with pytest.raises(PaintingRefused, match="send a picture") as refusal:
        paint(job("background", base=Image.new("RGB", (200, 200), (200, 200, 200)), ref=photo("china")))
    assert refusal.value.code == "InvalidParameter.ImageContent"


def test_night_prompt_has_lights() -> None:
    """A backdrop of a city at night is dark, with bright points in it."""
    result = pixels(decode(paint(job("background", base=cut_mug()[0], prompt="city at night"))[0]))[:70]
    assert np.median(result) < 80
    assert result.max() > 110


def _cut_bar(*, left: int, right: int, top: int, bottom: int) -> Image.Image:
    """A red bar on nothing, 300×200."""
    drawn = np.zeros((200, 300, 4), np.uint8)
    drawn[top:bottom, left:right] = (200, 40, 40, 255)
    return Image.fromarray(drawn)


def _redness(content: bytes) -> NDArray[np.int32]:
    result = pixels(decode(content))
    return result[:, :, 0] - result[:, :, 1]


def test_standing_subject_throws_a_shadow_where_it_stands() -> None:
    """Right below the subject the ground is darker than beside it; one that the frame cuts below throws none."""
    ground = Image.new("RGB", (300, 200), (170, 175, 180))
    standing = pixels(
        decode(paint(job("background", base=_cut_bar(left=110, right=190, top=40, bottom=150), ref=ground))[0])
    )
    assert standing[152, 120:180].mean() < standing[152, 5:25].mean() - 40
    assert standing[100, 5:60].min() > 150
    cut = pixels(
        decode(paint(job("background", base=_cut_bar(left=110, right=190, top=40, bottom=200), ref=ground))[0])
    )
    assert cut[:, :80].min() > 150


def test_subject_stays_in_the_picture_and_at_the_sides_it_touches() -> None:
    """In all four compositions a free subject is whole, and one cut by the frame still touches that side."""
    ground = Image.new("RGB", (300, 200), (120, 140, 150))
    free = paint(job("background", base=_cut_bar(left=30, right=110, top=30, bottom=150), ref=ground, count=4))
    for content in free:
        found = np.argwhere(_redness(content) > 70)
        assert found.min() > 0
        assert found[:, 0].max() < 199
        assert found[:, 1].max() < 299
    places = {int(np.argwhere(_redness(content) > 70)[:, 1].mean()) // 12 for content in free}
    assert len(places) >= 3
    cut = paint(job("background", base=_cut_bar(left=200, right=300, top=80, bottom=200), ref=ground, count=4))
    for content in cut:
        redness = _redness(content)
        assert (redness[:, -1] > 70).sum() > 60
        assert (redness[-1] > 70).sum() > 60


def test_rim_loses_the_tint_of_the_old_background() -> None:
    """Half-clear rim pixels in the old background's green do not draw a green line round the subject."""
    drawn = pixels(_cut_bar(left=100, right=200, top=50, bottom=150)).astype(np.uint8)
    for inset in range(2):
        rim = np.zeros(drawn.shape[:2], bool)
        rim[50 + inset : 150 - inset, 100 + inset : 200 - inset] = True
        rim[51 + inset : 149 - inset, 101 + inset : 199 - inset] = False
        drawn[rim] = (60, 190, 60, 200)
    grey = Image.new("RGB", (300, 200), (128, 128, 128))
    result = pixels(decode(paint(job("background", base=Image.fromarray(drawn), ref=grey))[0]))
    assert (result[:, :, 1] - result[:, :, 0]).max() < 25


def test_colours_move_towards_the_reference_but_not_far() -> None:
    """A grey subject turns a little warmer before a warm reference, by less than it would take to look dyed."""
    drawn = np.zeros((200, 300, 4), np.uint8)
    drawn[50:150, 100:200] = (128, 128, 128, 255)
    warm = Image.new("RGB", (300, 200), (220, 140, 60))
    result = pixels(decode(paint(job("background", base=Image.fromarray(drawn), ref=warm))[0]))
    middle = result[90:110, 140:160].reshape(-1, 3).mean(axis=0)
    assert 4 < middle[0] - middle[2] < 40


@pytest.mark.parametrize("size", [(20, 15), (900, 60), (50, 700)])
def test_reference_of_any_shape_covers_the_frame_smoothly(size: tuple[int, int]) -> None:
    """A small or narrow reference fills the frame, without the blocks of its pixels and without bars."""
    base = cut_mug()[0]
    reference = Image.fromarray((pixels(photo("china").resize(size)) // 2 + 120).astype(np.uint8))
    result = pixels(decode(paint(job("background", base=base, ref=reference))[0]))
    assert result.shape == (base.height, base.width, 3)
    assert result[:60, :100].min() > 90
    assert np.abs(np.diff(result[:60, :100], axis=1)).max() < 60


@pytest.mark.parametrize("count", [1, 2, 3])
def test_first_compositions_do_not_depend_on_how_many_are_asked(count: int) -> None:
    """The same seed gives the same bytes, whether one or four results were asked for."""
    base = cut_mug()[0]
    four = paint(job("background", base=base, ref=photo("china"), count=4))
    assert paint(job("background", base=base, ref=photo("china"), count=count)) == four[:count]
