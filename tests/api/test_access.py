"""The border: memory for bodies, clients that leave, requests that are canceled, JSON off the event loop."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from structlog.testing import capture_logs

from conftest import Service
from imgapi.api.access import Access, BodyLimits
from imgapi.api.bodies import LARGE_JSON_BYTES, JsonRoute
from imgapi.api.failures import install_handlers
from imgapi.results.store import RESULT_NAME, ResultStore

SMALL, MIDDLE, LARGE = 64 * 1024, 100_000, 200_000


class Border:
    """A small application behind `Access`; its one route reads the body and waits until it may end."""

    def __init__(self, total_bytes: int = 250_000) -> None:
        self.may_end = asyncio.Event()
        self.arrived = asyncio.Queue[int]()
        self.app = FastAPI()
        install_handlers(self.app)
        self.app.add_api_route("/bodies/{name}", self.read, methods=["POST"])
        self.app.add_api_route("/objects/{name}", self.read_object, methods=["POST"])
        limits = BodyLimits(
            json_bytes=LARGE, plain_json_bytes=LARGE, multipart_bytes=LARGE, seconds=5.0, total_bytes=total_bytes
        )
        self.app.add_middleware(Access, limits=limits)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://border")

    async def read(self, request: Request) -> int:
        """Read the body, then wait."""
        size = len(await request.body())
        request.state.task_id = "accepted"
        await self.arrived.put(size)
        await self.may_end.wait()
        return size

    async def read_object(self, body: dict[str, Any]) -> int:
        """Read a JSON body."""
        return len(body)

    async def post(self, size: int, *, chunked: bool = False) -> httpx.Response:
        """Send a body, its length announced or not."""
        return await self.client.post("/bodies/one", content=pieces(size) if chunked else bytes(size))

    async def exchange(
        self, path: str, *messages: dict[str, Any], sent: list[MutableMapping[str, Any]] | None = None
    ) -> list[MutableMapping[str, Any]]:
        """Call the application as a server does, with these messages of a client; return what it sent, or add to it."""
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [], "root_path": ""}
        scope["headers"] = [(b"content-type", b"application/json")]
        waiting = iter(messages)
        sent = [] if sent is None else sent

        async def receive() -> MutableMapping[str, Any]:
            for message in waiting:
                return message
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return sent


async def pieces(size: int) -> AsyncIterator[bytes]:
    """Send a body in pieces of 10 kB."""
    for start in range(0, size, 10_000):
        yield bytes(min(10_000, size - start))


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_in_flight_share_one_memory(*, chunked: bool) -> None:
    """A body beyond the memory for all is a 503 with Retry-After; small ones pass; an ended request gives back."""
    border = Border()
    first, second = (asyncio.create_task(border.post(MIDDLE, chunked=chunked)) for _ in range(2))
    for _ in range(2):
        await border.arrived.get()
    with capture_logs() as lines:
        refused = await border.post(MIDDLE, chunked=chunked)
    assert refused.status_code == 503
    assert refused.json()["code"] == "overloaded"
    assert refused.json()["request_id"] == refused.headers["x-request-id"]
    assert int(refused.headers["retry-after"]) >= 1
    assert lines[-1]["route"] == "/bodies/{name}"
    small = asyncio.create_task(border.post(SMALL, chunked=chunked))
    assert await border.arrived.get() == SMALL
    border.may_end.set()
    assert [(await task).status_code for task in (first, second, small)] == [200] * 3
    assert (await border.post(LARGE, chunked=chunked)).status_code == 200


async def test_body_alone_is_never_refused_for_memory() -> None:
    """A body within its own limit passes when no other is in flight, however small the memory was made."""
    border = Border(total_bytes=1000)
    border.may_end.set()
    assert (await border.post(LARGE)).status_code == 200


async def test_canceled_and_refused_bodies_give_their_memory_back() -> None:
    """Whatever ends a request, what its body took is free again."""
    border = Border()
    task = asyncio.create_task(border.post(LARGE))
    await border.arrived.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await border.post(LARGE + 1, chunked=True)).status_code == 413
    border.may_end.set()
    assert [(await border.post(LARGE)).status_code for _ in range(3)] == [200] * 3


async def test_refusal_of_a_large_body_is_logged_with_its_route() -> None:
    """The log says which route a refused body was for."""
    with capture_logs() as lines:
        answer = await Border().post(LARGE + 1)
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"
    assert [(line["event"], line["route"], line["status"]) for line in lines] == [("request", "/bodies/{name}", 413)]


@pytest.mark.parametrize("path", ["/bodies/one", "/objects/one"])
async def test_client_that_leaves_during_its_upload_is_one_line(path: str) -> None:
    """A client that goes away is no failure of the service: one line at info, no answer, no traceback."""
    half = {"type": "http.request", "body": b'{"a"', "more_body": True}
    with capture_logs() as lines:
        sent = await Border().exchange(path, half, {"type": "http.disconnect"})
    assert sent == []
    (line,) = lines
    assert (line["event"], line["log_level"], line["status"]) == ("request", "info", None)
    assert line["outcome"] == "client left"


async def test_client_that_leaves_frees_what_it_waits_for() -> None:
    """Work for a caller who has gone away is ended, and the log says why there was no answer."""
    border = Border()
    whole = {"type": "http.request", "body": b"{}", "more_body": False}
    with capture_logs() as lines:
        sent = await asyncio.wait_for(border.exchange("/bodies/one", whole, {"type": "http.disconnect"}), 1.0)
    assert sent == []
    assert not border.may_end.is_set()
    assert [(line["status"], line["outcome"]) for line in lines] == [(None, "client left")]


async def test_canceled_request_is_answered_logged_and_stays_canceled() -> None:
    """One that a stopping server cancels is told so, in the usual form; it is logged, and the cancellation goes on."""
    border, sent = Border(), list[MutableMapping[str, Any]]()
    with capture_logs() as lines:
        whole = {"type": "http.request", "body": b"{}", "more_body": False}
        task = asyncio.create_task(border.exchange("/bodies/one", whole, sent=sent))
        await border.arrived.get()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (line,) = lines
    assert (line["status"], line["outcome"], line["code"]) == (503, "canceled", "overloaded")
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert (b"retry-after", b"5") in sent[0]["headers"]
    told = json.loads(sent[1]["body"])
    assert "shutting down" in told["error"]
    assert told["task_id"] == "accepted"


def test_multipart_bound_holds_however_the_type_is_written() -> None:
    """Media types know no case."""
    limits = BodyLimits(json_bytes=2, plain_json_bytes=2, multipart_bytes=1, seconds=1.0, total_bytes=9)
    for written in ("multipart/form-data", "Multipart/Form-Data", " MULTIPART/form-data; boundary=x"):
        assert limits.max_bytes(written) == 1
    assert limits.max_bytes("application/json") == 2


@pytest.mark.parametrize(("size", "is_elsewhere"), [(10, False), (LARGE_JSON_BYTES + 1, True)])
async def test_large_json_is_parsed_off_the_event_loop(size: int, *, is_elsewhere: bool) -> None:
    """Parsing a large JSON body is left to a thread, and answers the same."""
    threads = []

    def parse(body: bytes) -> Any:
        threads.append(threading.get_ident())
        return json.loads(body)

    class WatchedRoute(JsonRoute):
        pass

    WatchedRoute.parse = staticmethod(parse)
    router = APIRouter(route_class=WatchedRoute)

    @router.post("/count")
    async def count(body: dict[str, str]) -> int:
        return len(body["text"])

    app = FastAPI()
    app.include_router(router)
    limits = BodyLimits(
        json_bytes=size + 100, plain_json_bytes=size + 100, multipart_bytes=1, seconds=5.0, total_bytes=1
    )
    app.add_middleware(Access, limits=limits)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://border") as client:
        assert (await client.post("/count", json={"text": "x" * size})).json() == size
        headers = {"Content-Type": "application/json"}
        assert (await client.post("/count", content=b"{" * size, headers=headers)).status_code == 422
    assert [thread != threading.get_ident() for thread in threads] == [is_elsewhere] * 2


async def test_names_of_kept_results_are_known_at_the_border(tmp_path: Any) -> None:
    """A name that the store makes is never called malformed."""
    store = ResultStore(tmp_path, ttl_seconds=60, max_total_bytes=1000)
    for suffix in (".png", ".jpg", ".webp"):
        assert RESULT_NAME.fullmatch(await store.put(b"x", suffix))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"image_url": "a", "image_url": "b"}', "'image_url' is named twice"),
        (b'{"a": {"b": 1, "b": 2}}', "'b' is named twice"),
        (b'{"upscale_factor": NaN}', "not valid JSON"),
        (b'{"upscale_factor": -Infinity}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a":' * 50_000, "not valid JSON"),
        (b'{"a": "' + b"x" * 2_000_000 + b'"}', "without its data URLs"),
    ],
    ids=["twin", "inner twin", "NaN", "Infinity", "deep list", "deep object", "large"],
)
def test_json_that_readers_disagree_about_is_refused(service: Service, body: bytes, words: str) -> None:
    """Twins, NaN and endless nesting are told as such, never guessed at; what is no picture is bounded at 1 MB."""
    answer = service.client.post("/fix", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 413}, answer.text
    assert words in answer.json()["error"]


def test_many_names_are_compared_in_no_time(service: Service) -> None:
    """A late twin among two hundred thousand names costs one pass."""
    names = ",".join(f'"{number}": 0' for number in range(60_000))
    answer = service.client.post(
        "/fix", content=f'{{{names}, "0": 1}}'.encode(), headers={"Content-Type": "application/json"}, timeout=5.0
    )
    assert "'0' is named twice" in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("/docs", "default-src 'none'"),
        ("/redoc", "default-src 'none'"),
        ("/operations", "default-src 'none'"),
        ("/nowhere", "default-src 'none'"),
    ],
)
def test_answers_say_what_a_browser_may_make_of_them(service: Service, path: str, policy: str) -> None:
    """No sniffing, no referrer, no frames, nothing from another host."""
    headers = service.client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].startswith(policy)
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "http" not in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers
