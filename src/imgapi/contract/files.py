"""The public words of uploaded files."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from imgapi.contract.fields import Reply, Request


class FileRequest(Request):
    """An upload: the form has the file and no other field."""


class FileReply(Reply):
    """An uploaded picture, by the URL that every picture field takes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "0198c5f0a2b5f0c2f7e9b1d4c3a8e6d7c5b4a392817.jpg",
                    "url": "http://127.0.0.1:5000/files/0198c5f0a2b5f0c2f7e9b1d4c3a8e6d7c5b4a392817.jpg",
                    "expires_at": "2026-05-05T02:20:30.123Z",
                    "width": 1024,
                    "height": 768,
                    "format": "jpeg",
                }
            ]
        }
    )

    name: Annotated[str, Field(description="What `GET /files/{name}` takes; the last part of `url`.")]
    url: Annotated[str, Field(description="Where the picture is; whoever has this unguessable URL may read it.")]
    expires_at: Annotated[AwareDatetime, Field(description="Until when, RFC 3339 in UTC; sooner when room is needed.")]
    width: Annotated[int, Field(ge=1, description="Pixels, as the picture is to be seen: its orientation is applied.")]
    height: Annotated[int, Field(ge=1, description="Pixels, likewise.")]
    format: Annotated[
        Literal["jpeg", "png", "webp", "svg", "tiff", "gif", "bmp"], Field(description="By content, not by name.")
    ]
