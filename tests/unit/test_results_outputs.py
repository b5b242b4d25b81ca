"""Converted pictures in the output folder: named after uploads, never mixed, never half there."""

import asyncio
import os
import resource
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from imgapi.errors import CapabilityMissing
from imgapi.results.outputs import OutputFolder


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def make_folder(folder: Path, clock: Clock | None = None, max_total_bytes: int = 1_000_000) -> OutputFolder:
    """Make an output folder whose files live a day."""
    return OutputFolder(folder, max_age_seconds=86_400, max_total_bytes=max_total_bytes, clock=clock or time.time)


def read(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of the folder by name, in order of the names."""
    return {path.name: path.read_bytes() if path.is_file() else b"" for path in sorted(folder.iterdir())}


async def save(
    output: OutputFolder, name: str, *frames: bytes, overwrite: bool = False, split: bool = False
) -> list[str]:
    """Save frames and return the names of their files."""
    paths = await output.save(name, frames, overwrite=overwrite, split=split)
    return [Path(path).name for path in paths]


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Let no file grow beyond 1000 bytes, which to a writer is what a full disk is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_picture_is_named_after_its_upload(tmp_path: Path) -> None:
    """photo.jpg becomes photo.png in the folder, which is created, and the path that is told leads there."""
    folder = tmp_path / "new" / "out"
    paths = await make_folder(folder).save("../photo.jpg", [b"one"], overwrite=False, split=False)
    assert paths == [str(folder / "photo.png")]
    assert read(folder) == {"photo.png": b"one"}


async def test_an_existing_file_is_left_untouched(tmp_path: Path) -> None:
    """Without overwrite the same name gets -1, -2, … and the files before keep their content."""
    output = make_folder(tmp_path)
    names = [(await save(output, "photo.jpg", b"%d" % number))[0] for number in range(12)]
    assert names == ["photo.png", *(f"photo-{number}.png" for number in range(1, 12))]
    assert [(tmp_path / name).read_bytes() for name in names] == [b"%d" % number for number in range(12)]


async def test_overwrite_replaces_the_file(tmp_path: Path) -> None:
    """With overwrite the file of that name is replaced, and made where there is none."""
    output = make_folder(tmp_path)
    assert await save(output, "photo.jpg", b"old", overwrite=True) == ["photo.png"]
    assert await save(output, "photo.gif", b"new", overwrite=True) == ["photo.png"]
    assert read(tmp_path) == {"photo.png": b"new"}


async def test_frames_are_numbered(tmp_path: Path) -> None:
    """The frames of an animation are numbered from 000 under one stem, a single one too."""
    output = make_folder(tmp_path)
    assert await save(output, "a.gif", b"0", b"1", b"2", split=True) == ["a_000.png", "a_001.png", "a_002.png"]
    assert await save(output, "b.gif", b"0", split=True) == ["b_000.png"]
    with pytest.raises(ValueError, match="split"):
        await save(output, "c.gif", b"0", b"1")


async def test_a_collision_moves_the_whole_set(tmp_path: Path) -> None:
    """When one of the numbered names is taken, all frames go under the next stem, and nothing half-made stays."""
    (tmp_path / "a_001.png").write_bytes(b"other")
    output = make_folder(tmp_path)
    assert await save(output, "a.gif", b"0", b"1", split=True) == ["a-1_000.png", "a-1_001.png"]
    assert await save(output, "a.gif", b"2", b"3", split=True) == ["a-2_000.png", "a-2_001.png"]
    assert list(read(tmp_path)) == ["a-1_000.png", "a-1_001.png", "a-2_000.png", "a-2_001.png", "a_001.png"]
    assert (tmp_path / "a_001.png").read_bytes() == b"other"


async def test_simultaneous_animations_of_one_name_never_mix(tmp_path: Path) -> None:
    """Twenty uploads of one name at once give twenty whole sets."""
    output = make_folder(tmp_path)
    sets = await asyncio.gather(
        *(
            output.save("a.gif", [b"%d-%d" % (upload, frame) for frame in range(5)], overwrite=False, split=True)
            for upload in range(20)
        )
    )
    assert len({path for paths in sets for path in paths}) == 100
    written = read(tmp_path)
    for upload, paths in enumerate(sets):
        assert [written[Path(path).name] for path in paths] == [b"%d-%d" % (upload, frame) for frame in range(5)]
        assert len({Path(path).name.rpartition("_")[0] for path in paths}) == 1


async def test_a_file_system_without_links_will_do(tmp_path: Path) -> None:
    """Where no file can have two names, pictures get theirs all the same, and none of another."""

    def refuse(_source: Path, _target: Path) -> None:
        raise PermissionError(1, "no links here")

    output = OutputFolder(tmp_path, max_age_seconds=86_400, max_total_bytes=1_000_000, clock=Clock(), link=refuse)
    sets = await asyncio.gather(
        *(output.save("a.gif", [b"%d" % upload] * 3, overwrite=False, split=True) for upload in range(5))
    )
    written = read(tmp_path)
    assert {written[Path(path).name] for path in sets[2]} == {b"2"}
    assert len(written) == 15
    assert (tmp_path / "a_000.png").stat().st_mtime == Clock().now


async def test_a_free_name_is_taken_though_later_ones_are_not(tmp_path: Path) -> None:
    """The plain name is given again once it is free; numbers go on from the last one."""
    output = make_folder(tmp_path)
    for expected in ("photo.png", "photo-1.png", "photo-2.png"):
        assert await save(output, "photo.jpg", b"x") == [expected]
    (tmp_path / "photo.png").unlink()
    (tmp_path / "photo-3.png").write_bytes(b"other")
    assert await save(output, "photo.jpg", b"x") == ["photo.png"]
    assert await save(output, "photo.jpg", b"x") == ["photo-4.png"]


async def test_simultaneous_overwrites_never_mix(tmp_path: Path) -> None:
    """When several uploads replace one set at once, what is left is one of them, whole."""
    output = make_folder(tmp_path)
    await asyncio.gather(
        *(output.save("a.gif", [b"%d" % upload] * 8, overwrite=True, split=True) for upload in range(20))
    )
    contents = list(read(tmp_path).values())
    assert len(contents) == 8
    assert all(one == other for one, other in pairwise(contents))


async def test_a_full_disk_leaves_no_half_set_and_loses_nothing(tmp_path: Path, full_disk: None) -> None:
    """When a frame doesn't fit on the disk, no frame of the call is there and what was there still is."""
    output = make_folder(tmp_path)
    await output.save("a.gif", [b"old", b"old"], overwrite=False, split=True)
    for overwrite in (True, False):
        with pytest.raises(CapabilityMissing, match="full") as caught:
            await output.save("a.gif", [b"new", b"x" * 5000], overwrite=overwrite, split=True)
        assert str(tmp_path) not in caught.value.message
    assert read(tmp_path) == {"a_000.png": b"old", "a_001.png": b"old"}


async def test_a_folder_in_the_way_is_left(tmp_path: Path) -> None:
    """A directory that has the name of the output is neither replaced nor written into."""
    (tmp_path / "photo.png").mkdir()
    output = make_folder(tmp_path)
    assert await save(output, "photo.jpg", b"x") == ["photo-1.png"]
    with pytest.raises(CapabilityMissing):
        await save(output, "photo.jpg", b"x", overwrite=True)
    assert list(read(tmp_path)) == ["photo-1.png", "photo.png"]


async def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    """A symbolic link of the output's name doesn't lead the writing out of the folder."""
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("photo.png", "dangling.png"):
        (folder / name).symlink_to(target if name == "photo.png" else tmp_path / "nowhere")
    output = make_folder(folder)
    assert await save(output, "photo.jpg", b"x") == ["photo-1.png"]
    assert await save(output, "dangling.jpg", b"x") == ["dangling-1.png"]
    assert await save(output, "photo.jpg", b"x", overwrite=True) == ["photo.png"]
    assert target.read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


async def test_old_files_go(tmp_path: Path) -> None:
    """Files beyond the age are removed by a later call; other files are not imgapi's to remove."""
    clock = Clock()
    output = make_folder(tmp_path, clock)
    (tmp_path / "notes.txt").write_bytes(b"keep")
    os.utime(tmp_path / "notes.txt", (0, 0))
    await save(output, "old.jpg", b"x")
    clock.now += 86_401
    await save(output, "new.jpg", b"x")
    assert set(read(tmp_path)) == {"notes.txt", "new.png"}


async def test_the_size_is_bounded_oldest_first(tmp_path: Path) -> None:
    """The folder stays within its size by losing the oldest files, never those of the call itself."""
    clock = Clock()
    output = make_folder(tmp_path, clock, max_total_bytes=1000)
    for number in range(20):
        clock.now += 1
        await save(output, f"p{number:02d}.jpg", b"x" * 100)
        assert sum(map(len, read(tmp_path).values())) <= 1000
    assert set(read(tmp_path)) >= {f"p{number}.png" for number in range(12, 20)}
    clock.now += 1
    own = await save(output, "large.gif", b"y" * 700, b"y" * 700, split=True)
    assert list(read(tmp_path)) == own
