"""Cutting out with the operator's model: its file is had at the first use, its work done in a process of its own."""

import asyncio
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from imgapi.clock import Clock
from imgapi.errors import CapabilityMissing, Overloaded, UnreadableImage
from imgapi.matting.cutout import Cutout
from imgapi.matting.download import ModelUnavailable
from imgapi.matting.model_files import ModelFiles
from imgapi.matting.models import KnownModel, ModelChoice, Network
from imgapi.matting.progress import showing

_RETRY_SECONDS = 60.0
_NOT_THERE = (
    "The model that cuts out here is not available; the operator of this service finds the reason in its log "
    "and with `imgapi doctor`."
)
_TOO_SLOW = "The model that cuts out here did not finish; the operator of this service can choose a smaller one."


class Processes(Protocol):
    """A pool of worker processes."""

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a module-level function in one of them."""
        ...

    async def close(self) -> None:
        """End them."""
        ...


def find_lack(choice: ModelChoice) -> str | None:
    """Tell what this installation lacks for a choice, without importing or downloading anything; None: nothing."""
    if find_spec("onnxruntime") is None:
        return "a model needs onnxruntime; install it with: pip install 'imgapi[onnx]'"
    if choice.path is not None and not choice.path.is_file():
        return f"{choice.path} is no file"
    return None


def cut_out_in_process(content: bytes, network: Network) -> Cutout:
    """Do `matting.onnx.cut_out_with_model` in a worker: only there are OpenCV and onnxruntime imported."""
    from imgapi.matting import onnx

    return onnx.cut_out_with_model(content, network)


class ByModel:
    """Frees subjects from their background with one network.

    Args:
        choice: Which network.
        files: Where a known network's file is kept.
        processes: One process, so that one session serves all; closed with this object.
        threads: How many threads the network computes with.
        clock: Spaces the tries after a failed download.
        wait_seconds: How long one caller is held by a download; it goes on for those who come later.
    """

    def __init__(
        self,
        choice: ModelChoice,
        files: ModelFiles,
        processes: Processes,
        *,
        threads: int,
        clock: Clock,
        wait_seconds: float = 60.0,
    ) -> None:
        self.choice = choice
        self._files = files
        self._processes = processes
        self._threads = threads
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._obtaining: asyncio.Task[Path] | None = None
        self._not_before = 0.0

    async def cut_out(self, content: bytes) -> Cutout:
        """Free the main subject of a picture from its background.

        Raises:
            CallerError: As `matting.onnx.cut_out_with_model`.
            Overloaded: The waiting line is full, or the model is still being downloaded.
            CapabilityMissing: The model can't be had, can't be run, or did not finish in time.
        """
        known = self.choice.known
        path = await self._known_path(known) if known is not None else await self._own_path()
        network = Network(self.choice.label, path, self.choice.signature, self._threads)
        try:
            cutout: Cutout = await self._processes.run(cut_out_in_process, content, network)
        except UnreadableImage as exc:
            # What a worker raised comes without a cause; with one, the pool itself says that the process was too
            # slow or died, and that is the model's doing rather than the picture's.
            if exc.__cause__ is None:
                raise
            raise CapabilityMissing(_TOO_SLOW, detail=f"{self.choice.label}: {exc.message}") from exc
        return cutout

    async def _own_path(self) -> Path:
        path = self.choice.path
        if path is None or not await asyncio.to_thread(path.is_file):
            raise CapabilityMissing(_NOT_THERE, detail=f"{path} is no file")
        return path

    async def _known_path(self, known: KnownModel) -> Path:
        """Have the file checked, which is a glance after the first time, or downloaded; once for all who wait."""
        task = self._obtaining
        if task is None or (task.done() and self._clock.monotonic() >= self._not_before):
            task = self._obtaining = asyncio.create_task(self._obtain(known), name=f"obtain {known.name}")
        await asyncio.wait({task}, timeout=self._wait_seconds)
        if not task.done():
            raise Overloaded("The model that cuts out here is still being downloaded; try again later.", retry_after=30)
        try:
            return task.result()
        except ModelUnavailable as exc:
            raise CapabilityMissing(_NOT_THERE, detail=str(exc)) from exc

    async def _obtain(self, known: KnownModel) -> Path:
        try:
            with showing(known.name) as report:
                return await self._files.obtain(known, report)
        except ModelUnavailable:
            self._not_before = self._clock.monotonic() + _RETRY_SECONDS
            raise

    async def close(self) -> None:
        """End a download, which goes on from there next time, and the process."""
        if self._obtaining is not None:
            self._obtaining.cancel()
            await asyncio.gather(self._obtaining, return_exceptions=True)
        await self._processes.close()
