"""Deliveries: what is kept of them, who may try one, and what a crash, a stop or a replay makes of it."""

import asyncio
import json
import re
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from deliverers import BUSY, OK, SECRET, URL, MemoryLog, Scene, hang, open_scene
from imgapi.clock import SystemClock
from imgapi.errors import CapabilityMissing, TaskNotFound
from imgapi.sources.messages import Answer
from imgapi.tasks import deliveries, tables
from imgapi.tasks.database import Database
from imgapi.tasks.sealing import Seal
from imgapi.tasks.webhooks import Deliverer
from postgres import new_postgres


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """A database, and whatever the test starts on it."""
    async with open_scene() as scene:
        yield scene


@pytest.fixture
async def shared() -> AsyncIterator[Scene]:
    """The same for several processes on one database."""
    async with open_scene(is_shared=True) as scene:
        yield scene


async def test_an_end_has_one_id(scene: Scene) -> None:
    """Planned twice, the same end is told once, under one id; what an undone transaction planned is never told."""
    first = await scene.plan()
    assert await scene.plan() == first
    assert re.fullmatch(r"msg_[0-9a-f]{32}", first)
    assert await scene.plan("t-2") != first

    def work(connection: sa.Connection) -> None:
        deliveries.plan_delivery(connection, now=0.0, task_id="t-3", event="task.failed", sealed_url="x")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await scene.database.run(work)
    await scene.start()
    await scene.clock.advance(100.0)
    assert len(scene.posts) == 2


async def test_what_was_planned_before_a_start_is_told_after_it(scene: Scene) -> None:
    """A delivery that no process knew of is found at the start, and one that nobody announced within ten minutes."""
    await scene.plan("t-1")
    await scene.start()
    assert scene.instants == [0.0]
    scene.deliverers, known = [], scene.deliverers
    await scene.plan("t-2")
    scene.deliverers = known
    await scene.clock.advance(600.0)
    assert len(scene.posts) == 2


async def test_a_process_that_dies_while_it_delivers_is_replaced(shared: Scene) -> None:
    """Its lease keeps the others away for half a minute; then the message is sent again under the same id."""
    shared.script = deque([hang, OK])
    await shared.start()
    dead = shared.running[0]
    delivery_id = await shared.plan()
    dead.cancel()
    await shared.start()
    await shared.clock.advance(29.0)
    assert shared.instants == [0.0]
    assert len(shared.clock.sleeps) < 30, "it looks all the time"
    await shared.clock.advance(2.0)
    assert shared.instants == pytest.approx([0.0, 30.0], abs=0.1)
    assert [headers["webhook-id"] for *_, headers in shared.posts] == [delivery_id] * 2
    assert (await shared.listed())[0]["state"] == "delivered"


async def test_a_restart_need_not_wait_for_a_lease(scene: Scene) -> None:
    """Where only one process can use the database, the next one sends at once what a dead one was sending."""
    scene.script = deque([hang, OK])
    await scene.start()
    delivery_id = await scene.plan()
    scene.running[0].cancel()
    await scene.start()
    assert scene.instants == [0.0, 0.0]
    assert [headers["webhook-id"] for *_, headers in scene.posts] == [delivery_id] * 2


@pytest.mark.parametrize("late", [OK, BUSY])
@pytest.mark.parametrize("second", [OK, BUSY])
@pytest.mark.parametrize("is_last", [True, False])
async def test_a_late_word_counts_when_it_is_good(shared: Scene, late: Answer, second: Answer, is_last: bool) -> None:  # noqa: FBT001
    """When two try in spite of the lease both are listed; one success is enough, two failures are tried again once."""
    gates = [asyncio.Event(), asyncio.Event()]

    async def answer_late() -> Answer:
        await gates[0].wait()
        return late

    async def answer_second() -> Answer:
        await gates[1].wait()
        return second

    shared.script = deque([answer_late, answer_second, OK])
    await shared.start()
    await shared.plan()
    await shared.start()
    await shared.clock.advance(31.0)
    assert len(shared.posts) == 2
    for gate in reversed(gates) if is_last else gates:
        gate.set()
        await shared.clock.settle()
    has_failed = late == second == BUSY
    (delivery,) = await shared.listed()
    told = [second.status, late.status] if is_last else [late.status, second.status]
    assert [each["status"] for each in delivery["attempts"]] == told
    assert delivery["state"] == ("pending" if has_failed else "delivered")
    await shared.clock.advance(3600.0)
    assert len(shared.posts) == (3 if has_failed else 2)


