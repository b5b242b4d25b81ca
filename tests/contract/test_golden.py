"""Part A of the public contract, held against the running service and its OpenAPI document."""

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from conftest import Service
from pictures import encode, photo

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "contract.json").read_text(encoding="utf-8"))
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}")
DataUrl = Callable[..., str]


def jpeg(name: str, size: tuple[int, int] = (640, 512)) -> bytes:
    """A real photo as JPEG."""
    return encode(photo(name).convert("RGB").resize(size), "JPEG", quality=85)


def watermarked() -> bytes:
    """A real photo with a text mark in its corner."""
    picture = photo("coffee").convert("RGB").resize((640, 512))
    draw = ImageDraw.Draw(picture)
    draw.text((380, 460), "(c) example.com", fill=(255, 255, 255), font_size=30, stroke_width=1, stroke_fill=(0, 0, 0))
    return encode(picture, "PNG")


def bodies(data_url: DataUrl) -> dict[str, dict[str, Any]]:
    """A request that works, for each edit."""
    cup, person = data_url(jpeg("coffee"), "image/jpeg"), data_url(jpeg("astronaut", (512, 512)), "image/jpeg")
    cloth = data_url(jpeg("brick"), "image/jpeg")
    return {
        "/change_bg": {"base_image_url": person, "ref_image_url": cup, "ref_prompt": "", "n": 2},
        "/change_cloth": {"top_garment_url": cloth, "bottom_garment_url": cloth, "person_image_url": person},
        "/expand": {"base_image_url": cup, "top_scale": 1.0, "bottom_scale": "1.25"},
        "/fix": {"base_image_url": cup, "upscale_factor": "1"},
        "/remove_bg": {"image_url": person},
        "/remove_watermark": {"image_url": data_url(watermarked())},
    }


def assert_shape(value: Any, shape: Any) -> None:
    """Hold a value against a golden shape: the documented keys, their JSON types, their fixed values."""
    match shape:
        case "str":
            assert isinstance(value, str)
            assert value
        case "int":
            assert type(value) is int
        case "T":
            assert TIME.fullmatch(value)
        case "base64":
            assert base64.b64decode(value, validate=True)
        case dict():
            assert isinstance(value, dict)
            assert set(shape) <= set(value)
            assert set(value) - set(shape) <= set(GOLDEN["additions"])
            for key, inner in shape.items():
                assert_shape(value[key], inner)
        case [inner]:
            assert isinstance(value, list)
            assert value
            for entry in value:
                assert_shape(entry, inner)
        case _:
            assert value == shape
            assert type(value) is type(shape)


