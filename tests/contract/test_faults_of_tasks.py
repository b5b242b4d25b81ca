"""What durable tasks add to a faulty upstream: repeats, hang-ups, clocks that jump; the emulator's record judges."""

import concurrent.futures
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from conftest import FastClock
from contract.benches import KEY, PLACES, POLL, SPEED, SUBMIT, Bench, assert_refused, run_bench
from servers import free_socket

CROWD = 20
HANG_UPS = 8
HOUR_SECONDS = 3600.0
RUNNING_FOR_EVER: dict[str, Any] = {"task_status": "RUNNING"}


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def under_way(bench: Bench) -> int:
    """How many tasks have not ended."""
    return sum(
        len(bench.service.client.get("/tasks", params={"status": s}).json()["tasks"]) for s in ("queued", "running")
    )


def test_repeat_of_a_running_task_resumes_it(bench: Bench, picture: str) -> None:
    """Who stops waiting for a task that runs on, and asks again under the same key, gets that task's result."""
    bench.script(POLL, RUNNING_FOR_EVER, times=None)
    key = str(uuid.uuid4())
    begun = bench.fix(picture, **{"Idempotency-Key": key, "Prefer": "wait=1, respond-async"})
    assert begun.status_code == 202, begun.text
    bench.emulator.faults.reset()
    ended = bench.fix(picture, **{"Idempotency-Key": key})
    assert ended.status_code == 200, ended.text
    assert ended.json()["task_id"] == begun.json()["task_id"]
    assert (bench.submits, bench.created) == (1, 1)


def test_repeat_of_a_task_given_up_does_not_pay(impatient: Bench, picture: str) -> None:
    """A task that was still running at its deadline is told again, ids and all, and not begun anew."""
    impatient.script(SUBMIT, {"hold": "RUNNING"})
    key = str(uuid.uuid4())
    first, second = (impatient.fix(picture, **{"Idempotency-Key": key}) for _ in range(2))
    for answer in (first, second):
        assert_refused(answer, 500, "still_running")
    assert first.json()["upstream_task_id"] == second.json()["upstream_task_id"]
    assert (impatient.submits, impatient.created) == (1, 1)


def test_crowd_with_one_key_is_one_task(bench: Bench, picture: str) -> None:
    """Twenty equal requests at once under one key are one submit and twenty equal answers; another body is refused."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    with concurrent.futures.ThreadPoolExecutor(CROWD) as threads:
        answers = list(threads.map(lambda _: bench.fix(picture, **key), range(CROWD)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({json.dumps(answer.json(), sort_keys=True) for answer in answers}) == 1
    assert (bench.submits, bench.created) == (1, 1)
    other = bench.edit("/fix", {"base_image_url": picture, "upscale_factor": 2}, **key)
    assert_refused(other, 422, "idempotency_conflict")
    assert bench.created == 1


def test_hang_ups_leave_nothing_behind(impatient: Bench, picture: str) -> None:
    """Callers who go away leave their tasks running to the deadline, and nothing under way after it."""
    bench = impatient
    bench.script(SUBMIT, {"hold": "RUNNING"}, times=None)
    for _ in range(2):
        hang_up(bench, picture)
        wait_until(lambda: under_way(bench) == 0)
        # Who left before being accepted has no task; the others' tasks were all begun, once.
        assert bench.submits == bench.created
    assert bench.created > HANG_UPS
    bench.emulator.faults.reset()
    assert bench.fix(picture).status_code == 200


def hang_up(bench: Bench, picture: str) -> None:
    """Ask for many edits, and close the connections once they are on their way."""
    host, _, port = bench.service.address.removeprefix("http://").partition(":")
    body = json.dumps({"base_image_url": picture, "upscale_factor": 1}).encode()
    head = f"POST /fix HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    before = bench.submits
    connections = [socket.create_connection((host, int(port))) for _ in range(HANG_UPS)]
    for connection in connections:
        connection.sendall(head.encode() + body)
    bench.asked += HANG_UPS
    wait_until(lambda: bench.submits > before)
    for connection in connections:
        connection.close()


class JumpingClock(FastClock):
    """A fast clock whose wall's time somebody sets."""

    jumped_seconds = 0.0

    def time(self) -> float:
        """The wall's time as it was set."""
        return super().time() + self.jumped_seconds


CLOCK = JumpingClock(SPEED)


