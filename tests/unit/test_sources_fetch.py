"""The downloader against real servers on the loopback: what it lets through, and what it never does."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpcore
import pytest

from imgapi.errors import ImageTooLarge, InvalidParameter, SourceRefused, SourceUnreachable
from imgapi.sources.addresses import Address
from imgapi.sources.fetch import Fetcher, FetchLimits, Origin, Source
from networks import PICTURE, Answer, Detour, Names, Site, picture, redirect, reply, run

PUBLIC = "93.184.216.34"
OTHER_PUBLIC = "93.184.216.35"
LIMITS = FetchLimits(max_bytes=1000, deadline_seconds=5.0)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Run a server for the test."""
    async with run(Site()) as site:
        yield site


@asynccontextmanager
async def open_fetcher(
    site: Site,
    names: Names | None = None,
    limits: FetchLimits = LIMITS,
    dead: Iterable[str] = (),
) -> AsyncIterator[tuple[Fetcher, Detour]]:
    """Make a fetcher for which photos.example is public and is the local server."""
    detour = Detour(site.port, dead)
    names = names or Names(photos_example=[[PUBLIC]], other_example=[[OTHER_PUBLIC]])
    fetcher = Fetcher(limits=limits, allow_private=False, own={}, resolve=names, network=detour)
    yield fetcher, detour
    await fetcher.aclose()


async def test_a_public_picture_is_fetched_from_the_judged_address(site: Site) -> None:
    """The bytes come back as they were, from the very address that was judged, under the name of the URL."""
    site.pages["/%E7%8C%AB.png?a=1"] = picture()
    async with open_fetcher(site) as (fetcher, detour):
        assert await fetcher.fetch("http://photos.example/猫.png?a=1#x") == Source(PICTURE, Origin.PUBLIC)
    assert detour.dialled == [(PUBLIC, 80)]
    assert "Host: photos.example\r\n" in site.requests[0]


