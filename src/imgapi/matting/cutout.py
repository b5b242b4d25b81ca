"""What matting gives, and its entry for worker processes; imports neither numpy nor OpenCV before first use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cutout:
    """A picture whose background is transparent.

    Attributes:
        content: PNG, mode RGBA, the size of the oriented input.
        confidence: A hint 0..1; held-out trials showed it to be weakly tied to quality, so never gate on it.
        warnings: Words for the response: 'low_confidence', 'touches_border'.
    """

    content: bytes
    confidence: float
    warnings: tuple[str, ...]


def cut_out(content: bytes) -> Cutout:
    """Free the main subject of a picture from its background by classical means; see `matting.classical.cut_out`."""
    from imgapi.matting import classical

    return classical.cut_out(content)
