"""The judge of the process tests, on records whose verdict is known: a judge that lets all pass proves nothing."""

import json
from typing import Any

import pytest

from e2e.judge import Record, Span, busiest_stretch, judge_ends, judge_fates, most_running, used_places, used_rate
from e2e.receiver import Delivery


def submit(number: int, prompt: str, *, started: float = 0.0, status: int | None = 200) -> dict[str, Any]:
    """A submit as the upstream records it."""
    body = json.dumps({"model": "m", "input": {"prompt": prompt}})
    ended = None if status is None else started + 0.01
    return {
        "number": number,
        "call": "submit",
        "model": "m",
        "body": body,
        "started": started,
        "ended": ended,
        "status": status,
    }


def delivery(task_id: str, event: str, event_id: str) -> Delivery:
    """A webhook request."""
    content = json.dumps({"type": event, "data": {"task_id": task_id}}).encode()
    return Delivery(0.0, {"webhook-id": event_id}, content)


@pytest.mark.parametrize("first", [200, 500, None])
def test_second_submit_is_an_offence_unless_the_first_was_refused(first: int | None) -> None:
    """A repeated submit is found when the first may have been accepted: answered, failed or never answered."""
    record = Record().take([submit(1, "a", status=first), submit(2, "a")])
    assert record.doubles == {"a": 2}
    assert judge_fates({}, {}, record) == ["'a' was submitted 2 times"]


@pytest.mark.parametrize("first", [429, 503, 400])
def test_submit_after_a_refusal_is_no_offence(first: int) -> None:
    """A submit may be repeated when it is certain that nothing was accepted."""
    assert Record().take([submit(1, "a", status=first), submit(2, "a")]).doubles == {}


def test_forgotten_calls_are_noticed() -> None:
    """A gap in the numbers means that the judge has not seen everything, and is an error."""
    with pytest.raises(AssertionError, match="1 calls were forgotten"):
        Record().take([submit(1, "a"), submit(3, "b")])


@pytest.mark.parametrize(
    ("task", "submits", "offences"),
    [
        ({"status": "succeeded", "billed": True}, 1, 0),
        ({"status": "succeeded", "billed": True}, 0, 1),
        ({"status": "succeeded", "billed": False}, 1, 0),
        ({"status": "succeeded", "billed": "unknown"}, 1, 1),
        ({"status": "failed", "billed": "unknown"}, 0, 0),
        ({"status": "failed", "billed": "unknown"}, 1, 0),
        ({"status": "failed", "billed": False}, 1, 1),
        ({"status": "failed", "billed": False}, 0, 0),
        ({"status": "failed", "billed": True}, 0, 1),
    ],
)
def test_end_must_fit_what_the_upstream_saw(task: dict[str, Any], submits: int, offences: int) -> None:
    """A success needs its submit, a lost submit may not be called free, and nothing is billed unseen."""
    record = Record().take(submit(number + 1, "a") for number in range(submits))
    assert len(judge_fates({"t": "a"}, {"t": task}, record)) == offences


@pytest.mark.parametrize(
    ("deliveries", "offences"),
    [
        ([("task.succeeded", "1")], 0),
        ([("task.succeeded", "1"), ("task.succeeded", "1")], 0),
        ([("task.succeeded", "1"), ("task.succeeded", "2")], 1),
        ([("task.succeeded", "1"), ("task.failed", "2")], 1),
        ([("task.failed", "1")], 1),
        ([], 1),
    ],
)
def test_end_is_told_once(deliveries: list[tuple[str, str]], offences: int) -> None:
    """An end is told under one event id, as often as needed, and as what it is."""
    told = [delivery("t", event, event_id) for event, event_id in deliveries]
    assert len(judge_ends({"t": {"status": "succeeded"}}, told)) == offences


def test_busiest_stretch_is_found_wherever_it_begins() -> None:
    """Three events within 0.9 s count as three, a fourth exactly one second after the first does not."""
    assert busiest_stretch([0.5, 0.9, 1.4, 1.5]) == 3
    assert busiest_stretch([]) == 0


def test_running_tasks_are_counted_from_acceptance_to_end() -> None:
    """One that ends as another begins makes room; one without an end stays."""
    spans = [Span("m", 0, 2), Span("m", 1, 3), Span("m", 2, None), Span("m", 9, None), Span("other", 1, 9)]
    assert most_running(spans, "m") == 2


def test_used_places_is_the_share_of_the_backlog() -> None:
    """Two places with one of them empty for a quarter of the backlog are used to seven eighths."""
    spans = [Span("m", 0, 4), Span("m", 0, 3), Span("m", 4, 9), Span("m", 4, 9)]
    assert used_places(spans, 2) == pytest.approx(7 / 8)


def test_used_rate_counts_intervals() -> None:
    """Five events in two seconds are four intervals: the whole of two a second, half of four."""
    instants = [0.0, 0.5, 1.0, 1.5, 2.0]
    assert used_rate(instants, 2) == pytest.approx(1.0)
    assert used_rate(instants, 4) == pytest.approx(0.5)
