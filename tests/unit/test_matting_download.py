"""Model files: downloaded once, resumed, checked, and had by hand where there is no network."""

import asyncio
import fcntl
import hashlib
import os
import random
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import FastClock
from imgapi.matting.download import ModelUnavailable
from imgapi.matting.model_files import FileState, ModelFiles
from imgapi.matting.models import U2NET, KnownModel
from servers import free_socket, serving

CONTENT = random.Random(4).randbytes(3_500_000)  # noqa: S311 - a file that is not all the same
TAG = '"v1"'


class Shop:
    """A server of one file, which can fail in the ways servers do."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.tag = TAG
        self.status = 200
        self.knows_ranges = True
        self.cut_after: list[int] = []
        self.ranges: list[str | None] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer a request; break it off after as many bytes as the next entry of `cut_after` says."""
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        wanted = headers.get("range")
        self.ranges.append(wanted)
        start, status = 0, self.status
        if wanted and self.knows_ranges and headers.get("if-range") == self.tag:
            start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
        if start >= len(self.content):
            status = 416
        body = self.content[start:] if status < 400 else b""
        named = [(b"content-length", str(len(body)).encode()), (b"etag", self.tag.encode())]
        if status == 206:
            named.append((b"content-range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}".encode()))
        await send({"type": "http.response.start", "status": status, "headers": named})
        if self.cut_after:
            await send({"type": "http.response.body", "body": body[: self.cut_after.pop(0)], "more_body": True})
            # uvicorn closes a connection whose application ends before its body does.
            return
        await send({"type": "http.response.body", "body": body})


class Scene:
    """A model at a shop, and a folder for it."""

    def __init__(self, shop: Shop, address: str, folder: Path) -> None:
        self.shop = shop
        digest = hashlib.sha256(CONTENT).hexdigest()
        self.model = KnownModel("tiny", f"{address}/tiny.onnx", digest, len(CONTENT), U2NET, "none")
        self.files = ModelFiles(folder, client=self._client, clock=FastClock(1000.0))
        self.path = folder / "tiny.onnx"
        self.part = folder / "tiny.onnx.part"
        self.reports: list[tuple[int, int]] = []

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(trust_env=False, follow_redirects=True, timeout=5)

    async def obtain(self) -> Path:
        """Have the file."""
        return await self.files.obtain(self.model, lambda done, total: self.reports.append((done, total)))

    async def fail(self) -> str:
        """Fail to have the file; return the sentence, which always tells how to have it by hand."""
        with pytest.raises(ModelUnavailable) as caught:
            await self.obtain()
        sentence = str(caught.value)
        for word in (self.model.url, self.model.sha256, str(self.path)):
            assert word in sentence
        return sentence

    def leave_part(self, content: bytes, validator: str = TAG) -> None:
        """Leave what a killed download leaves."""
        self.part.parent.mkdir(exist_ok=True)
        self.part.write_bytes(content)
        self.part.with_name("tiny.onnx.part.validator").write_text(validator)

    def names(self) -> list[str]:
        """What is in the folder, locks apart."""
        return sorted(each.name for each in self.files.folder.iterdir() if not each.name.startswith("."))


@pytest.fixture(scope="module")
def counter() -> Iterator[tuple[Shop, str]]:
    """One server for all tests here."""
    shop = Shop()
    with serving(shop, free_socket()) as address:
        yield shop, address


@pytest.fixture
def scene(counter: tuple[Shop, str], tmp_path: Path) -> Scene:
    """A shop in order, and a folder that is not there yet."""
    shop, address = counter
    vars(shop).update(vars(Shop()))
    return Scene(shop, address, tmp_path / "models")


