"""Reading multipart uploads: one picture and a few small fields, bounded and checked like JSON bodies."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from imgapi.api.access import BodyLimits
from imgapi.api.failures import explain
from imgapi.contract.fields import Request as RequestModel
from imgapi.errors import InvalidParameter

M = TypeVar("M", bound=RequestModel)
FILE_FIELD = "image"
_ENDED_EARLY = "ended early"
# How a complaint of the parser begins, what the caller is told instead, and whether that is about the file's field.
_COMPLAINTS: tuple[tuple[str, str, bool], ...] = (
    (_ENDED_EARLY, "The form ended early: its last boundary is missing, so a part of the body was not sent.", False),
    ("Too many files", "send one file, and more than one was sent", True),
    ("Too many fields", "The form has more than {limits.form_fields} fields; send each field once.", False),
    (
        "Part exceeded",
        "A text field has more than {limits.field_bytes} bytes; send the picture as a file in the field {file_field}.",
        False,
    ),
    (
        "Missing boundary",
        "The Content-Type multipart/form-data has no boundary; let your HTTP client write this header.",
        False,
    ),
    (
        "The Content-Disposition",
        "A part of the form has no name; the picture belongs into the field {file_field}.",
        False,
    ),
)


async def read_form(request: Request, model: type[M], file_field: str = FILE_FIELD) -> tuple[M, str, bytes]:
    """Read a form with one file, named `image` or as said; return its checked fields, the file's name and its bytes.

    Raises:
        InvalidParameter: The form is broken or cut off, a field is wrong, the file is missing, twice there or no file.
        HTTPException: 415, the body is no multipart form.
    """
    content_type = request.headers.get("content-type", "")
    if content_type and content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        sentence = f"{request.url.path} takes multipart/form-data with a file in the field {file_field}."
        raise HTTPException(415, sentence)
    form = await _parse(request, file_field) if content_type else FormData()
    try:
        fields, upload = _sort(form, file_field)
        checked = _check(model, fields, file_field)
        if upload is None:
            raise InvalidParameter("is required: a file in a multipart/form-data body", field=file_field)
        return checked, upload.filename or "", await upload.read()
    finally:
        await form.close()


class _Upload(UploadFile):
    """A file that stays in memory, in the pieces in which it came; the bound on bodies counts them."""

    def __init__(self, begun: UploadFile) -> None:
        super().__init__(begun.file, size=0, filename=begun.filename, headers=begun.headers)
        self._pieces: list[bytes] = []

    async def write(self, data: bytes) -> None:
        self._pieces.append(data)

    async def seek(self, offset: int) -> None:
        """Do nothing: it is read whole."""

    async def read(self, size: int = -1) -> bytes:  # noqa: ARG002 - as in the class above
        return b"".join(self._pieces)


class _Parser(MultiPartParser):
    """Keeps files in memory, and knows whether the form's last boundary came; Starlette doesn't ask for one."""

    is_complete = False

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if self._current_part.file is not None:
            self._current_part.file = _Upload(self._current_part.file)

    def on_end(self) -> None:
        self.is_complete = True


async def _parse(request: Request, file_field: str) -> FormData:
    async def read_whole() -> AsyncGenerator[bytes, None]:
        async with aclosing(request.stream()) as stream:
            async for chunk in stream:
                yield chunk
        if not parser.is_complete:
            # Said from within, so that the parser closes the files it has begun.
            raise MultiPartException(_ENDED_EARLY)

    limits: BodyLimits = request.state.body_limits
    # The application's own bound on the body's size holds; these bound what the parser makes of it.
    bounds = {"max_files": 1, "max_fields": limits.form_fields, "max_part_size": limits.field_bytes}
    async with aclosing(read_whole()) as chunks:
        parser = _Parser(request.headers, chunks, **bounds)
        try:
            return await parser.parse()
        except MultiPartException as exc:
            raise _explain_form(exc.message, file_field, limits) from exc
        except UnicodeError as exc:
            # Some codecs, "undefined" among them, raise more than the parser expects of one.
            message = "The charset of the Content-Type is none that forms are written in; leave it out."
            raise InvalidParameter(message) from exc


def _explain_form(complaint: str, file_field: str, limits: BodyLimits) -> InvalidParameter:
    """Say what to do about what Starlette's parser complains of."""
    for beginning, message, is_about_file in _COMPLAINTS:
        if complaint.startswith(beginning):
            return InvalidParameter(
                message.format(file_field=file_field, limits=limits), field=file_field if is_about_file else None
            )
    message = "The body is not valid multipart/form-data; send it as your HTTP client writes a file upload."
    return InvalidParameter(message)


def _sort(form: FormData, file_field: str) -> tuple[dict[str, Any], UploadFile | None]:
    fields: dict[str, Any] = {}
    upload: UploadFile | None = None
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != file_field:
                raise InvalidParameter(f"unknown file field {name[:100]!r}; the picture belongs into {file_field}")
            upload = value
        elif name == file_field:
            raise InvalidParameter("must be a file, and text was sent", field=file_field)
        elif name in fields:
            raise InvalidParameter("was sent twice", field=name[:100])
        else:
            fields[name] = value
    return fields, upload


def _check(model: type[M], fields: Mapping[str, Any], file_field: str) -> M:
    try:
        return model.model_validate(fields)
    except ValidationError as exc:
        raise explain(exc.errors(), (*model.model_fields, file_field)) from exc


def form_schema(model: type[RequestModel], file_description: str, file_field: str = FILE_FIELD) -> dict[str, Any]:
    """Describe such a form for the OpenAPI document."""
    schema = model.model_json_schema()
    properties = {
        file_field: {"type": "string", "format": "binary", "description": file_description},
        **schema.get("properties", {}),
    }
    content = {"type": "object", "required": [file_field], "properties": properties, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": content}}}}
