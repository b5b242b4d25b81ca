"""Painters: watermark removal and inpainting of a marked area."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from drawings import decode, encode, paint, photo, pixels, psnr, watermarked
from imgapi.emulator import painters
from imgapi.emulator.painters import PaintingRefused, PaintJob
from imgapi.emulator.painters.canvas import inpaint


def remove(image: Image.Image, *, mask: Image.Image | None = None, boxes: object = None) -> Image.Image:
    """Run the watermark painter on one picture."""
    pictures = {"base": encode(image)} | ({"mask": encode(mask)} if mask is not None else {})
    parameters = {} if boxes is None else {"boxes": boxes}
    return decode(paint(PaintJob("remove_watermark", pictures, parameters, "去除图像中的文字", 1, 1))[0])


@pytest.mark.parametrize(
    ("name", "where"),
    [("rocket", "corner"), ("rocket", "centre"), ("coffee", "corner"), ("rocket", "tiled"), ("chelsea", "centre")],
)
def test_drawn_watermark_is_found_and_removed(name: str, where: str) -> None:
    """White half-transparent text in a corner, in the middle or tiled aslant: at least 8 dB better inside it."""
    clean = photo(name, 560)
    marked, covered = watermarked(clean, where, 0.6)
    result = remove(marked)
    assert result.size == clean.size
    assert psnr(result, clean, covered) > psnr(marked, clean, covered) + 8


@pytest.mark.parametrize("colour", [(255, 220, 60), (255, 150, 30), (255, 90, 70)])
def test_coloured_date_is_found_and_removed(colour: tuple[int, int, int]) -> None:
    """A camera's solid yellow, orange or red date in a corner is replaced by what surrounds it: 8 dB better inside."""
    clean = photo("chelsea", 560)
    covered = Image.new("L", clean.size, 0)
    ImageDraw.Draw(covered).text((clean.width - 190, 8), "2014/07/26 19:30", fill=255, font=ImageFont.load_default(22))
    marked = clean.copy()
    marked.paste(colour, mask=covered)
    where = np.asarray(covered) > 8
    assert psnr(remove(marked), clean, where) > psnr(marked, clean, where) + 8


@pytest.mark.parametrize("name", ["flower", "rocket"])
def test_tiled_mark_is_found_in_the_whole_frame(name: str) -> None:
    """Repeats of a mark are removed where one of them alone would be overlooked; so large a change is doubtful."""
    clean = photo(name, 560)
    marked, covered = watermarked(clean, "tiled", 0.45)
    painting = painters.paint(PaintJob("remove_watermark", {"base": encode(marked)}, {}, "", 1, 1))
    changed = np.abs(pixels(decode(painting.pictures[0])) - pixels(marked)).max(axis=2) > 0
    assert changed[covered].mean() > 0.9
    assert painting.warnings == ("low_confidence",)


def test_small_mark_is_removed_without_a_warning() -> None:
    """A line in a corner of which nothing is left gives no warning."""
    marked, _ = watermarked(photo("rocket", 560), "corner", 0.6)
    assert painters.paint(PaintJob("remove_watermark", {"base": encode(marked)}, {}, "", 1, 1)).warnings == ()


@pytest.mark.parametrize("name", ["page", "text"])
def test_writing_of_the_picture_itself_is_no_watermark(name: str) -> None:
    """A photographed page and handwriting are refused, not erased."""
    with pytest.raises(PaintingRefused, match="no watermark was found"):
        remove(photo(name, 400))


def test_sign_in_a_photo_is_no_watermark() -> None:
    """Solid letters in the middle of a photo belong to what it shows."""
    image = photo("china", 480)
    ground = np.random.default_rng(2).normal((10, 60, 30), 6, (70, 220, 3)).clip(0, 255)
    image.paste(Image.fromarray(ground.astype(np.uint8)), (130, 120))
    ImageDraw.Draw(image).text((145, 135), "CONFERENCE", fill=(240, 240, 240), font=ImageFont.load_default(30))
    with pytest.raises(PaintingRefused, match="no watermark was found"):
        remove(image)


