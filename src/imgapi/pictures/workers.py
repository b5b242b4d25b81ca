"""Pixel work off the event loop: a bounded pool of disposable processes, each with limits on time and memory.

Each process has a socket and a thread of its own here, so one that hangs, dies or is killed disturbs no other.
"""

import asyncio
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ParamSpec, Self, TypeVar

from imgapi.errors import ImageTooLarge, Overloaded, UnreadableImage
from imgapi.pictures.line import SMALL_BYTES, Call, Line
from imgapi.pictures.memory import give_free_memory_back
from imgapi.pictures.nursery import Nursery
from imgapi.pictures.worker import STOP_SECONDS, Worker, WorkerDied
from imgapi.pictures.worker_process import Job, Setup

P = ParamSpec("P")
R = TypeVar("R")

_GIBIBYTE = 1024**3
# A picture that takes longer to arrive loses its place in the line, so that slow senders keep nobody out.
EXPECTED_SECONDS = 1.0
PRELOADED = (
    "imgapi.pictures.canvas",
    "imgapi.pictures.convert",
    "imgapi.pictures.fit",
    "imgapi.pictures.mask",
    "imgapi.pictures.reencode",
    "imgapi.pictures.resize",
    "PIL.BmpImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.TiffImagePlugin",
    "PIL.WebPImagePlugin",
)


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a pool waits, in seconds.

    Attributes:
        abandoned: How long a call may go on that nobody waits for any more.
        svg_trial: How long an SVG may keep the last process to itself, where there are several; one that is not done
            then is begun anew on another. Nearly all drawings are done sooner.
        idle: After so long without a call, processes give back the memory that they keep for the next one.
        start: How long a process may take to be ready; one that takes longer is ended, and so is what makes it.
    """

    abandoned: float = 1.0
    svg_trial: float = 1.0
    idle: float = 2.0
    start: float = 60.0


class _TrialFailed(Exception):
    """An SVG was not done in the moment that it may keep the last process."""


def _is_small(size_bytes: int | None) -> bool:
    return size_bytes is not None and size_bytes <= SMALL_BYTES


class Workers:
    """A pool of worker processes with a bounded waiting line; usable from any number of event loops.

    Args:
        count: Processes, which is calls at the same time.
        max_waiting: Calls that may wait for a process; one more is refused. A quarter more may wait whose pictures
            have at most 32 KiB; these are served first, four for every larger one.
        timeout_seconds: Wall-clock limit of one call, waiting excluded; its process is killed and replaced.
        max_memory_bytes: Address space one process may take beyond what its imports did.
        preload: Modules each process imports at its start, before it takes calls.
        svg_seconds: Likewise the limit of one call whose picture is an SVG; no longer than the other when None.
        waits: Times that only tests change.
        give_back: Gives back the memory that this process keeps, when no call came for a while.
    """

    def __init__(
        self,
        *,
        count: int,
        max_waiting: int,
        timeout_seconds: float,
        max_memory_bytes: int = 3 * _GIBIBYTE,
        preload: Sequence[str] = PRELOADED,
        svg_seconds: float | None = None,
        waits: Waits = Waits(),
        give_back: Callable[[], object] = give_free_memory_back,
    ) -> None:
        self._waits = waits
        self._count = count
        self._places = count + max_waiting
        # Kept for small calls, so that a line full of large ones doesn't shut them out.
        self._small_places = max(1, max_waiting // 4)
        self._line = Line(max(1, count - 1))
        self._timeout_seconds = timeout_seconds
        self._svg_seconds = min(timeout_seconds, svg_seconds or timeout_seconds)
        self._svg_trial_seconds = min(self._svg_seconds, waits.svg_trial)
        self._taken = self._begun = 0
        self._give_back = give_back
        # Where it will be looked whether nothing came; a loop that was closed before never does.
        self._rests_on: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._is_closed = False
        # A copy of the path as it is now: tests and plugins may have put their folders on it.
        setup = Setup(
            tuple(sys.path),
            tuple(preload),
            max_memory_bytes,
            # One alone is what it would be forked from; elsewhere than on Linux, libraries may not survive a fork.
            forks=count > 1 and sys.platform == "linux",
            idle_seconds=waits.idle,
        )
        self._nursery = Nursery(setup)
        self._workers = [Worker(self._nursery, waits.start) for _ in range(count)]
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._serving: dict[int, Worker] = {}
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="picture-worker")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Start all processes and wait until they have imported what they need; without it the first calls wait."""
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        # Closing waits for this, so that it ends what is started here.
        with self._starting:
            # Out of the idle line, no worker is used by a call that comes early; such a call starts its own.
            taken = [] if self._is_closed else list(self._take_idle())
            try:
                for worker in taken:
                    worker.start()
                for worker in taken:
                    worker.wait_until_ready()
            finally:
                for worker in taken:
                    self._idle.put(worker)

    def _take_idle(self) -> Iterator[Worker]:
        with suppress(queue.Empty):
            while True:
                yield self._idle.get_nowait()

    @property
    def in_hand(self) -> int:
        """How many calls are under way or wait."""
        return self._taken

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a module-level function in a worker process; arguments and result must pickle.

        Cancelling the awaiting task frees a place in the line at once. A call that is under way gets a moment to end by
        itself, since a process is worth more than that; then it is ended with its process.

        Raises:
            Overloaded: All processes are busy and the waiting line is full, or the pool is closed.
            UnreadableImage: The call took longer than the limit, or its process died.
            ImageTooLarge: The call needed more memory than it may have.
            Exception: Whatever the function raises.
        """
        call = Call(Job(function, args, kwargs))
        self._enter(call)
        try:
            outcome: R = await asyncio.wrap_future(call.future)
        except asyncio.CancelledError:
            call.cancelled = True
            asyncio.get_running_loop().call_later(self._waits.abandoned, self._end, call)
            raise
        finally:
            self._rest_later()
        return outcome

    def _rest_later(self) -> None:
        """Look after a while whether nothing came any more, unless that will be looked at anyway."""
        if self._rests_on is None or self._rests_on.is_closed():
            self._rests_on = asyncio.get_running_loop()
            self._rests_on.call_later(self._waits.idle, self._rest, self._begun)

    def _rest(self, begun: int) -> None:
        self._rests_on = None
        if begun != self._begun or self._taken:
            self._rest_later()
            return
        with self._lock:
            if not self._is_closed:
                self._threads.submit(self._give_back)

    @contextmanager
    def expecting(self, size_bytes: int | None, seconds: float = EXPECTED_SECONDS) -> Iterator[None]:
        """Keep a place in the line while a picture arrives; on leaving, it is free for the call with that picture.

        Args:
            size_bytes: How many bytes were announced; None where that is not known.
            seconds: How long the place is kept.

        Raises:
            Overloaded: There is none, or the pool is closed: whoever sends the picture can be told before it is here.
        """
        is_kept = True
        with self._lock:
            self._check_place(is_small=_is_small(size_bytes))
            self._taken += 1

        def give_back() -> None:
            nonlocal is_kept
            if is_kept:
                is_kept = False
                self._leave()

        timer = asyncio.get_running_loop().call_later(seconds, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()

    def check_room(self, size_bytes: int | None) -> None:
        """Ask for a place without taking one; Overloaded when there is none for a picture of so many bytes."""
        with self._lock:
            self._check_place(is_small=_is_small(size_bytes))

    def _check_place(self, *, is_small: bool) -> None:
        places = self._places + (self._small_places if is_small else 0)
        if self._is_closed:
            raise Overloaded.by_a_stop()
        if self._taken >= places:
            raise Overloaded(
                f"{self._taken} pictures are being worked on or waiting, as many as this server takes; "
                "try again in a moment",
            )

    def _enter(self, call: Call) -> None:
        with self._lock:
            self._check_place(is_small=call.is_small)
            self._taken += 1
            self._begun += 1
            call.future.add_done_callback(self._leave)
            self._line.put(call)
            self._threads.submit(self._serve_next)

    def _leave(self, _future: "Future[Any] | None" = None) -> None:
        with self._lock:
            self._taken -= 1

    def _end(self, call: Call) -> None:
        with self._lock:
            worker = self._serving.get(id(call))
            if worker is not None:
                worker.kill()

    def _serve_next(self) -> None:
        while (call := self._line.take()) is not None:
            try:
                if call.has_failed_trial or call.future.set_running_or_notify_cancel():
                    call.future.set_result(self._perform(call))
            except _TrialFailed:
                self._line.put_back(call)
                continue
            except Exception as exc:  # noqa: BLE001 - the border of the thread: whoever waits must hear of it
                call.future.set_exception(exc)
            if not self._line.finish(call):
                return

    def _perform(self, call: Call) -> Any:
        worker = self._idle.get()
        try:
            return self._perform_with(worker, call)
        finally:
            # A killed process is replaced now, while the answer travels; or by the next call, where that fails.
            with suppress(OSError):
                if not self._is_closed:
                    worker.start()
            self._idle.put(worker)

    def _perform_with(self, worker: Worker, call: Call) -> Any:
        worker.wait_until_ready()
        with self._lock:
            if self._is_closed or call.cancelled:
                raise Overloaded.by_a_stop()
            self._serving[id(call)] = worker
        try:
            outcome = worker.perform(call.job, seconds := self._limit(call))
        except TimeoutError as exc:
            worker.discard()
            if call.is_on_trial:
                raise _TrialFailed from exc
            raise UnreadableImage(
                f"the picture took longer than {seconds:g} s to process; send a smaller or simpler one",
            ) from exc
        except WorkerDied as exc:
            worker.discard()
            if self._is_closed:
                raise Overloaded.by_a_stop() from exc
            raise UnreadableImage("the picture made its decoder fail; save it anew or send a simpler one") from exc
        finally:
            with self._lock:
                del self._serving[id(call)]
        if isinstance(outcome.error, MemoryError):
            raise ImageTooLarge("the picture needs more memory than one picture may take") from outcome.error
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def _limit(self, call: Call) -> float:
        if call.is_on_trial:
            return self._svg_trial_seconds
        return self._svg_seconds if call.is_svg else self._timeout_seconds

    async def close(self) -> None:
        """End all processes, busy ones at once; calls under way or waiting raise Overloaded."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            self._is_closed = True
            for worker in self._serving.values():
                worker.kill()
        self._threads.shutdown(wait=True)
        with self._starting:
            for worker in self._workers:
                worker.discard(patience_seconds=STOP_SECONDS)
            self._nursery.close(patience_seconds=STOP_SECONDS)
