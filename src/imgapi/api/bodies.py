"""Reading JSON bodies: strictly, within bounds, and without holding up the event loop."""

import asyncio
import json
import secrets
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from imgapi.api.failures import BODY_TOO_LARGE

# Below this, parsing takes less time than handing it to a thread.
LARGE_JSON_BYTES = 256 * 1024
# The parser keeps the interpreter's lock from the first byte to the last, so how long it holds the loop up from its
# thread is bounded by the number of values: tens of milliseconds for this many.
MAX_VALUES = 1_000_000
# One thread, for the same reason: two at a time would hold the loop up twice as long.
_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="json")
_SHOWN_CHARACTERS = 100
_DATA_URL = b'"data:'
# Data URLs of at least this size are read beside the parser, in pieces between which the loop has its turn.
_LONG_BYTES = 64 * 1024
_PIECE_BYTES = 1 << 20
# Strings that are read by the parser all the same, such as data URLs with escapes in them, may take so much together.
_PARSED_BYTES = 8 << 20
# What a JSON string may hold unescaped in ASCII (RFC 8259, section 7).
_PLAIN = bytes(range(0x20, 0x7F))


def parse_json(body: bytes) -> Any:
    """Parse JSON (RFC 8259) that means the same to every reader; a byte order mark is passed over.

    Raises:
        ValueError: It is none, or not in UTF-8; NaN and Infinity are none either, nor is what is nested beyond the
            parser's depth.
        HTTPException: An object names a field twice.
    """
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant, object_pairs_hook=_read_object)
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


@dataclass(frozen=True, slots=True)
class Parted:
    """A JSON text without its long data URLs.

    Attributes:
        rest: The text, with a word of a few characters in the place of each.
        long: What the words stand for. They are made of random bits, so no body can hold one.
    """

    rest: bytes
    long: dict[str, str]

    def restore(self, read: Any) -> Any:
        """Put the data URLs back as values of the object that the text is; a field of such a name is left."""
        if not self.long or not isinstance(read, dict):
            return read
        return {name: self.long.get(value, value) if isinstance(value, str) else value for name, value in read.items()}


def part(body: bytes) -> Parted:
    """Take long data URLs out of a JSON text: strings of plain ASCII that need no parsing.

    In JSON a quotation mark without a backslash before it begins or ends a string, and nothing but white space or a
    sign follows the end of one: so `"data:` begins a string, or the text is no JSON with the word in its place either.
    """
    pieces: list[bytes] = []
    long: dict[str, str] = {}
    done = 0
    start = _find(body, _DATA_URL, 0)
    while start >= 0:
        end = _find(body, b'"', start + len(_DATA_URL))
        if end < 0:
            break
        url = _read_plain(body, start + 1, end) if end - start >= _LONG_BYTES else None
        if url is not None and body[start - 1 : start] != b"\\":
            word = f"data:{secrets.token_hex(16)}"
            long[word] = url
            pieces += (body[done : start + 1], word.encode())
            done = end
        start = _find(body, _DATA_URL, end)
    return Parted(b"".join((*pieces, body[done:])), long)


def _find(body: bytes, sign: bytes, start: int) -> int:
    """Find as `bytes.find` does, which keeps the interpreter's lock for as long as it looks."""
    for begin in range(start, len(body), _PIECE_BYTES):
        found = body.find(sign, begin, begin + _PIECE_BYTES + len(sign) - 1)
        if found >= 0:
            return found
    return -1


def _read_plain(body: bytes, start: int, end: int) -> str | None:
    """Decode a piece of a body; None where it has what a JSON string can't, or an escape other than that of a slash."""
    pieces = []
    begin = start
    while begin < end:
        stop = min(end, begin + _PIECE_BYTES)
        # An escape stays in one piece.
        stop += stop < end and body[stop - 1 : stop] == b"\\"
        piece = body[begin:stop]
        if piece.translate(None, _PLAIN) or piece.count(b"\\") != piece.count(b"\\/"):
            return None
        pieces.append(piece.replace(b"\\/", b"/").decode("ascii"))
        begin = stop
    return "".join(pieces)


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
        self._whole: bytes | None = None

    async def body(self) -> bytes:
        if self._whole is None:
            chunks = [chunk async for chunk in self.stream()]
            is_large = sum(map(len, chunks)) > LARGE_JSON_BYTES
            # Joining bytes lets go of the interpreter's lock.
            self._whole = await self._elsewhere(b"".join, chunks) if is_large else b"".join(chunks)
        return self._whole

    async def json(self) -> Any:
        body = await self.body()
        if len(body) <= LARGE_JSON_BYTES:
            return self._parse(body)
        return await self._elsewhere(self._parse_large, body)

    async def _elsewhere(self, function: Callable[[Any], Any], argument: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(_THREAD, function, argument)

    def _parse_large(self, body: bytes) -> Any:
        parted = part(body)
        most_bytes = self.state.body_limits.plain_json_bytes
        if len(parted.rest) > most_bytes + _PARSED_BYTES:
            raise _too_large(len(parted.rest), most_bytes)
        # Every value but the first of its list or object has a comma before it; those within strings count as well.
        if parted.rest.count(b",") > MAX_VALUES:
            sentence = f"The body has more than {MAX_VALUES} values; this path takes one object of a few fields."
            raise HTTPException(HTTPStatus.BAD_REQUEST, sentence)
        read = parted.restore(self._parse(parted.rest))
        plain_bytes = len(body) - _data_url_bytes(read)
        if plain_bytes > most_bytes:
            raise _too_large(plain_bytes, most_bytes)
        return read


def _too_large(plain_bytes: int, most_bytes: int) -> HTTPException:
    sentence = f"The body has {plain_bytes} bytes without its data URLs, and at most {most_bytes} are taken."
    return HTTPException(BODY_TOO_LARGE, sentence)


def _data_url_bytes(read: Any) -> int:
    """Count what the data URLs of an object take; each is bounded as a picture where it is decoded."""
    if not isinstance(read, dict):
        return 0
    return sum(len(value) for value in read.values() if isinstance(value, str) and value.startswith("data:"))
