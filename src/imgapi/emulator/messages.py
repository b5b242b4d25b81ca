"""The field rules of the chat-style models, and the size their pictures get (`docs/upstream.md`, successors)."""

import math
import re
from collections.abc import Mapping
from typing import Final

from imgapi.emulator.answers import invalid
from imgapi.emulator.catalogue import Family, Model
from imgapi.emulator.fields import check_flag, check_url, read_count, read_seed, read_text
from imgapi.emulator.orders import Order

_SIZE: Final = re.compile(r"(\d{1,5})\*(\d{1,5})")
_NAMED_SIDES: Final = {"1K": 1024, "2K": 2048}
_STEP: Final = 16
_MAX_ASPECT: Final = 8.0
_MAX_CHARACTERS: Final = 5_000
_MAX_NEGATIVE: Final = 500


def read_wan(model: Model, source: Mapping[str, object], parameters: Mapping[str, object]) -> Order:
    """Check a body for `wan2.6-image` or `wan2.7-image`: up to nine pictures and one text."""
    pictures, text = _read_message(source, most_pictures=9)
    if len(text) > _MAX_CHARACTERS:
        raise invalid(f"The length of text must not exceed {_MAX_CHARACTERS} characters.")
    check_flag(parameters, "enable_sequential", "thinking_mode", "watermark")
    sequential = parameters.get("enable_sequential") is True
    count = read_count(parameters, 12, default=12) if sequential else read_count(parameters, 4)
    _read_size(model, parameters)
    return Order(model, None, pictures, parameters, text, count=count, seed=read_seed(parameters))


def read_qwen(model: Model, source: Mapping[str, object], parameters: Mapping[str, object]) -> Order:
    """Check a body for `qwen-image-2.0`: one message of one to three pictures and one text."""
    pictures, text = _read_message(source, most_pictures=3)
    if not pictures or not text:
        raise invalid("lack of image or text")
    if len(read_text(parameters, "negative_prompt")) > _MAX_NEGATIVE:
        raise invalid(f"The length of negative_prompt must not exceed {_MAX_NEGATIVE} characters.")
    check_flag(parameters, "prompt_extend", "watermark")
    _read_size(model, parameters)
    return Order(model, None, pictures, parameters, text, count=read_count(parameters, 6), seed=read_seed(parameters))


def choose_size(model: Model, parameters: Mapping[str, object], width: int, height: int) -> tuple[int, int]:
    """Work out the size of a result from `size`, or from the ratio of the last input picture (`width` by `height`)."""
    named = _read_size(model, parameters)
    if isinstance(named, tuple):
        return _to_step(named[0]), _to_step(named[1])
    ratio = min(max(width / height, 1 / _MAX_ASPECT), _MAX_ASPECT)
    return _to_step(named * math.sqrt(ratio)), _to_step(named / math.sqrt(ratio))


def _read_message(source: Mapping[str, object], most_pictures: int) -> tuple[dict[str, str], str]:
    messages = source.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid()
    if len(messages) != 1:
        raise invalid("messages length only support 1")
    message = messages[0]
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list) or message.get("role") != "user":
        raise invalid()
    urls: list[str] = []
    texts: list[str] = []
    for part in content:
        if not isinstance(part, dict):
            raise invalid()
        if "image" in part:
            urls.append(check_url(part["image"]))
        elif isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            raise invalid("lack of image or text")
    if len(texts) != 1:
        raise invalid("lack of image or text")
    if len(urls) > most_pictures:
        raise invalid(f"The number of images must be between 0 and {most_pictures}.")
    return {str(number): url for number, url in enumerate(urls, start=1)}, texts[0]


def _read_size(model: Model, parameters: Mapping[str, object]) -> int | tuple[int, int]:
    """Return the side of the square that has as many pixels as the result, or the result's own sides."""
    is_qwen = model.family is Family.QWEN
    size = parameters.get("size")
    if size is None:
        return 1024 if is_qwen or model.name == "wan2.6-image" else 2048
    if not isinstance(size, str):
        raise invalid("The parameter size must be a string.")
    if not is_qwen and size in _NAMED_SIDES:
        return _NAMED_SIDES[size]
    match = _SIZE.fullmatch(size)
    if match is None:
        raise invalid("The parameter size must be in the form of width*height.")
    width, height = int(match[1]), int(match[2])
    least = 512 if is_qwen else 768
    if not least**2 <= width * height <= 2048**2 or max(width, height) > _MAX_ASPECT * min(width, height):
        raise invalid(f"The total pixels of size must be between {least}*{least} and 2048*2048.")
    return width, height


def _to_step(side: float) -> int:
    return max(_STEP, round(side / _STEP) * _STEP)
