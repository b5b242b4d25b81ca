"""What the bench's trials share: their setting, and the part of the page that each writes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.preview_pictures import Photo, decode
from bench.preview_work import Outcome
from PIL import Image

from imgapi.emulator.painters import PaintJob

SEED = 7


@dataclass(frozen=True, slots=True)
class Setting:
    """The photos, where the sheets go, how many runs at a time, whether to be quick."""

    photos: Sequence[Photo]
    out: Path
    processes: int
    quick: bool

    @property
    def by_name(self) -> dict[str, Image.Image]:
        """The photos by name."""
        return {photo.name: photo.image for photo in self.photos}

    def some(self, *names: str) -> list[Photo]:
        """Choose photos of the wheels by name, and all of one's own; three when quick."""
        chosen = [photo for photo in self.photos if photo.is_own or photo.name in names]
        return chosen[: 3 if self.quick else None]


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the result page: heading, text, and the targets with whether each is met."""

    title: str
    text: str
    targets: Sequence[tuple[str, bool]] = field(default=())


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def paint_job(
    operation: str, pictures: dict[str, bytes], *, prompt: str = "", count: int = 1, **parameters: object
) -> PaintJob:
    """Make a job of the bench's seed."""
    return PaintJob(operation, pictures, parameters, prompt, SEED, count)


def expand_job(base: bytes, scale: float) -> PaintJob:
    """Make a job that expands a picture on all four sides."""
    return paint_job("expand", {"base": base}, top_scale=scale, bottom_scale=scale, left_scale=scale, right_scale=scale)


def label(text: str, outcome: Outcome) -> str:
    """Write a cell's label: what it is, its warnings, or why it was refused."""
    return f"{text} {outcome.refusal or ' '.join(outcome.warnings)}".strip()


def first(outcome: Outcome) -> Image.Image | None:
    """Open the first result, if there is one."""
    return decode(outcome.pictures[0]) if outcome.pictures else None