def test_pixels_away_from_the_mark_are_untouched() -> None:
    """Only the mark's surroundings change."""
    clean = photo("rocket", 560)
    marked, _ = watermarked(clean, "corner", 0.6)
    changed = np.abs(pixels(remove(marked)) - pixels(marked)).max(axis=2) > 0
    assert changed.any()
    assert not changed[: clean.height * 3 // 4].any()


@pytest.mark.parametrize("name", ["china", "coffee", "rocket", "flower", "chelsea", "astronaut"])
def test_clean_photo_is_refused_not_returned(name: str) -> None:
    """Where no mark is found the task fails and says what to do; an unchanged picture is no success."""
    with pytest.raises(
        PaintingRefused, match=r"no watermark was found: send /remove_watermark `boxes`.*`mask_url`"
    ) as refusal:
        remove(photo(name, 400))
    assert refusal.value.code == "InvalidParameter.ImageContent"


def test_mask_says_where_the_mark_is() -> None:
    """With a mask the area is inpainted, however faint the mark in it, and the rest stays."""
    clean = photo("coffee", 360)
    marked, covered = watermarked(clean, "centre", 0.3)
    mask = Image.fromarray((covered * 255).astype(np.uint8))
    result = remove(marked, mask=mask)
    assert psnr(result, clean, covered) > psnr(marked, clean, covered) + 5
    assert np.array_equal(pixels(result)[~covered], pixels(marked)[~covered])


def test_boxes_say_where_the_mark_is() -> None:
    """Boxes are inpainted even in a clean photo; outside them nothing changes."""
    image = photo("china", 320)
    difference = np.abs(pixels(remove(image, boxes=[[20, 30, 40, 10], [100, 30, 10, 10]])) - pixels(image)).max(axis=2)
    assert (difference[30:40, 20:60] > 0).mean() > 0.5
    difference[30:40, 20:60] = 0
    difference[30:40, 100:110] = 0
    assert not difference.any()


@pytest.mark.parametrize(
    "boxes", ["all", [[1, 2, 3]], [[1, 2, 3, "4"]], [[-1, 0, 5, 5]], [[0, 0, 9999, 9999]], [[5, 5, 0, 0]]]
)
def test_bad_boxes_are_refused(boxes: object) -> None:
    """Boxes that are no boxes, mark nothing or mark everything are an InvalidParameter."""
    with pytest.raises(PaintingRefused) as refusal:
        remove(photo("coffee", 200), boxes=boxes)
    assert refusal.value.code == "InvalidParameter"


def edit(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Run the masked edit on one picture."""
    pictures = {"base": encode(image), "mask": encode(mask)}
    return decode(paint(PaintJob("description_edit_with_mask", pictures, {}, "sky", 1, 1))[0])


def test_masked_edit_fills_the_white_area_only() -> None:
    """A wide hole in the sky is filled with sky; what the mask keeps black stays to the bit."""
    image = photo("rocket", 360)
    mask = Image.new("RGB", image.size)
    mask.paste("white", (20, 20, 150, 120))
    spoilt = image.copy()
    spoilt.paste((255, 0, 0), (20, 20, 150, 120))
    result = pixels(edit(spoilt, mask))
    kept = np.asarray(mask)[:, :, 0] == 0
    assert np.array_equal(result[kept], pixels(image)[kept])
    assert np.abs(result[60:80, 60:100] - pixels(image)[60:80, 60:100]).mean() < 40


@pytest.mark.parametrize(
    "mask", [Image.new("L", (100, 60), 255), Image.new("L", (180, 120), 0), Image.new("L", (180, 120), 255)]
)
def test_bad_masks_are_refused(mask: Image.Image) -> None:
    """A mask of another size, an empty one and a full one are an InvalidParameter."""
    image = photo("coffee", 180)
    assert image.size == (180, 120)
    with pytest.raises(PaintingRefused, match="mask") as refusal:
        edit(image, mask)
    assert refusal.value.code == "InvalidParameter"


@pytest.mark.parametrize("name", ["coffee", "chelsea", "china"])
def test_half_transparent_mark_is_taken_off_not_painted_over(name: str) -> None:
    """What shows through a wide, half-transparent mark comes back: better than any painting over, by 2 dB and more."""
    image = photo(name)
    shape = np.zeros((image.height, image.width), dtype=bool)
    for left in range(40, 320, 18):
        shape[60:190, left : left + 10] = True
    marked = pixels(image) * 0.65 + 255 * 0.35
    seen = Image.fromarray(np.where(shape[:, :, None], marked, pixels(image)).astype(np.uint8))
    mask = Image.fromarray(cv2.dilate(shape.astype(np.uint8), np.ones((5, 5), np.uint8)) * 255)
    area = np.asarray(mask) > 0
    cleaned = remove(seen, mask=mask)
    painted_over = Image.fromarray(inpaint(np.asarray(seen), area))
    assert psnr(cleaned, image, shape) > psnr(painted_over, image, shape) + 2
    assert psnr(cleaned, image, shape) > psnr(seen, image, shape) + 7


def test_solid_mark_is_painted_over() -> None:
    """A mark that hides what is below it is no film, whatever its colour."""
    image = photo("coffee")
    shape = np.zeros((image.height, image.width), dtype=bool)
    shape[90:100, 60:300] = True
    seen = Image.fromarray(np.where(shape[:, :, None], 255, pixels(image)).astype(np.uint8))
    mask = Image.fromarray((shape * 255).astype(np.uint8))
    assert np.array_equal(pixels(remove(seen, mask=mask)), inpaint(np.asarray(seen), shape))
