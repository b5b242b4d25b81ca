"""Preparing inputs: a picture that fits goes on untouched, any other is made to fit.

The reader of a picture is the upstream, so what it can't reach (a data URL, a file of this service, a private
address) or would refuse (size, format, no alpha) is handed over by temporary upload.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imgapi.contract.fields import Request
from imgapi.dashscope.client import DashScope
from imgapi.dashscope.uploads import upload
from imgapi.edits.edit import Candidate, InputRule, MarkedArea, PreparedPicture
from imgapi.errors import ImgapiError, InvalidParameter
from imgapi.matting.cutout import Cutout
from imgapi.pictures.bounds import Bounds, misfits
from imgapi.pictures.entries import draw_mask, enlarge_canvas, fit, has_clear_pixels, probe
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.outcomes import PictureInfo
from imgapi.pictures.workers import Workers
from imgapi.sources.fetch import Fetcher, Origin, Source
from imgapi.sources.urls import normalise_url

# What matting and canvas work read themselves; SVG has no pixels until it is rendered.
RASTER = Bounds(
    formats=frozenset({"jpeg", "png", "webp", "tiff", "gif", "bmp"}), min_side=1, max_side=16_384, max_bytes=2**31
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The inputs of one submit: pictures by public field, and what was changed or is doubtful, for the caller."""

    pictures: Mapping[str, PreparedPicture]
    changes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Shaped:
    """One picture made to fit; `content` is None when it fits as it is."""

    content: bytes | None
    width: int
    height: int
    format: str
    changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


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
        cut_out: Frees the subject of a picture from its background.
        adapt: False refuses what doesn't fit, naming the limit and the actual value (`IMGAPI_PREPARE=off`).
    """

    fetcher: Fetcher
    workers: Workers
    limits: PictureLimits
    dashscope: DashScope
    cut_out: Callable[[bytes], Awaitable[Cutout]]
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
        area = candidate.mask.area(inputs.request) if candidate.mask is not None else None
        await self._read_missing(inputs, names if area is None or area.field is None else (*names, area.field))
        shaped = dict(
            zip(names, await _all([self._prepare_one(candidate, inputs, name) for name in names]), strict=True)
        )
        pictures = {name: picture for name, (picture, _) in shaped.items()}
        if candidate.mask is not None and area is not None:
            pictures["mask"] = await self._prepare_mask(candidate, candidate.mask.of, area, inputs, pictures)
        changes: list[str] = []
        warnings: list[str] = []
        for name, (_, made) in shaped.items():
            changes += made.changes if len(names) == 1 else [f"{name}: {change}" for change in made.changes]
            warnings += made.warnings
        return Prepared(pictures, tuple(changes), tuple(dict.fromkeys(warnings)))

    async def _read_missing(self, inputs: Inputs, names: Sequence[str]) -> None:
        missing = [name for name in names if name not in inputs.sources]
        for name, found in zip(missing, await _all([self.read(inputs.request, name) for name in missing]), strict=True):
            inputs.sources[name] = found

    async def _prepare_one(
        self, candidate: Candidate[Any], inputs: Inputs, name: str
    ) -> tuple[PreparedPicture, _Shaped]:
        rule = candidate.inputs[name]
        source, info = inputs.sources[name]
        try:
            shaped = await self._shape(rule, inputs.request, source.content, info)
            if shaped.content is None and source.origin is Origin.PUBLIC:
                url = normalise_url(getattr(inputs.request, name))
            else:
                url = await self._hand_over(candidate, shaped.content or source.content, shaped.format)
        except ImgapiError as exc:
            raise exc.about(name) from exc.__cause__
        return PreparedPicture(url, shaped.width, shaped.height), shaped

    async def _prepare_mask(
        self,
        candidate: Candidate[Any],
        marked: str,
        area: MarkedArea,
        inputs: Inputs,
        pictures: Mapping[str, PreparedPicture],
    ) -> PreparedPicture:
        """Draw the area that a request marks, at the size of the marked picture as the model gets it."""
        field = area.field or "boxes"
        _, seen = inputs.sources[marked]
        target = (pictures[marked].width, pictures[marked].height)
        try:
            mask = None
            if area.field is not None:
                source, info = inputs.sources[area.field]
                mask = await self.raster(source.content, info)
            drawn = await self.workers.run(draw_mask, (seen.width, seen.height), target, area.boxes, mask)
        except ImgapiError as exc:
            raise exc.about(field) from exc.__cause__
        return PreparedPicture(await self._hand_over(candidate, drawn, "png"), *target)

    async def _hand_over(self, candidate: Candidate[Any], content: bytes, picture_format: str) -> str:
        """Upload a picture for one model; return the address that the upstream resolves."""
        suffix = "jpg" if picture_format == "jpeg" else picture_format
        return await upload(self.dashscope, content, model=candidate.model, suffix=suffix)

    async def _has_clear_pixels(self, content: bytes, info: PictureInfo) -> bool:
        # SVG has no pixels yet; it is rendered and cut out like any other picture.
        can_have = info.has_transparency and info.format != "svg"
        return can_have and await self.workers.run(has_clear_pixels, content)

    async def _shape(self, rule: InputRule[Any], request: Request, content: bytes, info: PictureInfo) -> _Shaped:
        """Make a picture fit its rule."""
        changes: tuple[str, ...] = ()
        warnings: tuple[str, ...] = ()
        shaped: bytes | None = None
        if rule.canvas is not None:
            picture = await self.raster(content, info)
            shaped = await self.workers.run(enlarge_canvas, picture, rule.canvas(request))
            changes = ("put on an enlarged canvas",)
        elif rule.cut_out and not await self._has_clear_pixels(content, info):
            if not self.adapt:
                message = f"must be an RGBA PNG with a transparent background, and is {info.format} of mode {info.mode}"
                raise InvalidParameter(message)
            cutout = await self.cut_out(await self.raster(content, info))
            shaped, warnings = cutout.content, cutout.warnings
            changes = ("cut out the subject as RGBA PNG",)
        if shaped is not None:
            content, info = shaped, await self.workers.run(probe, shaped, self.limits)
        reasons = misfits(info, rule.bounds)
        if not reasons:
            return _Shaped(shaped, info.width, info.height, info.format, changes, warnings)
        if not self.adapt:
            raise InvalidParameter("; ".join(reasons))
        fitted = await self.workers.run(fit, content, rule.bounds, self.limits)
        return _Shaped(fitted.content, fitted.width, fitted.height, fitted.format, changes + fitted.changes, warnings)


async def _all(work: list[Awaitable[Any]]) -> list[Any]:
    """Await everything, then raise the first failure: nothing is left running behind an error."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes
