"""A thousand tasks waiting in one process: memory, CPU, the event loop's lag, and how fast a task can be looked at.

`sh scripts/bench waiting` takes about four minutes and writes its section of bench/durable.md. The server is
`imgapi serve` on SQLite, its upstream `imgapi emulator` with the documented run times and two running places, so that
the line moves all the while.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from bench.durable_page import Verdict, publish, share, table
from bench.utilities_load import cpu_seconds, resident_bytes, tree

from e2e.callers import ASYNC, Caller, body_of
from e2e.stages import Stage, staged

TASKS = 1000
LISTENERS = 100
AT_ONCE = 8
PHASE_SECONDS = 30.0
LOOKS_PER_SECOND = 40.0
LAG_SECONDS = 0.05
MOST_LOOK_SECONDS = 0.05


@dataclass(slots=True)
class Phase:
    """What was measured in a stretch of time; seconds each.

    Attributes:
        idle_cores: CPU per second while nobody asked for anything.
        busy_cores: CPU per second while tasks were looked at.
        memory_bytes: Of the process tree, proportional set sizes.
        looks: Of each `GET /tasks/{id}`.
        lags: Of each `GET /livez`, which does nothing but take its turn in the event loop.
        events: Server-sent events that listeners got.
    """

    name: str
    idle_cores: float = 0.0
    busy_cores: float = 0.0
    memory_bytes: int = 0
    looks: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    events: int = 0

    def row(self) -> tuple[str, ...]:
        """Write the row of the table."""
        looks = (f"{1000 * share(self.looks, part):.1f}" if self.looks else "–" for part in (0.5, 0.99, 1.0))
        lags = (f"{1000 * share(self.lags, part):.1f}" for part in (0.5, 0.99, 1.0))
        cpu = (f"{100 * cores:.1f}" for cores in (self.idle_cores, self.busy_cores))
        return (self.name, f"{self.memory_bytes / 1e6:.0f}", *cpu, *lags, *looks, str(self.events))


HEAD = (
    *("phase", "memory, MB", "CPU at rest, % of a core", "CPU asked", "loop p50, ms", "p99", "most"),
    *("`GET /tasks/{id}` p50, ms", "p99", "most", "events"),
)


async def keep_asking(http: httpx.AsyncClient, paths: list[str], pause_seconds: float, times: list[float]) -> None:
    """Ask for paths by turns drawn at random, until cancelled; note how long each answer took."""
    chance = random.Random(1)  # noqa: S311 - repeatable, no secret
    while True:
        begun = time.perf_counter()
        (await http.get(chance.choice(paths))).raise_for_status()
        times.append(time.perf_counter() - begun)
        await asyncio.sleep(max(0.0, pause_seconds - times[-1]))


async def measure(stage: Stage, name: str, task_ids: list[str], seconds: float) -> Phase:
    """Let the server rest, then ask for its tasks; measure both."""
    phase, process_id = Phase(name), stage.server.pid
    used, begun = cpu_seconds(process_id), time.monotonic()
    await asyncio.sleep(seconds / 2)
    phase.idle_cores = (cpu_seconds(process_id) - used) / (time.monotonic() - begun)
    used, begun = cpu_seconds(process_id), time.monotonic()
    async with httpx.AsyncClient(base_url=stage.server.address, timeout=30.0, trust_env=False) as http:
        asking = [asyncio.create_task(keep_asking(http, ["/livez"], LAG_SECONDS, phase.lags))]
        if task_ids:
            paths = [f"/tasks/{task_id}" for task_id in task_ids]
            asking.append(asyncio.create_task(keep_asking(http, paths, 1 / LOOKS_PER_SECOND, phase.looks)))
        await asyncio.wait(asking, timeout=seconds)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    phase.busy_cores = (cpu_seconds(process_id) - used) / (time.monotonic() - begun)
    phase.memory_bytes = resident_bytes(tree(process_id))
    return phase


async def accept_all(stage: Stage, count: int) -> tuple[list[str], list[float], float]:
    """Have so many tasks accepted, some at once; return their ids, how long each answer took, and all of them."""
    task_ids, times = list[str](), list[float]()
    numbers = iter(range(count))

    async def work(http: httpx.AsyncClient) -> None:
        for number in numbers:
            begun = time.perf_counter()
            answer = await http.post("/fix", json=body_of(f"task {number}"), headers=ASYNC)
            times.append(time.perf_counter() - begun)
            assert answer.status_code == httpx.codes.ACCEPTED, answer.text
            task_ids.append(answer.json()["task_id"])

    begun = time.perf_counter()
    async with Caller(stage.server.address) as caller:
        await asyncio.gather(*(work(caller.http) for _ in range(AT_ONCE)))
    return task_ids, times, time.perf_counter() - begun


async def listen(http: httpx.AsyncClient, task_id: str, heard: Counter[str]) -> None:
    """Listen to a task's events until cancelled; count them by name."""
    async with http.stream("GET", f"/tasks/{task_id}/events", timeout=None) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("event:"):
                heard[line.removeprefix("event:").strip()] += 1


