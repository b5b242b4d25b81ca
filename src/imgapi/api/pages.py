"""The pages that show the OpenAPI document, with the sample pictures of its examples; nothing is from another host."""

from functools import cache
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from imgapi.api.packaged import PackagedFile, answer_file, make_file, read_file
from imgapi.contract.samples import SAMPLES, SAMPLES_PATH

ASSETS_PATH = "/docs/assets/"
_READ = ["GET", "HEAD"]
# Each page's files, and the package that ships each; every name is one that a caller may ask for.
_ASSETS = {
    "icon.svg": "imgapi.api",
    "pages.css": "imgapi.api",
    "swagger-ui-start.js": "imgapi.api",
    "redoc-start.js": "imgapi.api",
    "swagger-ui.css": "fastapi_offline",
    "swagger-ui-bundle.js": "fastapi_offline",
    "redoc.standalone.js": "fastapi_offline",
}
# Redoc shows its maker's logo from this address, and has no option against it; an empty picture hides it.
_REDOC_LOGO, _NO_PICTURE = b"https://cdn.redoc.ly/redoc/logo-mini.svg", b"data:,"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'{style}; img-src 'self' data: blob:; connect-src 'self'; "
    "{worker}base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_POLICIES = {
    "swagger-ui.html": _POLICY.format(style="", worker=""),
    # Redoc writes its styles into the page as it draws, and searches in a worker that it makes of a blob.
    "redoc.html": _POLICY.format(style=" 'unsafe-inline'", worker="worker-src blob:; "),
}


def pages_router() -> APIRouter:
    """Make the routes of `/docs`, `/redoc`, their assets and the sample pictures; none is part of the document."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/docs", methods=_READ)
    async def show_swagger_ui(request: Request) -> Response:
        return await _page(request, "swagger-ui.html")

    @router.api_route("/redoc", methods=_READ)
    async def show_redoc(request: Request) -> Response:
        return await _page(request, "redoc.html")

    @router.api_route(f"{ASSETS_PATH}{{name}}", methods=_READ)
    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _ASSETS:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return await answer_file(request, lambda: _read_asset(name))

    router.add_api_route(f"{SAMPLES_PATH}{{name}}", sample_picture, methods=_READ)
    return router


async def sample_picture(request: Request) -> Response:
    """Answer a sample picture, to a browser or to the fetcher of this very service."""
    name = request.path_params["name"]
    if name not in SAMPLES:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return await answer_file(request, lambda: read_file("imgapi.api", "samples", name))


async def _page(request: Request, name: str) -> Response:
    return await answer_file(request, lambda: read_file("imgapi.api", "assets", name), policy=_POLICIES[name])


@cache
def _read_asset(name: str) -> PackagedFile:
    file = read_file(_ASSETS[name], "assets" if _ASSETS[name] == "imgapi.api" else "static", name)
    if name == "redoc.standalone.js":
        return make_file(name, file.content.replace(_REDOC_LOGO, _NO_PICTURE))
    return file
