"""The ledger: every task's row, and the only transactions that change one.

Each change names the stages it may start from, so that of two that meet, one wins; the loser hears that it has lost.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from imgapi.errors import ImgapiError
from imgapi.tasks import deliveries, lanes, months
from imgapi.tasks.acceptance import NewTask, Room, claim_key, find_earlier, fresh_row, require_room
from imgapi.tasks.changes import Changes
from imgapi.tasks.database import Database
from imgapi.tasks.record import UNDER_WAY, Billed, Stage, Status, TaskRecord, Terms, read_record
from imgapi.tasks.tables import events, idempotency, tasks

T = TypeVar("T")
BEFORE_SUBMIT = (Stage.ACCEPTED, Stage.WAITING)


@dataclass(frozen=True, slots=True)
class End:
    """How a task ended; `reply` is sealed JSON, `error` the public fields of a failure.

    `hold_place_seconds` keeps its running place for so long: the upstream may still be at work on it.
    """

    status: Status
    billed: Billed
    made: int = 0
    reply: str | None = None
    error: dict[str, Any] | None = None
    results: Sequence[str] = ()
    hold_place_seconds: float | None = None


@dataclass(slots=True)
class Ledger:
    """Reads and changes tasks.

    Args:
        database: Where they are kept.
        changes: Told of every change.
        owner: The id of this process.
        ttl_seconds: How long a task is kept after its end.
        planned: Told when the word to a webhook was planned.
        count_end: Told of each task that this process ends: its operation, the list price of a picture, and how.
    """

    database: Database
    changes: Changes
    owner: str
    ttl_seconds: float
    planned: Callable[[], None] = lambda: None
    count_end: Callable[[str, float, End], None] = lambda _operation, _price, _end: None

    async def _change(
        self, task_id: str, work: Callable[[sa.Connection, float], T], *also: str, is_patient: bool = False
    ) -> T:
        def transact(connection: sa.Connection) -> T:
            done = work(connection, self.database.now(connection))
            for subject in (task_id, *also):
                self.database.tell(connection, subject)
            return done

        done = await (self.database.run_patiently(transact) if is_patient else self.database.run(transact))
        for subject in (task_id, *also):
            self.changes.tell(subject)
        return done

    async def accept(self, new: NewTask, terms: Terms, room: Room) -> tuple[str, bool]:
        """Record a task, or find the one that the same idempotency key made; return its id and whether it is new.

        Raises:
            IdempotencyConflict: The key came with another body before.
            QuotaExceeded: The payer has no pictures left in this month.
            Overloaded: There is no room; nothing was recorded.
        """

        def work(connection: sa.Connection, now: float) -> tuple[str, bool]:
            if (earlier := claim_key(connection, new, terms, now)) is not None:
                return earlier, False
            require_room(connection, new.lane, now, room)
            months.take(connection, terms.payer, new.wanted, now)
            turn = lanes.next_turn(connection, new.lane, terms.payer.name)
            connection.execute(tasks.insert().values(fresh_row(new, terms, turn, now, self.owner)))
            _add_events(connection, new.id, now, Status.QUEUED)
            return new.id, True

        return await self._change(new.id, work)

    async def earlier(self, terms: Terms, digest: str) -> str | None:
        """Find the task that the same request made under its idempotency key before.

        Raises:
            IdempotencyConflict: That was another request.
        """
        if terms.idempotency_key is None:
            return None

        def work(connection: sa.Connection) -> str | None:
            return find_earlier(connection, terms, digest, self.database.now(connection))

        return await self.database.run(work)

    async def get(self, task_id: str) -> TaskRecord | None:
        """Read a task."""

        def work(connection: sa.Connection) -> TaskRecord | None:
            row = connection.execute(sa.select(tasks).where(tasks.c.id == task_id)).first()
            return None if row is None else read_record(row)

        return await self.database.run(work)

    async def look(self, task_id: str) -> tuple[TaskRecord, lanes.Line] | None:
        """Read a task together with how its lane stands before it."""

        def work(connection: sa.Connection) -> tuple[TaskRecord, lanes.Line] | None:
            row = connection.execute(sa.select(tasks).where(tasks.c.id == task_id)).first()
            if row is None:
                return None
            record = read_record(row)
            return record, self._line(connection, record)

        return await self.database.run(work)

    def _line(self, connection: sa.Connection, record: TaskRecord) -> lanes.Line:
        if record.status is not Status.QUEUED:
            return lanes.Line(0, 0)
        turn = float("-inf") if record.has_place else record.turn
        return lanes.look(connection, record.lane, self.database.now(connection), turn)

    async def list(
        self, caller: str, *, status: str | None, operation: str | None, limit: int, before: tuple[float, str] | None
    ) -> Sequence[tuple[TaskRecord, lanes.Line]]:
        """Read a caller's tasks with their lines, the newest first.

        `before` is the instant and the id of the last one seen.
        """
        query = sa.select(tasks).where(tasks.c.caller == caller, tasks.c.stage != Stage.EXPIRED)
        if status is not None:
            query = query.where(tasks.c.status == status)
        if operation is not None:
            query = query.where(tasks.c.operation == operation)
        if before is not None:
            at, task_id = before
            query = query.where(
                sa.or_(tasks.c.created_at < at, sa.and_(tasks.c.created_at == at, tasks.c.id < task_id))
            )
        query = query.order_by(tasks.c.created_at.desc(), tasks.c.id.desc()).limit(limit)

        def work(connection: sa.Connection) -> Sequence[tuple[TaskRecord, lanes.Line]]:
            records = [read_record(row) for row in connection.execute(query)]
            return [(record, self._line(connection, record)) for record in records]

        return await self.database.run(work)

    async def events(self, task_id: str, after: int) -> Sequence[tuple[int, str]]:
        """Read the numbers and names of a task's events after a number."""
        query = sa.select(events.c.number, events.c.event).where(events.c.task_id == task_id, events.c.number > after)

        def work(connection: sa.Connection) -> Sequence[tuple[int, str]]:
            return [(row.number, row.event) for row in connection.execute(query.order_by(events.c.number))]

        return await self.database.run(work)

    async def take_up(self, task_id: str) -> TaskRecord | None:
        """Make this process the one that works on a task; return it, or None when it has ended or is unknown."""

        def work(connection: sa.Connection) -> TaskRecord | None:
            row = connection.execute(sa.select(tasks).where(tasks.c.id == task_id).with_for_update()).first()
            if row is None or row.status not in UNDER_WAY:
                return None
            mine = {"owner": self.owner, "touched_at": self.database.now(connection)}
            connection.execute(tasks.update().where(tasks.c.id == task_id).values(mine))
            if row.owner != self.owner:
                self.database.tell(connection, task_id)
            return read_record(row)

        record = await self.database.run(work)
        if record is not None and record.owner != self.owner:
            # Who had it may still wait with it.
            self.changes.tell(task_id)
        return record

    async def advance(self, task_id: str, start: Sequence[Stage], **values: Any) -> bool:
        """Write what has come of a task that is still this process's and at one of the stages; return whether it is.

        Nobody is told: callers see nothing of it.
        """
        return await self.database.run(lambda connection: self._update(connection, task_id, start, values))

    def _update(self, connection: sa.Connection, task_id: str, start: Sequence[Stage], values: dict[str, Any]) -> bool:
        mine = sa.and_(
            tasks.c.id == task_id,
            tasks.c.owner == self.owner,
            tasks.c.status.in_(UNDER_WAY),
            tasks.c.stage.in_(start),
        )
        return connection.execute(tasks.update().where(mine).values(values)).rowcount == 1

    async def change_lane(self, task_id: str, lane: str, price: float) -> bool:
        """Put a task whose model is gone at the end of another lane; return whether it is still this process's."""

        def work(connection: sa.Connection, _now: float) -> bool:
            row = connection.execute(sa.select(tasks.c.caller, tasks.c.lane).where(tasks.c.id == task_id)).first()
            if row is None:
                return False
            values: dict[str, Any] = {"stage": Stage.ACCEPTED, "has_place": False, "price": price}
            if row.lane != lane:
                values |= {"lane": lane, "turn": lanes.next_turn(connection, lane, row.caller)}
            return self._update(connection, task_id, (*BEFORE_SUBMIT, Stage.SUBMITTING), values)

        return await self._change(task_id, work, lane)

    async def grant(self, lane: str, places: int) -> Sequence[str]:
        """Give the lane's free places to the tasks whose turn it is; return their ids."""

        def work(connection: sa.Connection) -> Sequence[str]:
            granted = lanes.grant(connection, lane, self.database.now(connection), places)
            for task_id in granted:
                self.database.tell(connection, task_id)
            return granted

        granted = await self.database.run(work)
        for task_id in granted:
            self.changes.tell(task_id)
        return granted

    async def begin_submit(self, task_id: str, lane: str, per_second: float) -> float | None:
        """Record the intent to submit, if the task has its place and the lane's pace lets it.

        Returns:
            0.0 when the submit is to be sent now; else the seconds until another try; None when the task is no longer
            this process's to submit.
        """

        def work(connection: sa.Connection) -> float | None:
            now = self.database.now(connection)
            pause = lanes.take_pace(connection, lane, now, per_second)
            if pause > 0:
                return pause
            values = {"stage": Stage.SUBMITTING, "submitted_at": now}
            return 0.0 if self._update(connection, task_id, (Stage.WAITING,), values) else None

        return await self.database.run(work)

    async def accepted(self, task_id: str, upstream_task_id: str | None) -> bool:
        """Record that the upstream has accepted a task."""

        def work(connection: sa.Connection, now: float) -> bool:
            values = {"stage": Stage.SUBMITTED, "status": Status.RUNNING, "upstream_task_id": upstream_task_id}
            won = self._update(connection, task_id, (Stage.SUBMITTING,), values | {"started_at": now})
            if won:
                _add_events(connection, task_id, now, "submitted", Status.RUNNING)
            return won

        return await self._change(task_id, work, is_patient=True)

    async def begin_local(self, task_id: str) -> bool:
        """Record that the work has begun here."""

        def work(connection: sa.Connection, now: float) -> bool:
            values = {"status": Status.RUNNING, "started_at": now}
            won = self._update(connection, task_id, (Stage.ACCEPTED,), values)
            if won:
                _add_events(connection, task_id, now, Status.RUNNING)
            return won

        return await self._change(task_id, work)

    async def remove(self, task_id: str) -> None:
        """Remove a task and everything that is kept of it."""

        def work(connection: sa.Connection, _now: float) -> None:
            connection.execute(events.delete().where(events.c.task_id == task_id))
            connection.execute(idempotency.delete().where(idempotency.c.task_id == task_id))
            deliveries.forget(connection, [task_id])
            connection.execute(tasks.delete().where(tasks.c.id == task_id))

        await self._change(task_id, work)

    async def settle(
        self, task_id: str, end: End, *, start: Sequence[Stage] | None = None, is_mine: bool = True
    ) -> bool:
        """End a task: its body, its place, its month and the word to its webhook change together.

        Args:
            task_id: Which.
            end: How.
            start: The stages it may be at; any when None.
            is_mine: Only while this process works on it.

        Returns:
            Whether this was its end; a task ends once.
        """

        def work(connection: sa.Connection, now: float) -> sa.Row[Any] | None:
            which = [tasks.c.id == task_id, tasks.c.status.in_(UNDER_WAY)]
            if start is not None:
                which.append(tasks.c.stage.in_(start))
            if is_mine:
                which.append(tasks.c.owner == self.owner)
            row = connection.execute(sa.select(tasks).where(*which).with_for_update()).first()
            if row is None:
                return None
            connection.execute(tasks.update().where(*which).values(_end_row(end, now, self.ttl_seconds)))
            _add_events(connection, task_id, now, end.status)
            if end.billed != "unknown":
                months.give_back(connection, row.caller, row.created_at, row.wanted - end.made)
            if row.webhook is not None:
                deliveries.plan_delivery(
                    connection, now=now, task_id=task_id, event=f"task.{end.status}", sealed_url=row.webhook
                )
            return row

        row = await self._change(task_id, work, is_patient=True)
        if row is None:
            return False
        self.count_end(row.operation, row.price, end)
        if row.webhook is not None:
            self.planned()
        return True


