"""What worker processes are kept busy with in tests; imports little, so that a replaced worker is soon there."""

import time
from pathlib import Path


def sleep_over(content: bytes, seconds: float) -> int:
    """Take a while over a picture; return its bytes."""
    time.sleep(seconds)
    return len(content)


def note_arrival(content: bytes, path: str) -> None:
    """Write the first letter of some bytes down; for worker processes, which can't tell a test otherwise."""
    with Path(path).open("ab") as written:
        written.write(content[:1])
