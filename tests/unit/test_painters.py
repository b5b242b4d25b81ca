"""Painters: background, outpainting, super-resolution and what all painters share."""

import contextlib
import pickle

import numpy as np
import pytest
from PIL import Image

from drawings import Pixels, decode, encode, mug, photo, pixels, psnr
from imgapi.emulator.painters import PaintingRefused, PaintJob, paint


def job(operation: str, *, count: int = 1, seed: int = 7, prompt: str = "", **parts: object) -> PaintJob:
    """A paint job whose pictures and parameters are told apart by type."""
    pictures = {name: encode(part) for name, part in parts.items() if isinstance(part, Image.Image)}
    pictures |= {name: part for name, part in parts.items() if isinstance(part, bytes)}
    parameters = {name: part for name, part in parts.items() if not isinstance(part, (Image.Image, bytes))}
    return PaintJob(operation, pictures, parameters, prompt, seed, count)


def cut_mug() -> tuple[Image.Image, Pixels]:
    """The mug as RGBA, and its outline."""
    image, outline = mug()
    image.putalpha(Image.fromarray((outline * 255).astype(np.uint8)))
    return image, outline


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


@pytest.mark.parametrize("name", ["china", "coffee", "astronaut"])
def test_expansion_keeps_the_original_and_hides_the_seam(name: str) -> None:
    """The original pixels are all there, untouched, and the seam is no stronger an edge than the photo itself has."""
    image = photo(name)
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


@pytest.mark.parametrize("quality", [30, 85])
def test_enlarged_jpeg_is_not_worse_than_lanczos(quality: int) -> None:
    """Compression artefacts are not amplified: at high quality exactly Lanczos, at low quality no loss against it."""
    truth = photo("china", 400).crop((0, 0, 400, 266))
    half = encode(truth.resize((200, 133), Image.Resampling.BOX), "JPEG", quality=quality)
    enlarged = decode(paint(job("super_resolution", base=half, upscale_factor=2))[0])
    assert psnr(enlarged, truth) >= psnr(decode(half).resize(truth.size, Image.Resampling.LANCZOS), truth) - 0.01


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


def test_every_png_says_who_painted_it() -> None:
    """A text chunk names the local preview, another one its warnings."""
    painted = decode(paint(job("expand", base=mug()[0], left_scale=1.5))[0])
    assert painted.info["Software"] == "imgapi local preview"
    assert "scale_over_1_25" in painted.info["Warning"]


def test_same_job_gives_the_same_bytes_and_another_seed_others() -> None:
    """Bytes are a function of the job."""
    base = cut_mug()[0]
    one = paint(job("background", base=base, ref=photo("coffee"), count=2, seed=1))
    assert one == paint(job("background", base=base, ref=photo("coffee"), count=2, seed=1))
    assert one[1] != paint(job("background", base=base, ref=photo("coffee"), count=2, seed=2))[1]
    filler = paint(job("expand", base=photo("chelsea", 200), left_scale=1.5))
    assert filler == paint(job("expand", base=photo("chelsea", 200), left_scale=1.5))


def test_refusal_and_job_survive_the_way_to_a_worker() -> None:
    """Job and refusal are picklable with all they carry."""
    refusal = pickle.loads(pickle.dumps(PaintingRefused("InvalidPerson", "nobody")))  # noqa: S301 - our own bytes
    assert (refusal.code, refusal.message) == ("InvalidPerson", "nobody")
    task = job("expand", base=b"x", left_scale=1.5)
    assert pickle.loads(pickle.dumps(task)) == task  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    "task",
    [
        job("colorization", base=b"x"),
        job("expand", base=b"no picture", left_scale=1.5),
        job("expand", left_scale=1.5),
        job("expand", base=b"x", count=5),
    ],
)
def test_unusable_jobs_are_refused(task: PaintJob) -> None:
    """An unknown operation, unreadable or missing pictures and a wrong count are InvalidParameter."""
    with pytest.raises(PaintingRefused) as refusal:
        paint(task)
    assert refusal.value.code == "InvalidParameter"


def test_no_subject_in_an_opaque_base_fails_the_task() -> None:
    """An empty wall can't be given another background; the refusal says what to send."""
    with pytest.raises(PaintingRefused, match="send a picture") as refusal:
        paint(job("background", base=Image.new("RGB", (200, 200), (200, 200, 200)), ref=photo("china")))
    assert refusal.value.code == "InvalidParameter.ImageContent"


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 400), (700, 6)])
@pytest.mark.parametrize("operation", ["background", "expand", "super_resolution", "remove_watermark", "try_on"])
def test_tiny_and_narrow_pictures_are_painted_or_refused(operation: str, size: tuple[int, int]) -> None:
    """No shape of picture breaks a painter: there is a result of some size or a refusal."""
    tiny = photo("coffee").resize(size)
    task = job(operation, base=tiny, ref=tiny, person=tiny, top=tiny, left_scale=1.5, upscale_factor=2)
    with contextlib.suppress(PaintingRefused):
        assert decode(paint(task)[0]).width >= size[0]


def test_night_prompt_has_lights() -> None:
    """A backdrop of a city at night is dark, with bright points in it."""
    result = pixels(decode(paint(job("background", base=cut_mug()[0], prompt="city at night"))[0]))[:70]
    assert np.median(result) < 80
    assert result.max() > 110
