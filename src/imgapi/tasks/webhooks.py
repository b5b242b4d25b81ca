"""Webhooks: the end of a task is told to whoever asked to hear of it, until it was heard or two days have passed.

At least once: a process that dies while it tells leaves a lease that runs out, and the message is sent again under the
same id. Never under two ids, since the id follows from the task (`deliveries.plan_delivery`).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import sqlalchemy as sa

from imgapi.clock import Clock, internet_time, rest
from imgapi.contract.deliveries import DeliveriesReply, DeliveryAttempt, DeliveryReply, DeliveryState
from imgapi.errors import ImgapiError, InvalidParameter, SourceRefused, TaskNotFound
from imgapi.sources.messages import Answer, check_receiver
from imgapi.sources.urls import WEB_PORTS
from imgapi.tasks import deliveries
from imgapi.tasks.database import Database
from imgapi.tasks.deliveries import Attempt, Claim, Told
from imgapi.tasks.sealing import Seal
from imgapi.tasks.signing import read_secret, signed_headers

WEBHOOK_HEADER = "Imgapi-Webhook"
# After the first attempt, the second, and so on: 10 attempts over some two days.
RETRY_SECONDS = (5.0, 60.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0)
JITTER_SHARE = 0.2
LONGEST_RETRY_AFTER_SECONDS = 24 * 3600.0
AT_ONCE = 8
# A lease outlives the longest attempt, so that only a dead process's runs out.
LEASE_SECONDS = 30.0
ATTEMPT_SECONDS = 25.0
# How soon another process's delivery is seen where the database is shared, and a clock that was set where it is not.
SHARED_LOOK_SECONDS = 5.0
LONE_LOOK_SECONDS = 600.0
# What another process is just claiming looks due until it has.
SHORTEST_REST_SECONDS = 0.05
RECOVERY_SECONDS = 5.0
_GONE = 410


class Log(Protocol):
    """Where deliveries are written down for the operator; never with a URL."""

    def info(self, event: str, **fields: Any) -> Any:
        """Write an event of ordinary life."""
        ...

    def warning(self, event: str, **fields: Any) -> Any:
        """Write an event that an operator should look at."""
        ...


def check_webhook_url(url: str, *, allow_private: bool = False, ports: frozenset[int] = WEB_PORTS) -> str:
    """Judge a receiver's URL before anything is kept of it, and return it in its one spelling.

    Args:
        url: What the caller sent.
        allow_private: Let http and private addresses through (development only).
        ports: The ports that may be dialled.

    Raises:
        InvalidParameter: Nothing may be posted there; `field` is the header's name.
    """
    if not url.isascii():
        message = "The URL must be plain ASCII; percent-encode its path, and write its host in punycode."
        raise InvalidParameter(message, field=WEBHOOK_HEADER)
    try:
        return check_receiver(url, ports=ports, allow_private=allow_private).text
    except (InvalidParameter, SourceRefused) as exc:
        raise InvalidParameter(exc.message, field=WEBHOOK_HEADER) from exc


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt led to.

    Attributes:
        state: The delivery's state from now on.
        status: The receiver's HTTP status.
        problem: What went wrong, in one sentence.
        pause_seconds: Until the next attempt.
        is_attempt: Whether it counts as an attempt.
    """

    state: DeliveryState
    status: int | None = None
    problem: str | None = None
    pause_seconds: float = 0.0
    is_attempt: bool = True


def judge(answer: Answer, *, number: int, now: float, jitter: float) -> Outcome:
    """Decide what follows from an answer.

    Args:
        answer: What the receiver said.
        number: Which attempt it was, from 1.
        now: Seconds since the epoch.
        jitter: Between 0 and 1.
    """
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004 - the range of success
        return Outcome("delivered", status)
    if status == _GONE:
        return Outcome("given_up", status, "The receiver wants no more of these.")
    problem = "Redirects are not followed; send the receiver's own URL." if 300 <= status < 400 else None  # noqa: PLR2004
    return postpone(status, problem, number=number, jitter=jitter, at_least=_read_retry_after(answer.retry_after, now))


def postpone(status: int | None, problem: str | None, *, number: int, jitter: float, at_least: float = 0.0) -> Outcome:
    """Have a failed attempt followed by the next of the schedule, or by none after the last."""
    if number > len(RETRY_SECONDS):
        return Outcome("given_up", status, problem)
    share = 1.0 + JITTER_SHARE * (2.0 * jitter - 1.0)
    return Outcome("pending", status, problem, max(RETRY_SECONDS[number - 1] * share, at_least))


