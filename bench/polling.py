"""Measures how soon the end of a task is seen and how many queries that costs, beside the vendor's own SDK.

Run it with `sh scripts/bench`; it takes under four minutes and writes `bench/polling.md`. The upstream is the emulator
in a process of its own, behind sockets on the loopback, with the documented run times and its rate limits enforced.
Everything on imgapi's side is the service's own code; only the pictures are no real ones.
"""

import asyncio
import itertools
import os
import platform
import statistics
import sys
import time
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.contenders import QUERIES_PER_SECOND, Imgapi, Job, Seen, Vendor
from bench.upstreams import Upstream, serving_upstreams

from imgapi.edits.models import LIMITS
from imgapi.emulator.app import ModelLimits, Pace, Progress, Rate

RESULT = Path(__file__).with_suffix(".md")
ACCOUNT_LIMIT = 20
LEARNING_WAVES, MEASURED_WAVES = 1, 4
TRUE_LIMIT_WAVES = 2
RELEASE_SECONDS = 0.3
SHORT_FACTOR = 0.08
MANY_RUNNING = 1000

CHANGE_BG, TRY_ON, TRY_ON_BASIC, EXPAND, FIX = (
    ("change_bg", 0),
    ("change_cloth", 0),
    ("change_cloth", 1),
    ("expand", 0),
    ("fix", 0),
)
TEN: Sequence[Job] = (CHANGE_BG, EXPAND, TRY_ON, CHANGE_BG, FIX, TRY_ON, CHANGE_BG, EXPAND, TRY_ON, FIX)
# At the documented submit rates of 2, 10, 10 and 2 a second the last is submitted before the first has ended.
CROWD: Sequence[Job] = (CHANGE_BG,) * 17 + (TRY_ON,) * 84 + (TRY_ON_BASIC,) * 84 + (EXPAND,) * 16 + (FIX,) * 3


# The figures.


@dataclass(slots=True)
class Record:
    """All that was seen in some waves of one contender."""

    seen: list[Seen] = field(default_factory=list)
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    wave_seconds: list[float] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """Count the calls of one kind."""
        return sum(call["call"] == kind for call in self.calls)

    @property
    def queries(self) -> list[Mapping[str, Any]]:
        """Every query and list call."""
        return [call for call in self.calls if call["call"] in {"poll", "list"}]

    @property
    def mean_delay(self) -> float:
        """Seconds."""
        return statistics.mean(task.delay for task in self.seen)

    @property
    def queries_per_task(self) -> float:
        """List calls included."""
        return len(self.queries) / len(self.seen)

    @property
    def peak(self) -> int:
        """The most queries and lists that arrived in any one second."""
        return busiest_second(call["started"] for call in self.queries)

    def row(self, name: str) -> str:
        """Write the row of the table."""
        delays = sorted(task.delay for task in self.seen)
        p95 = delays[min(len(delays) - 1, int(0.95 * len(delays)))]
        refused = sum(call["status"] == 429 for call in self.queries)
        cells = (
            name,
            str(len(delays)),
            f"{statistics.mean(task.ended - task.began for task in self.seen):.1f}",
            f"**{self.mean_delay:.2f}**",
            *(f"{value:.2f}" for value in (statistics.median(delays), p95, delays[-1])),
            f"**{self.queries_per_task:.2f}**",
            f"{self.count('poll')} + {self.count('list')}",
            str(self.peak),
            str(refused),
            f"{statistics.mean(self.wave_seconds):.1f}",
        )
        return f"| {' | '.join(cells)} |"


def busiest_second(instants: Iterable[float]) -> int:
    """Count the most events in any stretch of one second, wherever it begins."""
    ordered = sorted(instants)
    return max((bisect_right(ordered, start + 1.0) - index for index, start in enumerate(ordered)), default=0)


def least_mean_delay(ends: Iterable[float], per_second: float) -> float:
    """Return the mean delay, in seconds, of a client that knows each end at once and needs one query for each."""
    seen, delays = 0.0, []
    for end in sorted(ends):
        seen = max(end, seen + 1.0 / per_second)
        delays.append(seen - end)
    return statistics.mean(delays)


def most_in_flight(tasks: Iterable[Seen]) -> int:
    """Count the most tasks that ran at the same time."""
    steps = sorted(step for task in tasks for step in ((task.began, 1), (task.ended, -1)))
    return max(itertools.accumulate(change for _, change in steps))


# The experiments.


async def run_waves(
    contender: Imgapi | Vendor, upstream: Upstream, jobs: Sequence[Job], *, waves: int, release: float
) -> Record:
    """Run waves one after the other; within each, tasks are released in order, so many seconds apart."""
    record = Record()
    for _ in range(waves):
        begun = time.monotonic()
        runs = (contender.run(job, release * index) for index, job in enumerate(jobs))
        record.seen += await asyncio.gather(*runs)
        record.wave_seconds.append(time.monotonic() - begun)
        record.calls += await upstream.new_calls()
    return record


async def compare(
    ours: Upstream, theirs: Upstream, *, running: int | None, learning: int, measured: int
) -> dict[str, Record]:
    """Run the same waves of ten with imgapi and with the SDK, at the same time and each on its own account."""
    imgapi, vendor = Imgapi(ours, running=running), Vendor(theirs, threads=len(TEN))

    async def run_both(waves: int) -> tuple[Record, Record]:
        return await asyncio.gather(
            run_waves(imgapi, ours, TEN, waves=waves, release=RELEASE_SECONDS),
            run_waves(vendor, theirs, TEN, waves=waves, release=RELEASE_SECONDS),
        )

    cold, vendor_cold = await run_both(learning)
    records = {"imgapi, cold": cold, "SDK, the same wave": vendor_cold}
    if measured:
        warm, vendor_warm = await run_both(measured)
        records |= {"imgapi, warm": warm, "SDK, the same waves": vendor_warm}
    await imgapi.close()
    await vendor.close()
    return records


async def run_crowd(upstream: Upstream) -> dict[str, Record]:
    """Run two hundred tasks, submitted as fast as each model's rate lets them, cold and then warm."""
    imgapi = Imgapi(upstream, running=MANY_RUNNING)
    names = ("imgapi, cold", "imgapi, warm")
    records = {name: await run_waves(imgapi, upstream, CROWD, waves=1, release=0.0) for name in names}
    await imgapi.close()
    return records


def describe_accounts() -> list[dict[str, Any]]:
    """Return the figures of all accounts: two with room for ten, two as documented, two of short tasks, the crowd's."""
    roomy = {name: ModelLimits(Rate(int(row.submits_per_second)), MANY_RUNNING) for name, row in LIMITS.items()}
    usual, short = Pace(Progress.SECONDS), Pace(Progress.SECONDS, factor=SHORT_FACTOR)
    ten = {"pace": usual, "limits": roomy, "seed": 1}
    documented = {"pace": usual, "seed": 2}
    soon = {"pace": short, "limits": roomy, "seed": 3}
    return [ten, ten, documented, documented, soon, soon, {"pace": usual, "limits": roomy, "seed": 4}]


async def run_all(upstreams: Sequence[Upstream]) -> dict[str, dict[str, Record]]:
    """Run every experiment; those of ten tasks side by side, the crowd alone."""
    room, limits, short = await asyncio.gather(
        compare(*upstreams[0:2], running=MANY_RUNNING, learning=LEARNING_WAVES, measured=MEASURED_WAVES),
        compare(*upstreams[2:4], running=None, learning=LEARNING_WAVES, measured=TRUE_LIMIT_WAVES),
        compare(*upstreams[4:6], running=MANY_RUNNING, learning=1, measured=0),
    )
    return {"ten": room, "limits": limits, "short": short, "crowd": await run_crowd(upstreams[6])}


# The report.

