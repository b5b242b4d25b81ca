"""The calls to DashScope: submit, query, list, cancel.

A submit is sent again only when it is certain that nothing was accepted (docs/upstream.md#retries).
"""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote

import httpx
from pydantic import SecretStr, ValidationError

from imgapi.clock import Clock
from imgapi.dashscope.breaker import Breaker
from imgapi.dashscope.faults import ACCOUNT_CODES, Fault, FaultKind, classify, plain_words, to_error
from imgapi.dashscope.wire import Answer, SubmitBody, TaskList, TaskOutput, Usage, is_known_status
from imgapi.errors import ImgapiError, TaskLost, UpstreamMisconfigured, UpstreamThrottled, UpstreamUnavailable

MAX_ANSWER_BYTES = 1024 * 1024
ENGINE_HEADER = "X-Imgapi-Engine"
WARNINGS_HEADER = "X-Imgapi-Warnings"
IGNORED_HEADER = "X-Imgapi-Ignored"
LIST_PAGE_SIZE = 100
LONGEST_RETRY_AFTER_SECONDS = 3600.0
_MOST_UNHEARD = 100

# The request can't have been read when the connection was never made.
NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class ModelRetired(ImgapiError):
    """The upstream does not serve this model any more; nothing was accepted, nothing is paid."""

    code = "model_retired"


@dataclass(frozen=True, slots=True)
class Account:
    """Where DashScope is and who we are there; `base_url` ends in `/api/v1`."""

    base_url: str
    key: SecretStr
    workspace: str | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a call is tried; seconds."""

    attempts: int = 3
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 8.0
    deadline_seconds: float = 30.0
    connect_seconds: float = 3.0
    exchange_seconds: float = 20.0
    synchronous_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Report:
    """What the upstream says of a task.

    Args:
        output: The upstream's `output`.
        usage: The upstream's `usage`, on success.
        engine: What made the pictures when it was not the model itself.
        warnings: What such an engine says may be wrong with them.
        ignored: The parameters that such an engine made no use of, in the upstream's names.
    """

    output: TaskOutput
    usage: Usage | None = None
    engine: str | None = None
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


class Turns(Protocol):
    """The pace of one model's submits."""

    async def wait(self) -> None:
        """Wait for the next turn."""
        ...

    async def slow_down(self, seconds: float) -> None:
        """Give turns more rarely for some seconds."""
        ...


