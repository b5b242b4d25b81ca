"""Reading JSON bodies: strictly, within bounds, and without holding up the event loop."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, ClassVar, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from imgapi.api.failures import BODY_TOO_LARGE

# Below this, parsing takes less time than handing it to a thread.
LARGE_JSON_BYTES = 256 * 1024
# The parser keeps the interpreter's lock from the first byte to the last, so how long it holds the loop up from its
# thread is bounded by the number of values: tens of milliseconds for this many. A few long strings take no longer.
MAX_VALUES = 1_000_000
# One thread, for the same reason: two at a time would hold the loop up twice as long.
_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="json")
_SHOWN_CHARACTERS = 100


def parse_json(body: bytes) -> Any:
    """Parse JSON (RFC 8259) that means the same to every reader.

    Raises:
        ValueError: It is none; NaN and Infinity are none either, nor is what is nested beyond the parser's depth.
        HTTPException: An object names a field twice.
    """
    try:
        return json.loads(body, parse_constant=_refuse_constant, object_pairs_hook=_read_object)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        seen: set[str] = set()
        twin = ""
        for name, _ in pairs:
            if name in seen:
                twin = name
                break
            seen.add(name)
        # FastAPI answers any other kind of exception as broken JSON.
        sentence = f"{twin[:_SHOWN_CHARACTERS]!r} is named twice in the body; once is enough."
        raise HTTPException(HTTPStatus.BAD_REQUEST, sentence)
    return read


class JsonRoute(APIRoute):
    """A route whose large JSON bodies are parsed in a thread; small ones are parsed where they are.

    `parse` turns a body into what it says; it raises ValueError for what is no JSON.
    """

    parse: ClassVar[Callable[[bytes], Any]] = parse_json

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Hand FastAPI a request that reads its JSON so."""
        handle = super().get_route_handler()
        parse = type(self).parse

        async def answer(request: Request) -> Response:
            return await handle(_JsonRequest(request, parse))

        return answer


class _JsonRequest(Request):
    def __init__(self, request: Request, parse: Callable[[bytes], Any]) -> None:
        super().__init__(request.scope, request.receive)
        self._parse = parse

    async def json(self) -> Any:
        body = await self.body()
        if len(body) <= LARGE_JSON_BYTES:
            return self._parse(body)
        return await asyncio.get_running_loop().run_in_executor(_THREAD, self._parse_large, body)

    def _parse_large(self, body: bytes) -> Any:
        # Every value but the first of its list or object has a comma before it; those within strings count as well.
        if body.count(b",") > MAX_VALUES:
            sentence = f"The body has more than {MAX_VALUES} values; this path takes one object of a few fields."
            raise HTTPException(HTTPStatus.BAD_REQUEST, sentence)
        read = self._parse(body)
        plain_bytes = len(body) - _data_url_bytes(read)
        if plain_bytes > self.state.plain_json_bytes:
            sentence = (
                f"The body has {plain_bytes} bytes without its data URLs, and at most {self.state.plain_json_bytes} "
                "are taken."
            )
            raise HTTPException(BODY_TOO_LARGE, sentence)
        return read


def _data_url_bytes(read: Any) -> int:
    """Count what the data URLs of an object take; each is bounded as a picture where it is decoded."""
    if not isinstance(read, dict):
        return 0
    return sum(len(value) for value in read.values() if isinstance(value, str) and value.startswith("data:"))
