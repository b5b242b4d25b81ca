"""Idempotency: one key and one body are one task, for a day; another body is refused."""

import asyncio
from collections.abc import Sequence

import httpx
import pytest

from fakes import fails, refuses
from house import URL, House
from imgapi.contract.edits import FixRequest, RemoveWatermarkRequest
from imgapi.contract.fields import Request
from imgapi.errors import IdempotencyConflict, QueueTooLong, TaskLost, UpstreamMisconfigured
from imgapi.tasks.acceptance import IDEMPOTENCY_SECONDS
from imgapi.tasks.record import Payer, Terms

MODEL = "wanx2.1-imageedit"
TERMS = Terms(idempotency_key="order 7")


async def test_the_same_request_is_the_same_task() -> None:
    """Sent again while it waits, runs and after it has ended, a request leads to one task and one answer."""
    house = House()
    first = await house.accept(terms=TERMS)
    assert await house.accept(terms=TERMS) == first
    await house.clock.advance(3.0)
    assert await house.accept(terms=TERMS) == first
    reply = await house.run(terms=TERMS)
    assert (await house.run(terms=TERMS)) == reply
    assert reply.task_id == first
    assert len(house.upstream.submits) == 1


async def test_fifty_at_once_are_one_task() -> None:
    """Simultaneous equal requests make one submit, and all are answered the same."""
    house = House()
    replies = await house.clock.run(asyncio.gather(*(house.hold(terms=TERMS) for _ in range(50))))
    assert len({reply.task_id for reply in replies}) == 1
    assert len(house.upstream.submits) == 1


@pytest.mark.parametrize(
    ("operation", "other"),
    [
        ("fix", FixRequest(base_image_url=URL, upscale_factor=3)),
        ("fix", FixRequest(base_image_url=URL + "?v=2")),
        ("remove_watermark", RemoveWatermarkRequest(image_url=URL)),
    ],
    ids=["parameter", "picture", "operation"],
)
async def test_another_request_is_refused(operation: str, other: Request) -> None:
    """A key that came with another body, or for another edit, is a conflict; nothing is started."""
    house = House()
    await house.accept(terms=TERMS)
    with pytest.raises(IdempotencyConflict):
        await house.accept(operation, other, TERMS)
    await house.clock.advance(60.0)
    assert len(house.upstream.submits) == 1


async def test_a_default_that_is_sent_is_the_same_request() -> None:
    """What a field is worth counts, not whether it was written."""
    house = House()
    first = await house.accept(terms=TERMS)
    assert await house.accept("fix", FixRequest(base_image_url=URL, upscale_factor=2), TERMS) == first


async def test_keys_are_each_callers_own() -> None:
    """Two callers who choose the same key have two tasks."""
    house = House()
    mine, theirs = (Terms(Payer(name), "order 7") for name in ("mine", "theirs"))
    assert await house.accept(terms=mine) != await house.accept(terms=theirs)
    assert await house.accept(terms=mine) == await house.accept(terms=mine)


async def test_a_key_lasts_for_a_day() -> None:
    """After 24 hours a key is fresh: the same request is a new task."""
    house = House()
    first = (await house.run(terms=TERMS)).task_id
    house.clock.jump(IDEMPOTENCY_SECONDS - 60.0)
    assert (await house.run(terms=TERMS)).task_id == first
    house.clock.jump(61.0)
    assert (await house.run(terms=TERMS)).task_id != first
    assert len(house.upstream.submits) == 2


async def test_a_failure_is_answered_again() -> None:
    """A task that was lost is not tried again under its key: the caller hears of the same loss."""
    house = House()
    house.upstream.scripts[MODEL] = [fails(httpx.ReadError("reset"))]
    errors = []
    for _ in range(2):
        with pytest.raises(TaskLost) as caught:
            await house.run(terms=TERMS)
        errors.append((caught.value.task_id, caught.value.billed, caught.value.sentence))
    assert errors[0] == errors[1]
    assert len(house.upstream.submits) == 1


async def test_a_key_survives_a_restart() -> None:
    """The next process knows the keys of the last one."""
    house = House()
    first = await house.accept(terms=TERMS)
    await house.die()
    following = House(house, owner="second")
    assert await following.accept(terms=TERMS) == first
    await following.end(first)
    assert len(house.upstream.submits) == 1


async def test_a_refusal_leaves_the_key_free() -> None:
    """A request that was refused with nothing recorded may be sent again under its key."""
    house = House(max_queue_seconds=0.0)
    begun = [await house.accept() for _ in range(2)]
    with pytest.raises(QueueTooLong):
        await house.accept(terms=TERMS)
    for task_id in begun:
        await house.end(task_id)
    assert await house.accept(terms=TERMS)


async def test_a_full_line_answers_who_is_known() -> None:
    """Where new tasks are refused, a request whose task is already there is answered."""
    house = House(max_queue_seconds=0.0)
    first = await house.accept(terms=TERMS)
    await house.accept()
    with pytest.raises(QueueTooLong):
        await house.accept()
    assert await house.accept(terms=TERMS) == first


async def test_an_upstream_that_refuses_is_no_reason_to_refuse_who_is_known() -> None:
    """While the upstream can only say no, the result that is there is still told under its key."""
    house = House()
    first = await house.run(terms=TERMS)
    house.upstream.scripts[MODEL] = [refuses(400, "Arrearage", "Access denied")]
    await house.fail(UpstreamMisconfigured)
    with pytest.raises(UpstreamMisconfigured):
        await house.accept()
    assert (await house.run(terms=TERMS)).task_id == first.task_id


async def test_pictures_are_kept_for_one_task() -> None:
    """What a repeated request carries is not kept again, or at once deleted where both came at the same time."""
    house = House()
    kept: list[str] = []

    async def store(request: Request) -> tuple[Request, Sequence[str]]:
        await house.clock.sleep(1.0)
        kept.append(f"picture-{len(kept)}")
        return request, [kept[-1]]

    house.runner.store_inputs = store
    first, second = await house.clock.run(asyncio.gather(*(house.accept(terms=TERMS) for _ in range(2))))
    assert first == second
    assert (kept, house.forgotten) == (["picture-0", "picture-1"], ["picture-1"])
    assert await house.accept(terms=TERMS) == first
    assert len(kept) == 2
    await house.end(first)
    await house.clock.settle()
    assert sorted(house.forgotten) == kept
