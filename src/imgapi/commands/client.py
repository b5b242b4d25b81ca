"""A client of the public API: the same for a running server and for the service in this process."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from imgapi.api.forms import FILE_FIELD
from imgapi.clock import Clock
from imgapi.commands.operations import CONVERT, OPERATIONS, RESIZE, RESIZE_URL
from imgapi.contract.service import OperationsReply
from imgapi.sources.data_url import is_data_url
from imgapi.sources.fetch import Fetcher

Report = Callable[[Mapping[str, Any]], Awaitable[None]]

MAX_RESULT_BYTES = 256 * 1024 * 1024
# A server that is started anew, or a network that is away for a moment.
AWAY_SECONDS = 120.0
TIMEOUT = httpx.Timeout(300.0, connect=10.0, pool=None)
_ENDED = frozenset({"succeeded", "failed", "canceled"})
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_BUSY_CODES = frozenset({"overloaded", "queue_too_long", "quota_exceeded", "upstream_throttled"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_OWN_PATHS = ("/results/", "/files/", "/samples/", "/emulator/results/")
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 3.0
_FIRST_RETRY_SECONDS = 0.5
# Times in headers are whole seconds.
_HEADER_SECONDS = 2.0
_MAX_EARLIER_FAILURES = 20


class ServiceRefused(Exception):
    """The service answered with an error, or a task ended with one.

    Args:
        message: The service's own sentence.
        code: The same for programs.
        status: Of the answer; None where a task failed.
        retry_after: Seconds after which another try is sensible, where the service said so.
        body: All the service said.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.retry_after = retry_after
        self.body = body or {}

    @property
    def is_for_later(self) -> bool:
        """Whether nothing was wrong but the moment."""
        return self.status in _BUSY or self.code in _BUSY_CODES

    @property
    def may_be_paid(self) -> bool:
        """Whether the failed task may be paid for all the same."""
        return self.body.get("billed") not in {None, False}


class ServiceUnreachable(Exception):
    """No answer came; the message says from where, and what that means for what was asked."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture that is at hand, with the name it had."""

    content: bytes
    filename: str


