"""The sender of messages against real receivers on the loopback: what it sends, and where it never does."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from imgapi.errors import InvalidParameter, SourceRefused, SourceUnreachable
from imgapi.sources.messages import Answer, MessageLimits, Poster
from mailboxes import Mailbox, make_certificate, open_mailbox
from networks import Answer as Script
from networks import Detour, Names, redirect, reply

PUBLIC = "93.184.216.34"
OTHER_PUBLIC = "93.184.216.35"
HEADERS = {"Content-Type": "application/json", "webhook-id": "msg_1"}
BODY = '{"type":"task.succeeded","data":{"ref_prompt":"海边"}}'.encode()
URL = "https://shop.example/hook?token=t-77"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for every name that these tests post to."""
    names = ("shop.example", "inside.example", "mixed.example", "rebound.example")
    return make_certificate(tmp_path_factory.mktemp("tls"), *names)


@pytest.fixture
async def mailbox(certificate: Path) -> AsyncIterator[Mailbox]:
    """Run a receiver under TLS for the test."""
    async with open_mailbox(Mailbox(), certificate) as mailbox:
        yield mailbox


@asynccontextmanager
async def open_poster(
    mailbox: Mailbox,
    certificate: Path,
    names: Names | None = None,
    limits: MessageLimits | None = None,
    dead: Iterable[str] = (),
) -> AsyncIterator[tuple[Poster, Detour]]:
    """Make a poster for which shop.example is public and is the local receiver."""
    detour = Detour(mailbox.port, dead)
    poster = Poster(
        limits=limits or MessageLimits(deadline_seconds=5.0),
        allow_private=False,
        resolve=names or Names(shop_example=[[PUBLIC]]),
        network=detour,
        ssl_context=ssl.create_default_context(cafile=certificate),
    )
    yield poster, detour
    await poster.aclose()


async def test_a_message_arrives_whole_at_the_judged_address(mailbox: Mailbox, certificate: Path) -> None:
    """The body arrives byte for byte at the very address that was judged, under the name of the URL."""
    async with open_poster(mailbox, certificate) as (poster, detour):
        assert await poster.post(URL, BODY, HEADERS) == Answer(204, "")
    assert detour.dialled == [(PUBLIC, 443)]
    (letter,) = mailbox.letters
    assert (letter.line, letter.content) == ("POST /hook?token=t-77 HTTP/1.1", BODY)
    assert (letter.headers["host"], letter.headers["webhook-id"]) == ("shop.example", "msg_1")


async def test_a_message_tells_nothing_beside_itself(
    mailbox: Mailbox, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No cookie, referrer, authorization or proxy is used; only the message's own fields and the few of any client."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with open_poster(mailbox, certificate) as (poster, _):
        await poster.post(URL, BODY, HEADERS)
    allowed = {"host", "user-agent", "accept-encoding", "connection", "content-length", "content-type", "webhook-id"}
    assert set(mailbox.letters[0].headers) == allowed


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(mailbox: Mailbox, certificate: Path, status: int) -> None:
    """A redirect is an answer like any other: nothing is sent to where it points."""
    mailbox.answers.appendleft(redirect("https://other.example/b", status))
    async with open_poster(mailbox, certificate) as (poster, detour):
        assert (await poster.post(URL, BODY, HEADERS)).status == status
    assert (len(mailbox.letters), detour.dialled) == (1, [(PUBLIC, 443)])


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://shop.example/",
        "ftp://shop.example/",
        "data:application/json,{}",
        "shop.example/hook",
        "https://",
        "https://user:s3cret@shop.example/",
        "https://shop.example:6379/",
        "https://shop.example\\@127.0.0.1/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.100.100.200/",
        "https://[::1]/",
        "https://0x7f.1/",
        "https://intranet/",
        "https://inside.example/",
        "https://mixed.example/",
    ],
)
async def test_what_is_never_fetched_is_never_posted_to(mailbox: Mailbox, certificate: Path, url: str) -> None:
    """The rules of sources hold, and https besides; a name with one private address is refused without a connection."""
    names = Names(shop_example=[[PUBLIC]], inside_example=[["10.0.0.7"]], mixed_example=[[OTHER_PUBLIC, "192.168.1.1"]])
    async with open_poster(mailbox, certificate, names) as (poster, detour):
        with pytest.raises((SourceRefused, InvalidParameter)) as caught:
            await poster.post(url, BODY, HEADERS)
    assert (detour.dialled, mailbox.letters) == ([], [])
    for hidden in ("10.0.0.7", "192.168", "s3cret"):
        assert hidden not in caught.value.message


async def test_a_name_that_changes_its_mind_gains_nothing(mailbox: Mailbox, certificate: Path) -> None:
    """The name is looked up once for each message, and each look-up is judged: the second one is refused."""
    names = Names(rebound_example=[[PUBLIC], ["127.0.0.1"]])
    async with open_poster(mailbox, certificate, names) as (poster, detour):
        await poster.post("https://rebound.example/", BODY, HEADERS)
        with pytest.raises(SourceRefused, match="not on the public internet"):
            await poster.post("https://rebound.example/", BODY, HEADERS)
    assert (names.asked, detour.dialled) == (["rebound.example"] * 2, [(PUBLIC, 443)])


