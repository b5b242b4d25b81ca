"""The tasks database: SQLite in the data folder, or PostgreSQL shared by several processes; the same SQL on both."""

import asyncio
import secrets
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from filelock import FileLock, Timeout

from imgapi.clock import Clock
from imgapi.errors import LedgerUnavailable
from imgapi.tasks import tables

T = TypeVar("T")

# Taken while tables are made, so that replicas that start together make them once.
_MAKING_TABLES = 7_401_226
POSTGRES_THREADS = 4
CHANNEL = "imgapi_tasks"
_RETRY_SECONDS = 10.0
# Two minutes: a database that is started anew, or whose standby takes over.
PAUSES_SECONDS = (0.2, 1.0, 3.0, 6.0, 10.0, 20.0, 30.0, 50.0)


class DatabaseUnusableError(Exception):
    """The tasks database can't be used; the message says why and what to do, in one sentence."""


class Database:
    """Runs transactions in threads of its own.

    SQLite has one thread: it writes one at a time anyway, and so no two transactions of this process ever meet.

    Args:
        url: As SQLAlchemy writes it; `postgresql://` means psycopg.
        clock: The time that is written where the database has none that all its users share.
        executor: Where transactions run; threads of its own when None.
    """

    def __init__(self, url: str, clock: Clock, executor: Executor | None = None) -> None:
        self.url = sa.make_url(url)
        if self.url.drivername in {"postgresql", "postgres"}:
            self.url = self.url.set(drivername="postgresql+psycopg")
        self.is_shared = self.url.get_backend_name() == "postgresql"
        self._clock = clock
        threads = POSTGRES_THREADS if self.is_shared else 1
        self._executor = executor or ThreadPoolExecutor(threads, thread_name_prefix="tasks-database")
        self._lock: FileLock | None = None
        self._is_open = False
        # Tells this process's own words from the others'.
        self._mark = secrets.token_hex(4)
        self.engine = self._make_engine()
        # For what is written down a second time, so that the last half second of it may be lost with the server.
        self.hasty_engine = self._make_engine("-c synchronous_commit=off") if self.is_shared else self.engine

    def _make_engine(self, options: str = "") -> sa.Engine:
        if self.is_shared:
            return sa.create_engine(
                self.url,
                pool_pre_ping=True,
                pool_size=10,
                connect_args={"connect_timeout": 5, "application_name": "imgapi", "options": options},
            )
        if self.url.database in {None, "", ":memory:"}:
            engine = sa.create_engine(self.url, poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
        else:
            engine = sa.create_engine(self.url)
        sa.event.listen(engine, "connect", _set_up_sqlite)
        return engine

    async def open(self) -> None:
        """Take the database for this process and make what is missing in it; once is enough.

        Raises:
            DatabaseUnusableError: It can't be reached, is another version's, or another process has it.
        """
        await asyncio.get_running_loop().run_in_executor(self._executor, self._open)

    def _open(self) -> None:
        if self._is_open:
            return
        if not self.is_shared:
            self._check_sqlite()
            self._take_file()
        try:
            with self.engine.begin() as connection:
                if self.is_shared:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MAKING_TABLES)))
                tables.metadata.create_all(connection)
                found = connection.execute(sa.select(tables.schema.c.version)).scalar()
                if found is None:
                    connection.execute(tables.schema.insert().values(version=tables.VERSION))
        except sa.exc.DBAPIError as exc:
            self.close()
            message = (
                f"IMGAPI_DATABASE_URL: the tasks database can't be used ({type(exc.orig).__name__}); "
                "is it running, and may this user make tables?"
            )
            raise DatabaseUnusableError(message) from exc
        if found is not None and found != tables.VERSION:
            self.close()
            message = (
                f"The tasks database is of version {found}, and this imgapi writes version {tables.VERSION}; "
                "run the version it belongs to."
            )
            raise DatabaseUnusableError(message)
        self._is_open = True

    def _check_sqlite(self) -> None:
        # DBOS 3.4 fails at its launch with this pair: the module and the library disagree about transactions.
        if sys.version_info >= (3, 12) and sqlite3.sqlite_version_info < (3, 42):
            python = ".".join(map(str, sys.version_info[:2]))
            message = (
                f"Python {python} with SQLite {sqlite3.sqlite_version} can't keep tasks: use SQLite 3.42 or newer, "
                "Python 3.11, or IMGAPI_DATABASE_URL with PostgreSQL."
            )
            raise DatabaseUnusableError(message)

    def _take_file(self) -> None:
        """Keep other processes off the file: each would run the tasks of the other."""
        if self.url.database in {None, "", ":memory:"}:
            return
        path = Path(str(self.url.database))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{path}.lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout as exc:
            self._lock = None
            message = (
                f"Another imgapi already works on {path.name} in this data folder; stop it, choose another "
                "IMGAPI_DATA_DIR, or let several share a PostgreSQL by IMGAPI_DATABASE_URL."
            )
            raise DatabaseUnusableError(message) from exc

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run one transaction; it is undone when `work` raises.

        Raises:
            LedgerUnavailable: The database is away, or its disk is full.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._transact, work)
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as exc:
            message = (
                "This server can't write down or look up tasks now, for its disk is full or its database away; tasks "
                "that are written down go on, nothing else was started, so try again later."
            )
            raise LedgerUnavailable(message, retry_after=_RETRY_SECONDS, detail=_name_of(exc)) from exc

    async def run_patiently(self, work: Callable[[sa.Connection], T]) -> T:
        """Run one transaction that must not be missed: a database that is away for a while is waited for.

        Raises:
            LedgerUnavailable: It is away for longer.
        """
        for pause in PAUSES_SECONDS:
            try:
                return await self.run(work)
            except LedgerUnavailable:
                await self._clock.sleep(pause)
        return await self.run(work)

    def _transact(self, work: Callable[[sa.Connection], T]) -> T:
        with self.engine.begin() as connection:
            return work(connection)

    def now(self, connection: sa.Connection) -> float:
        """Seconds since the epoch: by the database where several processes share it, else by this one's clock."""
        if not self.is_shared:
            return self._clock.time()
        return float(connection.execute(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))).scalar_one())

    def tell(self, connection: sa.Connection, subject: str) -> None:
        """Let the other processes know, once this transaction is done, that something about a task or lane changed."""
        if self.is_shared:
            connection.execute(sa.select(sa.func.pg_notify(CHANNEL, f"{self._mark} {subject}")))

    def read_word(self, payload: str) -> str | None:
        """Return what another process told of; None for a word of this one, which has heard it already."""
        mark, _, subject = payload.partition(" ")
        return None if mark == self._mark else subject

    def close(self) -> None:
        """Close all connections and give the file free."""
        self.engine.dispose()
        self.hasty_engine.dispose()
        if self._lock is not None:
            self._lock.release()
        self._executor.shutdown(wait=False)


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = "IMMEDIATE"
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _name_of(error: sa.exc.DBAPIError) -> str:
    """Name what a driver complains of for the log; its own words name hosts and users."""
    orig = error.orig
    code = getattr(orig, "sqlite_errorname", None) or getattr(orig, "sqlstate", None)
    return type(orig).__name__ if code is None else f"{type(orig).__name__} {code}"