async def test_a_late_stop_takes_no_lease_away(shared: Scene) -> None:
    """Who stops after its lease has run out does not free what another process is trying."""
    shared.script = deque([hang, hang, OK])
    first = await shared.start()
    await shared.plan()
    shared.running[0].cancel()
    await shared.start()
    await shared.clock.advance(31.0)
    assert len(shared.posts) == 2
    await first.close(grace_seconds=0.0)
    await shared.start()
    await shared.clock.advance(20.0)
    assert len(shared.posts) == 2


async def test_two_processes_share_the_work(shared: Scene) -> None:
    """Of two on one database only one sends each message, and each sends at most eight at a time."""
    under_way = most = 0

    async def slowly() -> Answer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await shared.clock.sleep(1.0)
        under_way -= 1
        return OK

    shared.script = deque([slowly])
    for number in range(50):
        await shared.plan(f"t-{number}")
    first = await shared.start()
    first.wake()
    await shared.clock.settle()
    assert under_way == 8
    await shared.start()
    await shared.clock.advance(5.0)
    ids = [headers["webhook-id"] for *_, headers in shared.posts]
    assert (len(ids), len(set(ids)), most) == (50, 50, 16)


@pytest.fixture
def postgres() -> Iterator[str]:
    """A new database of a PostgreSQL server, where there is one."""
    with new_postgres() as url:
        yield url


async def test_two_processes_share_a_postgresql(postgres: str) -> None:
    """The same on PostgreSQL, each process with connections of its own: forty messages, each sent once."""
    clock, seal, ids = SystemClock(), Seal(lambda: "s"), list[str]()
    all_sent = asyncio.Event()

    async def post(_url: str, _content: bytes, headers: Mapping[str, str]) -> Answer:
        ids.append(headers["webhook-id"])
        if len(ids) == 40:
            all_sent.set()
        await asyncio.sleep(0.02)
        return OK

    async def body_of(task_id: str) -> dict[str, Any]:
        return {"task_id": task_id}

    databases = [Database(postgres, clock) for _ in range(2)]
    for database in databases:
        await database.open()

    def plan(connection: sa.Connection) -> None:
        now = databases[0].now(connection)
        for number in range(40):
            deliveries.plan_delivery(
                connection, now=now, task_id=f"t-{number}", event="task.failed", sealed_url=seal.close(URL)
            )

    await databases[0].run(plan)
    await databases[1].run(plan)
    workers = [
        Deliverer(each, seal, post, clock, body_of, lambda: SECRET, MemoryLog(), lambda: 0.5) for each in databases
    ]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    await asyncio.wait_for(all_sent.wait(), timeout=20)
    for worker in workers:
        await worker.close()
    await asyncio.gather(*running)
    assert len(set(ids)) == len(ids) == 40
    listed = (await workers[0].list("t-7")).deliveries[0]
    assert (listed.state, len(listed.attempts)) == ("delivered", 1)
    await databases[0].run(lambda connection: deliveries.forget(connection, ["t-7"]))
    assert (await workers[1].list("t-7")).deliveries == []
    for database in databases:
        database.close()


async def test_a_stop_loses_nothing(shared: Scene) -> None:
    """What ends within the grace is recorded; what does not is free at once for whoever starts next."""
    release = asyncio.Event()

    async def wait() -> Answer:
        await release.wait()
        return OK

    shared.script = deque([wait, hang, OK])
    first = await shared.start()
    await shared.plan("t-1")
    await shared.plan("t-2")
    asyncio.get_running_loop().call_later(0.05, release.set)
    await first.close(grace_seconds=0.2)
    assert [(await shared.listed(task_id))[0]["state"] for task_id in ("t-1", "t-2")] == ["delivered", "pending"]
    await shared.start()
    assert len(shared.posts) == 3
    assert (await shared.listed("t-2"))[0]["state"] == "delivered"


