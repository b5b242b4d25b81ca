"""The SQL of deliveries: each is one event to be told to one receiver, with the attempts made so far."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy as sa

from imgapi.contract.deliveries import DeliveryState
from imgapi.tasks.lanes import insert_unless_there
from imgapi.tasks.tables import attempts, deliveries

PENDING: DeliveryState = "pending"
Told: TypeAlias = tuple[sa.Row[Any], Sequence[sa.Row[Any]]]
"""A delivery's row, and those of its attempts in order."""

# Replays are free; what is kept of them is bounded.
KEPT_ATTEMPTS = 50
_PROBLEM_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that one process may try until its lease runs out.

    Attributes:
        id: The `webhook-id`.
        task_id: The task it tells of.
        event: What happened.
        sealed_url: The receiver.
        created_at: When it happened.
        attempts: How many were made before.
        due_at: What it was due at; a replay meanwhile changes it.
        at: When it was claimed.
        leased_until: When another process may claim it.
    """

    id: str
    task_id: str
    event: str
    sealed_url: str
    created_at: float
    attempts: int
    due_at: float
    at: float
    leased_until: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt went.

    Attributes:
        seconds: How long it took.
        status: The receiver's HTTP status.
        problem: What went wrong, in one sentence.
    """

    seconds: float
    status: int | None = None
    problem: str | None = None


def plan_delivery(connection: sa.Connection, *, now: float, task_id: str, event: str, sealed_url: str) -> str:
    """Write down, in the transaction that ends a task, that its end is to be told; return the delivery's id.

    The id follows from the task and the event, so that one end is never told under two.
    """
    digest = hashlib.sha256(f"{task_id}.{event}".encode()).hexdigest()
    delivery_id = f"msg_{digest[:32]}"
    row = {
        "id": delivery_id,
        "task_id": task_id,
        "event": event,
        "url": sealed_url,
        "state": PENDING,
        "attempts": 0,
        "due_at": now,
        "leased_until": 0.0,
        "created_at": now,
    }
    connection.execute(insert_unless_there(connection, deliveries).values(row))
    return delivery_id


def claim_due(connection: sa.Connection, *, now: float, most: int, lease_seconds: float) -> Sequence[Claim]:
    """Take up to `most` due deliveries that no process is trying, those due longest first."""
    is_free = sa.and_(deliveries.c.due_at <= now, deliveries.c.leased_until <= now)
    due = sa.select(deliveries).where(deliveries.c.state == PENDING, is_free).order_by(deliveries.c.due_at).limit(most)
    rows = connection.execute(due.with_for_update(skip_locked=True)).all()
    if not rows:
        return ()
    until = now + lease_seconds
    ids = [row.id for row in rows]
    connection.execute(deliveries.update().where(deliveries.c.id.in_(ids)).values(leased_until=until))
    return [
        Claim(row.id, row.task_id, row.event, row.url, row.created_at, row.attempts, row.due_at, now, until)
        for row in rows
    ]


def next_instant(connection: sa.Connection) -> float | None:
    """When the next delivery falls due, or the lease on one that is due runs out; None when none is pending."""
    is_leased = deliveries.c.leased_until > deliveries.c.due_at
    free_at = sa.case((is_leased, deliveries.c.leased_until), else_=deliveries.c.due_at)
    found = connection.execute(sa.select(sa.func.min(free_at)).where(deliveries.c.state == PENDING)).scalar()
    return None if found is None else float(found)


def settle(
    connection: sa.Connection, claim: Claim, attempt: Attempt | None, state: DeliveryState, due_at: float
) -> None:
    """Write down how an attempt went and what follows from it.

    Args:
        connection: A transaction.
        claim: What was tried.
        attempt: How it went; None when nothing was sent.
        state: The delivery's state from now on.
        due_at: When it is tried next, while it is pending.
    """
    row = connection.execute(sa.select(deliveries).where(deliveries.c.id == claim.id).with_for_update()).first()
    if row is None:
        return
    changes: dict[str, Any] = {}
    if attempt is not None:
        changes["attempts"] = row.attempts + 1
        _add_attempt(connection, claim, row.attempts + 1, attempt)
    is_mine = row.leased_until == claim.leased_until
    if is_mine:
        changes["leased_until"] = 0.0
    # A replay was asked for meanwhile: that is what follows.
    is_replayed = is_mine and row.due_at != claim.due_at
    # Once the lease has run out, another process decides what follows from a failure; a success is one in any case.
    if row.state == PENDING and not is_replayed and (is_mine or state == "delivered"):
        changes["state"] = state
        if state == PENDING:
            changes["due_at"] = due_at
    if changes:
        connection.execute(deliveries.update().where(deliveries.c.id == claim.id).values(changes))


def _add_attempt(connection: sa.Connection, claim: Claim, number: int, attempt: Attempt) -> None:
    problem = None if attempt.problem is None else attempt.problem[:_PROBLEM_CHARACTERS]
    row = {
        "delivery_id": claim.id,
        "number": number,
        "at": claim.at,
        "seconds": attempt.seconds,
        "status": attempt.status,
        "problem": problem,
    }
    connection.execute(attempts.insert().values(row))
    too_old = sa.and_(attempts.c.delivery_id == claim.id, attempts.c.number <= number - KEPT_ATTEMPTS)
    connection.execute(attempts.delete().where(too_old))


def release(connection: sa.Connection, claims: Iterable[Claim]) -> None:
    """Let others claim at once what this process won't finish."""
    for claim in claims:
        is_mine = sa.and_(deliveries.c.id == claim.id, deliveries.c.leased_until == claim.leased_until)
        connection.execute(deliveries.update().where(is_mine).values(leased_until=0.0))


def release_all(connection: sa.Connection) -> None:
    """End every lease: whoever held one is known to be gone."""
    connection.execute(deliveries.update().where(deliveries.c.leased_until > 0.0).values(leased_until=0.0))


def make_due(connection: sa.Connection, *, now: float, task_id: str, delivery_id: str) -> bool:
    """Have a delivery tried again now, whatever its state; return whether there is such a one."""
    which = sa.and_(deliveries.c.id == delivery_id, deliveries.c.task_id == task_id)
    done = connection.execute(deliveries.update().where(which).values(state=PENDING, due_at=now))
    return done.rowcount == 1


def read_deliveries(connection: sa.Connection, task_id: str) -> Sequence[Told]:
    """Read a task's deliveries, the oldest first, each with its attempts in order."""
    of_task = sa.select(deliveries).where(deliveries.c.task_id == task_id)
    rows = connection.execute(of_task.order_by(deliveries.c.created_at, deliveries.c.id)).all()
    made = sa.select(attempts).where(attempts.c.delivery_id.in_([row.id for row in rows])).order_by(attempts.c.number)
    found = connection.execute(made).all() if rows else ()
    return [(row, [attempt for attempt in found if attempt.delivery_id == row.id]) for row in rows]


def forget(connection: sa.Connection, task_ids: Sequence[str]) -> None:
    """Delete all that is kept of the deliveries of some tasks."""
    of_tasks = sa.select(deliveries.c.id).where(deliveries.c.task_id.in_(task_ids))
    connection.execute(attempts.delete().where(attempts.c.delivery_id.in_(of_tasks)))
    connection.execute(deliveries.delete().where(deliveries.c.task_id.in_(task_ids)))
