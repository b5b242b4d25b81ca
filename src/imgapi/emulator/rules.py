"""The field rules of each model: what a body must hold to be accepted (`docs/upstream.md`, one chapter per model)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from imgapi.emulator.answers import Refusal, invalid
from imgapi.emulator.catalogue import Family, Model
from imgapi.emulator.fields import (
    check_choice,
    check_flag,
    check_number,
    check_url,
    invalid_url,
    read_count,
    read_object,
    read_seed,
    read_text,
    read_url,
    read_whole,
)
from imgapi.emulator.messages import read_qwen, read_wan
from imgapi.emulator.orders import Order

EDIT_FUNCTIONS: Final = (
    "stylization_all",
    "stylization_local",
    "description_edit",
    "description_edit_with_mask",
    "remove_watermark",
    "expand",
    "super_resolution",
    "colorization",
    "doodle",
    "control_cartoon_feature",
)
_MASK_FUNCTION: Final = "description_edit_with_mask"
_SCALES: Final = ("top_scale", "bottom_scale", "left_scale", "right_scale")
_MAX_EDIT_PROMPT: Final = 800
_MAX_EDGES: Final = 10
_MAX_PROMPT: Final = 5_000
_MAX_PARAMETERS: Final = 40
_MAX_WORD: Final = 600
_TRY_ON_BAD_URL: Final = (
    "The request URL is invalid, please check the request URL is available and the request image format is one of the "
    "following types: JPEG, JPG, PNG, BMP, and WEBP."
)
_NO_GARMENT: Final = "Missing clothing image.Please input at least one top garment or bottom garment image."


def read_order(model: Model, body: Mapping[str, object]) -> Order:
    """Check a body against the rules of its model.

    Raises:
        Refusal: With the upstream's status, code and message.
    """
    if body.get("input") is None:
        raise Refusal(400, "BadRequest.EmptyInput", 'Required parameter "input" missing from request.')
    order = _READERS[model.family](model, read_object(body, "input"), read_object(body, "parameters"))
    return replace(order, parameters=_keep_scalars(order.parameters), prompt=order.prompt[:_MAX_PROMPT])


def _keep_scalars(parameters: Mapping[str, object]) -> dict[str, object]:
    """Keep what painters read: an accepted task is remembered for a day, so it must not carry a megabyte."""
    return {
        name: value
        for name, value in list(parameters.items())[:_MAX_PARAMETERS]
        if len(name) <= _MAX_WORD
        and (isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _MAX_WORD))
    }


def _read_background(model: Model, source: Mapping[str, object], parameters: Mapping[str, object]) -> Order:
    base = _without_data(read_url(source, "base_image_url", required=True))
    reference = _without_data(read_url(source, "ref_image_url"))
    prompt = read_text(source, "ref_prompt")
    read_text(source, "neg_ref_prompt")
    if reference is None and not prompt.strip():
        raise invalid()
    check_choice(parameters, "model_version", ("v2", "v3"))
    check_choice(parameters, "scene_type", ("GENERAL", "ROOM", "COSMETIC"))
    read_whole(parameters, "noise_level", None, 0, 999)
    check_number(parameters, "ref_prompt_weight", 0, 1)
    pictures = {"base": base or ""}
    if reference is not None:
        pictures["ref"] = reference
    pictures.update(_read_edges(read_object(source, "reference_edge")))
    return Order(
        model, "background", pictures, parameters, prompt, count=read_count(parameters, 4), seed=read_seed(parameters)
    )


def _read_edges(edges: Mapping[str, object]) -> dict[str, str]:
    pictures: dict[str, str] = {}
    for layer in ("foreground_edge", "background_edge"):
        urls = edges.get(layer) or []
        words = edges.get(f"{layer}_prompt")
        if not isinstance(urls, list) or (words is not None and not isinstance(words, list)):
            raise invalid()
        if words is not None and (len(words) != len(urls) or not all(isinstance(word, str) for word in words)):
            raise invalid(f"The length of {layer}_prompt must be the same as that of {layer}.")
        for number, url in enumerate(urls):
            pictures[f"{layer}_{number}"] = _without_data(check_url(url)) or ""
    if len(pictures) > _MAX_EDGES:
        raise invalid(f"The sum of foreground_edge and background_edge must not exceed {_MAX_EDGES}.")
    return pictures


def _without_data(url: str | None) -> str | None:
    if url is not None and url[:5].lower() == "data:":
        raise invalid_url()
    return url


def _read_edit(model: Model, source: Mapping[str, object], parameters: Mapping[str, object]) -> Order:
    function = source.get("function")
    if not isinstance(function, str):
        raise invalid()
    check_choice(source, "function", EDIT_FUNCTIONS, required=True)
    prompt = read_text(source, "prompt", required=True)[:_MAX_EDIT_PROMPT]
    pictures = {"base": _plain_ascii(read_url(source, "base_image_url", required=True))}
    if function == _MASK_FUNCTION:
        pictures["mask"] = _plain_ascii(read_url(source, "mask_image_url", required=True))
    check_flag(parameters, "watermark")
    if function in {"stylization_all", "description_edit"}:
        check_number(parameters, "strength", 0.0, 1.0)
    if function == "expand":
        for scale in _SCALES:
            check_number(parameters, scale, 1.0, 2.0)
    if function == "super_resolution":
        read_whole(parameters, "upscale_factor", None, 1, 4)
    if function == "doodle":
        check_flag(parameters, "is_sketch")
    return Order(
        model, function, pictures, parameters, prompt, count=read_count(parameters, 4), seed=read_seed(parameters)
    )


def _plain_ascii(url: str | None) -> str:
    is_web = url is not None and url[:4].lower() == "http"
    if url is None or (is_web and not url.isascii()):
        raise invalid_url()
    return url


def _read_try_on(model: Model, source: Mapping[str, object], parameters: Mapping[str, object]) -> Order:
    pictures = {"person": _try_on_url(source, "person_image_url", required=True)}
    for role in ("top", "bottom"):
        url = _try_on_url(source, f"{role}_garment_url", required=False)
        if url:
            pictures[role] = url
    if len(pictures) == 1:
        raise Refusal(400, "InvalidGarment", _NO_GARMENT)
    if isinstance(parameters.get("resolution"), float):
        raise invalid()
    check_choice(parameters, "resolution", (-1, 1024, 1280))
    check_flag(parameters, "restore_face")
    return Order(model, "try_on", pictures, parameters, "", count=1, seed=read_seed(parameters))


def _read_refiner(model: Model, source: Mapping[str, object], parameters: Mapping[str, object]) -> Order:
    pictures = {
        "top": _try_on_url(source, "top_garment_url", required=True),
        "person": _try_on_url(source, "person_image_url", required=True),
        "coarse": _try_on_url(source, "coarse_image_url", required=True),
    }
    bottom = _try_on_url(source, "bottom_garment_url", required=False)
    if bottom:
        pictures["bottom"] = bottom
    check_choice(parameters, "gender", ("woman", "man"), required=True)
    return Order(model, "refine", pictures, parameters, "", count=1, seed=read_seed(parameters))


def _try_on_url(source: Mapping[str, object], name: str, *, required: bool) -> str:
    try:
        return _without_data(read_url(source, name, required=required)) or ""
    except Refusal as refusal:
        if refusal.code == "InvalidURL":
            raise Refusal(400, "InvalidURL", _TRY_ON_BAD_URL) from refusal
        raise


_READERS: Final[Mapping[Family, Callable[[Model, Mapping[str, object], Mapping[str, object]], Order]]] = {
    Family.BACKGROUND: _read_background,
    Family.EDIT: _read_edit,
    Family.TRY_ON: _read_try_on,
    Family.REFINER: _read_refiner,
    Family.WAN: read_wan,
    Family.QWEN: read_qwen,
}
