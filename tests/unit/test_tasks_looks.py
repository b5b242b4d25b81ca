"""Looking at tasks: each caller sees its own, page by page, until they are deleted or expire."""

from typing import Any

import pytest
import sqlalchemy as sa

from fakes import answers, refuses
from house import TTL_SECONDS, URL, House
from imgapi.contract.edits import ChangeBgRequest, RemoveBgRequest
from imgapi.errors import InvalidParameter, ResultExpired, StillRunning, TaskNotCancellable, TaskNotFound
from imgapi.tasks.housekeeping import MOST_FORGOTTEN, REMEMBERED_TIMES
from imgapi.tasks.record import Payer, Terms
from imgapi.tasks.tables import events, idempotency, replicas, tasks

MODEL = "wanx2.1-imageedit"
REMOVE_BG = RemoveBgRequest(image_url=URL)
HOUR = 3600.0


async def page_of(house: House, caller: str = "", **asked: Any) -> dict[str, Any]:
    """List a caller's tasks."""
    given = {"status": None, "operation": None, "limit": 100, "cursor": None} | asked
    return await house.runner.list(caller, **given)


def ids_of(page: dict[str, Any]) -> list[str]:
    """The ids on a page."""
    return [task["task_id"] for task in page["tasks"]]


async def test_a_task_tells_when_what_happened() -> None:
    """Created, started, ended and expires in order, as RFC 3339 in UTC; what is not known yet is absent."""
    house = House()
    task_id = await house.accept()
    fresh = await house.runner.view(task_id)
    assert fresh["created_at"] == "2026-05-04T02:20:30.123Z"
    assert not {"started_at", "ended_at", "expires_at", "upstream_task_id", "error"} & set(fresh)
    end = await house.end(task_id)
    assert end["created_at"] <= end["started_at"] < end["ended_at"] < end["expires_at"]
    assert end["expires_at"].startswith("2026-05-11T02:20:")
    assert None not in end.values()


async def test_a_succeeded_task_has_the_documented_body() -> None:
    """What a held caller is answered stands in the task, field by field."""
    house = House()
    reply = (await house.run()).model_dump(exclude_none=True)
    task = await house.runner.view(reply["task_id"])
    assert reply.items() <= task.items()
    assert (task["operation"], task["status"]) == ("fix", "succeeded")


async def test_success_is_billed_by_the_list() -> None:
    """Pictures made and their price by the catalogue; three of four are charged as three."""
    house = House()
    failed = {"code": "InternalError.Algo", "message": "no"}
    house.upstream.output = {"results": [{"url": URL}, {"url": URL}, {"url": URL}, failed]}
    reply = await house.run("change_bg", ChangeBgRequest(base_image_url=URL, ref_image_url=URL, n=4))
    price = house.runner.life.catalogue.limits["wanx-background-generation-v2"].price_cny
    assert price > 0
    assert reply.billed is True
    assert reply.usage.model_dump() == {"images": 3, "list_price_cny": pytest.approx(3 * price)}
    task = await house.runner.view(reply.task_id)
    assert (task["billed"], task["usage"]["images"]) == (True, 3)


@pytest.mark.parametrize(
    ("step", "code", "billed"),
    [
        (refuses(400, "DataInspectionFailed"), "content_refused", False),
        (refuses(429, "Throttling"), "upstream_throttled", False),
        (answers(502, content=b"<html>"), "task_lost", "unknown"),
        (answers(200, None), "task_lost", "unknown"),
    ],
)
async def test_failures_tell_whether_they_are_paid(step: Any, code: str, billed: bool | str) -> None:  # noqa: FBT001 - a pytest parameter
    """A refusal costs nothing; a submit of unknown fate is told as unknown: in the error and in the task alike."""
    house = House()
    house.upstream.scripts[MODEL] = [step]
    error = await house.fail(Exception)  # type: ignore[arg-type]  # the kind follows from the code
    assert (error.code, error.billed) == (code, billed)
    assert error.usage == {"images": 0, "list_price_cny": 0.0}
    task = await house.runner.view(error.task_id or "")
    assert (task["status"], task["code"], task["billed"], task["error"]) == ("failed", code, billed, error.sentence)


