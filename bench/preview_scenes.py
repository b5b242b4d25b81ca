"""The bench's trials of background replacement, outpainting and virtual try-on, whose truth nobody knows."""

import itertools
import statistics
from collections.abc import Sequence

import numpy as np
from bench.preview_measures import detail, seam
from bench.preview_pictures import FACE, JERSEY, TROUSERS, Photo, decode, draw_figure, drawings, encode, pixels, studio
from bench.preview_sections import Section, Setting, expand_job, first, label, paint_job, table
from bench.preview_sheets import Cell, write_sheets
from bench.preview_work import Outcome, run_all
from PIL import Image

_SCALES = (1.25, 1.5)
_PROMPT = "sunset at the sea"
_WORST_SEAM = 1.5
_LEAST_DIFFERENCE = 2.0
_OUTFITS = (((70, 110, 180), (60, 60, 70)), ((215, 215, 205), (70, 85, 130)))


def try_background(setting: Setting) -> Section:
    """Give photos a new background, four compositions each, by a reference and by words."""
    bases = [*setting.some("astronaut", "chelsea", "coffee", "rocket"), Photo("drawn mug", drawings()["mug"])]
    jobs, names = [], []
    for turn, base in enumerate(bases):
        content, reference = encode(base.image), ("china", "flower")[turn % 2]
        pictures = {"base": content, "ref": encode(setting.by_name[reference])}
        jobs += [
            paint_job("background", pictures, count=4),
            paint_job("background", {"base": content}, prompt=_PROMPT, count=4),
        ]
        names += [(base, reference), (base, f"'{_PROMPT}'")]
    rows, sheet, differences = [], [], []
    for (base, where), outcome in zip(names, run_all(jobs, processes=setting.processes), strict=True):
        images = [decode(content) for content in outcome.pictures]
        results: list[Cell] = [(f"n = {number}", image) for number, image in enumerate(images, 1)]
        sheet.append([(label(f"{base.name}, {where}", outcome), base.image), *results])
        if images:
            differences.append(_least_difference(images))
            rows.append((base.name, where, f"{differences[-1]:.1f}", ", ".join(outcome.warnings)))
        else:
            rows.append((base.name, where, "refused", outcome.refusal))
    write_sheets(setting.out, "background", sheet)
    least = min(differences, default=0.0)
    text = (
        "*Difference*: mean absolute, in 8-bit levels, of the two of the four compositions that are most alike.\n\n"
        + table(("base", "background", "difference of the most alike", "warnings"), rows)
    )
    met = least > _LEAST_DIFFERENCE
    sentence = f"Background, n = 4: no two of the four alike: at least {least:.1f} levels apart"
    return Section("Background replacement, n = 4", text, [(sentence, met)])


def _least_difference(images: Sequence[Image.Image]) -> float:
    pairs = itertools.combinations([pixels(image).astype(int) for image in images], 2)
    return min(float(np.abs(one - other).mean()) for one, other in pairs)


def try_expand(setting: Setting) -> Section:
    """Expand every photo on all four sides."""
    photos = setting.photos[: 3 if setting.quick else None]
    trials = list(itertools.product(photos, _SCALES))
    jobs = [expand_job(encode(photo.image), scale) for photo, scale in trials]
    judged: dict[float, list[tuple[bool, float, float]]] = {scale: [] for scale in _SCALES}
    sheet: list[list[Cell]] = []
    rows: list[tuple[object, ...]] = []
    for (photo, scale), outcome in zip(trials, run_all(jobs, processes=setting.processes), strict=True):
        image = first(outcome)
        if scale == _SCALES[0]:
            sheet.append([(photo.name, photo.image)])
        sheet[-1].append((label(f"{scale}", outcome), image))
        if image is not None:
            kept, step, share = _judge_expansion(photo.image, image, scale)
            judged[scale].append((kept, step, share))
            rows.append((photo.name, scale, "yes" if kept else "**NO**", f"{step:.2f}", f"{share:.2f}"))
    write_sheets(setting.out, "expand", sheet)
    means = "; ".join(
        f"at {scale}: mean seam {statistics.mean(figure[1] for figure in group):.2f}, "
        f"mean detail {statistics.mean(figure[2] for figure in group):.2f}"
        for scale, group in judged.items()
        if group
    )
    text = (
        "*Seam*: the lightness steps at the original's rim over those just inside it, worst side; 1 is "
        "invisible, and steps of 2 levels count as unseen. "
        "*Detail*: the steps in the filler over those in the original; low is blurred.\n\n"
        + table(("photo", "scale", "original kept", "seam", "detail"), rows)
        + f"\n\n{means}."
    )
    figures = [figure for group in judged.values() for figure in group]
    intact, worst = sum(figure[0] for figure in figures), max((figure[1] for figure in figures), default=99.0)
    return Section(
        "Outpainting",
        text,
        [
            (f"Outpainting: the original kept bit for bit in {intact} of {len(jobs)}", intact == len(jobs)),
            (
                f"Outpainting: no seam beyond {_WORST_SEAM} times the picture's own steps: {worst:.2f}",
                worst <= _WORST_SEAM,
            ),
        ],
    )


