"""Matting by classical means: no learned weights, one CPU core, a few seconds."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass

import cv2
import numpy as np

from imgapi.errors import SubjectNotFound
from imgapi.matting.backdrop import find_before_backdrop, fit_backdrop
from imgapi.matting.cutout import Cutout
from imgapi.matting.edges import refine
from imgapi.matting.pixels import Picture, Pixels, prepare_process, read_picture, shrink, to_lab, write_png
from imgapi.matting.regions import edge_support, touched_sides
from imgapi.matting.scene import find_in_scene

_SEARCH_SIDE = 320
_LEAST_SHARE = 0.004
_MOST_SHARE = 0.95
_LOW_CONFIDENCE = 0.55
_REAL_ALPHA_SHARE = 0.001
_NOTES = {"Software": "imgapi local matting"}


@dataclass(frozen=True, slots=True)
class Subject:
    """Where the subject is, and how it was found.

    Attributes:
        pixels: H×W×4 uint8 with a soft matte.
        confidence: 0..1.
        warnings: As in `Cutout`.
    """

    pixels: Pixels
    confidence: float
    warnings: tuple[str, ...]


def cut_out(content: bytes) -> Cutout:
    """Free the main subject of a picture from its background.

    A picture that already has real transparency keeps its alpha as it is.

    Raises:
        UnreadableImage: The bytes are no picture.
        ImageTooLarge: More than 50 million pixels.
        SubjectNotFound: Nothing, or everything, looks like the subject.
    """
    picture = read_picture(content)
    subject = find_subject(picture)
    encoded = write_png(subject.pixels, notes=_NOTES, icc_profile=picture.icc_profile)
    return Cutout(encoded, subject.confidence, subject.warnings)


def find_subject(picture: Picture) -> Subject:
    """Do the work of `cut_out` on decoded pixels; raises SubjectNotFound."""
    prepare_process()
    if picture.alpha is not None and _is_real(picture.alpha):
        return Subject(np.dstack([picture.rgb, picture.alpha]), 1.0, ())
    small = shrink(picture.rgb, _SEARCH_SIDE)
    lab = to_lab(small)
    backdrop = fit_backdrop(lab)
    mask, score = np.zeros(small.shape[:2], dtype=bool), 0.0
    known = backdrop if backdrop.is_plain else None
    if known is not None:
        mask, score = find_before_backdrop(lab, known)
        if not mask.any() and _is_uniform(lab):
            raise SubjectNotFound(
                "no subject stands out from the background: send a picture whose subject differs from what is behind it"
            )
    if score < 0.5:
        known = None
        mask, agreement = find_in_scene(small, lab)
        score = 0.5 * agreement + 0.4 * _outline_score(mask, lab)
    _refuse_nothing_or_all(mask)
    warnings = []
    if score < _LOW_CONFIDENCE:
        warnings.append("low_confidence")
    if touched_sides(mask):
        warnings.append("touches_border")
    return Subject(refine(picture.rgb, mask, known), round(float(np.clip(score, 0, 1)), 3), tuple(warnings))


def _is_real(alpha: Pixels) -> bool:
    """Whether the alpha channel cuts something out, rather than being noise in an opaque picture."""
    share = float((alpha < 128).mean())
    if share > 1 - _REAL_ALPHA_SHARE:
        raise SubjectNotFound("the whole picture is transparent: send one in which the subject is visible")
    return share > _REAL_ALPHA_SHARE


def _is_uniform(lab: Pixels) -> bool:
    return float(np.percentile(np.abs(lab - np.median(lab, axis=(0, 1))), 99.9)) < 4.0


def _outline_score(mask: Pixels, lab: Pixels) -> float:
    light = cv2.GaussianBlur(lab[:, :, 0], (0, 0), 0.8)
    gradient = np.hypot(cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)) / 8.0
    return edge_support(mask, gradient, strong=4.0)


def _refuse_nothing_or_all(mask: Pixels) -> None:
    share = float(mask.mean())
    if share < _LEAST_SHARE:
        raise SubjectNotFound(
            "no subject was found: send a picture with one clear subject, larger in the frame "
            "or before a plain background"
        )
    if share > _MOST_SHARE:
        raise SubjectNotFound(
            "the subject fills the whole picture: send one that shows some background on all sides of it"
        )
