"""The bench's trial of matting: real photos, and drawn subjects whose matte is known."""

import statistics
from collections.abc import Sequence

import numpy as np
from bench.preview_measures import Pixels, iou
from bench.preview_pictures import Composite, composites, encode
from bench.preview_sections import Section, Setting, first, label, table
from bench.preview_sheets import Cell, write_sheets
from bench.preview_work import Outcome, run_all

_LEAST_IOU = 0.9
_HEAD = ("subject and backdrop", "n", "mean IoU", "median", "worst", "mean error of the matte, 0..1")

_Score = tuple[float, float]


def try_matting(setting: Setting) -> Section:
    """Cut out every photo and every composite; write two sheets."""
    drawn = composites(setting.by_name, quick=setting.quick)
    contents = [
        encode(image) for image in (*(photo.image for photo in setting.photos), *(made.image for made in drawn))
    ]
    outcomes = run_all(contents, processes=setting.processes)
    of_photos, of_drawn = outcomes[: len(setting.photos)], outcomes[len(setting.photos) :]
    groups = _group(drawn, _score_composites(setting, drawn, of_drawn))
    if own := _score_photos(setting, of_photos):
        groups["photos of one's own with a mask"] = own
    refused = [photo.name for photo, outcome in zip(setting.photos, of_photos, strict=True) if outcome.refusal]
    text = (
        "Drawn subjects (a mug, leaves, fur, a ring with a hole, a figure), so that the true matte is known, before "
        "drawn studio walls and before parts of real photos that show no subject of their own. A refusal counts "
        "as IoU 0.\n\n"
        + table(_HEAD, [_row(name, scores) for name, scores in groups.items()])
        + f"\n\nOf {len(setting.photos)} photos {len(refused)} were refused"
        + (f": {', '.join(refused)}." if refused else ".")
    )
    plain = statistics.mean(score[0] for score in groups["**all, studio walls**"])
    met = plain >= _LEAST_IOU
    return Section("Matting", text, [(f"Matting on studio walls: mean IoU at least {_LEAST_IOU}: {plain:.3f}", met)])


def _score_photos(setting: Setting, outcomes: Sequence[Outcome]) -> list[_Score]:
    """Write the sheet of the photos; score those that have a mask."""
    rows: list[list[Cell]] = []
    scores = []
    for photo, outcome in zip(setting.photos, outcomes, strict=True):
        text = photo.name
        if photo.mask is not None:
            scores.append(_score(outcome, photo.mask * np.uint8(255)))
            text += f" IoU {scores[-1][0]:.3f}"
        rows.append([(text, photo.image), (label("", outcome), first(outcome))])
    write_sheets(setting.out, "matting-photos", rows)
    return scores


def _score_composites(setting: Setting, drawn: Sequence[Composite], outcomes: Sequence[Outcome]) -> list[_Score]:
    """Write the sheet of the composites; score them all."""
    scores = [_score(outcome, made.matte) for made, outcome in zip(drawn, outcomes, strict=True)]
    rows: list[list[Cell]] = [
        [(made.name, made.image), (label(f"IoU {score[0]:.3f}", outcome), first(outcome))]
        for made, outcome, score in zip(drawn, outcomes, scores, strict=True)
    ]
    write_sheets(setting.out, "matting-drawn", rows)
    return scores


def _score(outcome: Outcome, matte: Pixels) -> _Score:
    """Return the IoU of the parts above one half and the mean absolute error of the matte, 0..1."""
    image = first(outcome)
    found = np.zeros_like(matte) if image is None else np.asarray(image.getchannel("A"))
    error = float(np.abs(found.astype(np.float64) - matte).mean() / 255)
    return iou(found > 127, matte > 127), error


def _group(drawn: Sequence[Composite], scores: Sequence[_Score]) -> dict[str, list[_Score]]:
    """Group the scores by subject and kind of backdrop, then by kind alone."""
    groups: dict[str, list[_Score]] = {}
    for is_studio, kind in ((True, "studio walls"), (False, "real photos")):
        for made, score in zip(drawn, scores, strict=True):
            if made.is_studio is is_studio:
                groups.setdefault(f"{made.name.split(' on ')[0]}, {kind}", []).append(score)
                groups.setdefault(f"**all, {kind}**", []).append(score)
    return dict(sorted(groups.items(), reverse=True))


def _row(name: str, scores: Sequence[_Score]) -> tuple[object, ...]:
    overlaps = [overlap for overlap, _ in scores]
    figures = (statistics.mean(overlaps), statistics.median(overlaps), min(overlaps))
    error = statistics.mean(error for _, error in scores)
    return (name, len(scores), *(f"{figure:.3f}" for figure in figures), f"{error:.3f}")
