"""Canceling: possible as long as nothing has begun, told where it was, and never paid."""

import asyncio
from typing import Any

import httpx
import pytest

from fakes import slowly
from house import House
from imgapi.contract.edits import ChangeBgRequest
from imgapi.errors import EditFailed, QuotaExceeded, TaskNotCancellable, TaskNotFound
from imgapi.tasks.record import Payer, Stage, Terms

MODEL = "wanx2.1-imageedit"


async def cancel(house: House, task_id: str, caller: str = "") -> dict[str, Any]:
    """Cancel a task on virtual time."""
    return await house.clock.run(house.runner.cancel(task_id, caller))


async def refuse(house: House, task_id: str) -> str:
    """Cancel a task that can't be; return what is said."""
    with pytest.raises(TaskNotCancellable) as caught:
        await cancel(house, task_id)
    assert caught.value.task_id == task_id
    return caught.value.message


async def test_a_task_that_has_done_nothing_is_canceled_here() -> None:
    """Right after its acceptance a task is canceled without a word to the upstream, and nothing is paid."""
    house = House()
    task_id = await house.accept()
    told = await cancel(house, task_id)
    assert (told["status"], told["cancel"], told["billed"]) == ("canceled", "canceled_here", False)
    assert told["ended_at"]
    assert told["expires_at"]
    await house.clock.advance(60.0)
    assert house.upstream.submits == []
    assert house.upstream.cancels == []
    assert not house.engine.running


async def test_a_waiting_task_is_canceled_here() -> None:
    """A task in line is taken out of it, and those behind it move up."""
    house = House()
    begun = [await house.accept() for _ in range(5)]
    await house.clock.advance(2.0)
    assert (await house.record(begun[2])).stage is Stage.WAITING
    assert (await cancel(house, begun[2]))["cancel"] == "canceled_here"
    views = [await house.runner.view(task_id) for task_id in begun[3:]]
    assert [view["queue_position"] for view in views] == [1, 2]
    for task_id in (*begun[:2], *begun[3:]):
        assert (await house.end(task_id))["status"] == "succeeded"
    assert len(house.upstream.submits) == 4


async def test_a_canceled_task_gives_its_place_on() -> None:
    """A task that had just got its place and is canceled before its submit leaves the place to the next."""
    house = House()
    begun = [await house.accept() for _ in range(3)]
    # Places are given at once, and submits are half a second apart.
    await house.clock.advance(0.1)
    held = [task_id for task_id in begun if (record := await house.record(task_id)).has_place and not record.started_at]
    assert len(held) == 1
    await cancel(house, held[0])
    await house.clock.advance(2.0)
    assert len(house.upstream.submits) == 2
    assert not (await house.record(held[0])).has_place


async def test_a_task_being_handed_over_is_not_canceled() -> None:
    """While a submit is out nobody knows whether it was accepted, so the cancel is refused, and may be tried again."""
    house = House()

    async def accept(_request: Any) -> Any:
        return house.upstream.accept()

    house.upstream.scripts[MODEL] = [slowly(house.clock, 5.0, accept)]
    house.upstream.pending_seconds = 60.0
    task_id = await house.accept()
    await house.clock.advance(2.0)
    assert "try again in a few seconds" in await refuse(house, task_id)
    await house.clock.advance(5.0)
    assert (await cancel(house, task_id))["cancel"] == "canceled_upstream"


async def test_a_task_that_waits_upstream_is_canceled_there() -> None:
    """What the upstream has accepted and not begun is canceled there, costs nothing, and its place is free."""
    house = House()
    house.upstream.pending_seconds = 60.0
    begun = [await house.accept() for _ in range(3)]
    await house.clock.advance(2.0)
    told = await cancel(house, begun[0])
    assert (told["status"], told["cancel"], told["billed"]) == ("canceled", "canceled_upstream", False)
    assert told["upstream_task_id"] == "up-1"
    assert house.upstream.cancels == ["/api/v1/tasks/up-1/cancel"]
    await house.clock.advance(2.0)
    assert len(house.upstream.submits) == 3
    await house.clock.advance(600.0)
    assert (await house.runner.view(begun[0]))["status"] == "canceled"
    assert not house.log.named("edit failed")