def request_schema(document: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema of a request's body, references resolved."""
    (content,) = document["paths"][path]["post"]["requestBody"]["content"].values()
    schema: dict[str, Any] = content["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


@pytest.mark.parametrize("path", GOLDEN["requests"])
def test_document_has_the_documented_request_fields(service: Service, path: str) -> None:
    """Names, types, defaults, ranges and which fields are required are those of the contract, and no others."""
    schema = request_schema(service.app.openapi(), path)
    assert set(schema["properties"]) == set(GOLDEN["requests"][path])
    for name, expected in GOLDEN["requests"][path].items():
        described = schema["properties"][name]
        assert (name in schema.get("required", [])) is expected["required"]
        for key in ("type", "format", "default", "minimum", "maximum"):
            if key in expected:
                assert described[key] == expected[key], (name, key)
        assert ("default" in described) is ("default" in expected)


@pytest.mark.parametrize("path", [path for path in GOLDEN["replies"] if not path.startswith("/utils")])
def test_edit_replies_have_the_documented_shape(service: Service, data_url: DataUrl, path: str) -> None:
    """Each edit answers 200 with the documented keys and JSON types, and says that a preview is a preview."""
    answer = service.post(path, bodies(data_url)[path])
    assert answer.status_code == 200, answer.text
    reply = answer.json()
    assert_shape(reply, GOLDEN["replies"][path])
    assert reply["engine"] == "local-preview"
    ignored = {"/change_bg": ["ref_prompt"], "/expand": ["prompt"], "/fix": ["prompt"]}
    assert reply.get("ignored") == ignored.get(path)
    assert reply["billed"] is False
    assert reply["usage"]["images"] == (2 if path == "/change_bg" else 1)
    assert ("expires_at" in str(reply)) is (path == "/remove_bg")
    if path == "/change_bg":
        assert len(reply["results"]) == 2
        assert reply["task_metrics"] == {"TOTAL": 2, "SUCCEEDED": 2, "FAILED": 0}


@pytest.mark.parametrize("way", ["/utils/photo_resize", "/utils/photo_resize_url"])
def test_resize_replies_with_the_documented_example(service: Service, data_url: DataUrl, way: str) -> None:
    """1024x768 with `max_dim=512` gives 512x384, whatever the default of `min_dim` is."""
    content = jpeg("coffee", (1024, 768))
    if way.endswith("url"):
        answer = service.post(way, {"image_url": data_url(content), "max_dim": "512"})
    else:
        answer = service.client.post(way, files={"image": ("photo.jpg", content)}, data={"max_dim": "512"})
    assert answer.status_code == 200, answer.text
    assert_shape(answer.json(), GOLDEN["replies"][way])
    with Image.open(io.BytesIO(base64.b64decode(answer.json()["image_data"]))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (512, 384))


def test_convert_replies_in_the_documented_shape(service: Service) -> None:
    """A JPEG becomes a PNG named after the upload, and the file that is named exists."""
    upload = {"image": ("holiday.jpeg", jpeg("coffee"))}
    answer = service.client.post("/utils/convert_to_png", files=upload)
    assert answer.status_code == 200, answer.text
    assert_shape(answer.json(), GOLDEN["replies"]["/utils/convert_to_png"])
    (path,) = answer.json()["image_paths"]
    assert Path(path).name == "holiday.png"
    assert Path(path).read_bytes() == base64.b64decode(answer.json()["image_data"])


def test_convert_never_overwrites_unasked(service: Service) -> None:
    """A second upload of a name gets a name of its own; with `overwrite=true` it replaces the file."""
    first, second = encode(Image.new("RGB", (3, 3), "red"), "BMP"), encode(Image.new("RGB", (3, 3), "blue"), "BMP")

    def convert(content: bytes, **fields: str) -> Path:
        answer = service.client.post("/utils/convert_to_png", files={"image": ("dot.bmp", content)}, data=fields)
        (path,) = answer.json()["image_paths"]
        return Path(path)

    one, two = convert(first), convert(second)
    assert (one.name, two.name) == ("dot.png", "dot-1.png")
    before = one.read_bytes()
    assert convert(second, overwrite="true") == one
    assert one.read_bytes() != before


def test_keep_animation_writes_one_file_a_frame(service: Service) -> None:
    """With `keep_animation=true` every frame is a PNG, in order; without, only the first."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    gif = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    whole = service.client.post(
        "/utils/convert_to_png", files={"image": ("spin.gif", gif)}, data={"keep_animation": "true"}
    ).json()
    assert [Path(path).name for path in whole["image_paths"]] == ["spin_000.png", "spin_001.png", "spin_002.png"]
    assert whole["original_format"] == "gif"
    still = service.client.post("/utils/convert_to_png", files={"image": ("spin.gif", gif)}).json()
    assert [Path(path).name for path in still["image_paths"]] == ["spin.png"]


def test_unmarked_picture_is_the_callers_to_change(service: Service, data_url: DataUrl) -> None:
    """Where no watermark is found the answer is a 400 that says so, never the picture as it was."""
    answer = service.post("/remove_watermark", {"image_url": data_url(jpeg("chelsea"), "image/jpeg")})
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "picture_unsuitable"
    assert "no watermark was found" in answer.json()["error"]
    assert answer.json()["error"].endswith("plain text of one opacity")


def changed_pixels(service: Service, url: str, before: bytes) -> Any:
    """Which pixels of a picture a result changed: H×W bool."""
    with Image.open(io.BytesIO(service.client.get(url).content)) as result, Image.open(io.BytesIO(before)) as source:
        return (np.asarray(result.convert("RGB")) != np.asarray(source.convert("RGB"))).any(axis=2)


@pytest.mark.parametrize("form", ["objects", "lists", "mask"])
def test_marked_watermark_is_removed_there_and_nowhere_else(service: Service, data_url: DataUrl, form: str) -> None:
    """Boxes in both forms and a mask picture say where the mark is; no pixel beyond it changes."""
    content = watermarked()
    mask = Image.new("L", (640, 512))
    mask.paste(255, (370, 450, 630, 500))
    forms: dict[str, dict[str, Any]] = {
        "objects": {"boxes": [{"x": 370, "y": 450, "width": 260, "height": 50}]},
        "lists": {"boxes": [[370, 450, 260, 50]]},
        "mask": {"mask_url": data_url(encode(mask, "PNG"))},
    }
    answer = service.post("/remove_watermark", {"image_url": data_url(content), **forms[form]})
    assert answer.status_code == 200, answer.text
    reply = answer.json()
    assert_shape(reply, GOLDEN["replies"]["/remove_watermark"])
    changed = changed_pixels(service, reply["results"][0]["url"], content)
    assert changed[450:500, 370:630].mean() > 0.5
    changed[450:500, 370:630] = False
    assert not changed.any()


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ({"boxes": [[640, 0, 5, 5]]}, "boxes: the box at 640,0"),
        ({"boxes": [[1, 2, 3]]}, "boxes[0]: must be [x, y, width, height], and 3 numbers"),
        ({"boxes": [[1, 2, 0, 3]]}, "boxes[0].width: must be at least 1, and 0 was sent"),
        ({"boxes": [{"x": 1, "y": 1, "width": 5, "heigth": 5}]}, "boxes[0].heigth is not a field"),
        ({"boxes": {"x": 1}}, "boxes: must be a list"),
        ({"boxes": [[0, 0, 640, 512]]}, "boxes: 100% of the picture"),
        ({"boxes": [[1, 1, 5, 5]] * 65}, "64"),
        ({"mask_url": ""}, "mask_url"),
    ],
)
def test_useless_marks_are_refused_with_their_field(
    service: Service, data_url: DataUrl, marks: dict[str, Any], words: str
) -> None:
    """Boxes and masks that can't be meant are a 400 that names the field."""
    answer = service.post("/remove_watermark", {"image_url": data_url(watermarked()), **marks})
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]


def test_small_input_is_made_to_fit_and_the_caller_is_told(service: Service, data_url: DataUrl) -> None:
    """A 300x200 picture is enlarged to the model's smallest side, and `prepared` says so."""
    picture = data_url(jpeg("coffee", (300, 200)), "image/jpeg")
    reply = service.post("/fix", {"base_image_url": picture, "upscale_factor": 1}).json()
    assert reply["prepared"] == ["resized 300x200 to 768x512"]


def test_fitting_input_is_untouched(service: Service, data_url: DataUrl) -> None:
    """`prepared` is absent when nothing was changed."""
    reply = service.post("/fix", {"base_image_url": data_url(jpeg("coffee")), "upscale_factor": 1}).json()
    assert "prepared" not in reply
