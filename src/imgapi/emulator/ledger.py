"""The record of what the emulator was asked: for tests, and for whoever debugs a client."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from imgapi.emulator.faults import CallKind

_MAX_BODY_CHARACTERS = 4_096
_MAX_NAMES = 200


@dataclass(slots=True)
class CallRecord:
    """One call received; `at` is seconds since the epoch, `started` and `ended` are of the monotonic clock.

    `status` is None while the call lasts, and stays so when it was cut before a status was sent.
    """

    number: int
    kind: CallKind
    at: float
    started: float
    method: str
    path: str
    query: str
    authorized: bool
    model: str | None = None
    task_id: str | None = None
    body: str = ""
    status: int | None = None
    ended: float | None = None
    fault: bool = False

    def describe(self, *, with_body: bool) -> dict[str, object]:
        """Return the record as plain JSON values."""
        document: dict[str, object] = {
            "number": self.number,
            "call": self.kind.value,
            "at": self.at,
            "started": self.started,
            "ended": self.ended,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "authorized": self.authorized,
            "model": self.model,
            "task_id": self.task_id,
            "status": self.status,
            "fault": self.fault,
        }
        if with_body:
            document["body"] = self.body
        return document


class Ledger:
    """Counts of everything, and the last calls one by one; holds no key.

    Attributes:
        tasks_created: Jobs accepted, a synchronous call being one job.
        images_billed: Pictures the upstream would have billed.
        accepted: Jobs accepted per model.
        calls: The last calls, oldest first.
        call_counts: All calls per kind, those no longer in `calls` included.
        peak_running: The largest number of jobs at work at one time, per model.
        authorization_seen: Whether any call carried a key.

    Args:
        max_calls: How many calls are remembered one by one.
    """

    def __init__(self, max_calls: int) -> None:
        self.calls: deque[CallRecord] = deque(maxlen=max_calls)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.calls.clear()
        self.call_counts: Counter[str] = Counter()
        self.tasks_created = 0
        self.images_billed = 0
        self.accepted: Counter[str] = Counter()
        self.peak_running: dict[str, int] = {}
        self.authorization_seen = False
        self._number = 0

    def open(self, kind: CallKind, *, at: float, started: float, where: tuple[str, str, str], key: bool) -> CallRecord:
        """Note a call as it arrives; `where` is method, path and query, `key` whether it carried one."""
        self._number += 1
        self.call_counts[kind.value] += 1
        self.authorization_seen = self.authorization_seen or key
        method, path, query = where
        record = CallRecord(
            number=self._number,
            kind=kind,
            at=at,
            started=started,
            method=method,
            path=path[:_MAX_BODY_CHARACTERS],
            query=query[:_MAX_BODY_CHARACTERS],
            authorized=key,
        )
        self.calls.append(record)
        return record

    def note_body(self, record: CallRecord, body: bytes) -> None:
        """Keep the beginning of a body."""
        record.body = body[:_MAX_BODY_CHARACTERS].decode("utf-8", errors="replace")

    def accept(self, model: str) -> None:
        """Count a job that was accepted."""
        self.tasks_created += 1
        self.accepted[model] += 1

    def bill(self, images: int) -> None:
        """Count pictures that would have been billed."""
        self.images_billed += images

    def note_running(self, model: str, running: int) -> None:
        """Note how many jobs of a model are at work now."""
        self.peak_running[model] = max(running, self.peak_running.get(model, 0))

    def of(self, kind: CallKind | str) -> list[CallRecord]:
        """Return the remembered calls of one kind, oldest first."""
        return [record for record in self.calls if record.kind.value == CallKind(kind).value]

    def describe(self) -> Mapping[str, object]:
        """Return the whole ledger as plain JSON values."""
        return {
            "tasks_created": self.tasks_created,
            "images_billed": self.images_billed,
            "accepted": dict(self.accepted.most_common(_MAX_NAMES)),
            "call_counts": dict(self.call_counts),
            "peak_running": dict(self.peak_running),
            "authorization_seen": self.authorization_seen,
            "calls": [record.describe(with_body=False) for record in self.calls],
        }
