"""Server-sent events of a task over real HTTP."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from conftest import Service, run_service
from imgapi.api.tasks import _written
from imgapi.tasks.run import Event
from pictures import draw_photo, encode

MODEL = "wanx2.1-imageedit"


@pytest.fixture(scope="module")
def picture(data_url: Callable[..., str]) -> str:
    """A picture that fits every model as it is."""
    return data_url(encode(draw_photo(640, 560), "png"))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one running place."""
    yield from run_service(tmp_path_factory.mktemp("events"), model_limits={MODEL: (50.0, 1)})


def begin(service: Service, picture: str) -> str:
    """Start a task; return its id."""
    body = {"base_image_url": picture, "upscale_factor": 1}
    task_id: str = service.client.post("/fix", json=body, headers={"Prefer": "respond-async"}).json()["task_id"]
    return task_id


def read_events(text: str) -> list[dict[str, Any]]:
    """Read a whole stream as the HTML standard has it: events apart by an empty line, fields by a colon."""
    events = []
    for block in text.split("\n\n"):
        fields = [line.partition(":") for line in block.splitlines() if not line.startswith(":")]
        event = {name: value.removeprefix(" ") for name, _, value in fields}
        if event:
            events.append(event | {"data": json.loads(event["data"])})
    return events


def follow(service: Service, task_id: str, **headers: str) -> httpx.Response:
    """Follow a task to its end."""
    return service.client.get(f"/tasks/{task_id}/events", headers=headers)


def test_a_stream_tells_the_whole_life(service: Service, picture: str) -> None:
    """Each event has its number, its name and the task; the last has the body, and then the stream ends."""
    task_id = begin(service, picture)
    answer = follow(service, task_id)
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    events = [event for event in read_events(answer.text) if "id" in event]
    names = ["queued", "submitted", "running", "succeeded"]
    assert [(event["id"], event["event"]) for event in events] == [(str(n), name) for n, name in enumerate(names, 1)]
    assert {event["data"]["task_id"] for event in events} == {task_id}
    assert events[-1]["data"] == service.client.get(f"/tasks/{task_id}").json()
    assert events[-1]["data"]["results"]


@pytest.mark.parametrize("last", [0, 1, 3, 4, 99])
def test_a_stream_goes_on_after_the_last_event(service: Service, picture: str, last: int) -> None:
    """`Last-Event-ID` of the event seen last leads to those after it, and none twice."""
    task_id = begin(service, picture)
    follow(service, task_id)
    again = read_events(follow(service, task_id, **{"Last-Event-ID": str(last)}).text)
    assert [event["id"] for event in again] == [str(number) for number in range(last + 1, 5)]


@pytest.mark.parametrize("last", ["-1", "1.5", "x", "9" * 40])
def test_a_number_that_no_event_has_is_refused(service: Service, picture: str, last: str) -> None:
    """A `Last-Event-ID` of another make is a 400 that names it."""
    task_id = begin(service, picture)
    follow(service, task_id)
    answer = follow(service, task_id, **{"Last-Event-ID": last})
    assert answer.status_code == 400
    assert answer.json()["field"].lower() == "last-event-id"


def test_a_failure_ends_the_stream_with_its_error(service: Service, picture: str) -> None:
    """The event `failed` has the documented error's fields."""
    assert service.parts.emulator is not None
    fault = {"match": {"call": "submit"}, "do": {"fail": "InternalError.Algo"}, "times": 1}
    service.parts.emulator.faults.script(fault)
    last = read_events(follow(service, begin(service, picture)).text)[-1]
    assert last["event"] == "failed"
    assert (last["data"]["status"], last["data"]["code"], last["data"]["billed"]) == ("failed", "edit_failed", False)


def test_events_arrive_as_they_happen(narrow: Service, picture: str) -> None:
    """A waiting task's place is told while it waits, and a cancel the moment it happens, on an open line."""
    assert narrow.parts.emulator is not None
    narrow.parts.emulator.faults.script({"match": {"call": "submit"}, "do": {"hold": "PENDING"}, "times": 1})
    ahead, task_id = begin(narrow, picture), begin(narrow, picture)
    seen: list[tuple[str, dict[str, Any]]] = []
    with narrow.client.stream("GET", f"/tasks/{task_id}/events") as answer:
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event:"):
                name = line.removeprefix("event:").strip()
            if line.startswith("data:"):
                seen.append((name, json.loads(line.removeprefix("data:"))))
                if len(seen) == 1:
                    narrow.client.post(f"/tasks/{task_id}/cancel")
    assert [name for name, _ in seen] == ["queued", "canceled"]
    assert seen[0][1]["queue_position"] == 1
    assert seen[1][1]["status"] == "canceled"
    narrow.client.post(f"/tasks/{ahead}/cancel")


def test_who_stops_listening_is_forgotten(narrow: Service, picture: str) -> None:
    """A caller who leaves the stream costs nothing more."""
    assert narrow.parts.emulator is not None
    narrow.parts.emulator.faults.script({"match": {"call": "submit"}, "do": {"hold": "PENDING"}, "times": 1})
    task_id = begin(narrow, picture)
    with narrow.client.stream("GET", f"/tasks/{task_id}/events") as answer:
        next(answer.iter_lines())
    narrow.client.post(f"/tasks/{task_id}/cancel")
    assert task_id not in narrow.parts.changes._watches


async def test_silence_is_written_as_a_comment() -> None:
    """A word without news is a comment, which no reader of events sees; a look has no number that could be resumed."""

    async def events() -> AsyncIterator[Event | None]:
        yield Event(1, "queued", {"task_id": "t-1", "prompt": "猫\n犬"})
        yield None
        yield Event(None, "queued", {"task_id": "t-1"})

    text = b"".join([part async for part in _written(events())]).decode()
    assert text.split("\n\n")[1].startswith(":")
    first, look = read_events(text)
    assert first == {"id": "1", "event": "queued", "data": {"task_id": "t-1", "prompt": "猫\n犬"}}
    assert look == {"event": "queued", "data": {"task_id": "t-1"}}
