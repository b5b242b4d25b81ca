"""Kept pictures: found by name until they expire or the folder is full."""

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgapi.errors import CapabilityMissing
from imgapi.results.kept_names import make_name
from imgapi.results.store import ResultStore, expires_at

# Keeps a picture and ends, as a command of the command line does.
KEEP_AND_END = """
import asyncio, sys
from pathlib import Path
from imgapi.results.store import ResultStore

async def main():
    store = ResultStore(Path(sys.argv[1]), ttl_seconds=60)
    assert await store.get(await store.put(b"x" * 1000, ".png"))
    assert await store.sweep() == 0

asyncio.run(main())
"""
# Keeps large pictures until it is killed.
KEEP_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from imgapi.results.store import ResultStore

async def main():
    store = ResultStore(Path(sys.argv[1]), ttl_seconds=60)
    await store.put(b"x" * 30_000_000, ".png")
    print("one", flush=True)
    while True:
        await store.put(b"x" * 30_000_000, ".png")

asyncio.run(main())
"""


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


def list_names(folder: Path) -> set[str]:
    """Return the names of everything in the folder."""
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Let no file grow beyond 1000 bytes, which to a writer is what a full disk is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def make_store(
    folder: Path, clock: Clock, max_total_bytes: int | None = 10_000, max_count: int | None = None
) -> ResultStore:
    """Make a store whose pictures live an hour."""
    return ResultStore(folder, ttl_seconds=3600, max_total_bytes=max_total_bytes, max_count=max_count, clock=clock)


async def test_what_is_put_can_be_got(tmp_path: Path) -> None:
    """A picture comes back as it was under the name it got, also from a store opened later on the same folder."""
    clock = Clock()
    folder = tmp_path / "new" / "a b%20#ü"
    name = await make_store(folder, clock).put(b"picture", ".png")
    assert name.endswith(".png")
    assert await make_store(folder, clock).get(name) == b"picture"
    assert read(folder) == {name: b"picture"}


async def test_names_cannot_be_guessed(tmp_path: Path) -> None:
    """Equal pictures kept at the same time get names of 128 random bits that have nothing in common."""
    store = make_store(tmp_path, Clock())
    names = [await store.put(b"same", ".png") for _ in range(20)]
    random = [name.removesuffix(".png")[-32:] for name in names]
    assert len({digits[:8] for digits in random}) == len({digits[-8:] for digits in random}) == 20


@pytest.mark.parametrize(
    "name",
    ["", "..", "../secret.png", "secret.png", "a" * 32, "A" * 43 + ".png", "f" * 43 + ".png/x", "f" * 43 + ".png\n"],
)
async def test_only_names_of_the_store_are_looked_for(tmp_path: Path, name: str) -> None:
    """A name that the store doesn't make is unknown and nothing to delete, whatever file it may lead to."""
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "secret.png").write_bytes(b"secret")
    store = make_store(tmp_path / "store", Clock())
    assert await store.get(name) is None
    await store.delete(name)
    assert (tmp_path / "secret.png").exists()
    assert list(read(tmp_path / "store")) == ["secret.png"]


async def test_unknown_names_are_unknown(tmp_path: Path) -> None:
    """A well-formed name that was never given is unknown, before the folder exists too."""
    assert await make_store(tmp_path / "none", Clock()).get("f" * 43 + ".png") is None


async def test_a_suffix_is_plain(tmp_path: Path) -> None:
    """A suffix can't smuggle a path into the name."""
    with pytest.raises(ValueError, match="suffix"):
        await make_store(tmp_path, Clock()).put(b"x", "/../x.png")


async def test_pictures_expire(tmp_path: Path) -> None:
    """A picture can be read until the instant its name tells, not longer, and its file goes with the next sweep."""
    clock = Clock()
    store = make_store(tmp_path, clock)
    name = await store.put(b"picture", ".png")
    assert expires_at(name) == clock.now + 3600
    clock.now += 3600
    assert await store.get(name) == b"picture"
    clock.now += 0.001
    assert await store.get(name) is None
    other = await store.put(b"next", ".png")
    assert await store.sweep() == 1
    assert list(read(tmp_path)) == [other]


