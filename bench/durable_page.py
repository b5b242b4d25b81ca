"""The page that the benchmarks of durable tasks share; each program writes a section of it."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).with_name("durable.md")
HEAD = (
    "# Durable tasks, measured\n\nWritten by `bench/durable.py`, `bench/waiting.py` and `bench/kills.py`; do not edit."
)
ORDER = ("What durability adds to a task", "A thousand tasks waiting", "Killed at random moments")

Verdict = tuple[str, bool]


def publish(title: str, verdicts: Sequence[Verdict], parts: Sequence[str], seconds: float) -> int:
    """Print a section and put it in its place on the page; return 1 when a verdict is missed."""
    lead = (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}, "
        f"Python {platform.python_version()}, {seconds:.0f} s in all."
    )
    judged = "\n".join(f"- {'met' if is_met else '**MISSED**'}: {words}." for words, is_met in verdicts)
    section = "\n\n".join((lead, judged, *parts))
    sections = _read_sections() | {title: section}
    written = "\n\n".join((HEAD, *(f"## {name}\n\n{sections[name]}" for name in ORDER if name in sections)))
    PAGE.write_text(f"{written}\n", encoding="utf-8")
    print(f"## {title}\n\n{section}")
    return 0 if all(is_met for _, is_met in verdicts) else 1


def _read_sections() -> dict[str, str]:
    if not PAGE.is_file():
        return {}
    _, *chunks = PAGE.read_text(encoding="utf-8").split("\n## ")
    pairs = (chunk.partition("\n\n") for chunk in chunks)
    return {title: text.rstrip("\n") for title, _, text in pairs}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table."""
    lines = (" | ".join(cells) for cells in (head, ["---"] * len(head), *rows))
    return "\n".join(f"| {line} |" for line in lines)


def share(values: Sequence[float], part: float) -> float:
    """Return the value that so large a part of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
