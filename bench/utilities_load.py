"""Sends requests to a server, and reads what its processes cost from `/proc`."""

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_TIMEOUT_SECONDS = 120
_SAMPLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Ask:
    """One HTTP request, and how the picture comes out of its answer."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    read: Callable[[bytes], bytes]


@dataclass(slots=True)
class Load:
    """What some requests cost.

    Attributes:
        count: Requests answered.
        seconds: Wall clock for all.
        cpu_seconds: User and system time of the server's whole process tree.
        latencies: Seconds of each request.
        peak_bytes: Most proportional set size of the tree, when it was watched.
    """

    count: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds per request."""
        return 1000 * self.cpu_seconds / self.count

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.count / self.seconds

    @property
    def cores(self) -> float:
        """Cores that the server kept busy."""
        return self.cpu_seconds / self.seconds


def tree(process_id: int) -> list[int]:
    """List a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))

    def walk(parent: int) -> Iterator[int]:
        yield parent
        for child in children.get(parent, ()):
            yield from walk(child)

    return list(walk(process_id))


def _stat(process_id: int) -> list[str]:
    # What follows the command's name, which may hold blanks: state, parent, ...
    return (_PROC / str(process_id) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def cpu_seconds(process_id: int) -> float:
    """Sum user and system time of a process tree, of its ended children too."""
    total = 0
    for member in tree(process_id):
        with suppress(OSError):
            total += sum(int(value) for value in _stat(member)[11:15])
    return total / _TICKS


def resident_bytes(process_ids: list[int]) -> int:
    """Sum the proportional set sizes of processes: pages that several share are counted once."""
    total = 0
    for process_id in process_ids:
        with suppress(OSError):
            for line in (_PROC / str(process_id) / "smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


class Client:
    """One kept-alive connection to a server on the loopback."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)

    def send(self, ask: Ask) -> bytes:
        """Send a request and read its whole answer; RuntimeError when the status is not 200."""
        self._connection.request(ask.method, ask.path, ask.body or None, ask.headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            message = f"{ask.method} {ask.path}: {answer.status} {content[:300]!r}"
            raise RuntimeError(message)
        return content

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def run_load(process_id: int, port: int, ask: Ask, *, clients: int, seconds: float, watch_memory: bool = False) -> Load:
    """Send one request after the other from each of so many clients for that long, and measure the server."""
    load, lock, failures = Load(), threading.Lock(), list[BaseException]()
    begun, cpu_before = time.perf_counter(), cpu_seconds(process_id)

    def work() -> None:
        client = Client(port)
        try:
            while time.perf_counter() - begun < seconds and not failures:
                sent = time.perf_counter()
                client.send(ask)
                with lock:
                    load.count += 1
                    load.latencies.append(time.perf_counter() - sent)
        except (OSError, RuntimeError, http.client.HTTPException) as exc:
            failures.append(exc)
        finally:
            client.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    members = tree(process_id)
    while watch_memory and any(thread.is_alive() for thread in threads):
        load.peak_bytes = max(load.peak_bytes, resident_bytes(members))
        time.sleep(_SAMPLE_SECONDS)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    load.seconds = time.perf_counter() - begun
    load.cpu_seconds = cpu_seconds(process_id) - cpu_before
    return load
