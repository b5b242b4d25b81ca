"""Whether a caller's `Accept` asks for the picture itself, and that answer (RFC 9110, section 12.5.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from imgapi.pictures.entries import reencode
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.workers import Workers

JSON_TYPE = "application/json"
# In the order in which they are chosen where the caller likes several as much: those that keep alpha first.
PICTURE_TYPES: Mapping[str, str] = MappingProxyType({"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"})
# On every answer that could have been of another type, so that no cache gives one for the other.
VARY: Mapping[str, str] = MappingProxyType({"Vary": "Accept"})
_ALIASES = {"image/jpg": "image/jpeg"}
_SIZES = {
    "X-Image-Width": "Width of the picture, px; only where the answer is the picture itself.",
    "X-Image-Height": "Height of the picture, px; likewise.",
    "X-Original-Width": "Width of the picture that came in, px, its orientation applied; likewise.",
    "X-Original-Height": "Height of the picture that came in, px; likewise.",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to answer with; sizes in pixels.

    Attributes:
        content: The encoded picture.
        format: `png`, `jpeg` or `webp`.
        width: Its width.
        height: Its height.
        original_width: Width of what came in, after orientation.
        original_height: Height of what came in, likewise.
    """

    content: bytes
    format: str
    width: int
    height: int
    original_width: int
    original_height: int


def choose_format(request: Request, native: str) -> str | None:
    """Choose the format in which a request wants the picture itself; None where it wants JSON.

    The type with the highest weight wins. Of equal ones that which was named more closely, then JSON, then the
    format in which the picture is there anyway. An `Accept` that nothing here satisfies gets JSON.

    Args:
        request: With any number of `Accept` headers; none is JSON.
        native: The format in which the picture is there: `png`, `jpeg` or `webp`.
    """
    weights = _read_accept(",".join(request.headers.getlist("accept")))
    best, chosen = _weigh(weights, JSON_TYPE), None
    for name in sorted(PICTURE_TYPES, key=lambda each: each != native):
        offered = _weigh(weights, PICTURE_TYPES[name])
        if offered > best:
            best, chosen = offered, name
    return chosen


async def picture_response(picture: Picture, wanted: str, *, workers: Workers, limits: PictureLimits) -> Response:
    """Answer with the picture itself, in the format chosen; encoding anew is done by a worker.

    Raises:
        ImageTooLarge: It is larger than that format can hold.
    """
    content = picture.content
    if wanted != picture.format:
        content = await workers.run(reencode, content, wanted, limits=limits)
    sizes = (picture.width, picture.height, picture.original_width, picture.original_height)
    headers = {name: str(size) for name, size in zip(_SIZES, sizes, strict=True)}
    return Response(content, media_type=PICTURE_TYPES[wanted], headers={**headers, **VARY})


def describe_pictures() -> dict[str, Any]:
    """Describe the picture as an answer for the OpenAPI document: what stands beside `application/json` at 200."""
    size = {"type": "integer", "minimum": 1}
    return {
        "description": "JSON; or the picture itself, where `Accept` asks for `image/png`, `image/jpeg`, `image/webp` "
        "or `image/*` before JSON.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in PICTURE_TYPES.values()
        },
        "headers": {
            **{name: {"description": description, "schema": size} for name, description in _SIZES.items()},
            "Vary": {"description": "`Accept`: the type of the answer depends on it.", "schema": {"type": "string"}},
        },
    }


def _read_accept(header: str) -> dict[str, float]:
    """Read media ranges with their weights; what is none is passed over, and no range at all is any type."""
    weights: dict[str, float] = {}
    for part in header.split(","):
        media_range, *parameters = (each.strip().lower() for each in part.split(";"))
        weight = _read_weight(parameters)
        if media_range and weight is not None:
            weights[_ALIASES.get(media_range, media_range)] = weight
    return weights or {"*/*": 1.0}


def _read_weight(parameters: list[str]) -> float | None:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return None
            return weight if 0 <= weight <= 1 else None
    return 1.0


def _weigh(weights: Mapping[str, float], media_type: str) -> tuple[float, int]:
    """Find the weight of a type, and how closely the range that decides it names it: 2 by name, 0 as any type."""
    kind = media_type.partition("/")[0]
    for closeness, media_range in ((2, media_type), (1, f"{kind}/*"), (0, "*/*")):
        if media_range in weights:
            weight = weights[media_range]
            return (weight, closeness) if weight else (0.0, 0)
    return (0.0, 0)