@dataclass(slots=True)
class Service:
    """The service, wherever it runs.

    Args:
        http: Sends requests; one of the places it reaches is `base_url`.
        base_url: Where the service is, without a trailing slash.
        own_url: How the service's own links begin, without a trailing slash.
        clock: Time.
        fetcher: Downloads callers' URLs, where the service takes only files.
        is_local: Whether it runs in this process.
        key: Sent to the service, and to nobody else.
        patience_seconds: How long a busy or silent service is asked again.
    """

    http: httpx.AsyncClient
    base_url: str
    own_url: str
    clock: Clock
    fetcher: Fetcher
    is_local: bool
    key: str | None = None
    patience_seconds: float = 60.0
    _described: OperationsReply | None = field(default=None, init=False)

    async def describe(self) -> OperationsReply:
        """Ask what this installation can do, once.

        Raises:
            ServiceRefused: It asks for a key, say.
            ServiceUnreachable: Nothing answers, or something else does.
        """
        if self._described is None:
            answer = await self._send("GET", "/operations", patience_seconds=0.0)
            try:
                self._described = OperationsReply.model_validate(_json(answer))
            except ValidationError as exc:
                raise ServiceUnreachable(f"What answers at {self.base_url} is no imgapi of this version.") from exc
        return self._described

    async def edit(self, name: str, body: bytes, *, key: str, report: Report) -> dict[str, Any]:
        """Run an edit as a task; return its JSON once it has succeeded.

        A task that failed before under the same key, and is not paid for, is run again under the next.

        Args:
            name: The edit.
            body: The request as JSON.
            key: Names the request, so that it is never paid twice.
            report: Told how the task stands at every look.

        Raises:
            ServiceRefused: The request was refused, or the task failed.
            ServiceUnreachable: The service can't be reached any more.
        """
        for _ in range(_MAX_EARLIER_FAILURES):
            asked_at = self.clock.time()
            headers = {"Prefer": "respond-async", "Content-Type": "application/json", "Idempotency-Key": key}
            answer = await self._send("POST", OPERATIONS[name].path, content=body, headers=headers)
            task = _json(answer)
            if not _failed_earlier(task, asked_at + self._ahead_seconds(answer)):
                break
            key = hashlib.sha256(f"{key} {task['task_id']}".encode()).hexdigest()
        return await self._follow(task, report)

    def _ahead_seconds(self, answer: httpx.Response) -> float:
        """How far the service's clock is ahead of ours."""
        try:
            return parsedate_to_datetime(answer.headers["date"]).timestamp() - self.clock.time()
        except (KeyError, ValueError):
            return 0.0

    async def _follow(self, task: dict[str, Any], report: Report) -> dict[str, Any]:
        began = self.clock.monotonic()
        while True:
            await report(task)
            if task["status"] in _ENDED:
                break
            elapsed = self.clock.monotonic() - began
            await self.clock.sleep(min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS + elapsed / 10))
            task = _json(await self._send("GET", f"/tasks/{task['task_id']}", patience_seconds=AWAY_SECONDS))
        if task["status"] != "succeeded":
            message = task.get("error") or "The task was canceled."
            raise ServiceRefused(message, code=task.get("code", task["status"]), body=task)
        return task

    async def cancel(self, task_id: str) -> None:
        """Cancel a task if that is still possible; nothing is said when it isn't."""
        try:
            await self._send("POST", f"/tasks/{task_id}/cancel", patience_seconds=0.0)
        except (ServiceRefused, ServiceUnreachable):
            return

    async def resize(self, picture: str | Upload, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Resize a picture, given by URL or at hand; return the documented reply."""
        if isinstance(picture, Upload):
            return await self._upload(OPERATIONS[RESIZE].path, picture, fields)
        body = json.dumps({**fields, OPERATIONS[RESIZE_URL].picture: picture}).encode()
        headers = {"Content-Type": "application/json"}
        return _json(await self._send("POST", OPERATIONS[RESIZE_URL].path, content=body, headers=headers))

    async def convert(self, picture: Upload, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a picture to PNG; return the documented reply."""
        return await self._upload(OPERATIONS[CONVERT].path, picture, fields)

    async def frames(self, reply: Mapping[str, Any]) -> list[bytes]:
        """Read the PNGs of a conversion: all of them where the service runs here, else the first alone."""
        paths = reply["image_paths"]
        if len(paths) > 1 and self.is_local:
            return [await asyncio.to_thread(Path(path).read_bytes) for path in paths]
        return [await asyncio.to_thread(base64.b64decode, reply["image_data"])]

    async def keep(self, picture: Upload) -> str | None:
        """Have the service keep a picture for a while; return its link, None where files are not taken."""
        try:
            return str((await self._upload("/files", picture, {}, "file"))["url"])
        except ServiceRefused as exc:
            if exc.status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
                return None
            raise

    async def preview(self, picture: str | Upload, max_side: int, accept: str) -> tuple[bytes, str]:
        """Have a small version of a picture made; return it with its media type.

        Args:
            picture: A link of the service or the upstream, or a picture at hand.
            max_side: Its longest side, px.
            accept: The media types that will do.
        """
        headers = {"Accept": accept}
        limits = {"min_dim": 1, "max_dim": max_side}
        if isinstance(picture, Upload):
            sent = _form(picture, limits, FILE_FIELD)
            answer = await self._send("POST", OPERATIONS[RESIZE].path, headers=headers, **sent)
        else:
            body = {**limits, OPERATIONS[RESIZE_URL].picture: picture}
            answer = await self._send("POST", OPERATIONS[RESIZE_URL].path, headers=headers, json=body)
        return answer.content, answer.headers["content-type"]

    async def fetch(self, url: str) -> Upload:
        """Download a caller's URL, as the service would.

        Raises:
            CallerError: It is refused, unreachable or too large.
            ServiceRefused: It is a link of the service itself, and expired.
            ServiceUnreachable: It is one, and no answer came.
        """
        place = self._place(url)
        is_kept_there = not self.is_local and place.startswith(tuple(f"{self.base_url}{path}" for path in _OWN_PATHS))
        content = await self.download(place) if is_kept_there else (await self.fetcher.fetch(url)).content
        return Upload(content, urlsplit(url).path.rpartition("/")[2] if not is_data_url(url) else "")

    def as_caller(self, key: str | None) -> "Service":
        """The same service, asked with another key."""
        return replace(self, key=key)

    async def _upload(
        self, path: str, picture: Upload, fields: Mapping[str, Any], name: str = FILE_FIELD
    ) -> dict[str, Any]:
        return _json(await self._send("POST", path, **_form(picture, fields, name)))

    async def download(self, url: str, max_bytes: int = MAX_RESULT_BYTES) -> bytes:
        """Download a result from the service or its upstream.

        Raises:
            ServiceRefused: The link is expired, or the picture larger than allowed.
            ServiceUnreachable: No answer came.
        """
        place = self._place(url)
        host = urlsplit(place).netloc
        headers = self._authorization() if place.startswith(f"{self.base_url}/") else {}
        content = bytearray()
        try:
            async with self.http.stream("GET", place, headers=headers) as answer:
                if answer.status_code != HTTPStatus.OK:
                    message = f"The picture made can't be downloaded from {host} (HTTP {answer.status_code})."
                    raise ServiceRefused(message, code="result_unavailable", status=answer.status_code)
                async for piece in answer.aiter_bytes():
                    content += piece
                    if len(content) > max_bytes:
                        message = f"The picture made has more than the {max_bytes} bytes that are downloaded."
                        raise ServiceRefused(message, code="result_too_large")
        except (httpx.TransportError, httpx.InvalidURL) as exc:
            raise ServiceUnreachable(f"The picture made can't be downloaded from {host} ({_name(exc)}).") from exc
        return bytes(content)

    def is_own(self, url: str) -> bool:
        """Whether a link leads to the service itself."""
        return url.startswith(f"{self.own_url}/") or self._place(url).startswith(f"{self.base_url}/")

    def _place(self, url: str) -> str:
        """Find where a link leads from here: a server that thinks it is alone names itself 127.0.0.1."""
        if url.startswith(f"{self.own_url}/"):
            return f"{self.base_url}{url.removeprefix(self.own_url)}"
        parts = urlsplit(url)
        is_lost = (
            parts.hostname in _LOOPBACK and not self.is_local and urlsplit(self.base_url).hostname not in _LOOPBACK
        )
        if is_lost and parts.path.startswith(_OWN_PATHS):
            return f"{self.base_url}{parts.path}?{parts.query}".removesuffix("?")
        return url

    def _authorization(self) -> dict[str, str]:
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}

    async def _send(
        self, method: str, path: str, *, patience_seconds: float | None = None, **content: Any
    ) -> httpx.Response:
        """Send a request until it is answered, or patience ends; all of ours can be sent again without harm."""
        patience = self.patience_seconds if patience_seconds is None else patience_seconds
        until = self.clock.monotonic() + patience
        content["headers"] = {**content.get("headers", {}), **self._authorization()}
        pause = _FIRST_RETRY_SECONDS
        while True:
            failure: ServiceRefused | ServiceUnreachable
            try:
                answer = await self.http.request(method, f"{self.base_url}{path}", **content)
            except httpx.TransportError as exc:
                failure, wait = self._unreachable(path, exc), pause
                pause *= 2
            else:
                if answer.is_success:
                    return answer
                failure = _refusal(answer, self.base_url)
                if not failure.is_for_later:
                    raise failure
                wait = failure.retry_after or pause
            if self.clock.monotonic() + wait > until:
                raise failure
            await self.clock.sleep(wait)

    def _unreachable(self, path: str, exc: httpx.TransportError) -> ServiceUnreachable:
        message = f"{self.base_url} does not answer ({_name(exc)})."
        if path.startswith("/tasks/"):
            message += " The task goes on there; run the same again to fetch what it makes."
        return ServiceUnreachable(message)


