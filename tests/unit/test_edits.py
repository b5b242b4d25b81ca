"""The five edits that run upstream: what each asks of each model, and what it answers the caller."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fakes import EPOCH_SECONDS
from imgapi.contract.edits import (
    ChangeBgRequest,
    ChangeClothRequest,
    ExpandRequest,
    FixRequest,
    RemoveWatermarkRequest,
)
from imgapi.contract.fields import Request
from imgapi.dashscope.wire import FailedPicture, TaskOutput
from imgapi.edits.catalogue import EDITS
from imgapi.edits.edit import Candidate, Finished, PreparedPicture
from imgapi.edits.models import LIMITS, size_within_area
from imgapi.errors import InvalidParameter

IMAGE_TO_IMAGE = "aigc/image2image/image-synthesis"
A, B, C = "https://example.com/a.png", "https://example.com/b.jpg", "oss://dashscope-instant/c.png"
REQUESTS: Mapping[str, Request] = {
    "change_bg": ChangeBgRequest(base_image_url=A, ref_image_url=B, ref_prompt="海边 日落", n=2),
    "change_cloth": ChangeClothRequest(top_garment_url=A, bottom_garment_url=B, person_image_url=C),
    "expand": ExpandRequest(base_image_url=A, left_scale=1.25, right_scale=2.0),
    "fix": FixRequest(base_image_url=A, upscale_factor=3),
    "remove_watermark": RemoveWatermarkRequest(image_url=A),
}
EVERY = [(operation, candidate) for operation, edit in EDITS.items() for candidate in edit.candidates]
NAMES = [f"{operation}/{candidate.model}" for operation, candidate in EVERY]


def candidate_of(operation: str, model: str) -> Candidate[Any]:
    """Find one candidate."""
    return next(candidate for candidate in EDITS[operation].candidates if candidate.model == model)


def body_of(operation: str, model: str, request: Request | None = None, size: tuple[int, int] = (800, 600)) -> Any:
    """Write a submit with every picture passed on as it is."""
    request = request or REQUESTS[operation]
    candidate = candidate_of(operation, model)
    pictures = {name: PreparedPicture(getattr(request, name), *size) for name in candidate.inputs}
    return candidate.body(request, pictures).to_json()


def test_the_models_of_each_edit_are_the_documented_ones() -> None:
    """Each edit has its model first and then its successors, each with the documented path and mode."""
    successors = ("wan2.7-image", "qwen-image-2.0")
    assert {operation: edit.model_names for operation, edit in EDITS.items()} == {
        "change_bg": ("wanx-background-generation-v2", *successors),
        "change_cloth": ("aitryon-plus", "aitryon", *successors),
        "expand": ("wanx2.1-imageedit", *successors),
        "fix": ("wanx2.1-imageedit", *successors),
        "remove_watermark": ("wanx2.1-imageedit", *successors),
    }
    paths = {candidate.model: (candidate.path, candidate.asynchronous) for _, candidate in EVERY}
    assert paths == {
        "wanx-background-generation-v2": ("aigc/background-generation/generation", True),
        "aitryon-plus": (IMAGE_TO_IMAGE, True),
        "aitryon": (IMAGE_TO_IMAGE, True),
        "wanx2.1-imageedit": (IMAGE_TO_IMAGE, True),
        "wan2.7-image": ("aigc/image-generation/generation", True),
        "qwen-image-2.0": ("aigc/multimodal-generation/generation", False),
    }


@pytest.mark.parametrize(("operation", "candidate"), EVERY, ids=NAMES)
def test_every_candidate_is_whole(operation: str, candidate: Candidate[Any]) -> None:
    """Each candidate names its own model, takes pictures by public field, and has limits to be paced by."""
    assert body_of(operation, candidate.model)["model"] == candidate.model
    assert set(candidate.inputs) <= set(type(REQUESTS[operation]).model_fields)
    assert candidate.model in LIMITS
    assert 5 <= candidate.usual_seconds <= 30


def test_background_body() -> None:
    """Background generation gets base, reference, words and the better version."""
    assert body_of("change_bg", "wanx-background-generation-v2") == {
        "model": "wanx-background-generation-v2",
        "input": {"base_image_url": A, "ref_image_url": B, "ref_prompt": "海边 日落"},
        "parameters": {"model_version": "v3", "n": 2},
    }


def test_background_body_without_words() -> None:
    """Without words no prompt is sent, since an empty one is none."""
    request = ChangeBgRequest(base_image_url=A, ref_image_url=B)
    body = body_of("change_bg", "wanx-background-generation-v2", request)
    assert body["input"] == {"base_image_url": A, "ref_image_url": B}
    assert body["parameters"]["n"] == 1


@pytest.mark.parametrize("model", ["aitryon-plus", "aitryon"])
def test_try_on_body(model: str) -> None:
    """Try-on gets three pictures and keeps the person's size and face."""
    assert body_of("change_cloth", model) == {
        "model": model,
        "input": {"person_image_url": C, "top_garment_url": A, "bottom_garment_url": B},
        "parameters": {"resolution": -1, "restore_face": True},
    }


