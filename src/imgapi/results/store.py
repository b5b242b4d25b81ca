"""Keeps results in a local folder under unguessable names until they expire."""

import asyncio
import re
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

from imgapi.errors import CapabilityMissing
from imgapi.results.bounds import FolderBounds
from imgapi.results.files import write_temporary

# The names that `put` makes.
RESULT_NAME = re.compile(r"[0-9a-f]{32}\.[a-z0-9]{1,8}", re.ASCII)
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}", re.ASCII)


class ResultStore:
    """A local folder of kept results, bounded in age and size.

    A name is 128 random bits: who has it may read the file, and nobody finds it by trying.

    Args:
        folder: Where files are kept; created with the first one.
        ttl_seconds: How long a file can be read.
        max_total_bytes: The oldest files go when there is more than this; the newest always stays.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, folder: Path, *, ttl_seconds: float, max_total_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._bounds = FolderBounds(
            folder, RESULT_NAME, max_age_seconds=ttl_seconds, max_total_bytes=max_total_bytes, clock=clock
        )

    async def put(self, content: bytes, suffix: str) -> str:
        """Keep `content` and return its name, such as "5f…e1.png"; `suffix` is ".png" and the like.

        Raises:
            CapabilityMissing: The disk is full or the folder can't be written.
        """
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"{suffix!r} is not a suffix such as '.png'")
        return await asyncio.to_thread(self._put, content, suffix)

    async def get(self, name: str) -> bytes | None:
        """Return what is kept under `name`; None when that is unknown, expired or no name this store makes."""
        if not RESULT_NAME.fullmatch(name):
            return None
        return await asyncio.to_thread(self._get, name)

    def _put(self, content: bytes, suffix: str) -> str:
        path = self._folder / f"{secrets.token_hex(16)}{suffix}"
        try:
            write_temporary(self._folder, content, self._clock()).replace(path)
            with self._lock:
                self._bounds.add([path], len(content))
        except OSError as exc:
            message = "The result could not be kept: the server's result folder is full or can't be written."
            raise CapabilityMissing(message, detail=type(exc).__name__) from exc
        return path.name

    def _get(self, name: str) -> bytes | None:
        path = self._folder / name
        try:
            if self._bounds.is_expired(path.stat().st_mtime):
                return None
            return path.read_bytes()
        except FileNotFoundError:
            return None
