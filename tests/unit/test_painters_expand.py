"""Painters: outpainting."""

import numpy as np
import pytest
from PIL import Image

from drawings import decode, mug, paint, photo, pixels
from drawings import paint_job as job
from imgapi.emulator import painters
from imgapi.emulator.painters import PaintingRefused


@pytest.mark.parametrize("name", ["china", "coffee", "astronaut"])
def test_expansion_keeps_the_original_and_hides_the_seam(name: str) -> None:
    """The original pixels are all there, untouched, and the seam is no stronger an edge than the photo itself has."""
    image = photo(name, 220)
    width, height = image.size
    task = job("expand", base=image, left_scale=1.5, right_scale=1.25, top_scale=1.3, bottom_scale=1.5)
    painted = decode(paint(task)[0])
    left, top = round(width * 0.5), round(height * 0.3)
    assert painted.size == (width + left + round(width * 0.25), height + top + round(height * 0.5))
    result = pixels(painted)
    assert np.array_equal(result[top : top + height, left : left + width], pixels(image))
    across = np.abs(np.diff(result.mean(axis=2), axis=1))[top : top + height]
    right, bottom = left + width, top + height
    assert across[:, left - 1].mean() < 1.2 * across[:, left : left + 8].mean() + 1
    assert across[:, right - 1].mean() < 1.2 * across[:, right - 9 : right - 1].mean() + 1
    down = np.abs(np.diff(result.mean(axis=2), axis=0))[:, left : left + width]
    assert down[top - 1].mean() < 1.2 * down[top : top + 8].mean() + 1
    assert down[bottom - 1].mean() < 1.2 * down[bottom - 9 : bottom - 1].mean() + 1


def test_expansion_does_not_repeat_the_subject() -> None:
    """The mug is not mirrored into the new area: no red beyond the original frame."""
    image = mug()[0]
    result = pixels(decode(paint(job("expand", base=image, left_scale=2.0, right_scale=2.0))[0]))
    redness = result[:, :, 0] - result[:, :, 1]
    assert (redness[:, 400:800] > 60).any()
    assert (redness[:, :400] > 40).mean() < 0.002
    assert (redness[:, 800:] > 40).mean() < 0.002


def test_expansion_of_nothing_is_the_picture() -> None:
    """All scales 1.0, the upstream's default, add nothing."""
    image = photo("coffee", 200)
    assert np.array_equal(pixels(decode(paint(job("expand", base=image))[0])), pixels(image))


@pytest.mark.parametrize("scale", [0.9, 2.5, "wide", True])
def test_expansion_scale_out_of_range_is_refused(scale: object) -> None:
    """A scale that is no number from 1 to 2 is an InvalidParameter naming it."""
    with pytest.raises(PaintingRefused, match="top_scale"):
        paint(job("expand", base=mug()[0], top_scale=scale))


def test_expansion_is_no_mirror_image() -> None:
    """What lies beyond the frame is not the picture mirrored at it, as far as a person would notice."""
    image = photo("china", 220)
    result = pixels(decode(paint(job("expand", base=image, left_scale=1.5))[0])).astype(np.float64)
    added = image.width // 2
    beyond, mirrored = result[:, :added].mean(axis=2), result[:, added : 2 * added][:, ::-1].mean(axis=2)
    # Sky over trees correlates anyhow; the fine detail tells a mirror image from other content.
    details = [values - np.roll(values, 3, axis=1) for values in (beyond, mirrored)]
    assert np.corrcoef(details[0].ravel(), details[1].ravel())[0, 1] < 0.3


@pytest.mark.parametrize("name", ["china", "coffee"])
def test_expansion_is_as_sharp_as_the_picture(name: str) -> None:
    """The new surroundings have the picture's detail to their outer ends, not a blur."""
    image = photo(name, 220)
    result = pixels(decode(paint(job("expand", base=image, bottom_scale=1.5))[0])).mean(axis=2)
    detail = np.abs(np.diff(result, axis=1))
    height = image.height
    assert detail[-height // 4 :].mean() > 0.6 * detail[height * 3 // 4 : height].mean()


def test_expansion_continues_sky_above_and_trees_below() -> None:
    """Light stays above and dark below: pieces are laid at about the height they come from."""
    image = photo("china", 220)
    result = pixels(decode(paint(job("expand", base=image, left_scale=1.5, top_scale=1.3))[0])).mean(axis=2)
    left, top = round(image.width * 0.5), round(image.height * 0.3)
    assert result[: top // 2].mean() > 180
    assert result[top : top + 24, : left - 6].mean() > result[-24:, : left - 6].mean() + 80


def test_expansion_continues_what_the_frame_cuts() -> None:
    """A post that reaches over the lower side goes on below it."""
    image = np.full((240, 320, 3), (190, 200, 210), np.uint8)
    image[60:, 140:180] = (120, 60, 30)
    image = (image + np.random.default_rng(3).normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)
    result = pixels(decode(paint(job("expand", base=Image.fromarray(image), bottom_scale=1.3))[0]))
    below = result[242:280].mean(axis=0)
    assert below[150:170, 0].mean() < 150
    assert below[40:110, 0].mean() > 170
    assert below[210:280, 0].mean() > 170


@pytest.mark.parametrize("size", [(1, 1), (30, 200), (400, 36), (61, 47)])
def test_expansion_of_small_and_narrow_pictures(size: tuple[int, int]) -> None:
    """A picture too small or narrow for pieces is extended all the same, its own pixels untouched."""
    image = photo("china", 220).resize(size)
    painted = decode(paint(job("expand", base=image, left_scale=2.0, top_scale=1.5, bottom_scale=1.5))[0])
    added = (size[0], round(size[1] * 0.5))
    assert painted.size == (size[0] + added[0], size[1] + 2 * added[1])
    assert np.array_equal(pixels(painted)[added[1] : added[1] + size[1], added[0] :], pixels(image))


def test_expansion_leaves_no_pixel_unpainted() -> None:
    """With a picture that has nothing dark in it, nothing dark appears round it."""
    image = Image.fromarray((pixels(photo("coffee", 200)) // 4 + 170).astype(np.uint8))
    task = job("expand", base=image, left_scale=1.37, right_scale=1.62, top_scale=1.03, bottom_scale=1.91)
    assert pixels(decode(paint(task)[0])).min() > 100


def test_expansion_is_repeatable() -> None:
    """The same job gives the same bytes."""
    task = job("expand", base=photo("astronaut", 120), left_scale=1.5, bottom_scale=1.2)
    assert paint(task) == paint(task)


@pytest.mark.parametrize(("scale", "warnings"), [(1.25, ()), (1.26, ("scale_over_1_25",))])
def test_expansion_warns_of_wide_surroundings(scale: float, warnings: tuple[str, ...]) -> None:
    """Beyond a quarter of a side the answer carries a warning, up to it none; the prompt is always ignored."""
    painting = painters.paint(job("expand", base=photo("coffee", 120), right_scale=scale))
    assert (painting.warnings, painting.ignored) == (warnings, ("prompt",))


def test_expansion_beyond_a_hundred_million_pixels_is_refused() -> None:
    """A result that no worker could hold is refused before anything is painted, with what to do."""
    image = Image.new("RGB", (4000, 3000))
    with pytest.raises(PaintingRefused, match="smaller scales") as refusal:
        paint(job("expand", base=image, left_scale=2.0, right_scale=2.0, top_scale=2.0, bottom_scale=2.0))
    assert refusal.value.code == "InvalidParameter"