@dataclass(slots=True)
class DashScope:
    """A client of one DashScope account.

    Args:
        http: Queries and uploads; redirects are not followed, so the key stays with the host of `account`.
        http_submit: Submits; each on a connection of its own, since a reused one may die with a request on it and
            leave it unknown whether the request was read.
        account: Base URL, key and workspace.
        clock: For pauses between attempts.
        patience: Attempts and time limits.
        jitter: Returns a number in [0, 1).
        announce: Told what an operator should look at, for the log: an event and what it is about.
    """

    http: httpx.AsyncClient
    http_submit: httpx.AsyncClient
    account: Account
    clock: Clock
    patience: Patience = field(default_factory=Patience)
    jitter: Callable[[], float] = random.random
    announce: Callable[[str, str], object] = lambda _event, _subject: None
    breaker: Breaker = field(init=False)
    _unheard: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        """Make the breaker, which learns from every submit; whoever starts an edit asks it first."""
        self.breaker = Breaker(self.clock, self.announce)

    async def submit(self, path: str, body: SubmitBody, *, asynchronous: bool, turns: Turns | None = None) -> Report:
        """Start a task, or for a synchronous model do the whole of it.

        Args:
            path: Behind `/services/`.
            body: What is sent.
            asynchronous: Whether the upstream answers a task to poll.
            turns: The model's pace, which every further attempt keeps to; the caller has waited for the first turn.

        Raises:
            ModelRetired: The model is not served any more; nothing was accepted.
            CallerError: The upstream refused what the caller sent.
            UpstreamThrottled: It is too busy; nothing was accepted.
            UpstreamUnavailable: It can't be reached; nothing was accepted.
            UpstreamMisconfigured: Key, account or quota.
            TaskLost: The request may have been accepted, and can't be followed. It was not sent again.
        """
        # It may have opened while this request waited for its turn.
        self.breaker.refuse_if_open(body.model)
        headers = {"X-DashScope-Async": "enable"} if asynchronous else {}
        if body.names_temporary_upload:
            headers["X-DashScope-OssResourceResolve"] = "enable"
        limit = self.patience.exchange_seconds if asynchronous else self.patience.synchronous_seconds
        content = json.dumps(body.to_json(), ensure_ascii=False).encode()
        deadline = self.clock.monotonic() + self.patience.deadline_seconds
        attempt = 0
        while True:
            attempt += 1
            outcome = await self._submit_once(path, body.model, content, headers, limit)
            if isinstance(outcome, Report):
                return outcome
            error, pause = outcome
            if attempt >= self.patience.attempts or self.breaker.is_open(body.model):
                raise error
            pause = pause if pause is not None else self._pause(attempt)
            if self.clock.monotonic() + pause > deadline:
                raise error
            if turns is not None and isinstance(error, UpstreamThrottled):
                await turns.slow_down(pause)
            await self.clock.sleep(pause)
            if turns is not None:
                await turns.wait()

    async def _submit_once(
        self, path: str, model: str, content: bytes, headers: Mapping[str, str], limit: float
    ) -> Report | tuple[ImgapiError, float | None]:
        """Send a submit; return the report, or the failure after which it may be sent again; raise any other."""
        headers = {**headers, "Content-Type": "application/json"}
        try:
            status, answer_headers, answer_bytes = await self._exchange(
                self.http_submit, "POST", f"/services/{path}", limit, content=content, headers=headers
            )
        except NOTHING_SENT as exc:
            error = UpstreamUnavailable("The upstream can't be reached; nothing was started, so try again later.")
            error.detail = type(exc).__name__
            error.__cause__ = exc
            self.breaker.unreached(error)
            return error, None
        except (httpx.HTTPError, TimeoutError, AnswerTooLarge) as exc:
            raise _lost(f"{type(exc).__name__} after the request was sent") from exc
        self.breaker.reached()
        answer = read_answer(answer_bytes)
        if status == HTTPStatus.OK:
            self.breaker.admitted(model)
            if answer is None or answer.output is None:
                raise _lost("a 200 without a readable output")
            if answer.output.task_id is None and answer.output.choices is None and answer.output.code is None:
                raise _lost("a 200 without a task id")
            return _report(answer.output, answer.usage, answer_headers)
        return self._refused(status, answer_headers, answer, model)

    def note_fault(self, fault: Fault, model: str) -> None:
        """Let the breaker learn from a refusal: the operator's faults open it, any other shows that the key is good."""
        if fault.kind is FaultKind.OPERATOR:
            error = UpstreamMisconfigured(fault.sentence, detail=fault.detail)
            self.breaker.refused(error, None if fault.code in ACCOUNT_CODES else model)
        elif fault.kind is not FaultKind.INTERNAL:
            self.breaker.admitted(model)

    def _refused(
        self, status: int, headers: httpx.Headers, answer: Answer | None, model: str
    ) -> tuple[ImgapiError, float | None]:
        """Return the failure of a refusal that may be sent again, with the pause asked for; raise any other."""
        # A gateway that waited for the model in vain says 408 in some places and 504 in others: both leave it open.
        is_refusal = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        is_refusal = is_refusal and status != HTTPStatus.REQUEST_TIMEOUT
        if answer is None or answer.code is None or (answer.output and answer.output.task_id):
            if is_refusal:
                if status == HTTPStatus.TOO_MANY_REQUESTS:
                    return UpstreamThrottled(_busy(), detail="429 without a code"), _retry_after(
                        headers, self.clock.time()
                    )
                raise to_error(classify("", "")) from None
            raise _lost(f"HTTP {status} without a readable refusal")
        fault = classify(answer.code, answer.message or "")
        if is_refusal:
            self.note_fault(fault, model)
        if fault.kind is FaultKind.RETIRED:
            raise ModelRetired(fault.sentence, detail=fault.detail)
        if fault.kind in {FaultKind.THROTTLED, FaultKind.UNAVAILABLE}:
            error = to_error(fault)
            pause = _retry_after(headers, self.clock.time())
            if isinstance(error, UpstreamThrottled) and pause is not None:
                error.retry_after = pause
            return error, pause
        if not is_refusal:
            raise _lost(f"HTTP {status} {fault.detail}")
        raise to_error(fault)

    async def query(self, upstream_task_id: str) -> Report:
        """Look at a task once.

        Raises:
            UpstreamThrottled: Too many queries.
            UpstreamUnavailable: Any answer that says nothing about the task; look again later.
        """
        status, headers, body = await self.get(f"/tasks/{quote(upstream_task_id, safe='')}")
        answer = read_answer(body)
        # A gateway's 404 page says nothing about the task; the upstream's own has a code.
        if status == HTTPStatus.NOT_FOUND and answer is not None and answer.code is not None:
            return Report(TaskOutput(task_id=upstream_task_id, task_status="UNKNOWN"))
        if status != HTTPStatus.OK or answer is None or answer.output is None or answer.output.task_status is None:
            raise UpstreamUnavailable("The upstream's answer says nothing about the task.", detail=f"HTTP {status}")
        self._note_status(answer.output.task_status)
        return _report(answer.output, answer.usage, headers)

    def _note_status(self, status: str) -> None:
        """Announce a status that no page documents, once; it is taken for RUNNING."""
        if not is_known_status(status) and status not in self._unheard and len(self._unheard) < _MOST_UNHEARD:
            self._unheard.add(status)
            self.announce("status unheard of", plain_words(status))

    async def list_statuses(self, status: str, *, page: int) -> tuple[Mapping[str, str], int]:
        """Look at a page of the tasks that are of one status now; return statuses by task, and the page count.

        Raises:
            UpstreamThrottled: Too many queries.
            UpstreamUnavailable: Any other failure.
        """
        parameters: dict[str, str | int] = {"page_no": page, "page_size": LIST_PAGE_SIZE, "status": status}
        code, _, body = await self.get("/tasks", parameters)
        try:
            if code != HTTPStatus.OK:
                raise UpstreamUnavailable("The upstream could not list its tasks.", detail=f"HTTP {code}")
            listed = TaskList.model_validate_json(body)
        except ValidationError as exc:
            raise UpstreamUnavailable("The upstream's list of tasks can't be read.") from exc
        return {row.task_id: row.status for row in listed.data if row.task_id and row.status}, listed.total_page or 1

    async def cancel(self, upstream_task_id: str) -> bool:
        """Cancel a task that still waits upstream; return whether it was canceled."""
        try:
            status, _, _ = await self._exchange(
                self.http, "POST", f"/tasks/{quote(upstream_task_id, safe='')}/cancel", self.patience.exchange_seconds
            )
        except (httpx.HTTPError, TimeoutError, AnswerTooLarge):
            return False
        return status == HTTPStatus.OK

    async def get(
        self, path: str, parameters: Mapping[str, str | int] | None = None
    ) -> tuple[int, httpx.Headers, bytes]:
        """Read something that costs nothing; return status, headers and body.

        Raises:
            UpstreamThrottled: Too many queries.
            UpstreamUnavailable: No answer.
        """
        try:
            status, headers, body = await self._exchange(
                self.http, "GET", path, self.patience.exchange_seconds, params=parameters
            )
        except (httpx.HTTPError, TimeoutError, AnswerTooLarge) as exc:
            message = "The upstream did not answer; nothing was started, so try again later."
            raise UpstreamUnavailable(message, detail=type(exc).__name__) from exc
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise UpstreamThrottled(_busy(), retry_after=_retry_after(headers, self.clock.time()) or 1.0)
        return status, headers, body

    async def _exchange(
        self,
        http: httpx.AsyncClient,
        method: str,
        path: str,
        limit_seconds: float,
        **options: Any,
    ) -> tuple[int, httpx.Headers, bytes]:
        """Do one exchange under one deadline and one bound on the answer."""
        headers = {
            "Authorization": f"Bearer {self.account.key.get_secret_value()}",
            # The bound on an answer counts its bytes as they come, which compression would hide.
            "Accept-Encoding": "identity",
            **options.pop("headers", {}),
        }
        if self.account.workspace:
            headers["X-DashScope-WorkSpace"] = self.account.workspace
        url = self.account.base_url.rstrip("/") + path
        # Whatever the client's own rule is: the key goes to no other address than the account's.
        options["follow_redirects"] = False
        async with asyncio.timeout(limit_seconds), http.stream(method, url, headers=headers, **options) as answer:
            return answer.status_code, answer.headers, await read_bounded(answer, MAX_ANSWER_BYTES)

    def _pause(self, attempt: int) -> float:
        ceiling = min(self.patience.longest_pause_seconds, self.patience.first_pause_seconds * 2**attempt)
        # Never below half the ceiling: a full-jitter pause of nothing would hit the same second's limit again.
        return float(ceiling * (0.5 + 0.5 * self.jitter()))


