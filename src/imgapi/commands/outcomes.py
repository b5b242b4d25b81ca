"""What became of each picture of a command, and how the command ends."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["done", "skipped", "failed", "later"]

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_LATER, EXIT_SETTINGS = 0, 1, 2, 75, 78
EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143
# What a reply tells that is still of interest once its pictures are files.
_TOLD = (
    "task_id",
    "upstream_task_id",
    "engine",
    "billed",
    "usage",
    "prepared",
    "warnings",
    "ignored",
    "confidence",
    "original_size",
    "resized_size",
    "original_format",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one picture.

    Args:
        source: The picture, as it was named.
        status: `later` is a failure of the moment only.
        outputs: The files written, or found of an earlier run.
        seconds: How long it took.
        told: Fields of the service's reply.
        error: Why it failed, in one sentence.
        code: The same for programs.
    """

    source: str
    status: Status
    outputs: tuple[Path, ...] = ()
    seconds: float = 0.0
    told: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    code: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The outcome as `--json` writes it; what is absent is left out."""
        line: dict[str, Any] = {
            "input": self.source,
            "status": self.status,
            "outputs": [str(path) for path in self.outputs],
            "seconds": round(self.seconds, 3),
            **{name: self.told[name] for name in _TOLD if self.told.get(name) is not None},
            "error": self.error,
            "code": self.code or None,
        }
        return {name: value for name, value in line.items() if value is not None}


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """Choose how the command ends: well, with failures, or with failures of the moment alone."""
    statuses = {each.status for each in outcomes}
    if "failed" in statuses:
        return EXIT_FAILED
    return EXIT_LATER if "later" in statuses else EXIT_DONE


def summary(outcomes: Iterable[Outcome]) -> str:
    """Count the outcomes in one line, with the list price of what was made."""
    known = list(outcomes)
    words = (("done", "done"), ("skipped", "there already"), ("failed", "failed"), ("later", "to be tried later"))
    counts = [(sum(each.status == status for each in known), text) for status, text in words]
    told = ", ".join(f"{count} {text}" for count, text in counts if count)
    price = sum(_price(each.told) for each in known)
    return f"{told or 'nothing to do'}." + (f" List price: {price:.2f} CNY." if price else "")


def _price(told: Mapping[str, Any]) -> float:
    usage = told.get("usage")
    return float(usage.get("list_price_cny", 0.0)) if isinstance(usage, Mapping) and told.get("billed") else 0.0
