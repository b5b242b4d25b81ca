"""The worker pool: bounded in time, memory and length of its line, and never broken by what runs in it."""

import asyncio
import os
import pickle
import platform
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import pytest
import pytest_asyncio
from PIL import Image

from imgapi.errors import (
    ImageTooLarge,
    ImgapiError,
    InvalidParameter,
    Overloaded,
    UnreadableImage,
    UpstreamThrottled,
)
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.line import SMALL_BYTES
from imgapi.pictures.nursery import Grip
from imgapi.pictures.probe import probe
from imgapi.pictures.resize import resize
from imgapi.pictures.workers import Waits, Workers
from pictures import decode, draw_photo, encode, svg_bytes
from sleepers import nap_and_tell_parent, note_arrival, resident_mebibytes, sleep_over, take_and_drop

LIMITS = PictureLimits()


@pytest_asyncio.fixture
async def workers() -> AsyncIterator[Workers]:
    """Two workers, a waiting line of two, a limit of 0.4 s."""
    async with Workers(count=2, max_waiting=2, timeout_seconds=0.4, max_memory_bytes=1024**3) as pool:
        yield pool


def count_threads(process_id: int) -> int:
    """Count a process's threads."""
    return len(list(Path(f"/proc/{process_id}/task").iterdir()))


def list_children() -> set[str]:
    """Return the ids of this process's children, whichever thread made them."""
    return {child for path in Path("/proc/self/task").glob("*/children") for child in path.read_text("ascii").split()}


def is_running(process_id: int) -> bool:
    """Tell whether a process is there and has not ended."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text("ascii")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def test_functions_run_in_other_processes(workers: Workers) -> None:
    """A call gives what the function gives, from a process that is not this one."""
    assert await workers.run(os.getpid) != os.getpid()
    converted = await workers.run(
        convert_to_png,
        encode(draw_photo(60, 40), "jpeg"),
        all_frames=False,
        limits=LIMITS,
        svg_renderer="resvg",
    )
    assert decode(converted.frames[0]).size == (60, 40)


async def test_whoever_answers_goes_before_pictures(workers: Workers) -> None:
    """Workers leave the cores to the service when it has something to do."""
    assert await workers.run(os.nice, 0) == os.nice(0) + 5


async def test_a_long_animation_streams_through_bounded_memory() -> None:
    """All 500 frames of a GIF are made in a third of the memory that they would take together."""
    frames = [Image.new("L", (300, 300), 0) for _ in range(500)]
    for number, frame in enumerate(frames):
        frame.paste(255, (number % 290, 0, number % 290 + 10, 300))
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=20)
    async with Workers(count=1, max_waiting=1, timeout_seconds=60.0, max_memory_bytes=64 * 1024**2) as workers:
        converted = await workers.run(convert_to_png, content, all_frames=True, limits=LIMITS, svg_renderer="resvg")
    assert len(converted.frames) == 500
    assert decode(converted.frames[289]).convert("L").getpixel((295, 5)) == 255


async def test_one_worker_is_one_core() -> None:
    """A library that a worker imports later starts no threads of its own either."""
    async with Workers(count=1, max_waiting=1, timeout_seconds=10.0) as workers:
        assert await workers.run(cv2.getNumThreads) == 1


async def test_workers_are_told_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and addresses in the service's environment are not in a worker's; where fonts are is."""
    secrets = {"DASHSCOPE_API_KEY": "sk-secret", "IMGAPI_DATABASE_URL": "postgresql://u:p@h/d", "PGPASSWORD": "p"}
    for name, value in {**secrets, "XDG_DATA_HOME": "/fonts"}.items():
        monkeypatch.setenv(name, value)
    async with Workers(count=1, max_waiting=1, timeout_seconds=5.0, preload=()) as workers:
        assert [await workers.run(os.getenv, name) for name in secrets] == [None] * len(secrets)
        assert await workers.run(os.getenv, "XDG_DATA_HOME") == "/fonts"


async def test_room_is_asked_for_without_taking_it() -> None:
    """Whether there is a place can be asked any number of times; a full line says no, but to small pictures."""
    async with Workers(count=1, max_waiting=1, timeout_seconds=5.0, preload=()) as workers:
        for _ in range(5):
            workers.check_room(None)
        with workers.expecting(None), workers.expecting(1_000_000):
            with pytest.raises(Overloaded):
                workers.check_room(1_000_000)
            workers.check_room(100)
    with pytest.raises(Overloaded):
        workers.check_room(100)