async def test_private_receivers_may_be_allowed() -> None:
    """For development the loopback is posted to, on any port and without TLS."""
    async with open_mailbox(Mailbox()) as mailbox:
        poster = Poster(limits=MessageLimits(), allow_private=True)
        for host in ("127.0.0.1", "localhost"):
            assert (await poster.post(f"http://{host}:{mailbox.port}/", BODY, HEADERS)).status == 204
        await poster.aclose()
    assert [letter.content for letter in mailbox.letters] == [BODY, BODY]


async def test_private_receivers_are_refused_by_default() -> None:
    """Without that setting neither the loopback nor a name that leads there is reached."""
    async with open_mailbox(Mailbox()) as mailbox:
        poster = Poster(limits=MessageLimits(ports=frozenset({mailbox.port})), allow_private=False)
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(SourceRefused):
                await poster.post(f"https://{host}:{mailbox.port}/", BODY, HEADERS)
        await poster.aclose()
    assert mailbox.letters == []


async def test_the_certificate_must_be_the_names(mailbox: Mailbox, certificate: Path) -> None:
    """A certificate of another name, or of an unknown authority, ends the exchange before anything is sent."""
    names = Names(shop_example=[[PUBLIC]], other_example=[[PUBLIC]])
    async with open_poster(mailbox, certificate, names) as (poster, _):
        with pytest.raises(SourceUnreachable, match="certificate"):
            await poster.post("https://other.example/", BODY, HEADERS)
    poster = Poster(limits=MessageLimits(), allow_private=False, resolve=names, network=Detour(mailbox.port))
    with pytest.raises(SourceUnreachable, match="certificate"):
        await poster.post(URL, BODY, HEADERS)
    await poster.aclose()
    assert mailbox.letters == []


async def test_the_status_and_the_wish_to_wait_are_passed_on(mailbox: Mailbox, certificate: Path) -> None:
    """An error is an answer too; `Retry-After` comes as it was written."""
    mailbox.answers.appendleft(reply("HTTP/1.1 503 Busy\nRetry-After: 120\nContent-Length: 5", b"later"))
    async with open_poster(mailbox, certificate) as (poster, _):
        assert await poster.post(URL, BODY, HEADERS) == Answer(503, "120")


async def stay_silent(writer: asyncio.StreamWriter) -> None:
    """Hold the connection without a word until the other side leaves."""
    await asyncio.sleep(1)


async def drip_head(writer: asyncio.StreamWriter) -> None:
    """Send a byte of the head now and then."""
    for _ in range(40):
        writer.write(b"H")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("slow", [stay_silent, drip_head])
async def test_one_deadline_stands_over_everything(mailbox: Mailbox, certificate: Path, slow: Script) -> None:
    """Silence and a dripped head end at the deadline."""
    mailbox.answers.appendleft(slow)
    async with open_poster(mailbox, certificate, limits=MessageLimits(deadline_seconds=0.3)) as (poster, _):
        start = time.monotonic()
        with pytest.raises(SourceUnreachable, match=r"within 0\.3 s"):
            await poster.post(URL, BODY, HEADERS)
    assert time.monotonic() - start < 0.9


async def test_an_answer_counts_from_its_head_on(mailbox: Mailbox, certificate: Path) -> None:
    """The receiver has said that it took the message, however its answer's body goes on: late, cut or without end."""
    sent = 0

    async def late(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        await stay_silent(writer)

    async def pour(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 201 OK\r\n\r\n")
        while sent < 50_000_000:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    mailbox.answers.extendleft([reply("HTTP/1.1 202 OK\nContent-Length: 1000", b"cut"), pour, late])
    async with open_poster(mailbox, certificate, limits=MessageLimits(deadline_seconds=0.3)) as (poster, _):
        assert [(await poster.post(URL, BODY, HEADERS)).status for _ in range(3)] == [200, 201, 202]
    assert sent < 20_000_000


@pytest.mark.parametrize(
    "answer",
    [
        reply("SSH-2.0-OpenSSH_9.6"),
        reply(""),
        reply("HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2", b"xx"),
        reply("HTTP/1.1 200 OK\n" + "\n".join(f"X-{n}: {'y' * 1000}" for n in range(300))),
    ],
)
async def test_what_is_no_answer_is_sent_once(mailbox: Mailbox, certificate: Path, answer: Script) -> None:
    """A foreign, contradictory or endless-headed answer is a failure, and nothing is sent a second time by itself."""
    mailbox.answers.appendleft(answer)
    async with open_poster(mailbox, certificate) as (poster, _):
        with pytest.raises(SourceUnreachable, match="did not answer in HTTP"):
            await poster.post(URL, BODY, HEADERS)
    assert len(mailbox.letters) == 1


async def test_unreachable_receivers_are_told_apart(mailbox: Mailbox, certificate: Path) -> None:
    """No such name and no connection have a sentence each, which names neither the URL nor an address."""
    names = Names(shop_example=[[PUBLIC]])
    async with open_poster(mailbox, certificate, names, dead=[PUBLIC]) as (poster, _):
        with pytest.raises(SourceUnreachable, match="No connection") as connection:
            await poster.post(URL, BODY, HEADERS)
        with pytest.raises(SourceUnreachable, match="could not be found") as name:
            await poster.post("https://nowhere.example/?token=t-77", BODY, HEADERS)
    for caught in (connection, name):
        assert "t-77" not in caught.value.message
        assert PUBLIC not in caught.value.message
