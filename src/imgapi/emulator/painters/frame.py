"""Where an original lies in the larger picture that is painted round it."""

from dataclasses import dataclass
from typing import Protocol


class Rectangle(Protocol):
    """Anything with four sides, in pixels of the larger picture."""

    @property
    def left(self) -> int: ...  # noqa: D102
    @property
    def top(self) -> int: ...  # noqa: D102
    @property
    def right(self) -> int: ...  # noqa: D102
    @property
    def bottom(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Frame:
    """The size of the original and how much is added on each side, all in pixels."""

    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int

    @property
    def full_width(self) -> int:
        """Columns of the larger picture."""
        return self.left + self.width + self.right

    @property
    def full_height(self) -> int:
        """Rows of the larger picture."""
        return self.top + self.height + self.bottom

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of the original in the larger picture."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def distance_of(self, place: Rectangle) -> float:
        """How far the middle of a rectangle lies outside the original, in pixels along both axes."""
        x, y = (place.left + place.right) / 2 - self.left, (place.top + place.bottom) / 2 - self.top
        return max(-x, x - self.width, 0) + max(-y, y - self.height, 0)
