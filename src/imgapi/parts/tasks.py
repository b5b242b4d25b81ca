"""The parts of tasks: what runs, keeps and tells them."""

import hashlib
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from imgapi.api.metrics import Metrics
from imgapi.clock import Clock
from imgapi.contract import edits as words
from imgapi.contract.fields import Request as EditRequest
from imgapi.dashscope.client import Account, DashScope
from imgapi.edits.catalogue import EDITS
from imgapi.edits.edit import Edit
from imgapi.edits.models import LIMITS, ModelLimits
from imgapi.edits.prepare import Preparer
from imgapi.edits.remove_bg import RemoveBg
from imgapi.emulator.app import Emulator
from imgapi.errors import InvalidParameter
from imgapi.matting.by_model import ByModel
from imgapi.parts.files import Stores, sweep
from imgapi.parts.pixels import cut_out_engine, picture_limits
from imgapi.parts.upstream import INPUTS_HOST
from imgapi.pictures.workers import Workers
from imgapi.results.links import Links
from imgapi.settings import Settings, SettingsInvalidError, environment_name
from imgapi.sources.fetch import Fetcher
from imgapi.sources.messages import MessageLimits, Poster
from imgapi.tasks.catalogue import Catalogue, RetiredModels
from imgapi.tasks.changes import Changes
from imgapi.tasks.database import Database
from imgapi.tasks.housekeeping import Housekeeping
from imgapi.tasks.inputs import InputStore
from imgapi.tasks.keeping import Keeper
from imgapi.tasks.ledger import Ledger
from imgapi.tasks.life import Life
from imgapi.tasks.pacing import LanePace
from imgapi.tasks.plan import Engine
from imgapi.tasks.polling import Poller
from imgapi.tasks.run import Bounds, TaskRunner
from imgapi.tasks.sealing import Seal, read_or_make_secret
from imgapi.tasks.signing import derived_secret, read_secret
from imgapi.tasks.views import Views
from imgapi.tasks.webhooks import Deliverer
from imgapi.tasks.written import Written

REQUESTS: Mapping[str, type[EditRequest]] = {
    "change_bg": words.ChangeBgRequest,
    "change_cloth": words.ChangeClothRequest,
    "expand": words.ExpandRequest,
    "fix": words.FixRequest,
    "remove_bg": words.RemoveBgRequest,
    "remove_watermark": words.RemoveWatermarkRequest,
}


