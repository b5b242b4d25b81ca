"""A deploy in the middle of tasks: begun under one build, ended under the next, on the same data folder."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import imgapi
from e2e.stages import LOOK_SECONDS, MODEL, WAIT_SECONDS, Stage, staged

PLACES = 2


def build_next(folder: Path) -> Path:
    """Copy the service with its engine, its plan and its steps changed, as the next build's are; return where it is."""
    source = Path(imgapi.__file__).parent
    copy = folder / "imgapi"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    change(copy / "__init__.py", 'version("imgapi")', '"99.0.0"')
    # Whatever tells builds apart by the code of their workflows sees another one here.
    engine, plan = copy / "tasks" / "engine.py", copy / "tasks" / "plan.py"
    change(engine, '    return "ended"\n', '    ended = "ended"\n    return ended\n')
    change(engine, "class DurableEngine:", "def added() -> int:\n    return 1\n\n\nclass DurableEngine:")
    change(plan, 'await step("keep", steps.keep)\n', 'outcome = await step("keep", steps.keep)\n')
    return folder


def change(path: Path, old: str, new: str) -> None:
    """Change one place of a file."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{path.name} has {text.count(old)} of {old!r}"
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """One server on SQLite with few running places."""
    with staged(tmp_path / "stage", IMGAPI_MODEL_LIMITS=f"{MODEL}=20/{PLACES}") as running:
        yield running


@pytest.mark.parametrize("stop", ["SIGTERM", "SIGKILL"])
async def test_tasks_of_one_build_end_under_the_next(stage: Stage, tmp_path: Path, stop: str) -> None:
    """Whether the old build was stopped or killed: what it ran is followed, what waited is submitted, each once."""
    following = build_next(tmp_path / "next")
    stage.emulator.set_pace(progress="seconds", factor=0.25, spread=0.0)
    prompts = [f"build {number}" for number in range(PLACES + 2)]
    task_ids = [await stage.accept(prompt) for prompt in prompts]
    # Until the answer of a submit is written down, a kill loses its task, openly.
    async with asyncio.timeout(WAIT_SECONDS):
        while sum([(await stage.look(each))["status"] != "queued" for each in task_ids]) < PLACES:  # noqa: ASYNC110 - another process
            await asyncio.sleep(LOOK_SECONDS)
    if stop == "SIGTERM":
        stage.server.stop()
    else:
        stage.server.kill()
    stage.server.variables["PYTHONPATH"] = str(following)
    stage.server.start()
    async with httpx.AsyncClient(base_url=stage.server.address, trust_env=False) as client:
        assert (await client.get("/operations")).json()["version"] == "99.0.0"
    ends = await stage.ends_of(task_ids, 40.0)
    assert [ends[task_id]["status"] for task_id in task_ids] == ["succeeded"] * len(prompts)
    assert sorted(submit.prompt for submit in stage.record.submits) == prompts
    await stage.check()
