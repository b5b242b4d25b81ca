"""The keys that callers may be asked for: how they are kept, found and made."""

import hashlib
import hmac
import re
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LIMITS = ("requests_per_minute", "concurrent", "images_per_month")
_PREFIX = "imgapi_"


class KeysInvalidError(Exception):
    """The file of keys can't be used; the message says why in one sentence and shows no key."""


@dataclass(frozen=True, slots=True)
class Key:
    """One caller's key, as far as this service knows it.

    Args:
        name: What the operator calls it; appears in the log.
        digest: SHA-256 of the key. The key is long and random, so a slow hash would protect nothing more.
        requests_per_minute: Requests it may send in a minute; None is no limit.
        concurrent: Requests it may have under way; None is no limit.
        images_per_month: Pictures that its edits may make in a calendar month (UTC); None is no limit.
    """

    name: str
    digest: bytes
    requests_per_minute: int | None = None
    concurrent: int | None = None
    images_per_month: int | None = None


@dataclass(frozen=True, slots=True)
class Keyring:
    """All keys of this installation."""

    keys: Sequence[Key]

    def find(self, presented: str) -> Key | None:
        """Find a key; every one is compared whole, so that the time taken tells nothing."""
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).digest()
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def new_key() -> tuple[str, str]:
    """Make a key of 256 random bits; return it, and the `hash` that the file of keys holds."""
    key = _PREFIX + secrets.token_urlsafe(32)
    return key, "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def read_keys(path: Path) -> Keyring:
    """Read a TOML file of `[[keys]]` tables: `name`, `hash`, and the limits of `Key`.

    Raises:
        KeysInvalidError: It can't be read, or an entry is not as it should be.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise KeysInvalidError(f"{path} can't be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise KeysInvalidError(f"{path} is not valid TOML") from exc
    entries = document.get("keys")
    if set(document) != {"keys"} or not isinstance(entries, list) or not entries:
        raise KeysInvalidError(f"{path} must hold one or more [[keys]] tables, and nothing else")
    keys = [_read_key(number, entry) for number, entry in enumerate(entries, 1)]
    for seen in ({key.name for key in keys}, {key.digest for key in keys}):
        if len(seen) < len(keys):
            raise KeysInvalidError(f"{path} names a key or a hash twice")
    return Keyring(tuple(keys))


def _read_key(number: int, entry: Any) -> Key:
    where = f"key {number}"
    if not isinstance(entry, Mapping):
        raise KeysInvalidError(f"{where} is no table")
    name, digest = entry.get("name"), entry.get("hash")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise KeysInvalidError(f"{where} needs a name of letters, digits, '.', '_' and '-'")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise KeysInvalidError(f"{name} needs a hash as `imgapi keys new` prints it: sha256: and 64 hexadecimal digits")
    unknown = set(entry) - {"name", "hash", *_LIMITS}
    if unknown:
        raise KeysInvalidError(f"{name} has {', '.join(sorted(unknown))}; known are name, hash, {', '.join(_LIMITS)}")
    limits: dict[str, int] = {}
    for limit in _LIMITS:
        value = entry.get(limit)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise KeysInvalidError(f"{limit} of {name} must be a whole number of at least 1")
        limits[limit] = value
    return Key(name, bytes.fromhex(digest.removeprefix("sha256:")), **limits)
