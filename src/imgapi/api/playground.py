"""The playground: one page that tries every operation of the document in a browser."""

from http import HTTPStatus
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from imgapi.api.packaged import answer_file, read_file

PLAYGROUND_PATH = "/playground"
_PACKAGE, _FOLDER, _PAGE = "imgapi.api", "playground", "index.html"
_READ = ["GET", "HEAD"]
# Scripts, styles and calls are of this service alone. Pictures may be anywhere: a source stands where its URL says,
# and a result that nobody keeps here stands in the upstream's store.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob: http: https:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)


def playground_router() -> APIRouter:
    """Make the routes of the page and its files; none is part of the document."""
    router = APIRouter(include_in_schema=False)
    parts = _parts()

    @router.api_route(PLAYGROUND_PATH, methods=_READ)
    async def show_playground(request: Request) -> Response:
        return await answer_file(request, lambda: read_file(_PACKAGE, _FOLDER, _PAGE), policy=_POLICY)

    @router.api_route(f"{PLAYGROUND_PATH}/{{name}}", methods=_READ)
    async def part(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in parts:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return await answer_file(request, lambda: read_file(_PACKAGE, _FOLDER, name))

    return router


def _parts() -> frozenset[str]:
    """Name the files that the page may ask for."""
    return frozenset(entry.name for entry in files(_PACKAGE).joinpath(_FOLDER).iterdir()) - {_PAGE}