def _judge_expansion(original: Image.Image, expanded: Image.Image, scale: float) -> tuple[bool, float, float]:
    """Say whether the original is kept, how visible the seam is, and how detailed the filler."""
    left, top = round(original.width * (scale - 1)), round(original.height * (scale - 1))
    right, bottom = left + original.width, top + original.height
    large = pixels(expanded)
    inside = np.zeros(large.shape[:2], dtype=bool)
    inside[top:bottom, left:right] = True
    kept = bool(np.array_equal(large[top:bottom, left:right], pixels(original)))
    share = detail(large, ~inside) / max(0.1, detail(large, inside))
    return kept, seam(large, (left, top, right, bottom)), share


def try_on(setting: Setting) -> Section:
    """Dress drawn figures in drawn garments; ask the same of all photos, most of which show no standing person."""
    people = _people(setting)
    drawn = drawings()
    garments = {"top": encode(drawn["shirt"]), "bottom": encode(drawn["trousers"])}
    jobs = [paint_job("try_on", {"person": encode(photo.image), **garments}) for photo in (*people, *setting.photos)]
    outcomes = run_all(jobs, processes=setting.processes)
    sheet: list[list[Cell]] = [
        [(photo.name, photo.image), (label("", outcome), first(outcome))]
        for photo, outcome in zip((*people, *setting.photos), outcomes, strict=True)
    ]
    write_sheets(setting.out, "try-on", sheet)
    rows = [_judge_dress(photo, outcome) for photo, outcome in zip(people, outcomes, strict=False)]
    answers = [
        f"{photo.name} ({outcome.refusal.split(':')[0] or '**painted**'})"
        for photo, outcome in zip(setting.photos, outcomes[len(people) :], strict=True)
    ]
    text = (
        "Drawn figures in drawn clothes. *Changed*: mean absolute, in 8-bit levels.\n\n"
        + table(("person", "dressed, face kept", "jersey changed", "trousers changed", "face changed"), rows)
        + f"\n\nReal photos, of which only the astronaut shows a person from the front: {', '.join(answers)}."
    )
    dressed = sum(row[1] == "yes" for row in rows)
    sentence = f"Try-on: at least half of the drawn figures dressed, face kept: {dressed} of {len(people)}"
    return Section("Virtual try-on", text, [(sentence, dressed * 2 >= len(people))])


def _people(setting: Setting) -> list[Photo]:
    walls = {
        "grey wall": studio(600, 800, (236,) * 3, (206,) * 3),
        "blue wall": studio(600, 800, (120, 150, 190), (80, 105, 150)),
        "part of china": setting.by_name["china"].crop((340, 27, 640, 427)).resize((600, 800)),
        "part of flower": setting.by_name["flower"].crop((0, 0, 180, 240)).resize((600, 800)),
    }
    people = []
    for (where, wall), (outfit, colours) in itertools.product(
        walls.items(), zip(("blue", "cream"), _OUTFITS, strict=True)
    ):
        figure, scene = draw_figure(*colours), wall.copy()
        scene.paste(figure, mask=figure)
        people.append(Photo(f"figure in {outfit}, {where}", scene))
    return people


def _judge_dress(person: Photo, outcome: Outcome) -> tuple[str, ...]:
    image = first(outcome)
    if image is None:
        return (person.name, f"refused: {outcome.refusal.split(':')[0]}", "", "", "")
    change = np.abs(pixels(image).astype(int) - pixels(person.image)).mean(axis=2)
    parts = (JERSEY, TROUSERS, FACE)
    jersey, trousers, face = (float(change[top:bottom, left:right].mean()) for left, top, right, bottom in parts)
    is_good = jersey > 20 and trousers > 20 and face < 4
    return (person.name, "yes" if is_good else "**no**", f"{jersey:.0f}", f"{trousers:.0f}", f"{face:.1f}")
