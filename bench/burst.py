"""Five hundred conversions at once, and a one-pixel canary beside them: who is served, who is refused, and when.

`sh scripts/bench burst` writes bench/burst.md. The targets are those of the service's own promise: the canary answered
within 5 s, refusals at once, the whole process tree within 1.5 GB.
"""

import asyncio
import io
import json
import math
import select
import socket
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.utilities_inputs import make_photo
from bench.utilities_load import resident_bytes, tree
from bench.utilities_peers import CONTENDERS, serving
from PIL import Image

BURST = 500
CANARY_SECONDS = 0.25
MOST_CANARY_SECONDS = 5.0
MOST_REFUSAL_SECONDS = 0.05
PIECE_BYTES = 64 * 1024
# More than there is room for, each sending again when it is answered; and how long they take to arrive.
FILLING, FILLED_SECONDS = 75, 1.0
KNOCKS = 40
RUSH = "rush"
MOST_BYTES = 1.5 * 1024**3
PAGE = Path(__file__).parent / "burst.md"


@dataclass(slots=True)
class Seen:
    """What came back.

    Attributes:
        statuses: How many answers of each status; 0 is a connection that was dropped.
        refused_seconds: How long each refusal in the rush took, from the head of its request.
        alone_seconds: Likewise for requests that came one at a time while the line was full.
        rush_seconds: Likewise for as many as the burst that came at once while it was full, over connections made
            before, to a client that did nothing else.
        canary_seconds: How long each canary took.
        canary_statuses: How many canaries of each status.
        peak_bytes: Most memory of the process tree, proportional set sizes added up.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    refused_seconds: list[float] = field(default_factory=list)
    alone_seconds: list[float] = field(default_factory=list)
    rush_seconds: list[float] = field(default_factory=list)
    canary_seconds: list[float] = field(default_factory=list)
    canary_statuses: Counter[int] = field(default_factory=Counter)
    peak_bytes: int = 0


def write_form(content: bytes, name: str) -> tuple[bytes, bytes]:
    """Write the request that converts a picture: its head, and its body."""
    mark = b"----burst"
    about = f'Content-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode()
    body = b"".join((b"--", mark, b"\r\n", about, content, b"\r\n--", mark, b"--\r\n"))
    head = b"POST /utils/convert_to_png HTTP/1.1\r\nHost: burst\r\nConnection: close\r\n"
    fields = b"Content-Type: multipart/form-data; boundary=%b\r\nContent-Length: %d\r\n\r\n" % (mark, len(body))
    return head + fields, body


async def send(port: int, form: tuple[bytes, bytes]) -> tuple[int, float]:
    """Convert one picture, reading while sending; return status and seconds to its first line, 0 for a dropped one."""
    begun = time.perf_counter()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0, time.perf_counter() - begun
    begun = time.perf_counter()
    sending = asyncio.create_task(push(writer, form))
    try:
        first = await reader.readline()
        seconds = time.perf_counter() - begun
        rest = await reader.read()
        status = int(first.split()[1]) if rest.rstrip().endswith(b"}") else 0
        if status in {429, 503} and b"retry-after:" not in rest.lower():
            status = 0
    except (OSError, IndexError, ValueError):
        return 0, time.perf_counter() - begun
    finally:
        sending.cancel()
        writer.close()
    return status, seconds


async def push(writer: asyncio.StreamWriter, form: tuple[bytes, bytes]) -> None:
    """Send a request; whether its answer came is another's to find out."""
    head, body = form
    writer.write(head)
    with suppress(OSError):
        for start in range(0, len(body), PIECE_BYTES):
            writer.write(body[start : start + PIECE_BYTES])
            await writer.drain()


async def watch(process_id: int, seen: Seen) -> None:
    """Note the most memory the process tree takes, until cancelled."""
    while True:
        members = await asyncio.to_thread(tree, process_id)
        seen.peak_bytes = max(seen.peak_bytes, await asyncio.to_thread(resident_bytes, members))
        await asyncio.sleep(0.2)


async def keep_asking(port: int, dot: tuple[bytes, bytes], seen: Seen) -> None:
    """Send canaries, until cancelled."""
    while True:
        status, seconds = await send(port, dot)
        seen.canary_statuses[status] += 1
        seen.canary_seconds.append(seconds)
        await asyncio.sleep(CANARY_SECONDS)


def rush(port: int, head: bytes) -> list[float]:
    """Send many heads at once, without bodies; return the seconds to each refusal."""
    connections = {one.fileno(): one for one in (socket.create_connection(("127.0.0.1", port)) for _ in range(BURST))}
    time.sleep(FILLED_SECONDS)
    sent, refused = dict[int, float](), list[float]()
    with select.epoll() as answers:
        for number, connection in connections.items():
            answers.register(number, select.EPOLLIN)
            sent[number] = time.perf_counter()
            connection.sendall(head)
        while connections and (ready := answers.poll(1.0)):
            now = time.perf_counter()
            for number, _ in ready:
                answers.unregister(number)
                with connections.pop(number) as connection:
                    if connection.recv(PIECE_BYTES).startswith(b"HTTP/1.1 503"):
                        refused.append(now - sent[number])
    for connection in connections.values():
        connection.close()
    return refused


