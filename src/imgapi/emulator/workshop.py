"""The work of a task: from input pictures to results, by way of a painter."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from imgapi.clock import Clock
from imgapi.emulator.answers import TaskFailure
from imgapi.emulator.catalogue import Family, Shape
from imgapi.emulator.checks import check_pictures
from imgapi.emulator.inputs import Inputs, Unobtainable, look_at
from imgapi.emulator.instructions import understand
from imgapi.emulator.messages import choose_size
from imgapi.emulator.orders import Order
from imgapi.emulator.painters import PAINTERS, Painting, PaintingRefused, PaintJob
from imgapi.emulator.steps import find_inner, fit_size, flatten
from imgapi.errors import CallerError, Overloaded, SubjectNotFound
from imgapi.matting.cutout import Cutout
from imgapi.pictures.outcomes import PictureInfo

T = TypeVar("T")

_ALGORITHM: Final = "InternalError.Algo"
_MAX_TRIES: Final = 600
_MAX_COUNT: Final = 4


class RunPixels(Protocol):
    """Runs a picklable function off the event loop, as `pictures.workers.Workers.run` does."""

    async def __call__(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Return what the function returns; raise what it raises, or `Overloaded`."""
        ...


@dataclass(frozen=True, slots=True)
class Artisan:
    """The functions a workshop calls in worker processes.

    Args:
        paint: A `PaintJob` to pictures; raises `PaintingRefused`.
        cut_out: An opaque picture to a cut-out; raises `SubjectNotFound`.
    """

    paint: Callable[[PaintJob], Painting]
    cut_out: Callable[[bytes], Cutout]


@dataclass(frozen=True, slots=True)
class Work:
    """Finished pictures, with what is to be told of them; `size` is that of all, where the answer tells it."""

    pictures: tuple[bytes, ...]
    size: tuple[int, int] | None = None
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


class Workshop:
    """Carries out orders.

    Args:
        inputs: Where pictures come from.
        run_pixels: Runs the functions of the artisan.
        artisan: Who does the pixel work.
        clock: What waiting for a free worker is measured with.
        seed: Where the seeds of orders without one are drawn from.
    """

    def __init__(self, inputs: Inputs, run_pixels: RunPixels, artisan: Artisan, clock: Clock, seed: int) -> None:
        self._inputs = inputs
        self._run_pixels = run_pixels
        self._artisan = artisan
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose, no secret

    async def carry_out(self, order: Order, task_id: str) -> Work:
        """Make the pictures of an order.

        Raises:
            TaskFailure: In the upstream's code and words.
        """
        pictures, infos = await self._gather(order, task_id)
        check_pictures(order.model, infos)
        try:
            if order.model.shape is Shape.CHOICES:
                return await self._follow_instruction(order, pictures, infos)
            return await self._paint(order, order.operation or "", pictures, order.parameters)
        except PaintingRefused as refused:
            raise TaskFailure(refused.code, refused.message) from refused
        except SubjectNotFound as error:
            raise TaskFailure(_ALGORITHM, f"algorithm process error: {error.message}") from error
        except CallerError as error:
            raise TaskFailure("InvalidParameter.ImageFormat", "read image error") from error

    async def _gather(self, order: Order, task_id: str) -> tuple[dict[str, bytes], dict[str, PictureInfo]]:
        pictures: dict[str, bytes] = {}
        infos: dict[str, PictureInfo] = {}
        for role in order.pictures:
            try:
                pictures[role] = await self._inputs.load(order, task_id, role)
            except Unobtainable as error:
                raise _download_failure(order, role) from error
            try:
                infos[role] = await look_at(pictures[role])
            except Unobtainable as error:
                raise TaskFailure("InvalidParameter.ImageFormat", "read image error") from error
        return pictures, infos

    async def _paint(
        self, order: Order, operation: str, pictures: Mapping[str, bytes], parameters: Mapping[str, object]
    ) -> Work:
        if operation not in PAINTERS:
            raise TaskFailure(_ALGORITHM, f"algorithm process error: the local preview can't do {operation}")
        seed = order.seed if order.seed is not None else self._random.randrange(2**31)
        painted: list[bytes] = []
        # Ordered sets: what several rounds tell alike is told once.
        warnings: dict[str, None] = {}
        ignored: dict[str, None] = {}
        while len(painted) < order.count:
            count = min(_MAX_COUNT, order.count - len(painted))
            job = PaintJob(operation, dict(pictures), dict(parameters), order.prompt, seed + len(painted), count)
            painting = await self._pixels(self._artisan.paint, job)
            painted += painting.pictures
            warnings.update(dict.fromkeys(painting.warnings))
            ignored.update(dict.fromkeys(painting.ignored))
        return Work(tuple(painted), warnings=tuple(warnings), ignored=tuple(ignored))

    async def _follow_instruction(
        self, order: Order, pictures: dict[str, bytes], infos: dict[str, PictureInfo]
    ) -> Work:
        understood = understand(order.prompt, len(pictures))
        if understood is None:
            raise TaskFailure(
                _ALGORITHM, "algorithm process error: the local preview recognises no edit in this instruction"
            )
        last = list(infos.values())[-1]
        size = choose_size(order.model, order.parameters, last.width, last.height)
        chosen = {role: await self._pixels(flatten, pictures[number]) for role, number in understood.roles.items()}
        parameters: dict[str, object] = {}
        if understood.operation == "background":
            chosen["base"] = (await self._pixels(self._artisan.cut_out, chosen["base"])).content
        elif understood.operation == "super_resolution":
            source = infos[understood.roles["base"]]
            parameters["upscale_factor"] = 2 if source.width * source.height < size[0] * size[1] else 1
        elif understood.operation == "expand":
            inner = await self._pixels(find_inner, chosen["base"])
            if inner is None:
                raise TaskFailure(
                    _ALGORITHM, "algorithm process error: the picture has no border of one colour to be filled"
                )
            chosen["base"] = inner.content
            parameters.update(inner.scales)
        work = await self._paint(order, understood.operation, chosen, parameters)
        fitted = [await self._pixels(fit_size, picture, *size) for picture in work.pictures]
        return replace(work, pictures=tuple(fitted), size=size)

    async def _pixels(self, function: Callable[..., T], *args: object) -> T:
        for _ in range(_MAX_TRIES):
            try:
                return await self._run_pixels(function, *args)
            except Overloaded as error:
                # The upstream never says no to a task it has accepted; it takes longer.
                await self._clock.sleep(error.retry_after)
        raise TaskFailure("InternalError.Timeout", "An internal timeout error has occured during execution.")


def _download_failure(order: Order, role: str) -> TaskFailure:
    if order.model.family in {Family.TRY_ON, Family.REFINER}:
        return TaskFailure(
            "InvalidURL",
            "The request URL is invalid, please check the request URL is available and the request image format is "
            "one of the following types: JPEG, JPG, PNG, BMP, and WEBP.",
        )
    if order.model.family is Family.BACKGROUND and role != "base":
        return TaskFailure("BadRequest.InputDownloadFailed", "Reference image download failed, please check image url.")
    return TaskFailure("InvalidParameter.FileDownload", "download for input_image error")
