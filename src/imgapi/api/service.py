"""The routes of the service's own state and files."""

from collections.abc import Callable
from http import HTTPStatus

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

from imgapi.api.openapi import ERRORS, RESULT_ERRORS
from imgapi.contract.service import OperationsReply, StateReply
from imgapi.errors import Overloaded, ResultExpired
from imgapi.results.store import RESULT_NAME, ResultStore

TAG = "service"
_READY_SECONDS = 5.0
# The names that ResultStore makes. A name of another shape never was a result; one of this shape may have expired.
MEDIA_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}


def service_router(operations: OperationsReply, results: ResultStore, ails: Callable[[], str | None]) -> APIRouter:
    """Make the routes: liveness, readiness, what can be done here, and kept results.

    Args:
        operations: What can be done here.
        results: The kept results.
        ails: Says why the service is not ready for work; None when it is.
    """
    router = APIRouter(tags=[TAG], responses={500: ERRORS[500]})

    @router.get("/livez", operation_id="check_liveness", summary="Does the process live?")
    async def livez() -> StateReply:
        """Answer as long as the event loop turns."""
        return StateReply(status="ok")

    @router.get(
        "/readyz",
        operation_id="check_readiness",
        summary="Is the service ready for work?",
        responses={503: ERRORS[503]},
    )
    async def readyz() -> StateReply:
        """Answer 200 once workers and database are there; 503 while the service stops or has lost its database."""
        if (reason := ails()) is not None:
            raise Overloaded(reason, retry_after=_READY_SECONDS)
        return StateReply(status="ok")

    @router.get("/operations", operation_id="list_operations", summary="What this installation can do")
    async def list_operations() -> OperationsReply:
        """List the operations, the models behind them, and the limits."""
        return operations

    @router.get(
        "/results/{name}",
        operation_id="get_result",
        summary="A kept result",
        response_class=Response,
        responses={
            200: {
                "description": "The picture.",
                "content": {each: {"schema": {"type": "string", "format": "binary"}} for each in MEDIA_TYPES.values()},
            },
            **RESULT_ERRORS,
        },
    )
    async def get_result(name: str) -> Response:
        """Return a picture that an edit made and this service keeps; links are unguessable and expire."""
        if not RESULT_NAME.fullmatch(name):
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no result of this name; run the edit again.")
        content = await results.get(name)
        if content is None:
            raise ResultExpired("This result is not kept here, or no longer; run the edit again.")
        media_type = MEDIA_TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        headers = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Response(content, media_type=media_type, headers=headers)

    return router
