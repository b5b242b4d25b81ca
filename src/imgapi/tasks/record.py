"""What is known of a task: its row in the tasks database, in our words."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import sqlalchemy as sa

Billed = Literal["true", "false", "unknown"]


class Status(StrEnum):
    """What callers are told; a closed set."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether it is the task's last."""
        return self in {Status.SUCCEEDED, Status.FAILED, Status.CANCELED}


class Stage(StrEnum):
    """How far the work has come; decides what a restart does next."""

    ACCEPTED = "accepted"
    # The inputs are ready and the task stands in its model's line.
    WAITING = "waiting"
    # The intent to submit is recorded: from here on a submit may have been received.
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    # The upstream has ended it well; what it made is being kept.
    MADE = "made"
    ENDED = "ended"
    # What it said and made is forgotten; that it was is not.
    EXPIRED = "expired"


UNDER_WAY = (Status.QUEUED, Status.RUNNING)


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """One row of the table of tasks; see `tables.tasks` for what the fields mean."""

    id: str
    operation: str
    caller: str
    status: Status
    stage: Stage
    owner: str
    touched_at: float
    request: str | None
    wanted: int
    lane: str
    turn: float
    has_place: bool
    place_until: float | None
    model: str | None
    prepared: str | None
    upstream_task_id: str | None
    created_at: float
    prepared_at: float | None
    submitted_at: float | None
    started_at: float | None
    ended_at: float | None
    expires_at: float | None
    billed: Billed
    made: int
    price: float
    report: str | None
    reply: str | None
    error: str | None
    inputs: str
    results: str
    webhook: str | None


def read_record(row: sa.Row[Any]) -> TaskRecord:
    """Turn a row into a record."""
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to read a row by name
    return TaskRecord(**{**fields, "status": Status(fields["status"]), "stage": Stage(fields["stage"])})


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose task it is.

    Args:
        name: The name of the caller's API key; empty where none is needed.
        images_per_month: Pictures that its edits may make in a calendar month (UTC); None is no limit.
    """

    name: str = ""
    images_per_month: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a caller asks for beside the edit itself.

    Args:
        payer: Whose task it is.
        idempotency_key: Names the request, so that sending it twice makes one task.
        webhook: Where the task's end is to be told.
    """

    payer: Payer = Payer()
    idempotency_key: str | None = None
    webhook: str | None = None
