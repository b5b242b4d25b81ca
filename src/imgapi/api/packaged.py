"""Answers with files that ship inside a package, each sent once to a browser and checked from then on."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib.resources import files

from fastapi import Request, Response

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A packaged file as it is served."""

    content: bytes
    media_type: str
    tag: str


def make_file(name: str, content: bytes) -> PackagedFile:
    """Make a file of its content; the name's ending decides the type."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return PackagedFile(content, _TYPES[name.rpartition(".")[2]], tag)


@cache
def read_file(package: str, folder: str, name: str) -> PackagedFile:
    """Read a packaged file; whoever calls this knows that there is one of this name."""
    return make_file(name, files(package).joinpath(folder, name).read_bytes())


async def answer_file(request: Request, read: Callable[[], PackagedFile], *, policy: str | None = None) -> Response:
    """Answer a file, or that the browser's copy is still good: a new release is seen at once, none is sent twice.

    Args:
        request: Says which copy the browser has.
        read: Reads the file; run in a thread.
        policy: The page's content security policy.
    """
    file = await asyncio.to_thread(read)
    headers = {"ETag": file.tag, "Cache-Control": "no-cache"}
    if policy is not None:
        headers["Content-Security-Policy"] = policy
    if file.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
