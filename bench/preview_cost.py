"""The bench's trial of what each operation costs at 1, 4 and 12 megapixels."""

import numpy as np
from bench.preview_measures import Pixels
from bench.preview_pictures import decode, draw_figure, drawings, encode, scaled, studio
from bench.preview_sections import Section, Setting, expand_job, paint_job, table
from bench.preview_work import Outcome, run_all
from PIL import Image, ImageDraw, ImageFont

from imgapi.emulator.painters import PaintJob

_SIZES = (1, 4, 12)
_BOUND_SIZE = 4
_MOST_SECONDS, _MOST_BYTES = 6.0, 1_500_000_000
_BOUNDS = f"{_MOST_SECONDS:g} s and {_MOST_BYTES / 1e9:g} GB"


def try_cost(setting: Setting) -> Section:
    """Run each operation once at each size, one process at a time."""
    sizes = _SIZES[:2] if setting.quick else _SIZES
    jobs = {size: _jobs(setting, size) for size in sizes}
    outcomes = {
        size: dict(zip(jobs[size], run_all(list(jobs[size].values()), processes=1), strict=True)) for size in sizes
    }
    rows = [
        (name, *(_cell(outcomes[size][name]) for size in sizes), _verdict(outcomes[_BOUND_SIZE][name]))
        for name in jobs[1]
    ]
    notes = [
        f"- {name}, {size} MP: {outcome.refusal or ', '.join(outcome.warnings)}"
        for size in sizes
        for name, outcome in outcomes[size].items()
        if outcome.refusal or "output_capped" in outcome.warnings
    ]
    text = (
        "CPU seconds on one thread, and the most resident memory of the whole process, by the megapixels of the input. "
        f"The bounds are for {_BOUND_SIZE} MP: {_BOUNDS}. The seconds are without imports, with decoding and encoding."
        "\n\n"
        + table(("operation", *(f"{size} MP" for size in sizes), f"bounds at {_BOUND_SIZE} MP"), rows)
        + ("\n\nRefused or capped:\n\n" + "\n".join(notes) if notes else "")
    )
    missed = [name for name, outcome in outcomes[_BOUND_SIZE].items() if not _keeps(outcome)]
    count = len(jobs[_BOUND_SIZE])
    sentence = f"Cost: at {_BOUND_SIZE} MP all within {_BOUNDS}: {count - len(missed)} of {count}"
    return Section("Cost", text, [(sentence, not missed)])


def _jobs(setting: Setting, size: int) -> dict[str, PaintJob | bytes]:
    """Make a job of each operation; kinds whose work differs are told apart."""
    by_name = {photo.name: photo.image for photo in setting.photos}
    scene, wall = _jpeg(scaled(by_name["coffee"], size)), _jpeg(scaled(drawings()["mug"], size))
    reference = _jpeg(scaled(by_name["china"], size))
    figure = draw_figure((70, 110, 180), (60, 60, 70))
    person = studio(600, 800, (236,) * 3, (206,) * 3)
    person.paste(figure, mask=figure)
    garments = {name: encode(drawings()[drawing]) for name, drawing in (("top", "shirt"), ("bottom", "trousers"))}
    text = scaled(by_name["coffee"], size)
    mask = encode(Image.fromarray(_mark(text)))
    jobs: dict[str, PaintJob | bytes] = {
        "matting, scene": scene,
        "matting, plain backdrop": wall,
        "background, n = 1": paint_job("background", {"base": scene, "ref": reference}),
        "background, n = 4": paint_job("background", {"base": scene, "ref": reference}, count=4),
        "background by words, n = 4": paint_job("background", {"base": scene}, prompt="sunset at the sea", count=4),
    }
    jobs |= {f"expand {scale}": expand_job(scene, scale) for scale in (1.25, 1.5, 2.0)}
    for name, content in (("JPEG", scene), ("PNG", encode(decode(scene)))):
        jobs |= {
            f"super-resolution x{factor}, {name}": paint_job(
                "super_resolution", {"base": content}, upscale_factor=factor
            )
            for factor in (1, 2, 4)
        }
    return jobs | {
        "watermark, mask given": paint_job("remove_watermark", {"base": _jpeg(text), "mask": mask}),
        "watermark, detection": paint_job("remove_watermark", {"base": _jpeg(text)}),
        "masked edit": paint_job("description_edit_with_mask", {"base": scene, "mask": mask}),
        "try-on": paint_job("try_on", {"person": _jpeg(scaled(person, size)), **garments}),
    }


def _mark(image: Image.Image) -> Pixels:
    """Write a corner text onto a picture, which changes it, and return what it covers, widened: H×W uint8."""
    layer = Image.new("L", image.size, 0)
    size = image.height // 18
    font = ImageFont.load_default(size)
    for drawn, colour, width in (
        (ImageDraw.Draw(image), (240, 240, 240), 0),
        (ImageDraw.Draw(layer), 255, max(2, size // 20)),
    ):
        drawn.text((image.width * 0.55, image.height * 0.9), "SAMPLE PHOTO", fill=colour, font=font, stroke_width=width)
    return np.asarray(layer)


def _jpeg(image: Image.Image) -> bytes:
    return encode(image.convert("RGB"), "JPEG", quality=92)


def _keeps(outcome: Outcome) -> bool:
    return outcome.seconds <= _MOST_SECONDS and outcome.peak_bytes <= _MOST_BYTES


def _cell(outcome: Outcome) -> str:
    return f"{outcome.seconds:.2f} s, {outcome.peak_bytes / 1e6:.0f} MB{', refused' if outcome.refusal else ''}"


def _verdict(outcome: Outcome) -> str:
    return "kept" if _keeps(outcome) else "**MISSED**"
