"""Preparing inputs: a picture that fits goes on untouched, any other is made to fit.

The reader of a picture is the upstream, so what it can't reach (a data URL, a file of this service, a private
address) or would refuse (size, format, no alpha) is handed over by temporary upload.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imgapi.contract.fields import Request
from imgapi.dashscope.client import DashScope
from imgapi.dashscope.uploads import upload
from imgapi.edits.edit import Candidate, InputRule, PreparedPicture
from imgapi.errors import ImgapiError, InvalidParameter
from imgapi.matting.classical import cut_out
from imgapi.pictures.canvas import enlarge_canvas, has_clear_pixels
from imgapi.pictures.fit import Bounds, fit, misfits
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.probe import PictureInfo, probe
from imgapi.pictures.workers import Workers
from imgapi.sources.fetch import Fetcher, Origin, Source
from imgapi.sources.urls import normalise_url

# What matting and canvas work read themselves; SVG has no pixels until it is rendered.
RASTER = Bounds(
    formats=frozenset({"jpeg", "png", "webp", "tiff", "gif", "bmp"}), min_side=1, max_side=16_384, max_bytes=2**31
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The inputs of one submit: pictures by public field, and what was changed, for the caller."""

    pictures: Mapping[str, PreparedPicture]
    changes: tuple[str, ...]


@dataclass(slots=True)
class Inputs:
    """The pictures of one request, fetched once, however many models are tried with them."""

    request: Request
    sources: dict[str, tuple[Source, PictureInfo]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Preparer:
    """Makes inputs fit.

    Args:
        fetcher: Downloads callers' URLs.
        workers: Do all pixel work.
        limits: Bounds on any picture.
        dashscope: Takes temporary uploads.
        adapt: False refuses what doesn't fit, naming the limit and the actual value (`IMGAPI_PREPARE=off`).
    """

    fetcher: Fetcher
    workers: Workers
    limits: PictureLimits
    dashscope: DashScope
    adapt: bool = True

    async def read(self, request: Request, name: str) -> tuple[Source, PictureInfo]:
        """Fetch the picture of one field and read its header.

        Raises:
            CallerError: The URL or the picture is unusable; the error names the field.
        """
        try:
            source = await self.fetcher.fetch(getattr(request, name))
            return source, await self.workers.run(probe, source.content, self.limits)
        except ImgapiError as exc:
            raise exc.about(name) from exc.__cause__

    async def raster(self, content: bytes, info: PictureInfo) -> bytes:
        """Return the picture in a form that has pixels."""
        if not misfits(info, RASTER):
            return content
        return (await self.workers.run(fit, content, RASTER, self.limits)).content

    async def prepare(self, candidate: Candidate[Any], inputs: Inputs) -> Prepared:
        """Make every input of a request fit one model.

        Raises:
            CallerError: A picture is unusable or can't be made to fit.
            UpstreamError: The upstream takes no temporary upload.
        """
        names = tuple(candidate.inputs)
        missing = [name for name in names if name not in inputs.sources]
        for name, found in zip(missing, await _all([self.read(inputs.request, name) for name in missing]), strict=True):
            inputs.sources[name] = found
        prepared = await _all([self._prepare_one(candidate, inputs, name) for name in names])
        changes: list[str] = []
        for name, (_, made) in zip(names, prepared, strict=True):
            changes += made if len(names) == 1 else [f"{name}: {change}" for change in made]
        return Prepared({name: picture for name, (picture, _) in zip(names, prepared, strict=True)}, tuple(changes))

    async def _prepare_one(
        self, candidate: Candidate[Any], inputs: Inputs, name: str
    ) -> tuple[PreparedPicture, tuple[str, ...]]:
        rule = candidate.inputs[name]
        source, info = inputs.sources[name]
        try:
            content, changes = await self._shape(rule, inputs.request, source.content, info)
            if content is None and source.origin is Origin.PUBLIC:
                url = normalise_url(getattr(inputs.request, name))
                return PreparedPicture(url, info.width, info.height), ()
            if content is not None:
                info = await self.workers.run(probe, content, self.limits)
            url = await upload(
                self.dashscope, content or source.content, model=candidate.model, suffix=_suffix(info.format)
            )
            return PreparedPicture(url, info.width, info.height), changes
        except ImgapiError as exc:
            raise exc.about(name) from exc.__cause__

    async def _has_clear_pixels(self, content: bytes, info: PictureInfo) -> bool:
        # SVG has no pixels yet; it is rendered and cut out like any other picture.
        can_have = info.has_transparency and info.format != "svg"
        return can_have and await self.workers.run(has_clear_pixels, content)

    async def _shape(
        self, rule: InputRule[Any], request: Request, content: bytes, info: PictureInfo
    ) -> tuple[bytes | None, tuple[str, ...]]:
        """Return the picture made to fit and what was changed; None when it fits as it is."""
        changes: tuple[str, ...] = ()
        shaped: bytes | None = None
        if rule.canvas is not None:
            picture = await self.raster(content, info)
            shaped = await self.workers.run(enlarge_canvas, picture, rule.canvas(request))
            changes = ("put on an enlarged canvas",)
        elif rule.cut_out and not await self._has_clear_pixels(content, info):
            if not self.adapt:
                message = f"must be an RGBA PNG with a transparent background, and is {info.format} of mode {info.mode}"
                raise InvalidParameter(message)
            picture = await self.raster(content, info)
            shaped = (await self.workers.run(cut_out, picture)).content
            changes = ("cut out the subject as RGBA PNG",)
        if shaped is not None:
            content, info = shaped, await self.workers.run(probe, shaped, self.limits)
        reasons = misfits(info, rule.bounds)
        if not reasons:
            return shaped, changes
        if not self.adapt:
            raise InvalidParameter("; ".join(reasons))
        fitted = await self.workers.run(fit, content, rule.bounds, self.limits)
        return fitted.content, changes + fitted.changes


def _suffix(picture_format: str) -> str:
    return "jpg" if picture_format == "jpeg" else picture_format


async def _all(work: list[Awaitable[Any]]) -> list[Any]:
    """Await everything, then raise the first failure: nothing is left running behind an error."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes
