"""What a model finds wrong with a picture once its task is at work (`docs/upstream.md`, one chapter per model)."""

from collections.abc import Mapping
from typing import Final

from imgapi.emulator.answers import TaskFailure
from imgapi.emulator.catalogue import Family, Model
from imgapi.pictures.outcomes import PictureInfo

_MIB: Final = 1024 * 1024
_BACKGROUND_SIDE: Final = 2048
_EDIT_FORMATS: Final = frozenset({"jpeg", "png", "bmp", "tiff", "webp"})
_WAN_FORMATS: Final = frozenset({"jpeg", "png", "bmp", "webp"})
_QWEN_FORMATS: Final = _EDIT_FORMATS | {"gif"}
_TRY_ON_FORMATS: Final = frozenset({"jpeg", "png", "bmp", "webp"})
_NOT_RGBA: Final = (
    "Base image require RGBA format, but is {mode}, modes concept see "
    "https://pillow.readthedocs.io/en/stable/handbook/concepts.html#modes"
)
_TRY_ON_LENGTH: Final = (
    "The image resolution is invalid, please make sure that the largest length of image is smaller than 4096, and the "
    "smallest length of image is larger than 150. and the size of image ranges from 5KB to 5MB."
)
_TRY_ON_URL: Final = (
    "The request URL is invalid, please check the request URL is available and the request image format is one of the "
    "following types: JPEG, JPG, PNG, BMP, and WEBP."
)


def check_pictures(model: Model, pictures: Mapping[str, PictureInfo]) -> None:
    """Fail a task whose pictures its model does not take.

    Raises:
        TaskFailure: With the model's code and words.
    """
    for role, info in pictures.items():
        if model.family is Family.BACKGROUND:
            _check_background(role, info)
        elif model.family is Family.EDIT:
            _check_edit(role, info, pictures["base"])
        elif model.family in {Family.TRY_ON, Family.REFINER}:
            _check_try_on(info)
        else:
            _check_message(model, info)
    person, coarse = pictures.get("person"), pictures.get("coarse")
    if person and coarse and (person.width, person.height) != (coarse.width, coarse.height):
        raise TaskFailure("InvalidParameter", "The size of person image and coarse_image are not the same.")


def _check_background(role: str, info: PictureInfo) -> None:
    if role == "base":
        if info.format != "png" or info.mode != "RGBA":
            raise TaskFailure("BadRequest.UnsupportedFileFormat", _NOT_RGBA.format(mode=info.mode))
        if max(info.width, info.height) > _BACKGROUND_SIDE:
            raise TaskFailure(
                "InvalidParameter",
                f"The long edge of the base image must not exceed {_BACKGROUND_SIDE}, but is "
                f"{max(info.width, info.height)}.",
            )
    elif info.format not in {"jpeg", "png", "webp"}:
        raise TaskFailure("InvalidParameter.ImageFormat", "read image error")


def _check_edit(role: str, info: PictureInfo, base: PictureInfo) -> None:
    _check_format(info, _EDIT_FORMATS)
    _check_bytes(info, 10 * _MIB)
    _check_sides(info, 512, 4096)
    if role == "mask" and (info.width, info.height) != (base.width, base.height):
        raise TaskFailure("InvalidParameter", "The size of mask image must be the same as that of base image.")


def _check_try_on(info: PictureInfo) -> None:
    if info.format not in _TRY_ON_FORMATS:
        raise TaskFailure("InvalidURL", _TRY_ON_URL)
    sides = (info.width, info.height)
    if min(sides) < 150 or max(sides) > 4096 or not 5 * 1024 <= info.size_bytes <= 5 * _MIB:  # noqa: PLR2004 - the figures of the message
        raise TaskFailure("InvalidInputLength", _TRY_ON_LENGTH)


def _check_message(model: Model, info: PictureInfo) -> None:
    if model.family is Family.QWEN:
        _check_format(info, _QWEN_FORMATS)
        _check_bytes(info, 10 * _MIB)
        return
    _check_format(info, _WAN_FORMATS)
    _check_bytes(info, 20 * _MIB)
    _check_sides(info, 240, 8000)
    if max(info.width, info.height) > 8 * min(info.width, info.height):
        raise TaskFailure("InvalidParameter", "The aspect ratio of the image must be between 1:8 and 8:1.")


def _check_format(info: PictureInfo, formats: frozenset[str]) -> None:
    if info.format not in formats:
        raise TaskFailure("InvalidParameter.ImageFormat", "read image error")


def _check_bytes(info: PictureInfo, most: int) -> None:
    if info.size_bytes > most:
        raise TaskFailure("InvalidParameter", f"The size of the image must not exceed {most // _MIB}MB.")


def _check_sides(info: PictureInfo, least: int, most: int) -> None:
    if min(info.width, info.height) < least or max(info.width, info.height) > most:
        raise TaskFailure(
            "InvalidParameter",
            f"The width and height of the image must be in [{least}, {most}], but are {info.width} and {info.height}.",
        )
