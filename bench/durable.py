"""What durability adds to a task, on SQLite and on PostgreSQL, beside the service as it was without it.

`sh scripts/bench durable` takes about three minutes and writes its section of bench/durable.md. Each contender is an
`imgapi serve` of its own; all have one `imgapi emulator` at once pace as their upstream, and take turns, one held
caller at a time. The upstream's record tells what of a task's time was the upstream's.
"""

import argparse
import asyncio
import contextlib
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from bench.durable_page import Verdict, publish, share, table

from e2e.callers import ASYNC, Caller, body_of
from e2e.processes import Emulator, Server, database, postgres_url
from e2e.stages import SECRET
from imgapi.tasks.forecast import SHORTEST_SECONDS

ROUNDS, WARM_UP = 60, 6
MOST_ADDED_SECONDS = 0.15
ROOT = Path(__file__).parent.parent
# The last commit whose tasks lived in the memory of the process.
IN_MEMORY, COMMIT = "in memory", "d63596f"


@dataclass(frozen=True, slots=True)
class Took:
    """Where the time of one task went; seconds.

    Attributes:
        wall: From the caller's request to the answer in its hands.
        calls: In calls that the upstream had under way.
        before: Ours, from the request to the submit's arrival.
        until_look: From the submit's end to the look that saw the task's end, other looks left out.
        after: Ours, from that look's end to the answer.
        looks: How many there were.
    """

    wall: float
    calls: float
    before: float
    until_look: float
    after: float
    looks: int

    @property
    def ours(self) -> float:
        """What is neither the upstream's nor planned waiting for it."""
        return self.wall - self.calls - self.looks * SHORTEST_SECONDS


@dataclass(slots=True)
class Contender:
    """A server and what its tasks took."""

    name: str
    server: Server
    took: list[Took] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)

    def p50(self, part: str) -> float:
        """The median of one part."""
        values: list[float] = [getattr(each, part) for each in self.took]
        return statistics.median(values)

    def row(self, beside: float | None) -> tuple[str, ...]:
        """Write the row of the table; `beside` is the wall time in memory."""
        parts = (f"{1000 * self.p50(part):.0f}" for part in ("wall", "calls", "before", "until_look", "after"))
        ours = share([each.ours for each in self.took], 0.95)
        added = "–" if beside is None else f"**{1000 * (self.p50('wall') - beside):+.0f}**"
        taken = f"{1000 * statistics.median(self.accepted):.0f}" if self.accepted else "–"
        return (self.name, *parts, f"**{1000 * self.p50('ours'):.0f}**", f"{1000 * ours:.0f}", added, taken)


HEAD = (
    *("contender", "wall p50, ms", "upstream's calls", "ours before the submit", "submit to the look that saw the end"),
    *("ours after it", "**ours, all**", "p95", "**added**", "202 p50, ms"),
)


def divide(calls: Sequence[Mapping[str, Any]], begun: float, ended: float) -> Took:
    """Divide the time of one task by the calls that the upstream received meanwhile, all of them its own."""
    submit = next(call for call in calls if call["call"] == "submit")
    looks = [call for call in calls if call["call"] == "poll"]
    durations = {call["number"]: call["ended"] - call["started"] for call in calls}
    handed_over = sum(durations[call["number"]] for call in calls if call["number"] < submit["number"])
    looked = sum(durations[call["number"]] for call in looks[:-1])
    return Took(
        wall=ended - begun,
        calls=sum(durations.values()),
        before=submit["started"] - begun - handed_over,
        until_look=looks[-1]["started"] - submit["ended"] - looked,
        after=ended - looks[-1]["ended"],
        looks=len(looks),
    )