async def test_a_delivery_can_be_replayed(scene: Scene) -> None:
    """Whatever its state it is sent once more at once, under the same id, with the task as it is now."""
    deliverer = await scene.start()
    delivery_id = await scene.plan()
    await scene.clock.advance(1000.0)
    scene.tasks["t-1"]["expires_at"] = "later"
    replayed = await deliverer.replay("t-1", delivery_id)
    assert (replayed.id, replayed.state) == (delivery_id, "pending")
    await scene.clock.settle()
    assert scene.instants == [0.0, 1000.0]
    assert [headers["webhook-id"] for *_, headers in scene.posts] == [delivery_id] * 2
    assert json.loads(scene.posts[1][2])["data"]["expires_at"] == "later"
    (delivery,) = await scene.listed()
    assert (delivery["state"], len(delivery["attempts"])) == ("delivered", 2)


async def test_a_replay_has_the_attempts_that_are_left(scene: Scene) -> None:
    """After ten failures a replay that fails is the end again; after one that ended early the schedule goes on."""
    scene.script = deque([BUSY])
    deliverer = await scene.start()
    delivery_id = await scene.plan()
    await scene.clock.advance(7 * 24 * 3600)
    await deliverer.replay("t-1", delivery_id)
    await scene.clock.advance(7 * 24 * 3600)
    assert len(scene.posts) == 11
    assert (await scene.listed())[0]["state"] == "given_up"
    scene.script = deque([Answer(410, ""), BUSY])
    early = await scene.plan("t-2")
    await deliverer.replay("t-2", early)
    await scene.clock.advance(7 * 24 * 3600)
    assert len((await scene.listed("t-2"))[0]["attempts"]) == 10


async def test_a_replay_meets_an_attempt_under_way(scene: Scene) -> None:
    """Asked for while a message is being sent, a replay follows it, whatever became of that one."""
    go = asyncio.Event()

    async def wait() -> Answer:
        await go.wait()
        return Answer(410, "")

    scene.script = deque([wait, OK])
    deliverer = await scene.start()
    delivery_id = await scene.plan()
    await scene.clock.advance(1.0)
    await deliverer.replay("t-1", delivery_id)
    await scene.clock.settle()
    assert len(scene.posts) == 1
    go.set()
    await scene.clock.settle()
    assert len(scene.posts) == 2
    assert (await scene.listed())[0]["state"] == "delivered"


async def test_only_a_task_s_own_deliveries_are_replayed(scene: Scene) -> None:
    """An unknown delivery, or another task's, is not found, and nothing is sent."""
    deliverer = await scene.start()
    delivery_id = await scene.plan("t-1")
    await scene.plan("t-2")
    for task_id, asked in (("t-2", delivery_id), ("t-1", "msg_0"), ("t-9", delivery_id)):
        with pytest.raises(TaskNotFound):
            await deliverer.replay(task_id, asked)
    await scene.clock.advance(1000.0)
    assert len(scene.posts) == 2
    assert await scene.listed("t-9") == []


async def test_a_forgotten_task_is_not_told(scene: Scene) -> None:
    """When the task is gone the delivery is given up, and nothing is sent."""
    scene.tasks["t-1"] = None
    await scene.start()
    await scene.plan("t-1")
    await scene.clock.advance(100.0)
    assert scene.posts == []
    (delivery,) = await scene.listed()
    assert (delivery["state"], delivery["attempts"]) == ("given_up", [])


async def test_all_of_a_task_is_forgotten(scene: Scene) -> None:
    """Deliveries and attempts go with their tasks, also while one is being sent; others stay."""
    go = asyncio.Event()

    async def wait() -> Answer:
        await go.wait()
        return OK

    scene.script = deque([BUSY, OK, wait])
    await scene.start()
    for task_id in ("t-1", "t-2", "t-3"):
        await scene.plan(task_id)
    await scene.database.run(lambda connection: deliveries.forget(connection, ["t-1", "t-3"]))
    go.set()
    await scene.clock.advance(3600.0)
    assert scene.log.count("delivery unrecorded") == 0
    assert (await scene.listed("t-1"), await scene.listed("t-3"), len(scene.posts)) == ([], [], 3)

    def read(connection: sa.Connection) -> list[str]:
        return list(connection.execute(sa.select(tables.attempts.c.delivery_id)).scalars())

    assert await scene.database.run(read) == [(await scene.listed("t-2"))[0]["id"]]


