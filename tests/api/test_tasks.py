"""The routes of tasks, and what callers may prefer, over real HTTP."""

import asyncio
import base64
import json
import math
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from conftest import Service, run_service
from imgapi.api.asked import Preference, read_preference
from imgapi.api.keys import new_key
from pictures import draw_photo, encode

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
NOBODY = "00000000-0000-4000-8000-000000000000"
ASYNC = {"Prefer": "respond-async"}
MODEL = "wanx2.1-imageedit"
MINE, THEIRS = new_key(), new_key()


@pytest.fixture(scope="module")
def picture(data_url: Callable[..., str]) -> str:
    """A picture that fits every model as it is."""
    return data_url(encode(draw_photo(640, 560), "png"))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one running place, where nobody may wait in line and nobody is held for long."""
    folder = tmp_path_factory.mktemp("narrow")
    yield from run_service(folder, model_limits={MODEL: (50.0, 1)}, max_wait=0.8, max_queue_seconds=0.0)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one running place and a long line."""
    yield from run_service(tmp_path_factory.mktemp("patient"), model_limits={MODEL: (50.0, 1)})


def ask(service: Service, picture: str, **headers: str) -> httpx.Response:
    """Ask for the cheapest edit."""
    return service.client.post("/fix", json={"base_image_url": picture, "upscale_factor": 1}, headers=headers)


def begin(service: Service, picture: str) -> str:
    """Start a task; return its id."""
    answer = ask(service, picture, **ASYNC)
    assert answer.status_code == 202, answer.text
    task_id: str = answer.json()["task_id"]
    return task_id


def look(service: Service, task_id: str) -> dict[str, Any]:
    """Look at a task."""
    answer = service.client.get(f"/tasks/{task_id}")
    assert answer.status_code == 200, answer.text
    task: dict[str, Any] = answer.json()
    return task


def wait_for(service: Service, task_id: str, *words: str) -> dict[str, Any]:
    """Wait until a task is of one of these statuses, or has an upstream id."""
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        task = look(service, task_id)
        if task["status"] in words or set(words) & set(task):
            return task
        time.sleep(0.02)
    raise AssertionError(f"{task['status']}, not {words}")


def script(service: Service, do: dict[str, Any]) -> None:
    """Script a fault for the next submit."""
    assert service.parts.emulator is not None
    service.parts.emulator.faults.script({"match": {"call": "submit"}, "do": do, "times": 1})


def hold(service: Service, picture: str, status: str) -> str:
    """Start a task that the upstream keeps at a status."""
    script(service, {"hold": status})
    task_id = begin(service, picture)
    wait_for(service, task_id, "running")
    return task_id


