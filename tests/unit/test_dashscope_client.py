"""The client: a submit goes out again only when nothing can have been accepted, and the key goes nowhere else."""

import asyncio
import json
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import pytest

from fakes import (
    BASE_URL,
    KEY,
    WORKSPACE,
    Scripted,
    Step,
    VirtualClock,
    answers,
    breaks_off,
    client,
    fails,
    refuses,
    slowly,
)
from imgapi.dashscope.client import ModelRetired, Patience, Report
from imgapi.dashscope.wire import ImageEditInput, ImageEditParameters, SubmitBody, TaskStatus
from imgapi.errors import (
    CallerError,
    ContentRefused,
    EditFailed,
    ImgapiError,
    InvalidParameter,
    SourceUnreachable,
    TaskLost,
    UpstreamError,
    UpstreamMisconfigured,
    UpstreamThrottled,
    UpstreamUnavailable,
)

PATH = "aigc/image2image/image-synthesis"
ACCEPTED = answers(200, {"output": {"task_status": "PENDING", "task_id": "t-1"}, "request_id": "r-1"})
PARSED = {"task_id": "t-1", "task_status": "RUNNING"}


def body(url: str = "https://example.com/a.png") -> SubmitBody:
    """Write some valid submit."""
    return SubmitBody(
        model="wanx2.1-imageedit",
        input=ImageEditInput(function="super_resolution", prompt="图像超分。", base_image_url=url),
        parameters=ImageEditParameters(upscale_factor=2),
    )


async def submit(
    *steps: Step, asynchronous: bool = True, url: str = "https://example.com/a.png"
) -> tuple[Report | ImgapiError, Scripted, VirtualClock]:
    """Submit once to a scripted upstream; return the outcome, the upstream and the clock."""
    clock = VirtualClock()
    upstream = Scripted(steps, clock)
    dashscope = client(upstream, clock, workspace=WORKSPACE)
    try:
        return await clock.run(dashscope.submit(PATH, body(url), asynchronous=asynchronous)), upstream, clock
    except ImgapiError as exc:
        return exc, upstream, clock


async def test_submit_sends_what_is_documented() -> None:
    """A submit is one POST of the JSON body with key, workspace and async header, and tells the task's id."""
    outcome, upstream, _ = await submit(ACCEPTED)
    assert isinstance(outcome, Report)
    assert outcome.output.task_id == "t-1"
    assert outcome.output.status is TaskStatus.PENDING
    (request,) = upstream.requests
    assert (request.method, str(request.url)) == ("POST", f"{BASE_URL}/services/{PATH}")
    assert json.loads(request.content) == body().to_json()
    assert "图像超分" in request.content.decode()
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["X-DashScope-WorkSpace"] == WORKSPACE
    assert request.headers["X-DashScope-Async"] == "enable"
    assert "X-DashScope-OssResourceResolve" not in request.headers


async def test_synchronous_models_get_no_async_header() -> None:
    """The header that synchronous models refuse is sent to asynchronous ones only."""
    choices = [{"message": {"content": [{"image": "https://results.test/a.png"}]}}]
    outcome, upstream, _ = await submit(answers(200, {"output": {"choices": choices}}), asynchronous=False)
    assert isinstance(outcome, Report)
    assert "X-DashScope-Async" not in upstream.requests[0].headers


async def test_resolve_header_comes_with_temporary_uploads_only() -> None:
    """The resolve header is sent exactly when a picture is an `oss://` address."""
    _, upstream, _ = await submit(ACCEPTED, url="oss://dashscope-instant/x/a.png")
    assert upstream.requests[0].headers["X-DashScope-OssResourceResolve"] == "enable"


async def test_no_workspace_no_header() -> None:
    """Without a workspace its header is not sent."""
    clock = VirtualClock()
    upstream = Scripted([ACCEPTED], clock)
    await clock.run(client(upstream, clock).submit(PATH, body(), asynchronous=True))
    assert "X-DashScope-WorkSpace" not in upstream.requests[0].headers


