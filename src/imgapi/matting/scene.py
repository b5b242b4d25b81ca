"""The scene path: a subject in a photo whose background is anything."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from pathlib import Path

import cv2
import numpy as np

from imgapi.matting.pixels import Pixels
from imgapi.matting.regions import (
    drop_small_regions,
    edge_support,
    fill_holes,
    gradient_of,
    outline_contrast,
    overlap,
    solidity,
)
from imgapi.matting.saliency import find_saliency

_ITERATIONS = 3
_FIRST_BONUS = 0.06
_FACES = "haarcascade_frontalface_alt2.xml"


def find_in_scene(rgb: Pixels, lab: Pixels) -> tuple[Pixels, float]:
    """Find the subject by several differently seeded GrabCuts, their vote, and a choice of the likeliest outline.

    Args:
        rgb: H×W×3 uint8, about 320 px on the longer side.
        lab: The same in float32 Lab.

    Returns:
        H×W bool mask and how far the chosen one agrees with the others, 0..1.
    """
    saliency = find_saliency(lab)
    height, width = saliency.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    centre = np.exp(-(((x / width - 0.5) / 0.33) ** 2 + ((y / height - 0.53) / 0.36) ** 2) / 2)
    bodies, cores = _bodies(find_faces(rgb), (height, width))
    prior = np.maximum(saliency * (0.45 + 0.35 * centre + 0.2 * _sharpness(lab)), bodies)
    oval = grab(rgb, _with_cores(_oval((height, width)), cores))
    seeds = (_trimap(prior), _trimap(np.maximum(saliency * np.sqrt(centre), bodies)))
    votes = [grab(rgb, seeds[0]), oval, grab(rgb, seeds[1])]
    elected = _clean(grab(rgb, _with_cores(_joint(votes, prior), cores)), prior)
    # A subject that fills the frame, or is lit unevenly, is missed by saliency; these two don't look at it.
    expected = centre + 0.2 * prior
    framed = _clean(grab(rgb, _with_cores(_frame((height, width)), cores)), expected)
    return _choose((elected, framed, _clean(oval, expected)), lab, centre)


def _joint(votes: list[Pixels], prior: Pixels) -> Pixels:
    """Seed the last GrabCut with what the votes say and the prior does not contradict."""
    count = np.sum(votes, axis=0)
    joint = np.full(prior.shape, cv2.GC_PR_BGD, dtype=np.uint8)
    joint[count >= 2] = cv2.GC_PR_FGD
    joint[(count == 3) & (prior > np.percentile(prior, 75))] = cv2.GC_FGD
    joint[(count == 0) & (prior < np.percentile(prior, 50))] = cv2.GC_BGD
    return joint


def _choose(masks: tuple[Pixels, ...], lab: Pixels, centre: Pixels) -> tuple[Pixels, float]:
    """Pick the mask with the clearest, most compact and most central outline; the first one in doubt."""
    gradient = gradient_of(lab, 0.8)
    ratings = []
    for index, mask in enumerate(masks):
        agreement = float(np.mean([overlap(mask, other) for place, other in enumerate(masks) if place != index]))
        if not 0.004 < float(mask.mean()) < 0.97:
            ratings.append((-1.0, agreement))
            continue
        rating = 0.5 * agreement + 0.5 * edge_support(mask, gradient, strong=4.0) + 0.3 * outline_contrast(mask, lab)
        rating += 0.35 * float(centre[mask].sum() / centre.sum()) + 0.4 * solidity(mask)
        ratings.append((rating + (_FIRST_BONUS if index == 0 else 0.0), agreement))
    best = max(range(len(masks)), key=lambda index: ratings[index][0])
    return masks[best], ratings[best][1]


def find_faces(rgb: Pixels, *, min_neighbours: int = 5) -> list[tuple[int, int, int, int]]:
    """Find frontal faces by OpenCV's Haar cascade: (x, y, width, height) in pixels, largest first."""
    # The type stubs of OpenCV leave out the module that names the folder of the cascades.
    detector = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / _FACES))
    grey = cv2.equalizeHist(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    least = max(20, min(rgb.shape[:2]) // 16)
    found = detector.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=min_neighbours, minSize=(least, least))
    boxes = [(int(x), int(y), int(width), int(height)) for x, y, width, height in found]
    return sorted(boxes, key=lambda box: -box[2] * box[3])


def _bodies(faces: list[tuple[int, int, int, int]], shape: tuple[int, int]) -> tuple[Pixels, Pixels]:
    """Draw where a person is expected round each large face.

    Returns:
        H×W float32 in 0..1 (head, shoulders and trunk), and H×W bool of what is surely the person.
    """
    drawn = np.zeros(shape, dtype=np.float32)
    cores = np.zeros(shape, dtype=np.uint8)
    for x, y, width, height in faces:
        if width * height < 0.35 * faces[0][2] * faces[0][3]:
            continue
        middle = x + width // 2
        cv2.ellipse(drawn, (middle, y + height // 2), (int(width * 0.6), int(height * 0.75)), 0, 0, 360, 1.0, -1)
        top, bottom = y + int(height * 1.45), y + int(height * 6.5)
        cv2.rectangle(drawn, (middle - int(width * 1.45), top), (middle + int(width * 1.45), bottom), 0.62, -1)
        cv2.rectangle(drawn, (middle - int(width * 0.8), top), (middle + int(width * 0.8), bottom), 0.85, -1)
        cv2.ellipse(cores, (middle, y + height // 2), (int(width * 0.42), int(height * 0.5)), 0, 0, 360, 1, -1)
        trunk = (middle - int(width * 0.4), y + height), (middle + int(width * 0.4), y + int(height * 3.2))
        cv2.rectangle(cores, trunk[0], trunk[1], 1, -1)
    return cv2.GaussianBlur(drawn, (0, 0), max(1.0, shape[1] / 80)), cores > 0


def _sharpness(lab: Pixels) -> Pixels:
    """Map local detail to 0..1: what is in focus is more likely the subject."""
    detail = np.abs(cv2.Laplacian(cv2.GaussianBlur(lab[:, :, 0], (0, 0), 0.7), cv2.CV_32F))
    spread = cv2.GaussianBlur(np.minimum(detail, 12.0), (0, 0), lab.shape[1] / 32)
    return spread / max(1e-3, float(spread.max()))


def _trimap(prior: Pixels) -> Pixels:
    seed = np.full(prior.shape, cv2.GC_PR_BGD, dtype=np.uint8)
    levels = np.clip(prior / max(1e-6, float(prior.max())) * 255, 0, 255).astype(np.uint8)
    parted = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0]
    seed[levels > parted] = cv2.GC_PR_FGD
    seed[levels > max(0.5 * (255 + parted), float(np.percentile(levels, 92)))] = cv2.GC_FGD
    seed[levels < min(0.4 * parted, float(np.percentile(levels, 50)))] = cv2.GC_BGD
    rim = max(1, prior.shape[0] // 80)
    for strip in (seed[:rim], seed[:, :rim], seed[:, -rim:]):
        strip[strip == cv2.GC_PR_BGD] = cv2.GC_BGD
    return seed


def _oval(shape: tuple[int, int]) -> Pixels:
    """Seed with nothing but the expectation that a subject is in the middle and clear of the top and the sides."""
    height, width = shape
    seed = np.full(shape, cv2.GC_BGD, dtype=np.uint8)
    axes = (int(width * 0.44), int(height * 0.46))
    cv2.ellipse(seed, (width // 2, int(height * 0.53)), axes, 0, 0, 360, int(cv2.GC_PR_FGD), -1)
    return seed


def _frame(shape: tuple[int, int]) -> Pixels:
    """Seed with nothing but the expectation that the top and the sides of the frame show background."""
    height, width = shape
    seed = np.full(shape, cv2.GC_PR_FGD, dtype=np.uint8)
    rows, columns = max(2, height // 30), max(2, width // 30)
    for strip in (seed[:rows], seed[:, :columns], seed[:, -columns:]):
        strip[:] = cv2.GC_BGD
    return seed


def _with_cores(seed: Pixels, cores: Pixels) -> Pixels:
    return np.where(cores, np.uint8(cv2.GC_FGD), seed)


def grab(rgb: Pixels, seed: Pixels) -> Pixels:
    """Run GrabCut on H×W×3 uint8 from a copy of the seed (GC_* labels); the seed's own answer when one class is empty.

    Returns:
        H×W bool, True where the foreground is.
    """
    mask = seed.copy()
    likely = (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)
    if likely.all() or not likely.any():
        return np.asarray(likely)
    cv2.setRNGSeed(20)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    # The rectangle is not read in this mode.
    cv2.grabCut(rgb, mask, (0, 0, 1, 1), models[0], models[1], _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    return np.asarray((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD))


def _clean(mask: Pixels, prior: Pixels) -> Pixels:
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    closed = cv2.morphologyEx(opened.astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    count, labels = cv2.connectedComponents(closed.astype(np.uint8), connectivity=8)
    weight = np.bincount(labels.ravel(), weights=(prior * closed).ravel(), minlength=count)
    weight[0] = 0
    if count <= 1:
        return closed
    kept = (weight >= 0.2 * weight.max())[labels] & closed
    return fill_holes(drop_small_regions(kept, 0.1), np.zeros_like(kept), min_share=0.02)
