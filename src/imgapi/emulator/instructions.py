"""What an instruction to a chat-style model asks for: which painter, and which picture plays which part."""

import re
from dataclasses import dataclass
from typing import Final

_WORDS: Final = {
    "remove_watermark": ("水印", "文字", "watermark", "logo", "caption"),
    "expand": ("扩展", "扩图", "扩画", "外扩", "outpaint", "expand", "extend", "extension"),
    "super_resolution": (
        *("超分", "清晰", "高清", "放大", "修复", "super-resolution", "super resolution", "upscale"),
        *("enlarge", "sharpen", "restore"),
    ),
    "try_on": (
        "试衣",
        "试穿",
        "换装",
        "衣",
        "穿",
        "garment",
        "clothes",
        "clothing",
        "try-on",
        "try on",
        "wear",
        "dress",
    ),
    "background": ("背景", "background"),
}
_ONE_PICTURE: Final = ("remove_watermark", "expand", "super_resolution", "background")
_SEVERAL_PICTURES: Final = ("try_on", "background")
_MASK_WORDS: Final = ("蒙版", "遮罩", "mask")
_ROLES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "try_on": {
        "person": ("人", "模特", "person", "model", "man", "woman"),
        "top": ("上衣", "上装", "top", "shirt", "jacket", "upper", "garment"),
        "bottom": ("下装", "裤", "裙", "bottom", "trousers", "pants", "skirt", "lower"),
    },
    "remove_watermark": {
        "mask": _MASK_WORDS,
        "base": ("原图", "original"),
    },
    "background": {
        "base": ("主体", "subject", "foreground", "object"),
        "ref": ("背景", "background", "scene", "backdrop"),
    },
}
_CHINESE: Final = re.compile(r"图\s*(\d)([^图\d]{0,10})")
_FOLLOWING: Final = re.compile(r"(?:picture|image|photo)\s*(\d)\s*(?:is|shows|:|=)([^\d]{0,20})", re.IGNORECASE)
_LEADING: Final = re.compile(r"([a-z][a-z \-]{0,30})(?:picture|image|photo)\s*(\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Understood:
    """An operation, and the picture number ('1', '2', …) for each role of its painter."""

    operation: str
    roles: dict[str, str]


def understand(text: str, picture_count: int) -> Understood | None:
    """Recognise an operation by the first telling word, Chinese or English; None when there is none.

    One picture can be outpainted, enlarged, cleaned or given a background; several can be a try-on or a background,
    or a picture to be cleaned and its mask.
    """
    if picture_count == 0:
        return None
    lower = text.lower()
    known = _ONE_PICTURE if picture_count == 1 else _SEVERAL_PICTURES
    if picture_count > 1 and any(word in lower for word in _MASK_WORDS):
        known = (*known, "remove_watermark")
    found = {
        operation: min(places)
        for operation in known
        if (places := [lower.index(word) for word in _WORDS[operation] if word in lower])
    }
    if not found:
        return None
    # "Outpaint the enlarged canvas" speaks of enlarging, too; an enlargement never speaks of outpainting.
    operation = "expand" if "expand" in found and "remove_watermark" not in found else min(found, key=found.__getitem__)
    return Understood(operation, _assign(operation, lower, picture_count))


def _assign(operation: str, text: str, picture_count: int) -> dict[str, str]:
    roles = _ROLES.get(operation)
    if roles is None or picture_count == 1:
        return {"base": "1"}
    mentions = [(match.start(), match[1], match[2]) for match in _CHINESE.finditer(text)]
    mentions += [(match.start(), match[1], match[2]) for match in _FOLLOWING.finditer(text)]
    mentions += [(match.start(), match[2], match[1]) for match in _LEADING.finditer(text)]
    free = [str(number) for number in range(1, picture_count + 1)]
    assigned: dict[str, str] = {}
    for _, number, words in sorted(mentions):
        role = _name_role(roles, words)
        if role is not None and role not in assigned and number in free:
            assigned[role] = number
            free.remove(number)
    for role in roles:
        if role not in assigned and free:
            assigned[role] = free.pop(0)
    return assigned


def _name_role(roles: dict[str, tuple[str, ...]], words: str) -> str | None:
    places = [(words.index(key), role) for role, keys in roles.items() for key in keys if key in words]
    return min(places)[1] if places else None