def test_expand_body() -> None:
    """Outpainting gets the caller's prompt and four scales."""
    assert body_of("expand", "wanx2.1-imageedit") == {
        "model": "wanx2.1-imageedit",
        "input": {"function": "expand", "prompt": "按照原来图片背景来操作扩展", "base_image_url": A},
        "parameters": {"top_scale": 1.5, "bottom_scale": 1.5, "left_scale": 1.25, "right_scale": 2.0, "n": 1},
    }


def test_fix_body() -> None:
    """Super-resolution gets the caller's prompt and factor."""
    assert body_of("fix", "wanx2.1-imageedit") == {
        "model": "wanx2.1-imageedit",
        "input": {"function": "super_resolution", "prompt": "图像超分。", "base_image_url": A},
        "parameters": {"upscale_factor": 3, "n": 1},
    }


def test_remove_watermark_body() -> None:
    """Watermark removal gets a prompt of ours."""
    body = body_of("remove_watermark", "wanx2.1-imageedit")
    assert body["input"].pop("prompt")
    assert body == {
        "model": "wanx2.1-imageedit",
        "input": {"function": "remove_watermark", "base_image_url": A},
        "parameters": {"n": 1},
    }


MASK = PreparedPicture("oss://dashscope-instant/mask.png", 800, 600)
MARKED = RemoveWatermarkRequest.model_validate({"image_url": A, "boxes": [[1, 2, 30, 40]]})


def test_marked_watermark_is_an_edit_with_a_mask() -> None:
    """With a marked area the model gets the mask, and words for what is to be seen there."""
    pictures = {"image_url": PreparedPicture(A, 800, 600), "mask": MASK}
    body = candidate_of("remove_watermark", "wanx2.1-imageedit").body(MARKED, pictures).to_json()
    assert "去除" not in body["input"].pop("prompt")
    assert body["input"] == {
        "function": "description_edit_with_mask",
        "base_image_url": A,
        "mask_image_url": MASK.url,
    }


@pytest.mark.parametrize("model", ["wan2.7-image", "qwen-image-2.0"])
def test_successors_get_the_mask_before_the_picture(model: str) -> None:
    """The result takes the last picture's ratio; the words say which picture is the mask."""
    pictures = {"image_url": PreparedPicture(A, 800, 600), "mask": MASK}
    body = candidate_of("remove_watermark", model).body(MARKED, pictures).to_json()
    *shown, words = body["input"]["messages"][0]["content"]
    assert shown == [{"image": MASK.url}, {"image": A}]
    assert "图1是蒙版" in words["text"]


