"""The contenders of the benchmark: imgapi's own code, and the vendor's SDK."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from bench.upstreams import PICTURE_SIZE, PICTURE_URL, Upstream
from dashscope.client import base_api
from pydantic import SecretStr

from imgapi.clock import SystemClock, read_documented_time
from imgapi.contract.edits import ChangeBgRequest, ChangeClothRequest, ExpandRequest, FixRequest
from imgapi.contract.fields import Request
from imgapi.dashscope.client import Account, DashScope
from imgapi.dashscope.wire import SubmitBody
from imgapi.edits.catalogue import EDITS
from imgapi.edits.edit import Candidate, PreparedPicture
from imgapi.edits.models import LIMITS
from imgapi.tasks.database import Database
from imgapi.tasks.forecast import Forecast
from imgapi.tasks.pacing import SUBMIT_SHARE, LanePace
from imgapi.tasks.polling import Poller

# The SDK's annotations contradict its own documentation, so its class is taken as it comes.
BaseAsyncApi: Any = base_api.BaseAsyncApi

KEY = "sk-bench"
# The service's own default (IMGAPI_QUERIES_PER_SECOND).
QUERIES_PER_SECOND = 17.0

# What is asked for: an edit, and which of its models serves it.
Job = tuple[str, int]
REQUESTS: Mapping[str, Request] = {
    "change_bg": ChangeBgRequest(base_image_url=PICTURE_URL, ref_image_url=PICTURE_URL),
    "change_cloth": ChangeClothRequest(
        top_garment_url=PICTURE_URL, bottom_garment_url=PICTURE_URL, person_image_url=PICTURE_URL
    ),
    "expand": ExpandRequest(base_image_url=PICTURE_URL),
    "fix": FixRequest(base_image_url=PICTURE_URL),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A task whose end was seen; seconds since the epoch, by the same clock on both sides."""

    began: float
    ended: float
    answered: float

    @property
    def delay(self) -> float:
        """Seconds between the end upstream and the answer in the client's hands."""
        return self.answered - self.ended


def read_times(scheduled: str | None, ended: str | None, answered: float) -> Seen:
    """Make what was seen of the upstream's own times."""
    began, end = read_documented_time(scheduled), read_documented_time(ended)
    assert began is not None, "the task has not begun"
    assert end is not None, "the task has not ended"
    return Seen(began, end, answered)


def write_body(job: Job) -> tuple[Candidate[Any], SubmitBody]:
    """Return the model of a job and what the service would submit to it."""
    operation, index = job
    candidate: Candidate[Any] = EDITS[operation].candidates[index]
    pictures = {name: PreparedPicture(PICTURE_URL, *PICTURE_SIZE) for name in candidate.inputs}
    return candidate, candidate.body(REQUESTS[operation], pictures)


class Imgapi:
    """The service's own client, paces, forecast and poller, put together as the service does, on SQLite."""

    def __init__(self, upstream: Upstream, *, running: int | None) -> None:
        self._clock = SystemClock()
        kept, fresh = (httpx.Limits(max_connections=64, max_keepalive_connections=count) for count in (16, 0))
        self._http, self._http_submit = (
            httpx.AsyncClient(limits=limits, trust_env=False, timeout=30.0) for limits in (kept, fresh)
        )
        account = Account(upstream.base_url, SecretStr(KEY))
        self._dashscope = DashScope(self._http, self._http_submit, account, self._clock)
        self._folder = TemporaryDirectory(prefix="imgapi-bench-")
        self._database = Database(f"sqlite:///{Path(self._folder.name) / 'tasks.sqlite3'}", self._clock)
        self._places = {model: asyncio.Semaphore(running or limits.running) for model, limits in LIMITS.items()}
        self._poller = Poller(self._dashscope, self._clock, self._pace("queries", QUERIES_PER_SECOND))
        self._forecast = Forecast()

    def _pace(self, name: str, per_second: float) -> LanePace:
        return LanePace(self._database, self._clock, name, per_second)

    async def run(self, job: Job, release: float) -> Seen:
        """Submit after some seconds and wait for the end, as a task of the service does."""
        candidate, body = write_body(job)
        await self._database.open()
        await asyncio.sleep(release)
        pace = self._pace(candidate.model, SUBMIT_SHARE * LIMITS[candidate.model].submits_per_second)
        async with self._places[candidate.model]:
            await pace.wait()
            accepted = await self._dashscope.submit(candidate.path, body, asynchronous=True, turns=pace)
            times = self._forecast.of(f"{job[0]}/{candidate.model}/1", candidate.usual_seconds)
            task_id = accepted.output.task_id or ""
            report = await self._poller.follow(task_id, times, deadline_seconds=120.0)
            answered = time.time()
        assert report.output.task_status == "SUCCEEDED", report
        return read_times(report.output.scheduled_time, report.output.end_time, answered)

    async def close(self) -> None:
        """Stop the poller, close the connections and forget the database."""
        await self._poller.close()
        await self._http.aclose()
        await self._http_submit.aclose()
        self._database.close()
        self._folder.cleanup()


class Vendor:
    """The vendor's SDK, a thread for each task."""

    def __init__(self, upstream: Upstream, *, threads: int) -> None:
        self._base_url = upstream.base_url
        self._threads = ThreadPoolExecutor(threads)

    async def run(self, job: Job, release: float) -> Seen:
        """Submit after some seconds and wait for the end with the SDK's own schedule."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, job, release)

    def _run(self, job: Job, release: float) -> Seen:
        time.sleep(release)
        candidate, written = write_body(job)
        body = written.to_json()
        group, task, function = candidate.path.split("/")
        place = {"api_key": KEY, "base_address": self._base_url}
        accepted = BaseAsyncApi.async_call(
            body["model"], body["input"], group, task, function, **place, **body["parameters"]
        )
        ended = BaseAsyncApi.wait(accepted, **place)
        answered = time.time()
        assert ended.status_code == 200, ended
        assert ended.output["task_status"] == "SUCCEEDED", ended
        return read_times(ended.output["scheduled_time"], ended.output["end_time"], answered)

    async def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()
