"""Outpainting: the picture's surroundings continued beyond its frame."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

import math

import cv2
import numpy as np

from imgapi.emulator.painters.canvas import decode, flatten, one_painting, refuse_giant_output
from imgapi.emulator.painters.frame import Frame
from imgapi.emulator.painters.job import Painting, PaintingRefused, PaintJob
from imgapi.emulator.painters.levelling import level_seams
from imgapi.emulator.painters.mirror import mirror_round
from imgapi.emulator.painters.patchwork import assemble
from imgapi.emulator.painters.quilting import Quilt, quilt
from imgapi.emulator.painters.seam import hide_frame
from imgapi.errors import SubjectNotFound
from imgapi.matting.classical import find_subject
from imgapi.matting.pixels import Picture, Pixels, shrink

_SIDES = ("top", "bottom", "left", "right")
_MOST_SCALE = 2.0
_DOUBTFUL_SCALE = 1.25
_SUBJECT_SIDE = 480
_MOST_SUBJECT = 0.6
_QUILT_SIDE = 224
_QUILT_PIXELS = 140_000
_SHORTEST_QUILT = 40
_WORST_MISFIT = 0.9
_MOST_LEVEL = 48.0


def paint_expansion(job: PaintJob) -> Painting:
    """Extend 'base' by `top_scale`, `bottom_scale`, `left_scale` and `right_scale` (1.0 to 2.0; 1.5 adds half a side).

    The original pixels are kept as they are at x = W·(left−1), y = H·(top−1). Round them are laid pieces of the
    picture without its subject. A picture that is too small or narrow for that, or of which no pieces
    fit, is mirrored at its frame instead, bent and blurred more and more with the distance.

    Raises:
        PaintingRefused: A scale out of range, or a result beyond 100 million pixels.
    """
    scales = {side: job.number(f"{side}_scale", 1.0) for side in _SIDES}
    for side, scale in scales.items():
        if not 1.0 <= scale <= _MOST_SCALE:
            raise PaintingRefused("InvalidParameter", f"{side}_scale must be from 1.0 to 2.0")
    base = decode(job, "base")
    original = flatten(base)
    added = {
        side: round((base.width if side in {"left", "right"} else base.height) * (scales[side] - 1)) for side in _SIDES
    }
    frame = Frame(base.width, base.height, added["left"], added["top"], added["right"], added["bottom"])
    refuse_giant_output(frame.full_width, frame.full_height, "use smaller scales or a smaller picture")
    warnings = ("scale_over_1_25",) if max(scales.values()) > _DOUBTFUL_SCALE else ()
    painted = _paint_round(original, frame, np.random.default_rng(job.seed)) if any(added.values()) else original
    return one_painting(job, painted, base.icc_profile, warnings=warnings, ignored=("prompt",))


def _paint_round(original: Pixels, frame: Frame, dice: np.random.Generator) -> Pixels:
    subject = _find_subject(original)
    result = _quilt_round(original, subject, frame, dice)
    if result is None:
        result = mirror_round(original, subject, frame, dice)
    hide_frame(result, original, frame)
    result[frame.inside] = original
    return result


def _find_subject(original: Pixels) -> Pixels:
    """Mark the subject, which is not to be repeated: bool at a small size, all clear when there is none to speak of."""
    small = shrink(original, _SUBJECT_SIDE)
    try:
        mask = find_subject(Picture(small, None, None, None)).pixels[:, :, 3] > 40
    except SubjectNotFound:
        return np.zeros(small.shape[:2], bool)
    return np.asarray(mask if float(mask.mean()) <= _MOST_SUBJECT else np.zeros_like(mask))


def _quilt_round(original: Pixels, subject: Pixels, frame: Frame, dice: np.random.Generator) -> Pixels | None:
    """Quilt at a small size and lay the same pieces at full size; None when nothing fits."""
    share = frame.full_width * frame.full_height / (frame.width * frame.height)
    side = math.sqrt(_QUILT_PIXELS / share * max(frame.width, frame.height) / min(frame.width, frame.height))
    small = shrink(original, round(min(_QUILT_SIDE, side)))
    height, width = small.shape[:2]
    if min(height, width) < _SHORTEST_QUILT:
        return None
    pitch = (frame.width / width, frame.height / height)
    # Rounded up, so that the small canvas covers the large one.
    small_frame = Frame(
        width,
        height,
        math.ceil(frame.left / pitch[0]),
        math.ceil(frame.top / pitch[1]),
        math.ceil(frame.right / pitch[0]),
        math.ceil(frame.bottom / pitch[1]),
    )
    shunned = cv2.resize(subject.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    shunned = (cv2.dilate(shunned, np.ones((11, 11), np.uint8)) > 0.1).astype(np.float32)
    made = quilt(small, shunned, small_frame, dice)
    if made.misfit > _WORST_MISFIT:
        return None
    return assemble(original, frame, made, small_frame, _levels(small, small_frame, made))


def _levels(small: Pixels, frame: Frame, made: Quilt) -> Pixels:
    """What to add to each pixel of the small canvas so that its seams vanish: H×W×3 float32."""
    patchwork = np.zeros((frame.full_height, frame.full_width, 3), np.uint8)
    patchwork[frame.inside] = small
    for index, piece in enumerate(made.pieces):
        window = (slice(piece.top, piece.top + piece.height), slice(piece.left, piece.left + piece.width))
        source = small[piece.source_top :, piece.source_left :][: piece.height, : piece.width]
        here = made.shown[window] == index
        patchwork[window][here] = source[here]
    return np.clip(level_seams(patchwork, made.shown), -_MOST_LEVEL, _MOST_LEVEL)
