"""The public words of webhooks: what was told to whom, and how that went."""

from typing import Annotated, Literal

from pydantic import Field

from imgapi.contract.fields import Reply
from imgapi.contract.tasks import Instant

WebhookEvent = Literal["task.succeeded", "task.failed", "task.canceled"]
DeliveryState = Literal["pending", "delivered", "given_up"]


class DeliveryAttempt(Reply):
    """One attempt to tell the receiver."""

    at: Annotated[Instant, Field(description="When it began (RFC 3339, UTC).")]
    seconds: Annotated[float, Field(description="How long it took.")]
    status: Annotated[int | None, Field(description="The receiver's HTTP status; absent when none came.")] = None
    problem: Annotated[
        str | None,
        Field(
            description="What went wrong, in one sentence; absent where the status says it.",
            examples=["No connection to the receiver could be made."],
        ),
    ] = None


class DeliveryReply(Reply):
    """The telling of one event to one receiver."""

    id: Annotated[
        str,
        Field(
            description="The same in the `webhook-id` field of every attempt.",
            examples=["msg_0f61a5b2c3d4e5f60718293a4b5c6d7e"],
        ),
    ]
    event: WebhookEvent
    host: Annotated[str, Field(description="The receiver's host; the rest of its URL may be secret.")]
    state: Annotated[DeliveryState, Field(description="`given_up`: nothing more is sent unless it is replayed.")]
    created_at: Annotated[Instant, Field(description="When the event happened (RFC 3339, UTC).")]
    next_attempt_at: Annotated[
        Instant | None,
        Field(description="When it is tried next, or is being tried; only while pending (RFC 3339, UTC)."),
    ] = None
    attempts: Annotated[list[DeliveryAttempt], Field(description="The latest 50, oldest first.")]


class DeliveriesReply(Reply):
    """What was told, or is still to be told, of one task."""

    deliveries: list[DeliveryReply]