NOT_ACCEPTED = {
    "refused connection": fails(httpx.ConnectError("refused")),
    "connect time-out": fails(httpx.ConnectTimeout("black hole")),
    "no free connection": fails(httpx.PoolTimeout("full")),
    "throttled": refuses(429, "Throttling", "Requests throttling triggered."),
    "rate quota": refuses(429, "Throttling.RateQuota"),
    "burst": refuses(429, "Throttling.BurstRate"),
    "429 of a gateway": answers(429, content=b"<html>slow down</html>"),
    "no capacity": refuses(503, "ModelUnavailable"),
    "serving error": refuses(503, "ModelServingError"),
    "throttled as 503": refuses(503, "Throttling"),
}


@pytest.mark.parametrize("step", NOT_ACCEPTED.values(), ids=NOT_ACCEPTED)
async def test_what_was_not_accepted_is_sent_again(step: Step) -> None:
    """After a failure with nothing accepted the same submit is sent again, and then succeeds."""
    outcome, upstream, clock = await submit(step, step, ACCEPTED)
    assert isinstance(outcome, Report)
    assert len(upstream.requests) == 3
    assert len({request.content for request in upstream.requests}) == 1
    assert all(pause >= 0.5 for pause in clock.sleeps)


@pytest.mark.parametrize("step", NOT_ACCEPTED.values(), ids=NOT_ACCEPTED)
async def test_attempts_end(step: Step) -> None:
    """A failure with nothing accepted is told after three attempts, and says that nothing was started."""
    outcome, upstream, _ = await submit(step)
    assert isinstance(outcome, UpstreamThrottled | UpstreamUnavailable)
    assert "nothing was started" in outcome.message
    assert len(upstream.requests) == 3


async def test_pauses_grow_jittered_and_capped() -> None:
    """Pauses double, vary by jitter and stay under the cap."""
    clock = VirtualClock()
    upstream = Scripted([refuses(429, "Throttling")], clock)
    patience = Patience(attempts=7, longest_pause_seconds=4.0)
    spans = []
    for number in (0.0, 0.999):
        clock.sleeps.clear()
        dashscope = client(upstream, clock, patience=patience)
        dashscope.jitter = lambda number=number: number  # type: ignore[misc]  # a default binds the loop's value
        with pytest.raises(UpstreamThrottled):
            await clock.run(dashscope.submit(PATH, body(), asynchronous=True))
        spans.append(list(clock.sleeps))
    shortest, longest = spans
    assert shortest == [0.5, 1.0, 2.0, 2.0, 2.0, 2.0]
    assert longest == pytest.approx([1.0, 2.0, 4.0, 4.0, 4.0, 4.0], rel=0.01)


async def test_retry_after_is_honoured_within_the_deadline() -> None:
    """A pause that the upstream asks for replaces our own."""
    outcome, upstream, clock = await submit(refuses(429, "Throttling", headers={"Retry-After": "7"}), ACCEPTED)
    assert isinstance(outcome, Report)
    assert clock.sleeps == [7.0]
    assert upstream.instants == [0.0, 7.0]


@pytest.mark.parametrize("seconds", ["31", "9" * 400])
async def test_retry_after_beyond_the_deadline_ends_it(seconds: str) -> None:
    """When the upstream asks for more patience than there is, the caller is told at once, and how long to wait."""
    outcome, upstream, clock = await submit(refuses(429, "Throttling", headers={"Retry-After": seconds}))
    assert isinstance(outcome, UpstreamThrottled)
    assert outcome.retry_after == min(float(seconds), 3600.0)
    assert len(upstream.requests) == 1
    assert clock.sleeps == []


async def test_retry_after_as_a_date_is_honoured() -> None:
    """Retry-After may be a date (RFC 9110): the pause is the time until then."""
    when = format_datetime(datetime.fromtimestamp(VirtualClock().time() + 7, UTC), usegmt=True)
    outcome, upstream, clock = await submit(refuses(429, "Throttling", headers={"Retry-After": when}), ACCEPTED)
    assert isinstance(outcome, Report)
    assert len(upstream.requests) == 2
    assert 5.9 <= clock.sleeps[0] <= 7.1


@pytest.mark.parametrize("text", ["-5", "soon", "1.5", "²", ""])
async def test_an_unreadable_retry_after_is_no_pause(text: str) -> None:
    """A Retry-After that is no whole number of seconds is passed over."""
    headers = httpx.Headers([(b"Retry-After", text.encode())])

    async def step(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, json={"code": "Throttling", "message": ""}, headers=headers)

    _, _, clock = await submit(step, ACCEPTED)
    assert clock.sleeps == [0.75]


