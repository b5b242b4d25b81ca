"""Webhooks: what receivers hear of a task's end, when, and how they know that it is from us."""

import asyncio
import base64
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from deliverers import BUSY, OK, SECRET, URL, MemoryLog, Scene, Script, open_scene
from fakes import EPOCH_SECONDS
from imgapi.clock import SystemClock
from imgapi.errors import InvalidParameter, SourceRefused, SourceUnreachable
from imgapi.sources.messages import Answer, MessageLimits, Poster
from imgapi.tasks import deliveries
from imgapi.tasks.database import Database
from imgapi.tasks.sealing import Seal
from imgapi.tasks.signing import derived_secret, read_secret, signed_headers
from imgapi.tasks.webhooks import RETRY_SECONDS, Deliverer, check_webhook_url
from mailboxes import Mailbox, open_mailbox

DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "webhooks.md").read_text(encoding="utf-8")


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """A database, and whatever the test starts on it."""
    async with open_scene() as scene:
        yield scene


def document_verifier() -> Callable[[Mapping[str, str], bytes], Any]:
    """The receiver's code as docs/webhooks.md has it."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)  # noqa: S102 - our own page
    receive: Callable[[Mapping[str, str], bytes], Any] = found["receive"]
    return receive


async def test_receivers_can_verify_what_they_get(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What arrives is genuine to the standardwebhooks package and to the page's code; once changed it is not."""
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    clock, seal = SystemClock(), Seal(lambda: "s")
    database = Database(f"sqlite:///{tmp_path / 'tasks.sqlite3'}", clock)
    await database.open()
    poster = Poster(limits=MessageLimits(), allow_private=True)
    data = {"task_id": "t-1", "ref_prompt": "海边 🏖", "results": [{"url": "https://results.example/1.png"}]}

    async def body_of(task_id: str) -> dict[str, Any]:
        return data | {"task_id": task_id}

    deliverer = Deliverer(database, seal, poster.post, clock, body_of, lambda: SECRET, MemoryLog(), lambda: 0.5)
    async with open_mailbox(Mailbox()) as mailbox:
        running = asyncio.create_task(deliverer.run())
        sealed = seal.close(f"http://127.0.0.1:{mailbox.port}/hook")
        now = clock.time()
        await database.run(
            lambda connection: deliveries.plan_delivery(
                connection, now=now, task_id="t-1", event="task.succeeded", sealed_url=sealed
            )
        )
        deliverer.wake()
        await mailbox.wait_for(1)
        await deliverer.close()
        await running
    database.close()
    await poster.aclose()
    (letter,) = mailbox.letters
    told = Webhook(SECRET).verify(letter.content, letter.headers)
    assert told == document_verifier()(letter.headers, letter.content)
    assert (told["type"], told["data"]) == ("task.succeeded", data)
    assert datetime.fromisoformat(told["timestamp"]).timestamp() == pytest.approx(now, abs=0.001)
    assert letter.headers["content-type"] == "application/json"
    for content, headers, secret in (
        (letter.content.replace(b"succeeded", b"suCceeded"), {}, SECRET),
        (letter.content, {"webhook-id": "msg_0"}, SECRET),
        (letter.content, {"webhook-timestamp": str(int(letter.headers["webhook-timestamp"]) + 1)}, SECRET),
        (letter.content, {}, derived_secret("another")),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(content, letter.headers | headers)


def test_secrets_are_read_as_written() -> None:
    """`whsec_` with base64 of 24 to 64 bytes is a secret; anything else is refused by a sentence that hides it."""
    for count in (24, 32, 64):
        key = bytes(range(count))
        assert read_secret("whsec_" + base64.b64encode(key).decode()) == key
    plain = base64.b64encode(bytes(32)).decode()
    wrong = [plain, "", "whsec_", "whsec_ä", "whsec_!!!!", f"whsec_{plain} ", f"WHSEC_{plain}", f"whsec_{plain[:-1]}"]
    for text in (*wrong, *("whsec_" + base64.b64encode(bytes(count)).decode() for count in (23, 65))):
        with pytest.raises(ValueError, match="must be whsec_") as caught:
            read_secret(text)
        assert plain[:12] not in str(caught.value)


def test_the_derived_secret_is_one_of_its_own() -> None:
    """It is the same at every start, differs between installations, and does not give theirs away."""
    secret = derived_secret("the installation's")
    assert secret == derived_secret("the installation's") != derived_secret("another's")
    assert len(read_secret(secret)) == 32
    assert b"installation" not in read_secret(secret)
    headers = signed_headers(read_secret(secret), "msg_1", int(time.time()), b"{}")
    assert Webhook(secret).verify(b"{}", headers) == {}


async def test_an_end_is_told_at_once_and_once(scene: Scene) -> None:
    """One message for each event, to the URL as it was given, with the task's JSON; 2xx ends it."""
    await scene.start()
    for task_id, event, status in (
        ("t-1", "task.succeeded", 200),
        ("t-2", "task.failed", 204),
        ("t-3", "task.canceled", 299),
    ):
        scene.script = deque([Answer(status, "3600")])
        await scene.plan(task_id, event)
        _, url, content, _ = scene.posts[-1]
        assert (url, json.loads(content)["type"], json.loads(content)["data"]) == (URL, event, scene.tasks[task_id])
        (delivery,) = await scene.listed(task_id)
        assert (delivery["state"], delivery["event"]) == ("delivered", event)
    await scene.clock.advance(7 * 24 * 3600)
    assert scene.instants == [0.0, 0.0, 0.0]


async def test_failures_are_tried_again_for_two_days(scene: Scene) -> None:
    """Ten attempts, ever further apart, each with the same id and body and a time and signature of its own."""
    scene.script = deque([BUSY])
    await scene.start()
    delivery_id = await scene.plan()
    await scene.clock.advance(4.9)
    scene.deliverers[0].wake()
    await scene.clock.advance(7 * 24 * 3600)
    expected = [0.0]
    for pause in (5, 60, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600):
        expected.append(expected[-1] + pause)
    assert scene.instants == pytest.approx(expected, abs=0.01)
    assert len({content for _, _, content, _ in scene.posts}) == 1
    assert {headers["webhook-id"] for *_, headers in scene.posts} == {delivery_id}
    times = [int(headers["webhook-timestamp"]) for *_, headers in scene.posts]
    assert times == [int(EPOCH_SECONDS + at) for at, *_ in scene.posts]
    assert len({headers["webhook-signature"] for *_, headers in scene.posts}) == 10
    (delivery,) = await scene.listed()
    assert (delivery["state"], len(delivery["attempts"])) == ("given_up", 10)
    assert "next_attempt_at" not in delivery
    assert scene.log.count("webhook postponed") == 9
    assert scene.log.count("webhook given up") == 1


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.8), (1.0, 1.2)])
async def test_retries_are_spread(scene: Scene, jitter: float, share: float) -> None:
    """Receivers that failed together are not asked again together: each pause is up to a fifth shorter or longer."""
    scene.jitter = jitter
    scene.script = deque([BUSY])
    await scene.start()
    await scene.plan()
    await scene.clock.advance(7 * 24 * 3600)
    pauses = [later - earlier for earlier, later in zip(scene.instants, scene.instants[1:], strict=False)]
    assert pauses == pytest.approx([share * pause for pause in RETRY_SECONDS], abs=0.01)