async def test_a_library_that_passes_the_guard_by_is_noticed_at_the_start(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool in use is tried before any URL of a caller: one that dials by itself stops the service from starting."""

    class Unguarded(httpcore.AsyncConnectionPool):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options | {"network_backend": Detour(site.port)})

    site.pages["/"] = picture()
    async with open_fetcher(site) as (fetcher, detour):
        await fetcher.start()
        assert detour.dialled == []
        monkeypatch.setattr(httpcore, "AsyncConnectionPool", Unguarded)
        with pytest.raises(RuntimeError, match="guard"):
            await fetcher.start()


async def test_a_request_tells_nothing_about_who_asks(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cookie, referrer, authorization or proxy is used, and only an uncoded body is asked for."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    site.pages["/a"] = redirect("http://other.example/b")
    site.pages["/b"] = picture()
    async with open_fetcher(site) as (fetcher, _):
        await fetcher.fetch("http://photos.example/a")
    for head in site.requests:
        fields = {line.partition(":")[0].lower() for line in head.splitlines()[1:] if line}
        assert fields == {"host", "user-agent", "accept", "accept-encoding", "connection"}
        assert "Accept-Encoding: identity" in head


async def test_redirects_are_followed_by_hand(site: Site) -> None:
    """Three redirects are followed, relative ones and those to other hosts too, each judged anew."""
    site.pages["/a"] = redirect("b", 301)
    site.pages["/b"] = redirect("//other.example/c", 307)
    site.pages["/c"] = redirect("http://photos.example/d", 308)
    site.pages["/d"] = picture()
    async with open_fetcher(site) as (fetcher, detour):
        assert (await fetcher.fetch("http://photos.example/a")).content == PICTURE
    assert [host for host, _ in detour.dialled] == [PUBLIC, PUBLIC, OTHER_PUBLIC, PUBLIC]


async def test_a_loop_of_redirects_ends(site: Site) -> None:
    """A fourth redirect is not followed."""
    site.pages["/a"] = redirect("/a")
    async with open_fetcher(site) as (fetcher, _):
        with pytest.raises(SourceUnreachable, match="redirects more than 3 times"):
            await fetcher.fetch("http://photos.example/a")
    assert len(site.requests) == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/secret",
        "http://169.254.169.254/latest/meta-data",
        "http://100.100.100.200/latest/meta-data",
        "http://[::1]/",
        "http://0x7f.1/",
        "http://inside.example/",
        "http://mixed.example/",
        "http://intranet/",
        "http://photos.example:6379/",
        "http://user:word@photos.example/",
        "file:///etc/passwd",
        "data:image/png;base64,aGk=",
        "http://photos.example\\@127.0.0.1/",
        "http://photos.example/a b",
        "http://[::1",
        "gopher://photos.example/",
    ],
)
async def test_a_redirect_is_judged_like_a_url_that_was_sent(site: Site, location: str) -> None:
    """A redirect to what is never fetched is refused without a connection, naming only the URL that was sent."""
    names = Names(
        photos_example=[[PUBLIC]], inside_example=[["10.0.0.7"]], mixed_example=[[OTHER_PUBLIC, "192.168.1.1"]]
    )
    site.pages["/a?Signature=secret"] = redirect(location)
    async with open_fetcher(site, names) as (fetcher, detour):
        with pytest.raises(SourceRefused, match=r"^The download from http://photos\.example is redirected") as caught:
            await fetcher.fetch("http://photos.example/a?Signature=secret")
    assert detour.dialled == [(PUBLIC, 80)]
    for hidden in ("127.0.0.1", "169.254", "100.100", "10.0.0.7", "192.168", "inside", "mixed", "secret", "6379"):
        assert hidden not in caught.value.message


@pytest.mark.parametrize(
    "addresses",
    [["10.0.0.1"], [PUBLIC, "10.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC, "::1"], ["::ffff:127.0.0.1"], ["fe80::1%1"]],
)
async def test_one_inner_address_among_the_answers_refuses_the_name(site: Site, addresses: list[str]) -> None:
    """A name is refused if any of its addresses is not reachable, and nothing is dialled."""
    async with open_fetcher(site, Names(photos_example=[addresses])) as (fetcher, detour):
        with pytest.raises(SourceRefused, match="not on the public internet"):
            await fetcher.fetch("http://photos.example/a")
    assert detour.dialled == []


async def test_a_second_answer_of_the_name_server_is_never_asked_for(site: Site) -> None:
    """A name that turns to an inner address after being judged is dialled at the address that was judged."""
    names = Names(photos_example=[[PUBLIC], ["127.0.0.1"]])
    site.pages["/a"] = picture()
    async with open_fetcher(site, names) as (fetcher, detour):
        assert (await fetcher.fetch("http://photos.example/a")).content == PICTURE
        assert names.asked == ["photos.example"]
        assert detour.dialled == [(PUBLIC, 80)]
        with pytest.raises(SourceRefused):
            await fetcher.fetch("http://photos.example/a")
    assert len(site.requests) == 1


async def test_rebinding_between_redirects_is_refused(site: Site) -> None:
    """Each redirect looks its name up anew and judges the new answer."""
    site.pages["/a"] = redirect("/b")
    async with open_fetcher(site, Names(photos_example=[[PUBLIC], ["127.0.0.1"]])) as (fetcher, _):
        with pytest.raises(SourceRefused):
            await fetcher.fetch("http://photos.example/a")


async def test_the_next_address_is_tried_when_one_is_dead(site: Site) -> None:
    """A host with a dead address is reached at its next one."""
    site.pages["/a"] = picture()
    names = Names(photos_example=[["2606:4700::1111", PUBLIC]])
    async with open_fetcher(site, names, dead=["2606:4700::1111"]) as (fetcher, detour):
        assert (await fetcher.fetch("http://photos.example/a")).content == PICTURE
    assert detour.dialled == [("2606:4700::1111", 80), (PUBLIC, 80)]


async def test_unknown_and_unconnectable_hosts_are_unreachable(site: Site) -> None:
    """A name without addresses, and a host that takes no connection, are the caller's to mend."""
    names = Names(photos_example=[[PUBLIC]], empty_example=[[]])
    async with open_fetcher(site, names, dead=[PUBLIC]) as (fetcher, _):
        for url, words in (
            ("http://nowhere.example/", "could not be found"),
            ("http://empty.example/", "no address"),
            ("http://photos.example/", "no connection could be made"),
        ):
            with pytest.raises(SourceUnreachable, match=words):
                await fetcher.fetch(url)


async def test_a_slow_name_server_is_given_up(site: Site) -> None:
    """A look-up beyond its limit ends the download."""

    async def hang(name: str, port: int) -> Sequence[Address]:
        await asyncio.Event().wait()
        return []

    fetcher = Fetcher(limits=FetchLimits(resolve_seconds=0.05), allow_private=False, own={}, resolve=hang)
    with pytest.raises(SourceUnreachable, match=r"looked up within 0\.05 s"):
        await fetcher.fetch("http://photos.example/")


@pytest.mark.parametrize(
    "status", ["204 No Content", "206 Partial", "304 Not Modified", "302 Found", "404 No", "500 No"]
)
async def test_only_200_is_a_picture(site: Site, status: str) -> None:
    """Any other status, a redirect without a target included, is not taken for a picture."""
    site.pages["/a"] = reply(f"HTTP/1.1 {status}\nContent-Length: 0")
    async with open_fetcher(site) as (fetcher, _):
        with pytest.raises(SourceUnreachable, match=f"status {status[:3]}"):
            await fetcher.fetch("http://photos.example/a")


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "x-unknown"])
async def test_an_encoded_body_is_refused(site: Site, encoding: str) -> None:
    """A content encoding was not asked for, and is not undone: a small body could grow without bound."""
    site.pages["/a"] = picture(extra=f"\nContent-Encoding: {encoding}")
    async with open_fetcher(site) as (fetcher, _):
        with pytest.raises(SourceUnreachable, match="content encoding"):
            await fetcher.fetch("http://photos.example/a")


