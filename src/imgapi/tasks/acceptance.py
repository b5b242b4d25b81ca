"""Acceptance: what must hold before a task is written down, and the row it begins with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from imgapi.errors import IdempotencyConflict, Overloaded, QueueTooLong
from imgapi.tasks import lanes
from imgapi.tasks.record import UNDER_WAY, Stage, Status, Terms
from imgapi.tasks.tables import idempotency, tasks

IDEMPOTENCY_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task as it is accepted.

    Args:
        id: Its id.
        operation: What it does.
        request: Sealed.
        digest: Tells requests apart that come with one idempotency key; empty where none came.
        wanted: How many pictures are asked for.
        lane: The lane it will stand in.
        price: What one of its pictures costs by the list, CNY.
        inputs: Names of stored files that only this task needs.
        webhook: Sealed.
    """

    id: str
    operation: str
    request: str
    digest: str
    wanted: int
    lane: str
    price: float
    inputs: Sequence[str] = ()
    webhook: str | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """What must hold for one more task to be accepted.

    Args:
        max_tasks: Tasks under way, of all lanes.
        max_waiting: Tasks waiting in this lane; None is no bound.
        places: The lane's running places.
        usual_seconds: How long a task of the lane runs.
        max_seconds: How long the wait for a place may be.
    """

    max_tasks: int
    max_waiting: int | None
    places: int
    usual_seconds: float
    max_seconds: float


def find_earlier(connection: sa.Connection, terms: Terms, digest: str, now: float) -> str | None:
    """Find the task that the same request made under its idempotency key before.

    Raises:
        IdempotencyConflict: That was another request.
    """
    if terms.idempotency_key is None:
        return None
    mine = sa.select(idempotency).filter_by(caller=terms.payer.name, key=terms.idempotency_key)
    found = connection.execute(mine.where(idempotency.c.created_at >= now - IDEMPOTENCY_SECONDS)).first()
    if found is None:
        return None
    if found.digest != digest:
        message = (
            "This Idempotency-Key came with another request in the last 24 hours; send a new key with a new request."
        )
        raise IdempotencyConflict(message)
    return str(found.task_id)


def claim_key(connection: sa.Connection, new: NewTask, terms: Terms, now: float) -> str | None:
    """Claim the idempotency key for a new task; return the task that has claimed it before, if any.

    Raises:
        IdempotencyConflict: That was another request.
    """
    if terms.idempotency_key is None:
        return None
    connection.execute(idempotency.delete().where(idempotency.c.created_at < now - IDEMPOTENCY_SECONDS))
    row = {"caller": terms.payer.name, "key": terms.idempotency_key, "digest": new.digest, "task_id": new.id}
    claim = lanes.insert_unless_there(connection, idempotency).values(row | {"created_at": now})
    # What an insert counts is not said on every database; that it returns its row is.
    is_mine = connection.execute(claim.returning(idempotency.c.task_id)).first() is not None
    return None if is_mine else find_earlier(connection, terms, new.digest, now)


def require_room(connection: sa.Connection, lane: str, now: float, room: Room) -> None:
    """Refuse a task for which there is no room.

    Raises:
        Overloaded: There is none; `QueueTooLong` where it would wait too long.
    """
    under_way = sa.select(sa.func.count()).where(tasks.c.status.in_(UNDER_WAY))
    if connection.execute(under_way).scalar_one() >= room.max_tasks:
        message = f"{room.max_tasks} edits are already under way; nothing was started, so try again later."
        raise Overloaded(message, retry_after=5.0)
    line = lanes.look(connection, lane, now, None)
    if room.max_waiting is not None and line.ahead >= room.max_waiting:
        message = f"{line.ahead} tasks already wait for this model; nothing was started, so try again later."
        raise Overloaded(message, retry_after=line.start_seconds(room.places, room.usual_seconds))
    seconds = line.start_seconds(room.places, room.usual_seconds)
    if seconds > room.max_seconds:
        message = (
            f"{line.ahead} tasks wait already, and one more would wait about {seconds:.0f} s, longer than the "
            f"{room.max_seconds:.0f} s that this server allows; nothing was started, so try again later."
        )
        raise QueueTooLong(message, retry_after=seconds - room.max_seconds)


def fresh_row(new: NewTask, terms: Terms, turn: float, now: float, owner: str) -> dict[str, Any]:
    """Write the row that a task begins with."""
    return {
        "id": new.id,
        "operation": new.operation,
        "caller": terms.payer.name,
        "status": Status.QUEUED,
        "stage": Stage.ACCEPTED,
        "owner": owner,
        "touched_at": now,
        "request": new.request,
        "wanted": new.wanted,
        "lane": new.lane,
        "turn": turn,
        "has_place": False,
        "created_at": now,
        "billed": "false",
        "made": 0,
        "price": new.price,
        "inputs": json.dumps(list(new.inputs)),
        "results": "[]",
        "webhook": new.webhook,
    }