async def knock(port: int, form: tuple[bytes, bytes], seen: Seen) -> None:
    """Keep the line full and, meanwhile, send single requests."""
    is_over = asyncio.Event()

    async def fill() -> None:
        while not is_over.is_set():
            await send(port, form)
            await asyncio.sleep(CANARY_SECONDS)

    filling = [asyncio.create_task(fill()) for _ in range(FILLING)]
    await asyncio.sleep(FILLED_SECONDS)
    knocks = []
    for _ in range(KNOCKS):
        knocks.append(asyncio.create_task(send(port, form)))
        await asyncio.sleep(0.05)
    for status, seconds in await asyncio.gather(*knocks):
        if status in {429, 503}:
            seen.alone_seconds.append(seconds)
    command = [sys.executable, "-m", "bench.burst", RUSH, str(port)]
    rushing = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    said, _ = await rushing.communicate(form[0])
    seen.rush_seconds = json.loads(said)
    is_over.set()
    await asyncio.gather(*filling)


async def burst(port: int, process_id: int, photo: bytes) -> Seen:
    """Send the burst and the canaries."""
    seen = Seen()
    dot = io.BytesIO()
    Image.new("RGB", (1, 1), "red").save(dot, "BMP")
    form = write_form(photo, "photo.jpg")
    side = [
        asyncio.create_task(watch(process_id, seen)),
        asyncio.create_task(keep_asking(port, write_form(dot.getvalue(), "dot.bmp"), seen)),
    ]
    await asyncio.sleep(1.0)
    for status, seconds in await asyncio.gather(*(send(port, form) for _ in range(BURST))):
        seen.statuses[status] += 1
        if status in {429, 503}:
            seen.refused_seconds.append(seconds)
    await knock(port, form, seen)
    for task in side:
        task.cancel()
    await asyncio.gather(*side, return_exceptions=True)
    return seen


def judge(seen: Seen) -> list[tuple[str, bool]]:
    """Hold what was seen against the promise."""
    slowest = max(seen.canary_seconds)
    known = set(seen.statuses) <= {200, 429, 503}
    alone = sorted(seen.alone_seconds) or [math.inf]
    rush = sorted(seen.rush_seconds) or [math.inf]
    rushed = rush[len(rush) // 2]
    middle, most = alone[len(alone) // 2] * 1000, alone[len(alone) * 9 // 10] * 1000
    return [
        (
            f"{sum(seen.canary_statuses.values())} canaries, all answered 200: {dict(seen.canary_statuses)}",
            set(seen.canary_statuses) == {200},
        ),
        (f"the slowest canary within {MOST_CANARY_SECONDS:g} s: {slowest:.2f} s", slowest <= MOST_CANARY_SECONDS),
        (
            f"the burst answered 200 or refused with a time to come back, no connection dropped: {dict(seen.statuses)}",
            known,
        ),
        (
            (
                f"single requests refused at a full line, half of them within 50 ms: {middle:.0f} ms, nine of ten "
                f"within {most:.0f} ms, {len(alone)} of {KNOCKS} met it"
            ),
            middle <= MOST_REFUSAL_SECONDS * 1000,
        ),
        (
            (
                f"{BURST} heads at once at a full line, half of those refused within 50 ms: {rushed * 1000:.0f} ms, "
                f"the last within {rush[-1] * 1000:.0f} ms, {len(rush)} refused"
            ),
            rushed <= MOST_REFUSAL_SECONDS,
        ),
        (f"the process tree within 1.5 GB: {seen.peak_bytes / 1e6:.0f} MB", seen.peak_bytes <= MOST_BYTES),
    ]


def main() -> int:
    """Run, print, write the page; 1 when the promise is not kept."""
    photo = make_photo(1600, 1200)
    contender = next(each for each in CONTENDERS if each.name == "imgapi")
    with tempfile.TemporaryDirectory() as folder, serving(contender, Path(folder) / "pictures") as running:
        seen = asyncio.run(burst(running.port, running.process.pid, photo))
    outcomes = judge(seen)
    refused = sorted(seen.refused_seconds)
    middle = refused[len(refused) // 2] if refused else 0.0
    what = (
        f"{datetime.now(UTC):%Y-%m-%d}, 2 cores. {BURST} conversions of a photo of {len(photo)} bytes sent at once by "
        f"a client on the same machine, a 1x1 BMP every {CANARY_SECONDS:g} s beside them."
    )
    lines = [
        "# A burst of 500",
        "",
        "Written by `bench/burst.py` (`sh scripts/bench burst`); do not edit.",
        "",
        what,
        "",
        *(f"- {'met' if is_met else '**MISSED**'}: {words}." for words, is_met in outcomes),
        (
            f"- in the burst itself half of the refusals reached the client within {middle:.2f} s of their request's "
            f"head, the last within {refused[-1] if refused else 0.0:.2f} s; it has {BURST} bodies to send meanwhile."
        ),
        "",
    ]
    page = "\n".join(lines)
    print(page)
    PAGE.write_text(page, encoding="utf-8")
    return 0 if all(is_met for _, is_met in outcomes) else 1


def main_of_rush() -> int:
    """Rush as a process of its own: the head comes by standard input, the figures go to standard output."""
    print(json.dumps(rush(int(sys.argv[2]), sys.stdin.buffer.read())))
    return 0


if __name__ == "__main__":
    sys.exit(main_of_rush() if RUSH in sys.argv[1:] else main())
