"""Large JSON: read in parts that mean what the whole means, without holding up the event loop."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given
from hypothesis import strategies as st

from imgapi.api.access import Access, BodyLimits
from imgapi.api.bodies import JsonRoute, parse_json, part

LONG = "data:image/png;base64," + "A" * 70_000
# The reading of one body may keep the loop's own thread so long at a time, in seconds of its work.
MOST_SECONDS = 0.06


def read(body: bytes) -> Any:
    """Read a text as large bodies are read."""
    parted = part(body)
    return parted.restore(parse_json(parted.rest))


def outcome(body: bytes, reader: Any) -> Any:
    """Read a text; ValueError is an outcome as well."""
    try:
        return reader(body)
    except ValueError:
        return ValueError


@pytest.mark.parametrize(
    ("body", "is_parted"),
    [
        (json.dumps({"a": LONG, "b": "short", "c": LONG + "B"}), True),
        (json.dumps({"a": LONG, "b": [LONG], "c": {"d": 1}}, indent=2), True),
        (json.dumps({"a": LONG.replace("/", "\\/")}).replace("\\\\/", "\\/"), True),
        (json.dumps({"a": LONG + "ü"}), False),
        (json.dumps({"a": LONG + "ü"}, ensure_ascii=False), False),
        (json.dumps({"a": LONG + "\n"}), False),
        (json.dumps({"a": 'said "data:' + "A" * 70_000}), False),
        ('{"a": "' + LONG + "\x01" + '"}', False),
        ('{"a": "' + LONG, False),
        ('{"a": "b""' + LONG + '"}', True),
        ('{"a" "' + LONG + '"}', True),
        ('{"a": "' + LONG + '" "' + LONG + '"}', True),
        ("[" + json.dumps(LONG) + "]", True),
    ],
)
def test_parts_mean_what_the_whole_means(body: str, *, is_parted: bool) -> None:
    """A text read in parts says what the parser makes of all of it, or is refused as the parser refuses it."""
    content = body.encode()
    assert (len(part(content).rest) < len(content) // 2) == is_parted
    whole = outcome(content, parse_json)
    if isinstance(whole, dict) and not isinstance(whole.get("b"), list):
        assert outcome(content, read) == whole
    else:
        assert (outcome(content, read) is ValueError) == (whole is ValueError)


@given(st.data())
def test_any_text_of_signs_means_the_same_in_parts(data: st.DataObject) -> None:
    """Whatever stands around long data URLs, nothing is read that the parser would not read, and nothing else."""
    signs = st.sampled_from(
        ['"', "\\", "{", "}", "[", "]", ":", ",", " ", "a", '"a":', '"' + LONG + '"', LONG, '"' + LONG]
    )
    content = "".join(data.draw(st.lists(signs, max_size=12))).encode()
    body = data.draw(st.sampled_from([content, b'{"a":' + content + b"}"]))
    whole, parted = outcome(body, parse_json), outcome(body, read)
    assert (whole is ValueError) == (parted is ValueError)
    if isinstance(whole, dict) and all(isinstance(value, str) for value in whole.values()):
        assert parted == whole


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_only_utf_8_is_json(encoding: str) -> None:
    """Other encodings, which some readers guess and others refuse, are no JSON here."""
    with pytest.raises(ValueError, match=r"."):
        parse_json('{"a": "ü"}'.encode(encoding))


def test_byte_order_mark_is_passed_over() -> None:
    """A mark that some editors write changes nothing (RFC 8259, section 8.1)."""
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


async def test_large_bodies_leave_the_event_loop_alone() -> None:
    """While bodies of 76 MB are joined and read, no step of the event loop's thread works for long."""
    steps: list[float] = []

    class Route(JsonRoute):
        pass

    router = APIRouter(route_class=Route)

    @router.post("/sizes")
    async def sizes(body: dict[str, str]) -> list[int]:
        return [len(value) for value in body.values()]

    app = FastAPI()
    app.include_router(router)
    limits = BodyLimits(
        json_bytes=80_000_000, plain_json_bytes=1000, multipart_bytes=1, seconds=60.0, total_bytes=1_000_000_000
    )
    app.add_middleware(Access, limits=limits)
    url = "data:image/png;base64," + "A" * 25_300_000
    body = json.dumps({"a": url, "b": url, "c": url}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1 << 20):
            yield body[start : start + (1 << 20)]
            # As a socket does, let others have their turn between two pieces.
            await asyncio.sleep(0)

    async def watch() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            steps.append(time.thread_time() - before)

    headers = {"Content-Type": "application/json"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://border", timeout=60) as client:
        await client.post("/sizes", json={"what": "the first request imports"})
        watching = asyncio.create_task(watch())
        answers = await asyncio.gather(*(client.post("/sizes", content=pieces(), headers=headers) for _ in range(2)))
    watching.cancel()
    assert [answer.json() for answer in answers] == [[len(url)] * 3] * 2
    assert max(steps) < MOST_SECONDS
