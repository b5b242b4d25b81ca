"""Fifty simultaneous equal requests at one real server on SQLite; the upstream's record judges."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from e2e.callers import ASYNC, body_of
from e2e.stages import Stage, staged

COUNT = 50


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One server on SQLite."""
    with staged(tmp_path_factory.mktemp("idempotency")) as running:
        yield running


async def post_equal(stage: Stage, key: str, prompt: str, **headers: str) -> list[httpx.Response]:
    """Send equal requests at once."""
    limits = httpx.Limits(max_connections=None)
    given = headers | {"Idempotency-Key": key}
    async with httpx.AsyncClient(base_url=stage.server.address, timeout=30.0, limits=limits, trust_env=False) as http:
        posts = (http.post("/fix", json=body_of(prompt), headers=given) for _ in range(COUNT))
        return await asyncio.gather(*posts)


async def test_fifty_equal_requests_make_one_submit(stage: Stage) -> None:
    """Requests of one key that don't wait are all given the same task, which is submitted once."""
    answers = await post_equal(stage, "not waiting", "not waiting", **ASYNC)
    assert Counter(answer.status_code for answer in answers) == {202: COUNT}
    (task_id,) = {answer.json()["task_id"] for answer in answers}
    stage.prompts[task_id] = "not waiting"
    assert (await stage.end_of(task_id))["status"] == "succeeded"
    assert len(stage.record.submits_of("not waiting")) == 1
    await stage.check()


async def test_fifty_held_requests_get_one_answer(stage: Stage) -> None:
    """Requests of one key that wait are all given the same result, which was submitted once."""
    answers = await post_equal(stage, "waiting", "waiting")
    assert Counter(answer.status_code for answer in answers) == {200: COUNT}
    assert len({answer.text for answer in answers}) == 1
    assert len(stage.record.submits_of("waiting")) == 1


async def test_another_body_under_a_known_key_is_refused(stage: Stage) -> None:
    """The key of an earlier request with another body is a 422, and nothing is submitted."""
    answers = await post_equal(stage, "not waiting", "something else", **ASYNC)
    assert Counter(answer.status_code for answer in answers) == {422: COUNT}
    assert stage.record.submits_of("something else") == []
