"""The calls about tasks that exist: query, list and cancel (`docs/upstream.md`, task management)."""

import math
from collections.abc import Mapping
from typing import Final

from imgapi.clock import Clock
from imgapi.emulator.answers import Answer, Refusal, invalid, json_answer, new_request_id, told
from imgapi.emulator.config import Rate
from imgapi.emulator.desk import Exchange
from imgapi.emulator.documents import describe_row, describe_task, describe_unknown, read_list_time
from imgapi.emulator.inputs import Inputs
from imgapi.emulator.limits import RateGate
from imgapi.emulator.tasks import Task, TaskBook

_DAY_SECONDS: Final = 86_400.0
_MAX_PAGE_SIZE: Final = 100
_THROTTLED: Final = ("Throttling.RateQuota", "Requests rate limit exceeded, please try again later.")
_NOT_PENDING: Final = "Failed to cancel the task, please confirm if the task is in PENDING status."


class Queries:
    """Answers query, list and cancel.

    Args:
        book: The tasks.
        inputs: Forgets the pictures of canceled tasks.
        gate: Holds the rate of each call.
        rate: What an account is granted of each call.
        clock: Dates the list.
    """

    def __init__(self, book: TaskBook, inputs: Inputs, gate: RateGate, rate: Rate, clock: Clock) -> None:
        self._book = book
        self._inputs = inputs
        self._gate = gate
        self._rate = rate
        self._clock = clock

    async def query(self, exchange: Exchange) -> Answer:
        """Answer one look at one task; an unknown one is UNKNOWN, not an error."""
        self._check_rate("query")
        task_id = exchange.request.path_params["task_id"]
        scripted = exchange.effect.task_status
        if scripted is not None:
            return json_answer(200, describe_unknown(task_id, scripted, new_request_id()))
        task = self._book.find(task_id)
        if task is None:
            return json_answer(200, describe_unknown(task_id, "UNKNOWN", new_request_id()))
        await self._book.look(task)
        answer = json_answer(200, describe_task(task, self._book.shown_status(task), new_request_id()))
        return told(answer, task.outcome.warnings, task.outcome.ignored)

    async def cancel(self, exchange: Exchange) -> Answer:
        """Cancel a task that is PENDING; a body is ignored."""
        self._check_rate("cancel")
        task = self._book.find(exchange.request.path_params["task_id"])
        order = task.order if task is not None else None
        if task is None or order is None or not self._book.cancel(task.task_id):
            raise Refusal(400, "UnsupportedOperation", _NOT_PENDING)
        await self._inputs.release(order, task.task_id)
        return json_answer(200, {"request_id": new_request_id()})

    async def list(self, exchange: Exchange) -> Answer:
        """Answer one page of the tasks of a stretch of time, newest first; counts as a look at those listed."""
        self._check_rate("list")
        query = exchange.request.query_params
        page_no = _read_page(query, "page_no", 1, None)
        page_size = _read_page(query, "page_size", 10, _MAX_PAGE_SIZE)
        start, end = self._read_span(query)
        found = [task for task in self._book if start <= task.submitted < end and self._is_asked_for(task, query)]
        page = found[(page_no - 1) * page_size : page_no * page_size]
        for task in page:
            await self._book.look(task)
        return json_answer(
            200,
            {
                "request_id": new_request_id(),
                "total": len(found),
                "total_page": math.ceil(len(found) / page_size),
                "page_no": page_no,
                "page_size": page_size,
                "data": [describe_row(task, self._book.shown_status(task)) for task in page],
            },
        )

    def _is_asked_for(self, task: Task, query: Mapping[str, str]) -> bool:
        return (
            query.get("task_id", task.task_id) in {task.task_id, ""}
            and query.get("model_name", task.model.name) in {task.model.name, ""}
            and query.get("status", "") in {self._book.shown_status(task), ""}
        )

    def _read_span(self, query: Mapping[str, str]) -> tuple[float, float]:
        """Return the stretch asked for in epoch seconds; its end is exclusive, so the last second counts whole."""
        try:
            start = read_list_time(query["start_time"]) if query.get("start_time") else None
            end = read_list_time(query["end_time"]) + 1 if query.get("end_time") else None
        except (ValueError, OverflowError) as error:
            raise invalid("The format of start_time and end_time must be YYYYMMDDhhmmss.") from error
        if start is None and end is None:
            end = self._clock.time() + 1
        if start is None:
            start = (end or 0.0) - _DAY_SECONDS - 1
        if end is None:
            end = start + _DAY_SECONDS
        if not 0 <= end - start <= _DAY_SECONDS + 1:
            raise invalid("The span between start_time and end_time must not exceed 24 hours.")
        return start, end

    def _check_rate(self, name: str) -> None:
        if self._book.enforce_limits and not self._gate.admits(name, self._rate):
            raise Refusal(429, *_THROTTLED)


def _read_page(query: Mapping[str, str], name: str, default: int, most: int | None) -> int:
    text = query.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:  # noqa: PLR2004 - digits of a number that is surely no page
        raise invalid(f"The parameter {name} must be a positive integer.")
    if most is not None and int(text) > most:
        raise invalid(f"Range of {name} should be [1, {most}]")
    return int(text)
