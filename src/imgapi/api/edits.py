"""The routes of the six edits."""

from typing import Any

from fastapi import APIRouter, Request

from imgapi.api.bodies import JsonRoute
from imgapi.api.openapi import ERRORS
from imgapi.api.quotas import Quotas
from imgapi.contract import edits as words
from imgapi.contract.fields import Request as RequestModel
from imgapi.tasks.run import TaskRunner

TAG = "edits"


def edits_router(runner: TaskRunner, quotas: Quotas) -> APIRouter:
    """Make the six routes; each waits until its edit has ended.

    Args:
        runner: Runs the edits.
        quotas: Holds the months of those callers that have a key.
    """
    router = APIRouter(tags=[TAG], responses=ERRORS, route_class=JsonRoute)

    async def run(operation: str, body: RequestModel, request: Request) -> Any:
        async with quotas.pictures(getattr(request.state, "key", None), getattr(body, "n", 1)) as pictures:
            reply = await runner.run(operation, body)
            if isinstance(reply, words.PicturesReply):
                pictures.made = len(reply.results)
        request.state.task_id = reply.task_id
        return reply

    @router.post("/change_bg", operation_id="change_background", summary="Replace the background")
    async def change_bg(body: words.ChangeBgRequest, request: Request) -> words.PicturesReply:
        """Keep the subject of `base_image_url` and put it before the background of `ref_image_url`."""
        reply: words.PicturesReply = await run("change_bg", body, request)
        return reply

    @router.post("/change_cloth", operation_id="try_on_clothes", summary="Virtual try-on")
    async def change_cloth(body: words.ChangeClothRequest, request: Request) -> words.ChangeClothReply:
        """Put a top and a bottom garment onto the person of `person_image_url`."""
        reply: words.ChangeClothReply = await run("change_cloth", body, request)
        return reply

    @router.post("/expand", operation_id="expand_picture", summary="Outpainting on four sides")
    async def expand(body: words.ExpandRequest, request: Request) -> words.ExpandReply:
        """Continue the picture on its four sides; a scale of 1.5 adds 50 % of the original side there."""
        reply: words.ExpandReply = await run("expand", body, request)
        return reply

    @router.post("/fix", operation_id="fix_picture", summary="Super-resolution and restoration")
    async def fix(body: words.FixRequest, request: Request) -> words.PicturesReply:
        """Enlarge the picture `upscale_factor` times and restore it; 1 sharpens without enlarging."""
        reply: words.PicturesReply = await run("fix", body, request)
        return reply

    @router.post("/remove_bg", operation_id="remove_background", summary="Cut out the main subject")
    async def remove_bg(body: words.RemoveBgRequest, request: Request) -> words.RemoveBgReply:
        """Cut out the main subject as a PNG with true alpha, of the size of the original."""
        reply: words.RemoveBgReply = await run("remove_bg", body, request)
        return reply

    @router.post("/remove_watermark", operation_id="remove_watermark", summary="Remove watermarks")
    async def remove_watermark(body: words.RemoveWatermarkRequest, request: Request) -> words.PicturesReply:
        """Remove text and logo watermarks and keep the content."""
        reply: words.PicturesReply = await run("remove_watermark", body, request)
        return reply

    for route in router.routes:
        route.response_model_exclude_none = True  # type: ignore[attr-defined]  # all of these are APIRoutes
    return router
