"""Queries, lists and cancels: they cost nothing, and whatever goes wrong with them says nothing about the task."""

import httpx
import pytest

from fakes import BASE_URL, KEY, Scripted, Step, VirtualClock, answers, breaks_off, client, fails, refuses
from imgapi.dashscope.wire import TaskStatus
from imgapi.errors import UpstreamThrottled, UpstreamUnavailable

PARSED = {"task_id": "t-1", "task_status": "RUNNING"}


async def test_query_reads_a_task() -> None:
    """A look is one GET with the key alone, and tells status and engine."""
    clock = VirtualClock()
    upstream = Scripted([answers(200, {"output": PARSED}, headers={"X-Imgapi-Engine": "local-preview"})], clock)
    report = await client(upstream, clock).query("t-1")
    assert report.output.status is TaskStatus.RUNNING
    assert report.engine == "local-preview"
    (request,) = upstream.requests
    assert (request.method, str(request.url)) == ("GET", f"{BASE_URL}/tasks/t-1")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert "X-DashScope-Async" not in request.headers


async def test_strange_task_ids_stay_in_their_place() -> None:
    """An id from the upstream can't lead the key's request to another path."""
    clock = VirtualClock()
    upstream = Scripted([answers(200, {"output": PARSED})], clock)
    dashscope = client(upstream, clock)
    await dashscope.query("../uploads?x=\x00#y")
    await dashscope.cancel("../a/b")
    assert [request.url.raw_path for request in upstream.requests] == [
        b"/api/v1/tasks/..%2Fuploads%3Fx%3D%00%23y",
        b"/api/v1/tasks/..%2Fa%2Fb/cancel",
    ]


async def test_query_of_a_missing_task_is_unknown() -> None:
    """A 404 of the upstream's own means what `UNKNOWN` means; a gateway's page says nothing about the task."""
    clock = VirtualClock()
    report = await client(Scripted([refuses(404, "NotFound")], clock), clock).query("t-1")
    assert report.output.status is TaskStatus.UNKNOWN
    for page in (b"", b"<html>404</html>", b"{}"):
        with pytest.raises(UpstreamUnavailable):
            await client(Scripted([answers(404, content=page)], clock), clock).query("t-1")


async def test_answers_are_asked_for_uncompressed_and_with_the_key() -> None:
    """The bound on an answer counts bytes as they come, so no coding of them is asked for."""
    clock = VirtualClock()
    upstream = Scripted([refuses(404, "NotFound")], clock)
    await client(upstream, clock).query("t-1")
    assert upstream.requests[0].headers["accept-encoding"] == "identity"


SAYS_NOTHING = {
    "500": refuses(500, "InternalError"),
    "HTML": answers(200, content=b"<html>"),
    "bad JSON": answers(200, content=b"{"),
    "null": answers(200, None),
    "no status": answers(200, {"output": {"task_id": "t-1"}}),
    "reset": fails(httpx.ReadError("reset")),
    "no connection": fails(httpx.ConnectError("refused")),
    "short": breaks_off(),
    "2 MB": answers(200, content=b" " * 2_000_000),
    "key refused": refuses(401, "InvalidApiKey", KEY),
}


@pytest.mark.parametrize("step", SAYS_NOTHING.values(), ids=SAYS_NOTHING)
async def test_a_look_that_tells_nothing_is_unavailable(step: Step) -> None:
    """Whatever goes wrong with a look says nothing about the task."""
    clock = VirtualClock()
    with pytest.raises(UpstreamUnavailable) as caught:
        await client(Scripted([step], clock), clock).query("t-1")
    assert KEY not in f"{caught.value.message} {caught.value.detail}"


async def test_a_throttled_look_says_so() -> None:
    """A 429 is told apart, since it slows all looks."""
    clock = VirtualClock()
    step = refuses(429, "Throttling.RateQuota", headers={"Retry-After": "3"})
    with pytest.raises(UpstreamThrottled) as caught:
        await client(Scripted([step], clock), clock).query("t-1")
    assert caught.value.retry_after == 3.0


async def test_list_reads_a_page() -> None:
    """A page of the list tells statuses by task and how many pages there are; broken rows are passed over."""
    clock = VirtualClock()
    rows = [{"task_id": "t-1", "status": "RUNNING", "gmt_create": 1}, {"task_id": 7, "status": "RUNNING"}, {}]
    upstream = Scripted([answers(200, {"total": 3, "total_page": 2, "data": rows})], clock)
    statuses, pages = await client(upstream, clock).list_statuses("RUNNING", page=2)
    assert (statuses, pages) == ({"t-1": "RUNNING"}, 2)
    assert dict(upstream.requests[0].url.params) == {"page_no": "2", "page_size": "100", "status": "RUNNING"}


@pytest.mark.parametrize("step", [refuses(403, "AccessDenied"), answers(200, None), answers(200, {"data": [None]})])
async def test_a_list_that_tells_nothing_is_unavailable(step: Step) -> None:
    """A list that is refused or can't be read is no error of a task."""
    clock = VirtualClock()
    with pytest.raises(UpstreamUnavailable):
        await client(Scripted([step], clock), clock).list_statuses("RUNNING", page=1)


@pytest.mark.parametrize(
    ("step", "canceled"),
    [
        (answers(200, {"request_id": "r"}), True),
        (refuses(400, "UnsupportedOperation", "Failed to cancel the task"), False),
        (fails(httpx.ReadError("reset")), False),
        (answers(200, content=b" " * 2_000_000), False),
    ],
)
async def test_cancel_tells_whether_it_worked(step: Step, canceled: bool) -> None:  # noqa: FBT001 - a pytest parameter
    """Only a clear yes counts as canceled, and nothing that goes wrong is an error."""
    clock = VirtualClock()
    upstream = Scripted([step], clock)
    assert await client(upstream, clock).cancel("t-1") is canceled
    (request,) = upstream.requests
    assert (request.method, request.url.path) == ("POST", "/api/v1/tasks/t-1/cancel")
