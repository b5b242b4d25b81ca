"""What runs in a worker process: functions sent over a socket, one at a time, within a memory limit.

Started as `python -m imgapi.pictures.worker_process <descriptor>`: a process of its own making rather than one of
`multiprocessing`, since that would import the parent's main module (the whole service) into every worker. It imports
what workers need, once, and forks a worker for each socket it is sent; what was imported they share.
"""

import gc
import importlib
import io
import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgapi.pictures.memory import give_free_memory_back

_LENGTH_BYTES = 8
_APART_BYTES = 16 * 1024
_DROPPED_BYTES = 1024 * 1024
_KEPT_BYTES = str(32 * 1024 * 1024)
# A worker keeps so much freed memory for its next picture, by glibc and by Pillow (in blocks of 16 MiB): to get it from
# the system page by page takes a quarter of the time of a picture (bench/results.md). Other systems don't read these.
_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": _KEPT_BYTES,
    "MALLOC_TRIM_THRESHOLD_": _KEPT_BYTES,
    "PILLOW_BLOCKS_MAX": "1",
}
# What a worker is told of the service's environment: neither keys nor addresses, which a picture that takes one over
# would find there.
_TOLD = frozenset({"DYLD_LIBRARY_PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "TMPDIR", "TZ"})
_TOLD_BEGINNINGS = ("COVERAGE_", "FONTCONFIG_", "LC_", "MALLOC_", "PILLOW_", "PYTHON", "XDG_")
# Whoever answers callers goes first: refusals and health checks take little, and pictures take what is left.
_NICENESS = 5
# One worker is one core; libraries that would start threads of their own read these when they are imported.
_ONE_THREAD = (
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
    "RAYON_NUM_THREADS",
)


def environment_of_worker(environment: Mapping[str, str]) -> dict[str, str]:
    """Tell what of the service's environment its workers are started with."""
    told = {name: value for name, value in environment.items() if name in _TOLD or name.startswith(_TOLD_BEGINNINGS)}
    return {**_KEEP_MEMORY, **told}


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a process that makes workers.

    Attributes:
        search_path: The parent's `sys.path`, so that the same functions can be imported.
        modules: Modules to import before the first job.
        max_memory_bytes: Address space a worker may take beyond what its imports did.
        forks: Whether it forks workers, any number; otherwise it becomes the only one.
        idle_seconds: After so long without a call a worker gives the memory that it keeps for the next one back.
    """

    search_path: tuple[str, ...]
    modules: tuple[str, ...]
    max_memory_bytes: int
    forks: bool
    idle_seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """One call: a module-level function and its arguments."""

    function: Callable[..., Any]
    arguments: Sequence[Any]
    keywords: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call gave: its value, or the exception it raised."""

    value: Any = None
    error: BaseException | None = None


class Channel:
    """One end of a connection between the service and a worker; carries any object that pickles.

    In place of `multiprocessing.Connection`, which allocates a buffer for all that is left of a message each time the
    socket's own buffer was emptied: 14 times slower for a picture of 2 MB (bench/utilities.py). A message is the number
    of its parts and the length of each, 8 bytes little-endian, then a pickle, then the pictures in it as they are.

    Args:
        connected: The socket, which this owns from now on.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def send(self, message: object) -> None:
        """Send an object; nothing is sent of one that can't be pickled. OSError when the other end is gone."""
        pickled = io.BytesIO()
        pickler = _Pickler(pickled)
        pickler.dump(message)
        parts: tuple[bytes | memoryview, ...] = (pickled.getbuffer(), *pickler.apart)
        lengths = (len(parts), *map(len, parts))
        self._socket.sendall(struct.pack(f"<{len(lengths)}Q", *lengths))
        for part in parts:
            self._socket.sendall(part)

    def receive(self) -> Any:
        """Wait for an object; EOFError or ConnectionError when the other end is gone."""
        (count,) = struct.unpack("<Q", self._read(_LENGTH_BYTES))
        pickled, *apart = (
            self._read(length) for length in struct.unpack(f"<{count}Q", self._read(count * _LENGTH_BYTES))
        )
        return _Unpickler(pickled, apart).load()

    def poll(self, timeout_seconds: float) -> bool:
        """Wait until there is something to receive, or the other end is gone; False when the time is over."""
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        return bool(poller.poll(timeout_seconds * 1000))

    def has_ended(self) -> bool:
        """Whether the other end is gone, and nothing that it sent is left."""
        try:
            return self.poll(0) and not self._socket.recv(1, socket.MSG_PEEK)
        except ConnectionError:
            return True

    def end(self) -> None:
        """Tell the other end that nothing more comes."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def wait_until_ended(self, timeout_seconds: float) -> bool:
        """Wait until the other end is gone, and drop what it still sends; False when the time is over."""
        deadline = time.monotonic() + timeout_seconds
        try:
            while self.poll(max(0.0, deadline - time.monotonic())):
                if not self._socket.recv(_DROPPED_BYTES):
                    return True
        except ConnectionError:
            return True
        return False

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _read(self, count: int) -> bytes:
        # Mostly one call, straight into what is given back.
        pieces = []
        while count:
            piece = self._socket.recv(count, socket.MSG_WAITALL)
            if not piece:
                raise EOFError
            pieces.append(piece)
            count -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class _Pickler(pickle.Pickler):
    """Leaves pictures out of the pickle, in `apart`: they go through the socket from where they lie."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.apart: list[bytes] = []

    def persistent_id(self, obj: object) -> int | None:
        if type(obj) is not bytes or len(obj) < _APART_BYTES:
            return None
        self.apart.append(obj)
        return len(self.apart) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, pickled: bytes, apart: Sequence[bytes]) -> None:
        super().__init__(io.BytesIO(pickled))
        self._apart = apart

    def persistent_load(self, pid: int) -> bytes:
        return self._apart[pid]


def make_workers(control: socket.socket) -> None:
    """Become a worker, or fork one for each socket that comes, until the other end closes.

    The first message is the Setup. A worker's first message is an Outcome: its process id, or what kept the setup from
    being done.
    """
    # Ctrl-C in a terminal reaches the whole group; the parent decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(control)
    with suppress(EOFError, ConnectionError):
        setup: Setup = channel.receive()
        failed = call(Job(_set_up, (setup,), {})).error
        while (descriptor := _receive_descriptor(control)) is not None:
            connected = socket.socket(fileno=descriptor)
            if setup.forks and not _fork():
                connected.close()
                continue
            channel.close()
            worker = Channel(connected)
            worker.send(Outcome(os.getpid(), failed))
            serve(worker, setup.idle_seconds)
            return
        if setup.forks:
            _end_workers()


def _end_workers() -> None:
    """End the workers that are left, busy ones too: they are this process's group, and nobody limits their time now."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)


def _receive_descriptor(control: socket.socket) -> int | None:
    _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    return descriptors[0] if descriptors else None


def _fork() -> bool:
    """Fork; True in the child. False in the parent too when the system has no place for another process."""
    # The system forgets children that ended: whoever has the other end of their socket sees it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        is_child = os.fork() == 0
    except OSError:
        return False
    if is_child:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return is_child


def serve(connection: Channel, idle_seconds: float) -> None:
    """Run each Job that comes until the other end closes."""
    with suppress(EOFError, ConnectionError):
        while True:
            if not connection.poll(idle_seconds):
                _give_memory_back()
            _answer(connection, call(connection.receive()))


def _give_memory_back() -> None:
    """Give what the last pictures took back to the system, since no other came for a while."""
    if (pillow := sys.modules.get("PIL.Image")) is not None:
        pillow.core.clear_cache()
    give_free_memory_back()


def _answer(connection: Channel, outcome: Outcome) -> None:
    try:
        connection.send(outcome)
    except (pickle.PicklingError, TypeError, AttributeError) as exc:
        connection.send(Outcome(error=TypeError(f"the result of the call can't be sent back: {exc}")))


def _set_up(setup: Setup) -> None:
    os.nice(_NICENESS)
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    sys.path[:] = setup.search_path
    for module in setup.modules:
        importlib.import_module(module)
    gc.collect()
    # What is there now stays, and is looked at by no worker's collector: a page that is written is shared no more.
    gc.freeze()
    limit = address_space_bytes() + setup.max_memory_bytes
    # Not every system can limit address space; the time limit holds on all.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def address_space_bytes() -> int:
    """Tell how much this process has taken; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return 0


def call(job: Job) -> Outcome:
    """Run a job; whatever it raises becomes an Outcome that survives the way back, its traceback added as a note."""
    try:
        return Outcome(job.function(*job.arguments, **job.keywords))
    except Exception as exc:  # noqa: BLE001 - the border between two processes: all of it goes back to who waits
        exc.add_note("in the worker process:\n" + traceback.format_exc())
        return Outcome(error=exc if _survives(exc) else RuntimeError(f"{type(exc).__name__}: {exc}"))


def _survives(error: BaseException) -> bool:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - what was dumped right here
    # An exception class may raise anything in its constructor.
    except Exception:  # noqa: BLE001 - see above
        return False
    return True


def main() -> None:
    """Make workers for the inherited socket whose descriptor is the only argument."""
    make_workers(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    # Under its own name, so that the classes in messages are the parent's.
    from imgapi.pictures.worker_process import main as serve_as_module

    serve_as_module()
