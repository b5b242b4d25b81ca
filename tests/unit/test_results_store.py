"""Kept results: found by name until they expire or the folder is full."""

import asyncio
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgapi.errors import CapabilityMissing
from imgapi.results.store import ResultStore


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def read(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of the folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Let no file grow beyond 1000 bytes, which to a writer is what a full disk is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def make_store(folder: Path, clock: Clock, max_total_bytes: int = 10_000) -> ResultStore:
    """Make a store whose results live an hour."""
    return ResultStore(folder, ttl_seconds=3600, max_total_bytes=max_total_bytes, clock=clock)


async def test_what_is_put_can_be_got(tmp_path: Path) -> None:
    """A result comes back as it was under the name it got, also from a store opened later on the same folder."""
    clock = Clock()
    name = await make_store(tmp_path / "new" / "results", clock).put(b"picture", ".png")
    assert name.endswith(".png")
    assert await make_store(tmp_path / "new" / "results", clock).get(name) == b"picture"
    assert read(tmp_path / "new" / "results") == {name: b"picture"}


async def test_names_cannot_be_guessed(tmp_path: Path) -> None:
    """Equal results get names of 128 random bits that have nothing in common."""
    store = make_store(tmp_path, Clock())
    names = [await store.put(b"same", ".png") for _ in range(20)]
    assert len({name[:8] for name in names}) == 20
    assert all(len(name) == 32 + len(".png") for name in names)


@pytest.mark.parametrize(
    "name",
    ["", "..", "../secret.png", "secret.png", "a" * 32, "A" * 32 + ".png", "0" * 32 + ".png/x", "0" * 32 + ".png\n"],
)
async def test_only_names_of_the_store_are_looked_for(tmp_path: Path, name: str) -> None:
    """A name that the store doesn't make is unknown, whatever file it may lead to."""
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "store").mkdir()
    assert await make_store(tmp_path / "store", Clock()).get(name) is None


async def test_unknown_names_are_unknown(tmp_path: Path) -> None:
    """A well-formed name that was never given is unknown, before the folder exists too."""
    assert await make_store(tmp_path / "none", Clock()).get("0" * 32 + ".png") is None


async def test_a_suffix_is_plain(tmp_path: Path) -> None:
    """A suffix can't smuggle a path into the name."""
    with pytest.raises(ValueError, match="suffix"):
        await make_store(tmp_path, Clock()).put(b"x", "/../x.png")


async def test_results_expire(tmp_path: Path) -> None:
    """A result can be read for its time, not longer, and its file goes with the next result."""
    clock = Clock()
    store = make_store(tmp_path, clock)
    name = await store.put(b"picture", ".png")
    clock.now += 3600
    assert await store.get(name) == b"picture"
    clock.now += 1
    assert await store.get(name) is None
    other = await store.put(b"next", ".png")
    assert list(read(tmp_path)) == [other]


async def test_the_oldest_results_make_room(tmp_path: Path) -> None:
    """The folder stays within its size by losing the oldest results; the newest always stays."""
    clock = Clock()
    store = make_store(tmp_path, clock, max_total_bytes=1000)
    names = []
    for _ in range(20):
        clock.now += 1
        names.append(await store.put(b"x" * 100, ".png"))
        assert sum(map(len, read(tmp_path).values())) <= 1000
    assert await store.get(names[0]) is None
    assert [await store.get(name) for name in names[-5:]] == [b"x" * 100] * 5
    large = await store.put(b"y" * 5000, ".png")
    assert list(read(tmp_path)) == [large]


async def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Sweeping removes only files whose names the store makes, and temporary ones left by a killed process."""
    clock = Clock()
    (tmp_path / "notes.png").write_bytes(b"x" * 5000)
    left, busy = (tmp_path / f".{digit * 16}-{digit * 32}.part" for digit in "01")
    for path, age in ((tmp_path / "notes.png", 9e6), (left, 700), (busy, 5)):
        path.write_bytes(b"x")
        os.utime(path, (clock.now - age, clock.now - age))
    name = await make_store(tmp_path, clock, max_total_bytes=50).put(b"x" * 60, ".png")
    assert set(read(tmp_path)) == {"notes.png", busy.name, name}


async def test_simultaneous_results_are_all_kept(tmp_path: Path) -> None:
    """Results put at the same time don't disturb each other."""
    store = make_store(tmp_path, Clock())
    names = await asyncio.gather(*(store.put(bytes([number]) * 50, ".png") for number in range(40)))
    assert await asyncio.gather(*(store.get(name) for name in names)) == [bytes([n]) * 50 for n in range(40)]


async def test_a_folder_that_cannot_be_written_is_named_without_its_path(tmp_path: Path) -> None:
    """A failure to write is told in a sentence that shows no path."""
    (tmp_path / "file").write_bytes(b"not a folder")
    with pytest.raises(CapabilityMissing, match="result folder") as caught:
        await make_store(tmp_path / "file" / "store", Clock()).put(b"x", ".png")
    assert str(tmp_path) not in caught.value.message


async def test_a_full_disk_leaves_no_half_file(tmp_path: Path, full_disk: None) -> None:
    """A result that doesn't fit on the disk leaves nothing behind."""
    with pytest.raises(CapabilityMissing, match="full"):
        await make_store(tmp_path, Clock()).put(b"x" * 5000, ".png")
    assert read(tmp_path) == {}
