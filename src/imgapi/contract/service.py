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
    engine: Annotated[
        str, Field(description="`dashscope`, `local-preview`, `local`, or `onnx:` and a matting model's name.")
    ]
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
    max_json_bytes: Annotated[int, Field(description="Of a JSON body, its data URLs not counted.")]
    max_form_fields: int
    max_field_bytes: Annotated[int, Field(description="Of a text field of a form.")]
    max_bodies_bytes: Annotated[int, Field(description="Of all bodies in flight together.")]
    max_url_characters: int
    body_seconds: Annotated[float, Field(description="For a whole request body to arrive.")]
    source_seconds: Annotated[float, Field(description="For fetching one URL, redirects included.")]
    worker_seconds: Annotated[float, Field(description="For decoding or painting one picture.")]
    svg_seconds: Annotated[float, Field(description="For drawing one SVG.")]
    max_waiting_pictures: Annotated[int, Field(description="Beyond it the answer is 503 with `Retry-After`.")]


class OperationsReply(Reply):
    """What this installation can do."""

    version: str
    upstream: Annotated[str, Field(description="`dashscope`, or `emulator` when no key is set.")]
    matting: Annotated[str, Field(description="`classical`, or `onnx:` and the name of the model that cuts out.")]
    svg_renderer: str
    prepare: Annotated[bool, Field(description="Whether inputs that a model would refuse are made to fit.")]
    operations: list[Operation]
    limits: Limits