def links_of(reply: Mapping[str, Any]) -> list[str]:
    """List the links to the pictures of an edit's reply, whichever of the documented forms it has."""
    if "image_url" in reply:
        return [reply["image_url"]]
    results = reply.get("results") or []
    return [result["url"] for result in (results if isinstance(results, list) else [results])]


def _form(picture: Upload, fields: Mapping[str, Any], file_field: str) -> dict[str, Any]:
    words = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in fields.items()}
    return {"files": {file_field: (picture.filename or "image", picture.content)}, "data": words}


def _failed_earlier(task: Mapping[str, Any], asked_at: float) -> bool:
    """Whether a task had failed, unpaid, before it was asked for; instants by the service's clock."""
    if task.get("status") not in {"failed", "canceled"} or task.get("billed") is not False:
        return False
    return datetime.fromisoformat(task["created_at"]).timestamp() < asked_at - _HEADER_SECONDS


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        read = answer.json()
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise ServiceUnreachable(f"What answers at {answer.url.host} is no imgapi: it sent no JSON object.")
    return read


def _refusal(answer: httpx.Response, base_url: str) -> ServiceRefused:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("error"), str):
        body = {"error": f"{base_url} answered {answer.status_code} {answer.reason_phrase}, and said no more."}
    given = answer.headers.get("retry-after", "")
    return ServiceRefused(
        body["error"],
        code=str(body.get("code", "")),
        status=answer.status_code,
        retry_after=float(given) if given.isdecimal() else None,
        body=body,
    )


def _name(exc: Exception) -> str:
    return str(exc) or type(exc).__name__
