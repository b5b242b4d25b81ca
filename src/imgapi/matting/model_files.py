"""The folder of model files: each is used only after its checksum was found right."""

import asyncio
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import httpx

from imgapi.clock import Clock, SystemClock
from imgapi.matting.download import ModelUnavailable, Report, download, new_client
from imgapi.matting.models import KnownModel

_SPARE_BYTES = 64 * 1024 * 1024
_LOCK_PAUSE_SECONDS = 0.5


class FileState(Enum):
    """What can be said of a model's file."""

    READY = "ready"
    MISSING = "missing"
    WRONG = "wrong checksum"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Keeps model files in a folder, as `<name>.onnx`; several processes may share it.

    Args:
        folder: Made at the first download; may be read-only when the files are there.
        is_offline: Never download; the operator puts the files there.
        client: Makes the client of a download.
        clock: For the pauses between tries.
    """

    folder: Path
    is_offline: bool = False
    client: Callable[[], httpx.AsyncClient] = new_client
    clock: Clock = field(default_factory=SystemClock)

    def path_of(self, model: KnownModel) -> Path:
        """Where the file of a model is, or would be."""
        return self.folder / f"{model.name}.onnx"

    def look(self, model: KnownModel) -> FileState:
        """Check the file, reading all of it unless it was found right before and has not changed since.

        Raises:
            OSError: The file is there and can't be read.
        """
        path = self.path_of(model)
        try:
            status = path.stat()
        except FileNotFoundError:
            return FileState.MISSING
        found = {"sha256": model.sha256, "bytes": status.st_size, "modified_ns": status.st_mtime_ns}
        if found == _read_note(path):
            return FileState.READY
        if status.st_size != model.size_bytes or _sha256(path) != model.sha256:
            return FileState.WRONG
        # In a read-only folder the file is read at each start.
        with suppress(OSError):
            _note_of(path).write_text(json.dumps(found), encoding="utf-8")
        return FileState.READY

    async def obtain(self, model: KnownModel, report: Report) -> Path:
        """Return the path of a right file, downloading it when it is missing or wrong.

        Args:
            model: Which.
            report: Told how a download goes.

        Raises:
            ModelUnavailable: It can't be had; the text says how to put it there by hand.
        """
        path = self.path_of(model)
        try:
            state = await asyncio.to_thread(self.look, model)
            if state is FileState.READY:
                return path
            self._refuse_offline(path, state)
            await asyncio.to_thread(self.folder.mkdir, parents=True, exist_ok=True)
            async with self._alone(model):
                # Another process may have downloaded it meanwhile.
                if await asyncio.to_thread(self.look, model) is not FileState.READY:
                    await self._download(model, path, report)
        except ModelUnavailable as exc:
            raise ModelUnavailable(f"{exc}. {self._by_hand(model)}") from exc
        except OSError as exc:
            reason = "the disk is full" if exc.errno == errno.ENOSPC else exc.strerror or str(exc)
            raise ModelUnavailable(f"{path} can't be written or read: {reason}. {self._by_hand(model)}") from exc
        return path

    async def _download(self, model: KnownModel, path: Path, report: Report) -> None:
        part = path.with_name(f"{path.name}.part")
        self._refuse_small_disk(model, part)
        async with self.client() as client:
            await download(client, model, part, report, self.clock)
        found = await asyncio.to_thread(_sha256, part)
        if found != model.sha256:
            part.unlink(missing_ok=True)
            raise ModelUnavailable(
                f"what {model.url} sent has the SHA-256 {found}, which is not the file imgapi knows; it was deleted"
            )
        await asyncio.to_thread(_settle, part, path)
        await asyncio.to_thread(self.look, model)

    def _refuse_offline(self, path: Path, state: FileState) -> None:
        if self.is_offline:
            lead = f"{path} is missing" if state is FileState.MISSING else f"{path} has a wrong checksum"
            raise ModelUnavailable(f"{lead}, and downloads are switched off")

    def _refuse_small_disk(self, model: KnownModel, part: Path) -> None:
        there = part.stat().st_size if part.exists() else 0
        needed, free = model.size_bytes - there + _SPARE_BYTES, shutil.disk_usage(self.folder).free
        if free < needed:
            raise ModelUnavailable(f"{self.folder} has {free} bytes free, and {needed} are needed")

    def _by_hand(self, model: KnownModel) -> str:
        return (
            f"By hand: download {model.url} ({model.size_bytes} bytes, SHA-256 {model.sha256}) on a machine that can, "
            f"and put it at {self.path_of(model)}."
        )

    @asynccontextmanager
    async def _alone(self, model: KnownModel) -> AsyncIterator[None]:
        """Let one process at a time download a model; the system frees the lock of one that dies."""
        path = self.folder / f".{model.name}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while not _locked(descriptor):
                await self.clock.sleep(_LOCK_PAUSE_SECONDS)
            yield
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _settle(part: Path, path: Path) -> None:
    """Give a checked file its name; what its note will say must be on the disk first."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _read_note(path: Path) -> object:
    try:
        note: object = json.loads(_note_of(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note
