"""The signatures by which receivers of webhooks know the sender (Standard Webhooks, symmetric, version 1)."""

import base64
import binascii
import hashlib
import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PREFIX = "whsec_"
SHORTEST_BYTES, LONGEST_BYTES = 24, 64
DERIVED_BYTES = 32


def read_secret(text: str) -> bytes:
    """Read the key out of a secret as people pass it on: `whsec_` with base64 behind it.

    Raises:
        ValueError: It is none; the message is a sentence that does not repeat it.
    """
    encoded = text.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if encoded == text or not SHORTEST_BYTES <= len(key) <= LONGEST_BYTES:
        message = f"must be {PREFIX} with base64 of {SHORTEST_BYTES} to {LONGEST_BYTES} random bytes behind it"
        raise ValueError(message) from None
    return key


def derived_secret(secret: str) -> str:
    """Derive the secret that receivers get from an installation's own, which it does not give away."""
    key = HKDF(SHA256(), DERIVED_BYTES, salt=None, info=b"imgapi webhooks").derive(secret.encode())
    return PREFIX + base64.b64encode(key).decode("ascii")


def signed_headers(key: bytes, message_id: str, at: int, content: bytes) -> dict[str, str]:
    """Return the three header fields of a message that is sent at an instant (whole seconds since the epoch)."""
    digest = hmac.digest(key, f"{message_id}.{at}.".encode() + content, hashlib.sha256)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode('ascii')}",
    }
