"""Judges a service by the emulator's own record of requests, and by what callers and webhook receivers were told."""

import itertools
import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from e2e.receiver import Delivery

WINDOW_SECONDS = 1.0
# Refused before anything was accepted: such a submit may be sent again.
REFUSALS = frozenset({*range(400, 500), 503})


@dataclass(frozen=True, slots=True)
class Submit:
    """One submit call as the upstream saw it; instants are of the monotonic clock, `ended` None while it lasts."""

    model: str
    prompt: str
    started: float
    ended: float | None
    status: int | None

    @property
    def was_refused(self) -> bool:
        """Whether it is certain that nothing was accepted."""
        return self.status in REFUSALS


@dataclass(slots=True)
class Record:
    """All calls the upstream has received; filled from its record, which forgets the oldest, as often as needed.

    Attributes:
        calls: By number.
    """

    calls: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def take(self, calls: Iterable[Mapping[str, Any]]) -> "Record":
        """Add calls, and what has become of those already known.

        Raises:
            AssertionError: Calls were forgotten upstream before they were taken.
        """
        for call in calls:
            self.calls[call["number"]] = call
        lost = max(self.calls, default=0) - len(self.calls)
        assert not lost, f"{lost} calls were forgotten before they were read"
        return self

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        """The calls of one kind, oldest first."""
        return [call for _, call in sorted(self.calls.items()) if call["call"] == kind]

    @property
    def submits(self) -> list[Submit]:
        """Every submit, oldest first."""
        return [
            Submit(call["model"] or "", read_prompt(call["body"]), call["started"], call["ended"], call["status"])
            for call in self.of("submit")
        ]

    def submits_of(self, prompt: str) -> list[Submit]:
        """The submits of one task that may have been accepted."""
        return [submit for submit in self.submits if submit.prompt == prompt and not submit.was_refused]

    @property
    def doubles(self) -> dict[str, int]:
        """The prompts that were submitted more than once, although the first may have been accepted."""
        counts = Counter(submit.prompt for submit in self.submits if not submit.was_refused)
        return {prompt: count for prompt, count in counts.items() if count > 1}

    @property
    def models(self) -> set[str]:
        """The models that were submitted to."""
        return {submit.model for submit in self.submits}

    def most_submits(self, model: str, seconds: float = WINDOW_SECONDS) -> int:
        """The most submits to a model in any stretch of so many seconds."""
        return busiest_stretch((submit.started for submit in self.submits if submit.model == model), seconds)

    def most_looks(self, seconds: float = WINDOW_SECONDS) -> int:
        """The most queries of single tasks in any stretch of so many seconds."""
        return busiest_stretch((call["started"] for call in self.of("poll")), seconds)


@dataclass(frozen=True, slots=True)
class Span:
    """One task at the upstream by its own list, seconds since the epoch: accepted, ended (None while it lasts)."""

    model: str
    accepted: float
    ended: float | None


def read_spans(rows: Iterable[Mapping[str, Any]]) -> list[Span]:
    """Read the upstream's list of tasks, in the order of acceptance."""
    spans = (
        Span(row["model_name"], row["gmt_create"] / 1000, row["end_time"] / 1000 if "end_time" in row else None)
        for row in rows
    )
    return sorted(spans, key=lambda span: span.accepted)


def most_running(spans: Iterable[Span], model: str) -> int:
    """Count the most tasks of a model that the upstream had at one time, from acceptance to end."""
    of_model = [span for span in spans if span.model == model]
    starts = [(span.accepted, 1) for span in of_model]
    ends = [(span.ended, -1) for span in of_model if span.ended is not None]
    return max(itertools.accumulate(change for _, change in sorted(starts + ends)), default=0)


def used_places(spans: Sequence[Span], places: int) -> float:
    """Return which share of the running places was in use while there was a backlog.

    The backlog lasts from the moment the places are first full to the acceptance of the last task.
    """
    begin, end = spans[places - 1].accepted, spans[-1].accepted
    used = sum(
        max(0.0, min(end, end if span.ended is None else span.ended) - max(begin, span.accepted)) for span in spans
    )
    return used / (places * (end - begin))


def used_rate(instants: Sequence[float], per_second: float) -> float:
    """Return which share of an allowed rate was used between the first and the last of some instants."""
    ordered = sorted(instants)
    return (len(ordered) - 1) / (ordered[-1] - ordered[0]) / per_second


def busiest_stretch(instants: Iterable[float], seconds: float = WINDOW_SECONDS) -> int:
    """Count the most events in any stretch of so many seconds, its end left out."""
    ordered = sorted(instants)
    return max((bisect_left(ordered, start + seconds) - at for at, start in enumerate(ordered)), default=0)


def read_prompt(body: str) -> str:
    """Return the prompt of a submit's body as the record keeps it; empty when the body has none."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        return ""
    return str(document.get("input", {}).get("prompt", "")) if isinstance(document, dict) else ""


def judge_ends(tasks: Mapping[str, Mapping[str, Any]], deliveries: Sequence[Delivery]) -> list[str]:
    """Return what is wrong with the ends of some tasks, by what their webhooks told; empty when all is well.

    Each task has one terminal event, delivered at least once, always under one id, that says what its status says.
    """
    told: dict[str, set[tuple[str, str]]] = {}
    for delivery in deliveries:
        told.setdefault(delivery.task_id, set()).add((delivery.event_id, delivery.event))
    offences = []
    for task_id, task in tasks.items():
        events = told.get(task_id, set())
        if [event for _, event in events] != [f"task.{task['status']}"]:
            offences.append(f"{task_id} is {task['status']}, its webhooks told {sorted(events)}")
    return offences


def judge_fates(prompts: Mapping[str, str], tasks: Mapping[str, Mapping[str, Any]], record: Record) -> list[str]:
    """Return where a task's end contradicts what the upstream saw of it; empty when all is well.

    Args:
        prompts: The prompt of each task, by the task's id.
        tasks: The ended tasks' JSON, by id.
        record: The upstream's record.
    """
    offences = [f"{prompt!r} was submitted {count} times" for prompt, count in record.doubles.items()]
    for task_id, task in tasks.items():
        submits = record.submits_of(prompts[task_id])
        if task["status"] == "succeeded" and len(submits) != 1:
            offences.append(f"{task_id} succeeded with {len(submits)} submits")
        if task["status"] != "succeeded" and submits and task.get("billed") is False:
            offences.append(f"{task_id} is {task['status']} and billed false, although it was submitted")
        if task["status"] != "succeeded" and not submits and task.get("billed") is True:
            offences.append(f"{task_id} is {task['status']} and billed, although it was never submitted")
        # The emulator's pictures cost nothing, and its answers say so: a success may be billed false.
        if task["status"] == "succeeded" and task.get("billed") not in {True, False}:
            offences.append(f"{task_id} succeeded and is billed {task.get('billed')!r}")
    return offences
