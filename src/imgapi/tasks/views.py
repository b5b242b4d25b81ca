"""How a task is told to callers."""

import json
from dataclasses import dataclass
from typing import Any

from imgapi import errors
from imgapi.clock import internet_time
from imgapi.edits.edit import usage
from imgapi.errors import ImgapiError
from imgapi.tasks.catalogue import LOCAL_LANE, Catalogue
from imgapi.tasks.lanes import Line
from imgapi.tasks.record import Status, TaskRecord
from imgapi.tasks.sealing import Seal

_LOCAL_SECONDS = 2.0
_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Views:
    """Writes tasks as public JSON.

    Args:
        seal: Opens replies.
        catalogue: Knows places and run times.
    """

    seal: Seal
    catalogue: Catalogue

    def reply(self, record: TaskRecord) -> dict[str, Any]:
        """The documented reply of a task that has succeeded."""
        read: dict[str, Any] = json.loads(self.seal.open(record.reply or ""))
        return read

    def task(self, record: TaskRecord, line: Line) -> dict[str, Any]:
        """A task as it stands."""
        instants = {
            "created_at": record.created_at,
            "started_at": record.started_at,
            "ended_at": record.ended_at,
            "expires_at": record.expires_at,
        }
        view: dict[str, Any] = {
            "task_id": record.id,
            "operation": record.operation,
            "status": record.status.value,
            **{name: internet_time(instant) for name, instant in instants.items() if instant is not None},
            "billed": billed(record),
            "usage": usage(record.made, record.price).model_dump(),
        }
        if record.upstream_task_id is not None:
            view["upstream_task_id"] = record.upstream_task_id
        if record.status is Status.QUEUED:
            view |= self._wait(record, line)
        elif record.status is Status.SUCCEEDED:
            view |= self.reply(record)
        elif record.error is not None:
            view |= json.loads(record.error)
        return view

    def _wait(self, record: TaskRecord, line: Line) -> dict[str, Any]:
        places, seconds = self.pace(record.operation, record.lane, record.wanted)
        start = 0.0 if record.has_place else line.start_seconds(places, seconds)
        return {"queue_position": line.ahead + 1, "estimated_seconds": round(start + seconds, 1)}

    def pace(self, operation: str, lane: str, wanted: int) -> tuple[int, float]:
        """How many tasks of a lane run at once, and how long such a task runs."""
        model = lane.rpartition("/")[2]
        if lane == LOCAL_LANE or model not in self.catalogue.limits:
            return self.catalogue.local_places, _LOCAL_SECONDS
        centre, _ = self.catalogue.times(operation, model, wanted).centre_and_spread()
        limits = self.catalogue.limits[model]
        # Where tasks are short, the submits are what holds the line up.
        return limits.running, max(centre, limits.running / limits.submits_per_second)

    def failure(self, record: TaskRecord) -> ImgapiError:
        """The failure that a task ended with, to be raised again."""
        if record.status is Status.CANCELED or record.error is None:
            failure: ImgapiError = errors.EditFailed("The task was canceled.", detail="canceled")
        else:
            told = json.loads(record.error)
            kind = _KINDS.get(told["code"], ImgapiError)
            failure = kind.__new__(kind)
            ImgapiError.__init__(failure, told["error"], field=told.get("field"))
            if isinstance(failure, errors.Waitable):
                failure.retry_after = _RETRY_SECONDS
        failure.task_id, failure.upstream_task_id = record.id, record.upstream_task_id
        failure.billed, failure.usage = billed(record), usage(record.made, record.price).model_dump()
        return failure


def billed(record: TaskRecord) -> bool | str:
    """Whether the upstream charges for a task, as callers are told."""
    return record.billed if record.billed == "unknown" else record.billed == "true"


def _all_kinds(kind: type[ImgapiError]) -> list[type[ImgapiError]]:
    return [kind, *(leaf for each in kind.__subclasses__() for leaf in _all_kinds(each))]


_KINDS = {kind.code: kind for kind in _all_kinds(ImgapiError)}
