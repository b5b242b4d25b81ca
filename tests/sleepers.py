"""What worker processes are kept busy with in tests; imports little, so that a replaced worker is soon there."""

import os
import time
from pathlib import Path

_KEPT: list[bytes] = []


def sleep_over(content: bytes, seconds: float) -> int:
    """Take a while over a picture; return its bytes."""
    time.sleep(seconds)
    return len(content)


def note_arrival(content: bytes, path: str) -> None:
    """Write the first letter of some bytes down; for worker processes, which can't tell a test otherwise."""
    with Path(path).open("ab") as written:
        written.write(content[:1])


def nap_and_tell_parent(seconds: float) -> int:
    """Stay long enough that another worker takes the next call; return the id of the process it was forked from."""
    time.sleep(seconds)
    return os.getppid()


def take_and_drop(mebibytes: int) -> float:
    """Take memory in pieces that the allocator keeps when they are dropped; return what this process has then."""
    pieces = [b"x" * 1024 * 1024 for _ in range(mebibytes)]
    # Kept at the end of the heap, it hinders the heap from shrinking by itself.
    _KEPT.append(pieces.pop())
    del pieces
    return resident_mebibytes()


def resident_mebibytes() -> float:
    """Return how much memory this process has."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the system does not say")
