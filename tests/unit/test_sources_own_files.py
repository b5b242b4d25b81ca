"""URLs of this service's own files: read in the process, and nothing but them."""

from collections.abc import AsyncIterator

import httpx
import pytest

from imgapi.errors import ImageTooLarge, SourceRefused, SourceUnreachable
from imgapi.sources.fetch import Fetcher, FetchLimits, Origin, Source
from networks import PICTURE, Detour, Names, Site, redirect, run

LIMITS = FetchLimits(max_bytes=1000, deadline_seconds=5.0)
PUBLIC = "93.184.216.34"


class Files(httpx.AsyncBaseTransport):
    """The service's own files, without a network."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer by path."""
        self.paths.append(request.url.raw_path.decode())
        if request.url.path == "/results/large.png":
            return httpx.Response(200, content=b"x" * 1001)
        if request.url.path == "/results/away.png":
            return httpx.Response(302, headers={"Location": "http://photos.example/"})
        if request.url.path == "/results/broken.png":
            raise httpx.ReadError("broken")
        found = request.url.path in {"/results/a.png", "/results/猫.png"}
        return httpx.Response(200 if found else 404, content=PICTURE)

    async def aclose(self) -> None:
        """Remember being closed."""
        self.is_closed = True


OWN = "http://127.0.0.1:5000/results/"


async def test_own_files_never_touch_the_network() -> None:
    """A URL under an own prefix is answered by its transport, at an address that is otherwise refused."""
    files = Files()
    fetcher = Fetcher(limits=LIMITS, allow_private=False, own={OWN: files}, resolve=Names())
    assert await fetcher.fetch(OWN + "a.png?x=1") == Source(PICTURE, Origin.OWN)
    assert (await fetcher.fetch("HTTP://127.0.0.1:5000/results/猫.png#x")).origin is Origin.OWN
    assert files.paths == ["/results/a.png?x=1", "/results/%E7%8C%AB.png"]
    with pytest.raises(ImageTooLarge, match="1000"):
        await fetcher.fetch(OWN + "large.png")
    for name, words in (("none.png", "status 404"), ("away.png", "status 302"), ("broken.png", "broke off")):
        with pytest.raises(SourceUnreachable, match=words):
            await fetcher.fetch(OWN + name)
    await fetcher.aclose()
    assert files.is_closed


@pytest.mark.parametrize(
    "path",
    [
        "results/../secret",
        "results/%2e%2e/secret",
        "results/%2E./secret",
        "results/./a.png",
        "results//a.png",
        "results/a%2f..%2fsecret",
        "results/a%5c..%5csecret",
        "results/%252e%252e/secret",
        "results/a%00.png",
        "results/",
        "resultsx/a.png",
        "results",
        "other/a.png",
        "",
    ],
)
async def test_a_path_leads_nowhere_but_under_the_prefix(path: str) -> None:
    """Dots, escapes and neighbours of the prefix are refused before the transport sees them."""
    files = Files()
    fetcher = Fetcher(limits=LIMITS, allow_private=False, own={OWN: files}, resolve=Names())
    with pytest.raises(SourceRefused):
        await fetcher.fetch(f"http://127.0.0.1:5000/{path}")
    assert files.paths == []
    await fetcher.aclose()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Run a server for the test."""
    async with run(Site()) as site:
        yield site


async def test_a_redirect_does_not_lead_to_own_files(site: Site) -> None:
    """Own files are for callers who name them; a stranger's redirect to them is judged as the network it is."""
    files = Files()
    site.pages["/a"] = redirect(OWN + "a.png")
    fetcher = Fetcher(
        limits=LIMITS,
        allow_private=False,
        own={OWN: files},
        resolve=Names(photos_example=[[PUBLIC]]),
        network=Detour(site.port),
    )
    with pytest.raises(SourceRefused):
        await fetcher.fetch("http://photos.example/a")
    assert files.paths == []


async def test_a_prefix_must_end_in_a_slash() -> None:
    """A prefix that would cover its neighbours is refused at the start."""
    with pytest.raises(ValueError, match="slash"):
        Fetcher(limits=LIMITS, allow_private=False, own={"http://127.0.0.1:5000/results": Files()})
