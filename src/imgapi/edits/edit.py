"""What an edit is made of: its request, the upstream models that can serve it, and how its reply is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from imgapi.clock import documented_time, internet_time, read_documented_time
from imgapi.contract.edits import EditReply, PicturesReply, ResultLink, TaskMetrics, Usage
from imgapi.contract.fields import Request
from imgapi.dashscope.wire import FailedPicture, SubmitBody, TaskOutput
from imgapi.errors import InvalidParameter
from imgapi.pictures.bounds import Bounds

R = TypeVar("R", bound=Request)
A = TypeVar("A", bound=EditReply)


@dataclass(frozen=True, slots=True)
class PreparedPicture:
    """One input, ready for one model: the address the upstream reads, and its size in pixels."""

    url: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class InputRule(Generic[R]):
    """What a model accepts as one of its inputs.

    Args:
        bounds: Formats, sides and bytes it takes.
        cut_out: The subject must stand on a transparent background.
        canvas: Returns the four scales (top, bottom, left, right) by which the picture's canvas is enlarged first.
    """

    bounds: Bounds
    cut_out: bool = False
    canvas: Callable[[R], tuple[float, float, float, float]] | None = None


@dataclass(frozen=True, slots=True)
class MarkedArea:
    """What a request marks in one of its pictures.

    Args:
        boxes: x, y, width and height each, in pixels of the picture as the caller sees it.
        field: The public field that holds a mask picture, white where marked; None when there is none.
    """

    boxes: Sequence[tuple[int, int, int, int]]
    field: str | None


@dataclass(frozen=True, slots=True)
class MaskRule(Generic[R]):
    """A model that reads what the request marks as a picture of its own, named 'mask'.

    Args:
        of: The public field of the picture that is marked; the mask gets its size.
        area: Reads it from the request; None when nothing is marked, and then there is no mask.
    """

    of: str
    area: Callable[[R], MarkedArea | None]


@dataclass(frozen=True, slots=True)
class Candidate(Generic[R]):
    """One upstream model that can serve an edit.

    Args:
        model: The upstream's name of it.
        path: Behind `/services/`.
        asynchronous: Whether the upstream answers a task to poll, or the pictures at once.
        inputs: What it takes, by public field.
        body: Writes the submit from the request and the prepared pictures by public field.
        usual_seconds: How long it usually runs, before anything was learned (docs/upstream.md#run-times).
        mask: How the area that a request marks becomes one more picture.
    """

    model: str
    path: str
    asynchronous: bool
    inputs: Mapping[str, InputRule[R]]
    body: Callable[[R, Mapping[str, PreparedPicture]], SubmitBody]
    usual_seconds: float
    mask: MaskRule[R] | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A task that ended well, in our words; instants are seconds since the epoch.

    `expires_at` is when the links die that are this service's own, `price_cny` that of one picture by the list.
    """

    task_id: str
    upstream_task_id: str | None
    engine: str
    output: TaskOutput
    prepared: Sequence[str]
    submitted_at: float
    scheduled_at: float
    ended_at: float
    urls: Sequence[str]
    failures: Sequence[FailedPicture] = field(default_factory=tuple)
    warnings: Sequence[str] = ()
    ignored: Sequence[str] = ()
    expires_at: float | None = None
    billed: bool = False
    price_cny: float = 0.0

    @property
    def expiry(self) -> str | None:
        """When the links die, as replies tell it."""
        return None if self.expires_at is None else internet_time(self.expires_at)


@dataclass(frozen=True, slots=True)
class Edit(Generic[R, A]):
    """One of the operations that run upstream.

    Args:
        operation: Its name, which is its path without the slash.
        summary: One line for people.
        candidates: The models that can serve it, in order of preference.
        reply: Writes the documented reply.
    """

    operation: str
    summary: str
    candidates: tuple[Candidate[R], ...]
    reply: Callable[[Finished], A]

    @property
    def model_names(self) -> tuple[str, ...]:
        """The upstream names of all models that can serve this edit."""
        return tuple(candidate.model for candidate in self.candidates)

    def ordered(self, names: Sequence[str]) -> "Edit[R, A]":
        """Return this edit with the models an operator chose, in the operator's order.

        Raises:
            InvalidParameter: A name is not one that can serve this edit.
        """
        known = {candidate.model: candidate for candidate in self.candidates}
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            message = (
                f"{self.operation} can be served by {', '.join(known)}; {', '.join(unknown) or 'nothing'} was named"
            )
            raise InvalidParameter(message)
        return Edit(self.operation, self.summary, tuple(known[name] for name in names), self.reply)


def common_fields(finished: Finished) -> dict[str, Any]:
    """Write the fields that every edit's reply has; the upstream's own times win over ours."""
    output = finished.output
    return {
        "task_id": finished.task_id,
        "task_status": "SUCCEEDED",
        "submit_time": _time(output.submit_time, finished.submitted_at),
        "scheduled_time": _time(output.scheduled_time, finished.scheduled_at),
        "end_time": _time(output.end_time, finished.ended_at),
        "engine": finished.engine,
        "upstream_task_id": finished.upstream_task_id,
        "prepared": list(finished.prepared) or None,
        "warnings": list(finished.warnings) or None,
        "ignored": list(finished.ignored) or None,
        "billed": finished.billed,
        "usage": usage(len(finished.urls), finished.price_cny),
    }


def usage(images: int, price_cny: float) -> Usage:
    """Count what was made, and what it costs by the list."""
    return Usage(images=images, list_price_cny=round(images * price_cny, 4))


def _time(told: str | None, ours: float) -> str:
    """Write the upstream's time in the documented form, however it was spelled; ours where it tells none."""
    read = read_documented_time(told)
    return documented_time(ours if read is None or read < 0 else read)


def metrics(finished: Finished) -> TaskMetrics:
    """Count the pictures: the upstream's count where it is complete and agrees with the links, else our own."""
    told = finished.output.task_metrics
    made, failed = len(finished.urls), len(finished.failures)
    if told and told.TOTAL is not None and made == told.SUCCEEDED and told.FAILED is not None:
        return TaskMetrics(TOTAL=told.TOTAL, SUCCEEDED=told.SUCCEEDED, FAILED=told.FAILED)
    return TaskMetrics(TOTAL=made + failed, SUCCEEDED=made, FAILED=failed)


def pictures_reply(finished: Finished) -> PicturesReply:
    """Write the documented common reply."""
    results = [ResultLink(url=url, expires_at=finished.expiry) for url in finished.urls]
    return PicturesReply(**common_fields(finished), results=results, task_metrics=metrics(finished))
