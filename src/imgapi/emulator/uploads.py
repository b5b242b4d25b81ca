"""Temporary uploads: the policy, the form it allows, and the `oss://` keys that come of it (`docs/upstream.md`)."""

import base64
import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from imgapi.clock import CHINA, Clock
from imgapi.emulator.answers import Answer, invalid, json_answer, new_request_id, storage_error
from imgapi.emulator.catalogue import MODELS
from imgapi.emulator.config import EmulatorConfig
from imgapi.emulator.links import Signer
from imgapi.emulator.shelf import Kind, Shelf

_MIB: Final = 1024 * 1024
_MAX_KEY_CHARACTERS: Final = 1_024
_FOLDER: Final = "dashscope-instant"


@dataclass(frozen=True, slots=True)
class UploadForm:
    """The fields of an upload, and its file; None when the form has none."""

    fields: Mapping[str, str]
    content: bytes | None


class _FormRefused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Uploads:
    """Hands out policies and takes what they allow.

    Args:
        config: Lifetimes, the size bound and the public URL.
        shelf: Where the files are kept.
        signer: Signs the policies.
        clock: What expiry is measured with.
    """

    def __init__(self, config: EmulatorConfig, shelf: Shelf, signer: Signer, clock: Clock) -> None:
        self._config = config
        self._shelf = shelf
        self._signer = signer
        self._clock = clock

    def grant(self, query: Mapping[str, str]) -> Answer:
        """Answer `GET /uploads?action=getPolicy&model=…`.

        Raises:
            Refusal: Another action, or a model that doesn't exist.
        """
        model = query.get("model", "")
        if query.get("action") != "getPolicy":
            raise invalid()
        if model not in MODELS:
            raise invalid("Model not exist.")
        now = self._clock.time()
        day = f"{datetime.fromtimestamp(now, UTC).astimezone(CHINA):%Y-%m-%d}"
        folder = f"{_FOLDER}/{secrets.token_hex(16)}/{day}/{uuid.uuid4()}"
        policy = self._write_policy(folder, model, now + self._config.policy_seconds)
        data: dict[str, object] = {
            "policy": policy,
            "signature": self._signer.sign(policy),
            "upload_dir": folder,
            "upload_host": f"{self._config.public_url.rstrip('/')}/uploads",
            "expire_in_seconds": int(self._config.policy_seconds),
            "max_file_size_mb": max(1, self._config.max_upload_bytes // _MIB),
            "capacity_limit_mb": 999_999_999,
            "oss_access_key_id": self._signer.key_id,
            "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        }
        return json_answer(200, {"request_id": new_request_id(), "data": data})

    async def take(self, form: UploadForm) -> Answer:
        """Answer the form: 200 or 204 without a body, or the storage's XML error."""
        try:
            model = self._check_policy(form.fields)
            content = self._check_file(form)
        except _FormRefused as refused:
            return storage_error(refused.status, refused.code, refused.message)
        lifetime = self._config.upload_lifetime_seconds
        key = form.fields["key"]
        await self._shelf.put(key, content, kind=Kind.UPLOAD, lifetime_seconds=lifetime, owner=model)
        return Answer(200 if form.fields.get("success_action_status") == "200" else 204)

    def _check_policy(self, fields: Mapping[str, str]) -> str:
        """Return the model the upload is bound to."""
        policy, key = fields.get("policy", ""), fields.get("key", "")
        if fields.get("OSSAccessKeyId") != self._signer.key_id or not policy:
            raise _FormRefused(403, "AccessDenied", "You have no right to access this object.")
        if not self._signer.matches(policy, fields.get("Signature", "")):
            raise _FormRefused(403, "SignatureDoesNotMatch", "The signature of the policy does not match.")
        granted = json.loads(base64.b64decode(policy))
        if granted["expires"] <= self._clock.time():
            raise _FormRefused(403, "AccessDenied", "Invalid according to Policy: Policy expired.")
        if not key.startswith(f"{granted['folder']}/") or not key.isprintable() or len(key) > _MAX_KEY_CHARACTERS:
            raise _FormRefused(403, "AccessDenied", "Invalid according to Policy: Policy Condition failed.")
        return str(granted["model"])

    def _check_file(self, form: UploadForm) -> bytes:
        if form.content is None:
            raise _FormRefused(400, "InvalidArgument", "The form has no file.")
        if len(form.content) > self._config.max_upload_bytes:
            raise _FormRefused(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
        if self._shelf.find(form.fields["key"]) is not None:
            raise _FormRefused(409, "FileAlreadyExists", "The object you specified already exists.")
        return form.content

    def _write_policy(self, folder: str, model: str, expires: float) -> str:
        moment = datetime.fromtimestamp(expires, UTC)
        document = {
            "expiration": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
            "conditions": [
                ["content-length-range", 0, self._config.max_upload_bytes],
                ["starts-with", "$key", folder],
            ],
            "folder": folder,
            "model": model,
            "expires": expires,
        }
        return base64.b64encode(json.dumps(document).encode()).decode()