AMBIGUOUS = {
    "lost reply": fails(httpx.ReadError("reset by peer")),
    "read time-out": fails(httpx.ReadTimeout("silence")),
    "reset while writing": fails(httpx.WriteError("broken pipe")),
    "server hung up": fails(httpx.RemoteProtocolError("disconnected without a response")),
    "short body": breaks_off(),
    "short body of an error": breaks_off(500),
    "500": refuses(500, "InternalError"),
    "500 without words": answers(500, content=b""),
    "502 page": answers(502, content=b"<html>Bad Gateway</html>"),
    "503 page": answers(503, content=b"<html>Unavailable</html>"),
    "503 that may have accepted": refuses(503, "InternalError"),
    "503 with a task id": answers(503, {"code": "ModelUnavailable", "message": "", "output": {"task_id": "t-1"}}),
    "504": refuses(504, "RequestTimeOut"),
    "408": refuses(408, "RequestTimeOut"),
    "408 page": answers(408, content=b"<html>Request Timeout</html>"),
    "unknown code with 500": refuses(500, "SomethingNew"),
    "HTML page with 200": answers(200, content=b"<!doctype html><title>login</title>"),
    "bad JSON": answers(200, content=b'{"output": {"task_id": "t-'),
    "NUL": answers(200, content=b"\0\0\0"),
    "not UTF-8": answers(200, content=b'{"output": {"task_id": "\xff\xfe"}}'),
    "nested too deep": answers(200, content=b'{"output":' + b"[" * 100_000),
    "empty": answers(200, content=b""),
    "null": answers(200, None),
    "list": answers(200, []),
    "number": answers(200, 7),
    "no output": answers(200, {"request_id": "r"}),
    "output is text": answers(200, {"output": "t-1"}),
    "no task id": answers(200, {"output": {"task_status": "PENDING"}}),
    "task id is a number": answers(200, {"output": {"task_status": "PENDING", "task_id": 7}}),
    "empty task id": answers(200, {"output": {"task_status": "PENDING", "task_id": ""}}),
    "2 MB": answers(200, content=b'{"output": {"task_id": "t-1"}}' + b" " * 2_000_000),
    "204": answers(204, content=b""),
    "redirect": answers(302, content=b"", headers={"Location": "https://elsewhere.test/steal"}),
}


@pytest.mark.parametrize("step", AMBIGUOUS.values(), ids=AMBIGUOUS)
@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
async def test_what_may_have_been_accepted_is_never_sent_again(step: Step, asynchronous: bool) -> None:  # noqa: FBT001 - a pytest parameter
    """When the submit may have been read, there is exactly one request, and the caller learns the risk."""
    outcome, upstream, clock = await submit(step, ACCEPTED, asynchronous=asynchronous)
    assert isinstance(outcome, TaskLost)
    assert len(upstream.requests) == 1
    assert clock.sleeps == []
    assert "paid for twice" in outcome.message
    assert "http" not in outcome.message


async def test_an_answer_that_never_comes_is_lost_in_time() -> None:
    """An exchange has a deadline of its own, after which the submit counts as possibly accepted."""
    clock = VirtualClock()
    forever = asyncio.Event()

    async def silent(_request: httpx.Request) -> httpx.Response:
        await forever.wait()
        return httpx.Response(200)

    upstream = Scripted([silent], clock)
    dashscope = client(upstream, clock, patience=Patience(exchange_seconds=0.05))
    with pytest.raises(TaskLost):
        await dashscope.submit(PATH, body(), asynchronous=True)
    assert len(upstream.requests) == 1


OPERATORS = {
    "bad key": refuses(401, "InvalidApiKey", f"Invalid API-key {KEY} provided."),
    "bad workspace": refuses(401, "NOT AUTHORIZED", WORKSPACE),
    "no sync calls": refuses(403, "AccessDenied", f"see {BASE_URL}"),
    "not bought": refuses(403, "AccessDenied.Unpurchased"),
    "model denied": refuses(403, "Model.AccessDenied", WORKSPACE),
    "free only": refuses(403, "AllocationQuota.FreeTierOnly"),
    "arrears": refuses(400, "Arrearage", "Access denied, please make sure your account is in good standing."),
    "unpaid 429": refuses(429, "PostpaidBillOverdue"),
    "prepaid 429": refuses(429, "PrepaidBillOverdue"),
    "not purchased 429": refuses(429, "CommodityNotPurchased"),
    "free quota 429": refuses(429, "Throttling.AllocationQuota", "Free allocated quota exceeded."),
}


