"""Measures the local utilities beside their peers: sharp behind fastify, ipx, thumbor, and a naive FastAPI with Pillow.

Run it with `sh scripts/bench utilities`; it takes about ten minutes and writes `bench/results.md`. Every contender is
a real HTTP server on the loopback; imgapi is `imgapi serve` as it comes, asked through its documented endpoints.
`--quick` measures for a third of the time, for a look while working.
"""

import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.utilities_inputs import Task, psnr, reference, the_four, the_growth, the_others
from bench.utilities_isolation import measure_isolation
from bench.utilities_load import Ask, Client, Load, run_load
from bench.utilities_parts import measure_parts
from bench.utilities_peers import CONTENDERS, VARIANTS, PeerMissing, Running, serving
from bench.utilities_report import Measured, judge, write_report

RESULT = Path(__file__).with_name("results.md")
ROUNDS, CLIENTS = 3, 16
WARM_SECONDS, ALONE_SECONDS, CROWD_SECONDS, GROWTH_SECONDS = 1.0, 2.0, 5.0, 2.0
QUICK = 0.3


@dataclass(slots=True)
class Bench:
    """The contenders that run, those that don't, and how long each measurement takes.

    Attributes:
        running: Servers by name.
        missing: Why a contender is not there, by name.
        pace: Factor on all durations.
    """

    running: dict[str, Running] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    pace: float = 1.0

    def asks(self, task: Task) -> Iterator[tuple[str, Running, Ask]]:
        """Yield the contenders that take a task, with their requests."""
        for name, server in self.running.items():
            ask = server.contender.ask(task)
            if ask is not None:
                yield name, server, ask

    def measure(self, task: Task) -> dict[str, Measured]:
        """Measure one task with everybody: quality, then in rounds one client alone, then sixteen at once."""
        results: dict[str, Measured] = {}
        best = reference(task)
        for name, server, ask in self.asks(task):
            client = Client(server.port)
            try:
                answer = ask.read(client.send(ask))
            except RuntimeError as exc:
                self.missing[f"{name}: {task.title}"] = str(exc)
                continue
            finally:
                client.close()
            results[name] = Measured(psnr(answer, best), len(answer))
            self._load(server, ask, 1, WARM_SECONDS)
        # In turns, so that what else the machine does weighs on all.
        for _ in range(ROUNDS):
            for name, server, ask in self.asks(task):
                if name in results:
                    results[name].alone.append(self._load(server, ask, 1, ALONE_SECONDS))
        for name, server, ask in self.asks(task):
            if name in results:
                results[name].crowd = self._load(server, ask, CLIENTS, CROWD_SECONDS, watch_memory=True)
        return results

    def _load(self, server: Running, ask: Ask, clients: int, seconds: float, *, watch_memory: bool = False) -> Load:
        return run_load(
            server.process.pid,
            server.port,
            ask,
            clients=clients,
            seconds=seconds * self.pace,
            watch_memory=watch_memory,
        )

    def measure_growth(self, tasks: Sequence[Task]) -> dict[str, list[float]]:
        """Measure the CPU milliseconds of every task with every kind of server; NaN where one refuses."""
        growth: dict[str, list[float]] = {}
        for task in tasks:
            for name, server, ask in self.asks(task):
                if name in VARIANTS:
                    continue
                try:
                    self._load(server, ask, 1, WARM_SECONDS)
                    cost = self._load(server, ask, 1, GROWTH_SECONDS).cpu_ms
                except RuntimeError as exc:
                    self.missing[f"{name}: {task.title}"] = str(exc)
                    cost = math.nan
                growth.setdefault(name, []).append(cost)
        return growth


def main() -> int:
    """Run everything, print and write the page; 1 when a target is missed."""
    begun = time.monotonic()
    bench = Bench(pace=QUICK if "--quick" in sys.argv[1:] else 1.0)
    four, others, growing = the_four(), the_others(), the_growth()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        for task in (*four, *others, *growing):
            (pictures / task.filename).write_bytes(task.source)
        for contender in CONTENDERS:
            try:
                bench.running[contender.name] = stack.enter_context(serving(contender, pictures))
            except PeerMissing as exc:
                bench.missing[contender.name] = str(exc)
        results = {task: bench.measure(task) for task in (*four, *others)}
        growth = bench.measure_growth(growing)
    isolation = measure_isolation(four)
    parts = [measure_parts(task) for task in four]
    versions = {name: server.contender.versions() for name, server in bench.running.items()}
    seconds = time.monotonic() - begun
    report = write_report(results, growth, growing, isolation, parts, versions, bench.missing, seconds)
    RESULT.write_text(report, encoding="utf-8")
    print(report)
    return 0 if all(met for _, met in judge(results)) else 1


if __name__ == "__main__":
    sys.exit(main())
