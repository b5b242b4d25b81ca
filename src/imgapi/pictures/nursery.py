"""Makes worker processes: one imports what they need, and forks each of them in some milliseconds."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from imgapi.pictures.worker_process import Channel, Setup, environment_of_worker


class Nursery:
    """The process that workers are forked from; made with the first of them, and anew when it is gone.

    Without forks, each worker is a process started for it alone.

    Args:
        setup: What workers are made from.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._processes: list[subprocess.Popen[bytes]] = []

    def make_worker(self) -> tuple[Channel, Callable[[], None]]:
        """Have a worker made; its first message says that it is ready, or why not.

        Returns:
            The connection to it, and what ends the process that makes it, for one that hangs.

        Raises:
            OSError: The system has no place for another process.
        """
        near, theirs = socket.socketpair()
        with _closed_on_failure(near), theirs, self._lock:
            if self._control is None or not _sent(self._control, theirs):
                self._forget()
                self._control = self._start()
                # Taken from the line of messages once the imports are done.
                _sent(self._control, theirs)
            if not self._setup.forks:
                self._forget()
            return Channel(near), self._processes[-1].kill

    def _start(self) -> socket.socket:
        near, theirs = socket.socketpair()
        with _closed_on_failure(near), theirs:
            process = subprocess.Popen(  # noqa: S603 - this interpreter, arguments of our own
                [sys.executable, "-P", "-m", "imgapi.pictures.worker_process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment_of_worker(os.environ),
                pass_fds=(theirs.fileno(),),
                process_group=0,
            )
        # Of those before, what ended is waited for.
        self._processes = [other for other in self._processes if other.poll() is None]
        self._processes.append(process)
        with suppress(OSError):
            Channel(near).send(self._setup)
        return near

    def _forget(self) -> None:
        if self._control is not None:
            self._control.close()
        self._control = None

    def close(self, *, patience_seconds: float) -> None:
        """End the process, which may take so long about it; workers are not waited for where they were forked."""
        with self._lock:
            self._forget()
            processes, self._processes = self._processes, []
        for process in processes:
            try:
                process.wait(patience_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _closed_on_failure(near: socket.socket) -> Iterator[None]:
    try:
        yield
    except OSError:
        near.close()
        raise


def _sent(control: socket.socket, descriptor: socket.socket) -> bool:
    """Send a socket; False when nobody is there to take it."""
    try:
        socket.send_fds(control, [b"w"], [descriptor.fileno()])
    except OSError:
        return False
    return True


class Grip:
    """A process that is no child of this one, to be killed without ever hitting another that was given its number.

    Args:
        process_id: Of a process that runs.
    """

    def __init__(self, process_id: int) -> None:
        self._process_id: int | None = process_id
        self._descriptor: int | None = None
        try:
            self._descriptor = os.pidfd_open(process_id)
        except ProcessLookupError:
            self._process_id = None
        except (AttributeError, OSError):
            # Not on Linux, or one before 5.3: the number must do.
            pass

    def kill(self) -> None:
        """End the process at once; nothing happens when it is gone."""
        with suppress(ProcessLookupError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            elif self._process_id is not None:
                os.kill(self._process_id, signal.SIGKILL)

    def release(self) -> None:
        """Let go of the process."""
        descriptor, self._descriptor, self._process_id = self._descriptor, None, None
        if descriptor is not None:
            os.close(descriptor)