HEAD = (
    "| contender | tasks | run time, s | **mean delay, s** | p50 | p95 | max | **queries per task** | queries + lists "
    "| busiest second | refused | wave, s |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)
TITLES = {
    "ten": "## Ten in flight, all running\n\n"
    "Three backgrounds, three try-ons, two expansions, two super-resolutions; the upstream runs all ten at once.",
    "limits": "## Ten at hand, the documented limits of running tasks\n\n"
    "The same ten; one background, two edits and five try-ons may run. imgapi's tasks wait in its own lanes, the SDK's "
    "upstream as PENDING.",
    "short": "## Ten that end far sooner than usual, nothing learned\n\n"
    f"Run times of {SHORT_FACTOR:.0%} of the documented ones: what a newcomer meets on a fast upstream.",
    "crowd": "## Two hundred in flight\n\n"
    "Submitted as fast as the documented submit rates allow; the upstream runs all of them.",
}


def judge(results: Mapping[str, Mapping[str, Record]]) -> list[tuple[str, bool]]:
    """Return the targets, each with its figures and whether it is met."""
    warm, vendor = results["ten"]["imgapi, warm"], results["ten"]["SDK, the same waves"]
    crowd = results["crowd"]
    peak = max(record.peak for group in results.values() for name, record in group.items() if name.startswith("imgapi"))
    worst = max(record.mean_delay for record in crowd.values())
    saving = f"{warm.queries_per_task:.2f} against {vendor.queries_per_task:.2f}"
    return [
        (f"Ten in flight, warm: mean delay under 0.5 s: {warm.mean_delay:.2f} s", warm.mean_delay < 0.5),
        (
            f"Ten in flight, warm: no more queries per task than the SDK: {saving}",
            warm.queries_per_task <= vendor.queries_per_task,
        ),
        (f"Two hundred in flight, cold and warm: mean delay under 2 s: {worst:.2f} s at most", worst < 2.0),
        (
            f"imgapi, everywhere: never beyond {ACCOUNT_LIMIT} queries and lists in any second: {peak} at most",
            peak <= ACCOUNT_LIMIT,
        ),
    ]


def explain_bound(crowd: Record) -> str:
    """Say what no schedule can better, in figures of this run."""
    ends = [task.ended for task in crowd.seen]
    least = (f"{least_mean_delay(ends, rate):.2f} s" for rate in (QUERIES_PER_SECOND, ACCOUNT_LIMIT))
    return (
        "The list of tasks tells who has ended but not with what, so each end needs one query of its own. N ends in "
        f"one moment are seen over N / {QUERIES_PER_SECOND:g} seconds at imgapi's own pace: mean delay "
        f"N / {2 * QUERIES_PER_SECOND:g} s, and N / {2 * ACCOUNT_LIMIT} s for any client within the limit. Two hundred "
        f"ends in one moment: {200 / 2 / QUERIES_PER_SECOND:.1f} s on average, {200 / QUERIES_PER_SECOND:.1f} s for "
        f"the last. Of a steady load the account can see at most {ACCOUNT_LIMIT} ends a second. In the warm run "
        f"{most_in_flight(crowd.seen)} tasks ran at once and up to {busiest_second(ends)} ended within one second; a "
        f"client told of each end for nothing would have had a mean delay of {' at that pace, of '.join(least)} at the "
        "account's limit."
    )


def write_report(results: Mapping[str, Mapping[str, Record]], seconds: float) -> str:
    """Write the result page."""
    judged = judge(results)
    parts = [
        "# Poll timing\n\nWritten by `bench/polling.py` (`sh scripts/bench`); do not edit.",
        (
            f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, "
            f"imgapi {version('imgapi')}, dashscope SDK {version('dashscope')}, {seconds:.0f} s in all."
        ),
        "## Targets\n\n" + "\n".join(f"- {'met' if met else '**MISSED**'}: {text}." for text, met in judged),
    ]
    for key, group in results.items():
        parts.append("\n".join([TITLES[key], "", HEAD, *(record.row(name) for name, record in group.items())]))
    parts += [explain_bound(results["crowd"]["imgapi, warm"]), READING]
    return "\n\n".join(parts) + "\n"


READING = """## How to read it

- *Delay*: from the upstream's `end_time` (milliseconds) to the moment the waiting caller has the answer, both by the \
clock of one machine.
- *Queries*: task queries plus list calls, counted by the emulator. *Busiest second*: the most of both in any stretch \
of one second, wherever it begins; DashScope grants an account 20 of each.
- *Cold*: nothing learned, the documented run time is all that is known. *Warm*: the waves after that one.
- *Run time*: the mean of the tasks themselves. Each is drawn within 25 % around the documented run time of its model; \
where all ten run at once both contenders get exactly the same draws, with the documented limits the order of starts \
differs and so do the draws.
- *Wave*: from the first release to the last answer; releases are 0.3 s apart in waves of ten.
- The SDK (`BaseAsyncApi.wait`, a thread for each task) works at the same time as imgapi on an account of its own. It \
is not run with two hundred tasks: it looks at each by itself, and takes the first refused query as the end of the task.
"""


def main() -> int:
    """Run everything, print and write the page; 1 when a target is missed."""
    begun = time.monotonic()
    with serving_upstreams(describe_accounts()) as upstreams:
        results = asyncio.run(run_all(upstreams))
    report = write_report(results, time.monotonic() - begun)
    RESULT.write_text(report, encoding="utf-8")
    print(report)
    return 0 if all(met for _, met in judge(results)) else 1


if __name__ == "__main__":
    sys.exit(main())
