"""The OpenAPI document, made to say exactly what the service does."""

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from imgapi.contract.errors import ErrorReply

DESCRIPTION = """\
Nine image endpoints: six AI edits and three local utilities.

Every picture field takes an `http(s)://` URL or a `data:image/…;base64,…` URL. Pictures that a model would refuse are
made to fit, and `prepared` says how. Every error is `{"error": …, "code": …, "request_id": …}` with a sentence
that names the field and the limit. `engine` says what made a picture: `dashscope:<model>`, `onnx:<model>` for a
cut-out by a matting model, or `local-preview` for what this installation painted itself.
"""
TAGS = [
    {"name": "edits", "description": "AI edits; the answer comes when the edit has ended."},
    {"name": "utils", "description": "Local utilities; nothing leaves this service."},
    {"name": "service", "description": "The service's own state and files."},
]


def _error(
    description: str, sentence: str, code: str, *, field: str | None = None, retry: bool = False
) -> dict[str, Any]:
    example = {"error": sentence, "code": code, "request_id": "5f0c2f7e9b1d4c3a"}
    if field:
        example["field"] = field
    answer: dict[str, Any] = {
        "model": ErrorReply,
        "description": description,
        "content": {"application/json": {"example": example}},
    }
    if retry:
        answer["headers"] = {
            "Retry-After": {
                "description": "Seconds after which to try again.",
                "schema": {"type": "integer", "minimum": 1},
            }
        }
    return answer


ERRORS: dict[int | str, dict[str, Any]] = {
    400: _error(
        "A parameter, a picture or a URL of the request is unusable.",
        "n: must be at most 4, and 7 was sent",
        "invalid_parameter",
        field="n",
    ),
    401: _error(
        "The service asks for a key, and none or an unknown one was sent. Only where keys are switched on.",
        "This service asks for a key; send it as `Authorization: Bearer …` or `X-API-Key`.",
        "unauthorized",
    ),
    408: _error("The body did not arrive in time.", "The body did not arrive within 60 s.", "request_timeout"),
    413: _error(
        "The body is too large.", "The body is larger than 21037056 bytes, the most that /fix takes.", "body_too_large"
    ),
    415: _error(
        "The body is of a type that this path does not take.",
        "/utils/photo_resize takes multipart/form-data with a file in the field image.",
        "unsupported_media_type",
    ),
    429: _error(
        "The key of this request has no requests or pictures left for now. Only where keys are switched on.",
        "This key may send 60 requests a minute; wait for the next.",
        "quota_exceeded",
        retry=True,
    ),
    500: _error(
        "Processing failed for a reason that is not the caller's. `Retry-After` is there when the upstream is busy.",
        "The upstream can't be reached; nothing was started, so try again later.",
        "upstream_unavailable",
        retry=True,
    ),
    503: _error(
        "The service is overloaded or shutting down; nothing was started.",
        "60 tasks already wait for this model; nothing was started, so try again later.",
        "overloaded",
        retry=True,
    ),
}

RESULT_ERRORS: dict[int | str, dict[str, Any]] = {
    404: _error("No result has such a name.", "There is no result of this name; run the edit again.", "not_found"),
    410: _error(
        "The result is not kept, or no longer.",
        "This result is not kept here, or no longer; run the edit again.",
        "result_expired",
    ),
}


def install_document(app: FastAPI) -> None:
    """Make `app.openapi()` return the true document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title="imgapi",
                version=app.version,
                description=DESCRIPTION,
                routes=app.routes,
                tags=TAGS,
                license_info={"name": "MIT", "identifier": "MIT"},
            )
            app.openapi_schema = tell_the_truth(made)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI documents this as the way to extend it


def tell_the_truth(document: dict[str, Any]) -> dict[str, Any]:
    """Mend what FastAPI says and the service does not do.

    The 422 it adds to every route never happens here; optional fields of replies are absent, never null.
    """
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            for answer in operation["responses"].values():
                answer.setdefault("headers", {})["X-Request-ID"] = {
                    "description": "The request's id: the caller's own, or one made here.",
                    "schema": {"type": "string"},
                }
    # Empty: without a key will do, unless the operator has given out keys.
    document["security"] = [{}, {"bearer": []}, {"key": []}]
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "Only where keys are switched on."},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
    }
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for name, schema in schemas.items():
        if name.endswith("Reply"):
            for property_name, described in schema.get("properties", {}).items():
                schema["properties"][property_name] = _without_null(described)
    return document


def _without_null(described: dict[str, Any]) -> dict[str, Any]:
    described.pop("default", None)
    options = [option for option in described.get("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        del described["anyOf"]
        described = {**options[0], **described}
    return described


def written(document: dict[str, Any]) -> str:
    """Write the document as it is committed: stable, readable, one line at the end."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