def assert_error(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Hold an answer against the documented error shape; return its body."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    body: dict[str, Any] = answer.json()
    return body


NOTHING = Preference()
PREFERENCES = {
    "": NOTHING,
    "respond-async": Preference(says_async=True),
    "RESPOND-ASYNC": Preference(says_async=True),
    "wait=20": Preference(wait_seconds=20),
    'Wait = "20"': Preference(wait_seconds=20),
    "wait=0": Preference(wait_seconds=0),
    "respond-async, wait=10": Preference(says_async=True, wait_seconds=10),
    "wait=10,respond-async": Preference(says_async=True, wait_seconds=10),
    "respond-async; strength=high, wait=5; unit=s": Preference(says_async=True, wait_seconds=5),
    "wait=10, wait=99": Preference(wait_seconds=10),
    "respond-async, respond-async": Preference(says_async=True),
    "handling=lenient": NOTHING,
    "handling=lenient, respond-async": Preference(says_async=True),
    'note="a, respond-async"': NOTHING,
    'note="a \\", wait=3", wait=4': Preference(wait_seconds=4),
    "wait=-1": NOTHING,
    "wait=1.5": NOTHING,
    "wait=soon": NOTHING,
    "wait": NOTHING,
    "wait=": NOTHING,
    "wait=999999999999": NOTHING,
    "wait=\u0661": NOTHING,
    "respond-asynchronously": NOTHING,
    ",, ,": NOTHING,
    "=;,=": NOTHING,
}


@pytest.mark.parametrize("text", PREFERENCES)
def test_preferences_are_read_as_the_rfc_has_them(text: str) -> None:
    """RFC 7240: names in any case, values quoted or not, parameters passed over, the first of equals counts."""
    assert read_preference(text) == PREFERENCES[text]


@pytest.mark.parametrize(
    ("text", "within"),
    [
        ("respond-async", (0, "respond-async")),
        ("wait=20", (20, "wait=20")),
        ("wait=10, respond-async", (10, "respond-async, wait=10")),
        ("wait=86400", (540, "wait=540")),
    ],
)
def test_what_is_applied_of_a_preference_is_told(text: str, within: tuple[int, str]) -> None:
    """A wait beyond the longest hold, 540 s here, is told as what it was cut to."""
    assert read_preference(text).within(540.0) == within


def test_a_task_is_answered_at_once(service: Service, picture: str) -> None:
    """`Prefer: respond-async` is a 202 with the task, where it is, and what was done of the preference."""
    answer = ask(service, picture, **ASYNC)
    assert answer.status_code == 202
    task = answer.json()
    assert UUID.fullmatch(task["task_id"])
    assert answer.headers["location"] == f"/tasks/{task['task_id']}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert task["operation"] == "fix"
    assert task["status"] in {"queued", "running"}
    ended = wait_for(service, task["task_id"], "succeeded")
    assert ended["results"][0]["url"]
    assert ended["billed"] is False


def test_who_waits_long_enough_gets_the_end(service: Service, picture: str) -> None:
    """`Prefer: wait=N` answers the documented reply when the edit ends in time, with what was applied."""
    answer = ask(service, picture, Prefer="wait=30")
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.json()["task_status"] == "SUCCEEDED"
    assert "location" not in answer.headers


def test_preferences_may_come_in_several_fields(service: Service, picture: str) -> None:
    """Two `Prefer` fields count as one with a comma."""
    headers = [("Prefer", "handling=lenient"), ("Prefer", "respond-async"), ("Prefer", "foo")]
    body = {"base_image_url": picture, "upscale_factor": 1}
    assert service.client.post("/fix", json=body, headers=headers).status_code == 202


def test_without_a_preference_the_reply_is_the_documented_one(service: Service, picture: str) -> None:
    """Who says nothing is held to the end, and told of no preference."""
    answer = ask(service, picture)
    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers
    assert answer.json()["results"]


def test_who_waits_in_vain_gets_the_task(patient: Service, picture: str) -> None:
    """When the edit doesn't end in the time preferred, the answer is the same 202."""
    script(patient, {"hold": "PENDING"})
    begun = time.monotonic()
    answer = ask(patient, picture, Prefer="wait=1")
    assert 0.9 <= time.monotonic() - begun < 10.0
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/tasks/{answer.json()['task_id']}"
    assert answer.json()["status"] == "running"
    assert patient.client.post(f"/tasks/{answer.json()['task_id']}/cancel").status_code == 200


def test_a_caller_is_not_held_for_ever(narrow: Service, picture: str) -> None:
    """Beyond IMGAPI_MAX_WAIT the caller gets the documented error with the task's id, and the task goes on."""
    script(narrow, {"hold": "PENDING"})
    error = assert_error(ask(narrow, picture), 500, "still_running")
    assert f"/tasks/{error['task_id']}" in error["error"]
    assert error["billed"] == "unknown"
    assert error["upstream_task_id"]
    assert look(narrow, error["task_id"])["status"] == "running"
    assert narrow.client.post(f"/tasks/{error['task_id']}/cancel").json()["cancel"] == "canceled_upstream"


def test_a_line_that_is_too_long_refuses(narrow: Service, picture: str) -> None:
    """Beyond IMGAPI_MAX_QUEUE_SECONDS a new task is a 429 that says when to come again, and nothing is stored."""
    held = hold(narrow, picture, "PENDING")
    inputs = narrow.parts.settings.data_dir / "inputs"
    before, kept = narrow.client.get("/tasks").json()["tasks"], set(inputs.iterdir())
    answer = ask(narrow, picture, **ASYNC)
    error = assert_error(answer, 429, "queue_too_long")
    assert "task_id" not in error
    assert error["billed"] is False
    assert int(answer.headers["retry-after"]) >= 1
    assert narrow.client.get("/tasks").json()["tasks"] == before
    assert set(inputs.iterdir()) <= kept
    assert narrow.client.post(f"/tasks/{held}/cancel").status_code == 200
    assert ask(narrow, picture, Prefer="wait=20").status_code in {200, 202}


def test_the_life_of_a_task_over_http(patient: Service, picture: str) -> None:
    """Queued with its place, canceled while it waits, and the rest goes on."""
    first = hold(patient, picture, "PENDING")
    second, third = begin(patient, picture), begin(patient, picture)
    waiting = wait_for(patient, third, "queued")
    assert waiting["queue_position"] == 2
    assert waiting["estimated_seconds"] > 0
    canceled = patient.client.post(f"/tasks/{second}/cancel")
    assert canceled.status_code == 200
    assert (canceled.json()["cancel"], canceled.json()["status"]) == ("canceled_here", "canceled")
    assert look(patient, third)["queue_position"] == 1
    assert "cancel" not in look(patient, second)
    upstream = patient.client.post(f"/tasks/{first}/cancel").json()
    assert (upstream["cancel"], upstream["billed"]) == ("canceled_upstream", False)
    assert wait_for(patient, third, "succeeded")["results"]


def test_what_runs_is_not_canceled_or_deleted(tmp_path: Path, picture: str) -> None:
    """A task that has begun upstream is a 409 for both, with its id; unknown tasks are 404."""
    for service in run_service(tmp_path):
        task_id = hold(service, picture, "RUNNING")
        error = assert_error(service.client.post(f"/tasks/{task_id}/cancel"), 409, "task_not_cancellable")
        assert error["task_id"] == task_id
        assert_error(service.client.delete(f"/tasks/{task_id}"), 409, "task_not_cancellable")
        assert look(service, task_id)["status"] == "running"


def test_a_deleted_task_is_gone(service: Service, picture: str) -> None:
    """DELETE is a 204 without a body; afterwards the task is unknown, and so is its kept result."""
    reply = service.post("/remove_bg", {"image_url": picture}).json()
    link = reply["results"][0]["url"]
    assert service.client.get(link).status_code == 200
    answer = service.client.delete(f"/tasks/{reply['task_id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert_error(service.client.get(f"/tasks/{reply['task_id']}"), 404, "task_not_found")
    assert service.client.get(link).status_code == 410


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/events"),
        ("GET", "/deliveries"),
        ("POST", "/deliveries/x/replay"),
    ],
)
def test_unknown_tasks_are_told_so(service: Service, method: str, path: str) -> None:
    """Every route of a task answers 404 for one that is not there, in the documented shape."""
    for unknown in (NOBODY, "nothing", "%00", "x" * 300):
        assert_error(service.client.request(method, f"/tasks/{unknown}{path}"), 404, "task_not_found")


