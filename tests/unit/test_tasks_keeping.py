"""Keeping: results are copied before their links die, and what can't be copied is passed on with a warning."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest
from PIL import Image

from engines import InlineExecutor
from fakes import EPOCH_SECONDS, VirtualClock
from house import House
from imgapi.contract.edits import ChangeBgRequest, ChangeClothRequest, ExpandRequest, FixRequest
from imgapi.contract.fields import Request
from imgapi.errors import SourceUnreachable
from imgapi.pictures.limits import PictureLimits
from imgapi.results.links import Links
from imgapi.results.store import ResultStore
from imgapi.tasks.keeping import PAUSES_SECONDS, Keeper, Kept
from pictures import encode

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from imgapi.pictures.workers import Workers

T = TypeVar("T")
PNG = encode(Image.new("RGB", (8, 6), "red"), "PNG")
JPEG = encode(Image.new("RGB", (8, 6), "red"), "JPEG")
OURS = "https://imgapi.test/results/"
TTL_SECONDS = 3600.0
URL = "https://example.com/photo.jpg"


class InlineWorkers:
    """Does pixel work at once."""

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Do it."""
        return function(*args)


class Web:
    """What the links lead to; a list is answered one after the other."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.pages: dict[str, list[bytes | Exception]] = {}
        self.asked: list[tuple[float, str]] = []

    async def fetch(self, url: str) -> bytes:
        """Download a link."""
        self.asked.append((self.clock.monotonic(), url))
        answers = self.pages[url]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Scene:
    """A keeper with a folder, and the web it copies from."""

    def __init__(
        self, folder: Path, *, clock: VirtualClock | None = None, copies: bool = True, secures: bool = False
    ) -> None:
        self.clock = clock or VirtualClock()
        self.web = Web(self.clock)
        self.store = ResultStore(folder, ttl_seconds=TTL_SECONDS, clock=self.clock.time)
        # Virtual time must not pass while a thread works.
        self.store._threads = cast("ThreadPoolExecutor", InlineExecutor())
        self.keeper = Keeper(
            store=self.store,
            fetch=self.web.fetch,
            workers=cast("Workers", InlineWorkers()),
            limits=PictureLimits(),
            links=Links(OURS),
            clock=self.clock,
            copies=copies,
            secures=secures,
        )


GONE = SourceUnreachable("no answer")


async def test_results_become_ours(tmp_path: Path) -> None:
    """Every picture is copied, in order, under a name that fits its format, and dies when it is said to."""
    scene = Scene(tmp_path)
    scene.web.pages = {"https://r.test/1.png": [PNG], "https://r.test/2": [JPEG]}
    kept = await scene.keeper.keep(["https://r.test/1.png", "https://r.test/2"])
    assert [url.removeprefix(OURS) for url in kept.urls] == list(kept.names)
    assert [name.rpartition(".")[2] for name in kept.names] == ["png", "jpg"]
    assert [await scene.store.get(name) for name in kept.names] == [PNG, JPEG]
    assert kept.expires_at == pytest.approx(EPOCH_SECONDS + TTL_SECONDS, abs=0.01)
    assert kept.warnings == ()


async def test_links_are_fetched_in_secret(tmp_path: Path) -> None:
    """A link that the upstream writes with http is fetched over https, as its signature allows."""
    scene = Scene(tmp_path, secures=True)
    scene.web.pages = {"https://r.test/1.png?Signature=s": [PNG]}
    kept = await scene.keeper.keep(["http://r.test/1.png?Signature=s"])
    assert kept.urls[0].startswith(OURS)


@pytest.mark.parametrize("content", [b"<html>expired</html>", b"", PNG[:30]], ids=["page", "nothing", "cut"])
async def test_what_is_no_picture_is_not_kept(tmp_path: Path, content: bytes) -> None:
    """Where a link leads to no picture it is passed on as it came, with a warning and no expiry of ours."""
    scene = Scene(tmp_path, secures=True)
    scene.web.pages = {"https://r.test/1.png": [content]}
    kept = await scene.clock.run(scene.keeper.keep(["http://r.test/1.png"]))
    assert kept.urls == ["http://r.test/1.png"]
    assert (kept.names, kept.expires_at, kept.warnings) == ([], None, ("result_not_kept",))
    assert not await asyncio.to_thread(os.listdir, tmp_path)


async def test_one_of_two_is_kept(tmp_path: Path) -> None:
    """A picture that can't be had doesn't take the other with it."""
    scene = Scene(tmp_path)
    scene.web.pages = {"https://r.test/1.png": [GONE], "https://r.test/2.png": [PNG]}
    kept = await scene.clock.run(scene.keeper.keep(["https://r.test/1.png", "https://r.test/2.png"]))
    assert kept.urls[0] == "https://r.test/1.png"
    assert kept.urls[1].startswith(OURS)
    assert kept.expires_at is not None
    assert kept.warnings == ("result_not_kept",)


async def test_a_moment_of_trouble_is_survived(tmp_path: Path) -> None:
    """A download that fails is tried again a few times, further and further apart."""
    scene = Scene(tmp_path)
    scene.web.pages = {"https://r.test/1.png": [GONE, GONE, GONE, PNG]}
    kept = await scene.clock.run(scene.keeper.keep(["https://r.test/1.png"]))
    assert kept.warnings == ()
    assert [instant for instant, _ in scene.web.asked] == [0.0, 1.0, 5.0, 20.0]
    assert len(scene.web.asked) == len(PAUSES_SECONDS) + 1


async def test_without_a_place_links_are_passed_on(tmp_path: Path) -> None:
    """Where nothing is to be kept nothing is fetched, and the upstream's links are answered as documented."""
    scene = Scene(tmp_path, copies=False)
    kept = await scene.keeper.keep(["http://r.test/1.png"])
    assert (kept.urls, kept.names, kept.expires_at, kept.warnings) == (["http://r.test/1.png"], (), None, ())
    assert not scene.web.asked


