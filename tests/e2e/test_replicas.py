"""Two and three replicas on one PostgreSQL database, one killed under load; the upstream's record judges."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.callers import ASYNC, body_of
from e2e.judge import most_running, read_spans, used_places, used_rate
from e2e.stages import MODEL, Stage, staged, until
from postgres import new_postgres

QUERIES_PER_SECOND = 20
LEAST_USE = 0.9
# Time as far as this machine can measure it: tests share its cores with the processes that they watch, so a call may be
# seen this much later than it was sent. A late one falls into the next one's second; over five seconds that evens out.
# Three replicas that kept no common pace would be far above both; `unit/test_tasks_lanes.py` holds the pace exactly.
JITTER_SECONDS = 0.25
SECOND, FIVE_SECONDS = 1.0 - JITTER_SECONDS, 5.0 - JITTER_SECONDS
# Many places: what bounds these tasks is the rate.
RATE, MANY_PLACES, SHORT_TASKS = 2, 40, 40
# A high rate: what bounds these tasks is the number that may run.
HIGH_RATE, PLACES, LONG_TASKS = 20, 6, 18


@contextlib.contextmanager
def replicas(folder: Path, count: int, limits: str) -> Iterator[Stage]:
    """Run replicas that share a new database."""
    with new_postgres() as url:
        variables = {"IMGAPI_DATABASE_URL": url, "IMGAPI_MODEL_LIMITS": f"{MODEL}={limits}"}
        with staged(folder, count, **variables) as stage:
            yield stage


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Three replicas with so many places that the rate alone bounds them."""
    with replicas(tmp_path_factory.mktemp("three"), 3, f"{RATE}/{MANY_PLACES}") as stage:
        yield stage


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two replicas with so high a rate that the places alone bound them."""
    with replicas(tmp_path_factory.mktemp("two"), 2, f"{HIGH_RATE}/{PLACES}") as stage:
        yield stage


async def test_equal_requests_at_three_replicas_make_one_submit(three: Stage) -> None:
    """Fifty simultaneous requests with one key, spread over three replicas, are one task and one submit."""
    headers = ASYNC | {"Idempotency-Key": "fifty at once"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=30.0, limits=limits, trust_env=False) as http:
        addresses = [three.servers[number % 3].address for number in range(50)]
        posts = (http.post(f"{address}/fix", json=body_of("equal"), headers=headers) for address in addresses)
        answers = await asyncio.gather(*posts)
    assert Counter(answer.status_code for answer in answers) == {202: 50}
    (task_id,) = {answer.json()["task_id"] for answer in answers}
    three.prompts[task_id] = "equal"
    assert (await three.end_of(task_id))["status"] == "succeeded"
    assert len(three.record.submits_of("equal")) == 1
    await three.check()


async def test_three_replicas_keep_the_rate_and_use_it_when_one_is_killed(three: Stage) -> None:
    """One of three killed under load: all tasks end, none is submitted twice, and the rate is kept and used."""
    three.emulator.set_pace(progress="seconds", factor=0.1)
    prompts = [f"short {number}" for number in range(SHORT_TASKS)]
    task_ids = await three.accept_all(prompts)
    await until(lambda: count_submits(three, "short") >= SHORT_TASKS // 6, "a sixth was submitted")
    three.servers[-1].kill()
    await three.until_told(task_ids, 60.0)
    assert_all_ended(three, await three.ends_of(task_ids))
    assert three.record.most_submits(MODEL, SECOND) <= RATE + 1
    assert three.record.most_submits(MODEL, FIVE_SECONDS) <= 5 * RATE
    assert three.record.most_looks(SECOND) <= QUERIES_PER_SECOND
    starts = [submit.started for submit in three.record.submits if submit.prompt.startswith("short")]
    assert used_rate(starts, RATE) >= LEAST_USE
    await three.check()


async def test_two_replicas_keep_the_places_and_use_them_when_one_is_killed(two: Stage) -> None:
    """One of two killed under load: all tasks end, none is submitted twice, and the places are kept and used."""
    two.emulator.set_pace(progress="seconds", factor=1.0, spread=0.1)
    prompts = [f"long {number}" for number in range(LONG_TASKS)]
    task_ids = await two.accept_all(prompts)
    await until(lambda: count_submits(two, "long") >= PLACES, "all places are taken")
    await until(lambda: len(two.record.of("poll")) > 0, "a task was looked at")
    two.servers[-1].kill()
    await two.until_told(task_ids, 80.0)
    assert_all_ended(two, await two.ends_of(task_ids))
    assert two.record.most_submits(MODEL, SECOND) <= HIGH_RATE
    assert two.record.most_looks(SECOND) <= QUERIES_PER_SECOND
    assert two.emulator.ledger()["peak_running"][MODEL] <= PLACES
    spans = read_spans(two.emulator.list_tasks())
    assert most_running(spans, MODEL) <= PLACES
    assert used_places(spans, PLACES) >= LEAST_USE
    await two.check()


def count_submits(stage: Stage, word: str) -> int:
    """Count the submits whose prompt begins with a word."""
    return sum(submit.prompt.startswith(word) for submit in stage.record.submits)


def assert_all_ended(stage: Stage, ends: dict[str, dict[str, object]]) -> None:
    """Every task succeeded; at most the one submit that the killed replica had under way is lost, and says so."""
    lost = [task for task in ends.values() if task["status"] != "succeeded"]
    assert len(lost) <= 1
    assert all((task["status"], task["billed"]) == ("failed", "unknown") for task in lost)
    assert stage.record.doubles == {}
