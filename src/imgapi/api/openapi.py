"""The OpenAPI document, made to say exactly what the service does."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from imgapi.api.gate import is_open
from imgapi.api.next_steps import AFTER_TASK
from imgapi.contract.errors import ErrorReply
from imgapi.contract.fields import Reply
from imgapi.contract.samples import DEFAULT_ADDRESS, SAMPLES_PATH
from imgapi.contract.tasks import TaskReply

DESCRIPTION = """\
Nine image endpoints: six AI edits and three local utilities.

Every picture field takes an `http(s)://` URL, a `data:image/…;base64,…` URL, or the URL of a picture sent to `/files`.
Pictures that a model would refuse are made to fit, and `prepared` says how. Every error is
`{"error": …, "code": …, "request_id": …}` with a sentence that names the field and the limit. `engine` says what made a
picture: `dashscope:<model>`, `onnx:<model>` for a cut-out by a matting model, or `local-preview` for what this
installation painted itself.

The examples work as they stand: their pictures are drawn by us and served by this service.
"""
# A document without a contact is half a document to its readers' tools; who runs the service is not ours to say.
CONTACT = {"name": "The operator of this service"}
TAGS = [
    {"name": "edits", "description": "AI edits; the answer comes when the edit has ended."},
    {"name": "tasks", "description": "Every edit is a task, which goes on without its caller."},
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
        "Processing failed for a reason that is not the caller's. `Retry-After` is there when another try is sensible.",
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

TASK_ERRORS: dict[int | str, dict[str, Any]] = {
    404: _error(
        "There is no such task, or it is another key's.",
        "There is no task of this id; it may never have been, or be long forgotten.",
        "task_not_found",
    ),
    410: _error(
        "The task has expired.",
        "This task has expired, and its results with it; run the edit again.",
        "result_expired",
    ),
}

TASK_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: _error(
        "The task is not at a stage where that can be done.",
        "The task has begun and can't be canceled any more; it will end by itself, and is paid for.",
        "task_not_cancellable",
    )
}

IDEMPOTENCY_ERRORS: dict[int | str, dict[str, Any]] = {
    422: _error(
        "The Idempotency-Key came with another request before.",
        "This Idempotency-Key came with another request in the last 24 hours; send a new key with a new request.",
        "idempotency_conflict",
    )
}

ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": TaskReply,
        "description": "The task, for a caller who prefers not to wait for its end.",
        "headers": {
            "Location": {"description": "Where the task can be asked for.", "schema": {"type": "string"}},
            "Preference-Applied": {
                "description": "What was done of the request's `Prefer`.",
                "schema": {"type": "string"},
            },
        },
        "links": AFTER_TASK,
    }
}


def install_document(app: FastAPI, own_url: str = DEFAULT_ADDRESS) -> None:
    """Make `app.openapi()` return the true document.

    Args:
        app: With all of its routes.
        own_url: The address of the service as its callers write it; examples lead there.
    """

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title="imgapi",
                version=app.version,
                description=DESCRIPTION,
                routes=app.routes,
                tags=TAGS,
                # Without its host: whoever reads the document from the service asks the host that it came from.
                servers=[{"url": urlsplit(own_url).path or "/", "description": "The service of this document."}],
                contact=CONTACT,
                license_info={"name": "MIT", "identifier": "MIT"},
            )
            app.openapi_schema = _relocate(tell_the_truth(made), own_url)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI documents this as the way to extend it


def tell_the_truth(document: dict[str, Any]) -> dict[str, Any]:
    """Mend what FastAPI says and the service does not do.

    The 422 it adds to every route never happens here; optional fields of replies are absent, never null, and
    so are parameters.
    """
    for path, operation in _operations(document):
        answers = operation["responses"]
        _drop_phantom(answers)
        if is_open(path):
            operation["security"] = []
        else:
            for status in ("401", "429"):
                answers.setdefault(status, _answer_with_schema(ERRORS[int(status)]))
        for answer in answers.values():
            answer.setdefault("headers", {})["X-Request-ID"] = {
                "description": "The request's id: the caller's own, or one made here.",
                "schema": {"type": "string"},
            }
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _without_null(parameter["schema"])
        _lift_examples(operation, document["components"]["schemas"])
    # Empty: without a key will do, unless the operator has given out keys.
    document["security"] = [{}, {"bearer": []}, {"key": []}]
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "Only where keys are switched on."},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
    }
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    replies = set(_names_of_kinds(Reply))
    for name, schema in schemas.items():
        if name in replies:
            for property_name, described in schema.get("properties", {}).items():
                described.pop("default", None)
                schema["properties"][property_name] = _without_null(described)
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def _answer_with_schema(error: dict[str, Any]) -> dict[str, Any]:
    """Write an error as FastAPI writes those that a route declares."""
    schema = {"schema": {"$ref": f"#/components/schemas/{ErrorReply.__name__}"}}
    content = {"application/json": {**error["content"]["application/json"], **schema}}
    return {**{name: value for name, value in error.items() if name != "model"}, "content": content}


def _lift_examples(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Give a JSON body the examples of its schema, which pages and client generators look for at the body."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = schemas.get(content.get("schema", {}).get("$ref", "").rpartition("/")[2], {})
    if examples := schema.get("examples"):
        content["examples"] = {f"sample_{number}": {"value": each} for number, each in enumerate(examples, 1)}


def _relocate(value: Any, own_url: str) -> Any:
    """Let the samples in a part of the document be those of the service at `own_url`."""
    if isinstance(value, dict):
        return {name: _relocate(each, own_url) for name, each in value.items()}
    if isinstance(value, list):
        return [_relocate(each, own_url) for each in value]
    if isinstance(value, str) and value.startswith(DEFAULT_ADDRESS + SAMPLES_PATH):
        return own_url + value.removeprefix(DEFAULT_ADDRESS)
    return value


def _drop_phantom(responses: dict[str, Any]) -> None:
    """Drop the 422 that FastAPI adds; one of our own stays."""
    told = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if told.get("$ref", "").endswith("/HTTPValidationError"):
        del responses["422"]


def _names_of_kinds(model: type[Reply]) -> Iterator[str]:
    for kind in model.__subclasses__():
        yield kind.__name__
        yield from _names_of_kinds(kind)


def _without_null(described: dict[str, Any]) -> dict[str, Any]:
    options = [option for option in described.get("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        del described["anyOf"]
        described = {**options[0], **described}
    elif options:
        described["anyOf"] = options
    return described


def written(document: dict[str, Any]) -> str:
    """Write the document as it is committed: stable, readable, one line at the end."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
