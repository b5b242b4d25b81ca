"""A service beside its faulty upstream, and what holds of every exchange with it."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from conftest import FastClock, Service, run_service
from emulator.sockets import serving_emulator
from imgapi.emulator.app import Emulator
from pictures import draw_photo, encode

SPEED = 20.0
KEY = "sk-not-to-be-seen"
SUBMIT, POLL = {"call": "submit"}, {"call": "poll"}
PLACES = ["in process", "over a socket"]
# Longer than any deadline of these services at this speed, on a machine that has other things to do.
LATEST_SECONDS = 60.0


@dataclass
class Bench:
    """A service and the emulator it talks to.

    Args:
        service: Asked.
        emulator: Its upstream.
        asked: How many edits were asked for.
    """

    service: Service
    emulator: Emulator
    asked: int = field(default=0)

    def script(self, match: dict[str, Any], do: dict[str, Any], times: int | None = 1) -> None:
        """Script one fault."""
        self.emulator.faults.script({"match": match, "do": do, "times": times})

    @property
    def submits(self) -> int:
        """How many submits the upstream received."""
        return self.emulator.ledger.call_counts["submit"]

    @property
    def created(self) -> int:
        """How many tasks it accepted."""
        return self.emulator.ledger.tasks_created

    def edit(self, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        """Ask for an edit: whatever happens, it ends before its deadline with a documented body."""
        self.asked += 1
        begun = time.monotonic()
        answer = self.service.client.post(path, json=body, headers=headers)
        assert time.monotonic() - begun < LATEST_SECONDS
        told = answer.json()
        assert KEY not in answer.text
        if answer.status_code >= 400:
            assert {"error", "code", "request_id"} <= told.keys()
            assert "://" not in told["error"]
        else:
            assert "task_id" in told
        return answer

    def fix(self, picture: str, **headers: str) -> httpx.Response:
        """Ask for the cheapest edit."""
        return self.edit("/fix", {"base_image_url": picture, "upscale_factor": 1}, **headers)

    def clean(self) -> "Bench":
        """Clear the script, the record, and the memory of retired models and refusals."""
        self.emulator.faults.reset()
        self.emulator.ledger.reset()
        self.service.parts.runner.life.catalogue.retired._until.clear()
        self.service.parts.dashscope.breaker._circuits.clear()
        self.asked = 0
        return self


def run_bench(
    place: str, folder: Path, task_seconds: float, clock: FastClock | None = None, **settings: Any
) -> Iterator[Bench]:
    """Run the service beside its upstream; time runs fast."""
    given: dict[str, Any] = {"clock": clock or FastClock(SPEED), **settings}
    given |= {"task_seconds": task_seconds, "pending_seconds": task_seconds}
    if place == PLACES[0]:
        for service in run_service(folder, **given):
            emulator = service.parts.emulator
            assert emulator is not None
            asyncio.run(lift_limits(emulator))
            yield Bench(service, emulator)
    else:
        with serving_emulator(enforce_limits=False) as served:
            given |= {"dashscope_api_key": SecretStr(KEY), "dashscope_base_url": served.base_url}
            for service in run_service(folder, **given):
                yield Bench(service, served.emulator)


async def lift_limits(emulator: Emulator) -> None:
    """The service's clock runs fast and the emulator's does not, so its limits would be met too early."""
    transport = httpx.ASGITransport(emulator.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator.test") as control:
        answer = await control.post("/_emulator/settings", json={"enforce_limits": False})
        assert answer.status_code == 200


def fitting_picture() -> bytes:
    """A picture that fits every model as it is."""
    return encode(draw_photo(640, 560), "png")


def assert_refused(answer: httpx.Response, status: int, code: str) -> None:
    """The documented error, with nothing of the upstream's secrets in it."""
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] == code