@pytest.mark.parametrize("step", OPERATORS.values(), ids=OPERATORS)
async def test_the_operators_trouble_is_not_tried_again(step: Step) -> None:
    """Key, account and quota trouble is told after one attempt, without a secret in the sentence."""
    outcome, upstream, _ = await submit(step, ACCEPTED)
    assert isinstance(outcome, UpstreamMisconfigured)
    assert len(upstream.requests) == 1
    for secret in (KEY, "sk-", WORKSPACE, "http", "dashscope"):
        assert secret not in outcome.message


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("InvalidParameter", "Range of n should be [1, 4]", InvalidParameter),
        ("InvalidParameter.DataInspection", "Download the media resource timed out", SourceUnreachable),
        ("InvalidURL", "https://secret.test/?Signature=abc is invalid", SourceUnreachable),
        ("DataInspectionFailed", "Input data may contain inappropriate content.", ContentRefused),
        ("BadRequest.IllegalInput", "bad https://secret.test/?Signature=abc", InvalidParameter),
        ("InvalidPerson", "The input image has no human body", CallerError),
    ],
)
async def test_the_callers_fault_is_told_to_the_caller(code: str, message: str, kind: type[CallerError]) -> None:
    """A refusal of what the caller sent is one attempt and one sentence, without links."""
    outcome, upstream, _ = await submit(refuses(400, code, message), ACCEPTED)
    assert isinstance(outcome, kind)
    assert len(upstream.requests) == 1
    assert "://" not in outcome.message
    assert "Signature" not in outcome.message


@pytest.mark.parametrize(
    "step",
    [
        refuses(403, "Endpoint.AccessDenied", "Workspace endpoint access denied."),
        refuses(404, "ModelNotFound", "Model not found: wanx2.1-imageedit"),
        refuses(400, "InvalidParameter", "Model not exist."),
    ],
)
async def test_retired_models_are_told_apart(step: Step) -> None:
    """Each of the three ways to say that a model is gone is told as exactly that, after one attempt."""
    outcome, upstream, _ = await submit(step, ACCEPTED)
    assert isinstance(outcome, ModelRetired)
    assert len(upstream.requests) == 1


async def test_a_refusal_without_words_is_not_the_callers() -> None:
    """A 4xx that says nothing is the upstream's failure, after one attempt."""
    outcome, upstream, _ = await submit(answers(404, content=b"<html>Not Found</html>"), ACCEPTED)
    assert isinstance(outcome, EditFailed)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("call", ["submit", "query", "cancel"])
async def test_the_key_never_follows_a_redirect(call: str) -> None:
    """A redirect is not followed, whatever the HTTP client's own rule is: the key stays with its host."""
    clock = VirtualClock()
    upstream = Scripted([answers(307, content=b"", headers={"Location": "https://elsewhere.test/x"})], clock)
    dashscope = client(upstream, clock, follow_redirects=True)
    if call == "submit":
        with pytest.raises(TaskLost):
            await dashscope.submit(PATH, body(), asynchronous=True)
    elif call == "query":
        with pytest.raises(UpstreamUnavailable):
            await dashscope.query("t-1")
    else:
        assert not await dashscope.cancel("t-1")
    assert [request.url.host for request in upstream.requests] == ["dashscope.test"]


async def test_no_error_carries_the_key() -> None:
    """Neither message nor detail of any failure shows the key, the workspace or the address."""
    for step in (*NOT_ACCEPTED.values(), *AMBIGUOUS.values()):
        outcome, _, _ = await submit(step)
        assert isinstance(outcome, UpstreamError)
        for secret in (KEY, WORKSPACE, "dashscope.test"):
            assert secret not in f"{outcome.sentence} {outcome.detail}"


async def test_a_slow_submit_is_waited_for() -> None:
    """Slowness within the exchange's time is no failure."""
    clock = VirtualClock()
    upstream = Scripted([slowly(clock, 15.0, ACCEPTED)], clock)
    report = await clock.run(client(upstream, clock).submit(PATH, body(), asynchronous=True))
    assert report.output.task_id == "t-1"