@pytest.mark.parametrize(
    ("marks", "boxes", "field"),
    [
        ({}, None, None),
        ({"boxes": []}, None, None),
        ({"boxes": None, "mask_url": None}, None, None),
        ({"boxes": [{"x": 1, "y": 2, "width": 3, "height": 4}, [5, 6, "7", 8]]}, [(1, 2, 3, 4), (5, 6, 7, 8)], None),
        ({"mask_url": B}, [], "mask_url"),
        ({"mask_url": B, "boxes": [[0, 0, 1, 1]]}, [(0, 0, 1, 1)], "mask_url"),
    ],
)
@pytest.mark.parametrize("model", EDITS["remove_watermark"].model_names)
def test_what_a_request_marks(model: str, marks: dict[str, Any], boxes: Any, field: str | None) -> None:
    """Boxes in both forms and a mask picture are read; nothing marked means that the mark is looked for."""
    rule = candidate_of("remove_watermark", model).mask
    assert rule is not None
    area = rule.area(RemoveWatermarkRequest.model_validate({"image_url": A, **marks}))
    if boxes is None:
        assert area is None
    else:
        assert area is not None
        assert (list(area.boxes), area.field) == (boxes, field)


@pytest.mark.parametrize(
    "box",
    [
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [1, 2, 0, 4],
        [-1, 2, 3, 4],
        [1, 2, 3, True],
        [1.5, 2, 3, 4],
        {"x": 1, "y": 2, "width": 3},
        {"x": 1, "y": 2, "width": 3, "height": 4, "angle": 5},
        "1,2,3,4",
        7,
    ],
)
def test_a_box_is_four_numbers(box: object) -> None:
    """Anything else than four whole numbers that span an area is refused before anything is paid for."""
    with pytest.raises(ValidationError):
        RemoveWatermarkRequest.model_validate({"image_url": A, "boxes": [box]})


PICTURE_ORDER = {"change_bg": [B, A], "change_cloth": [A, B, C], "expand": [A], "fix": [A], "remove_watermark": [A]}


@pytest.mark.parametrize("model", ["wan2.7-image", "qwen-image-2.0"])
@pytest.mark.parametrize("operation", sorted(EDITS))
def test_successors_get_one_message(operation: str, model: str) -> None:
    """A successor gets exactly one user message: the pictures in the order the words speak of them, then one text."""
    body = body_of(operation, model)
    assert set(body) == {"model", "input", "parameters"}
    (message,) = body["input"]["messages"]
    assert message["role"] == "user"
    *pictures, words = message["content"]
    assert pictures == [{"image": url} for url in PICTURE_ORDER[operation]]
    assert list(words) == ["text"]
    assert 20 < len(words["text"]) <= 5000
    for number in range(1, len(pictures) + 1):
        assert len(pictures) == 1 or f"图{number}" in words["text"]
    assert f"图{len(pictures) + 1}" not in words["text"]
    assert body["parameters"].pop("n") == (2 if operation == "change_bg" else 1)
    assert body["parameters"].pop("watermark") is False
    assert set(body["parameters"]) <= {"size"}


def test_callers_words_reach_the_successors() -> None:
    """What the caller asked for in words is part of the instruction."""
    for operation, words in {
        "change_bg": "海边 日落",
        "expand": "按照原来图片背景来操作扩展",
        "fix": "图像超分。",
    }.items():
        text = body_of(operation, "wan2.7-image")["input"]["messages"][0]["content"][-1]["text"]
        assert words in text


def test_successors_are_asked_for_the_right_size() -> None:
    """Restoring asks for the enlarged size and the others keep the picture's, within what the models can make."""
    assert body_of("fix", "wan2.7-image", FixRequest(base_image_url=A))["parameters"]["size"] == "1600*1200"
    assert body_of("remove_watermark", "qwen-image-2.0")["parameters"]["size"] == "896*672"
    assert body_of("expand", "wan2.7-image", size=(1400, 1200))["parameters"]["size"] == "1392*1200"


