"""The files of this machine that an agent may read, and those that are written for it."""

import asyncio
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from imgapi.commands.client import Upload
from imgapi.commands.sources import Source, UnreadableSource
from imgapi.commands.targets import suffix_of
from imgapi.pictures.signatures import sniff_format
from imgapi.results.bounds import FolderBounds
from imgapi.results.files import write_temporary
from imgapi.results.names import make_stem

MAX_AGE_SECONDS = 7 * 86400.0
MAX_TOTAL_BYTES = 2 * 1024**3
_NAME = re.compile(r"[^.].*-[0-9a-f]{8}\.[a-z]{3,4}", re.DOTALL)


class FileRefused(Exception):
    """A path that is not to be read; the message says what may be."""


@dataclass(frozen=True, slots=True)
class ReadableFiles:
    """The folders below which an agent may name pictures.

    Args:
        roots: Absolute, links followed.
    """

    roots: Sequence[Path]

    @property
    def words(self) -> str:
        """Say what may be named."""
        return f"Or the path of a picture below {' or '.join(str(root) for root in self.roots)}."

    async def read(self, text: str) -> Upload:
        """Read a picture by its path or file: URL.

        Raises:
            FileRefused: It is not below a root, can't be read, or is no picture.
        """
        return await asyncio.to_thread(self._read, text)

    def _read(self, text: str) -> Upload:
        named = url2pathname(unquote(urlsplit(text).path)) if text.lower().startswith("file:") else text
        try:
            # Links are followed first, so that none leads out.
            path = Path(named).expanduser().resolve()
        except (OSError, RuntimeError, ValueError) as exc:
            raise FileRefused("That is neither a URL nor a path.") from exc
        if not any(path.is_relative_to(root) for root in self.roots):
            raise FileRefused(f"{named[:200]} may not be read; send a URL. {self.words}")
        try:
            upload = Source(named, path.stem, path).read()
        except UnreadableSource as exc:
            raise FileRefused(str(exc)) from exc
        if sniff_format(upload.content) is None:
            raise FileRefused(
                f"{named} is no picture that can be worked on: send jpeg, png, webp, svg, tiff, gif or bmp."
            )
        return upload


class WrittenFiles:
    """The folder that pictures are written to for an agent.

    Args:
        folder: Where; created with the first picture.
        is_ours: Whether old pictures in it are removed: never from a folder that somebody chose.
    """

    def __init__(self, folder: Path, *, is_ours: bool) -> None:
        self.folder = folder
        self._bounds = FolderBounds(folder, _NAME, max_age_seconds=MAX_AGE_SECONDS, max_total_bytes=MAX_TOTAL_BYTES)
        self._is_ours = is_ours
        self._lock = asyncio.Lock()

    async def write(self, picture: Upload, command: str) -> Path:
        """Write a picture under a name of its own, made of its source's and the command's.

        Raises:
            UnwritableTarget: It is no picture.
            OSError: The folder can't be written.
        """
        async with self._lock:
            return await asyncio.to_thread(self._write, picture, command)

    def _write(self, picture: Upload, command: str) -> Path:
        suffix = suffix_of(picture.content)
        path = self.folder / f"{make_stem(picture.filename)}-{command}-{secrets.token_hex(4)}{suffix}"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_temporary(self.folder, picture.content, time.time()).replace(path)
        if self._is_ours:
            self._bounds.add([path], len(picture.content))
        return path
