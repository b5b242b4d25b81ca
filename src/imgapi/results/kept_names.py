"""Names of kept files: unguessable, with the instant of their expiry written in them."""

import math
import re
import secrets

# The names that `make_name` makes. Those without an instant are an earlier version's, and count as expired.
RESULT_NAME = re.compile(r"(?:[0-9a-f]{11})?[0-9a-f]{32}\.[a-z0-9]{1,8}", re.ASCII)
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}", re.ASCII)
# Milliseconds since the epoch, in hexadecimal digits that last until the year 2527. They lead the name, so that names
# in alphabetical order are in the order of their expiry: a sweep of a bucket reads no further than it deletes.
_INSTANT_DIGITS = 11
_LAST_INSTANT = 16**_INSTANT_DIGITS - 1
_NAME_DIGITS = _INSTANT_DIGITS + 32


def make_name(expires: float, suffix: str) -> str:
    """Return a new name such as "0198c5f0a2b…e1.png", of 128 random bits.

    Args:
        expires: Until when the file can be read, in seconds since the epoch.
        suffix: ".png" and the like; up to 8 letters and digits.
    """
    if not _SUFFIX.fullmatch(suffix):
        raise ValueError(f"{suffix!r} is not a suffix such as '.png'")
    instant = min(math.ceil(expires * 1000), _LAST_INSTANT)
    return f"{instant:0{_INSTANT_DIGITS}x}{secrets.token_hex(16)}{suffix}"


def is_result_name(name: str) -> bool:
    """Tell whether a name has the shape that `make_name` gives."""
    return RESULT_NAME.fullmatch(name) is not None


def expires_at(name: str) -> float:
    """Return until when the file of this name can be read, in seconds since the epoch.

    Raises:
        ValueError: It is no name of a kept file.
    """
    if not is_result_name(name):
        raise ValueError(f"{name[:100]!r} is not the name of a kept file")
    digits = name.partition(".")[0]
    return int(digits[:_INSTANT_DIGITS], 16) / 1000 if len(digits) == _NAME_DIGITS else 0.0
