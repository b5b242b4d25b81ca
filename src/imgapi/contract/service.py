"""The public words of the service's own state."""

from typing import Annotated, Literal

from pydantic import Field

from imgapi.contract.fields import Reply


class StateReply(Reply):
    """Whether the service lives, or is ready for work."""

    status: Literal["ok"]


class Operation(Reply):
    """One of the nine operations."""

    path: str
    summary: str
    engine: Annotated[str, Field(description="`dashscope`, `local-preview` or `local`.")]
    models: Annotated[list[str], Field(description="The upstream models that may serve it, in order.")]


class Limits(Reply):
    """What this installation takes."""

    max_bytes: int
    max_pixels: int
    max_total_pixels: int
    max_side: int
    max_frames: int
    max_svg_bytes: int
    max_svg_pixels: int


class OperationsReply(Reply):
    """What this installation can do."""

    version: str
    upstream: Annotated[str, Field(description="`dashscope`, or `emulator` when no key is set.")]
    matting: str
    svg_renderer: str
    prepare: Annotated[bool, Field(description="Whether inputs that a model would refuse are made to fit.")]
    operations: list[Operation]
    limits: Limits
