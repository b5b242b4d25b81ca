"""The routes of the three local utilities."""

import struct
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from imgapi.api.access import take_place
from imgapi.api.bodies import JsonRoute
from imgapi.api.forms import form_schema, read_form
from imgapi.api.negotiation import Picture, choose_format, describe_pictures, picture_response
from imgapi.api.openapi import ERRORS
from imgapi.api.picture_json import PictureJson
from imgapi.contract.utils import ConvertReply, ConvertRequest, PhotoResizeUrlRequest, ResizeReply, ResizeRequest
from imgapi.errors import ImgapiError
from imgapi.pictures.entries import convert_to_png, resize
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.workers import Workers
from imgapi.results.outputs import OutputFolder
from imgapi.sources.fetch import Fetcher

TAG = "utils"


@dataclass(frozen=True, slots=True)
class Utilities:
    """What the utilities are made of.

    Args:
        workers: Do all pixel work.
        limits: Bounds on any picture.
        fetcher: Downloads callers' URLs.
        outputs: Where converted files are written.
        svg_renderer: `resvg` or `cairosvg`.
    """

    workers: Workers
    limits: PictureLimits
    fetcher: Fetcher
    outputs: OutputFolder
    svg_renderer: str

    async def resize(self, request: Request, content: bytes, wanted: ResizeRequest, field: str) -> Response:
        """Resize a picture and write the documented reply, or answer the picture itself where that is asked for.

        Raises:
            CallerError: The picture is unusable; the error names the field.
        """
        try:
            resized = await self.workers.run(
                resize,
                content,
                min_dim=wanted.min_dim,
                max_dim=wanted.max_dim,
                limits=self.limits,
                svg_renderer=self.svg_renderer,
            )
            picture = Picture(
                resized.content,
                resized.format,
                resized.width,
                resized.height,
                resized.original_width,
                resized.original_height,
            )
            if (answer := await self._answer_itself(request, picture)) is not None:
                return answer
        except ImgapiError as exc:
            raise exc.about(field) from exc.__cause__
        reply = ResizeReply(
            success=True,
            original_size=f"{resized.original_width}x{resized.original_height}px",
            resized_size=f"{resized.width}x{resized.height}px",
            image_data="",
        )
        return PictureJson(reply, resized.content)

    async def convert(self, request: Request, content: bytes, filename: str, wanted: ConvertRequest) -> Response:
        """Convert a picture to PNG, keep the files, and write the documented reply.

        Where the picture itself is asked for, the answer is the first frame; the files are kept all the same.

        Raises:
            CallerError: The picture is unusable; the error names the field.
        """
        try:
            converted = await self.workers.run(
                convert_to_png,
                content,
                all_frames=wanted.keep_animation,
                limits=self.limits,
                svg_renderer=self.svg_renderer,
            )
            first = converted.frames[0]
            width, height = _png_size(first)
            answer = await self._answer_itself(request, Picture(first, "png", width, height, width, height))
        except ImgapiError as exc:
            raise exc.about("image") from exc.__cause__
        split = wanted.keep_animation and len(converted.frames) > 1
        paths = await self.outputs.save(filename, converted.frames, overwrite=wanted.overwrite, split=split)
        if answer is not None:
            return answer
        reply = ConvertReply.model_validate(
            {
                "success": True,
                "message": "转换成功",
                "original_format": converted.original_format,
                "converted_format": "png",
                "image_paths": paths,
                "image_data": "",
            }
        )
        return PictureJson(reply, first)

    async def _answer_itself(self, request: Request, picture: Picture) -> Response | None:
        chosen = choose_format(request, picture.format)
        if chosen is None:
            return None
        return await picture_response(picture, chosen, workers=self.workers, limits=self.limits)


def _png_size(content: bytes) -> tuple[int, int]:
    """Read width and height of a PNG of our own making, whose first chunk has them."""
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def utils_router(utilities: Utilities) -> APIRouter:
    """Make the three routes."""
    router = APIRouter(prefix="/utils", tags=[TAG], responses=ERRORS, route_class=JsonRoute)
    answers: dict[int | str, dict[str, Any]] = {200: describe_pictures()}

    @router.post(
        "/photo_resize_url",
        operation_id="resize_photo_by_url",
        summary="Resize the picture behind a URL",
        response_model=ResizeReply,
        responses=answers,
    )
    async def photo_resize_url(body: PhotoResizeUrlRequest, request: Request) -> Response:
        """Bring the sides of a picture into `min_dim` to `max_dim`, keeping its ratio; `max_dim` wins."""
        try:
            source = await utilities.fetcher.fetch(body.image_url)
        except ImgapiError as exc:
            raise exc.about("image_url") from exc.__cause__
        return await utilities.resize(request, source.content, body, "image_url")

    @router.post(
        "/photo_resize",
        operation_id="resize_photo",
        summary="Resize an uploaded picture",
        response_model=ResizeReply,
        responses=answers,
        openapi_extra=form_schema(ResizeRequest, "The picture."),
    )
    async def photo_resize(request: Request) -> Response:
        """Bring the sides of an uploaded picture into `min_dim` to `max_dim`, keeping its ratio; `max_dim` wins."""
        wanted, _, content = await read_form(request, ResizeRequest)
        take_place(request)
        return await utilities.resize(request, content, wanted, "image")

    @router.post(
        "/convert_to_png",
        operation_id="convert_to_png",
        summary="Convert a picture to PNG",
        response_model=ConvertReply,
        responses=answers,
        openapi_extra=form_schema(ConvertRequest, "A jpg, webp, svg, tiff, gif, bmp or png."),
    )
    async def convert(request: Request) -> Response:
        """Convert a picture to PNG, keeping transparency and 16-bit depth; the files stay in the output folder."""
        wanted, filename, content = await read_form(request, ConvertRequest)
        take_place(request)
        return await utilities.convert(request, content, filename, wanted)

    return router