async def test_a_promised_expiry_holds(tmp_path: Path) -> None:
    """A picture stays for the time it was promised when the next process keeps pictures for a shorter one."""
    clock = Clock()
    name = await make_store(tmp_path, clock).put(b"picture", ".png")
    later = ResultStore(tmp_path, ttl_seconds=1, max_total_bytes=10_000, clock=clock)
    clock.now += 3000
    assert await later.sweep() == 0
    assert await later.get(name) == b"picture"


async def test_names_of_an_earlier_version_are_expired(tmp_path: Path) -> None:
    """A file whose name tells no expiry can't be read, and goes with the next sweep."""
    old = "0" * 32 + ".png"
    (tmp_path / old).write_bytes(b"old")
    store = make_store(tmp_path, Clock())
    assert await store.get(old) is None
    assert await store.sweep() == 1
    assert read(tmp_path) == {}


async def test_what_is_deleted_is_gone(tmp_path: Path) -> None:
    """A deleted picture can't be read, its file is gone, and deleting it again is no error."""
    store = make_store(tmp_path, Clock())
    name, other = [await store.put(b"picture", ".png") for _ in range(2)]
    await store.delete(name)
    await store.delete(name)
    assert await store.get(name) is None
    assert list(read(tmp_path)) == [other]


async def test_a_sweep_is_bounded(tmp_path: Path) -> None:
    """One sweep deletes no more than it is told, the longest expired first; the next goes on."""
    clock = Clock()
    store = make_store(tmp_path, clock)
    names: list[str] = []
    for _ in range(5):
        clock.now += 1
        names.append(await store.put(b"x", ".png"))
    clock.now += 9000
    assert await store.sweep(max_deleted=3) == 3
    assert set(read(tmp_path)) == set(names[3:])
    assert await store.sweep(max_deleted=3) == 2
    assert await store.sweep(max_deleted=3) == 0


async def test_the_oldest_pictures_make_room(tmp_path: Path) -> None:
    """The folder stays within its size by losing the oldest pictures; the newest always stays."""
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
    await store.sweep()
    assert list(read(tmp_path)) == [large]


async def test_the_number_of_pictures_is_bounded(tmp_path: Path) -> None:
    """Pictures too small to fill the folder go when there are too many of them, those of an earlier process as well."""
    clock = Clock()
    for _ in range(3):
        store = make_store(tmp_path, clock, max_total_bytes=None, max_count=10)
        for _ in range(7):
            clock.now += 1
            newest = await store.put(b"x", ".png")
            assert len(read(tmp_path)) <= 10
    assert await store.get(newest) == b"x"
    assert len(read(tmp_path)) > 5


async def test_another_process_counts(tmp_path: Path) -> None:
    """What another process has put into the folder is found by the next sweep."""
    clock = Clock()
    ours, theirs = (make_store(tmp_path, clock, max_total_bytes=1000) for _ in range(2))
    await ours.put(b"x" * 100, ".png")
    clock.now += 1
    for number in range(9):
        (tmp_path / make_name(clock.now + 3000 + number, ".png")).write_bytes(b"x" * 200)
    await ours.sweep()
    assert sum(map(len, read(tmp_path).values())) <= 1000
    assert await theirs.sweep() == 0


async def test_without_bounds_nothing_living_goes(tmp_path: Path) -> None:
    """A store without bounds keeps everything until it expires."""
    clock = Clock()
    store = make_store(tmp_path, clock, max_total_bytes=None)
    names = [await store.put(b"x" * 9000, ".png") for _ in range(12)]
    assert await store.sweep() == 0
    assert len(read(tmp_path)) == len(names)