def _end_row(end: End, now: float, ttl_seconds: float) -> dict[str, Any]:
    until = None if end.hold_place_seconds is None else now + end.hold_place_seconds
    return {
        "status": end.status,
        "stage": Stage.ENDED,
        "ended_at": now,
        "expires_at": now + ttl_seconds,
        "billed": end.billed,
        "made": end.made,
        "reply": end.reply,
        "error": None if end.error is None else json.dumps(end.error, ensure_ascii=False),
        "results": json.dumps(list(end.results)),
        "place_until": until,
        # A place that is kept falls free by itself; any other is free now.
        "has_place": tasks.c.has_place if until is not None else False,
        "prepared": None,
        "report": None,
    }


def _add_events(connection: sa.Connection, task_id: str, now: float, *names: str) -> None:
    last = connection.execute(sa.select(sa.func.max(events.c.number)).where(events.c.task_id == task_id)).scalar()
    numbered = enumerate(names, (last or 0) + 1)
    rows = [{"task_id": task_id, "number": number, "event": name, "at": now} for number, name in numbered]
    connection.execute(events.insert(), rows)


def public_error(error: ImgapiError) -> dict[str, Any]:
    """Write the public fields of a failure."""
    fields = {"error": error.sentence, "code": error.code, "field": error.field}
    return {name: value for name, value in fields.items() if value is not None}
