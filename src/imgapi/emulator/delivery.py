"""Sending an answer over ASGI, whole or as a scripted fault has it."""

import asyncio
from typing import Final

from starlette.types import Receive, Scope, Send

from imgapi.clock import Clock
from imgapi.emulator.answers import Answer, error_answer
from imgapi.emulator.faults import ConnectionCut, Effect

ABORT_EXTENSION: Final = "imgapi.abort"
ENGINE_HEADER: Final = "X-Imgapi-Engine"
ENGINE: Final = "local-preview"
_HTML: Final = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_BAD_JSON: Final = b'{"output": {"task_status": "PENDING", "task_id": '
_BODILESS: Final = frozenset({204, 304})
_ERRORS: Final = {
    401: ("InvalidApiKey", "Invalid API-key provided."),
    403: ("AccessDenied", "Access denied."),
    404: ("NotFound", "Not found."),
    429: ("Throttling.RateQuota", "Requests rate limit exceeded, please try again later."),
    503: ("ModelUnavailable", "Model is unavailable, please try again later."),
    504: ("RequestTimeOut", "Request timed out, please try again later."),
}
_ERROR: Final = ("InternalError", "An internal error has occured, please try again later.")


def scripted_answer(effect: Effect, answer: Answer | None) -> Answer:
    """Return the answer a fault leaves: its own, or the true one with the fault's headers."""
    if effect.html:
        answer = Answer(effect.status or 502, _HTML.encode(), "text/html")
    elif effect.bad_json:
        answer = Answer(effect.status or 200, _BAD_JSON)
    elif effect.body is not None:
        answer = Answer(effect.status or 200, effect.body.encode("utf-8", errors="replace"))
    elif answer is None or effect.replaces_answer:
        status = effect.status or 400
        code, message = _ERRORS.get(status, _ERROR)
        answer = error_answer(status, effect.code or code, effect.message or message)
    if not effect.headers:
        return answer
    return Answer(answer.status, answer.body, answer.media_type, {**answer.headers, **effect.headers})


async def cut(scope: Scope, receive: Receive) -> None:
    """End the connection: over a socket for real, in process by raising.

    Raises:
        ConnectionCut: There is no socket, so no `imgapi.abort` among the scope's extensions.
    """
    abort = (scope.get("extensions") or {}).get(ABORT_EXTENSION)
    if abort is None:
        raise ConnectionCut("the emulator cut the connection, as scripted")
    abort()
    # The server calls it an error when an app returns without an answer before it has noticed the disconnect.
    while (await receive())["type"] != "http.disconnect":
        pass


async def deliver(answer: Answer, effect: Effect, clock: Clock, channel: tuple[Scope, Receive, Send]) -> None:
    """Send an answer, dripping or cut as scripted.

    Raises:
        ConnectionCut: The answer was cut, and there is no socket.
    """
    scope, receive, send = channel
    body = b"" if answer.status in _BODILESS else answer.body
    await send({"type": "http.response.start", "status": answer.status, "headers": _headers(answer, body)})
    end = effect.cut_after_bytes
    if effect.short_body:
        end = len(body) // 2
    part = body if end is None else body[:end]
    if effect.drip_seconds:
        await _drip(part, effect.drip_seconds, clock, receive, send)
    elif part:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    if end is not None:
        await cut(scope, receive)
        return
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drip(body: bytes, pause_seconds: float, clock: Clock, receive: Receive, send: Send) -> None:
    gone = asyncio.ensure_future(receive())
    try:
        for byte in body:
            if gone.done():
                return
            await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
            await clock.sleep(pause_seconds)
    finally:
        gone.cancel()


def _headers(answer: Answer, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = {"content-type": answer.media_type, ENGINE_HEADER.lower(): ENGINE}
    if answer.status not in _BODILESS:
        headers["content-length"] = str(len(body))
    headers.update({name.lower(): value for name, value in answer.headers.items()})
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
