"""Downloads the file of a matting model, going on where an earlier try ended."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import httpx

from imgapi.clock import Clock
from imgapi.matting.models import KnownModel

Report = Callable[[int, int], None]
"""Told now and then how many bytes are there, and how many there will be."""

_WRITE_BYTES = 1024 * 1024
_FRUITFUL_BYTES = 1024 * 1024
_FRUITLESS_TRIES = 4
_LONGEST_PAUSE_SECONDS = 15.0
_TEMPORARY_STATUSES = frozenset({408, 429, 500, 502, 503, 504})


class ModelUnavailable(Exception):
    """A model can't be had; the text is for the operator, with URL and path, and says what to do."""


def new_client(*, patience_seconds: float = 30.0) -> httpx.AsyncClient:
    """Make a client for downloads, which goes by the environment's proxy and certificates.

    Args:
        patience_seconds: How long the next bytes may take.
    """
    timeout = httpx.Timeout(patience_seconds, connect=min(10.0, patience_seconds))
    return httpx.AsyncClient(timeout=timeout, follow_redirects=True, max_redirects=5)


async def download(client: httpx.AsyncClient, model: KnownModel, part: Path, report: Report, clock: Clock) -> None:
    """Fetch until `part` has the model's size; its content is for the caller to check.

    What is in `part` already is kept when the server confirms that its file is still the same one.

    Raises:
        ModelUnavailable: The server refuses, sends too much, or sends nothing in four tries in a row.
        OSError: The part can't be written.
    """
    fruitless = 0
    while (before := _size(part)) != model.size_bytes:
        if before > model.size_bytes:
            _discard(part)
            before = 0
        try:
            reason = await _fetch_rest(client, model, part, before, report)
        except httpx.HTTPError as exc:
            reason = f"{type(exc).__name__}: {exc}".rstrip(": ")
        if _size(part) == model.size_bytes:
            break
        fruitless = 0 if _size(part) - before >= _FRUITFUL_BYTES else fruitless + 1
        if fruitless == _FRUITLESS_TRIES:
            raise ModelUnavailable(f"{model.url} could not be downloaded ({reason})")
        await clock.sleep(min(2.0**fruitless, _LONGEST_PAUSE_SECONDS))
    _validator_file(part).unlink(missing_ok=True)


async def _fetch_rest(client: httpx.AsyncClient, model: KnownModel, part: Path, have: int, report: Report) -> str:
    """Ask once for what is missing; return why the answer may not have been all of it."""
    headers = {"Accept-Encoding": "identity"}
    validator = _read_validator(part)
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    async with client.stream("GET", model.url, headers=headers) as response:
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            _discard(part)
            return "416: the part that was there is no beginning of the file"
        if response.status_code in _TEMPORARY_STATUSES:
            return f"the server answered {response.status_code}"
        if response.status_code not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            raise ModelUnavailable(f"{model.url} could not be downloaded (the server answered {response.status_code})")
        if response.status_code == HTTPStatus.OK:
            have = 0
            _discard(part)
            _keep_validator(part, response.headers)
        elif not response.headers.get("content-range", "").startswith(f"bytes {have}-"):
            _discard(part)
            return "the server sent another range than it was asked for"
        await _write(response, model, part, have, report)
    return "the connection was closed before the end"


async def _write(response: httpx.Response, model: KnownModel, part: Path, have: int, report: Report) -> None:
    file: BinaryIO = await asyncio.to_thread(part.open, "ab")
    gathered = bytearray()
    try:
        async for chunk in response.aiter_raw():
            have += len(chunk)
            if have > model.size_bytes:
                _discard(part)
                raise ModelUnavailable(f"{model.url} is larger than the {model.size_bytes} bytes it should have")
            gathered += chunk
            if len(gathered) >= _WRITE_BYTES:
                await asyncio.to_thread(file.write, bytes(gathered))
                gathered.clear()
                report(have, model.size_bytes)
    finally:
        # What came before a cut is kept for the next try.
        with file:
            file.write(gathered)
    report(have, model.size_bytes)


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.validator")


def _keep_validator(part: Path, headers: httpx.Headers) -> None:
    """Remember what tells this version of the file from others: a strong ETag, else its date (RFC 9110, 13.1.5)."""
    tag = headers.get("etag", "")
    validator = tag if tag.startswith('"') else headers.get("last-modified", "")
    if validator:
        _validator_file(part).write_text(validator, encoding="latin-1")


def _read_validator(part: Path) -> str | None:
    with suppress(FileNotFoundError):
        return _validator_file(part).read_text(encoding="latin-1")
    return None
