"""Every failure as an HTTP answer: the only table of statuses."""

import difflib
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgapi import errors
from imgapi.contract.errors import ErrorReply

STATUSES: Mapping[type[errors.ImgapiError], HTTPStatus] = {
    errors.InvalidParameter: HTTPStatus.BAD_REQUEST,
    errors.UnreadableImage: HTTPStatus.BAD_REQUEST,
    errors.UnsupportedFormat: HTTPStatus.BAD_REQUEST,
    errors.ImageTooLarge: HTTPStatus.BAD_REQUEST,
    errors.SourceRefused: HTTPStatus.BAD_REQUEST,
    errors.SourceUnreachable: HTTPStatus.BAD_REQUEST,
    errors.PictureUnsuitable: HTTPStatus.BAD_REQUEST,
    errors.SubjectNotFound: HTTPStatus.BAD_REQUEST,
    errors.ContentRefused: HTTPStatus.BAD_REQUEST,
    errors.TaskNotFound: HTTPStatus.NOT_FOUND,
    errors.TaskNotCancellable: HTTPStatus.CONFLICT,
    errors.ResultExpired: HTTPStatus.GONE,
    errors.IdempotencyConflict: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.QueueTooLong: HTTPStatus.TOO_MANY_REQUESTS,
    errors.QuotaExceeded: HTTPStatus.TOO_MANY_REQUESTS,
    errors.UpstreamThrottled: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.UpstreamUnavailable: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.UpstreamMisconfigured: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.EditFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.TaskLost: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.StillRunning: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.LedgerUnavailable: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.CapabilityMissing: HTTPStatus.INTERNAL_SERVER_ERROR,
}

_EDITS = frozenset({"change_bg", "change_cloth", "expand", "fix", "remove_bg", "remove_watermark"})
# Python 3.13 renamed this member.
BODY_TOO_LARGE = HTTPStatus(413)
_HTTP_CODES: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "invalid_request",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_TIMEOUT: "request_timeout",
    HTTPStatus.GONE: "result_expired",
    BODY_TOO_LARGE: "body_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.SERVICE_UNAVAILABLE: errors.Overloaded.code,
}


def error_response(
    request_id: str,
    status: int,
    sentence: str,
    code: str,
    *,
    headers: Mapping[str, str] | None = None,
    **additions: Any,
) -> JSONResponse:
    """Write an error in the documented shape."""
    reply = ErrorReply(error=sentence, code=code, request_id=request_id, **additions)
    return JSONResponse(reply.model_dump(exclude_none=True), status, headers)


def whole_seconds(seconds: float) -> int:
    """Round for `Retry-After`: at least one."""
    return max(1, round(seconds))


def status_of(error: errors.ImgapiError) -> HTTPStatus:
    """Find the status of a failure: its own row, or that of its nearest ancestor with one."""
    for kind in type(error).__mro__:
        if kind in STATUSES:
            return STATUSES[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def answer_named(request: Request, error: errors.ImgapiError) -> JSONResponse:
    """Answer a failure that imgapi can name, and leave it for the log."""
    headers = {}
    if isinstance(error, errors.Waitable):
        headers["Retry-After"] = str(whole_seconds(error.retry_after))
    request.state.failure = error
    return error_response(
        request.state.request_id,
        status_of(error),
        error.sentence,
        error.code,
        headers=headers,
        field=error.field,
        task_id=error.task_id,
        upstream_task_id=error.upstream_task_id,
        billed=_billed(request, error),
        usage=error.usage,
    )


def _billed(request: Request, error: errors.ImgapiError) -> bool | str | None:
    """Whether an edit that ended so is paid for: what is refused before it is a task never is."""
    is_edit = request.method == "POST" and request.scope["path"].strip("/") in _EDITS
    return False if error.billed is None and is_edit else error.billed


def _answer_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        sentence = f"{request.url.path} takes application/json, and {media_type[:100]} was sent."
        return _answer_http(request, HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, sentence))
    return answer_named(request, explain(error.errors(), _known_fields(request)))


def _known_fields(request: Request) -> tuple[str, ...]:
    body_field = getattr(request.scope.get("route"), "body_field", None)
    model = getattr(getattr(body_field, "field_info", None), "annotation", None)
    return tuple(getattr(model, "model_fields", ()))


def _answer_http(request: Request, error: HTTPException) -> JSONResponse:
    status = HTTPStatus(error.status_code)
    method, path = request.method[:40], request.url.path
    sentence = str(error.detail)
    if status is HTTPStatus.NOT_FOUND and sentence == status.phrase:
        has_docs = getattr(request.scope.get("app"), "openapi_url", None) is not None
        sentence = f"There is no {path[:200]} here" + ("; GET /docs lists what there is." if has_docs else ".")
    elif status is HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        sentence = f"{path[:200]} does not take {method}" + (f"; it takes {allowed}." if allowed else ".")
    elif sentence == "There was an error parsing the body":
        sentence = "The body is not valid JSON in UTF-8."
    code = _HTTP_CODES.get(status, "http_error")
    return error_response(request.state.request_id, status, sentence, code, headers=error.headers)


