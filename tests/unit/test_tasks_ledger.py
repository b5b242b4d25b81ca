"""The ledger: of two who change one task, one wins; a task ends once."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import sqlalchemy as sa

from engines import InlineExecutor
from fakes import VirtualClock
from house import URL, House
from imgapi.contract.edits import ChangeBgRequest
from imgapi.errors import IdempotencyConflict
from imgapi.tasks import deliveries, months
from imgapi.tasks.acceptance import NewTask, Room
from imgapi.tasks.changes import Changes
from imgapi.tasks.database import Database
from imgapi.tasks.ledger import End, Ledger
from imgapi.tasks.record import Payer, Stage, Status, Terms
from imgapi.tasks.tables import idempotency, metadata, schema, tasks
from imgapi.tasks.tables import months as months_table
from postgres import new_postgres

LANE = "account/model"
ROOM = Room(max_tasks=100, max_waiting=None, places=2, usual_seconds=10.0, max_seconds=1000.0)


class OnVirtualTime(Database):
    """A shared database whose time is the test's."""

    def now(self, _connection: sa.Connection) -> float:
        """The virtual time."""
        return self._clock.time()


class Books:
    """One database, and the ledgers of two processes."""

    def __init__(self, url: str) -> None:
        self.clock = VirtualClock()
        self.database = OnVirtualTime(url, self.clock, InlineExecutor())
        self.database._open()
        changes = Changes(self.database, self.clock)
        self.told: list[str] = []
        self.one, self.two = (
            Ledger(self.database, changes, owner, 60.0, planned=lambda: self.told.append("delivery"))
            for owner in ("one", "two")
        )

    async def accept(self, task_id: str = "t-1", payer: Payer | None = None, wanted: int = 1) -> str:
        """Record a task in the first process, ready to be submitted."""
        new = NewTask(task_id, "fix", "sealed", "digest", wanted, LANE, 0.14, webhook="sealed")
        found, is_new = await self.one.accept(new, Terms(payer or Payer()), ROOM)
        assert is_new
        assert await self.one.advance(found, (Stage.ACCEPTED,), stage=Stage.WAITING)
        return found

    async def used(self, caller: str) -> int:
        """How many pictures a caller's month counts."""
        query = sa.select(months_table.c.images).where(months_table.c.caller == caller)
        return int(await self.database.run(lambda connection: connection.execute(query).scalar_one()))


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A database for the tests of this file."""
    with new_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def books(request: pytest.FixtureRequest) -> Iterator[Books]:
    """Empty books on either database: what counts rows, locks them or leaves them alone differs between the two."""
    books = Books("sqlite://" if request.param == "sqlite" else request.getfixturevalue("postgres"))
    yield books
    with books.database.engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            if table.name != schema.name:
                connection.execute(table.delete())
    books.database.close()


@pytest.mark.parametrize("digest", ["digest", "another"])
async def test_an_idempotency_key_is_claimed_once(books: Books, digest: str) -> None:
    """The first request of a key is a new task that is there; the same one again is that task, another is refused."""
    terms = Terms(Payer("shop", 10), "a key")
    first = NewTask("t-1", "fix", "sealed", "digest", 2, LANE, 0.14)
    assert await books.one.accept(first, terms, ROOM) == ("t-1", True)
    assert await books.one.get("t-1") is not None
    again = replace(first, id="t-2", digest=digest)
    if digest == first.digest:
        assert await books.two.accept(again, terms, ROOM) == ("t-1", False)
    else:
        with pytest.raises(IdempotencyConflict):
            await books.two.accept(again, terms, ROOM)
    assert await books.two.get("t-2") is None
    assert await books.used("shop") == 2


async def test_of_two_processes_one_submits(books: Books) -> None:
    """The intent to submit is recorded once: who has lost the task, or comes later, is told to leave it."""
    task_id = await books.accept()
    await books.two.take_up(task_id)
    assert await books.one.begin_submit(task_id, LANE, 1000.0) is None
    books.clock.jump(1.0)
    assert await books.two.begin_submit(task_id, LANE, 1000.0) == 0.0
    books.clock.jump(1.0)
    assert await books.two.begin_submit(task_id, LANE, 1000.0) is None
    await books.one.take_up(task_id)
    books.clock.jump(1.0)
    assert await books.one.begin_submit(task_id, LANE, 1000.0) is None


async def test_an_intent_waits_for_the_pace(books: Books) -> None:
    """No intent is recorded before the lane's next instant has come, whichever task it is of."""
    first, second = await books.accept("t-1"), await books.accept("t-2")
    assert await books.one.begin_submit(first, LANE, 2.0) == 0.0
    assert await books.one.begin_submit(second, LANE, 2.0) == pytest.approx(0.5)
    record = await books.one.get(second)
    assert record is not None
    assert record.stage is Stage.WAITING
    books.clock.jump(0.5)
    assert await books.one.begin_submit(second, LANE, 2.0) == 0.0