class AnswerTooLarge(Exception):
    """The upstream's answer is larger than any it documents."""


async def read_bounded(answer: httpx.Response, max_bytes: int) -> bytes:
    """Read an answer's body, and stop at the bound."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.aiter_bytes():
        size += len(chunk)
        if size > max_bytes:
            raise AnswerTooLarge
        chunks.append(chunk)
    return b"".join(chunks)


def read_answer(body: bytes) -> Answer | None:
    """Read a JSON answer; None when it is no such thing."""
    try:
        return Answer.model_validate_json(body)
    except ValidationError:
        return None


def _report(output: TaskOutput, usage: Usage | None, headers: httpx.Headers) -> Report:
    return Report(
        output,
        usage,
        headers.get(ENGINE_HEADER),
        warnings=_words(headers, WARNINGS_HEADER),
        ignored=_words(headers, IGNORED_HEADER),
    )


def _words(headers: httpx.Headers, name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in headers.get(name, "").split(",") if word.strip())


def _retry_after(headers: httpx.Headers, now: float) -> float | None:
    """Read `Retry-After` in either of its forms (RFC 9110, section 10.2.3): seconds, or a date."""
    value = headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_SECONDS)


def _busy() -> str:
    return classify("Throttling", "").sentence


def _lost(detail: str) -> TaskLost:
    return TaskLost(
        "The upstream did not answer clearly while it was given this task; it may or may not have started it, so "
        "imgapi does not send it again by itself. If you repeat the request, it may be paid for twice.",
        detail=detail,
    )
