"""Reduces the file name of an upload to a stem that is safe on every file system."""

import re
import unicodedata

_MAX_CHARACTERS = 80
# 255 bytes is the common limit of a file name; "-9999_000.png" and a temporary suffix must still fit.
_MAX_BYTES = 200
_FALLBACK = "image"
_KEPT_SIGNS = frozenset(" -_.()+,@")
# A dot further from the end belongs to the name: «v1.2 final» has no extension.
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,5}$", re.ASCII)
_RESERVED_ON_WINDOWS = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)


def make_stem(upload_name: str) -> str:
    """Return the name without folders and extension: letters and digits of any script, no leading dot or hyphen.

    At most 80 characters and 200 bytes; "image" when nothing is left. Equal names give equal stems.
    """
    basename = re.split(r"[/\\]", unicodedata.normalize("NFC", upload_name))[-1]
    stem = _EXTENSION.sub("", basename)
    safe = "".join(character if _is_kept(character) else "_" for character in stem)
    safe = safe.lstrip("-. ")[:_MAX_CHARACTERS]
    while len(safe.encode()) > _MAX_BYTES:
        safe = safe[:-1]
    safe = safe.rstrip(". ")
    if not any(character.isalnum() for character in safe):
        return _FALLBACK
    return f"_{safe}" if _RESERVED_ON_WINDOWS.fullmatch(safe) else safe


def _is_kept(character: str) -> bool:
    """Letters, marks that belong to them and digits of any script, and a few signs without a meaning anywhere."""
    return character in _KEPT_SIGNS or unicodedata.category(character)[0] in {"L", "M", "N"}
