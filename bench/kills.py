"""Two hundred kills at random moments under a stream of tasks, judged by the upstream's record.

`sh scripts/bench kills` takes about a quarter of an hour and writes its section of bench/durable.md. The server is
`imgapi serve` on SQLite with results kept and webhooks sent, its upstream `imgapi emulator`. Every task is asked for
with an `Idempotency-Key` and asked for again when a kill swallowed the answer, as a careful caller does.
"""

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from bench.durable_page import Verdict, publish, share, table

from e2e.callers import TERMINAL, AcceptRefused, Caller
from e2e.judge import judge_ends, judge_fates
from e2e.stages import MODEL, Stage, staged

KILLS = 200
LONGEST_LIFE_SECONDS = 4.0
PAUSE_SECONDS = 0.3
LAST_SECONDS = 300.0
SEED = 6
# Edges last longer than they would, so that a random moment finds them.
SLOW_SHARE, SLOW_SECONDS = 0.5, 0.4
WEBHOOK_SECONDS = 0.2
EDGES = {
    "policy": "handing the picture over",
    "upload": "handing the picture over",
    "submit": "submitting",
    "poll": "looking",
    "result": "copying the result",
}
LINE, FOLLOWING, TELLING = "waiting, not yet submitted", "submitted, end not yet told", "delivering a webhook"


@dataclass(slots=True)
class Run:
    """What was done and seen.

    Attributes:
        asked: Prompts that were sent at least once.
        found: How many kills found something at that edge.
        start_seconds: From a start to the first good answer.
        swallowed: Requests whose answer a kill swallowed.
    """

    asked: list[str] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    start_seconds: list[float] = field(default_factory=list)
    swallowed: int = 0
    kills: int = 0


async def ask(stage: Stage, run: Run, stopping: asyncio.Event) -> None:
    """Ask for tasks one after the other, each until it is accepted, until told to stop."""
    for number in itertools.count():
        if stopping.is_set():
            return
        prompt = f"task {number}"
        run.asked.append(prompt)
        while prompt not in stage.prompts.values():
            try:
                await stage.accept(prompt, **{"Idempotency-Key": prompt})
            except httpx.ConnectError:
                await asyncio.sleep(PAUSE_SECONDS)
            except httpx.TransportError:
                run.swallowed += 1
                await asyncio.sleep(PAUSE_SECONDS)
            except AcceptRefused as refused:
                if refused.status not in {429, 503}:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)
        await asyncio.sleep(PAUSE_SECONDS)


def note_edges(stage: Stage, run: Run, at: float) -> None:
    """Count what the kill at an instant of the monotonic clock has interrupted."""
    record = stage.record
    found = {
        EDGES[call["call"]]
        for call in record.calls.values()
        if call["call"] in EDGES and call["started"] <= at and (call["ended"] is None or call["ended"] > at)
    }
    submitted = {submit.prompt for submit in record.submits if submit.started <= at}
    for task_id, prompt in list(stage.prompts.items()):
        told = [delivery.at for delivery in stage.receiver.of(task_id) if delivery.at <= at]
        if told and at - told[-1] < WEBHOOK_SECONDS:
            found.add(TELLING)
        if not told:
            found.add(FOLLOWING if prompt in submitted else LINE)
    run.found.update(found)


async def kill_again_and_again(stage: Stage, run: Run, kills: int, asking: asyncio.Task[None]) -> None:
    """Kill the server at random moments and start it again, as long as somebody asks for tasks."""
    chance = random.Random(SEED)  # noqa: S311 - repeatable moments, no secret
    for _ in range(kills):
        if asking.done():
            return
        await asyncio.sleep(chance.uniform(0.0, LONGEST_LIFE_SECONDS))
        killed = time.monotonic()
        await asyncio.to_thread(stage.server.kill)
        await asyncio.to_thread(note_edges, stage, run, killed)
        run.kills += 1
        begun = time.monotonic()
        await asyncio.to_thread(stage.server.start)
        run.start_seconds.append(time.monotonic() - begun)
        if run.kills % 20 == 0:
            print(f"{run.kills} kills, {len(stage.prompts)} tasks", file=sys.stderr, flush=True)


async def look_at_all(stage: Stage) -> dict[str, dict[str, Any]]:
    """Wait until all tasks have ended, or no longer; return them all."""
    try:
        await stage.until_told(list(stage.prompts), LAST_SECONDS)
    except AssertionError as late:
        print(late, file=sys.stderr)
    async with Caller(stage.server.address) as caller:
        return {task_id: await caller.look(task_id) for task_id in stage.prompts}