def test_lists_lead_from_page_to_page(service: Service, picture: str) -> None:
    """The newest come first; `next_cursor` leads on; filters hold; wrong values name their field."""
    made = [service.post("/remove_bg", {"image_url": picture}).json()["task_id"] for _ in range(3)]
    page = service.client.get("/tasks", params={"limit": 2, "operation": "remove_bg"}).json()
    assert [task["task_id"] for task in page["tasks"]] == made[:0:-1]
    query = {"limit": 2, "operation": "remove_bg", "cursor": page["next_cursor"]}
    assert service.client.get("/tasks", params=query).json()["tasks"][0]["task_id"] == made[0]
    assert service.client.get("/tasks", params={"status": "canceled", "operation": "expand"}).json() == {"tasks": []}
    wrong = {"status": "lost", "operation": "resize", "limit": "0", "cursor": "x"}
    for name, value in wrong.items():
        error = assert_error(service.client.get("/tasks", params={name: value}), 400, "invalid_parameter")
        assert error["field"] == name
    assert service.client.get("/tasks", params={"limit": 101}).status_code == 400


@pytest.mark.parametrize(
    "words", [[1.0, "\x00"], [math.nan, NOBODY], [math.inf, NOBODY], [10**400, NOBODY], [None, None]]
)
def test_a_cursor_that_no_list_gave_is_refused(service: Service, words: list[Any]) -> None:
    """An instant that is none and an id that no database takes are told apart from the next page."""
    cursor = base64.urlsafe_b64encode(json.dumps(words).encode()).decode()[:200]
    answer = service.client.get("/tasks", params={"cursor": cursor})
    assert answer.status_code == 400
    assert answer.json()["field"] == "cursor"


