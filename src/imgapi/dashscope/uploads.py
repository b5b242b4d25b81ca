"""Temporary uploads: a picture of ours becomes an `oss://` address that one model can read for 48 hours."""

import asyncio
import secrets
from http import HTTPStatus

import httpx
from pydantic import ValidationError

from imgapi.dashscope.client import MAX_ANSWER_BYTES, AnswerTooLarge, DashScope, ModelRetired, read_answer, read_bounded
from imgapi.dashscope.faults import FaultKind, classify, to_error
from imgapi.dashscope.wire import Answer, UploadPolicy, UploadPolicyAnswer
from imgapi.errors import ImageTooLarge, ImgapiError, UpstreamThrottled, UpstreamUnavailable

_ATTEMPTS = 3
_SECONDS = 60.0


async def upload(dashscope: DashScope, content: bytes, *, model: str, suffix: str) -> str:
    """Hand a picture over and return its `oss://` address (docs/upstream.md#temporary-upload).

    Nothing here is paid for, so every failure is tried again, with a new policy.

    Raises:
        ImageTooLarge: The upstream takes no file of this size for this model.
        ModelRetired: The upstream does not serve this model any more.
        UpstreamMisconfigured: Key, account or quota.
        UpstreamUnavailable: No policy was given or the file was not taken.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await _upload_once(dashscope, content, model=model, suffix=suffix)
        except (UpstreamUnavailable, UpstreamThrottled) as exc:
            if attempt == _ATTEMPTS:
                raise
            pause = exc.retry_after if isinstance(exc, UpstreamThrottled) else dashscope.patience.first_pause_seconds
            await dashscope.clock.sleep(min(pause, dashscope.patience.longest_pause_seconds) * attempt)
    raise AssertionError  # the loop returns or raises


async def _upload_once(dashscope: DashScope, content: bytes, *, model: str, suffix: str) -> str:
    policy = await _policy(dashscope, model)
    if policy.max_file_size_mb is not None and len(content) > policy.max_file_size_mb * 1024 * 1024:
        message = f"The picture has {len(content)} bytes and the model takes at most {policy.max_file_size_mb:g} MB."
        raise ImageTooLarge(message)
    key = f"{policy.upload_dir}/{secrets.token_hex(8)}.{suffix}"
    fields = {
        "OSSAccessKeyId": policy.oss_access_key_id,
        "Signature": policy.signature,
        "policy": policy.policy,
        "key": key,
        "x-oss-object-acl": policy.x_oss_object_acl,
        "x-oss-forbid-overwrite": policy.x_oss_forbid_overwrite,
        "success_action_status": "200",
    }
    try:
        file = {"file": (f"picture.{suffix}", content)}
        async with (
            asyncio.timeout(_SECONDS),
            dashscope.http.stream("POST", policy.upload_host, data=fields, files=file) as answer,
        ):
            await read_bounded(answer, MAX_ANSWER_BYTES)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, AnswerTooLarge) as exc:
        message = "The upstream did not take the prepared picture; nothing was started, so try again later."
        raise UpstreamUnavailable(message, detail=type(exc).__name__) from exc
    if answer.status_code not in {HTTPStatus.OK, HTTPStatus.NO_CONTENT}:
        message = "The upstream did not take the prepared picture; nothing was started, so try again later."
        raise UpstreamUnavailable(message, detail=f"upload answered HTTP {answer.status_code}")
    return f"oss://{key}"


async def _policy(dashscope: DashScope, model: str) -> UploadPolicy:
    status, _, body = await dashscope.get("/uploads", {"action": "getPolicy", "model": model})
    if status != HTTPStatus.OK:
        raise _no_policy(dashscope, model, status, read_answer(body) or Answer())
    try:
        return UploadPolicyAnswer.model_validate_json(body).data
    except ValidationError as exc:
        message = "The upstream gives no place for the prepared picture; nothing was started, so try again later."
        raise UpstreamUnavailable(message, detail=f"getPolicy answered HTTP {status} and can't be read") from exc


def _no_policy(dashscope: DashScope, model: str, status: int, answer: Answer) -> ImgapiError:
    fault = classify(answer.code or "", answer.message or "")
    if fault.kind is FaultKind.RETIRED:
        return ModelRetired(fault.sentence, detail=fault.detail)
    if fault.kind is FaultKind.OPERATOR or status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        refused = fault if fault.kind is FaultKind.OPERATOR else classify("InvalidApiKey", f"HTTP {status}")
        dashscope.note_fault(refused, model)
        return to_error(classify("AccessDenied", f"getPolicy answered HTTP {status} {fault.detail}"))
    message = "The upstream gives no place for the prepared picture; nothing was started, so try again later."
    return UpstreamUnavailable(message, detail=f"getPolicy answered HTTP {status} {fault.detail}")