async def count_tasks(stage: Stage) -> int:
    """Count the tasks that the server knows."""
    count, query = 0, {"limit": "100"}
    async with Caller(stage.server.address) as caller:
        while True:
            page = (await caller.http.get("/tasks", params=query)).raise_for_status().json()
            count += len(page["tasks"])
            if "next_cursor" not in page:
                return count
            query["cursor"] = page["next_cursor"]


def judge(stage: Stage, run: Run, tasks: Mapping[str, Mapping[str, Any]], known: int) -> list[Verdict]:
    """Hold everything against the promises."""
    record, deliveries = stage.record, stage.receiver.deliveries
    unended = [task_id for task_id, task in tasks.items() if task["status"] not in TERMINAL]
    ends, fates = judge_ends(tasks, deliveries), judge_fates(stage.prompts, tasks, record)
    lost = [task_id for task_id, task in tasks.items() if task["status"] != "succeeded"]
    told = [task_id for task_id in lost if tasks[task_id].get("billed") == "unknown"]
    submits = [submit for submit in record.submits if not submit.was_refused]
    for offence in ends + fates:
        print(offence, file=sys.stderr)
    keys = len(set(run.asked))
    return [
        (f"{run.kills} kills; all {len(tasks)} accepted tasks ended: {len(unended)} did not", not unended),
        (f"each end told once, under one event id, and never another: {len(ends)} were not", not ends),
        (f"no more submits than tasks: {len(submits)} for {len(tasks)}", len(submits) <= len(tasks)),
        (f"no task submitted twice: {len(record.doubles)} were", not record.doubles),
        (f"no end contradicts what the upstream saw: {len(fates)} do", not fates),
        (f"all that did not succeed is told as a submit of unknown fate: {len(told)} of {len(lost)}", told == lost),
        (f"{run.swallowed} requests asked again, unanswered at first: {known} tasks for {keys} keys", known == keys),
        (f"no worker process outlived its server: {len(stage.server.orphans)} did", not stage.server.orphans),
    ]


def describe(stage: Stage, run: Run, tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write the tables."""
    edges = [LINE, *dict.fromkeys(EDGES.values()), FOLLOWING, TELLING]
    rows = [(edge, str(run.found[edge])) for edge in edges]
    unknown = [stage.prompts[task_id] for task_id, task in tasks.items() if task.get("billed") == "unknown"]
    heard = sum(bool(stage.record.submits_of(prompt)) for prompt in unknown)
    deliveries = stage.receiver.deliveries
    words = (
        f"Of the {len(unknown)} submits of unknown fate the upstream had received {heard}. {len(deliveries)} webhook "
        f"requests told {len({each.event_id for each in deliveries})} events. From a start to the first good answer: "
        f"{share(run.start_seconds, 0.5):.1f} s at p50, {max(run.start_seconds):.1f} s at most.\n\n"
        f"Kills come 0 to {LONGEST_LIFE_SECONDS:g} s after the server was ready. {SLOW_SHARE:.0%} of the uploads, "
        f"submits and result downloads take {SLOW_SECONDS:g} s longer, every webhook's answer {WEBHOOK_SECONDS:g} s."
    )
    return [table(("what the kill interrupted", "kills that found it"), rows), words]


async def run_all(stage: Stage, kills: int) -> tuple[Run, dict[str, dict[str, Any]], int]:
    """Kill under the stream, then let everything end."""
    stage.emulator.set_pace(progress="seconds", factor=0.12, spread=0.5)
    for call in ("upload", "submit", "result"):
        stage.emulator.script(call, times=None, chance=SLOW_SHARE, delay_seconds=SLOW_SECONDS)
    stage.receiver.answer_seconds = WEBHOOK_SECONDS
    run, stopping = Run(), asyncio.Event()
    asking = asyncio.create_task(ask(stage, run, stopping))
    try:
        await kill_again_and_again(stage, run, kills, asking)
    finally:
        stopping.set()
        await asking
    return run, await look_at_all(stage), await count_tasks(stage)


def main() -> int:
    """Run, print, write the section; 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    kills = parser.parse_args().kills
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        staged(Path(folder), IMGAPI_MODEL_LIMITS=f"{MODEL}=20/6") as stage,
    ):
        run, tasks, known = asyncio.run(run_all(stage, kills))
        verdicts, parts = judge(stage, run, tasks, known), describe(stage, run, tasks)
    return publish("Killed at random moments", verdicts, parts, time.monotonic() - begun)


if __name__ == "__main__":
    sys.exit(main())
