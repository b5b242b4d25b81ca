"""The tasks database: one process for a file, told in a sentence what is wrong, and nothing in clear in it."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from e2e.processes import free_port
from engines import InlineExecutor
from fakes import KEY, VirtualClock, answers, open_database
from house import House
from imgapi.contract.edits import FixRequest
from imgapi.errors import CapabilityMissing, ImgapiError, LedgerUnavailable
from imgapi.tasks import tables
from imgapi.tasks.database import PAUSES_SECONDS, Database, DatabaseUnusableError
from imgapi.tasks.record import Terms
from imgapi.tasks.sealing import Seal, read_or_make_secret


class Version(NamedTuple):
    """A version of Python."""

    major: int
    minor: int
    micro: int


FILE = "tasks.sqlite3"
SECRETS = {
    "source": "source-signature-4711",
    "result": "result-signature-4712",
    "webhook": "webhook-token-4713",
    "prompt": "a wish that is nobody's business",
}


def url_of(folder: Path) -> str:
    """The database in a folder."""
    return f"sqlite:///{folder / FILE}"


def refuse(url: str) -> str:
    """Open a database that can't be; return what is said."""
    database = Database(url, VirtualClock(), InlineExecutor())
    with pytest.raises(DatabaseUnusableError) as caught:
        database._open()
    database.close()
    return str(caught.value)


def test_one_process_for_a_file(tmp_path: Path) -> None:
    """While one has the file a second is told so, with what to do; afterwards it may have it."""
    first = open_database(VirtualClock(), url_of(tmp_path))
    message = refuse(url_of(tmp_path))
    for words in ("Another imgapi", FILE, "IMGAPI_DATA_DIR", "IMGAPI_DATABASE_URL"):
        assert words in message
    assert str(tmp_path) not in message
    first.close()
    open_database(VirtualClock(), url_of(tmp_path)).close()


