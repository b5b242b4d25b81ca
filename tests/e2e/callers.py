"""Callers of the service's tasks: who asks for edits, looks at them and waits for their ends."""

import asyncio
import base64
import io
import time
from collections.abc import Iterable
from functools import cache
from typing import Any, Self

import httpx
from PIL import Image, ImageDraw

TERMINAL = frozenset({"succeeded", "failed", "canceled"})
LOOK_SECONDS = 0.1
AFTER_END_SECONDS = 0.3
ASYNC = {"Prefer": "respond-async"}


@cache
def picture_url() -> str:
    """A data URL of a small PNG that fits the models: 512×512, 2 KB."""
    picture = Image.new("RGB", (512, 512), (90, 120, 60))
    ImageDraw.Draw(picture).rectangle((128, 160, 384, 400), fill=(200, 60, 40))
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def body_of(prompt: str) -> dict[str, Any]:
    """A body for /fix. Its prompt comes out in the upstream's record and tells whose submit it is."""
    return {"base_image_url": picture_url(), "prompt": prompt, "upscale_factor": 1}


class AcceptRefused(AssertionError):
    """A task was not accepted.

    Args:
        answer: What came instead.
    """

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(f"{answer.status_code} {answer.text[:300]}")
        self.status = answer.status_code


class Caller:
    """A client of one server; use as an asynchronous context manager.

    Args:
        address: The server's.
        timeout_seconds: Of one exchange.
    """

    def __init__(self, address: str, timeout_seconds: float = 30.0) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
        self.http = httpx.AsyncClient(base_url=address, timeout=timeout_seconds, limits=limits, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def accept(self, prompt: str, **headers: str) -> str:
        """Ask for an edit without waiting for its result; return the task's id.

        Who sends an `Idempotency-Key` may be asking again for a task that has ended, and is told its end.

        Raises:
            AcceptRefused: The answer is not a 202, nor the end of a known task.
            httpx.TransportError: There was no answer.
        """
        answer = await self.http.post("/fix", json=body_of(prompt), headers=ASYNC | headers)
        task_id: str = answer.json().get("task_id", "")
        if answer.status_code == httpx.codes.ACCEPTED:
            assert answer.headers["location"].endswith(f"/tasks/{task_id}")
        elif not task_id or "Idempotency-Key" not in headers:
            raise AcceptRefused(answer)
        return task_id

    async def look(self, task_id: str) -> dict[str, Any]:
        """Return a task's JSON."""
        answer = await self.http.get(f"/tasks/{task_id}")
        assert answer.status_code == httpx.codes.OK, f"{answer.status_code} {answer.text[:300]}"
        task: dict[str, Any] = answer.json()
        return task

    async def wait_for_ends(self, task_ids: Iterable[str], seconds: float) -> dict[str, dict[str, Any]]:
        """Look at tasks until all have ended; return them by id.

        Raises:
            AssertionError: Some have not ended in time; the message names them with their status.
        """
        deadline = time.monotonic() + seconds
        open_ids, ended = list(task_ids), dict[str, dict[str, Any]]()
        while open_ids:
            seen = {task_id: await self.look(task_id) for task_id in open_ids}
            ended |= {task_id: task for task_id, task in seen.items() if task["status"] in TERMINAL}
            open_ids = [task_id for task_id in open_ids if task_id not in ended]
            left = {task_id: seen[task_id]["status"] for task_id in open_ids}
            assert not open_ids or time.monotonic() < deadline, f"not ended within {seconds} s: {left}"
            if open_ids:
                await asyncio.sleep(LOOK_SECONDS)
        return ended

    async def events(self, task_id: str, seconds: float = 10.0) -> list[str]:
        """Return the names of all events of a task that has ended, from the first on.

        Raises:
            TimeoutError: No end was told in time.
        """
        names: list[str] = []
        try:
            async with asyncio.timeout(seconds) as bound, self.http.stream("GET", f"/tasks/{task_id}/events") as answer:
                assert answer.status_code == httpx.codes.OK
                async for line in answer.aiter_lines():
                    if line.startswith("event:"):
                        names.append(line.removeprefix("event:").strip())
                        if names[-1] in TERMINAL:
                            # A second end would follow at once.
                            bound.reschedule(asyncio.get_running_loop().time() + AFTER_END_SECONDS)
        except TimeoutError:
            if not TERMINAL.intersection(names):
                raise
        return names
