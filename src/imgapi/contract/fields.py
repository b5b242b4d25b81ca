"""The field types that several documented requests share."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def refuse_boolean(value: object) -> object:
    """Refuse JSON true and false where a number is documented; pydantic would read them as 1 and 0."""
    if isinstance(value, bool):
        message = "must be a number, not true or false"
        raise ValueError(message)  # noqa: TRY004 - pydantic turns ValueError, not TypeError, into a validation error
    return value


ImageUrl = Annotated[
    str,
    Field(
        min_length=1,
        description="A picture: an http(s) URL, a `data:image/…;base64,…` URL, or a URL of a file of this service.",
    ),
]
Prompt = Annotated[str, Field(max_length=5000)]
Integer = Annotated[int, BeforeValidator(refuse_boolean)]
Number = Annotated[float, BeforeValidator(refuse_boolean), Field(allow_inf_nan=False)]


class Request(BaseModel):
    """What every documented request has in common: unknown fields are refused, values are never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reply(BaseModel):
    """What every reply has in common: no defaults, so that a generated client knows each field is there.

    Fields that are absent at times are typed `T | None` with a `None` default; they are left out of the JSON when
    `None`, and the OpenAPI document lists them as not required and never null.
    """

    model_config = ConfigDict(frozen=True)
