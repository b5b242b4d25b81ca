"""Getting at input pictures: where their bytes come from, and the inspection before a task is accepted."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from imgapi.emulator.answers import Refusal
from imgapi.emulator.orders import Order
from imgapi.emulator.shelf import Kind, Shelf
from imgapi.errors import CallerError, ImageTooLarge, UnreadableImage, UnsupportedFormat
from imgapi.pictures.entries import probe
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.outcomes import PictureInfo
from imgapi.pictures.signatures import sniff_format
from imgapi.sources.data_url import decode_data_url, is_data_url

_INSPECTION: Final = "InvalidParameter.DataInspection"
_UNABLE: Final = "Unable to download the media resource during the data inspection process."
_NOT_FOUND: Final = "Failed to find the requested media resource during the data inspection process."
_NO_RIGHT: Final = "Don't have authorization to access the media resource during the data inspection process."
_NO_FORMAT: Final = "The media format is not supported or incorrect for the data inspection."
_NO_DECODE: Final = "Failed to decode the image during the data inspection."
_NO_SIZE: Final = "The image size is not supported for the data inspection."
_UNRESOLVED: Final = "The provided URL does not appear to be valid. Ensure it is correctly formatted."
_LIMITS: Final = PictureLimits()


class Unobtainable(Exception):
    """A picture's bytes could not be had; the text is the inspection's message."""


class Inputs:
    """Fetches input pictures and keeps them until their task has used them.

    Args:
        fetch: Downloads an http(s) URL with the service's own guard; raises `CallerError`.
        shelf: Where fetched pictures wait, and where uploads are.
        lifetime_seconds: How long a fetched picture may wait.
    """

    def __init__(self, fetch: Callable[[str], Awaitable[bytes]], shelf: Shelf, lifetime_seconds: float) -> None:
        self._fetch = fetch
        self._shelf = shelf
        self._lifetime_seconds = lifetime_seconds

    async def inspect(self, order: Order, task_id: str, *, everything: bool) -> Order:
        """Fetch and look at the pictures of an order, and keep them for the task; not `everything`: data URLs only.

        The caller releases them when the task does not come about.

        Returns:
            The order without the text of its data URLs, which would otherwise stay in memory as long as the task.

        Raises:
            Refusal: `InvalidParameter.DataInspection`, in the upstream's words.
        """
        shortened: dict[str, str] = {}
        for role, url in order.pictures.items():
            is_data = is_data_url(url)
            shortened[role] = "data:" if is_data else url
            if not is_data and not everything:
                continue
            try:
                content = await self._obtain(url, order.model.name)
                await look_at(content)
            except Unobtainable as error:
                raise Refusal(400, _INSPECTION, str(error)) from error
            await self._shelf.put(
                _key(task_id, role), content, kind=Kind.INPUT, lifetime_seconds=self._lifetime_seconds, owner=task_id
            )
        return replace(order, pictures=shortened)

    async def load(self, order: Order, task_id: str, role: str) -> bytes:
        """Return a picture for the work itself, fetched again if it is no longer kept.

        Raises:
            Unobtainable: It can't be had.
        """
        kept = await self._shelf.get(_key(task_id, role))
        return kept if kept is not None else await self._obtain(order.pictures[role], order.model.name)

    async def release(self, order: Order, task_id: str) -> None:
        """Forget the pictures kept for a task."""
        await self._shelf.drop([_key(task_id, role) for role in order.pictures])

    async def _obtain(self, url: str, model: str) -> bytes:
        if is_data_url(url):
            return await asyncio.to_thread(_decode_data_url, url)
        if _is_upload(url):
            return await self._take_upload(url[len("oss://") :], model)
        try:
            return await self._fetch(url)
        except ImageTooLarge as error:
            raise Unobtainable(_NO_SIZE) from error
        except CallerError as error:
            raise Unobtainable(_UNABLE) from error

    async def _take_upload(self, key: str, model: str) -> bytes:
        kept = self._shelf.find(key)
        if kept is None:
            # Some clients escape the key, the vendor's does not.
            key = unquote(key)
            kept = self._shelf.find(key)
        if kept is None or kept.kind is not Kind.UPLOAD:
            raise Unobtainable(_NOT_FOUND)
        if kept.owner != model:
            raise Unobtainable(_NO_RIGHT)
        content = await self._shelf.get(key)
        if content is None:
            raise Unobtainable(_NOT_FOUND)
        return content


def check_resolving(order: Order, *, resolves: bool) -> None:
    """Refuse `oss://` URLs that come without the header that has them resolved."""
    if not resolves and any(_is_upload(url) for url in order.pictures.values()):
        raise Refusal(400, "invalid_parameter_error", _UNRESOLVED)


async def look_at(content: bytes) -> PictureInfo:
    """Read a picture's header, off the event loop.

    Raises:
        Unobtainable: It is no picture, or one beyond every limit.
    """
    if sniff_format(content) is None:
        raise Unobtainable(_NO_FORMAT)
    try:
        return await asyncio.to_thread(probe, content, _LIMITS)
    except UnsupportedFormat as error:
        raise Unobtainable(_NO_FORMAT) from error
    except UnreadableImage as error:
        raise Unobtainable(_NO_DECODE) from error
    except ImageTooLarge as error:
        raise Unobtainable(_NO_SIZE) from error


def _decode_data_url(url: str) -> bytes:
    try:
        return decode_data_url(url, max_bytes=_LIMITS.max_bytes)
    except ImageTooLarge as error:
        raise Unobtainable(_NO_SIZE) from error
    except CallerError as error:
        raise Unobtainable(_NO_FORMAT) from error


def _is_upload(url: str) -> bool:
    return url[:6].lower() == "oss://"


def _key(task_id: str, role: str) -> str:
    return f"inputs/{task_id}/{role}"
