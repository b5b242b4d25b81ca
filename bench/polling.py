"""Measures how soon the end of a task is seen and how many queries that costs, beside the vendor's own SDK.

Run it with `sh scripts/bench`; it takes under four minutes and writes `bench/polling.md`. The upstream is the emulator
in a process of its own, behind sockets on the loopback, with the documented run times and its rate limits enforced.
Everything on imgapi's side is the service's own code; only the pictures are no real ones.
"""

import asyncio
import io
import itertools
import multiprocessing
import os
import platform
import socket
import statistics
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
from dashscope.client import base_api
from PIL import Image
from pydantic import SecretStr

from imgapi.clock import SystemClock, read_documented_time
from imgapi.contract.edits import ChangeBgRequest, ChangeClothRequest, ExpandRequest, FixRequest
from imgapi.contract.fields import Request
from imgapi.dashscope.client import Account, DashScope
from imgapi.dashscope.wire import SubmitBody
from imgapi.edits.catalogue import EDITS
from imgapi.edits.edit import Candidate, PreparedPicture
from imgapi.edits.models import LIMITS
from imgapi.emulator.app import Emulator, EmulatorConfig, ModelLimits, Pace, Progress, Rate
from imgapi.emulator.painters import PaintJob
from imgapi.emulator.server import make_server
from imgapi.tasks.forecast import Forecast
from imgapi.tasks.pacing import Pacing, Spacing
from imgapi.tasks.polling import Poller

T = TypeVar("T")
# The SDK's annotations contradict its own documentation, so its class is taken as it comes.
BaseAsyncApi: Any = base_api.BaseAsyncApi

RESULT = Path(__file__).with_suffix(".md")
KEY = "sk-bench"
# The service's own default (IMGAPI_QUERIES_PER_SECOND).
QUERIES_PER_SECOND = 17.0
ACCOUNT_LIMIT = 20
LEARNING_WAVES, MEASURED_WAVES = 1, 4
TRUE_LIMIT_WAVES = 2
RELEASE_SECONDS = 0.3
SHORT_FACTOR = 0.08
MANY_RUNNING = 1000

PICTURE = "http://pictures.test/picture.png"
REQUESTS: Mapping[str, Request] = {
    "change_bg": ChangeBgRequest(base_image_url=PICTURE, ref_image_url=PICTURE),
    "change_cloth": ChangeClothRequest(top_garment_url=PICTURE, bottom_garment_url=PICTURE, person_image_url=PICTURE),
    "expand": ExpandRequest(base_image_url=PICTURE),
    "fix": FixRequest(base_image_url=PICTURE),
}
TEN = ("change_bg", "expand", "change_cloth", "change_bg", "fix", "change_cloth", "change_bg", "expand")
TEN = (*TEN, "change_cloth", "fix")
# At the documented submit rates of 2, 10 and 2 a second these are under way together about ten seconds after the first.
CROWD = ("change_cloth",) * 112 + ("change_bg",) * 30 + ("expand",) * 50 + ("fix",) * 8


# The upstream: one process, an emulator for each account.


