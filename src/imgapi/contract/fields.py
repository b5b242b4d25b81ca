"""The field types that several documented requests share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

ImageUrl = Annotated[
    str,
    Field(
        min_length=1,
        description="A picture: an http(s) URL, a `data:image/…;base64,…` URL, or a URL of a file of this service.",
    ),
]
Prompt = Annotated[str, Field(max_length=5000)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Request(BaseModel):
    """What every documented request has in common: unknown fields are refused, values are never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def refuse_boolean_for_number(cls, value: object, info: ValidationInfo) -> object:
        """Refuse JSON true and false where a number is documented; pydantic would read them as 1 and 0."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation in {int, float}:
            message = f"must be a number, and {str(value).lower()} was sent"
            raise ValueError(message)
        return value


class Reply(BaseModel):
    """What every reply has in common: no defaults, so that a generated client knows each field is there.

    Fields that are absent at times are typed `T | None` with a `None` default; they are left out of the JSON when
    `None`, and the OpenAPI document lists them as not required and never null.
    """

    model_config = ConfigDict(frozen=True)
