"""The page that the utilities' benchmark writes, and the targets it judges."""

import math
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench.utilities_inputs import Task
from bench.utilities_isolation import Isolation
from bench.utilities_load import Load
from bench.utilities_parts import Parts

from imgapi.pictures.encode import JPEG_QUALITY

US, BAR = "imgapi", "sharp"
CPU_TARGET, MEMORY_TARGET, PSNR_TARGET_DB, SCALING_TARGET = 0.75, 0.5, 0.3, 1.5
MEGABYTE = 1024 * 1024

Results = Mapping[Task, Mapping[str, "Measured"]]


@dataclass(slots=True)
class Measured:
    """What one contender did with one task.

    Attributes:
        psnr: Of its answer against the reference, dB.
        size_bytes: Of the picture it answered with.
        alone: Rounds of one client.
        crowd: Sixteen clients.
    """

    psnr: float
    size_bytes: int
    alone: list[Load] = field(default_factory=list)
    crowd: Load = field(default_factory=Load)

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds per request over all rounds of one client: clock ticks are too coarse for one round."""
        return 1000 * sum(load.cpu_seconds for load in self.alone) / sum(load.count for load in self.alone)

    @property
    def latency_ms(self) -> float:
        """Median latency of one client."""
        return 1000 * statistics.median(second for load in self.alone for second in load.latencies)

    @property
    def per_second(self) -> float:
        """Requests per second of one client, the best round."""
        return max(load.per_second for load in self.alone)


def judge(results: Results) -> list[tuple[str, bool]]:
    """Return the targets, each with its figures and whether it is met; none can be met without sharp."""
    judged = []
    for task in results:
        ours, sharp = results[task].get(US), results[task].get(BAR)
        if ours is None or sharp is None:
            judged.append((f"{task.title}: {US} or {BAR} is missing", False))
            continue
        ratio = ours.cpu_ms / sharp.cpu_ms
        figures = f"{ours.cpu_ms:.1f} against {sharp.cpu_ms:.1f} ms, {ratio:.2f} ×"
        judged.append((f"{task.title}: at most {CPU_TARGET} × sharp's CPU: {figures}", ratio <= CPU_TARGET))
        if task.suffix != ".svg":
            behind = 0.0 if math.isinf(ours.psnr) else sharp.psnr - ours.psnr
            judged.append(
                (
                    f"{task.title}: PSNR within {PSNR_TARGET_DB} dB of sharp's: {behind:+.2f} dB behind",
                    behind <= PSNR_TARGET_DB,
                )
            )
        memory = ours.crowd.peak_bytes / sharp.crowd.peak_bytes
        figures = f"{ours.crowd.peak_bytes / MEGABYTE:.0f} against {sharp.crowd.peak_bytes / MEGABYTE:.0f} MB"
        judged.append((f"{task.title}: half of sharp's memory under 16 clients: {figures}", memory <= MEMORY_TARGET))
        scaling = ours.crowd.per_second / ours.per_second
        judged.append(
            (
                f"{task.title}: 16 clients get {SCALING_TARGET} × one's throughput: {scaling:.2f} ×",
                scaling >= SCALING_TARGET,
            )
        )
    return judged


HEAD = (
    "| contender | **CPU, ms** | imgapi ÷ it | latency, ms | requests/s, 1 client | 16 clients | cores kept busy "
    "| memory at 16, MB | PSNR, dB | bytes |\n|---|---|---|---|---|---|---|---|---|---|"
)


def _table(task: Task, measured: Mapping[str, Measured]) -> str:
    ours = measured.get(US)
    rows = [f"## {task.title}\n\nThe source has {len(task.source)} bytes.\n", HEAD]
    for name, one in measured.items():
        ratio = f"{ours.cpu_ms / one.cpu_ms:.2f}" if ours is not None else "–"
        cells = (
            name,
            f"**{one.cpu_ms:.1f}**",
            ratio,
            f"{one.latency_ms:.1f}",
            f"{one.per_second:.1f}",
            f"{one.crowd.per_second:.1f}",
            f"{one.crowd.cores:.2f}",
            f"{one.crowd.peak_bytes / MEGABYTE:.0f}",
            "equal" if math.isinf(one.psnr) else "another size" if math.isnan(one.psnr) else f"{one.psnr:.2f}",
            str(one.size_bytes),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _growth_table(growth: Mapping[str, Sequence[float]], tasks: Sequence[Task]) -> str:
    rows = [
        "## Growth\n\nCPU milliseconds per request of a JPEG scaled to 512 px, one client.\n",
        f"| contender | {' | '.join(task.title.partition(' →')[0] for task in tasks)} |",
        "|---" * (len(tasks) + 1) + "|",
    ]
    for name, costs in growth.items():
        rows.append(f"| {name} | {' | '.join('refused' if math.isnan(cost) else f'{cost:.1f}' for cost in costs)} |")
    return "\n".join(rows)


def _isolation_table(isolation: Sequence[Isolation]) -> str:
    rows = [ISOLATION, "| task | in process | through a worker | cost |\n|---|---|---|---|"]
    rows += [
        f"| {row.task.title} | {row.direct_ms:.1f} | {row.isolated_ms:.1f} | {row.isolated_ms - row.direct_ms:+.1f} |"
        for row in isolation
    ]
    return "\n".join(rows)


def _parts_table(results: Results, isolation: Sequence[Isolation], parts: Sequence[Parts]) -> str:
    rows = [
        PARTS,
        "| task | decode or draw | scale | write | the rest of it | worker | HTTP | **whole** | sharp's whole | bar |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row, part in zip(isolation, parts, strict=True):
        ours, sharp = (results[row.task].get(name) for name in (US, BAR))
        if ours is None or sharp is None:
            continue
        codecs = (part.read_ms, part.scale_ms, part.write_ms)
        costs = (
            *codecs,
            row.direct_ms - sum(codecs),
            row.isolated_ms - row.direct_ms,
            ours.cpu_ms - row.isolated_ms,
            ours.cpu_ms,
            sharp.cpu_ms,
            CPU_TARGET * sharp.cpu_ms,
        )
        rows.append(f"| {row.task.title} | {' | '.join(f'{cost:.1f}' for cost in costs)} |")
    return "\n".join(rows)


def write_report(
    results: Results,
    growth: Mapping[str, Sequence[float]],
    growing: Sequence[Task],
    isolation: Sequence[Isolation],
    parts_of: Sequence[Parts],
    versions: Mapping[str, str],
    missing: Mapping[str, str],
    seconds: float,
) -> str:
    """Write the result page."""
    judged = judge(results)
    lead = (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, load {os.getloadavg()[2]:.1f}, "
        f"Python {platform.python_version()}, {seconds:.0f} s in all."
    )
    parts = [
        "# The local utilities beside their peers",
        "Written by `bench/utilities.py` (`sh scripts/bench utilities`); do not edit.",
        lead,
        "\n".join(f"- **{name}**: {made_of}" for name, made_of in versions.items()),
        "## Not measured\n\n"
        + ("\n".join(f"- {name}: {why}" for name, why in missing.items()) or "Nothing is missing."),
        "## Targets\n\n" + "\n".join(f"- {'met' if met else '**MISSED**'}: {text}." for text, met in judged),
        *(_table(task, measured) for task, measured in results.items()),
        _growth_table(growth, growing),
        _isolation_table(isolation),
        _parts_table(results, isolation, parts_of),
        READING,
    ]
    return "\n\n".join(parts) + "\n"


ISOLATION = """## What isolation costs