async def measure_listening(stage: Stage, task_ids: list[str], seconds: float) -> Phase:
    """Measure while some callers listen to their tasks' events."""
    heard: Counter[str] = Counter()
    async with Caller(stage.server.address) as caller:
        listening = [asyncio.create_task(listen(caller.http, task_id, heard)) for task_id in task_ids[-LISTENERS:]]
        await asyncio.sleep(1.0)
        phase = await measure(stage, f"{LISTENERS} listeners to events", task_ids, seconds)
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    phase.events = heard.total()
    return phase


async def run_all(stage: Stage, count: int, seconds: float) -> tuple[list[Phase], list[str]]:
    """Measure the empty server, fill it, measure it full and with listeners; return the phases and some words."""
    # One task more than nothing: a server that has worked has loaded what it needs for it.
    await stage.end_of(await stage.accept("before"))
    stage.emulator.set_pace(progress="seconds")
    empty = await measure(stage, "no task", [], seconds)
    task_ids, times, all_seconds = await accept_all(stage, count)
    # The last ones wait for as long as is measured.
    waiting = task_ids[count // 10 :]
    full = await measure(stage, f"{count} tasks", waiting, seconds)
    listened = await measure_listening(stage, waiting, seconds)
    last = await stage.look(task_ids[-1])
    accepted = (
        f"{count} tasks were accepted in {all_seconds:.1f} s, {AT_ONCE} at once: {1000 * share(times, 0.5):.0f} ms at "
        f"p50, {1000 * share(times, 0.99):.0f} ms at p99. At the end the last one was number "
        f"{last.get('queue_position')} in line and told to wait {last.get('estimated_seconds')} s."
    )
    kilobytes = (full.memory_bytes - empty.memory_bytes) / count / 1024
    words = [accepted, f"A waiting task takes {kilobytes:.1f} KB of memory."]
    return [empty, full, listened], words


def judge(full: Phase) -> list[Verdict]:
    """Hold what was measured against the promise, which is about waiting tasks; listeners are measured beside it."""
    p99 = share(full.looks, 0.99)
    promise = f"`GET /tasks/{{id}}` with {full.name} waiting: p99 under {1000 * MOST_LOOK_SECONDS:.0f} ms"
    return [(f"{promise}: {1000 * p99:.1f} ms", p99 < MOST_LOOK_SECONDS)]


READING = (
    "*Loop*: the time of a `GET /livez`, which only takes its turn in the event loop; what it is above that with no "
    "task is the lag that the tasks cause. *CPU* and *memory*: the whole process tree. The client shares the cores, "
    "and what it waits for them is in the times."
)


def main() -> int:
    """Run, print, write the section; 1 when the promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--seconds", type=float, default=PHASE_SECONDS, help="of each phase, at rest and asked")
    given = parser.parse_args()
    begun = time.monotonic()
    unbounded = {
        "IMGAPI_MAX_QUEUE_SECONDS": "1000000",
        "IMGAPI_MAX_TASKS": "100000",
        "IMGAPI_MAX_WAITING": "100000",
    }
    with tempfile.TemporaryDirectory() as folder, staged(Path(folder), 1, **unbounded) as stage:
        phases, words = asyncio.run(run_all(stage, given.tasks, given.seconds))
    parts = [table(HEAD, [phase.row() for phase in phases]), *words, READING]
    return publish("A thousand tasks waiting", judge(phases[1]), parts, time.monotonic() - begun)


if __name__ == "__main__":
    sys.exit(main())