async def test_a_failed_task_upstream_costs_nothing() -> None:
    """What the upstream has tried and not made is not charged."""
    house = House()
    house.upstream.output = {"task_status": "FAILED", "code": "InternalError.Algo", "message": "no"}
    error = await house.fail(Exception)  # type: ignore[arg-type]  # as above
    assert error.billed is False


async def test_a_local_edit_costs_nothing() -> None:
    """Cutting out happens here: one picture, no price, and its link tells when it is gone."""
    house = House()
    reply = await house.run("remove_bg", REMOVE_BG)
    assert reply.billed is False
    assert reply.usage.model_dump() == {"images": 1, "list_price_cny": 0.0}
    assert reply.results[0].expires_at == "2033-05-18T03:33:20.000Z"


async def test_a_caller_is_held_for_so_long() -> None:
    """Beyond the longest hold the caller gets the task's id, and the task goes on to its end."""
    house = House(max_wait_seconds=5.0)
    error = await house.fail(StillRunning)
    assert house.clock.monotonic() == pytest.approx(5.0)
    assert f"/tasks/{error.task_id}" in error.message
    assert (error.upstream_task_id, error.billed) == ("up-1", "unknown")
    assert (await house.end(error.task_id or ""))["status"] == "succeeded"


async def test_the_newest_comes_first() -> None:
    """A list runs backwards in time."""
    house = House()
    begun = []
    for _ in range(3):
        begun.append(await house.accept())
        house.clock.jump(1.0)
    assert ids_of(await page_of(house)) == begun[::-1]


async def test_pages_have_every_task_once() -> None:
    """Cursors lead through all tasks, those of one instant included, whatever is added meanwhile."""
    house = House()
    begun = [await house.accept() for _ in range(7)]
    seen: list[str] = []
    cursor: str | None = None
    sizes: list[int] = []
    while cursor is not None or not sizes:
        page = await page_of(house, limit=3, cursor=cursor)
        seen += ids_of(page)
        sizes.append(len(page["tasks"]))
        cursor = page.get("next_cursor")
        house.clock.jump(1.0)
        await house.accept()
    assert sizes == [3, 3, 1]
    assert sorted(seen) == sorted(begun)


async def test_a_last_full_page_has_no_cursor() -> None:
    """Where nothing follows nothing is promised."""
    house = House()
    for _ in range(3):
        await house.accept()
    assert "next_cursor" not in await page_of(house, limit=3)


@pytest.mark.parametrize("cursor", ["", "x", "W10=", "é", "bnVsbA==", "WzEsMiwzXQ==", "eyJhIjoxfQ=="])
async def test_a_cursor_of_another_make_is_refused(cursor: str) -> None:
    """A cursor that no list gave is the caller's to change, and never a failure of ours."""
    house = House()
    with pytest.raises(InvalidParameter) as caught:
        await page_of(house, cursor=cursor)
    assert caught.value.field == "cursor"


async def test_lists_are_narrowed() -> None:
    """By status, by operation, by both."""
    house = House()
    done = (await house.run()).task_id
    local = (await house.run("remove_bg", REMOVE_BG)).task_id
    waiting = await house.accept()
    assert ids_of(await page_of(house, status="queued")) == [waiting]
    assert set(ids_of(await page_of(house, status="succeeded"))) == {done, local}
    assert ids_of(await page_of(house, operation="remove_bg")) == [local]
    assert ids_of(await page_of(house, status="queued", operation="remove_bg")) == []


async def test_everyone_sees_their_own() -> None:
    """Tasks of other keys are neither listed, shown, followed nor deleted."""
    house = House()
    mine = await house.accept(terms=Terms(Payer("mine")))
    theirs = await house.accept(terms=Terms(Payer("theirs")))
    assert ids_of(await page_of(house, "mine")) == [mine]
    assert ids_of(await page_of(house)) == []
    for act in (house.runner.view, house.runner.forget, house.runner.events):
        with pytest.raises(TaskNotFound):
            await act(theirs, "mine")