async def test_processes_are_kept(workers: Workers) -> None:
    """Start-up is paid once: many calls meet the same two processes."""
    assert len({await workers.run(os.getpid) for _ in range(10)}) <= 2


async def test_time_limit_kills_and_replaces(workers: Workers) -> None:
    """A call beyond the limit ends with a sentence, its process is gone, and the pool goes on."""
    started = time.monotonic()
    with pytest.raises(UnreadableImage, match=r"longer than 0\.4 s"):
        await workers.run(time.sleep, 30)
    assert time.monotonic() - started < 0.9
    assert await asyncio.gather(*[workers.run(abs, -number) for number in range(4)]) == [0, 1, 2, 3]


async def test_a_busy_worker_does_not_delay_the_other(workers: Workers) -> None:
    """While one call hangs, the other process answers at once."""
    hanging = asyncio.create_task(workers.run(time.sleep, 30))
    await asyncio.sleep(0.02)
    started = time.monotonic()
    assert await workers.run(abs, -1) == 1
    assert time.monotonic() - started < 0.2
    with pytest.raises(UnreadableImage):
        await hanging


async def test_the_waiting_line_is_bounded(workers: Workers) -> None:
    """One call more than processes and places is refused at once with a time to come back."""
    calls = [asyncio.create_task(workers.run(time.sleep, 0.1)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="4 pictures") as caught:
        await workers.run(abs, -1)
    assert caught.value.retry_after > 0
    await asyncio.gather(*calls)
    assert await workers.run(abs, -1) == 1


async def test_cancelling_frees_the_place(workers: Workers) -> None:
    """Callers who leave the line make room at once; those whose work is under way, when it ends or soon after."""
    calls = [asyncio.create_task(workers.run(time.sleep, 0.35)) for _ in range(4)]
    await asyncio.sleep(0.02)
    started = time.monotonic()
    for call in reversed(calls):
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert all(call.cancelled() for call in calls)
    assert await asyncio.gather(*[workers.run(abs, -1) for _ in range(2)]) == [1] * 2
    assert time.monotonic() - started < 0.9


async def test_abandoned_work_is_ended_soon() -> None:
    """Work that nobody waits for and that goes on is ended with its process; the next call has a new one."""
    async with Workers(count=1, max_waiting=1, timeout_seconds=30.0, preload=(), waits=Waits(abandoned=0.1)) as workers:
        call = asyncio.create_task(workers.run(time.sleep, 20))
        await asyncio.sleep(0.05)
        call.cancel()
        started = time.monotonic()
        assert await workers.run(abs, -1) == 1
        assert time.monotonic() - started < 5


async def test_many_cancellations_break_nothing(workers: Workers) -> None:
    """However cancellations and endings of calls meet, no other call is hurt."""
    for round_ in range(30):
        call = asyncio.create_task(workers.run(time.sleep, 0.001))
        await asyncio.sleep(0.0003 * (round_ % 10))
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        while True:
            try:
                assert await workers.run(abs, -1) == 1
            except Overloaded:
                await asyncio.sleep(0.01)
            else:
                break


async def test_errors_come_back_whole(workers: Workers) -> None:
    """What the function raises arrives with its attributes, and where it was raised is noted for the log."""
    with pytest.raises(UnreadableImage, match="empty") as caught:
        await workers.run(probe, b"", LIMITS)
    assert "in the worker process" in caught.value.__notes__[0]
    content = encode(draw_photo(8, 8), "png")
    with pytest.raises(InvalidParameter) as refused:
        await workers.run(resize, content, min_dim=16_384, max_dim=16_384, limits=LIMITS, svg_renderer="resvg")
    assert refused.value.field == "min_dim"
    with pytest.raises(ZeroDivisionError):
        await workers.run(divmod, 1, 0)


@pytest.mark.parametrize(
    "error",
    [
        ImgapiError("a", field="b", detail="c", task_id="d"),
        Overloaded("a", retry_after=7.5),
        UpstreamThrottled("a", retry_after=7.5, detail="c"),
        ImageTooLarge("a").about("f"),
    ],
)
def test_named_errors_survive_the_way(error: ImgapiError) -> None:
    """Message, field, detail and retry_after of every error survive pickling."""
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - what was dumped right here
    assert type(back) is type(error)
    assert vars(back) == vars(error)
    assert str(back) == str(error)


async def test_a_dying_process_is_replaced(workers: Workers) -> None:
    """A decoder that takes its process down is that picture's fault only."""
    for _ in range(3):
        with pytest.raises(UnreadableImage, match="decoder fail"):
            await workers.run(os._exit, 3)
    assert await workers.run(abs, -1) == 1


async def test_a_process_that_dies_idle_is_replaced(workers: Workers) -> None:
    """Processes ended from outside between two calls cost no call."""
    pids = {await workers.run(os.getpid) for _ in range(6)}
    for pid in pids:
        os.kill(pid, 9)
    await asyncio.sleep(0.05)
    assert await asyncio.gather(*[workers.run(abs, -1) for _ in range(4)]) == [1] * 4


async def test_calls_that_come_while_processes_start_get_their_own_answers() -> None:
    """What a process says when it is ready is taken for no call's answer, however early the calls come."""
    for round_ in range(20):
        async with asyncio.TaskGroup() as group:
            pool = Workers(count=2, max_waiting=9, timeout_seconds=5.0, preload=())
            start = group.create_task(pool.start())
            await asyncio.sleep(0.0002 * (round_ % 5))
            calls = [group.create_task(pool.run(abs, -1)) for _ in range(6)]
        await pool.close()
        assert [start.result(), *[call.result() for call in calls]] == [None] + [1] * 6


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of children")
async def test_a_pool_that_is_closed_while_it_starts_leaves_no_process() -> None:
    """Closing ends the processes that are started at that moment, too, whichever of both comes first."""
    before = list_children()
    for round_ in range(20):
        pool = Workers(count=3, max_waiting=9, timeout_seconds=5.0, preload=())
        start = asyncio.create_task(pool.start())
        await asyncio.sleep(0.0004 * (round_ % 10))
        await asyncio.gather(start, pool.close())
        assert list_children() == before


@pytest.mark.parametrize("count", [1, 2])
async def test_a_process_that_can_not_be_replaced_now_is_later(count: int) -> None:
    """While the system has no descriptors left, calls are refused with a sentence; once it has, the pool is whole."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with Workers(count=count, max_waiting=9, timeout_seconds=5.0, preload=()) as workers:
        assert await workers.run(abs, -1) == 1
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            with pytest.raises(UnreadableImage, match="decoder fail"):
                await workers.run(os._exit, 3)
            with pytest.raises(ImgapiError, match="could not be started"):
                await workers.run(abs, -1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        async with asyncio.timeout(5):
            assert await asyncio.gather(*[workers.run(abs, -1) for _ in range(4)]) == [1] * 4


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
async def test_workers_share_what_they_import(workers: Workers) -> None:
    """They come from one process, which has no thread that a fork would lose, and whose imports are paid once."""
    first, second = await asyncio.gather(*[workers.run(nap_and_tell_parent, 0.1) for _ in range(2)])
    assert first == second != os.getpid()
    assert count_threads(first) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
async def test_what_workers_are_forked_from_is_replaced(workers: Workers) -> None:
    """When it is ended from outside, its workers go on, and the next is made by another."""
    parent = await workers.run(os.getppid)
    os.kill(parent, signal.SIGKILL)
    assert await workers.run(abs, -1) == 1
    for _ in range(2):
        with pytest.raises(UnreadableImage):
            await workers.run(os._exit, 3)
    assert await workers.run(os.getppid) not in {parent, os.getpid()}
    assert await asyncio.gather(*[workers.run(abs, -1) for _ in range(4)]) == [1] * 4


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
async def test_what_hangs_instead_of_making_a_worker_is_replaced() -> None:
    """When the process that workers are forked from is stopped, the next call but one has a worker of another."""
    async with Workers(count=2, max_waiting=2, timeout_seconds=5.0, preload=(), waits=Waits(start=0.9)) as workers:
        parent = await workers.run(os.getppid)
        os.kill(parent, signal.SIGSTOP)
        with pytest.raises(UnreadableImage):
            await workers.run(os._exit, 3)
        with pytest.raises(ImgapiError, match="could not be started"):
            await workers.run(abs, -1)
        assert await workers.run(os.getppid) not in {parent, os.getpid()}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of processes")
async def test_a_process_that_hangs_at_its_start_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is never ready is refused with a sentence, and its process doesn't wait for the pool's end."""
    note = tmp_path / "pid"
    # The next one doesn't hang.
    source = f"import os, time\nprint(os.getpid(), file=open({str(note)!r}, 'x'), flush=True)\ntime.sleep(60)"
    (tmp_path / "hanging.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    pool = Workers(count=1, max_waiting=2, timeout_seconds=5.0, preload=("hanging",), waits=Waits(start=0.9))
    with pytest.raises(ImgapiError, match="could not be started"):
        await pool.run(abs, -1)
    await asyncio.sleep(0.05)
    assert not is_running(int(note.read_text("ascii")))
    await pool.close()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
async def test_memory_is_given_back_when_nothing_comes() -> None:
    """What pictures took is kept for the next, but not for long: by workers as by this process."""
    rests: list[float] = []
    async with Workers(
        count=2,
        max_waiting=1,
        timeout_seconds=5.0,
        preload=("sleepers",),
        waits=Waits(idle=0.15),
        give_back=lambda: rests.append(time.monotonic()),
    ) as workers:
        kept = await workers.run(take_and_drop, 100)
        last = time.monotonic()
        assert kept > 90
        assert rests == []
        await asyncio.sleep(0.4)
        assert await workers.run(resident_mebibytes) < kept - 80
    assert len(rests) == 1
    assert rests[0] - last > 0.1


def test_memory_is_given_back_after_an_event_loop_ended_early() -> None:
    """A loop that ends before it could look whether anything came doesn't keep the next one from it."""
    rests: list[None] = []
    pool = Workers(
        count=1,
        max_waiting=1,
        timeout_seconds=5.0,
        preload=(),
        waits=Waits(idle=0.05),
        give_back=lambda: rests.append(None),
    )

    async def call_and_stay(seconds: float) -> None:
        await pool.run(abs, -1)
        await asyncio.sleep(seconds)

    for seconds in (0.0, 0.3):
        asyncio.run(call_and_stay(seconds))
    asyncio.run(pool.close())
    assert len(rests) == 1


def test_a_process_that_is_gone_is_not_killed() -> None:
    """What has ended is let go of, whoever has its number now."""
    process = subprocess.Popen(["sleep", "30"])
    grip = Grip(process.pid)
    grip.kill()
    assert process.wait(5) == -signal.SIGKILL
    grip.kill()
    grip.release()
    grip.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't limit address space")
async def test_memory_is_bounded(workers: Workers) -> None:
    """A call that wants more memory than allowed is refused, and its process goes on."""
    with pytest.raises(ImageTooLarge, match="memory"):
        await workers.run(bytearray, 2 * 1024**3)
    assert await workers.run(abs, -1) == 1


async def test_a_drawing_may_take_a_gigabyte() -> None:
    """Layers that pile up beyond it, of which a few hundred bytes can ask for any number, are refused; a few pass."""

    def layers(count: int) -> bytes:
        piled = '<g opacity="0.9">' * count + '<rect width="4000" height="4000"/>' + "</g>" * count
        return svg_bytes(piled, 'width="4000" height="4000"')

    async with Workers(count=1, max_waiting=2, timeout_seconds=30.0) as pool:
        with pytest.raises(UnreadableImage, match="decoder fail"):
            await pool.run(resize, layers(20), min_dim=1, max_dim=4000, limits=LIMITS, svg_renderer="resvg")
        drawn = await pool.run(resize, layers(6), min_dim=1, max_dim=4000, limits=LIMITS, svg_renderer="resvg")
    assert drawn.width == 4000


async def test_what_can_not_travel_is_the_programs_fault(workers: Workers) -> None:
    """Arguments and results that don't pickle raise to the caller and leave the pool whole."""
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        await workers.run(len, [lambda: None])
    with pytest.raises(TypeError, match="can't be sent back"):
        await workers.run(threading.Lock)
    assert await workers.run(abs, -1) == 1


async def test_hostile_svg_ends_in_the_worker(workers: Workers) -> None:
    """A drawing that keeps a renderer busy is ended by the limits, whatever it does."""
    blurs = "".join(f'<feGaussianBlur stdDeviation="{n}"/>' for n in range(100, 400))
    body = f'<filter id="f">{blurs}</filter><rect filter="url(#f)" width="100%" height="100%"/>'
    content = svg_bytes(body, 'width="3900" height="3900"')
    with pytest.raises((UnreadableImage, ImageTooLarge)):
        await workers.run(convert_to_png, content, all_frames=False, limits=LIMITS, svg_renderer="resvg")
    converted = await workers.run(convert_to_png, svg_bytes(), all_frames=False, limits=LIMITS, svg_renderer="resvg")
    assert decode(converted.frames[0]).size == (120, 80)


def test_one_pool_serves_many_loops() -> None:
    """A pool is bound to no event loop: loops one after another and side by side use the same processes."""
    pool = Workers(count=2, max_waiting=20, timeout_seconds=5)
    asyncio.run(pool.start())
    seen = [asyncio.run(pool.run(os.getpid)) for _ in range(3)]
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(asyncio.run(pool.run(abs, -1)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(pool.close())
    assert answers == [1] * 6
    assert len(set(seen)) <= 2


async def test_closing_leaves_nothing_behind() -> None:
    """After close no process is left, calls under way and later ones are told that the server goes down."""
    pool = Workers(count=2, max_waiting=5, timeout_seconds=30)
    await pool.start()
    pids = {await pool.run(os.getpid) for _ in range(6)}
    calls = [asyncio.create_task(pool.run(time.sleep, 20)) for _ in range(4)]
    await asyncio.sleep(0.05)
    await pool.close()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, Overloaded) for outcome in outcomes)
    # A process's socket closes before its number is free.
    await asyncio.sleep(0.05)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(Overloaded, match="shutting down"):
        await pool.run(abs, -1)
    await pool.close()


async def test_calls_before_start_just_wait() -> None:
    """A pool that was never started starts what it needs."""
    pool = Workers(count=1, max_waiting=1, timeout_seconds=5)
    assert await pool.run(abs, -1) == 1
    await pool.close()


async def test_a_worker_that_can_not_start_is_named() -> None:
    """A module that can't be imported ends the start with an error, not with a wait."""
    pool = Workers(count=1, max_waiting=1, timeout_seconds=5, preload=("no_such_module",))
    with pytest.raises(ImgapiError, match="could not be started"):
        await pool.start()
    await pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("count", "seconds"), [(1, 0), (2, 0), (2, 30)])
def test_workers_end_with_their_parent(count: int, seconds: int) -> None:
    """A parent that is killed leaves no worker behind; busy ones that were forked end too."""
    program = f"""
import asyncio, os, time
from imgapi.pictures.workers import Workers
async def main():
    pool = Workers(count={count}, max_waiting=2, timeout_seconds=60)
    await pool.start()
    print(await pool.run(os.getpid), flush=True)
    busy = [asyncio.create_task(pool.run(time.sleep, {seconds})) for _ in range({count})]
    await asyncio.sleep(0.1)
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    pid = int(done.stdout)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/cmdline").exists() and time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        if state == "Z":
            break
        time.sleep(0.02)
    else:
        assert not Path(f"/proc/{pid}/cmdline").exists()


async def test_small_pictures_go_first_and_large_ones_still_go(tmp_path: Path) -> None:
    """Small ones that came later are served before large ones, four for each large one."""
    path = tmp_path / "order"
    async with Workers(count=1, max_waiting=30, timeout_seconds=10.0, preload=()) as workers:
        busy = asyncio.create_task(workers.run(time.sleep, 0.1))
        await asyncio.sleep(0.02)
        large = [asyncio.create_task(workers.run(note_arrival, b"L" * (SMALL_BYTES + 1), str(path))) for _ in range(3)]
        await asyncio.sleep(0)
        small = [asyncio.create_task(workers.run(note_arrival, b"s", str(path))) for _ in range(9)]
        await asyncio.gather(busy, *large, *small)
    assert path.read_bytes() == b"ssssLssssLsL"


async def test_line_full_of_large_pictures_has_room_for_small_ones() -> None:
    """When a further large one is refused, a small one is still taken, up to a quarter of the line."""
    async with Workers(count=1, max_waiting=8, timeout_seconds=10.0, preload=()) as workers:
        busy = [asyncio.create_task(workers.run(time.sleep, 0.05)) for _ in range(1)]
        large = [asyncio.create_task(workers.run(len, b"L" * (SMALL_BYTES + 1))) for _ in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await workers.run(len, b"L" * (SMALL_BYTES + 1))
        small = [asyncio.create_task(workers.run(len, b"s")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await workers.run(len, b"s")
        assert await asyncio.gather(*small) == [1, 1]
        await asyncio.gather(*busy, *large)


async def test_drawings_leave_a_worker_to_pictures() -> None:
    """However many slow SVGs wait, one of several processes is soon free for others, and each is drawn in the end."""
    # What runs is imported before the clock does.
    async with Workers(
        count=2, max_waiting=20, timeout_seconds=10.0, preload=("sleepers",), waits=Waits(svg_trial=0.05)
    ) as workers:
        svgs = [asyncio.create_task(workers.run(sleep_over, svg_bytes(), 0.8)) for _ in range(3)]
        await asyncio.sleep(0.05)
        pictures = [asyncio.create_task(workers.run(sleep_over, b"L" * (SMALL_BYTES + 1), 0.0)) for _ in range(3)]
        assert await asyncio.gather(*pictures) == [SMALL_BYTES + 1] * 3
        assert not svgs[0].done()
        assert await asyncio.gather(*svgs) == [len(svg_bytes())] * 3


async def test_quick_drawings_use_every_worker() -> None:
    """An SVG that is done within its trial is drawn beside one that takes long."""
    async with Workers(count=2, max_waiting=20, timeout_seconds=10.0, preload=("sleepers",)) as workers:
        slow = asyncio.create_task(workers.run(sleep_over, svg_bytes(), 0.9))
        await asyncio.sleep(0)
        assert [await workers.run(sleep_over, svg_bytes(), 0.01) for _ in range(3)] == [len(svg_bytes())] * 3
        assert not slow.done()
        await slow


async def test_a_failed_trial_is_not_the_end_of_a_drawing() -> None:
    """An SVG that was not done on the last process is begun anew on another, with the whole of its time."""
    async with Workers(
        count=2,
        max_waiting=20,
        timeout_seconds=10.0,
        preload=("sleepers",),
        svg_seconds=0.6,
        waits=Waits(svg_trial=0.05),
    ) as workers:
        first = asyncio.create_task(workers.run(sleep_over, svg_bytes(), 0.3))
        await asyncio.sleep(0)
        second = asyncio.create_task(workers.run(sleep_over, svg_bytes(), 0.3))
        leaving = asyncio.create_task(workers.run(sleep_over, svg_bytes(), 0.3))
        endless = asyncio.create_task(workers.run(sleep_over, svg_bytes(), 9.0))
        await asyncio.sleep(0.2)
        leaving.cancel()
        assert [await first, await second] == [len(svg_bytes())] * 2
        with pytest.raises(UnreadableImage, match=r"longer than 0\.6 s"):
            await endless
        assert workers.in_hand == 0


async def test_drawings_have_a_limit_of_their_own() -> None:
    """An SVG is ended after its own time, a picture is not; the line goes on behind both."""
    async with Workers(count=1, max_waiting=9, timeout_seconds=5.0, svg_seconds=0.1, preload=()) as workers:
        with pytest.raises(UnreadableImage, match=r"longer than 0\.1 s"):
            await workers.run(sleep_over, svg_bytes(), 3.0)
        assert await workers.run(sleep_over, b"L", 0.2) == 1


async def test_drawings_in_line_hear_of_the_end() -> None:
    """Closing answers the SVGs that wait for one another as well."""
    workers = Workers(count=2, max_waiting=9, timeout_seconds=5.0, preload=())
    await workers.start()
    svgs = [asyncio.create_task(workers.run(sleep_over, svg_bytes(), 3.0)) for _ in range(3)]
    await asyncio.sleep(0.1)
    await workers.close()
    assert [type(each) for each in await asyncio.gather(*svgs, return_exceptions=True)] == [Overloaded] * 3
