"""The durable engine, with DBOS in processes of its own: a step that was done is not done again."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from lives import FILE, LOG

PROGRAM = Path(__file__).parent.parent / "lives.py"
SECONDS = 60.0


def launch(folder: Path, owner: str, *commands: str) -> "subprocess.Popen[str]":
    """Start a process with an engine."""
    (folder / LOG).touch()
    words = [sys.executable, str(PROGRAM), str(folder), owner, *commands]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(folder: Path, owner: str, *commands: str) -> str:
    """Run such a process to its end; return what it said."""
    process = launch(folder, owner, *commands)
    try:
        _, said = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return said


def steps_of(folder: Path, task_id: str) -> list[str]:
    """The steps that have begun for a task, in order."""
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    return [step for step, _, task in (line.partition(" ") for line in lines) if task == task_id]


def kill_at(folder: Path, step: str, task_id: str, *commands: str) -> None:
    """Run a process until a task has begun a step in which it hangs; kill it there."""
    process = launch(folder, "first", f"hang:{step}", *commands)
    deadline = time.monotonic() + SECONDS
    while step not in steps_of(folder, task_id):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


LIFE = ["prepare", "submit", "follow", "keep"]


def test_a_life_runs_its_steps_in_order(tmp_path: Path) -> None:
    """A started life goes through the plan once, and leaves nothing to be done."""
    assert run(tmp_path, "first", "start:t-1", "start:t-2", "wait:t-1", "wait:t-2") == ""
    assert [steps_of(tmp_path, task_id) for task_id in ("t-1", "t-2")] == [LIFE, LIFE]


@pytest.mark.parametrize("step", LIFE)
def test_a_killed_life_goes_on_with_the_step_it_was_in(tmp_path: Path, step: str) -> None:
    """After kill -9 the next process does the step that had begun again, and none of those before it."""
    kill_at(tmp_path, step, "t-1", "start:t-1")
    assert run(tmp_path, "second", "resume:t-1", "wait:t-1") == ""
    done = LIFE.index(step)
    assert steps_of(tmp_path, "t-1") == LIFE[: done + 1] + LIFE[done:]


def test_nobody_goes_on_unasked(tmp_path: Path) -> None:
    """A process that starts leaves the lives of others alone until it is told that they are its to resume."""
    kill_at(tmp_path, "follow", "t-1", "start:t-1")
    run(tmp_path, "second", "start:t-2", "wait:t-2")
    assert steps_of(tmp_path, "t-1") == LIFE[:3]


def test_a_stopped_life_is_resumed(tmp_path: Path) -> None:
    """A life that a stop has canceled is no life that has ended: the next process goes on with it."""
    assert run(tmp_path, "first", "stop:follow", "start:t-1") == ""
    assert steps_of(tmp_path, "t-1") == LIFE[:3]
    run(tmp_path, "second", "resume:t-1", "wait:t-1")
    assert steps_of(tmp_path, "t-1") == [*LIFE[:3], *LIFE[2:]]


def test_a_life_that_never_began_is_begun(tmp_path: Path) -> None:
    """A task that was recorded and not started is started by who takes it up."""
    run(tmp_path, "second", "resume:t-1", "wait:t-1")
    assert steps_of(tmp_path, "t-1") == LIFE


def test_a_life_that_is_over_here_and_not_there_is_lived_again(tmp_path: Path) -> None:
    """Where the engine has seen the end and the ledger has not, nothing that is remembered holds."""
    run(tmp_path, "first", "start:t-1", "wait:t-1")
    run(tmp_path, "second", "resume:t-1", "wait:t-1")
    assert steps_of(tmp_path, "t-1") == LIFE * 2


def rows_of(folder: Path) -> list[tuple[str, str, object]]:
    """All values of the engine's own tables: table, column, value."""
    found = []
    with closing(sqlite3.connect(folder / FILE)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in names:
            if not table.startswith("imgapi_"):
                cursor = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - names from the schema itself
                columns = [column for column, *_ in cursor.description]
                found += [(table, column, value) for row in cursor for column, value in zip(columns, row, strict=True)]
    return found


def test_what_is_stored_is_json(tmp_path: Path) -> None:
    """Inputs and outputs of lives and steps are JSON: a task's id and a word, nothing that code is loaded from."""
    run(tmp_path, "first", "start:t-1", "wait:t-1")
    rows = rows_of(tmp_path)
    inputs = [value for table, column, value in rows if column == "inputs" and value is not None]
    outputs = [value for _, column, value in rows if column == "output" and value is not None]
    assert [json.loads(str(value)) for value in inputs] == [{"args": ["t-1"], "kwargs": {}}]
    assert {json.loads(str(value)) for value in outputs} == {"ready", "accepted", "made", "ended"}
    assert not [value for *_, value in rows if isinstance(value, bytes)]
    # How a pickle begins when it is written as base64.
    assert not [value for *_, value in rows if isinstance(value, str) and value.startswith("gA")]


def test_what_is_forgotten_leaves_no_row(tmp_path: Path) -> None:
    """A forgotten life is gone from the engine's tables, and others are not."""
    run(tmp_path, "first", "start:t-1", "start:t-2", "wait:t-1", "wait:t-2", "forget:t-1")
    values = {value for *_, value in rows_of(tmp_path)}
    assert "t-1" not in values
    assert "t-2" in values


def test_one_engine_in_a_process(tmp_path: Path) -> None:
    """A second launch in one process is refused with a reason: the two would share their lives."""
    assert "one process runs one service" in run(tmp_path, "first", "twice:")
