"""What breaks callers between two versions of the OpenAPI document is told; what adds to it is not."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from breaking import UnknownKeyword, find_breaks, main

ROOT = Path(__file__).parent.parent.parent
BASELINE = ROOT / "openapi.baseline.json"
GONE = object()
FIX = ("components", "schemas", "FixRequest")
TASK = ("components", "schemas", "TaskReply", "properties")
RESIZE = ("components", "schemas", "ResizeReply")
BOXES = ("components", "schemas", "RemoveWatermarkRequest", "properties", "boxes", "anyOf", 0, "items", "anyOf")
FORM = ("paths", "/utils/photo_resize", "post", "requestBody", "content", "multipart/form-data")
PICTURES = ("paths", "/utils/photo_resize", "post", "responses", "200", "content")
LIST = ("paths", "/tasks", "get", "parameters")
ACCEPTED = ("paths", "/fix", "post", "responses", "202")
TEXT = {"type": "string"}

# Where in the document, what stands there instead, and what is told.
BREAKS: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "a path": (("paths", "/livez"), GONE, r"GET /livez: removed"),
    "a method": (("paths", "/tasks/{task_id}", "delete"), GONE, r"DELETE /tasks/\{task_id\}: removed"),
    "a function's name": (("paths", "/fix", "post", "operationId"), "x", r"operationId was fix_picture, is x"),
    "a module's name": (("paths", "/fix", "post", "tags"), ["x"], r"tags was"),
    "a success": (ACCEPTED, GONE, r"POST /fix 202: removed"),
    "a header of an answer": ((*ACCEPTED, "headers", "Location"), GONE, r"202 Location: removed"),
    "a type of answer": ((*PICTURES, "image/webp"), GONE, r"200 image/webp: removed"),
    "a field of an answer": (
        (*RESIZE, "properties", "image_data"),
        GONE,
        r"200 application/json \.image_data: removed",
    ),
    "a field always there": ((*RESIZE, "required"), ["success"], r"\.image_data: is not always there any more"),
    "the type of a field": ((*TASK, "task_id", "type"), "integer", r"\.task_id: type was string, is integer"),
    "a new value": ((*TASK, "status", "enum"), ["queued", "lost"], r"\.status: values was .*, is lost, queued"),
    "a wider union": ((*TASK, "billed", "anyOf", 1), TEXT, r"\.billed: type was boolean, is string"),
    "null in an answer": (
        (*TASK, "engine"),
        {"anyOf": [TEXT, {"type": "null"}]},
        r"\.engine: type was string, is null",
    ),
    "one for a list": ((*TASK, "prepared", "type"), "object", r"\.prepared: type was array, is object"),
    "an error's field": (("components", "schemas", "ErrorReply", "properties", "code"), GONE, r"400 .*\.code: removed"),
    "a constant": ((*RESIZE, "properties", "success", "const"), False, r"\.success: values was True, is False"),
    "a field of a request": ((*FIX, "properties", "prompt"), GONE, r"POST /fix body .*\.prompt: removed"),
    "the type of a request's": ((*FIX, "properties", "prompt", "type"), "integer", r"type was string, is integer"),
    "a lower maximum": ((*FIX, "properties", "upscale_factor", "maximum"), 2, r"maximum was 4(\.0)?, is 2"),
    "a higher minimum": ((*FIX, "properties", "upscale_factor", "minimum"), 2, r"minimum was 1(\.0)?, is 2"),
    "a new maximum": ((*FIX, "properties", "base_image_url", "maxLength"), 9, r"maxLength was None, is 9"),
    "a new pattern": ((*FIX, "properties", "base_image_url", "pattern"), "^h", r"pattern was None, is \^h"),
    "a field now required": ((*FIX, "required"), ["base_image_url", "prompt"], r"\.prompt: is required now"),
    "an alternative": ((*BOXES, 1), GONE, r"\.boxes\[\]: type was array, is object"),
    "a field of a form": ((*FORM, "schema", "required"), ["image", "min_dim"], r"\.min_dim: is required now"),
    "a type of body": (FORM, GONE, r"POST /utils/photo_resize body multipart/form-data: removed"),
    "a parameter": ((*LIST, 3), GONE, r"GET /tasks cursor: removed"),
    "a parameter's value": ((*LIST, 0, "schema", "enum"), ["queued"], r"GET /tasks status: values was"),
    "a parameter's limit": ((*LIST, 2, "schema", "maximum"), 9, r"GET /tasks limit: maximum was 100, is 9"),
    "a required parameter": ((*LIST, 2, "required"), True, r"GET /tasks limit: is required now"),
    "keys": (("security",), [{"bearer": []}], r"POST /fix: security no longer takes requests without a key"),
}
ADDITIONS: dict[str, tuple[tuple[Any, ...], Any]] = {
    "a path": (("paths", "/new"), {}),
    "a field of an answer": ((*RESIZE, "properties", "new"), TEXT),
    "a field of a request": ((*FIX, "properties", "new"), TEXT),
    "a higher maximum": ((*FIX, "properties", "upscale_factor", "maximum"), 8),
    "a wider type": ((*FIX, "properties", "upscale_factor", "type"), "number"),
    "a value of a parameter": ((*LIST, 1, "schema"), TEXT),
    "a type of answer": ((*PICTURES, "image/avif"), {"schema": TEXT}),
    "words": ((*FIX, "description"), "Other words."),
    "a field always there now": (
        ("components", "schemas", "ResultLink", "required"),
        ["url", "expires_at"],
    ),
}


@pytest.fixture
def document() -> dict[str, Any]:
    """The current document."""
    loaded: dict[str, Any] = json.loads((ROOT / "openapi.json").read_text(encoding="utf-8"))
    return loaded


def change(document: dict[str, Any], where: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Change one place of a copy."""
    changed = copy.deepcopy(document)
    *parents, last = where
    place: Any = changed
    for part in parents:
        place = place[part]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return changed


def test_document_breaks_nobody(document: dict[str, Any]) -> None:
    """Whoever was written against the baseline is served by the current document."""
    assert find_breaks(json.loads(BASELINE.read_text(encoding="utf-8")), document) == []


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_told(document: dict[str, Any], name: str) -> None:
    """Each kind of break is told with its place."""
    where, value, told = BREAKS[name]
    found = find_breaks(document, change(document, where, value))
    assert any(re.search(told, each) for each in found), found


@pytest.mark.parametrize("name", ADDITIONS)
def test_an_addition_is_no_break(document: dict[str, Any], name: str) -> None:
    """What old callers need not know breaks nobody."""
    assert find_breaks(document, change(document, *ADDITIONS[name])) == []


def test_a_keyword_that_is_not_judged_is_an_error(document: dict[str, Any]) -> None:
    """A schema that the checker does not understand is not taken for a good one."""
    with pytest.raises(UnknownKeyword, match="multipleOf"):
        find_breaks(document, change(document, (*FIX, "properties", "upscale_factor", "multipleOf"), 2))


def test_program_tells_and_fails(tmp_path: Path, document: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The program ends with 1 and names the break; with 0 where there is none."""
    changed = tmp_path / "new.json"
    changed.write_text(json.dumps(change(document, ("paths", "/fix"), GONE)))
    assert main([str(ROOT / "openapi.json"), str(changed)]) == 1
    assert capsys.readouterr().err == "POST /fix: removed\n"
    assert main([str(changed), str(ROOT / "openapi.json")]) == 0
