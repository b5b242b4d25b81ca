"""Asking callers for a key, where the operator has given out some."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgapi.api.failures import error_response, whole_seconds
from imgapi.api.keys import Key, Keyring
from imgapi.api.quotas import Quotas
from imgapi.errors import QuotaExceeded

# What a load balancer, a browser's page and whoever holds a link must reach without a key: links are unguessable.
_OPEN = (
    "/livez",
    "/readyz",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/playground",
    "/playground/",
    "/docs/assets/",
    "/samples/",
    "/files/",
    "/results/",
    "/emulator/",
)
_UNAUTHORIZED = "unauthorized"


class Gate:
    """Lets requests with a known key pass, within the key's quotas.

    Args:
        app: What answers.
        keyring: The known keys.
        quotas: What they have used.
    """

    def __init__(self, app: ASGIApp, keyring: Keyring, quotas: Quotas) -> None:
        self.app = app
        self._keyring = keyring
        self._quotas = quotas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        key = self._keyring.find(presented_key(request))
        if key is None:
            await _refuse(request, receive, send)
            return
        request.state.key = key
        try:
            with self._quotas.request(key):
                await self.app(scope, receive, self._telling(key, send))
        except QuotaExceeded as exc:
            await self._hold_back(request, key, exc)(scope, receive, send)

    def _telling(self, key: Key, send: Send) -> Send:
        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields = self._quotas.headers(key).items()
                named = [(name.lower().encode(), value.encode()) for name, value in fields]
                message["headers"] = [*message["headers"], *named]
            await send(message)

        return tell

    def _hold_back(self, request: Request, key: Key, error: QuotaExceeded) -> ASGIApp:
        headers = {"Retry-After": str(whole_seconds(error.retry_after)), **self._quotas.headers(key)}
        return error_response(
            request.state.request_id, HTTPStatus.TOO_MANY_REQUESTS, error.message, error.code, headers=headers
        )


def is_open(path: str) -> bool:
    """Whether a path needs no key."""
    return any(path == open_path or (open_path.endswith("/") and path.startswith(open_path)) for open_path in _OPEN)


def presented_key(request: Request) -> str:
    """Read the key of a request: `Authorization: Bearer …`, or `X-API-Key`; empty when there is none."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "").strip()


async def _refuse(request: Request, receive: Receive, send: Send) -> None:
    was_sent = bool(presented_key(request))
    sentence = (
        "The key of this request is not known here."
        if was_sent
        else "This service asks for a key; send it as `Authorization: Bearer …` or `X-API-Key`."
    )
    headers = {"WWW-Authenticate": 'Bearer realm="imgapi"' + (', error="invalid_token"' if was_sent else "")}
    answer = error_response(request.state.request_id, HTTPStatus.UNAUTHORIZED, sentence, _UNAUTHORIZED, headers=headers)
    await answer(request.scope, receive, send)
