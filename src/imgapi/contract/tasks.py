"""The public words of tasks."""

from typing import Annotated, Literal

from pydantic import Field

from imgapi.contract.edits import Billed, ResultLink, TaskId, TaskMetrics, Usage
from imgapi.contract.fields import Reply

Instant = Annotated[
    str,
    Field(description="RFC 3339, UTC.", examples=["2026-05-04T02:20:30.123Z"]),
]
TaskStatus = Literal["queued", "running", "succeeded", "failed", "canceled"]


class TaskReply(Reply):
    """A task as it stands.

    Once it has succeeded it has the documented fields of its edit's reply as well, and once it has failed those of an
    error.
    """

    task_id: TaskId
    operation: Annotated[str, Field(description="The edit, named as its path.", examples=["fix"])]
    status: Annotated[TaskStatus, Field(description="`succeeded`, `failed` and `canceled` are final.")]
    created_at: Instant
    started_at: Annotated[Instant | None, Field(description="When the upstream, or this service, began.")] = None
    ended_at: Annotated[Instant | None, Field(description="When it ended.")] = None
    expires_at: Annotated[Instant | None, Field(description="When it is forgotten, and its results with it.")] = None
    upstream_task_id: Annotated[str | None, Field(description="The upstream's own id of it, once known.")] = None
    queue_position: Annotated[int | None, Field(ge=1, description="While it waits: 1 is next.")] = None
    estimated_seconds: Annotated[
        float | None, Field(ge=0, description="While it waits: an estimate of the time until its result.")
    ] = None
    billed: Billed
    usage: Usage
    cancel: Annotated[
        Literal["canceled_here", "canceled_upstream"] | None,
        Field(description="In the answer to a cancel: where the task was when it was canceled."),
    ] = None

    task_status: Annotated[Literal["SUCCEEDED"] | None, Field(description="Of the documented reply.")] = None
    submit_time: Annotated[str | None, Field(description="Of the documented reply.")] = None
    scheduled_time: Annotated[str | None, Field(description="Of the documented reply.")] = None
    end_time: Annotated[str | None, Field(description="Of the documented reply.")] = None
    engine: Annotated[str | None, Field(description="What made the pictures.")] = None
    results: Annotated[
        list[ResultLink] | ResultLink | None, Field(description="The pictures; one object for `expand`.")
    ] = None
    image_url: Annotated[str | None, Field(description="The picture of `change_cloth`.")] = None
    task_metrics: Annotated[TaskMetrics | None, Field(description="Of the documented reply.")] = None
    confidence: Annotated[float | None, Field(description="Of the reply of `remove_bg`.")] = None
    prepared: Annotated[list[str] | None, Field(description="What was changed in the inputs.")] = None
    warnings: Annotated[list[str] | None, Field(description="What may be wrong with the pictures.")] = None
    ignored: Annotated[list[str] | None, Field(description="Fields that a local preview makes no use of.")] = None

    error: Annotated[str | None, Field(description="Why it failed, in one sentence.")] = None
    code: Annotated[str | None, Field(description="The same for programs, as of any error.")] = None
    field: Annotated[str | None, Field(description="The field of the request that the error is about.")] = None


class TaskListReply(Reply):
    """A page of tasks, the newest first."""

    tasks: list[TaskReply]
    next_cursor: Annotated[
        str | None, Field(description="Send it as `cursor` for the next page; absent on the last.")
    ] = None
