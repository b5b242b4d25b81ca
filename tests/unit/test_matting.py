"""Matting: a picture goes in, the same picture with true alpha comes out."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from drawings import decode, encode, mug, photo, pixels, shirt, studio
from imgapi.errors import ImageTooLarge, SubjectNotFound, UnreadableImage
from imgapi.matting.classical import cut_out
from imgapi.matting.pixels import Pixels


def test_studio_subject_is_cut_out_exactly() -> None:
    """Before a plain wall the mug is kept to its outline, with its handle open and its shadow gone."""
    image, outline = mug()
    cutout = cut_out(encode(image))
    found = np.asarray(decode(cutout.content).getchannel("A")) > 127
    overlap = (found & outline).sum() / (found | outline).sum()
    assert overlap > 0.97
    assert cutout.confidence > 0.7
    assert cutout.warnings == ()


def test_rim_is_free_of_the_backdrop() -> None:
    """Half-transparent rim pixels have the mug's red, not the wall's grey mixed in (above its shadow)."""
    cut = pixels(decode(cut_out(encode(mug()[0])).content))[:225]
    rim = (cut[:, :, 3] > 60) & (cut[:, :, 3] < 200)
    assert rim.sum() > 50
    assert np.median(cut[rim][:, 0] - cut[rim][:, 1]) > 80


def _share_found(image: Image.Image, outline: Pixels) -> float:
    found = np.asarray(decode(cut_out(encode(image)).content).getchannel("A")) > 127
    return float((found & outline).sum() / (found | outline).sum())


def test_white_subject_on_a_white_floor_is_found() -> None:
    """A white box hardly darker than the sweep behind it is found by its sharp outline; its soft shadow is not."""
    height, width = 300, 400
    wall = 252 - 14 * np.clip((np.arange(height) - 190) / 60, 0, 1)[:, None] * np.ones((1, width))
    shadow = np.zeros((height, width), dtype=np.float32)
    shadow[225:250, 90:330] = 1.0
    wall -= 50 * cv2.GaussianBlur(shadow, (0, 0), 9)
    outline = np.zeros((height, width), dtype=bool)
    outline[80:232, 130:270] = True
    grey = np.where(outline, 229 - 8 * np.linspace(-1, 1, width)[None] ** 2, wall)
    grey += np.random.default_rng(3).normal(0, 0.5, grey.shape)
    image = Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8))
    assert _share_found(image, outline) > 0.93


def test_shade_on_a_coloured_wall_goes() -> None:
    """Where a red wall is in the shade its red is weaker too; a box before it is found without the shade."""
    height, width = 300, 330
    y, x = np.mgrid[0:height, 0:width]
    shade = 1.0 - 0.4 * np.exp(-(((x - 150) / 90) ** 2 + ((y - 250) / 22) ** 2))
    picture = np.array([190.0, 60.0, 70.0]) * shade[:, :, None]
    outline = np.zeros((height, width), dtype=bool)
    outline[90:250, 110:200] = True
    picture[outline] = (60, 90, 140)
    picture += np.random.default_rng(4).normal(0, 2, picture.shape)
    assert _share_found(Image.fromarray(picture.clip(0, 255).astype(np.uint8)), outline) > 0.95


def test_print_of_the_backdrops_colour_is_no_hole() -> None:
    """A badge as white as the backdrop stays on the shirt, though a mug's handle is seen through."""
    image = shirt()
    drawing = ImageDraw.Draw(image)
    drawing.ellipse([122, 122, 178, 178], fill=(250, 250, 250))
    drawing.rectangle([110, 200, 190, 214], fill=(250, 250, 250))
    alpha = np.asarray(decode(cut_out(encode(image)).content).getchannel("A"))
    assert alpha[130:170, 130:170].min() == 255
    assert alpha[202:212, 120:180].min() == 255


