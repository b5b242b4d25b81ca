"""Works through the pictures of a command, a few at a time, and leaves off what an earlier run has done."""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from imgapi.clock import Clock
from imgapi.commands.client import Service, ServiceRefused, ServiceUnreachable, Upload, links_of
from imgapi.commands.operations import CONVERT, Operation
from imgapi.commands.outcomes import Outcome, Status
from imgapi.commands.reports import Reporter
from imgapi.commands.requests import data_url, request_key, write_body
from imgapi.commands.sources import Source, UnreadableSource
from imgapi.commands.targets import Target, UnwritableTarget
from imgapi.errors import ImgapiError

_NOT_BEGUN = "not begun, as the service did not answer or refused what came before."
_ANEW = "--anew has it made once more, and paid for."


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for, for every picture alike.

    Args:
        operation: Which of the nine.
        fields: Public fields of the request that hold no picture.
        pictures: The further pictures of the request, by public field.
        overwrite: Whether results replace files that are there.
        salt: Makes new requests of those that were sent before; empty otherwise.
    """

    operation: Operation
    fields: Mapping[str, Any]
    pictures: Mapping[str, str | Upload]
    overwrite: bool = False
    salt: str = ""


@dataclass(slots=True)
class Batch:
    """One run of a command.

    Args:
        service: Does the work.
        order: What is asked for.
        reporter: Told of everything.
        clock: Time.
    """

    service: Service
    order: Order
    reporter: Reporter
    clock: Clock
    _gave_up: Status | None = field(default=None, init=False)

    async def run(self, work: Sequence[tuple[Source, Target]], jobs: int) -> None:
        """Work through all, at most so many at once.

        Once the service refuses whatever it is asked, what is left is not begun.

        Args:
            work: Each picture, and where what is made of it goes.
            jobs: How many are worked on at once.
        """
        left = iter(work)

        async def take() -> None:
            for source, target in left:
                self.reporter.began(source.text)
                self.reporter.ended(source.text, await self._do(source, target))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(jobs, len(work))):
                group.create_task(take())

    async def _do(self, source: Source, target: Target) -> Outcome:
        if self._gave_up is not None:
            return Outcome(source.text, self._gave_up, error=_NOT_BEGUN, code="not_begun")
        began = self.clock.monotonic()
        try:
            told, pictures = await self._make(source)
            if target.suffix is not None and target.misleads(pictures[0]):
                self.reporter.note(
                    f"{target.base}{target.suffix} holds a picture of another format than its name says."
                )
            paths = await asyncio.to_thread(target.write, pictures, overwrite=self.order.overwrite)
        except (ServiceRefused, ServiceUnreachable, UnreadableSource, UnwritableTarget, ImgapiError) as exc:
            return self._failure(source, exc, self.clock.monotonic() - began)
        return Outcome(source.text, "done", tuple(paths), self.clock.monotonic() - began, told)

    def _failure(self, source: Source, exc: Exception, seconds: float) -> Outcome:
        if isinstance(exc, ServiceRefused):
            is_paid = exc.may_be_paid or exc.code == "result_unavailable"
            message = f"{exc.message} {_ANEW}" if is_paid and self.order.operation.is_edit else exc.message
            status: Status = "later" if exc.is_for_later else "failed"
            if exc.is_for_later or exc.status == HTTPStatus.UNAUTHORIZED:
                self._gave_up = status
            return Outcome(source.text, status, (), seconds, exc.body, message, exc.code)
        if isinstance(exc, ServiceUnreachable):
            self._gave_up = "failed"
        message, code = (exc.sentence, exc.code) if isinstance(exc, ImgapiError) else (str(exc), None)
        return Outcome(source.text, "failed", (), seconds, {}, message, code)

    async def _make(self, source: Source) -> tuple[Mapping[str, Any], list[bytes]]:
        """Have the pictures made; return the reply and their bytes."""
        picture: str | Upload = source.url or ""
        if source.url is None:
            picture = await asyncio.to_thread(source.read)
        if self.order.operation.is_edit:
            return await self._edit(source, picture)
        if self.order.operation.name == CONVERT:
            return await self._convert(source, picture)
        if self.order.operation.takes_form or not isinstance(picture, Upload):
            reply = await self.service.resize(picture, self.order.fields)
        else:
            url = await asyncio.to_thread(data_url, picture)
            reply = await self.service.resize(url, self.order.fields)
        return reply, [base64.b64decode(reply["image_data"])]

    async def _edit(self, source: Source, picture: str | Upload) -> tuple[Mapping[str, Any], list[bytes]]:
        order = self.order
        pictures = {**order.pictures, order.operation.picture: picture}
        body = await asyncio.to_thread(write_body, order.fields, pictures)
        key = await asyncio.to_thread(request_key, order.operation, order.fields, pictures, order.salt)

        async def report(task: Mapping[str, Any]) -> None:
            self.reporter.changed(source.text, task)

        task = await self.service.edit(order.operation.name, body, key=key, report=report)
        return task, [await self.service.download(link) for link in links_of(task)]

    async def _convert(self, source: Source, picture: str | Upload) -> tuple[Mapping[str, Any], list[bytes]]:
        upload = picture if isinstance(picture, Upload) else await self.service.fetch(picture)
        reply = await self.service.convert(upload, self.order.fields)
        frames = await self.service.frames(reply)
        if len(frames) < len(reply["image_paths"]):
            self.reporter.note(
                f"{source.text}: the server keeps all {len(reply['image_paths'])} frames in its own folder and sends "
                "the first alone; without --server all are written here."
            )
        return reply, frames
