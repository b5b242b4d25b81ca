"""Requests as they are sent: pictures put in as data URLs, and the key by which none is paid twice."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from imgapi.commands.client import Upload
from imgapi.commands.operations import Operation
from imgapi.pictures.signatures import sniff_format

# Part of every key: requests that are written in another way have other keys.
_KEY_VERSION = "1"
_MEDIA_TYPES = {"svg": "image/svg+xml", None: "image/x-unknown"}


def data_url(picture: Upload) -> str:
    """Write a picture as a data URL; equal bytes give equal URLs, whatever the file is called."""
    name = sniff_format(picture.content)
    media_type = _MEDIA_TYPES.get(name, f"image/{name}")
    return f"data:{media_type};base64,{base64.b64encode(picture.content).decode()}"


def write_body(fields: Mapping[str, Any], pictures: Mapping[str, str | Upload]) -> bytes:
    """Write the JSON of a request.

    Args:
        fields: What it says beside its pictures.
        pictures: URLs, or pictures at hand, by public field.
    """
    urls = {name: data_url(each) if isinstance(each, Upload) else each for name, each in pictures.items()}
    return json.dumps({**fields, **urls}).encode()


def request_key(
    operation: Operation, fields: Mapping[str, Any], pictures: Mapping[str, str | Upload], salt: str = ""
) -> str:
    """Name a request by all it says, pictures at hand by their content: the same request has the same key again.

    Args:
        operation: What is asked for.
        fields: What the request says beside its pictures.
        pictures: URLs, or pictures at hand, by public field.
        salt: Makes another key of the same request.
    """
    named = {
        name: hashlib.sha256(each.content).hexdigest() if isinstance(each, Upload) else each
        for name, each in pictures.items()
    }
    told = json.dumps([_KEY_VERSION, operation.name, fields, named, salt], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()
