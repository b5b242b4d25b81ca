"""Keeping results: what the upstream made is copied before its links die."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from imgapi.clock import Clock
from imgapi.errors import ImgapiError
from imgapi.pictures.entries import probe
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.workers import Workers
from imgapi.results.links import Links
from imgapi.results.store import ResultStore, expires_at

# The link works for a day, and the upstream's storage has its moments.
PAUSES_SECONDS = (1.0, 4.0, 15.0)
NOT_KEPT = "result_not_kept"
_SUFFIXES = {"jpeg": ".jpg"}


@dataclass(frozen=True, slots=True)
class Kept:
    """Links for the caller.

    Args:
        urls: In the order of the upstream's.
        names: Of those that are kept here.
        expires_at: When these are gone, seconds since the epoch; None when none is kept.
        warnings: What went wrong.
    """

    urls: Sequence[str]
    names: Sequence[str] = ()
    expires_at: float | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Keeper:
    """Copies results.

    Args:
        store: Keeps files.
        fetch: Downloads a link, within bounds.
        workers: Look whether it is a picture.
        limits: Bounds on a picture.
        links: The URLs under which callers find kept files.
        clock: For pauses.
        copies: False passes the upstream's links on.
        secures: Fetch over https what is linked over http; a signature doesn't cover the scheme (docs/upstream.md).
    """

    store: ResultStore
    fetch: Callable[[str], Awaitable[bytes]]
    workers: Workers
    limits: PictureLimits
    links: Links
    clock: Clock
    copies: bool
    secures: bool

    async def keep(self, urls: Sequence[str]) -> Kept:
        """Copy what the links lead to; a link whose picture can't be had is passed on as it is, with a warning."""
        if not self.copies:
            return Kept(urls)
        names = await asyncio.gather(*(self._copy(url) for url in urls))
        links = [url if name is None else self.links.write(name) for url, name in zip(urls, names, strict=True)]
        kept = [name for name in names if name is not None]
        warnings = (NOT_KEPT,) if len(kept) < len(urls) else ()
        return Kept(links, kept, min(map(expires_at, kept)) if kept else None, warnings)

    async def _copy(self, url: str) -> str | None:
        if self.secures and url.startswith("http://"):
            url = "https://" + url.removeprefix("http://")
        for pause in (*PAUSES_SECONDS, None):
            try:
                content = await self.fetch(url)
                info = await self.workers.run(probe, content, self.limits)
                return await self.store.put(content, _SUFFIXES.get(info.format, f".{info.format}"))
            except ImgapiError:
                if pause is not None:
                    await self.clock.sleep(pause)
        return None

    async def forget(self, names: Sequence[str]) -> None:
        """Delete kept files."""
        for name in names:
            await self.store.delete(name)
