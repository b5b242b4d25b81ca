"""What a painter is asked, and how it says no."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PaintJob:
    """One edit to be painted; picklable, because painters run in worker processes.

    Attributes:
        operation: 'background' (pictures: base, ref?), 'try_on' (person, top?, bottom?), 'expand' (base),
            'super_resolution' (base), 'remove_watermark' (base, mask?) or 'description_edit_with_mask' (base, mask).
        pictures: Encoded pictures by the names above.
        parameters: The upstream's parameters as they came; painters read those they know.
        prompt: The upstream's prompt; only a background without a reference picture makes use of it.
        seed: The same seed gives the same bytes.
        count: How many pictures to paint, 1 to 4.
    """

    operation: str
    pictures: Mapping[str, bytes]
    parameters: Mapping[str, object]
    prompt: str
    seed: int
    count: int

    def number(self, name: str, default: float) -> float:
        """Read a numeric parameter; raises PaintingRefused with InvalidParameter when it is something else."""
        value = self.parameters.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise PaintingRefused("InvalidParameter", f"{name} must be a number")
        return float(value)

    def picture(self, name: str) -> bytes:
        """Give the encoded picture of that name; raises PaintingRefused with InvalidParameter when it is missing."""
        content = self.pictures.get(name)
        if content is None:
            raise PaintingRefused("InvalidParameter", f"the picture '{name}' is missing")
        return content


@dataclass(frozen=True, slots=True)
class Painting:
    """What a painter made.

    Attributes:
        pictures: `count` encoded pictures.
        warnings: Words for the response, as docs/emulator.md lists them: 'low_confidence', 'touches_border', ….
        ignored: The upstream's names of the parameters that had no effect.
    """

    pictures: tuple[bytes, ...]
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


class PaintingRefused(Exception):
    """The edit can't be painted from these pictures.

    Args:
        code: An upstream code, as docs/upstream.md lists them.
        message: One sentence that says why and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        # Both go to the base class: it is what makes the exception survive the way back from a worker process.
        super().__init__(code, message)
        self.code = code
        self.message = message