def install_handlers(app: FastAPI) -> None:
    """Make every error of the application answer in the documented shape."""
    app.add_exception_handler(errors.ImgapiError, answer_named)  # type: ignore[arg-type]  # starlette's type is wider
    app.add_exception_handler(RequestValidationError, _answer_invalid)  # type: ignore[arg-type]  # as above
    app.add_exception_handler(HTTPException, _answer_http)  # type: ignore[arg-type]  # as above


class DocumentedErrors:
    """Answers the errors of a mounted application in the documented shape.

    Args:
        app: The preview's result links, which refuse as an object store does, in XML.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_replaced = False

        async def watch(message: Message) -> None:
            nonlocal is_replaced
            if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.BAD_REQUEST:
                is_replaced = True
                await self._replace(message["status"], scope, receive, send)
            elif not is_replaced:
                await send(message)

        await self.app(scope, receive, watch)

    async def _replace(self, status: int, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = Request(scope).state.request_id
        if status == HTTPStatus.FORBIDDEN:
            sentence, code = "This link has expired or was changed; run the edit again.", "result_refused"
        else:
            sentence, code = "There is no such result here; run the edit again.", _HTTP_CODES.get(status, "http_error")
        await error_response(request_id, status, sentence, code)(scope, receive, send)


def explain(problems: Sequence[Mapping[str, Any]], known: Sequence[str]) -> errors.InvalidParameter:
    """Turn pydantic's first complaint into one sentence for the caller.

    Args:
        problems: As `ValidationError.errors()` lists them.
        known: The fields the request may have, to suggest the nearest for a misspelt one.
    """
    # A misspelt field is the cause of a missing one, so it is told first.
    problem = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    where = [part for part in problem["loc"] if part not in {"body", "query", "path", "header"}]
    field = _spell(where) if where else None
    context = problem.get("ctx") or {}
    if problem["type"] == "json_invalid":
        return errors.InvalidParameter("The body is not valid JSON.")
    if problem["type"] == "extra_forbidden":
        name = (field or "")[:100]
        if len(where) > 1:
            return errors.InvalidParameter(f"{name} is not a field of this request; check its spelling", field=name)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known fields are {', '.join(known)}"
        return errors.InvalidParameter(f"{name} is not a field of this request; {hint}", field=name)
    if problem["type"] == "value_error":
        return errors.InvalidParameter(str(context.get("error", problem["msg"])), field=field)
    if field is None:
        sentence = "The body must be a JSON object, sent with Content-Type: application/json."
        if problem["type"] == "string_unicode":
            sentence = "The name of a field is not valid text; it has half of a surrogate pair."
        return errors.InvalidParameter(sentence)
    is_missing = problem["type"] == "missing"
    sentence = "is required" if is_missing else _rule(problem["type"], context) + _sent(problem.get("input"))
    return errors.InvalidParameter(sentence, field=field)


def _spell(where: Sequence[str | int]) -> str:
    """Write the way to a value as callers do: `boxes[0].width`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).removeprefix(".")


def _rule(kind: str, context: Mapping[str, Any]) -> str:
    rules = {
        "less_than_equal": f"must be at most {context.get('le')}",
        "greater_than_equal": f"must be at least {context.get('ge')}",
        "string_too_short": "must not be empty",
        "string_too_long": f"must have at most {context.get('max_length')} characters",
        "too_long": f"must have at most {context.get('max_length')} entries",
        "list_type": "must be a list",
        "model_type": "must be an object",
        "finite_number": "must be a finite number",
        "int_from_float": "must be a whole number",
        "string_unicode": "must be valid text",
    }
    stems = {"int_": "must be a whole number", "float_": "must be a number", "string_": "must be a string"}
    stems["bool_"] = "must be true or false"
    return rules.get(kind) or next((text for stem, text in stems.items() if kind.startswith(stem)), "is not valid")


def _sent(value: object) -> str:
    """Show a short value; a long one (a data URL, say) is only counted."""
    if isinstance(value, str) and not value:
        return ""
    if isinstance(value, str | int | float | bool):
        text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
        limit = 60
        return f", and {text} was sent" if len(text) <= limit else f", and {len(str(value))} characters were sent"
    kinds = {type(None): "null", list: "a list", dict: "an object"}
    return f", and {kinds.get(type(value), 'something else')} was sent"