@pytest.mark.parametrize("stretch", [1.0, 0.89])
def test_saucer_stays_whatever_the_aspect(stretch: float) -> None:
    """The cup's saucer is kept in the photo as it is and squeezed to 4:3."""
    image = photo("coffee", 400)
    image = image.resize((round(image.width * stretch), image.height))
    alpha = np.asarray(decode(cut_out(encode(image)).content).getchannel("A")) > 127
    height, width = alpha.shape
    assert alpha[round(height * 0.85) : round(height * 0.92), round(width * 0.35) : round(width * 0.5)].mean() > 0.95
    assert 0.35 < alpha.mean() < 0.55
    assert not alpha[:, : width // 14].any()


def test_flower_in_a_photo_is_found() -> None:
    """In a real photo the flower stays and the leaves behind it go."""
    cutout = cut_out(encode(photo("flower"), "JPEG", quality=92))
    alpha = np.asarray(decode(cutout.content).getchannel("A"))
    height, width = alpha.shape
    assert alpha[round(height * 0.5), round(width * 0.49)] == 255
    assert alpha[: height // 6].max() == 0
    assert alpha[:, : width // 5].max() == 0
    assert 0.1 < (alpha > 127).mean() < 0.35


def test_person_in_a_photo_keeps_head_and_trunk() -> None:
    """The astronaut's face, hair and suit are kept; the wall and the flag beside her head are not."""
    cutout = cut_out(encode(photo("astronaut", 512)))
    alpha = np.asarray(decode(cutout.content).getchannel("A"))
    assert alpha[60:165, 205:250].mean() > 250
    assert alpha[330:480, 140:200].mean() > 250
    assert alpha[10:120, 310:370].mean() < 10
    assert alpha[10:120, 10:120].mean() < 10
    assert "touches_border" in cutout.warnings


def test_size_and_mode_follow_the_oriented_picture() -> None:
    """EXIF orientation is applied first: a picture stored lying is cut out standing, as RGBA PNG."""
    image, outline = mug()
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = image.rotate(90, expand=True)
    cut = decode(cut_out(encode(stored, "JPEG", quality=95, exif=exif)).content)
    assert (cut.format, cut.mode, cut.size) == ("PNG", "RGBA", image.size)
    found = np.asarray(cut.getchannel("A")) > 127
    assert (found & outline).sum() / (found | outline).sum() > 0.95


def test_real_alpha_is_kept_as_it_is() -> None:
    """A picture that already is a cutout comes back with the very same four channels."""
    image, outline = mug()
    image.putalpha(Image.fromarray((outline * 255).astype(np.uint8)))
    cutout = cut_out(encode(image))
    assert np.array_equal(pixels(decode(cutout.content)), pixels(image))
    assert cutout.confidence == 1.0


def test_palette_transparency_counts_as_alpha() -> None:
    """A GIF with a transparent colour keeps that transparency."""
    image, outline = mug()
    image.putalpha(Image.fromarray((outline * 255).astype(np.uint8)))
    alpha = np.asarray(decode(cut_out(encode(image, "GIF")).content).getchannel("A"))
    assert np.array_equal(alpha > 127, outline)


@pytest.mark.parametrize("image", [studio(200, 150), Image.new("RGB", (64, 64), "navy")])
def test_nothing_found_says_what_to_do(image: Image.Image) -> None:
    """An empty wall is refused with a sentence that says what picture to send."""
    with pytest.raises(SubjectNotFound, match="send a picture"):
        cut_out(encode(image))


def test_invisible_picture_is_refused() -> None:
    """A wholly transparent picture has no subject."""
    with pytest.raises(SubjectNotFound, match="transparent"):
        cut_out(encode(Image.new("RGBA", (40, 40), (0, 0, 0, 0))))


@pytest.mark.parametrize("content", [b"", b"no picture", encode(mug()[0], "JPEG")[:900]])
def test_unreadable_bytes_are_refused(content: bytes) -> None:
    """Bytes that are no picture, and truncated ones, are the caller's to mend."""
    with pytest.raises(UnreadableImage):
        cut_out(content)


def test_giant_is_refused_by_its_header() -> None:
    """More than 50 megapixels are refused before a pixel is decoded."""
    stream = io.BytesIO()
    Image.new("1", (9000, 6000)).save(stream, "PNG")
    with pytest.raises(ImageTooLarge, match="9000x6000"):
        cut_out(stream.getvalue())


@pytest.mark.parametrize("mode", ["L", "LA", "CMYK", "I;16", "P"])
def test_every_mode_is_read(mode: str) -> None:
    """Grey, grey with alpha, CMYK, 16-bit and palette pictures all find the dark disc on white."""
    y, x = np.mgrid[0:120, 0:160]
    disc = np.where((x - 80) ** 2 + (y - 60) ** 2 < 35**2, 40, 235).astype(np.uint8)
    if mode == "I;16":
        image = Image.fromarray(disc.astype(np.uint16) * 257)
    else:
        image = (
            Image.fromarray(disc).convert("RGB").convert(mode) if mode != "LA" else Image.fromarray(disc).convert("LA")
        )
    content = encode(image, "TIFF" if mode == "CMYK" else "PNG")
    alpha = np.asarray(decode(cut_out(content).content).getchannel("A"))
    assert alpha[60, 80] == 255
    assert alpha[5, 5] == 0


def test_large_picture_keeps_its_sharp_edge() -> None:
    """Above the working size the matte still follows the full-resolution edge to a pixel or so."""
    image, outline = mug()
    large = image.resize((1800, 1350), Image.Resampling.BICUBIC)
    alpha = np.asarray(decode(cut_out(encode(large)).content).getchannel("A"))
    truth = np.asarray(Image.fromarray((outline * 255).astype(np.uint8)).resize((1800, 1350))) > 127
    found = alpha > 127
    assert (found & truth).sum() / (found | truth).sum() > 0.97
    assert ((alpha > 10) & (alpha < 245)).mean() < 0.02


def test_same_picture_gives_the_same_bytes() -> None:
    """The scene path is repeatable to the byte."""
    content = encode(photo("coffee", 240))
    assert cut_out(content) == cut_out(content)


@pytest.mark.parametrize("name", ["coffee", "astronaut"])
def test_the_subject_does_not_depend_on_the_resolution(name: str) -> None:
    """The same photo four times as large is cut out alike."""
    small = photo(name, 400)
    large = small.resize((small.width * 4, small.height * 4), Image.Resampling.LANCZOS)
    masks = []
    for picture in (small, large):
        cut = Image.open(io.BytesIO(cut_out(encode(picture, "JPEG", quality=95)).content))
        alpha = cut.getchannel("A").resize(small.size, Image.Resampling.BOX)
        masks.append(np.asarray(alpha) > 128)
    overlap = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
    assert overlap > 0.9
