"""Where the emulator keeps pictures: a temporary folder, bounded in bytes, gone when the emulator ends."""

import asyncio
import tempfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self

from imgapi.clock import Clock


class Kind(IntEnum):
    """What a picture is kept for; the lower goes first when room is needed."""

    RESULT = 0
    UPLOAD = 1
    INPUT = 2


@dataclass(frozen=True, slots=True)
class Kept:
    """One kept picture; `expires` is seconds since the epoch, `owner` the model or task it belongs to."""

    path: Path
    size_bytes: int
    kind: Kind
    expires: float
    owner: str


class Shelf:
    """Pictures by key. Use as an asynchronous context manager.

    Args:
        max_total_bytes: Bound of all pictures together.
        clock: What expiry is measured with.
    """

    def __init__(self, max_total_bytes: int, clock: Clock) -> None:
        self._max_total_bytes = max_total_bytes
        self._clock = clock
        self._kept: dict[str, Kept] = {}
        self._total_bytes = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def __aenter__(self) -> Self:
        self._folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="imgapi-emulator-")
        return self

    async def __aexit__(self, *_: object) -> None:
        folder, self._folder = self._folder, None
        self._kept.clear()
        self._total_bytes = 0
        if folder is not None:
            await asyncio.to_thread(folder.cleanup)

    @property
    def total_bytes(self) -> int:
        """Bytes kept now."""
        return self._total_bytes

    def __len__(self) -> int:
        return len(self._kept)

    async def put(self, key: str, content: bytes, *, kind: Kind, lifetime_seconds: float, owner: str) -> None:
        """Keep a picture under a new key; older ones make room, and one larger than the whole shelf is not kept."""
        if self._folder is None:
            raise RuntimeError("the emulator is not started: use it as `async with emulator:`")
        if len(content) > self._max_total_bytes:
            return
        path = Path(self._folder.name) / uuid.uuid4().hex
        self._forget(key)
        self._total_bytes += len(content)
        gone = self._make_room()
        # Entered before it is written, so that a cancelled write is still counted and cleared away later.
        self._kept[key] = Kept(path, len(content), kind, self._clock.time() + lifetime_seconds, owner)
        try:
            await asyncio.to_thread(_write, path, content, gone)
        except OSError:
            self._forget(key)
            raise

    def find(self, key: str) -> Kept | None:
        """Return what is known of a picture, unless it is gone or expired."""
        kept = self._kept.get(key)
        return kept if kept is not None and kept.expires > self._clock.time() else None

    async def get(self, key: str) -> bytes | None:
        """Return a picture's bytes; None when it is gone or expired."""
        kept = self.find(key)
        if kept is None:
            return None
        try:
            return await asyncio.to_thread(kept.path.read_bytes)
        except FileNotFoundError:
            return None

    async def drop(self, keys: Iterable[str]) -> None:
        """Forget pictures; unknown keys are no error."""
        await asyncio.to_thread(_remove, [path for key in keys if (path := self._forget(key)) is not None])

    async def clear(self) -> None:
        """Forget every picture."""
        await self.drop(list(self._kept))

    def _make_room(self) -> list[Path]:
        now = self._clock.time()
        gone = [key for key, kept in self._kept.items() if kept.expires <= now]
        paths = [path for key in gone if (path := self._forget(key)) is not None]
        # Dictionaries keep their order, so within one kind the oldest comes first.
        for key in sorted(self._kept, key=lambda key: self._kept[key].kind):
            if self._total_bytes <= self._max_total_bytes:
                break
            path = self._forget(key)
            if path is not None:
                paths.append(path)
        return paths

    def _forget(self, key: str) -> Path | None:
        kept = self._kept.pop(key, None)
        if kept is None:
            return None
        self._total_bytes -= kept.size_bytes
        return kept.path


def _write(path: Path, content: bytes, gone: list[Path]) -> None:
    _remove(gone)
    path.write_bytes(content)


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