async def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Sweeping removes only files whose names the store makes, and beginnings left by a killed process."""
    clock = Clock()
    kept, expired = (make_name(clock.now + seconds, ".png") for seconds in (60, -60))
    left, busy, foreign = (f"{kept}#1", f"{kept}#2", "notes.png#1")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / expired).write_bytes(b"x")
    for name, age in (("notes.png", 9e6), (left, 700), (busy, 5), (foreign, 700), (expired, 70)):
        (tmp_path / name).write_bytes(b"x" * 500)
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    assert await make_store(tmp_path, clock, max_total_bytes=50).sweep() == 1
    assert (tmp_path / "folder" / expired).exists()
    assert list_names(tmp_path) == {"folder", "notes.png", busy, foreign}


async def test_simultaneous_pictures_are_all_kept(tmp_path: Path) -> None:
    """Pictures put at the same time don't disturb each other."""
    store = make_store(tmp_path, Clock())
    names = await asyncio.gather(*(store.put(bytes([number]) * 50, ".png") for number in range(40)))
    assert await asyncio.gather(*(store.get(name) for name in names)) == [bytes([n]) * 50 for n in range(40)]


async def test_a_crowd_stays_within_the_bounds(tmp_path: Path) -> None:
    """Pictures put at the same time make room for each other as those one after the other do."""
    store = make_store(tmp_path, Clock(), max_total_bytes=1000)
    await asyncio.gather(*(store.put(b"x" * 100, ".png") for _ in range(60)))
    assert 0 < sum(map(len, read(tmp_path).values())) <= 1000


async def test_a_folder_that_cannot_be_used_is_named_without_its_path(tmp_path: Path) -> None:
    """A failure of the folder is told in a sentence that shows no path; the log learns what happened."""
    (tmp_path / "file").write_bytes(b"not a folder")
    store = make_store(tmp_path / "file" / "store", Clock())
    for work in (store.put(b"x", ".png"), store.get("f" * 43 + ".png"), store.delete("f" * 43 + ".png"), store.sweep()):
        with pytest.raises(CapabilityMissing, match="result folder") as caught:
            await work
        assert str(tmp_path) not in caught.value.message + str(caught.value.detail)
        assert caught.value.detail


async def test_a_full_disk_leaves_no_half_file(tmp_path: Path, full_disk: None) -> None:
    """A picture that doesn't fit on the disk leaves nothing behind."""
    with pytest.raises(CapabilityMissing, match="full") as caught:
        await make_store(tmp_path, Clock()).put(b"x" * 5000, ".png")
    assert "os error" in str(caught.value.detail)
    assert read(tmp_path) == {}


async def test_a_closed_store_takes_no_more(tmp_path: Path) -> None:
    """After its end a store begins nothing."""
    store = make_store(tmp_path, Clock())
    await store.put(b"x", ".png")
    await store.aclose()
    with pytest.raises(RuntimeError):
        await store.put(b"x", ".png")


def test_a_killed_process_leaves_no_half_picture(tmp_path: Path) -> None:
    """What has a name is whole when the process that wrote it was killed; what has none is cleared away in time."""
    process = subprocess.Popen([sys.executable, "-c", KEEP_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        process.kill()
    sizes = [path.stat().st_size for path in tmp_path.iterdir() if "#" not in path.name]
    assert sizes
    assert set(sizes) == {30_000_000}
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    assert asyncio.run(ResultStore(tmp_path, ttl_seconds=60).sweep()) == 0
    assert len(list(tmp_path.iterdir())) == len(sizes)


@pytest.mark.parametrize("attempt", range(3))
def test_a_process_ends_well_right_after_keeping(tmp_path: Path, attempt: int) -> None:
    """A process that ends as soon as a picture is kept ends with status 0."""
    assert subprocess.run([sys.executable, "-c", KEEP_AND_END, str(tmp_path)], check=False).returncode == 0
