"""Five hundred conversions at once, and a one-pixel canary beside them: who is served, who is refused, and when.

`sh scripts/bench burst` writes bench/burst.md. The targets are those of the service's own promise: the canary answered
within 5 s, refusals at once, the whole process tree within 1.5 GB.
"""

import asyncio
import io
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
from bench.utilities_inputs import make_photo
from bench.utilities_load import resident_bytes, tree
from bench.utilities_peers import CONTENDERS, serving
from PIL import Image

BURST = 500
CANARY_SECONDS = 0.25
MOST_CANARY_SECONDS = 5.0
MOST_BYTES = 1.5 * 1024**3
PAGE = Path(__file__).parent / "burst.md"


@dataclass(slots=True)
class Seen:
    """What came back.

    Attributes:
        statuses: How many answers of each status; 0 is a connection that was dropped.
        refused_seconds: How long each refusal took, from the end of its upload.
        canary_seconds: How long each canary took.
        canary_statuses: How many canaries of each status.
        peak_bytes: Most memory of the process tree, proportional set sizes added up.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    refused_seconds: list[float] = field(default_factory=list)
    canary_seconds: list[float] = field(default_factory=list)
    canary_statuses: Counter[int] = field(default_factory=Counter)
    peak_bytes: int = 0


async def send(http: httpx.AsyncClient, content: bytes, name: str) -> tuple[int, float]:
    """Convert one picture; return status and seconds, 0 for a connection that was dropped."""
    begun = time.perf_counter()
    try:
        answer = await http.post("/utils/convert_to_png", files={"image": (name, content)})
    except httpx.HTTPError:
        return 0, time.perf_counter() - begun
    return answer.status_code, time.perf_counter() - begun


async def watch(process_id: int, seen: Seen) -> None:
    """Note the most memory the process tree takes, until cancelled."""
    while True:
        members = await asyncio.to_thread(tree, process_id)
        seen.peak_bytes = max(seen.peak_bytes, await asyncio.to_thread(resident_bytes, members))
        await asyncio.sleep(0.2)


async def keep_asking(http: httpx.AsyncClient, dot: bytes, seen: Seen) -> None:
    """Send canaries, until cancelled."""
    while True:
        status, seconds = await send(http, dot, "dot.bmp")
        seen.canary_statuses[status] += 1
        seen.canary_seconds.append(seconds)
        await asyncio.sleep(CANARY_SECONDS)


async def burst(port: int, process_id: int, photo: bytes) -> Seen:
    """Send the burst and the canaries."""
    seen = Seen()
    dot = io.BytesIO()
    Image.new("RGB", (1, 1), "red").save(dot, "BMP")
    limits = httpx.Limits(max_connections=None)
    address = f"http://127.0.0.1:{port}"
    async with (
        httpx.AsyncClient(base_url=address, limits=limits, timeout=300, trust_env=False) as http,
        httpx.AsyncClient(base_url=address, timeout=60, trust_env=False) as beside,
    ):
        side = [
            asyncio.create_task(watch(process_id, seen)),
            asyncio.create_task(keep_asking(beside, dot.getvalue(), seen)),
        ]
        await asyncio.sleep(1.0)
        for status, seconds in await asyncio.gather(*(send(http, photo, "photo.jpg") for _ in range(BURST))):
            seen.statuses[status] += 1
            if status in {429, 503}:
                seen.refused_seconds.append(seconds)
        await asyncio.sleep(1.0)
        for task in side:
            task.cancel()
        await asyncio.gather(*side, return_exceptions=True)
    return seen


def judge(seen: Seen) -> list[tuple[str, bool]]:
    """Hold what was seen against the promise."""
    slowest = max(seen.canary_seconds)
    known = set(seen.statuses) <= {200, 429, 503}
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
        f"- half of the refusals came within {middle:.2f} s of the start of their upload, which 500 uploads share.",
        "",
    ]
    page = "\n".join(lines)
    print(page)
    PAGE.write_text(page, encoding="utf-8")
    return 0 if all(is_met for _, is_met in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
