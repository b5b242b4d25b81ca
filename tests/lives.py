"""A process with the durable engine and nothing else: lives whose steps write down that they ran.

`python lives.py FOLDER OWNER COMMAND:TASK ...`: `start`, `resume` and `forget` do so and wait until no life goes on;
`hang` before them names a step that never ends, `stop` one at which the engine is closed, `twice` launches a second.
"""

import asyncio
import sys
from pathlib import Path

from imgapi.clock import SystemClock
from imgapi.tasks.database import Database
from imgapi.tasks.engine import DurableEngine
from imgapi.tasks.plan import Outcome

LOG = "steps.log"
FILE = "tasks.sqlite3"
LOOK_SECONDS = 0.02
# What the engine takes to write down an end that has come.
RECORDED_SECONDS = 0.3


class Writing:
    """Steps that only write down that they began."""

    def __init__(self, folder: Path, hangs_at: str) -> None:
        self.begun = asyncio.Event()
        self.kept: set[str] = set()
        self._log = folder / LOG
        self._hangs_at = hangs_at

    async def _write(self, step: str, task_id: str, outcome: Outcome) -> Outcome:
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"{step} {task_id}\n")
        if step == self._hangs_at:
            self.begun.set()
            await asyncio.Event().wait()
        return outcome

    async def prepare(self, task_id: str) -> Outcome:
        """Write."""
        return await self._write("prepare", task_id, Outcome.READY)

    async def submit(self, task_id: str) -> Outcome:
        """Write."""
        return await self._write("submit", task_id, Outcome.ACCEPTED)

    async def follow(self, task_id: str) -> Outcome:
        """Write."""
        return await self._write("follow", task_id, Outcome.MADE)

    async def keep(self, task_id: str) -> Outcome:
        """Write, and remember it."""
        self.kept.add(task_id)
        return await self._write("keep", task_id, Outcome.ENDED)


async def main(folder: Path, owner: str, commands: list[tuple[str, str]]) -> None:
    """Do the commands in order."""
    given = dict(commands)
    steps = Writing(folder, given.get("hang") or given.get("stop", ""))
    database = Database(f"sqlite:///{folder / FILE}", SystemClock())
    await database.open()
    engine = DurableEngine(database, owner)
    await engine.launch(steps)
    for command, task_id in commands:
        match command:
            case "start":
                await engine.start(task_id)
            case "resume":
                await engine.resume(task_id)
            case "forget":
                await engine.forget([task_id])
            case "twice":
                await DurableEngine(database, "another").launch(steps)
            case "wait":
                await wait_for_end(engine, steps, task_id)
    if "stop" in given:
        await steps.begun.wait()
    if "hang" in given:
        await asyncio.Event().wait()
    await engine.close()
    database.close()


async def wait_for_end(engine: DurableEngine, steps: Writing, task_id: str) -> None:
    """Wait until this process has lived a life to its end."""
    while task_id not in steps.kept or task_id in engine.running:  # noqa: ASYNC110 - the engine tells nobody of ends
        await asyncio.sleep(LOOK_SECONDS)
    await asyncio.sleep(RECORDED_SECONDS)


if __name__ == "__main__":
    words = [word.partition(":") for word in sys.argv[3:]]
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], [(command, task_id) for command, _, task_id in words]))
