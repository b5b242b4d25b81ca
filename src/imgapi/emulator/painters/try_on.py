"""Virtual try-on as a preview: the person's own clothes take the fabric of the given garments.

Cut and fit never change. Sleeves, neckline, hem and folds stay those of the clothes the person wears; only their fabric
is replaced. This is no try-on by a model, and no sign of how a garment would sit.
"""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

import numpy as np

from imgapi.emulator.painters.canvas import cover, decode, encode_jpeg, flatten
from imgapi.emulator.painters.clothes import Clothes, find_clothes
from imgapi.emulator.painters.drape import Region, drape
from imgapi.emulator.painters.garments import NO_GARMENT, Garment, read_garment
from imgapi.emulator.painters.job import Painting, PaintingRefused, PaintJob
from imgapi.emulator.painters.people import NO_PERSON, Person, find_person
from imgapi.matting.pixels import Pixels

_SIZES = {-1: None, 1024: (576, 1024), 1280: (720, 1280)}


def paint_try_on(job: PaintJob) -> Painting:
    """Give the clothes of 'person' the fabric of 'top' and 'bottom'; cut, sleeves and neckline stay the person's own.

    `resolution` 1024 and 1280 crop to 576×1024 and 720×1280 round the person; -1 keeps the size. `restore_face` has no
    effect, because the face is never touched. Results are JPEG.

    Raises:
        PaintingRefused: InvalidPerson, InvalidGarment, or InvalidParameter for another resolution.
    """
    size = job.parameters.get("resolution", -1)
    if not isinstance(size, int) or isinstance(size, bool) or size not in _SIZES:
        raise PaintingRefused("InvalidParameter", "resolution must be -1, 1024 or 1280")
    garments = {part: read_garment(job, part) for part in ("top", "bottom") if part in job.pictures}
    if not garments:
        raise PaintingRefused("InvalidGarment", NO_GARMENT)
    picture = decode(job, "person")
    rgb = flatten(picture)
    person = find_person(rgb)
    clothes = find_clothes(person)
    regions = _regions(garments, person, clothes)
    if not regions:
        raise PaintingRefused("InvalidPerson", NO_PERSON)
    dressed = rgb.copy()
    height, width = rgb.shape[:2]
    left, top, right, bottom = person.box
    part = dressed[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    for name, region in regions.items():
        drape(part, garments[name], region)
    target = _SIZES[size]
    if target is not None:
        dressed = _crop_round(dressed, person, target)
    content = encode_jpeg(dressed, icc_profile=picture.icc_profile)
    return Painting((content,) * job.count, _warnings(garments, person, clothes, regions), _ignored(job))


def _regions(garments: dict[str, Garment], person: Person, clothes: Clothes) -> dict[str, Region]:
    """Pair each garment with what it replaces; a dress replaces both, and what does not show is left out."""
    masks = {"top": clothes.top, "bottom": clothes.bottom}
    if "bottom" not in garments and "top" in garments and garments["top"].is_long:
        masks = {"top": clothes.top | clothes.bottom}
    middle = person.head[0] + person.unit / 2
    cut_off = bool(person.mask[-1].any())
    found: dict[str, Region] = {}
    for part in ("bottom", "top"):
        mask = masks.get(part)
        if part not in garments or mask is None or mask.sum() < 0.3 * person.unit**2:
            continue
        whole = clothes.reaches_hem if part == "top" and "bottom" in masks else not cut_off
        found[part] = Region(part, mask, middle, float(person.unit), whole)
    return found


def _warnings(
    garments: dict[str, Garment], person: Person, clothes: Clothes, regions: dict[str, Region]
) -> tuple[str, ...]:
    """Name what makes the preview doubtful: no face to measure by, a cut-off person, a garment without a place."""
    words = []
    unplaced = set(garments) - set(regions)
    # Clothes cover a good part of any outline; where they hardly do, the outline or the parting went wrong.
    covered = float((clothes.top | clothes.bottom).sum()) / max(1.0, float(person.mask.sum()))
    if unplaced or not person.has_face or not clothes.reaches_hem or not 0.3 < covered < 0.95:
        words.append("low_confidence")
    if not person.has_face:
        words.append("no_face")
    if bool(person.mask[-1].any()) and person.box[3] >= 1.0:
        words.append("touches_border")
    return tuple(words)


def _ignored(job: PaintJob) -> tuple[str, ...]:
    return ("restore_face",) if "restore_face" in job.parameters else ()


def _crop_round(rgb: Pixels, person: Person, size: tuple[int, int]) -> Pixels:
    """Crop to the shape of `size` (width, height) with the person in the middle, and scale to it."""
    columns = np.flatnonzero(person.mask.any(axis=0))
    share = float(columns.mean()) / person.mask.shape[1]
    middle = person.box[0] + share * (person.box[2] - person.box[0])
    shown = min(1.0, size[0] / size[1] * rgb.shape[0] / rgb.shape[1])
    focus = 0.5 if shown >= 1 else float(np.clip((middle - shown / 2) / (1 - shown), 0, 1))
    return cover(rgb, size[0], size[1], focus=(focus, 0.5))
