"""Signed links to results that expire, after the object storage's first signature scheme (`docs/upstream.md`)."""

import base64
import hashlib
import hmac
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from imgapi.clock import CHINA, Clock
from imgapi.emulator.answers import Answer, storage_error
from imgapi.emulator.catalogue import Family, Model
from imgapi.emulator.shelf import Kind, Shelf
from imgapi.errors import SourceUnreachable

BUCKET: Final = "dashscope-result-preview"
_MEDIA_TYPES: Final = {"png": "image/png", "jpg": "image/jpeg"}
_EXPIRED: Final = storage_error(403, "AccessDenied", "Request has expired.")
_REFUSED: Final = storage_error(403, "AccessDenied", "You have no right to access this object.")
_MISMATCH: Final = storage_error(
    403,
    "SignatureDoesNotMatch",
    "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
)
_GONE: Final = storage_error(404, "NoSuchKey", "The specified key does not exist.")


class Signer:
    """Signs links and upload policies with a secret that lives as long as the emulator."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self.key_id = "LTAI5t" + secrets.token_hex(9)

    def sign(self, text: str) -> str:
        """Return base64(HMAC-SHA1(secret, text)), the storage's signature of version 1."""
        return base64.b64encode(hmac.new(self._secret, text.encode(), hashlib.sha1).digest()).decode()

    def matches(self, text: str, signature: str) -> bool:
        """Compare a signature in constant time."""
        return hmac.compare_digest(self.sign(text).encode(), signature.encode("utf-8", errors="replace"))


class ResultLinks:
    """Keeps results and hands out links to them.

    Args:
        public_url: Where the links point, without a final slash.
        lifetime_seconds: How long a link is valid.
        shelf: Where the pictures are.
        signer: Signs the links.
        clock: What expiry is measured with.
    """

    def __init__(self, public_url: str, lifetime_seconds: float, shelf: Shelf, signer: Signer, clock: Clock) -> None:
        self._base = public_url.rstrip("/")
        self._lifetime_seconds = lifetime_seconds
        self._shelf = shelf
        self._signer = signer
        self._clock = clock

    async def keep(self, content: bytes, key: str, task_id: str, *, expired: bool = False) -> str:
        """Keep a result and return its signed link; with `expired`, one that is no longer valid."""
        lifetime = self._lifetime_seconds
        await self._shelf.put(key, content, kind=Kind.RESULT, lifetime_seconds=lifetime, owner=task_id)
        expires = int(self._clock.time()) + (-1 if expired else max(1, int(lifetime)))
        signature = quote(self._signer.sign(_text_to_sign("GET", str(expires), key)), safe="")
        access = f"Expires={expires}&OSSAccessKeyId={self._signer.key_id}&Signature={signature}"
        return f"{self._base}/results/{quote(key)}?{access}"

    def owner(self, key: str) -> str | None:
        """Return the id of the task a result belongs to."""
        kept = self._shelf.find(key)
        return kept.owner if kept is not None and kept.kind is Kind.RESULT else None

    async def open_own(self, url: str) -> bytes | None:
        """Return the picture behind one of our own links, so that a result can be the next task's input.

        Returns:
            None for a URL that is none of ours.

        Raises:
            SourceUnreachable: The link is expired or wrong, or its picture is gone.
        """
        if not url.startswith(f"{self._base}/results/"):
            return None
        parts = urlsplit(url[len(f"{self._base}/results/") :])
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        answer = await self.fetch("GET", unquote(parts.path), query)
        if answer.status != HTTPStatus.OK:
            raise SourceUnreachable("The link to an earlier result is expired or wrong.")
        return answer.body

    async def fetch(self, method: str, key: str, query: Mapping[str, str], *, expired: bool = False) -> Answer:
        """Answer a download: the picture, or the storage's XML error. A link is signed for GET, so HEAD is a 403."""
        expires, signature = query.get("Expires", ""), query.get("Signature", "")
        if not expires or not signature or query.get("OSSAccessKeyId") != self._signer.key_id:
            return _REFUSED
        if not self._signer.matches(_text_to_sign(method, expires, key), signature):
            return _MISMATCH
        if expired or int(expires) < self._clock.time():
            return _EXPIRED
        content = await self._shelf.get(key) if self.owner(key) is not None else None
        if content is None:
            return _GONE
        media_type = _MEDIA_TYPES.get(key.rsplit(".", 1)[-1], "application/octet-stream")
        return Answer(200, content, media_type, {"X-Content-Type-Options": "nosniff", "Accept-Ranges": "none"})


def name_result(model: Model, task_id: str, parameters: Mapping[str, object], index: int, epoch_seconds: float) -> str:
    """Make the key of one result, after the pattern its model uses; `index` counts from 0."""
    moment = datetime.fromtimestamp(epoch_seconds, UTC).astimezone(CHINA)
    folder = secrets.token_hex(4)
    if model.family is Family.BACKGROUND:
        version = parameters.get("model_version", "v2")
        return f"{folder}/{moment:%Y%m%d}/{moment:%H%M%S}_{index}_{version}_{task_id}.png"
    prefix = f"1d/{secrets.token_hex(1)}/{moment:%Y%m%d}/{folder}"
    if model.family in {Family.TRY_ON, Family.REFINER}:
        return f"{prefix}/{task_id}_tryon.jpg"
    return f"{prefix}/{uuid.uuid4()}-{index + 1}.png"


def _text_to_sign(method: str, expires: str, key: str) -> str:
    return f"{method}\n\n\n{expires}\n/{BUCKET}/{key}"