@pytest.fixture(scope="module", params=PLACES)
def jumping(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A service whose wall clock can be set."""
    yield from run_bench(request.param, tmp_path_factory.mktemp("jumping"), 400.0, CLOCK)


@pytest.mark.parametrize("jump", [HOUR_SECONDS, -HOUR_SECONDS])
def test_wall_clock_that_is_set_ends_nothing(jumping: Bench, picture: str, jump: float) -> None:
    """An hour forward or back in the middle of a task ends it neither early nor late."""
    bench = jumping.clean()
    CLOCK.jumped_seconds = 0.0
    bench.script(POLL, RUNNING_FOR_EVER, times=None)
    begun = bench.fix(picture, Prefer="respond-async")
    assert begun.status_code == 202
    wait_until(lambda: bench.emulator.ledger.call_counts["poll"] >= 2)
    CLOCK.jumped_seconds = jump
    polls = bench.emulator.ledger.call_counts["poll"]
    wait_until(lambda: bench.emulator.ledger.call_counts["poll"] >= polls + 2)
    bench.emulator.faults.reset()
    location = begun.headers["location"]
    wait_until(lambda: bench.service.client.get(location).json()["status"] == "succeeded")
    assert (bench.submits, bench.created) == (1, 1)


@pytest.mark.parametrize(
    ("output", "status"),
    [
        ({}, 500),
        ({"results": []}, 500),
        ({"results": [{"url": ""}]}, 500),
        ({"results": None}, 500),
        ({"results": {"url": "https://results.example/a.png"}}, 200),
        ({"results": [{"url": "https://results.example/a.png", "new_field": {"x": 1}}], "more": [1]}, 200),
        ({"results": [{"code": "InternalError", "message": "no"}]}, 500),
    ],
)
def test_end_without_a_picture_is_no_success(bench: Bench, picture: str, output: dict[str, Any], status: int) -> None:
    """Whatever shape SUCCEEDED has, it is a success only with a picture in it; unknown fields are passed over."""
    told = {"request_id": "r", "output": {"task_id": "t", "task_status": "SUCCEEDED", **output}}
    bench.script(POLL, {"status": 200, "body": json.dumps(told)}, times=None)
    answer = bench.fix(picture)
    assert answer.status_code == status, answer.text
    assert (bench.submits, bench.created) == (1, 1)


def test_nothing_made_is_a_failure(bench: Bench, picture: str) -> None:
    """When every picture of a task failed, the task has."""
    bench.script(SUBMIT, {"fail_items": [1]})
    answer = bench.fix(picture)
    assert answer.status_code == 500, answer.text
    assert answer.json()["billed"] is False
    assert (bench.submits, bench.created) == (1, 1)


def test_canceled_task_is_told(bench: Bench, picture: str) -> None:
    """A task that somebody canceled upstream has failed, and is not begun again."""
    bench.script(POLL, {"task_status": "CANCELED"}, times=None)
    assert bench.fix(picture).status_code == 500
    assert (bench.submits, bench.created) == (1, 1)


def test_task_that_is_never_found_is_lost_openly(bench: Bench, picture: str) -> None:
    """404 beyond the first seconds is the end, and no reason to submit again."""
    bench.script(POLL, {"status": 404, "code": "NotFound"}, times=None)
    assert_refused(bench.fix(picture), 500, "task_lost")
    assert (bench.submits, bench.created) == (1, 1)


@pytest.mark.parametrize("call", ["submit", "poll"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_not_followed(bench: Bench, picture: str, call: str, status: int) -> None:
    """The key goes to no other host, not even where the upstream sends it: nobody knocks there."""
    with free_socket() as trap:
        trap.settimeout(0.0)
        location = f"http://127.0.0.1:{trap.getsockname()[1]}/api/v1"
        bench.script({"call": call}, {"status": status, "headers": {"Location": location}}, times=1)
        answer = bench.fix(picture)
        assert KEY not in answer.text
        assert answer.status_code == (500 if call == "submit" else 200), answer.text
        with pytest.raises(BlockingIOError):
            trap.accept()
    assert bench.submits == 1


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A service that copies results, at an upstream behind a socket."""
    folder = tmp_path_factory.mktemp("keeping")
    yield from run_bench(PLACES[1], folder, 400.0, results=str(folder / "results"))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_result_that_points_inside_is_not_fetched(keeping: Bench, picture: str, scheme: str) -> None:
    """A link of the upstream's is fetched under the rules for callers' links: nobody knocks inside."""
    bench = keeping.clean()
    with free_socket() as trap:
        trap.settimeout(0.0)
        url = f"{scheme}://127.0.0.1:{trap.getsockname()[1]}/a.png"
        told = {"output": {"task_id": "t", "task_status": "SUCCEEDED", "results": [{"url": url}]}}
        bench.script(POLL, {"status": 200, "body": json.dumps(told)}, times=None)
        answer = bench.fix(picture)
        assert answer.status_code == 200, answer.text
        assert answer.json()["warnings"] == ["result_not_kept"]
        with pytest.raises(BlockingIOError):
            trap.accept()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB; skip where none may be mounted, unless IMGAPI_TEST_REQUIRE names tmpfs."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        reason = f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}"
        if "tmpfs" in os.environ.get("IMGAPI_TEST_REQUIRE", ""):
            pytest.fail(reason)
        pytest.skip(reason)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_full_disk_is_told_before_the_submit(small_disk: Path, picture: str) -> None:
    """A task that can't be written down is not begun: nothing is paid, and with room again all goes on."""
    for bench in run_bench(PLACES[1], small_disk, 400.0):
        assert bench.fix(picture).status_code == 200
        ballast = small_disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while file.write(bytes(4096)):
                file.flush()
        submits = bench.submits
        # Tracebacks with variables take seconds to write.
        with capture_logs():
            answer = bench.edit("/fix", {"base_image_url": "https://example.com/a.png"})
            assert answer.status_code == 500, answer.text
            assert bench.edit("/fix", {"base_image_url": picture}).status_code == 500
        assert bench.submits == submits
        assert bench.service.client.get("/livez").status_code == 200
        ballast.unlink()
        assert bench.fix(picture).status_code == 200
        assert bench.submits == submits + 1
