"""The nine operations as MCP tools: their inputs read off the request models, their cost and time in words."""

from collections.abc import Mapping
from typing import Annotated, Any

from mcp_types import Tool, ToolAnnotations
from pydantic import Field

from imgapi.commands.operations import OPERATIONS, Operation, is_picture
from imgapi.contract.edits import Billed, Usage
from imgapi.contract.fields import Reply
from imgapi.contract.service import OperationsReply
from imgapi.edits.catalogue import EDITS
from imgapi.edits.models import LIMITS

_FORM_PICTURE = "A picture: an http(s) URL or a `data:image/…;base64,…` URL."
_FREE = "Free of charge"


class ToolPicture(Reply):
    """One picture that was made."""

    url: Annotated[
        str | None, Field(description="Where it can be downloaded; a link of the upstream dies after 24 hours.")
    ] = None
    file: Annotated[str | None, Field(description="Where it lies on this machine.")] = None


class ToolReply(Reply):
    """What a tool has done."""

    operation: str
    pictures: list[ToolPicture]
    task_id: str | None = None
    engine: Annotated[
        str | None, Field(description="What made it: `dashscope:<model>`, or `local-preview` for a mere preview.")
    ] = None
    billed: Billed | None = None
    usage: Usage | None = None
    prepared: Annotated[list[str] | None, Field(description="What was changed in the inputs first.")] = None
    warnings: Annotated[list[str] | None, Field(description="What may be wrong with the pictures.")] = None
    ignored: Annotated[list[str] | None, Field(description="Fields that a local preview makes no use of.")] = None
    confidence: Annotated[float | None, Field(description="How sure a cut-out is of its subject.")] = None
    original_size: str | None = None
    resized_size: str | None = None
    original_format: str | None = None
    frames: Annotated[
        int | None, Field(description="How many frames there are; a server elsewhere hands out the first alone.")
    ] = None


def make_tools(told: OperationsReply | None, files: str | None, results: str) -> list[Tool]:
    """Write the nine tools.

    Args:
        told: What the service says of itself; None when it could not be asked.
        files: In words, which files of this machine may be named; None for none.
        results: In words, how results are given.
    """
    return [_make_tool(operation, told, files, results) for operation in OPERATIONS.values()]


def _make_tool(operation: Operation, told: OperationsReply | None, files: str | None, results: str) -> Tool:
    cost = _edit_cost(operation, told) if operation.is_edit else f"{_FREE}, and done within a second or two."
    return Tool(
        name=operation.name,
        title=operation.name.replace("_", " ").capitalize(),
        description=f"{operation.summary} {cost} {results}",
        input_schema=_input_schema(operation, files),
        output_schema=ToolReply.model_json_schema(),
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=not operation.is_edit, open_world_hint=True
        ),
    )


def _edit_cost(operation: Operation, told: OperationsReply | None) -> str:
    """Say what an edit costs by the list, and how long it usually takes."""
    if operation.name not in EDITS:
        how = "" if told is None else f", by {told.matting} matting"
        return f"{_FREE}: done by the service itself{how}, usually within 3 seconds."
    offered = next((each.models for each in (told.operations if told else ()) if each.path == operation.path), None)
    candidates = {each.model: each for each in EDITS[operation.name].candidates}
    model = next((each for each in offered or candidates if each in candidates), None)
    if model is None:
        return "The service says nothing of its price and time."
    price = f"costs {LIMITS[model].price_cny:.2f} CNY a picture by the list of DashScope ({model})"
    time = f"usually takes {candidates[model].usual_seconds:.0f} seconds, more when others wait"
    if told is not None and told.upstream != "dashscope":
        return f"{_FREE} here and done within seconds: only a local preview. The real edit {price}, and {time}."
    return f"It {price}, and {time}."


def _input_schema(operation: Operation, files: str | None) -> dict[str, Any]:
    schema = operation.request.model_json_schema()
    schema.pop("examples", None)
    properties: dict[str, Any] = schema.setdefault("properties", {})
    if operation.takes_form:
        picture = {"type": "string", "minLength": 1, "title": "Image", "description": _FORM_PICTURE}
        schema["properties"] = properties = {operation.picture: picture, **properties}
        schema["required"] = [operation.picture, *schema.get("required", [])]
        # Files stay with the service: what a tool makes is given by link.
        properties.pop("overwrite", None)
    if files is not None:
        for name, field in properties.items():
            if is_picture(name):
                field["description"] = f"{field.get('description', '')} {files}".strip()
    return schema


def picture_fields(operation: Operation, arguments: Mapping[str, Any]) -> list[str]:
    """List the arguments of a call that name pictures."""
    names = (operation.picture, *operation.other_pictures)
    return [name for name in names if isinstance(arguments.get(name), str)]
