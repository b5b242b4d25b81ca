"""One worker process, as its pool sees it: made, waited for, given jobs, killed."""

import threading
from typing import TYPE_CHECKING

from imgapi.errors import ImgapiError
from imgapi.pictures.nursery import Grip, Nursery
from imgapi.pictures.worker_process import Channel, Job, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

STOP_SECONDS = 2.0


class WorkerDied(Exception):
    """The process ended, or was killed, before it answered."""


class Worker:
    """One process; used by one thread at a time, except `kill`, which any thread may call."""

    def __init__(self, nursery: Nursery, start_seconds: float) -> None:
        self._nursery = nursery
        self._start_seconds = start_seconds
        self._end_maker: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._connection: Channel | None = None
        self._grip: Grip | None = None
        self._is_killed = False

    def start(self) -> None:
        """Have the process made if there is none; does not wait for it."""
        with self._lock:
            # One that was killed may look alive for another moment.
            if self._connection is not None and not self._is_killed and not self._connection.has_ended():
                return
        self.discard()
        connection, self._end_maker = self._nursery.make_worker()
        with self._lock:
            self._connection, self._is_killed = connection, False

    def wait_until_ready(self) -> None:
        """Wait for the process and its imports; ImgapiError when it can't be made."""
        try:
            self.start()
            if self._grip is not None:
                return
            try:
                outcome = self._receive(self._start_seconds)
            except WorkerDied:
                # What makes the workers was ended from outside, perhaps; it is made anew, once.
                self.start()
                outcome = self._receive(self._start_seconds)
        except (OSError, WorkerDied) as exc:
            self.discard()
            if isinstance(exc, TimeoutError) and self._end_maker is not None:
                # It may be stopped, or hang: another is made for the next worker.
                self._end_maker()
            raise ImgapiError("a picture worker could not be started", detail=repr(exc)) from exc
        if outcome.error is not None:
            self.discard()
            raise ImgapiError("a picture worker could not be started", detail=repr(outcome.error)) from outcome.error
        with self._lock:
            self._grip = Grip(outcome.value)

    def perform(self, job: Job, timeout_seconds: float) -> Outcome:
        """Run a job; TimeoutError after the limit, WorkerDied when the process ends first."""
        connection = self._connection
        if connection is None:
            raise WorkerDied
        try:
            connection.send(job)
        except OSError as exc:
            raise WorkerDied from exc
        return self._receive(timeout_seconds)

    def _receive(self, timeout_seconds: float) -> Outcome:
        connection = self._connection
        if connection is None:
            raise WorkerDied
        try:
            if not connection.poll(timeout_seconds):
                raise TimeoutError
            outcome: Outcome = connection.receive()
        except (EOFError, ConnectionError) as exc:
            raise WorkerDied from exc
        return outcome

    def kill(self) -> None:
        """End the process at once; whoever waits for it sees it die."""
        with self._lock:
            if self._grip is not None:
                self._grip.kill()
                self._is_killed = True

    def discard(self, *, patience_seconds: float = 0.0) -> None:
        """Give the process so long to end by itself, then kill it; nothing is left behind."""
        with self._lock:
            connection, self._connection = self._connection, None
            grip, self._grip = self._grip, None
        if connection is not None:
            connection.end()
            if not connection.wait_until_ended(patience_seconds) and grip is not None:
                grip.kill()
                connection.wait_until_ended(STOP_SECONDS)
            connection.close()
        if grip is not None:
            grip.release()