async def test_first_use_downloads_and_later_ones_do_not(scene: Scene) -> None:
    """The file is downloaded once, reported on the way, and afterwards neither asked for nor read again."""
    assert await scene.obtain() == scene.path
    assert scene.path.read_bytes() == CONTENT
    assert scene.names() == ["tiny.onnx", "tiny.onnx.verified"]
    assert scene.reports[-1] == (len(CONTENT), len(CONTENT))
    # Same size and time, other bytes: only reading the file would tell.
    status = scene.path.stat()
    scene.path.write_bytes(bytes(len(CONTENT)))
    os.utime(scene.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert await scene.obtain() == scene.path
    assert scene.shop.ranges == [None]


async def test_cut_download_goes_on_where_it_was(scene: Scene) -> None:
    """After a cut the next try asks for the rest only, under the condition that the file is still the same."""
    scene.shop.cut_after = [1_500_000, 1_000_000]
    await scene.obtain()
    assert scene.path.read_bytes() == CONTENT
    assert scene.shop.ranges == [None, "bytes=1500000-", "bytes=2500000-"]


async def test_part_of_an_earlier_run_is_gone_on_with(scene: Scene) -> None:
    """What a process that was killed left behind is kept."""
    scene.leave_part(CONTENT[:2_000_000])
    await scene.obtain()
    assert scene.path.read_bytes() == CONTENT
    assert scene.shop.ranges == ["bytes=2000000-"]


@pytest.mark.parametrize("change", ["file", "server"])
async def test_whole_answer_to_a_range_starts_over(change: str, scene: Scene) -> None:
    """A 200 in place of a 206, for the file has changed or the server knows no ranges, replaces what was there."""
    scene.leave_part(b"x" * 2_000_000, '"v0"' if change == "file" else TAG)
    scene.shop.knows_ranges = change == "file"
    await scene.obtain()
    assert scene.path.read_bytes() == CONTENT
    assert scene.shop.ranges == ["bytes=2000000-"]


async def test_part_beyond_the_servers_end_starts_over(scene: Scene) -> None:
    """A 416 drops the part; the next request asks for everything."""
    scene.shop.content = CONTENT[:1_000_000]
    scene.leave_part(CONTENT[:2_000_000])
    assert "416" in await scene.fail() or scene.shop.ranges[1] is None
    assert scene.shop.ranges[:2] == ["bytes=2000000-", None]


async def test_part_without_a_validator_starts_over(scene: Scene) -> None:
    """What can't be tied to a version of the file is not gone on with."""
    scene.leave_part(b"x" * 2_000_000, "")
    await scene.obtain()
    assert scene.shop.ranges == [None]


async def test_wrong_checksum_deletes_what_came(scene: Scene) -> None:
    """Another file of the same size is refused, deleted, and told with both checksums."""
    scene.shop.content = bytes(len(CONTENT))
    sentence = await scene.fail()
    assert hashlib.sha256(scene.shop.content).hexdigest() in sentence
    assert scene.names() == []


async def test_larger_file_is_refused_on_the_way(scene: Scene) -> None:
    """No more bytes are taken than the file has."""
    scene.shop.content = CONTENT + b"x"
    assert "larger" in await scene.fail()
    assert scene.names() == []


async def test_damaged_file_is_replaced(scene: Scene) -> None:
    """A file whose checksum is wrong is not used but downloaded again."""
    scene.files.folder.mkdir()
    scene.path.write_bytes(CONTENT[:-1] + b"x")
    assert scene.files.look(scene.model) is FileState.WRONG
    await scene.obtain()
    assert scene.path.read_bytes() == CONTENT


async def test_changed_file_is_checked_again(scene: Scene) -> None:
    """A check is good for the size and time it was made at."""
    await scene.obtain()
    scene.path.write_bytes(bytes(len(CONTENT)))
    os.utime(scene.path, (1, 1))
    assert scene.files.look(scene.model) is FileState.WRONG


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (503, 4)])
async def test_refusing_server_is_named(status: int, asked: int, scene: Scene) -> None:
    """A refusal ends the download at once, a passing fault after four tries; the status is told."""
    scene.shop.status = status
    assert str(status) in await scene.fail()
    assert len(scene.shop.ranges) == asked


async def test_no_network_says_how_by_hand(scene: Scene) -> None:
    """Where nothing answers, the sentence has URL, path and checksum."""
    with free_socket() as nobody:
        port = nobody.getsockname()[1]
    scene.model = replace(scene.model, url=f"http://127.0.0.1:{port}/tiny.onnx")
    assert "could not be downloaded" in await scene.fail()


@pytest.mark.parametrize("damaged", [False, True])
async def test_offline_uses_only_what_is_there(damaged: bool, scene: Scene) -> None:  # noqa: FBT001 - a test's parameter
    """With downloads off, a right file put there by hand is used, a missing or wrong one is told; nothing is asked."""
    scene.files = replace(scene.files, is_offline=True)
    assert "is missing, and downloads are switched off" in await scene.fail()
    scene.files.folder.mkdir()
    scene.path.write_bytes(bytes(3) if damaged else CONTENT)
    if damaged:
        assert "wrong checksum" in await scene.fail()
    else:
        assert await scene.obtain() == scene.path
    assert scene.shop.ranges == []


async def test_full_disk_is_told_before_the_download(scene: Scene) -> None:
    """A file that the disk can't hold is not begun."""
    scene.model = replace(scene.model, size_bytes=10**18)
    assert "bytes free" in await scene.fail()
    assert scene.shop.ranges == []


async def test_unwritable_folder_is_told(scene: Scene) -> None:
    """A file in the folder's place is told with the system's reason."""
    scene.files.folder.write_bytes(b"")
    assert "can't be written" in await scene.fail()


async def test_two_processes_do_not_download_at_once(scene: Scene) -> None:
    """Whoever comes second waits for the lock, then finds the file that the first one left."""
    scene.files.folder.mkdir()
    with (scene.files.folder / ".tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = asyncio.create_task(scene.obtain())
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert not done
        scene.path.write_bytes(CONTENT)
    assert await waiting == scene.path
    assert scene.shop.ranges == []
