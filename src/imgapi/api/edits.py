"""The routes of the six edits."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from imgapi.api.asked import Asked, asking
from imgapi.api.bodies import JsonRoute
from imgapi.api.negotiation import VARY, Picture, choose_format, describe_pictures, picture_response
from imgapi.api.next_steps import AFTER_TASK
from imgapi.api.openapi import ACCEPTED, ERRORS, IDEMPOTENCY_ERRORS
from imgapi.contract import edits as words
from imgapi.contract.fields import Request as RequestModel
from imgapi.errors import ResultExpired
from imgapi.pictures.entries import probe
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.workers import Workers
from imgapi.results.store import ResultStore
from imgapi.tasks.run import TaskRunner

TAG = "edits"


@dataclass(frozen=True, slots=True)
class CutOuts:
    """Answers a cut-out itself to those who ask for a picture.

    Args:
        store: Keeps the PNGs.
        workers: Read and encode them.
        limits: Bounds on pictures.
    """

    store: ResultStore
    workers: Workers
    limits: PictureLimits

    async def answer(self, reply: dict[str, Any], wanted: str) -> Response:
        """Answer with the picture of a reply, in the format chosen.

        Raises:
            ResultExpired: It is gone.
        """
        content = await self.store.get(reply["results"][0]["url"].rpartition("/")[2])
        if content is None:
            raise ResultExpired("The picture of this task is gone; run the edit again.")
        info = await self.workers.run(probe, content, self.limits)
        size = (info.width, info.height)
        # A cut-out has the size of its original.
        picture = Picture(content, "png", *size, *size)
        return await picture_response(picture, wanted, workers=self.workers, limits=self.limits)


def edits_router(
    runner: TaskRunner, cut_outs: CutOuts, default_webhook: str | None, check_webhook: Callable[[str], str]
) -> APIRouter:
    """Make the six routes; each waits until its edit has ended, unless the caller prefers the task.

    Args:
        runner: Runs the edits.
        cut_outs: Answers the picture of /remove_bg itself.
        default_webhook: Told the end of tasks whose requests name no other.
        check_webhook: Judges the URL of a webhook; raises InvalidParameter.
    """
    ended: dict[str, Any] = {"description": "The edit has ended, and this is what it made.", "links": AFTER_TASK}
    answers = {200: ended, **ACCEPTED, **ERRORS, **IDEMPOTENCY_ERRORS}
    router = APIRouter(tags=[TAG], responses=answers, route_class=JsonRoute)
    asks = Annotated[Asked, Depends(asking(default_webhook, check_webhook))]

    caller = _Caller(runner)
    run = caller.run

    @router.post("/change_bg", operation_id="change_background", summary="Replace the background")
    async def change_bg(body: words.ChangeBgRequest, request: Request, asked: asks) -> words.PicturesReply:
        """Keep the subject of `base_image_url` and put it before the background of `ref_image_url`."""
        reply: words.PicturesReply = await run("change_bg", body, request, asked)
        return reply

    @router.post("/change_cloth", operation_id="try_on_clothes", summary="Virtual try-on")
    async def change_cloth(body: words.ChangeClothRequest, request: Request, asked: asks) -> words.ChangeClothReply:
        """Put a top and a bottom garment onto the person of `person_image_url`."""
        reply: words.ChangeClothReply = await run("change_cloth", body, request, asked)
        return reply

    @router.post("/expand", operation_id="expand_picture", summary="Outpainting on four sides")
    async def expand(body: words.ExpandRequest, request: Request, asked: asks) -> words.ExpandReply:
        """Continue the picture on its four sides; a scale of 1.5 adds 50 % of the original side there."""
        reply: words.ExpandReply = await run("expand", body, request, asked)
        return reply

    @router.post("/fix", operation_id="fix_picture", summary="Super-resolution and restoration")
    async def fix(body: words.FixRequest, request: Request, asked: asks) -> words.PicturesReply:
        """Enlarge the picture `upscale_factor` times and restore it; 1 sharpens without enlarging."""
        reply: words.PicturesReply = await run("fix", body, request, asked)
        return reply

    @router.post(
        "/remove_bg",
        operation_id="remove_background",
        summary="Cut out the main subject",
        response_model=words.RemoveBgReply,
        responses={200: {**describe_pictures(), "links": AFTER_TASK}},
    )
    async def remove_bg(body: words.RemoveBgRequest, request: Request, asked: asks) -> Response:
        """Cut out the main subject as a PNG with true alpha, of the size of the original."""
        wanted = choose_format(request, "png")
        if wanted is None or asked.preference.is_async:
            answer: Response = await run("remove_bg", body, request, asked)
            answer.headers.update(VARY)
            return answer
        return await cut_outs.answer(await caller.wait("remove_bg", body, request, asked), wanted)

    @router.post("/remove_watermark", operation_id="remove_watermark", summary="Remove watermarks")
    async def remove_watermark(
        body: words.RemoveWatermarkRequest, request: Request, asked: asks
    ) -> words.PicturesReply:
        """Remove text and logo watermarks and keep the content."""
        reply: words.PicturesReply = await run("remove_watermark", body, request, asked)
        return reply

    for route in router.routes:
        route.response_model_exclude_none = True  # type: ignore[attr-defined]  # all of these are APIRoutes
    return router


class _Caller:
    """Starts edits as their callers ask.

    Args:
        runner: Runs them.
    """

    def __init__(self, runner: TaskRunner) -> None:
        self._runner = runner

    async def run(self, operation: str, body: RequestModel, request: Request, asked: Asked) -> Any:
        """Answer the end of an edit, or the task for those who prefer that; the body is checked already."""
        if asked.preference.is_async:
            return await self._begin(operation, body, request, asked)
        return JSONResponse(await self.wait(operation, body, request, asked))

    async def wait(self, operation: str, body: RequestModel, request: Request, asked: Asked) -> dict[str, Any]:
        """Wait for the end of an edit and return its documented reply."""
        reply = await self._runner.run(operation, body, asked.terms)
        request.state.task_id = reply["task_id"]
        return reply

    async def _begin(self, operation: str, body: RequestModel, request: Request, asked: Asked) -> Response:
        """Start a task and answer with it, or with its end if that comes while the caller waits."""
        runner = self._runner
        task_id = await runner.accept(operation, body, asked.terms)
        request.state.task_id = task_id
        seconds, words = asked.preference.within(runner.bounds.max_wait_seconds)
        applied = {"Preference-Applied": words}
        record = await runner.hold(task_id, seconds) if seconds > 0 else None
        if record is not None and record.status.is_terminal:
            return JSONResponse(runner.outcome(record), headers=applied)
        task = await runner.view(task_id, asked.terms.payer.name)
        return JSONResponse(task, HTTPStatus.ACCEPTED, {"Location": f"/tasks/{task_id}", **applied})
