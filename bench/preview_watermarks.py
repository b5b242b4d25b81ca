"""The bench's trial of watermark removal: drawn marks over real photos, by a given mask and by detection."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from bench.preview_measures import Pixels, psnr
from bench.preview_pictures import MARK_KINDS, Photo, encode, mark, pixels
from bench.preview_sections import Section, Setting, first, label, paint_job, table
from bench.preview_sheets import Cell, write_sheets
from bench.preview_work import Outcome, run_all
from PIL import Image

from imgapi.emulator.painters import PaintJob

_MARKED = ("astronaut", "chelsea", "coffee", "rocket", "camera", "motorcycle", "china", "flower")
_FOUND_SHARE = 0.7
_LOOSE = 7
_NEAR = 25
_LEAST_GAIN_DB = 8
_HEAD = (
    "mark",
    "n",
    "marked",
    "mask given",
    "gain",
    "least gain",
    "found by detection",
    "gain where found",
    "changed elsewhere",
)


@dataclass(frozen=True, slots=True)
class _Trial:
    """A photo with a drawn mark: RGB, and what the mark covers (H×W bool)."""

    photo: Photo
    kind: str
    marked: Image.Image
    covered: Pixels

    def jobs(self) -> tuple[PaintJob, PaintJob]:
        """Make the job with the mask, a little wider than the mark, and the job without."""
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_LOOSE, _LOOSE))
        mask = encode(Image.fromarray(cv2.dilate(self.covered.astype(np.uint8), kernel) * 255))
        base = encode(self.marked)
        return paint_job("remove_watermark", {"base": base, "mask": mask}), paint_job(
            "remove_watermark", {"base": base}
        )

    def row(self, given: Outcome, detected: Outcome) -> list[Cell]:
        """Show the mark's surroundings before and after."""
        rows, columns = np.flatnonzero(self.covered.any(axis=1)), np.flatnonzero(self.covered.any(axis=0))
        left, right = max(0, int(columns[0]) - 60), int(columns[-1]) + 60
        top, bottom = max(0, int(rows[0]) - 60), int(rows[-1]) + 60
        box = (left, top, min(right, self.marked.width), min(bottom, self.marked.height))
        cells: list[Cell] = [(f"{self.photo.name}, {self.kind}", self.marked.crop(box))]
        for text, outcome in (("mask given", given), ("detected", detected)):
            image = first(outcome)
            cells.append((label(text, outcome), image.crop(box) if image else None))
        return cells


def try_watermark(setting: Setting) -> Section:
    """Remove drawn marks with a given mask and by detection; look for marks in clean photos."""
    photos = setting.some(*_MARKED)
    trials = [_Trial(photo, kind, *mark(photo.image, kind)) for kind, photo in itertools.product(MARK_KINDS, photos)]
    jobs = list(itertools.chain.from_iterable(trial.jobs() for trial in trials))
    jobs += [paint_job("remove_watermark", {"base": encode(photo.image)}) for photo in setting.photos]
    outcomes = run_all(jobs, processes=setting.processes)
    judged: dict[str, list[_Removal]] = {kind: [] for kind in MARK_KINDS}
    sheet: list[list[Cell]] = []
    for index, trial in enumerate(trials):
        given, detected = outcomes[2 * index], outcomes[2 * index + 1]
        judged[trial.kind].append(_judge(trial, given, detected))
        sheet.append(trial.row(given, detected))
    invented = [
        (photo, outcome)
        for photo, outcome in zip(setting.photos, outcomes[2 * len(trials) :], strict=True)
        if outcome.pictures
    ]
    sheet += [[(f"{photo.name}, clean", photo.image), ("painted", first(outcome))] for photo, outcome in invented]
    write_sheets(setting.out, "watermark", sheet)
    text = (
        f"Drawn marks on {len(photos)} photos: PSNR in dB inside the mark, before and after. *Mask given*: the mark "
        f"itself, widened by {_LOOSE // 2} pixels. *Found*: the painter changed at least {_FOUND_SHARE:.0%} of the "
        f"mark's pixels. *Elsewhere*: the share of pixels changed farther than {_NEAR // 2} from a mark that was found."
        "\n\n"
        + table(_HEAD, [_row(kind, group) for kind, group in judged.items()])
        + f"\n\nOf {len(setting.photos)} clean photos {len(invented)} were painted although they bear no mark"
        + (f": {', '.join(photo.name for photo, _ in invented)}." if invented else ".")
    )
    return Section("Watermark removal", text, _targets(judged, len(invented), len(setting.photos)))


@dataclass(frozen=True, slots=True)
class _Removal:
    """PSNR in dB inside a mark: as marked, with the mask given, by detection; and what detection did.

    `found` is whether it changed most of the mark, `elsewhere` the share of pixels it changed far from it.
    """

    before: float
    given: float
    detected: float
    found: bool
    elsewhere: float


def _judge(trial: _Trial, given: Outcome, detected: Outcome) -> _Removal:
    true, marked, covered = pixels(trial.photo.image), pixels(trial.marked), trial.covered
    before = psnr(marked, true, covered)
    image = first(given)
    if image is None:
        raise RuntimeError(given.refusal)
    by_mask = psnr(pixels(image), true, covered)
    answer = first(detected)
    if answer is None:
        return _Removal(before, by_mask, before, found=False, elsewhere=0.0)
    result = pixels(answer)
    changed = (result != marked).any(axis=2)
    near = cv2.dilate(covered.astype(np.uint8), np.ones((_NEAR, _NEAR), np.uint8)) > 0
    return _Removal(
        before,
        by_mask,
        psnr(result, true, covered),
        found=float(changed[covered].mean()) >= _FOUND_SHARE,
        elsewhere=float((changed & ~near).mean()),
    )


def _targets(judged: Mapping[str, Sequence[_Removal]], invented: int, clean: int) -> list[tuple[str, bool]]:
    gains = {kind: statistics.mean(item.given - item.before for item in group) for kind, group in judged.items()}
    least = min(gains, key=lambda kind: gains[kind])
    items = [item for group in judged.values() for item in group]
    found = sum(item.found for item in items)
    return [
        (
            f"Watermark, mask given: for each kind at least {_LEAST_GAIN_DB} dB: {gains[least]:.1f} dB for '{least}'",
            gains[least] >= _LEAST_GAIN_DB,
        ),
        (f"Watermark, detection: no clean photo painted: {invented} of {clean}", invented == 0),
        (
            f"Watermark, detection: at least a third of the marks found: {found} of {len(items)}",
            found * 3 >= len(items),
        ),
    ]


def _row(kind: str, group: Sequence[_Removal]) -> tuple[str, ...]:
    found = [item for item in group if item.found]
    return (
        kind,
        str(len(group)),
        f"{statistics.mean(item.before for item in group):.1f}",
        f"{statistics.mean(item.given for item in group):.1f}",
        f"**{statistics.mean(item.given - item.before for item in group):+.1f}**",
        f"{min(item.given - item.before for item in group):+.1f}",
        f"{len(found)} of {len(group)}",
        f"{statistics.mean(item.detected - item.before for item in found):+.1f}" if found else "–",
        f"{statistics.mean(item.elsewhere for item in found):.2%}" if found else "–",
    )
