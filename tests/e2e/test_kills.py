"""kill -9 at every edge of a task's life, and a restart on the same data folder; the upstream's record judges.

The edges are reached from outside: the upstream hangs where it is told to, the webhook receiver keeps its sender
waiting, and the record of requests tells when the edge is reached. `bench/kills.py` kills at random moments.
"""

import asyncio
import io
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from e2e.stages import MODEL, Stage, staged, until

HANG_SECONDS = 60.0
# A submit of unknown fate may be running upstream, so its place stays taken for a while: one for each, and one more.
PLACES = 4


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One server on SQLite with few running places, results kept and webhooks sent, for all tests of this file."""
    with staged(tmp_path_factory.mktemp("kills"), IMGAPI_MODEL_LIMITS=f"{MODEL}=20/{PLACES}") as stage:
        yield stage


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    """The same, with no fault left over, and the server up again whatever a test has left."""
    yield running
    running.receiver.release()
    running.emulator.clear_faults()
    running.emulator.set_pace()
    if not running.server.is_running:
        running.server.start()


async def test_before_the_intent_while_the_picture_is_handed_over(stage: Stage) -> None:
    """A task killed while its picture is on the way upstream is submitted once and succeeds after the restart."""
    stage.emulator.script("upload", delay_seconds=HANG_SECONDS)
    task_id = await stage.accept("handed over")
    await stage.until_called("upload")
    stage.restart()
    assert (await stage.end_of(task_id))["status"] == "succeeded"
    assert len(stage.record.submits_of("handed over")) == 1
    await stage.check()


async def test_before_the_intent_while_waiting_in_line(stage: Stage) -> None:
    """A task killed while it waits for a running place keeps its turn; those that ran are not submitted again."""
    stage.emulator.set_pace(progress="seconds", factor=0.25, spread=0.0)
    prompts = [f"line {number}" for number in range(PLACES + 1)]
    task_ids = [await stage.accept(prompt) for prompt in prompts]
    await until(lambda: len(line_of(stage)) >= PLACES, "all places are taken")
    await until(lambda: all(submit.ended for submit in stage.record.submits), "all submits are answered")
    last = await stage.look(task_ids[-1])
    assert (last["status"], last["queue_position"]) == ("queued", 1)
    stage.restart()
    ends = await stage.ends_of(task_ids)
    assert [ends[task_id]["status"] for task_id in task_ids] == ["succeeded"] * (PLACES + 1)
    assert sorted(line_of(stage)) == prompts
    assert line_of(stage)[-1] == prompts[-1]
    await stage.check()


def line_of(stage: Stage) -> list[str]:
    """The prompts of the line that were submitted, in order."""
    return [submit.prompt for submit in stage.record.submits if submit.prompt.startswith("line")]


async def test_while_polling(stage: Stage) -> None:
    """A task killed between two looks is followed to its end, and not submitted again."""
    stage.emulator.set_pace(progress="looks", looks=1)
    polls = len(stage.record.of("poll"))
    task_id = await stage.accept("polled")
    await until(lambda: len(stage.record.of("poll")) > polls, "the task was looked at")
    stage.restart()
    assert (await stage.end_of(task_id))["status"] == "succeeded"
    assert len(stage.record.submits_of("polled")) == 1
    await stage.check()


async def test_while_copying_results(stage: Stage) -> None:
    """A task killed while its result is copied is copied again; its link is ours and opens."""
    stage.emulator.script("result", delay_seconds=HANG_SECONDS)
    task_id = await stage.accept("copied")
    await stage.until_called("result")
    stage.restart()
    task = await stage.end_of(task_id)
    assert task["status"] == "succeeded"
    link = task["results"][0]["url"]
    assert link.startswith(stage.server.address)
    answer = await asyncio.to_thread(httpx.get, link, trust_env=False)
    picture = Image.open(io.BytesIO(answer.raise_for_status().content))
    assert picture.size == (512, 512)
    await stage.check()


async def test_while_delivering_a_webhook(stage: Stage) -> None:
    """An event whose receiver had not answered is sent again under the same id; the task does not end twice."""
    stage.receiver.hold()
    task_id = await stage.accept("told")
    await until(lambda: len(stage.receiver.of(task_id)) == 1, "the webhook was sent")
    stage.server.kill()
    stage.receiver.release()
    stage.server.start()
    await until(lambda: len(stage.receiver.of(task_id)) > 1, "the webhook was sent again")
    assert len({delivery.event_id for delivery in stage.receiver.of(task_id)}) == 1
    assert (await stage.end_of(task_id))["status"] == "succeeded"
    await stage.check()


async def test_after_the_intent(stage: Stage) -> None:
    """A task killed between a refused submit and the next attempt ends once, and is accepted upstream at most once."""
    stage.emulator.script("submit", status=429, headers={"Retry-After": "3"})
    created = stage.emulator.ledger()["tasks_created"]
    task_id = await stage.accept("refused at first")
    await until(lambda: any(submit.status == 429 for submit in stage.record.submits), "the submit was refused")
    stage.restart()
    task = await stage.end_of(task_id)
    accepted = stage.emulator.ledger()["tasks_created"] - created
    assert (task["status"], accepted) in {("succeeded", 1), ("failed", 0)}
    assert task["status"] == "succeeded" or task["billed"] == "unknown"
    await stage.check()


async def test_during_the_submit_before_the_upstream_accepts(stage: Stage) -> None:
    """A submit that the upstream had read and not accepted is reported as unknown, and never repeated."""
    stage.emulator.script("submit", status=500, delay_seconds=HANG_SECONDS)
    created = stage.emulator.ledger()["tasks_created"]
    task_id = await stage.accept("not accepted")
    await stage.until_called("submit")
    stage.restart()
    task = await stage.end_of(task_id)
    assert (task["status"], task["billed"]) == ("failed", "unknown")
    await stage.check()
    assert len(stage.record.submits_of("not accepted")) == 1
    assert stage.emulator.ledger()["tasks_created"] == created


async def test_during_the_submit_after_the_upstream_accepted(stage: Stage) -> None:
    """A submit that was accepted without the answer getting through is reported as unknown, and never repeated."""
    stage.emulator.script("submit", delay_seconds=HANG_SECONDS)
    created = stage.emulator.ledger()["tasks_created"]
    task_id = await stage.accept("accepted unheard")
    await stage.until_called("submit")
    stage.restart()
    task = await stage.end_of(task_id)
    assert (task["status"], task["billed"]) == ("failed", "unknown")
    await stage.check()
    assert len(stage.record.submits_of("accepted unheard")) == 1
    assert stage.emulator.ledger()["tasks_created"] == created + 1


async def test_kills_leave_no_process_behind(stage: Stage) -> None:
    """The worker processes of a killed server end by themselves."""
    assert stage.server.orphans == []
