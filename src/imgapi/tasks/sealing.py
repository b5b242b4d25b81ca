"""Sealing: what is kept at rest and could open something for its reader is kept encrypted."""

import base64
import os
import secrets
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from imgapi.errors import CapabilityMissing

SECRET_BYTES = 32


class Seal:
    """Encrypts and decrypts texts with one secret (Fernet: AES-128-CBC with HMAC-SHA256).

    Args:
        secret: Returns any text; long and random, since nothing slows down whoever tries others. Asked once, when it
            is needed.
    """

    def __init__(self, secret: Callable[[], str]) -> None:
        self._ask = secret

    @cached_property
    def secret(self) -> str:
        """The secret itself."""
        return self._ask()

    @cached_property
    def _fernet(self) -> Fernet:
        derived = HKDF(SHA256(), 32, salt=None, info=b"imgapi tasks").derive(self.secret.encode())
        return Fernet(base64.urlsafe_b64encode(derived))

    def unlock(self) -> None:
        """Read the secret now, in a thread: it may lie in a file."""
        _ = self._fernet

    def close(self, text: str) -> str:
        """Encrypt a text."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Decrypt what `close` made.

        Raises:
            CapabilityMissing: It was sealed with another secret.
        """
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as exc:
            message = "What is kept of this task was sealed with another IMGAPI_SECRET; set the one it was made with."
            raise CapabilityMissing(message) from exc


def read_or_make_secret(path: Path) -> str:
    """Read the secret that an installation keeps for itself; make it at the first start, for its owner's eyes only."""
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = secrets.token_urlsafe(SECRET_BYTES)
        temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(made + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        return made
