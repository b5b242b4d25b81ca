"""The client of the command line and the tools: what it sends again, what it waits for, what it gives up."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from conftest import FastClock
from imgapi.commands.client import Service, ServiceRefused, ServiceUnreachable, Upload, links_of
from imgapi.commands.operations import OPERATIONS
from imgapi.commands.requests import request_key
from imgapi.sources.fetch import Fetcher, FetchLimits

BASE = "http://imgapi.example"
Answer = Callable[[httpx.Request], httpx.Response]


class Script:
    """A service that answers by a script and remembers what it was asked."""

    def __init__(self, *answers: Answer | httpx.Response | type[httpx.TransportError]) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request; the last answer is given for ever."""
        await request.aread()
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, type):
            raise answer("no such luck")
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return answer(request)

    @property
    def keys(self) -> list[str]:
        """The idempotency keys of the submits."""
        return [each.headers["idempotency-key"] for each in self.asked if each.method == "POST"]


def service(script: Script, **changes: Any) -> Service:
    """A client of a script, on time that runs a thousand times faster."""
    http = httpx.AsyncClient(transport=httpx.MockTransport(script))
    fetcher = Fetcher(limits=FetchLimits(), allow_private=False, own={})
    given: dict[str, Any] = {"is_local": False, **changes}
    return Service(http, BASE, BASE, FastClock(1000), fetcher, **given)


def task(status: str = "queued", **fields: Any) -> httpx.Response:
    """A task's JSON as an answer."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    body = {"task_id": "7d0a", "operation": "fix", "status": status, "created_at": now, "billed": False, **fields}
    return httpx.Response(202 if status == "queued" else 200, json=body)


def refusal(status: int, code: str, **headers: str) -> httpx.Response:
    """An error in the documented shape."""
    body = {"error": "No.", "code": code, "request_id": "r"}
    return httpx.Response(status, json=body, headers={name.replace("_", "-"): text for name, text in headers.items()})


async def look(_task: Mapping[str, Any]) -> None:
    """Be told, and think nothing of it."""


async def edit(script: Script, **changes: Any) -> dict[str, Any]:
    """Run an edit."""
    return await service(script, **changes).edit("fix", b"{}", key="k", report=look)


async def test_edit_is_a_task_that_is_followed_to_its_end() -> None:
    """An edit is submitted once, with its key, and looked at until it has succeeded."""
    seen: list[str] = []

    async def see(told: Mapping[str, Any]) -> None:
        seen.append(told["status"])

    script = Script(task(), task("running"), task("succeeded", results=[{"url": "u"}]))
    done = await service(script).edit("fix", b'{"a": 1}', key="k", report=see)
    assert links_of(done) == ["u"]
    assert seen == ["queued", "running", "succeeded"]
    assert [(each.method, each.url.path) for each in script.asked] == [
        ("POST", "/fix"),
        ("GET", "/tasks/7d0a"),
        ("GET", "/tasks/7d0a"),
    ]
    assert script.asked[0].headers["prefer"] == "respond-async"
    assert json.loads(script.asked[0].content) == {"a": 1}


async def test_lost_answer_is_asked_for_again_under_the_same_key() -> None:
    """A connection that breaks while an edit is submitted costs nothing: the same key is sent again."""
    script = Script(httpx.ReadError, httpx.ConnectError, task("succeeded"))
    await edit(script)
    assert script.keys == ["k", "k", "k"]


async def test_busy_service_is_waited_for_as_long_as_it_says() -> None:
    """A 429 and a 503 are sent again after their Retry-After; one beyond patience is told at once."""
    script = Script(refusal(429, "queue_too_long", retry_after="5"), refusal(503, "overloaded"), task("succeeded"))
    assert (await edit(script))["status"] == "succeeded"
    script = Script(refusal(429, "quota_exceeded", retry_after="86400"))
    with pytest.raises(ServiceRefused, match=r"No\.") as caught:
        await edit(script)
    assert caught.value.is_for_later
    assert caught.value.retry_after == 86400
    assert len(script.asked) == 1


async def test_refusal_of_the_request_is_final() -> None:
    """What the caller has to change is not sent again."""
    script = Script(refusal(400, "invalid_parameter"))
    with pytest.raises(ServiceRefused) as caught:
        await edit(script)
    assert (caught.value.code, caught.value.is_for_later) == ("invalid_parameter", False)
    assert len(script.asked) == 1


async def test_silent_service_is_named_after_patience() -> None:
    """A service that never answers is told by its address."""
    with pytest.raises(ServiceUnreachable, match=r"http://imgapi\.example does not answer"):
        await edit(Script(httpx.ConnectError))


async def test_service_that_goes_away_for_a_minute_does_not_end_a_task() -> None:
    """A task is looked at again when its service is back."""
    script = Script(task(), *[httpx.ConnectError] * 6, task("succeeded"))
    assert (await edit(script))["status"] == "succeeded"


async def test_failed_task_is_told_with_what_it_may_cost() -> None:
    """A failed task's sentence, code and bill are those of the service."""
    script = Script(task(), task("failed", error="It broke.", code="task_lost", billed="unknown"))
    with pytest.raises(ServiceRefused, match=r"It broke\.") as caught:
        await edit(script)
    assert caught.value.may_be_paid
    assert caught.value.code == "task_lost"


