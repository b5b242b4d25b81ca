"""The public shape of every error."""

from typing import Annotated

from pydantic import Field

from imgapi.contract.edits import Billed, Usage
from imgapi.contract.fields import Reply


class ErrorReply(Reply):
    """What went wrong, in one sentence a person can act on."""

    error: Annotated[
        str,
        Field(
            description="One sentence that names the field and the limit.",
            examples=["n: must be at most 4, and 7 was sent"],
        ),
    ]
    code: Annotated[str, Field(description="The same for programs, in snake case.", examples=["invalid_parameter"])]
    request_id: Annotated[
        str, Field(description="Names this request in the log; also in `X-Request-ID`.", examples=["5f0c2f7e9b1d4c3a"])
    ]
    field: Annotated[str | None, Field(description="The field the error is about.", examples=["n"])] = None
    task_id: Annotated[str | None, Field(description="The task the error ended.")] = None
    upstream_task_id: Annotated[str | None, Field(description="The upstream's id of that task.")] = None
    billed: Annotated[
        Billed | None, Field(description="On edits: whether the upstream charges for it all the same.")
    ] = None
    usage: Annotated[Usage | None, Field(description="On edits: what was made, and its list price.")] = None