async def test_the_size_is_bounded_by_announcement_and_by_count(site: Site) -> None:
    """Exactly the limit passes; one byte more is refused when announced, and counted when not."""
    site.pages["/fits"] = picture(b"x" * 1000)
    site.pages["/announced"] = reply("HTTP/1.1 200 OK\nContent-Length: 999999999999")
    site.pages["/counted"] = reply("HTTP/1.1 200 OK", b"x" * 1001)
    site.pages["/chunked"] = reply(
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"".join(b"1f4\r\n" + b"x" * 500 + b"\r\n" for _ in range(9))
    )
    async with open_fetcher(site) as (fetcher, _):
        assert len((await fetcher.fetch("http://photos.example/fits")).content) == 1000
        for path in ("announced", "counted", "chunked"):
            with pytest.raises(ImageTooLarge, match="1000"):
                await fetcher.fetch(f"http://photos.example/{path}")


async def test_an_endless_body_is_left_at_the_limit(site: Site) -> None:
    """A server that never stops sending is left as soon as the limit is passed."""
    sent = 0

    async def pour(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    site.pages["/a"] = pour
    async with open_fetcher(site) as (fetcher, _):
        with pytest.raises(ImageTooLarge):
            await fetcher.fetch("http://photos.example/a")
    assert sent < 50_000_000


async def drip_body(writer: asyncio.StreamWriter) -> None:
    """Send a body one byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    await drip(writer)


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then, for longer than any test waits."""
    for _ in range(200):
        writer.write(b"H")
        await writer.drain()
        await asyncio.sleep(0.02)


async def stay_silent(writer: asyncio.StreamWriter) -> None:
    """Hold the connection without a word until the other side leaves."""
    await asyncio.sleep(1)


@pytest.mark.parametrize("slow", [drip, drip_body, stay_silent])
async def test_one_deadline_stands_over_everything(site: Site, slow: Answer) -> None:
    """Dripped headers, a dripped body and silence all end at the deadline."""
    site.pages["/a"] = slow
    async with open_fetcher(site, limits=FetchLimits(deadline_seconds=0.3)) as (fetcher, _):
        start = time.monotonic()
        with pytest.raises(SourceUnreachable, match=r"within 0\.3 s"):
            await fetcher.fetch("http://photos.example/a")
    assert time.monotonic() - start < 0.9


async def test_redirects_share_the_deadline(site: Site) -> None:
    """Redirects do not start the deadline anew."""

    async def slow_redirect(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)
        await redirect("/a")(writer)

    site.pages["/a"] = slow_redirect
    async with open_fetcher(site, limits=FetchLimits(deadline_seconds=0.4)) as (fetcher, _):
        with pytest.raises(SourceUnreachable, match=r"within 0\.4 s"):
            await fetcher.fetch("http://photos.example/a")


@pytest.mark.parametrize(
    "answer",
    [
        reply("HTTP/1.1 200 OK\nContent-Length: 100", b"short"),
        reply("HTTP/1.1 200 OK\nContent-Length: -1"),
        reply("HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2", b"xx"),
        reply("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"zz\r\n"),
        reply("HTTP/1.1 200 OK\n" + "\n".join(f"X-{n}: {'y' * 1000}" for n in range(300))),
        reply("SSH-2.0-OpenSSH_9.6"),
        reply(""),
    ],
)
async def test_answers_that_are_not_http_are_survived(site: Site, answer: Answer) -> None:
    """A short, contradictory, endless-headed or foreign answer is an unreachable source."""
    site.pages["/a"] = answer
    async with open_fetcher(site) as (fetcher, _):
        with pytest.raises(SourceUnreachable, match="did not answer in HTTP"):
            await fetcher.fetch("http://photos.example/a")


async def test_an_endless_row_of_interim_answers_is_left(site: Site) -> None:
    """The status 100 over and over, which the HTTP library drops unseen, does not keep the event loop busy."""
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
            await writer.drain()
            sent += 1

    site.pages["/a"] = flood
    async with open_fetcher(site) as (fetcher, _):
        with pytest.raises(SourceUnreachable, match="did not answer in HTTP"):
            await fetcher.fetch("http://photos.example/a")
    assert sent


async def test_a_body_of_crumbs_is_left(site: Site) -> None:
    """A body in chunks of one byte costs the event loop a moment each; only so many are taken, and some always are."""
    limits = FetchLimits(max_bytes=1_000_000, deadline_seconds=5.0)
    head = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked"
    site.pages["/few"] = reply(head, b"1\r\nx\r\n" * 900 + b"0\r\n\r\n")
    site.pages["/many"] = reply(head, b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n")
    async with open_fetcher(site, limits=limits) as (fetcher, _):
        assert (await fetcher.fetch("http://photos.example/few")).content == b"x" * 900
        with pytest.raises(SourceUnreachable, match="crumbs"):
            await fetcher.fetch("http://photos.example/many")


async def test_private_sources_may_be_allowed(site: Site) -> None:
    """For development the loopback is fetched, on any port, and marked as private; a public host stays public."""
    site.pages["/a"] = picture()
    fetcher = Fetcher(limits=LIMITS, allow_private=True, own={})
    for host in ("127.0.0.1", "localhost"):
        assert await fetcher.fetch(f"http://{host}:{site.port}/a") == Source(PICTURE, Origin.PRIVATE)
    await fetcher.aclose()
    names = Names(photos_example=[[PUBLIC]], inside_example=[["10.0.0.1"]])
    site.pages["/b"] = redirect("http://inside.example/a")
    fetcher = Fetcher(limits=LIMITS, allow_private=True, own={}, resolve=names, network=Detour(site.port))
    assert (await fetcher.fetch("http://photos.example/a")).origin is Origin.PUBLIC
    assert (await fetcher.fetch("http://photos.example:8080/a")).origin is Origin.PRIVATE
    assert (await fetcher.fetch("http://photos.example/b")).origin is Origin.PRIVATE


async def test_private_sources_are_refused_by_default(site: Site) -> None:
    """Without that setting neither the loopback nor a name that leads there is reached."""
    fetcher = Fetcher(limits=LIMITS, allow_private=False, own={})
    for url in (f"http://127.0.0.1:{site.port}/a", "http://127.0.0.1/a", "http://localhost/a"):
        with pytest.raises(SourceRefused):
            await fetcher.fetch(url)
    await fetcher.aclose()
    assert site.requests == []


async def test_the_system_is_asked_for_names() -> None:
    """Without a resolver of our own the system looks names up, in a thread."""
    fetcher = Fetcher(limits=FetchLimits(ports=frozenset({1})), allow_private=True, own={})
    with pytest.raises(SourceUnreachable, match="no connection could be made"):
        await fetcher.fetch("http://localhost:1/")
    await fetcher.aclose()


async def test_a_data_url_needs_no_network() -> None:
    """A data URL is decoded under the same limit of bytes."""
    fetcher = Fetcher(limits=LIMITS, allow_private=False, own={})
    url = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
    assert await fetcher.fetch(url) == Source(PICTURE, Origin.DATA)
    with pytest.raises(ImageTooLarge):
        await fetcher.fetch(f"data:image/png;base64,{'A' * 2000}")
    await fetcher.aclose()


async def test_urls_that_cannot_be_read_are_told_apart_from_refused_ones() -> None:
    """An unreadable URL is an invalid parameter, one of a refused kind a refused source."""
    fetcher = Fetcher(limits=LIMITS, allow_private=False, own={}, resolve=Names())
    for url in ("", "http://", "https://" + "a" * 3000 + ".example/"):
        with pytest.raises(InvalidParameter):
            await fetcher.fetch(url)
    for url in ("ftp://photos.example/", "photo.jpg", "C:\\photo.jpg"):
        with pytest.raises(SourceRefused):
            await fetcher.fetch(url)
