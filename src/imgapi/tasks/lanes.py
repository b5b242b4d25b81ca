"""Lanes: the limits that all processes of an account keep together, as rows that a transaction locks.

A lane is one model of one account: so many running places, so many submits a second, and a line of tasks that is
served fairly between callers. Each caller's tasks get turns one apart from the caller's last one, or from the turn
being served when the caller has none waiting (start-time fair queueing), and the lowest turn is next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from imgapi.tasks.record import Stage, Status
from imgapi.tasks.tables import lanes, replicas, tasks

# A process that was not seen for so long is taken for dead: its tasks are others' to finish.
DEAD_SECONDS = 6.0
_SLOWEST = 8.0
_FARTHEST_SECONDS = 60.0


def insert_unless_there(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """Begin an insert that leaves a row of the same key as it is."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing()


def lock(connection: sa.Connection, name: str) -> sa.Row[Any]:
    """Make sure that the lane is there, keep others off it for this transaction, and return its row."""
    found = connection.execute(sa.select(lanes).where(lanes.c.name == name).with_for_update()).first()
    if found is None:
        fresh = {"name": name, "next_at": 0.0, "slow_until": 0.0, "slowdown": 1.0, "turn": 0.0}
        connection.execute(insert_unless_there(connection, lanes).values(fresh))
        found = connection.execute(sa.select(lanes).where(lanes.c.name == name).with_for_update()).one()
    return found


def _next_instant(row: sa.Row[Any], now: float, per_second: float) -> float:
    """Read when the lane's next instant is; one that lies too far ahead is from before the clock was set back."""
    return float(row.next_at) if row.next_at < now + _FARTHEST_SECONDS + 2 * _SLOWEST / per_second else now


def next_turn(connection: sa.Connection, name: str, caller: str) -> float:
    """Give a caller's new task its turn in the lane's line."""
    served = float(lock(connection, name).turn)
    waiting = sa.and_(tasks.c.lane == name, tasks.c.status == Status.QUEUED, tasks.c.caller == caller)
    last = connection.execute(sa.select(sa.func.max(tasks.c.turn)).where(waiting)).scalar()
    return max(served, last or 0.0) + 1.0


def take_pace(connection: sa.Connection, name: str, now: float, per_second: float) -> float:
    """Take the lane's next instant if it has come; return 0.0 then, else the seconds until it comes."""
    row = lock(connection, name)
    instant = _next_instant(row, now, per_second)
    if instant > now:
        return instant - now
    slowdown = row.slowdown if now < row.slow_until else 1.0
    _update(connection, name, next_at=now + slowdown / per_second)
    return 0.0


def reserve(connection: sa.Connection, name: str, now: float, per_second: float) -> float:
    """Take the lane's next instant, whenever it comes; return the seconds until it does."""
    row = lock(connection, name)
    at = max(now, _next_instant(row, now, per_second))
    slowdown = row.slowdown if now < row.slow_until else 1.0
    _update(connection, name, next_at=at + slowdown / per_second)
    return at - now


def slow_down(connection: sa.Connection, name: str, now: float, seconds: float) -> None:
    """Halve the lane's pace for some seconds, and hold it up at once: the upstream said that it is too much."""
    row = lock(connection, name)
    slowdown = min(_SLOWEST, row.slowdown * 2) if now < row.slow_until else 2.0
    _update(
        connection,
        name,
        slowdown=slowdown,
        slow_until=now + seconds,
        next_at=max(row.next_at, now + min(seconds, 1.0)),
    )


def _update(connection: sa.Connection, name: str, **values: float) -> None:
    connection.execute(lanes.update().where(lanes.c.name == name).values(values))


def _holding(name: str, now: float) -> sa.ColumnElement[bool]:
    is_held = sa.or_(tasks.c.place_until.is_(None), tasks.c.place_until > now)
    return sa.and_(tasks.c.lane == name, tasks.c.has_place.is_(sa.true()), is_held)


def grant(connection: sa.Connection, name: str, now: float, places: int) -> Sequence[str]:
    """Give the lane's free places to the tasks whose turn it is; return their ids.

    Tasks of dead processes are passed over until another process has taken them up.
    """
    row = lock(connection, name)
    held = connection.execute(sa.select(sa.func.count()).where(_holding(name, now))).scalar_one()
    if held >= places:
        return ()
    living = sa.select(replicas.c.id).where(replicas.c.seen_at > now - DEAD_SECONDS)
    waiting = sa.and_(
        tasks.c.lane == name,
        tasks.c.status == Status.QUEUED,
        tasks.c.stage == Stage.WAITING,
        tasks.c.has_place.is_(sa.false()),
        tasks.c.owner.in_(living),
    )
    next_ones = sa.select(tasks.c.id, tasks.c.turn).where(waiting)
    rows = connection.execute(next_ones.order_by(tasks.c.turn, tasks.c.created_at).limit(places - held)).all()
    if not rows:
        return ()
    ids = [each.id for each in rows]
    connection.execute(tasks.update().where(tasks.c.id.in_(ids)).values(has_place=True))
    _update(connection, name, turn=max(row.turn, *(each.turn for each in rows)))
    return ids


@dataclass(frozen=True, slots=True)
class Line:
    """How a lane stands, seen from one task: how many are ahead of it, and how many hold a place."""

    ahead: int
    running: int

    def start_seconds(self, places: int, usual_seconds: float) -> float:
        """Estimate how long until the task gets a place."""
        return max(0, self.ahead + self.running + 1 - places) * usual_seconds / places


def look(connection: sa.Connection, name: str, now: float, turn: float | None) -> Line:
    """See how the lane stands before a turn; before a turn at its end when None."""
    waiting = sa.and_(tasks.c.lane == name, tasks.c.status == Status.QUEUED, tasks.c.has_place.is_(sa.false()))
    if turn is not None:
        waiting = sa.and_(waiting, tasks.c.turn < turn)
    counts = [sa.select(sa.func.count()).select_from(tasks).where(which) for which in (waiting, _holding(name, now))]
    ahead, running = connection.execute(sa.select(*(each.scalar_subquery() for each in counts))).one()
    return Line(ahead, running)