def _read_retry_after(value: str, now: float) -> float:
    """Read `Retry-After` in either of its forms (RFC 9110, section 10.2.3), as seconds from now."""
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            return 0.0
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_SECONDS)


@dataclass(slots=True)
class Deliverer:
    """Tells receivers what became of tasks.

    Args:
        database: Keeps what is to be told.
        seal: Opens the receivers' URLs.
        post: Sends one message: URL, body, header fields.
        clock: Time.
        body_of: A task's public JSON by its id; None when the task was forgotten.
        secret: Returns what messages are signed with, as `signing.read_secret` takes it; asked at the first message.
        log: For the operator.
        jitter: A random number between 0 and 1.
        attempt_seconds: Longest attempt, the writing of the message included.
    """

    database: Database
    seal: Seal
    post: Callable[[str, bytes, Mapping[str, str]], Awaitable[Answer]]
    clock: Clock
    body_of: Callable[[str], Awaitable[dict[str, Any] | None]]
    secret: Callable[[], str]
    log: Log
    jitter: Callable[[], float]
    attempt_seconds: float = ATTEMPT_SECONDS
    _key: bytes | None = field(default=None, init=False, repr=False)
    _under_way: dict[asyncio.Task[None], Claim] = field(default_factory=dict, init=False)
    _loop: asyncio.Task[Any] | None = field(default=None, init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _has_looked: bool = field(default=False, init=False)
    _is_closing: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Deliver what falls due, until `close` is called."""
        self._loop = asyncio.current_task()
        while not self._is_closing:
            self._wake.clear()
            pause = await self._look()
            await rest(self.clock, self._wake, pause)

    def wake(self) -> None:
        """Look for due deliveries now: one was planned."""
        self._wake.set()

    async def close(self, grace_seconds: float = 2.0) -> None:
        """Begin no more; what does not end within the grace is left to whoever comes next, at once."""
        self._is_closing = True
        self._wake.set()
        if self._loop is not None:
            await asyncio.wait({self._loop}, timeout=grace_seconds)
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=grace_seconds)
        left = dict(self._under_way)
        if left:
            for attempt in left:
                attempt.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await self._release(left.values())

    async def _release(self, claims: Iterable[Claim]) -> None:
        try:
            await self.database.run(lambda connection: deliveries.release(connection, claims))
        except Exception as exc:  # noqa: BLE001 - the same as when the process is killed: the leases run out
            self.log.warning("deliveries unreleased", reason=type(exc).__name__)

    async def list(self, task_id: str) -> DeliveriesReply:
        """Tell what was, or is to be, told of a task."""
        rows = await self.database.run(lambda connection: deliveries.read_deliveries(connection, task_id))
        return DeliveriesReply(deliveries=[self._describe(row, attempts) for row, attempts in rows])

    async def replay(self, task_id: str, delivery_id: str) -> DeliveryReply:
        """Have a delivery tried again now, under the same `webhook-id`.

        Raises:
            TaskNotFound: The task has no such delivery.
        """

        def work(connection: sa.Connection) -> Sequence[Told]:
            now = self.database.now(connection)
            found = deliveries.make_due(connection, now=now, task_id=task_id, delivery_id=delivery_id)
            return deliveries.read_deliveries(connection, task_id) if found else ()

        for row, attempts in await self.database.run(work):
            if row.id == delivery_id:
                self.wake()
                return self._describe(row, attempts)
        raise TaskNotFound("This task has no delivery of that id; GET /tasks/{task_id}/deliveries lists them.")

    def _describe(self, row: sa.Row[Any], attempts: Sequence[sa.Row[Any]]) -> DeliveryReply:
        made = [
            DeliveryAttempt(
                at=internet_time(each.at), seconds=round(each.seconds, 3), status=each.status, problem=each.problem
            )
            for each in attempts
        ]
        return DeliveryReply(
            id=row.id,
            event=row.event,
            host=urlsplit(self.seal.open(row.url)).hostname or "",
            state=row.state,
            created_at=internet_time(row.created_at),
            next_attempt_at=internet_time(row.due_at) if row.state == deliveries.PENDING else None,
            attempts=made,
        )

    async def _look(self) -> float:
        """Begin what is due; return how long there is nothing more to do."""
        longest = SHARED_LOOK_SECONDS if self.database.is_shared else LONE_LOOK_SECONDS
        room = AT_ONCE - len(self._under_way)
        if room == 0:
            return longest

        def work(connection: sa.Connection) -> tuple[Sequence[Claim], float]:
            if not self._has_looked and not self.database.is_shared:
                # The file is this process's alone: leases on it are those of one that died.
                deliveries.release_all(connection)
            now = self.database.now(connection)
            claims = deliveries.claim_due(connection, now=now, most=room, lease_seconds=LEASE_SECONDS)
            instant = deliveries.next_instant(connection)
            return claims, longest if instant is None else min(longest, max(SHORTEST_REST_SECONDS, instant - now))

        try:
            claims, pause = await self.database.run(work)
        except Exception as exc:  # noqa: BLE001 - the loop is a border: it outlives a database that is away
            self.log.warning("deliveries unreadable", reason=type(exc).__name__)
            return RECOVERY_SECONDS
        self._has_looked = True
        for claim in claims:
            attempt = asyncio.create_task(self._attempt(claim), name=f"deliver {claim.id}")
            self._under_way[attempt] = claim
            attempt.add_done_callback(self._leave)
        return longest if len(claims) == room else pause

    def _leave(self, attempt: asyncio.Task[None]) -> None:
        del self._under_way[attempt]
        self._wake.set()

    async def _attempt(self, claim: Claim) -> None:
        number = claim.attempts + 1
        begun = self.clock.monotonic()
        names = {"delivery_id": claim.id, "task_id": claim.task_id, "attempt": number}
        try:
            outcome = await self._try(claim)
        except ImgapiError as exc:
            outcome = postpone(None, exc.message, number=number, jitter=self.jitter())
        except Exception as exc:  # noqa: BLE001 - an attempt is a border: the delivery must not be lost with it
            self.log.warning("webhook unwritten", **names, reason=type(exc).__name__)
            problem = "This service failed before it could send the message."
            outcome = postpone(None, problem, number=number, jitter=self.jitter())
        attempt = (
            Attempt(self.clock.monotonic() - begun, outcome.status, outcome.problem) if outcome.is_attempt else None
        )

        def work(connection: sa.Connection) -> None:
            due_at = self.database.now(connection) + outcome.pause_seconds
            deliveries.settle(connection, claim, attempt, outcome.state, due_at)

        try:
            await self.database.run(work)
        except Exception as exc:  # noqa: BLE001 - the same border: the lease runs out, and it is sent again
            self.log.warning("delivery unrecorded", **names, reason=type(exc).__name__)
        self._write_log(outcome, names)

    def _write_log(self, outcome: Outcome, names: dict[str, Any]) -> None:
        said = {"status": outcome.status, "problem": outcome.problem}
        fields = names | {name: value for name, value in said.items() if value is not None}
        match outcome.state:
            case "delivered":
                self.log.info("webhook delivered", **fields)
            case "pending":
                self.log.info("webhook postponed", **fields, seconds=round(outcome.pause_seconds))
            case "given_up":
                self.log.warning("webhook given up", **fields)

    async def _try(self, claim: Claim) -> Outcome:
        """Send the message once.

        Raises:
            ImgapiError: It could not be sent now; another time it may.
        """
        url = self.seal.open(claim.sealed_url)
        try:
            async with asyncio.timeout(self.attempt_seconds):
                data = await self.body_of(claim.task_id)
                if data is None:
                    return Outcome("given_up", problem="The task was forgotten before it was told.", is_attempt=False)
                content = _write_body(claim, data)
                at = int(self.clock.time())
                if self._key is None:
                    self._key = read_secret(self.secret())
                headers = signed_headers(self._key, claim.id, at, content)
                answer = await self.post(url, content, {"Content-Type": "application/json", **headers})
        except TimeoutError:
            problem = f"The message could not be handed over within {self.attempt_seconds:g} s."
            return postpone(None, problem, number=claim.attempts + 1, jitter=self.jitter())
        except (SourceRefused, InvalidParameter) as exc:
            return Outcome("given_up", problem=exc.message)
        return judge(answer, number=claim.attempts + 1, now=self.clock.time(), jitter=self.jitter())


def _write_body(claim: Claim, data: Mapping[str, Any]) -> bytes:
    body = {"type": claim.event, "timestamp": internet_time(claim.created_at), "data": data}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