def test_only_outpainting_enlarges_the_canvas_and_only_for_successors() -> None:
    """The canvas is enlarged where the model has no scales of its own, by the caller's scales."""
    enlarged = {
        f"{operation}/{candidate.model}": rule.canvas
        for operation, candidate in EVERY
        for rule in candidate.inputs.values()
        if rule.canvas is not None
    }
    assert set(enlarged) == {"expand/wan2.7-image", "expand/qwen-image-2.0"}
    for canvas in enlarged.values():
        assert canvas(REQUESTS["expand"]) == (1.5, 1.5, 1.25, 2.0)


def test_only_the_background_model_needs_a_cut_out() -> None:
    """The one model that takes nothing but RGBA is the one whose base is cut out."""
    cut_out = [
        (candidate.model, name) for _, candidate in EVERY for name, rule in candidate.inputs.items() if rule.cut_out
    ]
    assert cut_out == [("wanx-background-generation-v2", "base_image_url")]


@given(st.integers(1, 9000), st.floats(min_value=1 / 8, max_value=8))
def test_sizes_are_within_the_models_range(width: int, aspect: float) -> None:
    """Any size asked for is a multiple of 16 px, between 768² and 2048² px, and of nearly the picture's ratio."""
    height = max(1, round(width * aspect))
    wide, high = (int(side) for side in size_within_area(width, height).split("*"))
    assert wide % 16 == high % 16 == 0
    assert 768 * 768 <= wide * high <= 2048 * 2048
    assert abs(wide - high * width / height) <= 16 * (1 + width / height)


def finished(**changes: Any) -> Finished:
    """Make a task that ended well."""
    told: dict[str, Any] = {
        "output": TaskOutput.model_validate({"task_id": "up-1", "task_status": "SUCCEEDED"}),
        "urls": ("https://results.test/1.png", "https://results.test/2.png"),
        "failures": (),
        "prepared": (),
    } | changes
    return Finished(
        task_id="7d0a4f1e-6f3b-4c58-9a55-0d2f2f6f1a10",
        upstream_task_id="up-1",
        engine="dashscope:m",
        submitted_at=EPOCH_SECONDS,
        scheduled_at=EPOCH_SECONDS + 1,
        ended_at=EPOCH_SECONDS + 14.748,
        **told,
    )


COMMON = {
    "billed": False,
    "usage": {"images": 1, "list_price_cny": 0.0},
    "task_id": "7d0a4f1e-6f3b-4c58-9a55-0d2f2f6f1a10",
    "task_status": "SUCCEEDED",
    "submit_time": "2026-05-04 10:20:30.123",
    "scheduled_time": "2026-05-04 10:20:31.123",
    "end_time": "2026-05-04 10:20:44.871",
    "engine": "dashscope:m",
    "upstream_task_id": "up-1",
}
TWO = {"TOTAL": 2, "SUCCEEDED": 2, "FAILED": 0}


@pytest.mark.parametrize("operation", ["change_bg", "fix", "remove_watermark"])
def test_common_reply(operation: str) -> None:
    """Three edits answer a list of links with its metrics."""
    reply = EDITS[operation].reply(finished())
    assert reply.model_dump(exclude_none=True) == COMMON | {
        "results": [{"url": "https://results.test/1.png"}, {"url": "https://results.test/2.png"}],
        "task_metrics": TWO,
        "usage": {"images": 2, "list_price_cny": 0.0},
    }


def test_expand_reply_has_one_object() -> None:
    """Outpainting answers its result as one object, not a list."""
    reply = EDITS["expand"].reply(finished(urls=("https://results.test/1.png",)))
    assert reply.model_dump(exclude_none=True) == COMMON | {
        "results": {"url": "https://results.test/1.png"},
        "task_metrics": {"TOTAL": 1, "SUCCEEDED": 1, "FAILED": 0},
    }


def test_change_cloth_reply_has_image_url() -> None:
    """Try-on answers one link, without results or metrics."""
    reply = EDITS["change_cloth"].reply(finished(urls=("http://results.test/1.jpg",)))
    assert reply.model_dump(exclude_none=True) == COMMON | {"image_url": "http://results.test/1.jpg"}