@pytest.mark.parametrize("stage", [Stage.SUBMITTED, Stage.MADE, Stage.ENDED, Stage.ACCEPTED])
async def test_changes_name_where_they_start(books: Books, stage: Stage) -> None:
    """A change that starts from another stage than the task is at changes nothing."""
    task_id = await books.accept()
    assert not await books.one.advance(task_id, (stage,), model="m")
    assert not await books.one.accepted(task_id, "up-1")
    assert not await books.one.begin_local(task_id)
    record = await books.one.get(task_id)
    assert record is not None
    assert (record.stage, record.model, record.upstream_task_id) == (Stage.WAITING, None, None)


async def test_a_task_ends_once(books: Books) -> None:
    """Of an end and a cancel one counts: one event, one word to the webhook, one giving back."""
    task_id = await books.accept(payer=Payer("shop", 10), wanted=4)
    canceled = await books.two.settle(task_id, End(Status.CANCELED, "false"), is_mine=False)
    succeeded = await books.one.settle(task_id, End(Status.SUCCEEDED, "true", 4, "sealed"))
    assert (canceled, succeeded) == (True, False)
    assert [name for _, name in await books.one.events(task_id, 0)] == ["queued", "canceled"]
    assert books.told == ["delivery"]
    told = await books.database.run(lambda connection: deliveries.read_deliveries(connection, task_id))
    assert [row.event for row, _ in told] == ["task.canceled"]
    assert await books.used("shop") == 0


@pytest.mark.parametrize(
    ("end", "used"),
    [
        (End(Status.SUCCEEDED, "true", 4), 4),
        (End(Status.SUCCEEDED, "true", 3), 3),
        (End(Status.FAILED, "false"), 0),
        (End(Status.CANCELED, "false"), 0),
        (End(Status.FAILED, "unknown"), 4),
    ],
    ids=["made", "three made", "failed", "canceled", "unknown"],
)
async def test_a_month_is_given_back_exactly_once(books: Books, end: End, used: int) -> None:
    """However often and by how many processes a task is ended, its month counts what was, or may have been, made."""
    await books.accept("other", Payer("shop", 10), wanted=2)
    task_id = await books.accept(payer=Payer("shop", 10), wanted=4)
    wins = [await ledger.settle(task_id, end, is_mine=False) for ledger in (books.one, books.two, books.one)]
    assert wins == [True, False, False]
    assert await books.used("shop") == 2 + used


async def test_nothing_is_kept_of_a_task_that_is_refused(books: Books) -> None:
    """Where a month is used up, the claim on the idempotency key is undone with the rest."""
    new = NewTask("t-1", "fix", "sealed", "digest", 3, LANE, 0.14)
    with pytest.raises(Exception, match="pictures a month"):
        await books.one.accept(new, Terms(Payer("shop", 2), "a key"), ROOM)

    def count(connection: sa.Connection) -> Sequence[int]:
        return [connection.execute(sa.select(sa.func.count()).select_from(each)).scalar_one() for each in kept]

    kept = (tasks, idempotency, months_table)
    assert await books.database.run(count) == [0, 0, 0]


async def test_a_month_never_counts_below_nothing(books: Books) -> None:
    """A task that ends after its month was forgotten takes nothing from another."""
    await books.database.run(lambda connection: months.take(connection, Payer("shop", 9), 1, books.clock.time()))
    await books.database.run(lambda connection: months.give_back(connection, "shop", books.clock.time(), 3))
    assert await books.used("shop") == 0


async def test_who_takes_over_has_the_task(books: Books) -> None:
    """From the moment another process takes a task up, the first can neither advance nor end it."""
    task_id = await books.accept()
    assert await books.two.take_up(task_id) is not None
    assert not await books.one.advance(task_id, (Stage.WAITING,), stage=Stage.MADE)
    assert not await books.one.settle(task_id, End(Status.FAILED, "false"))
    assert not await books.one.change_lane(task_id, "account/other", 0.2)
    assert await books.two.settle(task_id, End(Status.FAILED, "false"))
    assert await books.one.take_up(task_id) is None


async def test_budgets_hold_when_many_ask_at_once() -> None:
    """Of twenty simultaneous requests for one picture each, a budget of seven lets seven in."""
    house = House()
    terms = Terms(Payer("shop", 7))
    request = ChangeBgRequest(base_image_url=URL, ref_image_url=URL)
    await house.open()
    asked = (house.runner.accept("change_bg", request, terms) for _ in range(20))
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 7
