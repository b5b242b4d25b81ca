"""What a sweep of the output folder may remove."""

import os
from pathlib import Path

from imgapi.results.outputs import OutputFolder


def names(folder: Path) -> set[str]:
    """Return the names of everything in the folder."""
    return {path.name for path in folder.iterdir()}


async def test_only_its_own_and_forgotten_files_are_removed(tmp_path: Path) -> None:
    """Sweeping removes pictures that are too old and beginnings left by a killed process, and nothing else."""
    now = 1_800_000_000.0
    left, busy = (f".{digit * 16}-{digit * 32}.part" for digit in "01")
    for name, age_seconds in (("notes.txt", 9e6), ("old.png", 9e6), (left, 700), (busy, 5)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (now - age_seconds, now - age_seconds))
    folder = OutputFolder(tmp_path, max_age_seconds=3600, max_total_bytes=1000, clock=lambda: now)
    [path] = await folder.save("new.jpg", [b"picture"], overwrite=False, split=False)
    assert names(tmp_path) == {"notes.txt", busy, Path(path).name}
