"""The models the emulator knows: where each is reached, what an account is granted, how it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from imgapi.emulator.config import ModelLimits, Rate


class Family(Enum):
    """Models that share their body and the rules for it."""

    BACKGROUND = "background"
    EDIT = "edit"
    TRY_ON = "try_on"
    REFINER = "refiner"
    WAN = "wan"
    QWEN = "qwen"


class Shape(Enum):
    """Where in the answer the pictures are."""

    RESULTS = "results"
    IMAGE_URL = "image_url"
    CHOICES = "choices"


@dataclass(frozen=True, slots=True)
class Model:
    """One model name.

    Args:
        name: As it stands in a request.
        family: Whose rules its body follows.
        limits: What the upstream grants one account.
        run_seconds: Its usual run time.
        throttled: Code and message of its 429.
        user_key: The fixed part of `user_api_unique_key` in the list of tasks.
    """

    name: str
    family: Family
    limits: ModelLimits
    run_seconds: float
    throttled: tuple[str, str] = (
        "Throttling.RateQuota",
        "Requests rate limit exceeded, please try again later.",
    )
    user_key: str = "image2image:image-synthesis"

    @property
    def shape(self) -> Shape:
        """Where its answer carries the pictures."""
        if self.family in {Family.WAN, Family.QWEN}:
            return Shape.CHOICES
        return Shape.IMAGE_URL if self.family in {Family.TRY_ON, Family.REFINER} else Shape.RESULTS

    @property
    def has_side_stages(self) -> bool:
        """Whether PRE-PROCESSING and POST-PROCESSING are among its statuses."""
        return self.shape is Shape.IMAGE_URL

    def usual_seconds(self, operation: str | None) -> float:
        """Return the usual run time of one operation; only the edit model's differ."""
        return _OPERATION_SECONDS.get(operation or "", self.run_seconds)


@dataclass(frozen=True, slots=True)
class Service:
    """One submit path below `/api/v1/services/`."""

    path: str
    is_async: bool
    models: frozenset[str]
    unknown_model: tuple[int, str, str]


_OPERATION_SECONDS: Final = MappingProxyType({"expand": 21.37, "super_resolution": 8.92, "remove_watermark": 9.0})
_TRY_ON_THROTTLED: Final = ("Throttling", "Requests throttling triggered.")
_UNKNOWN_BY_OLDER_PATHS: Final = (400, "InvalidParameter", "Model not exist.")
_UNKNOWN_BY_NEWER_PATHS: Final = (404, "ModelNotFound", "Model can not be found.")


def _try_on(name: str, family: Family, run_seconds: float) -> Model:
    return Model(name, family, ModelLimits(Rate(10), 5), run_seconds, throttled=_TRY_ON_THROTTLED)


def _wan(name: str) -> Model:
    return Model(name, Family.WAN, ModelLimits(Rate(5), 5), 12.0, user_key="image-generation:generation")


def _qwen(name: str, submits: Rate) -> Model:
    return Model(name, Family.QWEN, ModelLimits(submits, None), 8.0, user_key="multimodal-generation:generation")


_BACKGROUND: Final = Model(
    "wanx-background-generation-v2",
    Family.BACKGROUND,
    ModelLimits(Rate(2), 1),
    11.98,
    user_key="background-generation:generation",
)
_EDIT: Final = Model("wanx2.1-imageedit", Family.EDIT, ModelLimits(Rate(2), 2), 10.0)
_TRY_ONS: Final = (
    _try_on("aitryon", Family.TRY_ON, 16.25),
    _try_on("aitryon-plus", Family.TRY_ON, 16.25),
    _try_on("aitryon-refiner", Family.REFINER, 10.0),
)
_WANS: Final = tuple(_wan(name) for name in ("wan2.7-image", "wan2.7-image-pro", "wan2.6-image"))
_QWENS: Final = (_qwen("qwen-image-2.0", Rate(2)), _qwen("qwen-image-2.0-pro", Rate(2, 60.0)))

MODELS: Final[Mapping[str, Model]] = MappingProxyType(
    {model.name: model for model in (_BACKGROUND, _EDIT, *_TRY_ONS, *_WANS, *_QWENS)}
)

SERVICES: Final = (
    Service(
        "aigc/background-generation/generation",
        is_async=True,
        models=frozenset({_BACKGROUND.name}),
        unknown_model=_UNKNOWN_BY_OLDER_PATHS,
    ),
    Service(
        "aigc/image2image/image-synthesis",
        is_async=True,
        models=frozenset({_EDIT.name, *(model.name for model in _TRY_ONS)}),
        unknown_model=_UNKNOWN_BY_OLDER_PATHS,
    ),
    Service(
        "aigc/image-generation/generation",
        is_async=True,
        models=frozenset(model.name for model in _WANS),
        unknown_model=_UNKNOWN_BY_NEWER_PATHS,
    ),
    Service(
        "aigc/multimodal-generation/generation",
        is_async=False,
        models=frozenset({"wan2.7-image", "wan2.7-image-pro", *(model.name for model in _QWENS)}),
        unknown_model=_UNKNOWN_BY_NEWER_PATHS,
    ),
)