def test_a_failed_edit_is_told_twice_the_same(service: Service, picture: str) -> None:
    """The error that a held caller gets stands in the task, with what it cost."""
    script(service, {"fail": "InternalError.Algo"})
    error = assert_error(ask(service, picture), 500, "edit_failed")
    assert (error["billed"], error["usage"]) == (False, {"images": 0, "list_price_cny": 0.0})
    task = look(service, error["task_id"])
    assert (task["status"], task["error"], task["code"]) == ("failed", error["error"], error["code"])


def test_what_is_refused_before_it_is_a_task_costs_nothing(service: Service) -> None:
    """A validation error of an edit says that nothing is paid; one of a utility has nothing to say about that."""
    error = assert_error(service.post("/fix", {"base_image_url": ""}), 400, "invalid_parameter")
    assert error["billed"] is False
    assert "task_id" not in error
    assert "billed" not in service.post("/utils/photo_resize_url", {"image_url": ""}).json()


def test_results_are_kept_where_there_is_a_place(tmp_path: Path, picture: str) -> None:
    """With IMGAPI_RESULTS set the link is ours, tells its end, opens, and dies with the task."""
    for service in run_service(tmp_path / "data", results=str(tmp_path / "kept"), results_ttl=3600.0):
        reply = ask(service, picture).json()
        (result,) = reply["results"]
        assert result["url"].startswith(f"{service.address}/results/")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", result["expires_at"])
        assert service.client.get(result["url"]).headers["content-type"].startswith("image/")
        assert len(list((tmp_path / "kept").rglob("*.png"))) == 1
        service.client.delete(f"/tasks/{reply['task_id']}")
        assert service.client.get(result["url"]).status_code == 410
        assert not list((tmp_path / "kept").rglob("*.png"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with two keys."""
    folder = tmp_path_factory.mktemp("guarded")
    path = folder / "keys.toml"
    keys = {"mine": MINE[1], "theirs": THEIRS[1]}
    path.write_text("\n".join(f'[[keys]]\nname = "{name}"\nhash = "{hashed}"' for name, hashed in keys.items()))
    yield from run_service(folder, api_keys_file=path)


def test_tasks_are_each_keys_own(guarded: Service, picture: str) -> None:
    """Another key neither sees, cancels, follows nor deletes a task, and without a key nobody does."""
    mine, theirs = ({"X-API-Key": key} for key in (MINE[0], THEIRS[0]))
    task_id = ask(guarded, picture, **mine, **ASYNC).json()["task_id"]
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/events"), ("GET", "/deliveries")):
        assert guarded.client.request(method, f"/tasks/{task_id}{path}").status_code == 401
        foreign = guarded.client.request(method, f"/tasks/{task_id}{path}", headers=theirs)
        assert_error(foreign, 404, "task_not_found")
    assert guarded.client.get("/tasks", headers=theirs).json() == {"tasks": []}
    (task,) = guarded.client.get("/tasks", headers=mine).json()["tasks"]
    assert task["task_id"] == task_id
    assert MINE[0] not in json.dumps(task)


def test_a_full_disk_is_told_with_what_to_do(tmp_path: Path, picture: str) -> None:
    """While tasks can't be written down an edit is refused with `Retry-After`; nothing is submitted or lost."""

    def bound(service: Service, pages: int) -> None:
        asyncio.run(
            service.parts.database.run(lambda each: each.execute(sa.text(f"PRAGMA max_page_count = {pages}"))),
        )

    for service in run_service(tmp_path):
        done = ask(service, picture).json()["task_id"]
        bound(service, 1)
        # There is some room left within the file.
        for number in range(200):
            answer = ask(service, picture, **ASYNC, **{"Idempotency-Key": str(number)})
            if answer.status_code != 202:
                break
        assert answer.status_code == 500, answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json()["code"] == "tasks_unavailable"
        assert "disk is full" in answer.json()["error"]
        assert str(tmp_path) not in answer.text
        assert look(service, done)["status"] == "succeeded"
        bound(service, 1_000_000)
        assert ask(service, picture, **{"Idempotency-Key": str(number)}).status_code == 200
        listed = service.client.get("/tasks", params={"limit": 100}).json()["tasks"]
        assert len(listed) == min(100, number + 2)
