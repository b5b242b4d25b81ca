"""The picture within a uniform border."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Inner:
    """The picture within a uniform border (PNG, RGB), and the scales an outpainting needs to fill that border."""

    content: bytes
    scales: dict[str, float]
