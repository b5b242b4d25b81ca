"""Painters: super-resolution."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from drawings import cut_mug, decode, encode, mug, paint, photo, pixels, psnr
from drawings import paint_job as job
from imgapi.emulator.painters import PaintingRefused
from pictures import swapped_profile


@pytest.mark.parametrize("name", ["china", "chelsea", "rocket"])
def test_enlargement_is_better_than_lanczos(name: str) -> None:
    """A photo halved and enlarged again comes closer to itself than plain Lanczos does."""
    truth = photo(name, 400)
    truth = truth.crop((0, 0, truth.width // 2 * 2, truth.height // 2 * 2))
    half = truth.resize((truth.width // 2, truth.height // 2), Image.Resampling.BOX)
    enlarged = decode(paint(job("super_resolution", base=half, upscale_factor=2))[0])
    lanczos = half.resize(truth.size, Image.Resampling.LANCZOS)
    assert enlarged.size == truth.size
    assert psnr(enlarged, truth) > psnr(lanczos, truth)


def lanczos(content: bytes, factor: int) -> Image.Image:
    """What plain Lanczos makes of an encoded picture."""
    image = decode(content).convert("RGB")
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.LANCZOS)


def halved(name: str) -> tuple[Image.Image, Image.Image]:
    """A photo of 400 pixels and the same halved."""
    truth = photo(name, 400)
    truth = truth.crop((0, 0, truth.width // 2 * 2, truth.height // 2 * 2))
    return truth, truth.resize((truth.width // 2, truth.height // 2), Image.Resampling.BOX)


@pytest.mark.parametrize("quality", [15, 30, 50, 65])
@pytest.mark.parametrize("name", ["china", "astronaut"])
def test_enlarged_poor_jpeg_is_better_than_lanczos(name: str, quality: int) -> None:
    """Block edges are averaged out before the enlargement."""
    truth, half = halved(name)
    content = encode(half, "JPEG", quality=quality)
    enlarged = decode(paint(job("super_resolution", base=content, upscale_factor=2))[0])
    assert psnr(enlarged, truth) > psnr(lanczos(content, 2), truth) + 0.02


@pytest.mark.parametrize(("format_name", "quality"), [("JPEG", 72), ("JPEG", 95), ("WEBP", 60), ("AVIF", 60)])
def test_enlarged_good_lossy_picture_is_exactly_lanczos(format_name: str, quality: int) -> None:
    """Nothing amplifies the artefacts of a JPEG of quality 70 or more, nor those of another lossy format."""
    content = encode(halved("china")[1], format_name, quality=quality)
    enlarged = decode(paint(job("super_resolution", base=content, upscale_factor=2))[0])
    assert np.array_equal(pixels(enlarged), pixels(lanczos(content, 2)))


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("kind", ["grain", "palette", "saved again", "grey"])
def test_enlargement_is_never_worse_than_lanczos(kind: str, factor: int) -> None:
    """Faint noise, a palette, hidden JPEG blocks and a grey picture lose nothing against Lanczos."""
    truth = photo("coffee", 384).crop((0, 0, 384, 252))
    small = truth.resize((truth.width // factor, truth.height // factor), Image.Resampling.BOX)
    noise = np.random.default_rng(3).normal(0, 4, (small.height, small.width, 3))
    content = {
        "grain": lambda: encode(Image.fromarray((pixels(small) + noise).clip(0, 255).astype(np.uint8))),
        "palette": lambda: encode(small.quantize(256), "GIF"),
        "saved again": lambda: encode(decode(encode(small, "JPEG", quality=50))),
        "grey": lambda: encode(small.convert("L")),
    }[kind]()
    if kind == "grey":
        truth = truth.convert("L").convert("RGB")
    enlarged = decode(paint(job("super_resolution", base=content, upscale_factor=factor))[0])
    assert psnr(enlarged, truth) > psnr(lanczos(content, factor), truth) - 0.01


def test_smooth_colours_are_enlarged_exactly() -> None:
    """A gradient of saturated colours loses nothing to a detour over lightness and colour planes."""
    rows, columns = np.mgrid[0:120, 0:120]
    smooth = np.dstack([rows * 2, columns * 2, 255 - rows - columns]).astype(np.uint8)
    enlarged = decode(paint(job("super_resolution", base=Image.fromarray(smooth), upscale_factor=2))[0])
    inner = np.abs(pixels(enlarged) - pixels(lanczos(encode(Image.fromarray(smooth)), 2)))[8:-8, 8:-8]
    assert inner.mean() < 0.05


def test_faint_noise_is_not_sharpened() -> None:
    """Where a picture has no more contrast than noise, it gets no more of it than Lanczos gives it."""
    noise = np.random.default_rng(3).normal(128, 1.5, (120, 160, 1)).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
    enlarged = decode(paint(job("super_resolution", base=Image.fromarray(noise), upscale_factor=3))[0])
    assert pixels(enlarged).std() <= pixels(lanczos(encode(Image.fromarray(noise)), 3)).std()


@pytest.mark.parametrize("name", ["gravel", "grass"])
def test_texture_is_not_taken_for_noise(name: str) -> None:
    """A surface as irregular as noise isn't smoothed away."""
    truth, half = halved(name)
    enlarged = decode(paint(job("super_resolution", base=half, upscale_factor=2))[0])
    assert psnr(enlarged, truth) > psnr(lanczos(encode(half), 2), truth) - 0.01


