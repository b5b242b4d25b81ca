"""Writes a file so that it is there whole or not at all."""

import os
import re
import secrets
from pathlib import Path

# Tells this process's temporary files from those that a killed one left behind.
_PROCESS = secrets.token_hex(8)
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}-[0-9a-f]{32}\.part", re.ASCII)


def is_foreign_temporary(name: str) -> bool:
    """Tell whether a file of this name was being written by another process, perhaps one that was killed."""
    return _TEMPORARY.fullmatch(name) is not None and not name.startswith(f".{_PROCESS}-")


def write_temporary(folder: Path, content: bytes, modified: float) -> Path:
    """Write `content` under an unguessable temporary name in `folder`; nothing is left when that fails.

    Args:
        folder: Where; created if it isn't there.
        content: The bytes.
        modified: The file's time of modification, in seconds since the epoch.

    Raises:
        OSError: The disk is full or the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{_PROCESS}-{secrets.token_hex(16)}.part"
    try:
        with path.open("xb") as file:
            file.write(content)
        os.utime(path, (modified, modified))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path
