"""Temporary uploads: the documented form, without the key, tried again since nothing is paid."""

import re
from email.message import Message
from email.parser import BytesParser
from typing import cast

import httpx
import pytest

from fakes import KEY, Scripted, Step, VirtualClock, answers, breaks_off, client, fails, refuses
from imgapi.dashscope.client import ModelRetired
from imgapi.dashscope.uploads import upload
from imgapi.errors import ImageTooLarge, ImgapiError, UpstreamMisconfigured, UpstreamThrottled, UpstreamUnavailable

PICTURE = b"\x89PNG picture"
POLICY = {
    "policy": "cG9saWN5",
    "signature": "c2ln",
    "upload_dir": "dashscope-instant/0123/2026-05-04/u",
    "upload_host": "https://files.test",
    "expire_in_seconds": 300,
    "max_file_size_mb": 1,
    "oss_access_key_id": "LTAI",
    "x_oss_object_acl": "private",
    "x_oss_forbid_overwrite": True,
}
GIVES_POLICY = answers(200, {"request_id": "r", "data": POLICY})
TAKES_FILE = answers(200, content=b"")


async def hand_over(*steps: Step, content: bytes = PICTURE) -> tuple[str | ImgapiError, Scripted, VirtualClock]:
    """Upload once to a scripted upstream; return the outcome, the upstream and the clock."""
    clock = VirtualClock()
    upstream = Scripted(steps, clock)
    try:
        address = await clock.run(upload(client(upstream, clock), content, model="aitryon", suffix="png"))
    except ImgapiError as exc:
        return exc, upstream, clock
    return address, upstream, clock


def parts_of(request: httpx.Request) -> list[Message]:
    """Read a multipart form with a reader that shares nothing with the writer."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    return cast("list[Message]", BytesParser().parsebytes(head + request.content).get_payload())


async def test_upload_follows_the_documented_form() -> None:
    """A policy for the model is fetched with the key; the form goes to its host without it, the file last."""
    address, upstream, _ = await hand_over(GIVES_POLICY, TAKES_FILE)
    policy, form = upstream.requests
    assert (policy.method, policy.url.path) == ("GET", "/api/v1/uploads")
    assert dict(policy.url.params) == {"action": "getPolicy", "model": "aitryon"}
    assert policy.headers["Authorization"] == f"Bearer {KEY}"
    assert (form.method, form.url.host) == ("POST", "files.test")
    assert "Authorization" not in form.headers
    assert KEY.encode() not in form.content
    parts = parts_of(form)
    names = [part.get_param("name", header="content-disposition") for part in parts]
    assert names == [
        "OSSAccessKeyId",
        "Signature",
        "policy",
        "key",
        "x-oss-object-acl",
        "x-oss-forbid-overwrite",
        "success_action_status",
        "file",
    ]
    values = [part.get_payload() for part in parts[:-1]]
    assert values[:3] == ["LTAI", "c2ln", "cG9saWN5"]
    assert values[4:] == ["private", "true", "200"]
    assert parts[-1].get_payload(decode=True) == PICTURE
    assert re.fullmatch(r"dashscope-instant/0123/2026-05-04/u/[0-9a-f]{16}\.png", str(values[3]))
    assert address == f"oss://{values[3]}"


async def test_names_are_never_reused() -> None:
    """Two uploads of one picture have two addresses."""
    assert (await hand_over(GIVES_POLICY, TAKES_FILE))[0] != (await hand_over(GIVES_POLICY, TAKES_FILE))[0]


FAILING_ONCE = {
    "policy throttled": [refuses(429, "Throttling.RateQuota")],
    "policy broken": [answers(500, content=b"<html>")],
    "policy unreadable": [answers(200, {"data": {"policy": "p"}})],
    "policy lost": [fails(httpx.ReadError("reset"))],
    "policy with no host": [answers(200, {"data": POLICY | {"upload_host": "https://files.test/\0"}})],
    "form refused": [GIVES_POLICY, answers(403, content=b"<Error><Code>AccessDenied</Code></Error>")],
    "form lost": [GIVES_POLICY, fails(httpx.WriteError("broken pipe"))],
    "form cut": [GIVES_POLICY, breaks_off()],
    "form host down": [GIVES_POLICY, fails(httpx.ConnectError("refused"))],
    "form answered at length": [GIVES_POLICY, answers(200, content=b" " * 2_000_000)],
}


@pytest.mark.parametrize("steps", FAILING_ONCE.values(), ids=FAILING_ONCE)
async def test_a_failed_upload_is_tried_again(steps: list[Step]) -> None:
    """Nothing here is paid for, so one failure anywhere costs a pause and a new policy, not the edit."""
    address, _, clock = await hand_over(*steps, GIVES_POLICY, TAKES_FILE)
    assert isinstance(address, str)
    assert clock.monotonic() >= 0.5


@pytest.mark.parametrize("steps", FAILING_ONCE.values(), ids=FAILING_ONCE)
async def test_uploads_end(steps: list[Step]) -> None:
    """An upload that fails three times is told, and says that nothing was started."""
    outcome, upstream, _ = await hand_over(*(steps * 3))
    assert isinstance(outcome, UpstreamUnavailable | UpstreamThrottled)
    assert "nothing was started" in outcome.message
    assert len(upstream.requests) == 3 * len(steps)


async def test_a_204_is_a_success_too() -> None:
    """The file host answers 204 when it passes over the wanted status."""
    address, _, _ = await hand_over(GIVES_POLICY, answers(204, content=b""))
    assert isinstance(address, str)


async def test_too_large_a_picture_is_not_sent() -> None:
    """A picture beyond the policy's limit is the caller's to shrink, and no byte of it is sent."""
    outcome, upstream, _ = await hand_over(GIVES_POLICY, TAKES_FILE, content=b"x" * (1024 * 1024 + 1))
    assert isinstance(outcome, ImageTooLarge)
    assert "1048577" in outcome.message
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "step",
    [
        refuses(401, "InvalidApiKey", KEY),
        answers(401, content=b"<html>"),
        refuses(403, "AccessDenied"),
        refuses(400, "Arrearage"),
    ],
)
async def test_the_operators_trouble_is_told_at_once(step: Step) -> None:
    """Key and account trouble is one attempt, without a secret in the sentence."""
    outcome, upstream, _ = await hand_over(step)
    assert isinstance(outcome, UpstreamMisconfigured)
    assert len(upstream.requests) == 1
    assert KEY not in outcome.message


@pytest.mark.parametrize(
    "step",
    [
        refuses(403, "Endpoint.AccessDenied", "Workspace endpoint access denied."),
        refuses(404, "ModelNotFound"),
        refuses(400, "InvalidParameter", "Model not exist."),
    ],
)
async def test_a_retired_model_is_noticed_before_the_submit(step: Step) -> None:
    """A policy refused because the model is gone says so, so that the next model is tried."""
    outcome, upstream, _ = await hand_over(step)
    assert isinstance(outcome, ModelRetired)
    assert len(upstream.requests) == 1
