"""The upstream's bodies: what is sent is exact, what is received is read liberally."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from imgapi.dashscope.wire import (
    Answer,
    BackgroundInput,
    BackgroundParameters,
    ContentPart,
    ConversationInput,
    ConversationParameters,
    ImageEditInput,
    ImageEditParameters,
    Message,
    SubmitBody,
    TaskOutput,
    TaskStatus,
    UploadPolicyAnswer,
    read_pictures,
    read_status,
)

A, B = "https://results.test/a.png", "http://results.test/b.jpg"
FAILED = {"code": "InternalError.Timeout", "message": "An internal timeout error has occured."}


def test_unset_fields_are_not_sent() -> None:
    """A body holds what was set and nothing else: no nulls."""
    body = SubmitBody(
        model="wanx2.1-imageedit",
        input=ImageEditInput(function="expand", prompt="p", base_image_url=A),
        parameters=ImageEditParameters(top_scale=1.5),
    )
    assert body.to_json() == {
        "model": "wanx2.1-imageedit",
        "input": {"function": "expand", "prompt": "p", "base_image_url": A},
        "parameters": {"n": 1, "top_scale": 1.5},
    }


def test_unknown_fields_are_never_sent() -> None:
    """A body can't be made with a field the upstream does not document."""
    with pytest.raises(ValidationError):
        ImageEditParameters.model_validate({"n": 1, "upscale": 2})


@pytest.mark.parametrize("url", ["oss://dashscope-instant/a/b.png", "https://example.com/?from=oss://x"])
def test_temporary_uploads_are_noticed(url: str) -> None:
    """Only an address that is `oss://` itself counts as a temporary upload."""
    flat = SubmitBody(
        model="m", input=BackgroundInput(base_image_url=A, ref_image_url=url), parameters=BackgroundParameters()
    )
    nested = SubmitBody(
        model="m",
        input=ConversationInput(messages=(Message(content=(ContentPart(image=url), ContentPart(text="t"))),)),
        parameters=ConversationParameters(),
    )
    for body in (flat, nested):
        assert body.names_temporary_upload is url.startswith("oss://")


def test_words_that_look_like_an_upload_are_words() -> None:
    """A prompt is no address, whatever it begins with."""
    body = SubmitBody(
        model="m",
        input=ImageEditInput(function="expand", prompt="oss://dashscope-instant/a", base_image_url=A),
        parameters=ImageEditParameters(),
    )
    assert not body.names_temporary_upload


@pytest.mark.parametrize("status", list(TaskStatus))
def test_documented_statuses_are_read(status: TaskStatus) -> None:
    """Each documented status is read as itself, and four of them are the end."""
    assert read_status(status.value) is status
    assert status.is_terminal is (status.value in {"SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN"})


@pytest.mark.parametrize("text", ["THROTTLED", "succeeded", "", None])
def test_unheard_of_statuses_are_still_at_work(text: str | None) -> None:
    """A status nobody documented is not an end."""
    assert read_status(text) is TaskStatus.RUNNING


@pytest.mark.parametrize(
    ("output", "urls", "codes"),
    [
        ({"results": [{"url": A}, {"url": B}]}, (A, B), ()),
        ({"results": {"url": A}}, (A,), ()),
        ({"results": [A]}, (A,), ()),
        ({"image_url": B}, (B,), ()),
        ({"image_url": [B]}, (B,), ()),
        ({"output_image_url": A}, (A,), ()),
        ({"choices": [{"message": {"content": [{"type": "image", "image": A}, {"text": "done"}]}}]}, (A,), ()),
        ({"choices": [{"message": {"content": [{"image": A}]}}, {"message": {"content": [{"image": B}]}}]}, (A, B), ()),
        ({"results": [{"url": A}, FAILED]}, (A,), ("InternalError.Timeout",)),
        ({"results": [FAILED, FAILED]}, (), ("InternalError.Timeout", "InternalError.Timeout")),
        ({"results": [{"url": ""}]}, (), ("Unknown",)),
        ({"results": [{"url": None}, {}]}, (), ("Unknown", "Unknown")),
        ({"results": [{"url": 7}, 7, None, [], ""]}, (), ("Unknown",)),
        ({"results": [{"url": "javascript:alert(1)"}, {"url": "file:///etc/passwd"}]}, (), ("Unknown", "Unknown")),
        ({"results": [{"code": 500, "message": ["x"]}]}, (), ("500",)),
        ({"results": "", "image_url": None, "choices": "no"}, (), ()),
        (
            {"choices": [None, {}, {"message": None}, {"message": {"content": "t"}}, {"message": {"content": [1]}}]},
            (),
            (),
        ),
        ({"choices": {"message": {}}}, (), ()),
        ({}, (), ()),
    ],
)
def test_pictures_are_found_wherever_they_are(
    output: dict[str, Any], urls: tuple[str, ...], codes: tuple[str, ...]
) -> None:
    """Each documented shape and each broken one is read without an error; what has no link counts as failed."""
    found, failures = read_pictures(TaskOutput.model_validate(output))
    assert found == urls
    assert tuple(failure.code for failure in failures) == codes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted(TaskOutput.model_fields)


@given(st.dictionaries(st.sampled_from([*FIELDS, "finished"]), JSON), JSON)
def test_no_type_of_any_field_breaks_the_reader(output: dict[str, Any], usage: object) -> None:
    """Whatever JSON stands in a documented field, the answer is read and the field counts as absent at worst."""
    answer = Answer.model_validate({"output": output, "usage": usage, "extra": 1})
    assert answer.output is not None
    assert answer.output.status in TaskStatus
    assert answer.output.task_id is None or isinstance(answer.output.task_id, str)
    read_pictures(answer.output)


def test_partial_metrics_are_kept() -> None:
    """Counts of the right type are read, those of a wrong one are absent."""
    output = TaskOutput.model_validate({"task_metrics": {"TOTAL": 2, "SUCCEEDED": "1", "FAILED": True}})
    assert output.task_metrics is not None
    assert (output.task_metrics.TOTAL, output.task_metrics.SUCCEEDED, output.task_metrics.FAILED) == (2, None, None)


@pytest.mark.parametrize(("given_value", "read"), [("true", "true"), (True, "true"), (False, "false")])
def test_upload_policy_takes_both_kinds_of_flag(given_value: object, read: str) -> None:
    """The overwrite flag is text in the documents and a boolean in the wild; a form needs text."""
    policy = UploadPolicyAnswer.model_validate(
        {
            "data": {
                "policy": "p",
                "signature": "s",
                "upload_dir": "d",
                "upload_host": "https://h",
                "oss_access_key_id": "i",
                "x_oss_forbid_overwrite": given_value,
            }
        }
    ).data
    assert policy.x_oss_forbid_overwrite == read
