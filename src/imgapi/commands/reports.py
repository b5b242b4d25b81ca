"""What a command says while it works: results on standard output, everything else on standard error."""

import json
import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from imgapi.commands.outcomes import Outcome

_SHOWN_CHARACTERS = 48


class Reporter:
    """Tells how far a command is: a line or path for each picture, and bars where somebody looks at them.

    Attributes:
        outcomes: What became of the pictures, in the order of their ends.

    Args:
        count: How many pictures there are.
        as_json: Whether each outcome is written as a line of JSON.
        is_standard_taken: Whether standard output is for a picture.
    """

    def __init__(self, count: int, *, as_json: bool, is_standard_taken: bool = False) -> None:
        self._as_json = as_json
        self._is_silent = is_standard_taken
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._count = count
        self._all = self._progress.add_task(f"0 of {count}", total=count, visible=count > 1)
        self._rows: dict[str, TaskID] = {}
        self.outcomes: list[Outcome] = []

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def note(self, sentence: str) -> None:
        """Say something on standard error."""
        self._console.print(Text(f"imgapi: {readable(sentence)}"))

    def began(self, name: str) -> None:
        """Show that a picture is being worked on."""
        self._rows[name] = self._progress.add_task(_short(name), total=None)

    def changed(self, name: str, task: Mapping[str, Any]) -> None:
        """Show how a picture's task stands."""
        if name in self._rows:
            self._progress.update(self._rows[name], description=f"{_short(name)}  {describe(task)}")

    def ended(self, name: str, outcome: Outcome) -> None:
        """Tell what became of a picture."""
        self.outcomes.append(outcome)
        if name in self._rows:
            self._progress.remove_task(self._rows.pop(name))
        self._progress.update(self._all, advance=1, description=f"{len(self.outcomes)} of {self._count}")
        if outcome.error is not None:
            self.note(f"{outcome.source}: {outcome.error}")
        if self._as_json:
            self._write(json.dumps(outcome.as_json()))
        elif not self._is_silent:
            for path in outcome.outputs:
                self._write(str(path))

    def _write(self, line: str) -> None:
        if sys.stdout.isatty() and self._console.is_terminal:
            # Above the bars, which would else be written into.
            self._console.print(Text(readable(line)))
            return
        # File names need not be text.
        sys.stdout.buffer.write(os.fsencode(line) + b"\n")
        sys.stdout.buffer.flush()


def describe(task: Mapping[str, Any]) -> str:
    """Say in a few words how a task stands."""
    if task.get("status") == "queued" and "queue_position" in task:
        return f"waits, place {task['queue_position']}, about {task.get('estimated_seconds', 0):.0f} s"
    return str(task.get("status", ""))


def readable(text: str) -> str:
    """Replace what a terminal would obey rather than show."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _short(name: str) -> str:
    shown = readable(name)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"…{shown[1 - _SHOWN_CHARACTERS :]}"
