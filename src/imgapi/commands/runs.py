"""One run of `imgapi edit …`, from the command line that was read to the exit code."""

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgapi.api.logs import set_up_logs
from imgapi.clock import SystemClock
from imgapi.commands.batch import Batch, Order
from imgapi.commands.client import Service, ServiceRefused, ServiceUnreachable, Upload
from imgapi.commands.edit import Given
from imgapi.commands.operations import Operation
from imgapi.commands.outcomes import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_LATER,
    EXIT_SETTINGS,
    EXIT_TERMINATED,
    EXIT_USAGE,
    Outcome,
    exit_code,
    summary,
)
from imgapi.commands.places import at_server, in_process, in_process_settings, lasting_data, temporary_data
from imgapi.commands.reports import Reporter
from imgapi.commands.sources import (
    LeaveOut,
    Source,
    UnreadableSource,
    UsageError,
    find_sources,
    is_single,
    one_source,
)
from imgapi.commands.targets import Target, output_folder, plan_targets
from imgapi.contract.service import OperationsReply
from imgapi.edits.catalogue import EDITS
from imgapi.settings import Settings, SettingsInvalidError, read_settings
from imgapi.tasks.database import DatabaseUnusableError

# How the sentence begins of a database that another process has.
_LOCKED = "Another imgapi"
_AGAIN = "Run the same command again to go on; what was begun is found again and not paid twice."


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a command line comes to.

    Args:
        order: What is asked for.
        given: The rest of the command line.
        key: What the server asks for.
        work: Each picture, and where what is made of it goes.
        folder: Where results go.
    """

    order: Order
    given: Given
    key: str | None
    work: list[tuple[Source, Target]]
    folder: Path


def run(operation: Operation, fields: Mapping[str, Any], given: Given) -> int:
    """Run a command; return its exit code.

    Args:
        operation: Which of the nine.
        fields: The public fields that the caller set.
        given: The rest of the command line.
    """
    try:
        settings = read_settings()
        plan = _make_plan(operation, fields, given)
    except UsageError as exc:
        return _end(str(exc), EXIT_USAGE)
    except SettingsInvalidError as exc:
        return _end(str(exc), EXIT_SETTINGS)
    is_standard = any(target.is_standard for _, target in plan.work)
    with Reporter(len(plan.work), as_json=given.as_json, is_standard_taken=is_standard) as reporter:
        left = _leave_off(plan, reporter)
        ended = _run_to_end(_work(plan, left, settings, reporter)) if left else None
        if ended in {EXIT_INTERRUPTED, EXIT_TERMINATED}:
            done = sum(each.status in {"done", "skipped"} for each in reporter.outcomes)
            reporter.note(f"stopped; {done} of {len(plan.work)} are done. {_AGAIN}")
        elif ended is None and (len(plan.work) > 1 or reporter.outcomes[0].status == "skipped"):
            reporter.note(summary(reporter.outcomes))
    return exit_code(reporter.outcomes) if ended is None else ended


def _end(sentence: str, code: int) -> int:
    with Reporter(0, as_json=False) as reporter:
        reporter.note(sentence)
    return code


def _make_plan(operation: Operation, fields: Mapping[str, Any], given: Given) -> _Plan:
    """Find out what is to be done, before anything is.

    Raises:
        UsageError: It can't be meant so.
    """
    further = {name: fields[name] for name in operation.other_pictures if name in fields}
    if mistake := operation.find_mistake(fields):
        raise UsageError(mistake)
    require_url(given.server)
    single = is_single(given.pictures)
    folder = output_folder(given.output, single=single)
    sources = find_sources(given.pictures, recursive=given.recursive, leave_out=LeaveOut(folder, operation.command))
    targets = plan_targets(sources, given.output, operation.command, single=single)
    if given.as_json and any(target.is_standard for target in targets):
        raise UsageError("Standard output can't have both the picture and --json; name a file with --output.")
    order = Order(
        operation,
        {name: value for name, value in fields.items() if name not in further},
        {name: _read_picture(text) for name, text in further.items()},
        overwrite=given.overwrite,
        salt=secrets.token_hex(16) if given.anew else "",
    )
    return _Plan(order, given, read_key(given.key_file), list(zip(sources, targets, strict=True)), folder)


def _read_picture(text: str) -> str | Upload:
    source = one_source(text)
    try:
        return source.url or source.read()
    except UnreadableSource as exc:
        raise UsageError(str(exc)) from exc


def require_url(server: str | None) -> None:
    """Check where a server is said to be.

    Raises:
        UsageError: That is no URL.
    """
    if server is not None and not server.startswith(("http://", "https://")):
        raise UsageError(f"--server is {server}, and it has to begin with http:// or https://.")


def read_key(path: Path | None) -> str | None:
    """Read the key that a server asks for from its file.

    Raises:
        UsageError: There is none in it.
    """
    if path is None:
        return None
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"The key file {path} can't be read.") from exc
    if not key or not all("!" <= character <= "~" for character in key):
        raise UsageError(f"The key file {path} has to hold the key and nothing else.")
    return key


def _leave_off(plan: _Plan, reporter: Reporter) -> list[tuple[Source, Target]]:
    """Leave off what an earlier run has done; return the rest."""
    left: list[tuple[Source, Target]] = []
    for source, target in plan.work:
        made = [] if plan.order.overwrite else target.find_made()
        if made:
            reporter.ended(source.text, Outcome(source.text, "skipped", tuple(made)))
        else:
            left.append((source, target))
    return left


def _run_to_end(work: Coroutine[Any, Any, int | None]) -> int | None:
    """Run until the end, or until somebody stops it; return the exit code, None where the outcomes tell it."""

    async def stoppable() -> int | None:
        task = asyncio.current_task()
        # Not on every platform, and only in the main thread.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: task and task.cancel())
        return await work

    try:
        return asyncio.run(stoppable())
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except asyncio.CancelledError:
        return EXIT_TERMINATED


async def _work(plan: _Plan, left: list[tuple[Source, Target]], settings: Settings, reporter: Reporter) -> int | None:
    try:
        async with _open(plan, settings) as service:
            who = _who(service, plan.order.operation, await service.describe())
            if who is not None:
                reporter.note(who)
            await Batch(service, plan.order, reporter, SystemClock()).run(left, plan.given.jobs)
    except SettingsInvalidError as exc:
        reporter.note(str(exc))
        return EXIT_SETTINGS
    except DatabaseUnusableError as exc:
        if not str(exc).startswith(_LOCKED):
            reporter.note(str(exc))
            return EXIT_SETTINGS
        reporter.note(
            f"Another imgapi edit makes pictures for {plan.folder.absolute()}; wait for its end, write to another "
            "folder, or let several share an `imgapi serve` by --server."
        )
        return EXIT_LATER
    except (ServiceRefused, ServiceUnreachable) as exc:
        reporter.note(str(exc))
        return EXIT_LATER if isinstance(exc, ServiceRefused) and exc.is_for_later else EXIT_FAILED
    return None


@asynccontextmanager
async def _open(plan: _Plan, settings: Settings) -> AsyncIterator[Service]:
    """Find the service, or run it here: what is paid for in a folder of its own that outlives this process."""
    if plan.given.server is not None:
        async with at_server(plan.given.server, plan.key, settings) as service:
            yield service
        return
    is_paid = settings.dashscope_api_key is not None and plan.order.operation.name in EDITS
    data = lasting_data(str(plan.folder.absolute())) if is_paid else temporary_data()
    set_up_logs("json", "error")
    async with AsyncExitStack() as stack:
        folder = await asyncio.to_thread(data.__enter__)
        stack.push_async_callback(asyncio.to_thread, data.__exit__, None, None, None)
        service, _ = await stack.enter_async_context(in_process(in_process_settings(settings, folder)))
        yield service


def _who(service: Service, operation: Operation, told: OperationsReply) -> str | None:
    """Say who makes the pictures; None for what is worked out and not made."""
    if not operation.is_edit:
        return None
    where = "in this process" if service.is_local else f"by {service.base_url}"
    found = next((each for each in told.operations if each.path == operation.path), None)
    if found is None or not found.models:
        return f"pictures are cut out {where}, by {told.matting} matting."
    if told.upstream == "dashscope":
        return f"pictures are made {where} at DashScope, by {found.models[0]}; they are paid for."
    return f"pictures are made {where} as local previews, as no DASHSCOPE_API_KEY is set there."