def draw_picture() -> bytes:
    """Draw an RGBA PNG that every model takes."""
    pixels = np.random.default_rng(1).integers(0, 255, (40, 40, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((640, 560), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def make_emulator(public_url: str, figures: Mapping[str, Any]) -> Emulator:
    """Make an emulator whose pictures cost nothing."""
    picture = draw_picture()

    async def fetch(_: str) -> bytes:
        return picture

    async def run_here(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return function(*args, **kwargs)

    def paint(job: PaintJob) -> list[bytes]:
        return [picture] * job.count

    config = EmulatorConfig(public_url=public_url, inspect_inputs=False, max_requests=20_000, **figures)
    return Emulator(config, fetch=fetch, run_pixels=run_here, paint=paint)


def serve_upstreams(line: Connection, accounts: Sequence[Mapping[str, Any]]) -> None:
    """Serve an emulator for each account until the other end of the line is closed."""
    asyncio.run(_serve_upstreams(line, accounts))


async def _serve_upstreams(line: Connection, accounts: Sequence[Mapping[str, Any]]) -> None:
    async with AsyncExitStack() as stack:
        servers, sockets = [], []
        for figures in accounts:
            listening = stack.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            listening.listen(256)
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            emulator = await stack.enter_async_context(make_emulator(address, figures))
            servers.append(make_server(emulator.app, "127.0.0.1", 0))
            sockets.append(listening)
            line.send(address)
        running = [
            asyncio.create_task(server.serve(sockets=[listening]))
            for server, listening in zip(servers, sockets, strict=True)
        ]
        await asyncio.to_thread(line.poll, None)
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*running)


@dataclass(slots=True)
class Upstream:
    """One account at the upstream, and the calls it has received since they were last asked for."""

    address: str
    _known: int = 0

    @property
    def base_url(self) -> str:
        """What a client of DashScope is pointed at."""
        return f"{self.address}/api/v1"

    async def new_calls(self) -> list[Mapping[str, Any]]:
        """Return the calls received since the last time."""
        async with httpx.AsyncClient(trust_env=False, timeout=30.0) as http:
            calls: list[Mapping[str, Any]] = (await http.get(f"{self.address}/_emulator/ledger")).json()["calls"]
        new = [call for call in calls if call["number"] > self._known]
        self._known = max((call["number"] for call in new), default=self._known)
        return new


# The contenders: imgapi and the vendor's SDK.


@dataclass(frozen=True, slots=True)
class Seen:
    """A task whose end was seen; seconds since the epoch, by the same clock on both sides."""

    began: float
    ended: float
    answered: float

    @property
    def delay(self) -> float:
        """Seconds between the end upstream and the answer in the client's hands."""
        return self.answered - self.ended


def read_times(scheduled: str | None, ended: str | None, answered: float) -> Seen:
    """Make what was seen of the upstream's own times."""
    began, end = read_documented_time(scheduled), read_documented_time(ended)
    assert began is not None, "the task has not begun"
    assert end is not None, "the task has not ended"
    return Seen(began, end, answered)


def write_body(operation: str) -> tuple[Candidate[Any], SubmitBody]:
    """Return an edit's preferred model and what the service would submit to it."""
    candidate: Candidate[Any] = EDITS[operation].candidates[0]
    pictures = {name: PreparedPicture(PICTURE, 640, 560) for name in candidate.inputs}
    return candidate, candidate.body(REQUESTS[operation], pictures)


class Imgapi:
    """The service's own client, lanes, forecast and poller, put together as the service does."""

    def __init__(self, upstream: Upstream, *, running: int | None) -> None:
        clock = SystemClock()
        kept, fresh = (httpx.Limits(max_connections=64, max_keepalive_connections=count) for count in (16, 0))
        self._http, self._http_submit = (
            httpx.AsyncClient(limits=limits, trust_env=False, timeout=30.0) for limits in (kept, fresh)
        )
        account = Account(upstream.base_url, SecretStr(KEY))
        self._dashscope = DashScope(self._http, self._http_submit, account, clock)
        limits = LIMITS if running is None else {name: replace(row, running=running) for name, row in LIMITS.items()}
        self._pacing = Pacing(clock, limits, max_waiting=len(CROWD))
        self._poller = Poller(self._dashscope, clock, Spacing(clock, QUERIES_PER_SECOND))
        self._forecast = Forecast()

    async def run(self, operation: str, release: float) -> Seen:
        """Submit after some seconds and wait for the end, as an edit of the service does."""
        candidate, body = write_body(operation)
        await asyncio.sleep(release)
        lane = self._pacing.lane(candidate.model, candidate.usual_seconds)
        async with lane.place():
            await lane.spacing.wait()
            accepted = await self._dashscope.submit(candidate.path, body, asynchronous=True)
            times = self._forecast.of(f"{operation}/{candidate.model}/1", candidate.usual_seconds)
            task_id = accepted.output.task_id or ""
            report = await self._poller.follow(task_id, times, deadline_seconds=120.0)
            answered = time.time()
        assert report.output.task_status == "SUCCEEDED", report
        return read_times(report.output.scheduled_time, report.output.end_time, answered)

    async def close(self) -> None:
        """Stop the poller and close the connections."""
        await self._poller.close()
        await self._http.aclose()
        await self._http_submit.aclose()


class Vendor:
    """The vendor's SDK, a thread for each task."""

    def __init__(self, upstream: Upstream) -> None:
        self._base_url = upstream.base_url
        self._threads = ThreadPoolExecutor(len(TEN))

    async def run(self, operation: str, release: float) -> Seen:
        """Submit after some seconds and wait for the end with the SDK's own schedule."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, operation, release)

    def _run(self, operation: str, release: float) -> Seen:
        time.sleep(release)
        candidate, written = write_body(operation)
        body = written.to_json()
        group, task, function = candidate.path.split("/") if candidate.path.count("/") == 2 else ("", "", "")
        place = {"api_key": KEY, "base_address": self._base_url}
        accepted = BaseAsyncApi.async_call(
            body["model"], body["input"], group, task, function, **place, **body["parameters"]
        )
        ended = BaseAsyncApi.wait(accepted, **place)
        answered = time.time()
        assert ended.status_code == 200, ended
        assert ended.output["task_status"] == "SUCCEEDED", ended
        return read_times(ended.output["scheduled_time"], ended.output["end_time"], answered)

    async def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()


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


def most_in_flight(tasks: Iterable[Seen]) -> int:
    """Count the most tasks that ran at the same time."""
    steps = sorted(step for task in tasks for step in ((task.began, 1), (task.ended, -1)))
    return max(itertools.accumulate(change for _, change in steps))


# The experiments.


async def run_waves(
    contender: Imgapi | Vendor, upstream: Upstream, operations: Sequence[str], *, waves: int, release: float
) -> Record:
    """Run waves one after the other; within each, tasks are released in order, so many seconds apart."""
    record = Record()
    for _ in range(waves):
        begun = time.monotonic()
        runs = (contender.run(operation, release * index) for index, operation in enumerate(operations))
        record.seen += await asyncio.gather(*runs)
        record.wave_seconds.append(time.monotonic() - begun)
        record.calls += await upstream.new_calls()
    return record


async def compare(
    ours: Upstream, theirs: Upstream, *, running: int | None, learning: int, measured: int
) -> dict[str, Record]:
    """Run the same waves of ten with imgapi and with the SDK, at the same time and each on its own account."""
    imgapi, vendor = Imgapi(ours, running=running), Vendor(theirs)

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
    ends = busiest_second(task.ended for task in crowd.seen)
    return (
        "The list of tasks tells who has ended but not with what, so each end needs one query of its own. N ends in "
        f"one moment are therefore seen over N / {QUERIES_PER_SECOND:g} seconds at imgapi's own pace: mean delay "
        f"N / {2 * QUERIES_PER_SECOND:g} s, and N / {2 * ACCOUNT_LIMIT} s for any client within the limit. Two hundred "
        f"ends in one moment: {200 / 2 / QUERIES_PER_SECOND:.1f} s on average, {200 / QUERIES_PER_SECOND:.1f} s for "
        f"the last. Of a steady load the account can see at most {ACCOUNT_LIMIT} ends a second. In the warm run at most "
        f"{most_in_flight(crowd.seen)} tasks ran at once and at most {ends} ended within one second."
    )


def write_report(results: Mapping[str, Mapping[str, Record]], seconds: float) -> str:
    """Write the result page."""
    judged = judge(results)
    parts = [
        "# Poll timing\n\nWritten by `bench/polling.py` (`sh scripts/bench`); do not edit.",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"imgapi {version('imgapi')}, dashscope SDK {version('dashscope')}, {seconds:.0f} s in all.",
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
    processes = multiprocessing.get_context("spawn")
    line, far_end = processes.Pipe()
    accounts = describe_accounts()
    server = processes.Process(target=serve_upstreams, args=(far_end, accounts), daemon=True)
    server.start()
    try:
        upstreams = [Upstream(line.recv()) for _ in accounts]
        results = asyncio.run(run_all(upstreams))
    finally:
        line.send(None)
        server.join(10.0)
    report = write_report(results, time.monotonic() - begun)
    RESULT.write_text(report, encoding="utf-8")
    print(report)
    return 0 if all(met for _, met in judge(results)) else 1


if __name__ == "__main__":
    sys.exit(main())