@pytest.mark.parametrize("operation", sorted(EDITS))
def test_the_upstreams_own_times_win(operation: str) -> None:
    """Times that the upstream tells are passed on as they are, and what was prepared is told."""
    times = {
        "submit_time": "2026-05-04 09:00:00.001",
        "scheduled_time": "2026-05-04 09:00:00.002",
        "end_time": "2026-05-04 09:00:00.003",
    }
    output = TaskOutput.model_validate({"task_id": "up-1", "task_status": "SUCCEEDED"} | times)
    told = EDITS[operation].reply(finished(output=output, prepared=("oriented",))).model_dump()
    assert {name: told[name] for name in times} == times
    assert told["prepared"] == ["oriented"]


@pytest.mark.parametrize(
    ("told", "written"),
    [
        ("2026-05-04 09:00:00", "2026-05-04 09:00:00.000"),
        ("2026-05-04T09:00:00.123456", "2026-05-04 09:00:00.123"),
        ("2026-05-04T01:00:00Z", "2026-05-04 09:00:00.000"),
        ("soon", COMMON["end_time"]),
        ("0001-01-01 00:00:00", COMMON["end_time"]),
    ],
)
def test_times_are_written_in_the_documented_form(told: str, written: str) -> None:
    """However the upstream spells a time, a finished and paid task is answered, and in the documented form."""
    output = TaskOutput.model_validate({"task_id": "up-1", "task_status": "SUCCEEDED", "end_time": told})
    assert EDITS["fix"].reply(finished(output=output)).model_dump()["end_time"] == written


FAILURE = FailedPicture(code="InternalError.Timeout", message="")


@pytest.mark.parametrize(
    ("told", "failures", "counted"),
    [
        ({"TOTAL": 4, "SUCCEEDED": 2, "FAILED": 2}, (), {"TOTAL": 4, "SUCCEEDED": 2, "FAILED": 2}),
        (None, (FAILURE,), {"TOTAL": 3, "SUCCEEDED": 2, "FAILED": 1}),
        ({"TOTAL": 4}, (), TWO),
        ({"TOTAL": "2", "SUCCEEDED": 2, "FAILED": 0}, (), TWO),
        ({"TOTAL": 3, "SUCCEEDED": 3, "FAILED": 0}, (FAILURE,), {"TOTAL": 3, "SUCCEEDED": 2, "FAILED": 1}),
    ],
)
def test_metrics_are_true(told: object, failures: tuple[FailedPicture, ...], counted: dict[str, int]) -> None:
    """The upstream's count is passed on where it is complete and agrees with the links; else we count."""
    output = TaskOutput.model_validate({"task_status": "SUCCEEDED", "task_metrics": told})
    reply = EDITS["change_bg"].reply(finished(output=output, failures=failures))
    assert reply.task_metrics.model_dump() == counted


def test_an_operator_chooses_models_and_order() -> None:
    """The chosen models serve in the chosen order, and everything else of the edit stays."""
    chosen = EDITS["expand"].ordered(["qwen-image-2.0", "wanx2.1-imageedit"])
    assert chosen.model_names == ("qwen-image-2.0", "wanx2.1-imageedit")
    assert (chosen.operation, chosen.reply) == ("expand", EDITS["expand"].reply)
    assert EDITS["expand"].model_names[0] == "wanx2.1-imageedit"


@pytest.mark.parametrize("names", [(), ("dall-e",), ("wan2.7-image", "aitryon")])
def test_a_model_that_cant_serve_is_refused_by_name(names: tuple[str, ...]) -> None:
    """A wrong choice names itself and the models that can serve."""
    with pytest.raises(InvalidParameter) as caught:
        EDITS["expand"].ordered(names)
    assert "wanx2.1-imageedit, wan2.7-image, qwen-image-2.0" in caught.value.message
    assert (names[-1] if names else "nothing") in caught.value.message