EARLIER = {"created_at": "2026-05-04T02:20:30.123Z", "error": "It broke.", "code": "edit_failed"}


async def test_earlier_failure_that_cost_nothing_is_run_again() -> None:
    """The same request leads to the task that failed an hour ago; it is sent under the next key, the same each time."""
    first = Script(task("failed", **EARLIER), task("succeeded"))
    await edit(first)
    second = Script(task("failed", **EARLIER), task("succeeded"))
    await edit(second)
    assert len(set(first.keys)) == 2
    assert first.keys == second.keys


@pytest.mark.parametrize("billed", [True, "unknown"])
async def test_earlier_failure_that_may_be_paid_is_not(billed: object) -> None:
    """A failure that the upstream may charge for is told, and never run again unasked."""
    script = Script(task("failed", **EARLIER, billed=billed))
    with pytest.raises(ServiceRefused):
        await edit(script)
    assert script.keys == ["k"]


async def test_failure_of_this_moment_is_not_run_again() -> None:
    """A task that fails at once is not taken for an earlier one, even where the service's clock is behind."""
    behind = datetime.fromtimestamp(datetime.now(UTC).timestamp() - 3600, UTC)
    answer = task("failed", error="It broke.", code="x", created_at=behind.isoformat())
    answer.headers["date"] = format_datetime(behind, usegmt=True)
    script = Script(answer)
    with pytest.raises(ServiceRefused):
        await edit(script)
    assert script.keys == ["k"]


async def test_key_is_sent_to_the_service_and_to_nobody_else() -> None:
    """Where results lie elsewhere, the service's key is not shown there."""
    script = Script(httpx.Response(200, content=b"picture"))
    client = service(script, key="secret")
    await client.download("https://results.example/a.png")
    await client.download(f"{BASE}/results/a.png")
    assert [each.headers.get("authorization") for each in script.asked] == [None, "Bearer secret"]


async def test_link_of_a_server_that_thinks_it_is_alone_is_found() -> None:
    """A link to 127.0.0.1 from a server elsewhere is followed at that server; one of a local upstream is left alone."""
    script = Script(httpx.Response(200, content=b"picture"))
    await service(script).download("http://127.0.0.1:5000/results/a.png?x=1")
    await service(script, is_local=True).download("http://127.0.0.1:5001/results/a.png")
    assert [str(each.url) for each in script.asked] == [
        f"{BASE}/results/a.png?x=1",
        "http://127.0.0.1:5001/results/a.png",
    ]


async def test_result_is_downloaded_within_a_bound() -> None:
    """More bytes than allowed, and an expired link, are told in a sentence."""
    large = service(Script(httpx.Response(200, content=bytes(1001))))
    with pytest.raises(ServiceRefused, match="more than the 1000 bytes"):
        await large.download("https://results.example/a.png", max_bytes=1000)
    with pytest.raises(ServiceRefused, match=r"results\.example \(HTTP 403\)"):
        await service(Script(httpx.Response(403))).download("https://results.example/a.png?signature=s")


async def test_something_else_than_imgapi_is_noticed() -> None:
    """A web page where the service should be, and another JSON, are told apart from it."""
    for answer in (httpx.Response(200, text="<html>"), httpx.Response(200, json={"hello": 1})):
        with pytest.raises(ServiceUnreachable, match="no imgapi"):
            await service(Script(answer)).describe()
    with pytest.raises(ServiceRefused, match=r"http://imgapi\.example answered 502"):
        await service(Script(httpx.Response(502, text="Bad Gateway"))).describe()


def test_key_of_a_request_is_that_of_its_content() -> None:
    """Equal pictures and fields give the same key whatever the file is called; any difference gives another."""
    fix = OPERATIONS["fix"]

    def key(name: str = "a.png", content: bytes = b"1", salt: str = "", **fields: Any) -> str:
        return request_key(fix, fields, {"base_image_url": Upload(content, name)}, salt)

    assert key("a.png") == key("b.jpg")
    others = {key(), key(content=b"2"), key(upscale_factor=3), key(salt="anew")}
    others.add(request_key(fix, {}, {"base_image_url": "https://example.com/a.png"}))
    others.add(request_key(OPERATIONS["expand"], {}, {"base_image_url": Upload(b"1", "a.png")}))
    assert len(others) == 6
    assert all(len(each) == 64 for each in others)