class NamingKeeper:
    """Keeps every picture under a name of ours, without looking."""

    links = Links(OURS)

    async def keep(self, urls: Sequence[str]) -> Kept:
        """Name them."""
        names = [f"{number}.png" for number in range(len(urls))]
        return Kept([OURS + name for name in names], names, EPOCH_SECONDS + TTL_SECONDS)


EXPIRY = "2026-05-04T03:20:30.123Z"
REQUESTS: dict[str, Request] = {
    "fix": FixRequest(base_image_url=URL),
    "change_bg": ChangeBgRequest(base_image_url=URL, ref_image_url=URL),
    "expand": ExpandRequest(base_image_url=URL),
    "change_cloth": ChangeClothRequest(top_garment_url=URL, bottom_garment_url=URL, person_image_url=URL),
}


@pytest.mark.parametrize("operation", REQUESTS)
async def test_replies_tell_when_their_pictures_are_gone(operation: str) -> None:
    """`expires_at` stands beside each link, however the edit is documented, and deleting deletes the files."""
    house = House(keeper=cast("Keeper", NamingKeeper()))
    if operation == "change_cloth":
        house.upstream.output = {"image_url": "http://r.test/1.jpg"}
    reply = (await house.run(operation, REQUESTS[operation])).model_dump(exclude_none=True)
    if operation == "change_cloth":
        assert (reply["image_url"], reply["expires_at"]) == (f"{OURS}0.png", EXPIRY)
    else:
        results = reply["results"] if isinstance(reply["results"], list) else [reply["results"]]
        assert results == [{"url": f"{OURS}0.png", "expires_at": EXPIRY}]
    await house.runner.forget(reply["task_id"])
    assert house.forgotten == ["0.png"]


async def test_a_task_is_done_when_its_results_are_kept(tmp_path: Path) -> None:
    """Nobody is told of success before the copy is there; the place is free meanwhile, and a warning is told."""
    house = House()
    scene = Scene(tmp_path, clock=house.clock)
    house.runner.life.keeper = scene.keeper
    scene.web.pages = {"https://results.test/up-1.png": [GONE]}
    task_id = await house.accept()
    await house.clock.advance(15.0)
    assert (await house.record(task_id)).stage == "made"
    view = await house.runner.view(task_id)
    assert (view["status"], view["billed"], view["usage"]["images"]) == ("running", True, 1)
    assert not (await house.record(task_id)).has_place
    end = await house.end(task_id)
    assert end["results"] == [{"url": "https://results.test/up-1.png"}]
    assert end["warnings"] == ["result_not_kept"]