def test_a_second_service_says_why_it_does_not_start(tmp_path: Path) -> None:
    """Started on the data folder of another, `imgapi serve` ends with one sentence and no traceback."""
    database = open_database(VirtualClock(), url_of(tmp_path))
    try:
        variables = {
            name: value for name, value in os.environ.items() if not name.startswith(("IMGAPI_", "DASHSCOPE_"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "imgapi", "serve", "--port", str(free_port())],
            env=variables | {"IMGAPI_DATA_DIR": str(tmp_path), "IMGAPI_WORKERS": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        database.close()
    assert done.returncode not in {0, -9}
    assert "Another imgapi already works on" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_another_version_is_not_touched(tmp_path: Path) -> None:
    """A database of another version is left as it is, and both versions are named; the file is free again."""
    database = open_database(VirtualClock(), url_of(tmp_path))
    with database.engine.begin() as connection:
        connection.execute(tables.schema.update().values(version=tables.VERSION + 1))
    database.close()
    message = refuse(url_of(tmp_path))
    assert f"version {tables.VERSION + 1}" in message
    assert f"version {tables.VERSION};" in message
    assert "version" in refuse(url_of(tmp_path))


def test_what_python_and_sqlite_can_not_do_together_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.12 with SQLite before 3.42 is refused at the start, with three ways out; either alone is not."""
    monkeypatch.setattr(sys, "version_info", Version(3, 12, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 41, 2))
    message = refuse(url_of(tmp_path))
    for words in ("Python 3.12", "3.42", "Python 3.11", "PostgreSQL"):
        assert words in message
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 42, 0))
    open_database(VirtualClock(), url_of(tmp_path)).close()
    monkeypatch.setattr(sys, "version_info", Version(3, 11, 9))
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    open_database(VirtualClock(), url_of(tmp_path)).close()


def test_an_unreachable_server_is_told_without_its_password() -> None:
    """Where no PostgreSQL answers the sentence names the setting, and no secret."""
    message = refuse("postgresql://imgapi:topsecret@127.0.0.1:1/tasks")
    assert message.startswith("IMGAPI_DATABASE_URL")
    assert "topsecret" not in message


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    """Something else under the file's name is refused, not overwritten."""
    (tmp_path / FILE).write_bytes(b"not a database, but somebody's notes " * 100)
    assert "can't be used" in refuse(url_of(tmp_path))
    assert (tmp_path / FILE).read_bytes().startswith(b"not a database")


async def test_a_failed_transaction_leaves_nothing() -> None:
    """What a transaction had done is undone when it fails."""
    database = open_database(VirtualClock())

    def work(connection: sa.Connection) -> None:
        connection.execute(tables.replicas.insert().values(id="one", seen_at=0.0))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.run(work)
    count = sa.select(sa.func.count()).select_from(tables.replicas)
    assert await database.run(lambda connection: connection.execute(count).scalar_one()) == 0


async def test_an_absent_database_is_waited_for() -> None:
    """What must not be missed is tried for two minutes, and written when the database is back."""
    clock = VirtualClock()
    database = open_database(clock)
    tries: list[float] = []

    def work(_connection: sa.Connection) -> str:
        tries.append(clock.monotonic())
        if len(tries) < 5:
            raise sa.exc.OperationalError("", {}, ConnectionError("away"))
        return "written"

    assert await clock.run(database.run_patiently(work)) == "written"
    assert len(tries) == 5


async def test_an_absent_database_is_given_up_in_the_end() -> None:
    """Beyond two minutes the failure is told; a failure of another kind at once."""
    clock = VirtualClock()
    database = open_database(clock)

    def away(_connection: sa.Connection) -> None:
        raise sa.exc.OperationalError("", {}, ConnectionError("away"))

    with pytest.raises(LedgerUnavailable):
        await clock.run(database.run_patiently(away))
    assert clock.monotonic() == pytest.approx(sum(PAUSES_SECONDS))
    begun = clock.monotonic()

    def wrong(_connection: sa.Connection) -> None:
        raise sa.exc.IntegrityError("", {}, ValueError("twice"))

    with pytest.raises(sa.exc.IntegrityError):
        await clock.run(database.run_patiently(wrong))
    assert clock.monotonic() == begun


async def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """What can't be written is undone and told with what to do; what is there can be read, and room is used at once."""
    database = open_database(VirtualClock(), url_of(tmp_path))

    def write(connection: sa.Connection) -> None:
        connection.execute(tables.replicas.insert().values(id="x" * 100_000, seen_at=0.0))

    await database.run(lambda connection: connection.execute(sa.text("PRAGMA max_page_count = 1")))
    with pytest.raises(LedgerUnavailable, match="disk is full") as caught:
        await database.run(write)
    assert caught.value.retry_after > 0
    assert caught.value.detail == "OperationalError SQLITE_FULL"
    assert str(tmp_path) not in caught.value.message
    count = sa.select(sa.func.count()).select_from(tables.replicas)
    assert await database.run(lambda connection: connection.execute(count).scalar_one()) == 0
    await database.run(lambda connection: connection.execute(sa.text("PRAGMA max_page_count = 1000000")))
    await database.run(write)
    assert await database.run(lambda connection: connection.execute(count).scalar_one()) == 1
    database.close()


async def test_nothing_is_kept_in_clear(tmp_path: Path) -> None:
    """The file's bytes show no link's signature, no webhook's token, no prompt and no key, at any stage of a task."""
    house = House(url=url_of(tmp_path))
    await house.open()
    request = FixRequest(base_image_url=f"https://e.test/a.png?Signature={SECRETS['source']}", prompt=SECRETS["prompt"])
    terms = Terms(webhook=f"https://hooks.test/?token={SECRETS['webhook']}")
    house.upstream.output = {"results": [{"url": f"https://r.test/a.png?Signature={SECRETS['result']}"}]}

    begun = [await house.accept("fix", request, terms) for _ in range(4)]
    for seconds in (0.0, 3.0, 60.0, 600.0):
        await house.clock.advance(seconds)
        assert_sealed(tmp_path)
    views = [await house.runner.view(task_id) for task_id in begun]
    assert {view["status"] for view in views} == {"succeeded"}
    assert SECRETS["result"] in views[0]["results"][0]["url"]

    said = {"code": "InvalidURL", "message": f"can't read https://e.test/a.png?Signature={SECRETS['source']}"}
    house.upstream.scripts["wanx2.1-imageedit"] = [answers(400, said)]
    with pytest.raises(ImgapiError):
        await house.run("fix", request, terms)
    assert_sealed(tmp_path)
    house.database.close()


def assert_sealed(folder: Path) -> None:
    """Look for anything that should not be there in the database's files."""
    content = b"".join(path.read_bytes() for path in folder.glob(f"{FILE}*"))
    assert b"imgapi_tasks" in content
    for secret in (*SECRETS.values(), KEY, "Signature=", "a secret of the tests"):
        assert secret.encode() not in content, secret


def test_a_seal_opens_only_with_its_secret() -> None:
    """What was sealed with another secret is told as the operator's to mend, naming the setting."""
    sealed = Seal(lambda: "one secret").close("text")
    assert Seal(lambda: "one secret").open(sealed) == "text"
    assert "text" not in sealed
    with pytest.raises(CapabilityMissing, match="IMGAPI_SECRET"):
        Seal(lambda: "another secret").open(sealed)


def test_the_secret_is_its_owners_alone(tmp_path: Path) -> None:
    """The secret is made once, long and random, in a file that only its owner reads."""
    path = tmp_path / "data" / "secret"
    made = read_or_make_secret(path)
    assert len(made) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_or_make_secret(path) == made
    assert read_or_make_secret(tmp_path / "other" / "secret") != made
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


async def test_the_secret_is_made_where_tasks_are_kept(tmp_path: Path) -> None:
    """A file that was sealed in one life of the service is opened in the next."""
    first, second = (Seal(lambda: read_or_make_secret(tmp_path / "secret")) for _ in range(2))
    await asyncio.to_thread(first.unlock)
    assert second.open(first.close("text")) == "text"
