"""Reading multipart uploads: one picture and a few small fields, bounded and checked like JSON bodies."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from imgapi.api.failures import explain
from imgapi.contract.fields import Request as RequestModel
from imgapi.errors import InvalidParameter

M = TypeVar("M", bound=RequestModel)
FILE_FIELD = "image"
MAX_FIELDS = 10
MAX_FIELD_BYTES = 64 * 1024


async def read_form(request: Request, model: type[M]) -> tuple[M, str, bytes]:
    """Read a form with one file named `image`; return its checked fields, the file's name and its bytes.

    Raises:
        InvalidParameter: The file is missing, twice there or no file, or a field is wrong.
        HTTPException: 415, the body is no multipart form; 400, it is a broken one.
    """
    content_type = request.headers.get("content-type", "")
    if content_type and not content_type.lower().startswith("multipart/form-data"):
        sentence = f"{request.url.path} takes multipart/form-data with a file in the field {FILE_FIELD}."
        raise HTTPException(415, sentence)
    # The application's own bound on the body's size holds; these bound what the parser makes of it.
    async with request.form(max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES) as form:
        fields: dict[str, Any] = {}
        upload: UploadFile | None = None
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                if name != FILE_FIELD:
                    raise InvalidParameter(f"unknown file field {name[:100]!r}; the picture belongs into {FILE_FIELD}")
                upload = value
            elif name == FILE_FIELD:
                raise InvalidParameter("must be a file, and text was sent", field=FILE_FIELD)
            elif name in fields:
                raise InvalidParameter("was sent twice", field=name[:100])
            else:
                fields[name] = value
        checked = _check(model, fields)
        if upload is None:
            raise InvalidParameter("is required: a file in a multipart/form-data body", field=FILE_FIELD)
        return checked, upload.filename or "", await upload.read()


def _check(model: type[M], fields: Mapping[str, Any]) -> M:
    try:
        return model.model_validate(fields)
    except ValidationError as exc:
        raise explain(exc.errors(), (*model.model_fields, FILE_FIELD)) from exc


def form_schema(model: type[RequestModel], file_description: str) -> dict[str, Any]:
    """Describe such a form for the OpenAPI document."""
    schema = model.model_json_schema()
    properties = {
        FILE_FIELD: {"type": "string", "format": "binary", "description": file_description},
        **schema.get("properties", {}),
    }
    content = {"type": "object", "required": [FILE_FIELD], "properties": properties, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": content}}}}