async def test_a_deleted_task_is_gone() -> None:
    """Nothing is left of it: no row, no event, no claim on its idempotency key, and its files are deleted."""
    house = House()
    reply = await house.run("remove_bg", REMOVE_BG, Terms(idempotency_key="a key"))
    await house.runner.forget(reply.task_id)
    with pytest.raises(TaskNotFound):
        await house.runner.view(reply.task_id)
    assert ids_of(await page_of(house)) == []
    assert house.forgotten[-1] == reply.results[0].url.rpartition("/")[2]
    assert await rows_of(house) == {"tasks": 0, "events": 0, "idempotency": 0}
    again = await house.run("remove_bg", REMOVE_BG, Terms(idempotency_key="a key"))
    assert again.task_id != reply.task_id


async def rows_of(house: House) -> dict[str, int]:
    """Count what is kept."""

    def work(connection: sa.Connection) -> dict[str, int]:
        kept = {"tasks": tasks, "events": events, "idempotency": idempotency}
        return {
            name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in kept.items()
        }

    return await house.database.run(work)


async def test_a_task_under_way_is_not_deleted() -> None:
    """What may be paid for is not forgotten: it is canceled first, or waited for."""
    house = House()
    task_id = await house.accept()
    for _ in range(2):
        with pytest.raises(TaskNotCancellable):
            await house.runner.forget(task_id)
        await house.clock.advance(3.0)
    assert (await house.end(task_id))["status"] == "succeeded"


async def test_a_task_expires_in_two_steps() -> None:
    """After its time it is 410 and no longer listed; four times as late it is forgotten altogether: 404."""
    house = House()
    reply = await house.run("remove_bg", REMOVE_BG, Terms(Payer(), "a key"))
    house.clock.jump(TTL_SECONDS - 60.0)
    await house.housekeeping.sweep()
    assert (await house.runner.view(reply.task_id))["status"] == "succeeded"
    house.clock.jump(61.0)
    await house.housekeeping.sweep()
    with pytest.raises(ResultExpired):
        await house.runner.view(reply.task_id)
    assert ids_of(await page_of(house)) == []
    assert house.forgotten == [reply.results[0].url.rpartition("/")[2]]
    record = await house.record(reply.task_id)
    assert (record.request, record.reply, record.results) == (None, None, "[]")
    house.clock.jump((REMEMBERED_TIMES - 1) * TTL_SECONDS)
    await house.housekeeping.sweep()
    with pytest.raises(TaskNotFound):
        await house.runner.view(reply.task_id)


async def test_what_is_under_way_does_not_expire() -> None:
    """However old it is, a task that has not ended is not swept away."""
    house = House(deadline_seconds=1e9, pending_seconds=1e9)
    house.upstream.run_seconds = 1e8
    task_id = await house.accept()
    await house.clock.advance(10.0)
    house.clock.jump(10 * TTL_SECONDS)
    await house.housekeeping.sweep()
    assert (await house.runner.view(task_id))["status"] == "running"


async def test_a_sweep_is_bounded() -> None:
    """One round forgets so many tasks and no more; the next goes on."""
    house = House(max_tasks=1000)
    for _ in range(MOST_FORGOTTEN + 5):
        task_id = await house.accept()
        await house.runner.cancel(task_id)
    house.clock.jump(TTL_SECONDS + 1.0)
    await house.housekeeping.sweep()
    assert len(ids_of(await page_of(house, limit=1000))) == 5
    await house.housekeeping.sweep()
    assert ids_of(await page_of(house)) == []


async def test_a_sweep_forgets_the_dead_and_old_keys() -> None:
    """Rows of processes that are long gone, and idempotency keys after a day, are removed."""
    house = House()
    await house.accept(terms=Terms(idempotency_key="a key"))
    old = replicas.insert().values(id="long gone", seen_at=house.clock.time() - HOUR)
    await house.database.run(lambda connection: connection.execute(old))
    house.clock.jump(25 * HOUR)
    await house.housekeeping.sweep()
    names = sa.select(replicas.c.id)
    assert await house.database.run(lambda connection: list(connection.execute(names).scalars())) == ["first"]
    assert (await rows_of(house))["idempotency"] == 0