async def test_a_slow_answer_to_a_cancel_changes_nothing() -> None:
    """A look that sees the cancel before its answer has come ends the task as canceled, too, and once."""
    house = House()
    house.upstream.pending_seconds = 60.0
    task_id = await house.accept(terms=Terms(webhook="https://hooks.test/"))
    await house.clock.advance(2.0)
    cancel_at_once = house.upstream.cancel

    async def slowly_told(request: httpx.Request) -> httpx.Response:
        answer = cancel_at_once(request)
        await house.clock.sleep(5.0)
        return answer

    house.upstream.on_cancel = slowly_told
    told = await cancel(house, task_id)
    assert (told["status"], told["cancel"], told["billed"]) == ("canceled", "canceled_upstream", False)
    assert "error" not in told
    assert [name for _, name in await house.runner.ledger.events(task_id, 0)][-1:] == ["canceled"]
    assert house.planned == ["delivery"]


async def test_a_task_that_runs_is_not_canceled() -> None:
    """What has begun upstream can't be stopped: the cancel is refused, and the task ends as if nobody had asked."""
    house = House()
    task_id = await house.accept()
    await house.clock.advance(3.0)
    assert "has begun" in await refuse(house, task_id)
    assert len(house.upstream.cancels) == 1
    assert (await house.end(task_id))["status"] == "succeeded"


async def test_a_task_that_has_ended_is_not_canceled() -> None:
    """The refusal tells how it ended; a second cancel is refused too."""
    house = House()
    ended = (await house.run()).task_id
    assert "succeeded" in await refuse(house, ended)
    task_id = await house.accept()
    await cancel(house, task_id)
    assert "canceled" in await refuse(house, task_id)
    assert house.upstream.cancels == []


async def test_only_the_caller_cancels() -> None:
    """A task of another key is unknown, and stays as it is."""
    house = House()
    task_id = await house.accept(terms=Terms(Payer("shop")))
    for caller in ("", "other"):
        with pytest.raises(TaskNotFound):
            await cancel(house, task_id, caller)
    with pytest.raises(TaskNotFound):
        await cancel(house, "00000000-0000-4000-8000-000000000000", "shop")
    assert (await cancel(house, task_id, "shop"))["status"] == "canceled"


async def test_who_is_held_hears_of_the_cancel() -> None:
    """A caller that waits for a task that is canceled is told at once, with the task's id."""
    house = House()
    caller = asyncio.create_task(house.hold())
    await house.clock.settle()
    (task,) = (await house.runner.list("", status=None, operation=None, limit=5, cursor=None))["tasks"]
    await cancel(house, task["task_id"])
    with pytest.raises(EditFailed) as caught:
        await caller
    assert "canceled" in caught.value.message
    assert (caught.value.task_id, caught.value.billed) == (task["task_id"], False)


async def test_a_cancel_gives_the_month_back() -> None:
    """What was canceled before it began counts for nothing, and is given back once."""
    house = House()
    terms = Terms(Payer("shop", 4))
    request = ChangeBgRequest(base_image_url="https://e.test/a", ref_image_url="https://e.test/b", n=4)
    task_id = await house.accept("change_bg", request, terms)
    with pytest.raises(QuotaExceeded):
        await house.accept("change_bg", request, terms)
    await cancel(house, task_id, "shop")
    await house.clock.advance(60.0)
    await house.accept("change_bg", request, terms)
    with pytest.raises(QuotaExceeded):
        await house.accept("change_bg", request, terms)


async def test_a_cancel_from_another_process_is_heard() -> None:
    """Whichever process is asked, the one that has the task in line lets it go."""
    first = House()
    begun = [await first.accept() for _ in range(3)]
    await first.clock.advance(2.0)
    second = House(first, owner="second", is_beside=True)
    await second.open()
    assert (await cancel(second, begun[2]))["cancel"] == "canceled_here"
    await first.clock.settle()
    assert begun[2] not in first.engine.running
    await first.clock.advance(60.0)
    assert len(first.upstream.submits) == 2
