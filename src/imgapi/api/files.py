"""The routes of uploaded files, whose URLs every picture field takes."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from imgapi.api.access import take_place
from imgapi.api.forms import form_schema, read_form
from imgapi.api.next_steps import AFTER_UPLOAD
from imgapi.api.openapi import ERRORS, RESULT_ERRORS
from imgapi.contract.files import FileReply, FileRequest
from imgapi.errors import ImgapiError, ResultExpired
from imgapi.pictures.entries import probe
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.workers import Workers
from imgapi.results.links import Links
from imgapi.results.store import RESULT_NAME, ResultStore, expires_at

TAG = "service"
FILE_FIELD = "file"
# By format, as `probe` names it.
SUFFIXES: Mapping[str, str] = {
    "jpeg": ".jpg",
    "png": ".png",
    "webp": ".webp",
    "svg": ".svg",
    "tiff": ".tiff",
    "gif": ".gif",
    "bmp": ".bmp",
}
MEDIA_TYPES: Mapping[str, str] = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".tiff": "image/tiff",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
}
# A stranger's SVG is shown at this service's own address: it may have its styles, but runs no script and loads nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
_UNKNOWN = "There is no file of this name; upload it with POST /files."
_EXPIRED = "This file is not kept here, or no longer; upload it again with POST /files."


@dataclass(frozen=True, slots=True)
class Files:
    """What uploads are made of.

    Args:
        store: Keeps them.
        links: Writes their URLs.
        workers: Look at them.
        limits: Bounds on any picture.
    """

    store: ResultStore
    links: Links
    workers: Workers
    limits: PictureLimits

    async def keep(self, content: bytes) -> FileReply:
        """Look at a picture, keep it as it is, and say where.

        Raises:
            CallerError: It is no picture that the service takes.
            Overloaded: The workers' waiting line is full.
            CapabilityMissing: The place where files are kept is full or can't be reached.
        """
        try:
            info = await self.workers.run(probe, content, self.limits)
        except ImgapiError as exc:
            raise exc.about(FILE_FIELD) from exc.__cause__
        name = await self.store.put(content, SUFFIXES[info.format])
        return FileReply.model_validate(
            {
                "name": name,
                "url": self.links.write(name),
                "expires_at": datetime.fromtimestamp(expires_at(name), UTC),
                "width": info.width,
                "height": info.height,
                "format": info.format,
            }
        )

    async def show(self, name: str) -> Response:
        """Answer with a kept picture, as it was uploaded.

        Raises:
            HTTPException: 404, no file ever had such a name.
            ResultExpired: The file is gone.
            CapabilityMissing: The place where files are kept can't be reached.
        """
        if not RESULT_NAME.fullmatch(name):
            raise HTTPException(HTTPStatus.NOT_FOUND, _UNKNOWN)
        content = await self.store.get(name)
        if content is None:
            raise ResultExpired(_EXPIRED)
        seconds_left = max(0, int(expires_at(name) - time.time()))
        headers = {
            # Nothing else will ever have this name; but who shares a cache has not been given the URL.
            "Cache-Control": f"private, max-age={seconds_left}, immutable",
            "Content-Disposition": "inline",
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
        }
        suffix = f".{name.rpartition('.')[2]}"
        return Response(content, media_type=MEDIA_TYPES.get(suffix, "application/octet-stream"), headers=headers)


def files_router(files: Files) -> APIRouter:
    """Make the routes: keep a file, and show it."""
    router = APIRouter(tags=[TAG], responses={500: ERRORS[500]})

    @router.post(
        "/files",
        operation_id="upload_file",
        summary="Upload a picture for use in other requests",
        status_code=HTTPStatus.CREATED,
        response_description="The picture is kept.",
        responses={201: {"headers": {"Location": _location()}, "links": AFTER_UPLOAD}, **ERRORS},
        openapi_extra=form_schema(FileRequest, "The picture; kept as it is.", FILE_FIELD),
    )
    async def upload_file(request: Request, response: Response) -> FileReply:
        """Keep a picture for a while, under a URL that every picture field takes; the oldest go when room is needed."""
        _, _, content = await read_form(request, FileRequest, FILE_FIELD)
        take_place(request)
        reply = await files.keep(content)
        response.headers["Location"] = reply.url
        return reply

    @router.get(
        "/files/{name}",
        operation_id="get_file",
        summary="An uploaded picture",
        response_class=Response,
        responses={200: {"content": _pictures(), "description": "The picture, as it was uploaded."}, **_gone_errors()},
    )
    async def get_file(name: str) -> Response:
        """Return a picture that was uploaded with POST /files; links are unguessable and expire."""
        return await files.show(name)

    router.add_api_route("/files/{name}", get_file, methods=["HEAD"], include_in_schema=False)
    return router


def _location() -> dict[str, Any]:
    return {"description": "The picture's URL, as in the body.", "schema": {"type": "string", "format": "uri"}}


def _pictures() -> dict[str, Any]:
    return {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in MEDIA_TYPES.values()}


def _gone_errors() -> dict[int | str, dict[str, Any]]:
    """Declare a name that can't be a file and a file that is gone, in the words of files."""
    told = {404: ("No file has such a name.", _UNKNOWN), 410: ("The file is not kept, or no longer.", _EXPIRED)}
    declared: dict[int | str, dict[str, Any]] = {}
    for status, (description, sentence) in told.items():
        declaration = RESULT_ERRORS[status]
        example = {**declaration["content"]["application/json"]["example"], "error": sentence}
        content = {"application/json": {"example": example}}
        declared[status] = {**declaration, "description": description, "content": content}
    return declared