async def test_our_own_failures_do_not_lose_a_delivery(scene: Scene) -> None:
    """Where the message can't be written, that is an attempt like any other, listed without our inner words."""
    scene.tasks["t-1"] = ValueError("inner words")
    scene.tasks["t-2"] = CapabilityMissing("What is kept was sealed with another secret.")
    await scene.start()
    await scene.plan("t-1")
    await scene.plan("t-2")
    scene.tasks.update({"t-1": {}, "t-2": {}})
    await scene.clock.advance(10.0)
    told = [(await scene.listed(task_id))[0] for task_id in ("t-1", "t-2")]
    assert [each["state"] for each in told] == ["delivered", "delivered"]
    assert [each["attempts"][0]["problem"] for each in told] == [
        "This service failed before it could send the message.",
        "What is kept was sealed with another secret.",
    ]
    assert ("webhook unwritten", "ValueError") in [(name, fields.get("reason")) for name, fields in scene.log.events]


async def test_a_database_that_is_away_is_waited_for(scene: Scene) -> None:
    """Neither a look nor a note that fails ends the deliverer; what was not noted is sent again under the same id."""
    await scene.start()
    tables.deliveries.drop(scene.database.engine)
    scene.deliverers[0].wake()
    await scene.clock.advance(20.0)
    assert scene.log.count("deliveries unreadable") >= 2
    tables.deliveries.create(scene.database.engine)
    await scene.plan()
    await scene.clock.advance(10.0)
    assert (await scene.listed())[0]["state"] == "delivered"
    tables.attempts.drop(scene.database.engine)
    delivery_id = await scene.plan("t-2")
    assert scene.log.count("delivery unrecorded") == 1
    tables.attempts.create(scene.database.engine)
    await scene.clock.advance(31.0)
    assert [headers["webhook-id"] for *_, headers in scene.posts[1:]] == [delivery_id] * 2
    scene.script = deque([hang])
    await scene.plan("t-3")
    tables.deliveries.drop(scene.database.engine)
    await scene.deliverers[0].close(grace_seconds=0.0)
    assert scene.log.count("deliveries unreleased") == 1


async def test_an_attempt_ends_before_its_lease(scene: Scene) -> None:
    """What can't be written and sent in time is a failed attempt, and its place is free for others."""
    scene.attempt_seconds = 0.05
    scene.script = deque([hang, OK])
    await scene.start()
    await scene.plan()
    await asyncio.sleep(0.2)
    await scene.clock.advance(10.0)
    (delivery,) = await scene.listed()
    assert delivery["attempts"][0]["problem"] == "The message could not be handed over within 0.05 s."
    assert delivery["state"] == "delivered"


async def test_what_is_kept_opens_nothing(scene: Scene) -> None:
    """Neither the tables, the list nor the log has the URL's query, the body, or a word of the receiver's answer."""
    scene.tasks["t-1"] = {
        "task_id": "t-1",
        "results": [{"url": "https://results.example/?signature=pictures-signature"}],
    }
    scene.script = deque([BUSY])
    await scene.start()
    await scene.plan()
    await scene.clock.advance(100.0)

    def dump(connection: sa.Connection) -> str:
        kept = connection.connection.driver_connection
        assert isinstance(kept, sqlite3.Connection)
        return "\n".join(kept.iterdump())

    text = await scene.database.run(dump) + json.dumps(await scene.listed()) + repr(scene.log.events)
    text += repr(scene.deliverers[0])
    for secret in (
        "receivers-token",
        "/hook?",
        "pictures-signature",
        SECRET.removeprefix("whsec_"),
        "0123456789abcdef",
    ):
        assert secret not in text


async def test_the_attempts_that_are_kept_are_bounded(scene: Scene) -> None:
    """However often it is replayed, only the latest fifty attempts are kept."""
    deliverer = await scene.start()
    delivery_id = await scene.plan()
    for _ in range(60):
        await scene.clock.advance(1.0)
        await deliverer.replay("t-1", delivery_id)
        await scene.clock.settle()
    assert len(scene.posts) == 61
    attempts = (await scene.listed())[0]["attempts"]
    assert len(attempts) == 50
    assert attempts[-1]["at"] == "2026-05-04T02:21:30.123Z"