async def run_rounds(contenders: Sequence[Contender], emulator: Emulator, rounds: int) -> None:
    """Run one task after the other, the contenders by turns."""
    known = 0
    async with contextlib.AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(Caller(each.server.address, 60.0)) for each in contenders]
        for number in range(WARM_UP + rounds):
            for contender, caller in zip(contenders, callers, strict=True):
                begun = time.monotonic()
                answer = await caller.http.post("/fix", json=body_of(f"{contender.name} {number}"))
                ended = time.monotonic()
                assert answer.status_code == httpx.codes.OK, answer.text
                calls = [call for call in await asyncio.to_thread(emulator.requests) if call["number"] > known]
                known = calls[-1]["number"]
                if number >= WARM_UP:
                    contender.took.append(divide(calls, begun, ended))


async def run_accepts(contenders: Sequence[Contender], rounds: int) -> None:
    """Measure how long a caller that does not wait is kept, one task at a time."""
    for contender in contenders:
        if contender.name == IN_MEMORY:
            continue
        async with Caller(contender.server.address, 60.0) as caller:
            for number in range(rounds):
                begun = time.monotonic()
                answer = await caller.http.post("/fix", json=body_of(f"accept {number}"), headers=ASYNC)
                contender.accepted.append(time.monotonic() - begun)
                assert answer.status_code == httpx.codes.ACCEPTED, answer.text
                await caller.wait_for_ends([answer.json()["task_id"]], 30.0)


def unpack_in_memory(folder: Path) -> Path | None:
    """Unpack the package as it was before; None where the history is not there."""
    command = ("git", "-C", str(ROOT), "archive", COMMIT, "src")
    try:
        done = subprocess.run(command, capture_output=True, check=True)  # noqa: S603 - a fixed command
    except (OSError, subprocess.CalledProcessError):
        return None
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


def judge(contenders: Sequence[Contender], beside: float | None) -> list[Verdict]:
    """Hold what was measured against the promise; without the old service, all that is ours counts as added."""
    verdicts = []
    for contender in contenders:
        if contender.name == IN_MEMORY:
            continue
        added = contender.p50("ours") if beside is None else contender.p50("wall") - beside
        words = (
            f"{contender.name}: adds under {1000 * MOST_ADDED_SECONDS:.0f} ms to a task at p50: {1000 * added:.0f} ms"
        )
        verdicts.append((words, added < MOST_ADDED_SECONDS))
    return verdicts


READING = f"""*Ours*: the wall time without the upstream's calls and without the {SHORTEST_SECONDS:g} s that each look \
is planned to come after the submit or the look before it; fetching, probing and handing over the picture are in it. \
*Added*: the wall time at p50 beside that of the service at commit {COMMIT}, whose tasks lived in memory. \
*202*: how long a caller who does not wait is kept. Results are not copied and webhooks not sent."""


def main() -> int:
    """Run, print, write the section; 1 when the promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    begun, words = time.monotonic(), [READING]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        emulator = stack.enter_context(Emulator(folder))
        emulator.grant_everything()
        variables = {"IMGAPI_MODEL_LIMITS": "wanx2.1-imageedit=50/50"}
        before = unpack_in_memory(folder / "before")
        chosen: dict[str, dict[str, str]] = {}
        if before is not None:
            chosen[IN_MEMORY] = {"PYTHONPATH": str(before)}
        chosen["SQLite"] = {}
        try:
            url = stack.enter_context(database(postgres_url()))
            chosen["PostgreSQL"] = {"IMGAPI_DATABASE_URL": url, "IMGAPI_SECRET": SECRET}
        except psycopg.OperationalError as exc:
            words.append(f"PostgreSQL is not measured: {exc}.")
        contenders = [
            Contender(name, stack.enter_context(Server(folder / name, emulator.base_url, **(variables | more))))
            for name, more in chosen.items()
        ]
        asyncio.run(run_rounds(contenders, emulator, rounds))
        asyncio.run(run_accepts(contenders, rounds // 3))
    beside = next((each.p50("wall") for each in contenders if each.name == IN_MEMORY), None)
    parts = [table(HEAD, [each.row(beside) for each in contenders]), *words]
    return publish("What durability adds to a task", judge(contenders, beside), parts, time.monotonic() - begun)


if __name__ == "__main__":
    sys.exit(main())
