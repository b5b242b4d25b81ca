"""The routes of tasks: look, list, follow, cancel, forget, and what their webhooks were told."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.sse import format_sse_event

from imgapi.api.asked import payer_of
from imgapi.api.next_steps import AFTER_DELIVERIES, AFTER_TASK, AFTER_TASKS
from imgapi.api.openapi import ERRORS, TASK_CONFLICT, TASK_ERRORS
from imgapi.contract import tasks as words
from imgapi.contract.deliveries import DeliveriesReply, DeliveryReply
from imgapi.contract.edits import TaskId
from imgapi.contract.fields import Reply
from imgapi.tasks.run import Event, TaskRunner
from imgapi.tasks.webhooks import Deliverer

TAG = "tasks"
MAX_LISTED = 100
Operation = Literal["change_bg", "change_cloth", "expand", "fix", "remove_bg", "remove_watermark"]
_BASE_ERRORS: dict[int | str, dict[str, Any]] = {status: ERRORS[status] for status in (400, 401, 429, 500)}
# Before OpenAPI 3.2 there is no word for the items of a stream: its schema is that of one event.
_EVENT = {
    "type": "object",
    "title": "One event",
    "required": ["event", "data"],
    "properties": {
        "id": {"type": "string", "description": "Its number, for `Last-Event-ID`; absent where nothing was kept."},
        "event": {
            "type": "string",
            "enum": ["queued", "submitted", "running", "succeeded", "failed", "canceled"],
            "description": "The last three are the end of the stream.",
        },
        "data": {"type": "string", "description": "The task as it stands: a `TaskReply`, written as JSON in one line."},
    },
}
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events, each with the task as it stands.",
        "content": {"text/event-stream": {"schema": _EVENT}},
    }
}


def tasks_router(runner: TaskRunner, deliverer: Deliverer) -> APIRouter:
    """Make the routes.

    Args:
        runner: Has the tasks.
        deliverer: Has what webhooks were told.
    """
    router = APIRouter(prefix="/tasks", tags=[TAG], responses=_BASE_ERRORS)

    @router.get(
        "",
        response_model=words.TaskListReply,
        operation_id="list_tasks",
        summary="The tasks, the newest first",
        responses={200: {"description": "A page of tasks.", "links": AFTER_TASKS}},
    )
    async def list_tasks(
        request: Request,
        status: Annotated[words.TaskStatus | None, Query(description="Only those of this status.")] = None,
        operation: Annotated[Operation | None, Query(description="Only those of this edit.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED, description="Most tasks of one page.")] = 20,
        cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")] = None,
    ) -> Response:
        """List the caller's tasks, page by page."""
        return _answer(
            await runner.list(payer_of(request).name, status=status, operation=operation, limit=limit, cursor=cursor)
        )

    @router.get(
        "/{task_id}",
        response_model=words.TaskReply,
        operation_id="get_task",
        summary="A task as it stands",
        responses={200: {"description": "The task.", "links": AFTER_TASK}, **TASK_ERRORS},
    )
    async def get_task(task_id: TaskId, request: Request) -> Response:
        """Tell the status; while it waits its place in the line; at its end the documented reply or error."""
        return _answer(await runner.view(task_id, payer_of(request).name))

    @router.delete(
        "/{task_id}",
        operation_id="delete_task",
        summary="Forget a task",
        status_code=HTTPStatus.NO_CONTENT,
        response_class=Response,
        responses={**TASK_ERRORS, **TASK_CONFLICT},
    )
    async def delete_task(task_id: TaskId, request: Request) -> Response:
        """Forget a task that has ended, together with the results that are kept here."""
        await runner.forget(task_id, payer_of(request).name)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @router.post(
        "/{task_id}/cancel",
        response_model=words.TaskReply,
        operation_id="cancel_task",
        summary="Cancel a task",
        responses={**TASK_ERRORS, **TASK_CONFLICT},
    )
    async def cancel_task(task_id: TaskId, request: Request) -> Response:
        """Cancel a task while it waits, here or upstream; `cancel` says where it was. What has begun is not stopped."""
        return _answer(await runner.cancel(task_id, payer_of(request).name))

    @router.get(
        "/{task_id}/events",
        operation_id="follow_task",
        summary="Follow a task",
        response_class=Response,
        responses={**_STREAM, **TASK_ERRORS},
    )
    async def follow_task(
        task_id: TaskId,
        request: Request,
        last_event_id: Annotated[
            str | None,
            Header(pattern=r"^\d{1,9}$", description="The number of the last event seen; those after it follow."),
        ] = None,
    ) -> Response:
        """Send an event for each change: queued, submitted, running, and at last succeeded, failed or canceled."""
        events = await runner.events(task_id, payer_of(request).name, int(last_event_id or 0))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_written(events), media_type="text/event-stream", headers=headers)

    @router.get(
        "/{task_id}/deliveries",
        response_model=DeliveriesReply,
        operation_id="list_deliveries",
        summary="What the task's webhook was told",
        responses={200: {"description": "Its deliveries.", "links": AFTER_DELIVERIES}, **TASK_ERRORS},
    )
    async def list_deliveries(task_id: TaskId, request: Request) -> Response:
        """List the deliveries with every attempt."""
        await runner.view(task_id, payer_of(request).name)
        return _answer(await deliverer.list(task_id))

    @router.post(
        "/{task_id}/deliveries/{delivery_id}/replay",
        response_model=DeliveryReply,
        operation_id="replay_delivery",
        summary="Tell the task's webhook again",
        status_code=HTTPStatus.ACCEPTED,
        responses=TASK_ERRORS,
    )
    async def replay_delivery(task_id: TaskId, delivery_id: str, request: Request) -> Response:
        """Send a delivery again, under the same `webhook-id`, whatever became of it before."""
        await runner.view(task_id, payer_of(request).name)
        return _answer(await deliverer.replay(task_id, delivery_id), HTTPStatus.ACCEPTED)

    return router


def _answer(body: dict[str, Any] | Reply, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Answer what is known to be of the documented shape, without checking it once more."""
    content = body if isinstance(body, dict) else body.model_dump(mode="json", exclude_none=True)
    return JSONResponse(content, status)


async def _written(events: AsyncIterator[Event | None]) -> AsyncIterator[bytes]:
    async for event in events:
        if event is None:
            yield format_sse_event(comment="still here")
        else:
            number = None if event.number is None else str(event.number)
            text = JSONResponse(event.task).body
            yield format_sse_event(data_str=bytes(text).decode(), event=event.name, id=number)