async def test_it_is_told_as_soon_as_the_receiver_is_back(scene: Scene) -> None:
    """A success after failures ends it; every attempt is listed with when, how long and what came of it."""

    async def slowly() -> Answer:
        await scene.clock.sleep(2.5)
        return Answer(500, "")

    broken = SourceUnreachable("No connection to the receiver could be made.")
    scene.script = deque([slowly, broken, Answer(302, ""), OK])
    await scene.start()
    delivery_id = await scene.plan()
    await scene.clock.advance(1.0)
    assert (await scene.listed())[0]["attempts"] == []
    await scene.clock.advance(2.0)
    waiting = (await scene.listed())[0]
    assert (waiting["state"], waiting["next_attempt_at"]) == ("pending", "2026-05-04T02:20:37.623Z")
    await scene.clock.advance(400.0)
    (delivery,) = await scene.listed()
    assert delivery == {
        "id": delivery_id,
        "event": "task.succeeded",
        "host": "shop.example",
        "state": "delivered",
        "created_at": "2026-05-04T02:20:30.123Z",
        "attempts": [
            {"at": "2026-05-04T02:20:30.123Z", "seconds": 2.5, "status": 500},
            {
                "at": "2026-05-04T02:20:37.623Z",
                "seconds": 0.0,
                "problem": "No connection to the receiver could be made.",
            },
            {
                "at": "2026-05-04T02:21:37.623Z",
                "seconds": 0.0,
                "status": 302,
                "problem": "Redirects are not followed; send the receiver's own URL.",
            },
            {"at": "2026-05-04T02:26:37.623Z", "seconds": 0.0, "status": 204},
        ],
    }


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("1", 5.0),
        ("0", 5.0),
        ("-5", 5.0),
        ("soon", 5.0),
        ("１２０", 5.0),
        ("9" * 400, 86400.0),
        ("86401", 86400.0),
        (format_datetime(datetime.fromtimestamp(EPOCH_SECONDS + 600, UTC), usegmt=True), 599.877),
        (format_datetime(datetime.fromtimestamp(EPOCH_SECONDS - 600, UTC), usegmt=True), 5.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86400.0),
        ("Mon, 31 Dec 0000 99:59:59 GMT", 5.0),
    ],
)
async def test_the_receiver_may_ask_for_time(scene: Scene, value: str, seconds: float) -> None:
    """`Retry-After`, as seconds or as a date, puts the next attempt off, never forward, and by a day at most."""
    scene.script = deque([Answer(429, value), OK])
    await scene.start()
    await scene.plan()
    await scene.clock.advance(2 * 24 * 3600)
    assert scene.instants == pytest.approx([0.0, seconds], abs=0.01)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Answer(410, "5"), {"status": 410, "problem": "The receiver wants no more of these."}),
        (
            SourceRefused("The URL leads to an address that is not on the public internet."),
            {"problem": "The URL leads to an address that is not on the public internet."},
        ),
        (InvalidParameter("The URL cannot be read."), {"problem": "The URL cannot be read."}),
    ],
)
async def test_some_answers_end_it_at_once(scene: Scene, step: Script, told: dict[str, Any]) -> None:
    """410 means never again, and so does an address that the guard refuses; the list says which it was."""
    scene.script = deque([step, OK])
    await scene.start()
    await scene.plan()
    await scene.clock.advance(7 * 24 * 3600)
    assert scene.instants == [0.0]
    (delivery,) = await scene.listed()
    assert delivery["state"] == "given_up"
    assert [{key: each[key] for key in each if key not in {"at", "seconds"}} for each in delivery["attempts"]] == [told]


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://Shop.Example/hook?token=a%20b#x", "https://shop.example/hook?token=a%20b"),
        ("https://shop.example:443", "https://shop.example/"),
        ("HTTPS://93.184.216.34/h", "https://93.184.216.34/h"),
    ],
)
def test_receivers_are_kept_in_one_spelling(url: str, kept: str) -> None:
    """A URL that may be posted to is kept as it will be sent."""
    assert check_webhook_url(url) == kept


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://shop.example/",
        "ftp://shop.example/",
        "data:,x",
        "shop.example",
        "https://",
        "https://user:word@shop.example/",
        "https://shop.example:8443/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://intranet/",
        "https://shop.example/a b",
        "https://shop.example/é",
        "https://shop.example/" + "a" * 2100,
    ],
)
def test_receivers_that_nothing_is_sent_to_are_refused_before(url: str) -> None:
    """The caller hears at once, under the header's name, and the URL is not repeated."""
    with pytest.raises(InvalidParameter) as caught:
        check_webhook_url(url)
    assert caught.value.field == "Imgapi-Webhook"
    assert "shop" not in caught.value.message


def test_development_may_use_plain_and_private_receivers() -> None:
    """Where private sources are allowed, so are http, any port and the loopback; a port may also be allowed alone."""
    assert check_webhook_url("http://127.0.0.1:9/h", allow_private=True) == "http://127.0.0.1:9/h"
    assert check_webhook_url("https://shop.example:8443/", ports=frozenset({8443})) == "https://shop.example:8443/"
    with pytest.raises(InvalidParameter):
        check_webhook_url("http://shop.example:8443/", ports=frozenset({8443}))


def test_the_page_has_the_schedule_and_valid_examples() -> None:
    """The page's retries are the code's, and its examples are JSON."""
    words = {"s": 1, "min": 60, "h": 3600}
    (line,) = re.findall(r"It is tried again (.*?) after each failure", DOCUMENT)
    pauses = [int(number) * words[unit] for number, unit in re.findall(r"(\d+) (s|min|h)\b", line)]
    assert tuple(pauses) == RETRY_SECONDS
    for example in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL):
        assert json.loads(example)