def test_enlargement_shows_no_seams() -> None:
    """A picture is painted in bands of rows: a part of it, enlarged alone, looks the same within a level or two."""
    image = photo("rocket", 640).resize((1000, 420), Image.Resampling.BICUBIC)
    whole = pixels(decode(paint(job("super_resolution", base=image, upscale_factor=4))[0]))
    part = pixels(decode(paint(job("super_resolution", base=image.crop((0, 150, 1000, 220)), upscale_factor=4))[0]))
    assert np.abs(part[80:-80] - whole[680:800]).max() <= 2


def test_enlarged_cutout_has_no_dark_rim() -> None:
    """What hides under full transparency doesn't bleed into the rim: a red cutout on red is red everywhere."""
    cutout = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
    ImageDraw.Draw(cutout).ellipse((10, 10, 50, 50), fill=(200, 40, 40, 255))
    enlarged = decode(paint(job("super_resolution", base=cutout, upscale_factor=3))[0])
    ground = Image.new("RGBA", enlarged.size, (200, 40, 40, 255))
    assert np.abs(pixels(Image.alpha_composite(ground, enlarged))[:, :, :3] - [200, 40, 40]).max() <= 3


def test_enlarged_picture_keeps_its_profile_and_says_who_painted_it() -> None:
    """The PNG carries the colour profile of the source and its notes as text."""
    profile = swapped_profile()
    enlarged = decode(paint(job("super_resolution", base=encode(mug()[0], icc_profile=profile), upscale_factor=2))[0])
    assert enlarged.info["icc_profile"] == profile
    assert enlarged.info["Software"] == "imgapi local preview"
    assert enlarged.info["Ignored"] == "prompt"


def test_enlarged_noise_is_calmed() -> None:
    """A noisy picture comes closer to the clean one than Lanczos brings it."""
    truth = photo("flower", 400).crop((0, 0, 400, 266))
    small = np.asarray(truth.resize((200, 133), Image.Resampling.BOX)).astype(np.float64)
    noisy = Image.fromarray((small + np.random.default_rng(3).normal(0, 12, small.shape)).clip(0, 255).astype(np.uint8))
    enlarged = decode(paint(job("super_resolution", base=noisy, upscale_factor=2))[0])
    assert psnr(enlarged, truth) > psnr(noisy.resize(truth.size, Image.Resampling.LANCZOS), truth) + 1


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_enlarged_edge_has_no_halo(factor: int) -> None:
    """Beside a hard edge nothing gets darker or lighter than the two sides."""
    edge = np.full((60, 80, 3), 60, dtype=np.uint8)
    edge[:, 40:] = 190
    result = pixels(decode(paint(job("super_resolution", base=Image.fromarray(edge), upscale_factor=factor))[0]))
    assert result.shape[:2] == (60 * factor, 80 * factor)
    assert result.min() >= 58
    assert result.max() <= 192


def test_factor_one_sharpens() -> None:
    """Without enlargement a soft photo gets steeper gradients and keeps its size."""
    soft = photo("coffee", 300).resize((150, 100)).resize((300, 200), Image.Resampling.BICUBIC)
    sharp = decode(paint(job("super_resolution", base=soft, upscale_factor=1))[0])
    assert sharp.size == soft.size
    assert np.abs(np.diff(pixels(sharp), axis=1)).mean() > 1.1 * np.abs(np.diff(pixels(soft), axis=1)).mean()


@pytest.mark.parametrize("factor", [0, 5, 1.5, "2"])
def test_factor_out_of_range_is_refused(factor: object) -> None:
    """A factor that is no whole number from 1 to 4 is an InvalidParameter."""
    with pytest.raises(PaintingRefused, match="upscale_factor"):
        paint(job("super_resolution", base=mug()[0], upscale_factor=factor))


def test_giant_result_is_refused_before_it_is_made() -> None:
    """More than 100 megapixels of output are refused with the size and what to do."""
    with pytest.raises(PaintingRefused, match="12000x12000"):
        paint(job("super_resolution", base=Image.new("L", (3000, 3000)), upscale_factor=4))


def test_transparency_survives_enlargement() -> None:
    """A cutout stays a cutout."""
    enlarged = decode(paint(job("super_resolution", base=cut_mug()[0], upscale_factor=2))[0])
    assert enlarged.mode == "RGBA"
    assert enlarged.getchannel("A").getextrema() == (0, 255)