@dataclass(frozen=True, slots=True)
class Below:
    """The parts that tasks stand on."""

    workers: Workers
    fetcher: Fetcher
    emulator: Emulator | None
    dashscope: DashScope
    by_model: ByModel | None
    preparer: Preparer
    stores: Stores
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a running service that tests and the command line may want to look at."""

    settings: Settings
    clock: Clock
    workers: Workers
    fetcher: Fetcher
    dashscope: DashScope
    database: Database
    seal: Seal
    changes: Changes
    runner: TaskRunner
    housekeeping: Housekeeping
    deliverer: Deliverer
    poster: Poster
    stores: Stores
    emulator: Emulator | None
    by_model: ByModel | None
    metrics: Metrics


def make_tasks(settings: Settings, clock: Clock, engine: Callable[[Database, str], Engine], below: Below) -> Parts:
    """Make what tasks are made of, on top of the other parts.

    Raises:
        SettingsInvalidError: A setting names what this installation can't do.
    """
    if settings.secret is None and settings.tasks_url.startswith("postgres"):
        message = (
            f"{environment_name('secret')} is missing: all processes that share a PostgreSQL need the same; "
            "`openssl rand -base64 32` makes one."
        )
        raise SettingsInvalidError(message)
    if settings.webhook_secret is not None:
        try:
            read_secret(settings.webhook_secret.get_secret_value())
        except ValueError as exc:
            raise SettingsInvalidError(f"{environment_name('webhook_secret')} has a wrong value: {exc}.") from exc
    owner = str(uuid.uuid4())
    log = structlog.get_logger("imgapi.tasks")
    database = Database(settings.tasks_url, clock)
    seal = Seal(lambda: _secret(settings))
    changes = Changes(database, clock)

    def wake() -> None:
        deliverer.wake()

    ledger = Ledger(database, changes, owner, settings.tasks_ttl, planned=wake, count_end=below.metrics.count_end)
    account = _account_name(below.dashscope.account)
    catalogue = Catalogue(
        _chosen_edits(settings),
        _limits(settings),
        account,
        settings.workers,
        RetiredModels(clock, settings.retired_seconds),
    )
    keeper = _keeper(settings, clock, below)
    inputs = InputStore(below.stores.inputs, lambda name: f"{INPUTS_HOST}/inputs/{name}", settings.max_picture_bytes)
    life = Life(
        ledger=ledger,
        changes=changes,
        catalogue=catalogue,
        written=Written(seal, REQUESTS),
        remove_bg=RemoveBg(
            below.preparer, below.stores.results, keeper.links.write, clock, cut_out_engine(below.by_model)
        ),
        preparer=below.preparer,
        keeper=keeper,
        forget_inputs=inputs.forget,
        dashscope=below.dashscope,
        poller=Poller(
            below.dashscope, clock, LanePace(database, clock, f"{account}/queries", settings.queries_per_second)
        ),
        clock=clock,
        log=log,
        pending_seconds=settings.pending_seconds,
        deadline_seconds=settings.task_seconds,
        is_charged=below.emulator is None,
    )

    async def forget_files(names: Sequence[str]) -> None:
        # A name is of one kind, and the other store has nothing under it.
        await keeper.forget(names)
        await inputs.forget(names)

    runner = TaskRunner(
        ledger=ledger,
        changes=changes,
        life=life,
        engine=engine(database, owner),
        views=Views(seal, catalogue),
        bounds=Bounds(settings.max_tasks, settings.workers_waiting, settings.max_queue_seconds, settings.max_wait),
        store_inputs=inputs.take_out,
        forget_files=forget_files,
        dashscope=below.dashscope,
        clock=clock,
    )
    housekeeping = Housekeeping(
        database=database,
        changes=changes,
        engine=runner.engine,
        owner=owner,
        clock=clock,
        places=runner.places,
        grant=ledger.grant,
        forget_files=forget_files,
        sweep_files=lambda: sweep(below.stores),
        report=lambda event, subject: log.warning(event, subject=subject),
        ttl_seconds=settings.tasks_ttl,
    )
    poster = Poster(
        limits=MessageLimits(ports=frozenset(settings.source_ports)), allow_private=settings.allow_private_sources
    )
    deliverer = Deliverer(
        database=database,
        seal=seal,
        post=poster.post,
        clock=clock,
        body_of=runner.body,
        secret=lambda: _signing_secret(settings, seal),
        log=log,
        jitter=random.random,
    )
    return Parts(
        settings,
        clock,
        below.workers,
        below.fetcher,
        below.dashscope,
        database,
        seal,
        changes,
        runner,
        housekeeping,
        deliverer,
        poster,
        below.stores,
        below.emulator,
        below.by_model,
        below.metrics,
    )


def _keeper(settings: Settings, clock: Clock, below: Below) -> Keeper:
    async def fetch(url: str) -> bytes:
        return (await below.fetcher.fetch(url)).content

    return Keeper(
        store=below.stores.results,
        fetch=fetch,
        workers=below.workers,
        limits=picture_limits(settings),
        links=Links(f"{settings.own_url}/results/"),
        clock=clock,
        copies=settings.results is not None,
        secures=below.emulator is None and not settings.allow_private_sources,
    )


def _secret(settings: Settings) -> str:
    """The installation's secret: set, or made once in the data folder."""
    if settings.secret is not None:
        return settings.secret.get_secret_value()
    return read_or_make_secret(settings.data_dir / "secret")


def _signing_secret(settings: Settings, seal: Seal) -> str:
    given = settings.webhook_secret
    return derived_secret(seal.secret) if given is None else given.get_secret_value()


def webhook_secret(settings: Settings) -> str:
    """Find what webhooks are signed with: set, or derived from the installation's secret."""
    return _signing_secret(settings, Seal(lambda: _secret(settings)))


def _account_name(account: Account) -> str:
    """Name the account without telling its key."""
    told = f"{account.base_url} {account.key.get_secret_value()}"
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _limits(settings: Settings) -> Mapping[str, ModelLimits]:
    unknown = sorted(set(settings.model_limits) - set(LIMITS))
    if unknown:
        message = (
            f"{environment_name('model_limits')} has a wrong value: there are {', '.join(LIMITS)}, "
            f"and {', '.join(unknown)} was named."
        )
        raise SettingsInvalidError(message)
    own = {
        model: ModelLimits(rate, running, LIMITS[model].price_cny)
        for model, (rate, running) in settings.model_limits.items()
    }
    return {**LIMITS, **own}


def _chosen_edits(settings: Settings) -> Mapping[str, Edit[Any, Any]]:
    chosen = {}
    for operation, edit in EDITS.items():
        try:
            chosen[operation] = edit.ordered(settings.models_of(operation))
        except InvalidParameter as exc:
            message = f"{environment_name(f'{operation}_models')} has a wrong value: {exc.message}."
            raise SettingsInvalidError(message) from exc
    return chosen
