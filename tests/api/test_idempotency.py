"""`Idempotency-Key` over real HTTP: one key, one body, one task."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from conftest import Service
from pictures import draw_photo, encode

COUNT = 50


@pytest.fixture(scope="module")
def picture(data_url: Callable[..., str]) -> str:
    """A picture that fits every model as it is."""
    return data_url(encode(draw_photo(640, 560), "png"))


def fresh() -> dict[str, str]:
    """A key that nobody has used."""
    return {"Idempotency-Key": str(uuid4())}


def body_of(picture: str, **fields: Any) -> dict[str, Any]:
    """The cheapest edit."""
    return {"base_image_url": picture, "upscale_factor": 1} | fields


def submits(service: Service) -> int:
    """How many submits the upstream has received."""
    assert service.parts.emulator is not None
    return service.parts.emulator.ledger.call_counts["submit"]


def test_a_repeated_request_has_the_same_answer(service: Service, picture: str) -> None:
    """Sent again with its key a request is answered the same, field by field, and submitted once."""
    key, before = fresh(), submits(service)
    first, second = (service.client.post("/fix", json=body_of(picture), headers=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200), first.text
    assert first.json() == second.json()
    assert submits(service) == before + 1


def test_who_asked_for_the_task_may_ask_for_its_end(service: Service, picture: str) -> None:
    """The key leads to the task, however its caller prefers to wait for it."""
    key = fresh()
    task = service.client.post("/fix", json=body_of(picture), headers=key | {"Prefer": "respond-async"}).json()
    reply = service.client.post("/fix", json=body_of(picture), headers=key).json()
    assert reply["task_id"] == task["task_id"]
    again = service.client.post("/fix", json=body_of(picture), headers=key | {"Prefer": "respond-async"})
    assert again.json()["task_id"] == task["task_id"]


@pytest.mark.parametrize("path", ["/fix", "/remove_bg"])
def test_another_body_is_a_conflict(service: Service, picture: str, path: str) -> None:
    """The same key with another body, or at another edit, is a 422 that says what to do, and starts nothing."""
    key = fresh()
    service.client.post("/fix", json=body_of(picture), headers=key)
    before = submits(service)
    other = body_of(picture, upscale_factor=2) if path == "/fix" else {"image_url": picture}
    answer = service.client.post(path, json=other, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_conflict")
    assert "send a new key" in answer.json()["error"]
    assert answer.json()["billed"] is False
    assert submits(service) == before


def test_an_edit_that_runs_here_has_keys_too(service: Service, picture: str) -> None:
    """A cut-out under a known key is the one that was made."""
    key = fresh()
    replies = [service.client.post("/remove_bg", json={"image_url": picture}, headers=key).json() for _ in range(2)]
    assert replies[0] == replies[1]


def test_a_repeated_failure_is_the_same_failure(service: Service, picture: str) -> None:
    """A task that failed is told again as it failed, and is not tried a second time."""
    assert service.parts.emulator is not None
    fault = {"match": {"call": "submit"}, "do": {"fail": "InternalError.Algo"}, "times": 1}
    service.parts.emulator.faults.script(fault)
    key, before = fresh(), submits(service)
    answers = [service.client.post("/fix", json=body_of(picture), headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [500, 500]
    told = [{name: value for name, value in answer.json().items() if name != "request_id"} for answer in answers]
    assert told[0] == told[1]
    assert told[0]["code"] == "edit_failed"
    assert submits(service) == before + 1


def test_a_deleted_task_frees_its_key(service: Service, picture: str) -> None:
    """What was forgotten is done anew."""
    key = fresh()
    first = service.client.post("/fix", json=body_of(picture), headers=key).json()["task_id"]
    assert service.client.delete(f"/tasks/{first}").status_code == 204
    assert service.client.post("/fix", json=body_of(picture), headers=key).json()["task_id"] != first


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9", "a\tb"], ids=["empty", "long", "accent", "tab"])
def test_a_key_that_is_none_is_refused(service: Service, picture: str, key: str) -> None:
    """A key must be printable ASCII of up to 255 characters; the answer names the field."""
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = service.client.post("/fix", json=body_of(picture), headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == "Idempotency-Key"
    assert "255" in answer.json()["error"]


@pytest.mark.parametrize("prefer", ["respond-async", "wait=30", "handling=lenient"])
async def test_fifty_equal_requests_at_once_are_submitted_once(service: Service, picture: str, prefer: str) -> None:
    """However many equal requests come at the same moment, there is one task, one submit, and one answer to all."""
    headers, before = fresh() | {"Prefer": prefer}, submits(service)
    limits = httpx.Limits(max_connections=COUNT)
    async with httpx.AsyncClient(base_url=service.address, timeout=60, limits=limits, trust_env=False) as client:
        posts = (client.post("/fix", json=body_of(picture), headers=headers) for _ in range(COUNT))
        answers = await asyncio.gather(*posts)
        task_ids = {answer.json()["task_id"] for answer in answers}
        assert len(task_ids) == 1
        status = 202 if prefer == "respond-async" else 200
        # Who comes when the edit has ended is told its task all the same.
        assert Counter(answer.status_code for answer in answers) == {status: COUNT}
        if status == 200:
            assert len({answer.text for answer in answers}) == 1
        await client.post("/fix", json=body_of(picture), headers={**headers, "Prefer": "wait=30"})
    assert submits(service) == before + 1
