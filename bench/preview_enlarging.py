"""The bench's trial of super-resolution: shrunk photos enlarged again, beside plain resampling."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from bench.preview_measures import Pixels, overshoot, psnr, ssim
from bench.preview_pictures import decode, encode, pixels
from bench.preview_sections import Section, Setting, first, paint_job, table
from bench.preview_sheets import Cell, write_sheets
from bench.preview_work import run_all
from PIL import Image

_JPEG = (30, 50, 70, 85, 95)
_FACTORS = (2, 4)
_PLAIN = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC)
_SHOWN_KINDS = frozenset({"PNG", "JPEG 30", "JPEG 85"})
_LEAST_SIDE = 128
# A difference below these is neither better nor worse: it is the rounding to 8 bits.
_EQUAL_DB, _EQUAL_SSIM = 0.01, 0.0005


@dataclass(frozen=True, slots=True)
class _Gain:
    """What an enlargement gained on plain resampling: dB and SSIM over Lanczos and bicubic, levels of overshoot."""

    lanczos_db: float
    lanczos_ssim: float
    bicubic_db: float
    bicubic_ssim: float
    overshoot: float
    lanczos_overshoot: float


def try_super_resolution(setting: Setting) -> Section:
    """Shrink photos, enlarge them again, and compare with the photos beside Lanczos and bicubic."""
    photos = [photo for photo in setting.photos if min(photo.image.size) >= _LEAST_SIDE][: 3 if setting.quick else None]
    trials = list(itertools.product(_FACTORS, _KINDS, photos))
    inputs = [_shrink(_trimmed(photo.image), factor, kind) for factor, kind, photo in trials]
    jobs = [
        paint_job("super_resolution", {"base": content}, upscale_factor=factor)
        for content, (factor, _, _) in zip(inputs, trials, strict=True)
    ]
    gains: dict[str, list[_Gain]] = {}
    named: list[tuple[float, str]] = []
    sheet: list[list[Cell]] = []
    for trial, content, outcome in zip(trials, inputs, run_all(jobs, processes=setting.processes), strict=True):
        factor, kind, photo = trial
        result = first(outcome)
        if result is None:
            raise RuntimeError(f"{photo.name}, {kind}: {outcome.refusal}")
        true, small = _trimmed(photo.image), decode(content).convert("RGB")
        lanczos, bicubic = (small.resize(true.size, method) for method in _PLAIN)
        gain = _compare(pixels(result), pixels(true), pixels(lanczos), pixels(bicubic))
        gains.setdefault(f"x{factor}, {kind}", []).append(gain)
        named.append((gain.lanczos_db, f"{photo.name}, x{factor}, {kind}"))
        if kind in _SHOWN_KINDS:
            sheet.append(_crops(f"{photo.name}, x{factor}, {kind}", (true, lanczos, result)))
    write_sheets(setting.out, "super-resolution", sheet)
    lowest = "; ".join(f"{name}: {value:+.3f} dB" for value, name in sorted(named)[:3])
    rows = [_gain_row(name, group) for name, group in gains.items()]
    text = f"{_EXPLAINED.format(count=len(trials))}\n\n{table(_HEAD, rows)}\n\nThe three lowest: {lowest}."
    return Section("Super-resolution against Lanczos", text, _judge_gains(gains))


def _judge_gains(gains: Mapping[str, Sequence[_Gain]]) -> list[tuple[str, bool]]:
    every = [gain for group in gains.values() for gain in group]
    worse = sum(gain.lanczos_db < -_EQUAL_DB or gain.lanczos_ssim < -_EQUAL_SSIM for gain in every)
    least, name = min((statistics.mean(gain.lanczos_db for gain in group), name) for name, group in gains.items())
    return [
        (f"Super-resolution: worse than Lanczos in none: in {worse} of {len(every)}", worse == 0),
        (
            f"Super-resolution: for no kind of input below Lanczos on average: {least:+.3f} dB ({name})",
            least >= -_EQUAL_DB,
        ),
    ]


_KINDS = ("PNG", "PNG, area", "PNG, noise", *(f"JPEG {quality}" for quality in _JPEG))
_HEAD = (
    "input",
    "n",
    "PSNR − Lanczos, dB",
    "worst",
    "PSNR better on",
    "worse on",
    "SSIM − Lanczos",
    "worst",
    "SSIM better on",
    "worse on",
    "PSNR − bicubic, dB",
    "SSIM − bicubic",
    "overshoot, Lanczos → ours",
)
_EXPLAINED = (
    "{count} enlargements of shrunk photos, against the photos. PNGs are shrunk by Lanczos and by averaging (*area*), "
    "JPEGs by Lanczos; *noise* has a standard deviation of 10 levels and is judged against the photo without it. "
    f"*Better* and *worse* than Lanczos: by more than {_EQUAL_DB} dB or {_EQUAL_SSIM} SSIM, which is rounding. "
    "*Overshoot*: mean lightness, in levels, outside what the photo has within two pixels."
)


def _trimmed(image: Image.Image) -> Image.Image:
    """Cut to a multiple of four, so that halves and quarters are exact."""
    return image.crop((0, 0, image.width // 4 * 4, image.height // 4 * 4))


def _shrink(image: Image.Image, factor: int, kind: str) -> bytes:
    size = (image.width // factor, image.height // factor)
    small = image.resize(size, Image.Resampling.BOX if kind.endswith("area") else Image.Resampling.LANCZOS)
    if kind.endswith("noise"):
        noise = np.random.default_rng(11).normal(0, 10, (size[1], size[0], 3))
        small = Image.fromarray(np.clip(pixels(small) + noise + 0.5, 0, 255).astype(np.uint8))
    if kind.startswith("JPEG"):
        return encode(small, "JPEG", quality=int(kind.split()[1]))
    return encode(small)


def _compare(result: Pixels, true: Pixels, lanczos: Pixels, bicubic: Pixels) -> _Gain:
    ours, likeness = psnr(result, true), ssim(result, true)
    return _Gain(
        ours - psnr(lanczos, true),
        likeness - ssim(lanczos, true),
        ours - psnr(bicubic, true),
        likeness - ssim(bicubic, true),
        overshoot(result, true),
        overshoot(lanczos, true),
    )


def _gain_row(name: str, group: Sequence[_Gain]) -> tuple[str, ...]:
    decibels, likeness = [gain.lanczos_db for gain in group], [gain.lanczos_ssim for gain in group]
    count = len(group)
    return (
        name,
        str(count),
        f"**{statistics.mean(decibels):+.2f}**",
        f"{min(decibels):+.2f}",
        f"{sum(value > _EQUAL_DB for value in decibels)} of {count}",
        f"{sum(value < -_EQUAL_DB for value in decibels)}",
        f"**{statistics.mean(likeness):+.4f}**",
        f"{min(likeness):+.4f}",
        f"{sum(value > _EQUAL_SSIM for value in likeness)} of {count}",
        f"{sum(value < -_EQUAL_SSIM for value in likeness)}",
        f"{statistics.mean(gain.bicubic_db for gain in group):+.2f}",
        f"{statistics.mean(gain.bicubic_ssim for gain in group):+.4f}",
        " → ".join(
            f"{statistics.mean(values):.2f}"
            for values in ([gain.lanczos_overshoot for gain in group], [gain.overshoot for gain in group])
        ),
    )


def _crops(name: str, images: tuple[Image.Image, Image.Image, Image.Image]) -> list[Cell]:
    """Cut the middle out of photo, Lanczos and ours, where differences can be seen."""
    width, height = images[0].size
    box = (width // 2 - 65, height // 2 - 50, width // 2 + 65, height // 2 + 50)
    titles = (f"{name}: photo", "Lanczos", "ours")
    return [(title, image.convert("RGB").crop(box)) for title, image in zip(titles, images, strict=True)]