CPU milliseconds of the same call in this process and through a worker process: what it takes to pickle and send \
picture and answer, to wake threads, and to work in caches that another process has filled. Both keep freed memory; \
without that, page by page, a large picture takes a quarter more.
"""

PARTS = """## Where the time goes

CPU milliseconds: the codecs by themselves in this process (libjpeg-turbo, Lanczos, ISA-L, resvg); what else the call \
does (the header, cleaning an SVG, undoing its premultiplied alpha); what the worker process adds; what HTTP adds \
(parsing the form, the log line, base64, storing a PNG, and what the service does on its own meanwhile). They were \
measured one after the other, so they add up only as far as the machine was as busy. sharp decodes with the same \
library, so what remains between a decoding and the bar is all that the rest may take.
"""

READING = f"""## How to read it

- *CPU*: user and system time of the server's whole process tree, from `/proc` before and after, per request; one \
client with one kept-alive connection, three rounds together in which all contenders take turns. The client's own \
time is in no column.
- *Equal work*: imgapi has no quality setting and writes resized JPEGs at quality {JPEG_QUALITY} with the source's \
4:2:0 sampling, so all peers are asked for quality {JPEG_QUALITY} and 4:2:0 too; `sharp, quality 85` shows what the \
lower quality would save. imgapi and naive answer as JSON with base64, the others with the picture's bytes, which is \
the cheaper answer; `sharp, JSON answer` shows the difference. imgapi also writes its PNGs to the output folder. \
imgapi, sharp and naive get the picture as a multipart upload; ipx and thumbor, which take none, read it from a file.
- *PSNR*: against a full decode and Lanczos by Pillow; of an SVG, on white, against resvg's rendering at four times \
the size, averaged. Renderers of SVG differ by more than any of them errs, so no target is set there.
- *SVG*: three drawings, since what one costs differs more than the renderers do: a landscape of a hundred small \
shapes, which is light; large half-clear gradients, which beside the 12 MP photo cost sharp what the target's own \
drawing did; and a chart of some hundred words, which takes fonts.
- *Memory*: the most of the tree's proportional set size while 16 clients ask. *Cores kept busy*: CPU by wall clock in \
that time; the sixteen clients run on the same cores. Throughput and latency depend on what else the machine does, \
which the load tells; CPU does so far less.
- *sharp, fastest PNG*: deflate level 1.
- thumbor and naive run as two processes; sharp and ipx as they come, one process with libuv's threads; imgapi as it \
comes, one process for HTTP and one worker per core.
"""
