"""`Accept` asks for the picture itself: when it is given, how, and that everything else stays JSON."""

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.requests import Request

from conftest import Service
from imgapi.api.negotiation import choose_format
from pictures import animated_gif, draw_cutout, draw_photo, encode

PHOTO = encode(draw_photo(96, 64), "JPEG")
SIZES = ("X-Image-Width", "X-Image-Height", "X-Original-Width", "X-Original-Height")


def asking(*accept: str) -> Request:
    """A request with such `Accept` headers."""
    return Request({"type": "http", "headers": [(b"accept", value.encode()) for value in accept]})


def send(
    service: Service, path: str, content: bytes, fields: Mapping[str, Any], accept: str, name: str = "a"
) -> httpx.Response:
    """Upload a picture with some fields and an `Accept`."""
    headers = {"Accept": accept}
    return service.client.post(path, files={"image": (name, content)}, data=dict(fields), headers=headers)


def opened(answer: httpx.Response) -> Image.Image:
    """The picture of an answer that has to be one."""
    assert answer.status_code == 200, answer.text
    picture = Image.open(io.BytesIO(answer.content))
    picture.load()
    return picture


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "application/json",
        "application/*",
        "application/json, text/plain, */*",
        "text/html",
        "image/avif",
        "image/gif, image/svg+xml",
        "application/json, image/png",
        "image/png;q=0.5, application/json",
        "image/png;q=0.5, */*;q=0.6",
        "image/png;q=0",
        "image/*;q=0",
        "application/json;q=0",
        "image/png;q=high",
        "image/png;q=nan",
        "image/png;q=7",
        "image",
        ";;;,,",
    ],
)
def test_json_stays_what_it_was(accept: str) -> None:
    """Whoever asks for nothing, anything, JSON, or what there is not, gets the documented JSON."""
    assert choose_format(asking(accept), "png") is None


def test_no_accept_is_json() -> None:
    """Without the header there is JSON."""
    assert choose_format(asking(), "png") is None


@pytest.mark.parametrize(
    ("accept", "native", "chosen"),
    [
        ("image/png", "jpeg", "png"),
        ("image/jpeg", "png", "jpeg"),
        ("image/jpg", "png", "jpeg"),
        ("image/webp", "png", "webp"),
        ("IMAGE/PNG ; Q=0.9", "jpeg", "png"),
        ("image/*", "jpeg", "jpeg"),
        ("image/*", "webp", "webp"),
        ("image/*, */*", "png", "png"),
        ("image/png, */*", "jpeg", "png"),
        ("image/png, application/json;q=0.9", "jpeg", "png"),
        ("image/png;q=0.2, image/webp;q=0.8", "png", "webp"),
        ("image/webp, image/png", "jpeg", "png"),
        ("image/*;q=0.5, image/jpeg;q=0.9", "png", "jpeg"),
        ("image/*, image/png;q=0", "png", "webp"),
        ("application/json;q=0, */*", "jpeg", "jpeg"),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "jpeg", "webp"),
    ],
)
def test_weights_decide(accept: str, native: str, chosen: str) -> None:
    """The highest weight wins; then the closer name, JSON, the format at hand, and the one that keeps alpha."""
    assert choose_format(asking(accept), native) == chosen


def test_several_headers_are_one_list() -> None:
    """An `Accept` that comes in pieces means what it means in one."""
    assert choose_format(asking("application/json;q=0.1", "image/webp"), "png") == "webp"


@pytest.mark.parametrize(
    ("accept", "format_name"), [("image/png", "PNG"), ("image/jpeg", "JPEG"), ("image/webp", "WEBP")]
)
def test_upload_is_answered_as_a_picture(service: Service, accept: str, format_name: str) -> None:
    """A resized upload comes back as the type asked for, of the size that the headers say."""
    answer = send(service, "/utils/photo_resize", PHOTO, {"max_dim": 48}, accept)
    picture = opened(answer)
    assert (picture.format, picture.size) == (format_name, (48, 32))
    assert answer.headers["content-type"] == accept
    assert [answer.headers[name] for name in SIZES] == ["48", "32", "96", "64"]
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["vary"] == "Accept"


def test_any_picture_is_the_one_at_hand(service: Service) -> None:
    """`image/*` gets the very bytes that JSON would carry: nothing is encoded twice."""
    picture = send(service, "/utils/photo_resize", PHOTO, {"max_dim": 48}, "image/*")
    document = send(service, "/utils/photo_resize", PHOTO, {"max_dim": 48}, "*/*")
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.content == base64.b64decode(document.json()["image_data"])
    assert document.headers["vary"] == "Accept"
    assert not set(SIZES) & set(document.headers)


def test_url_is_answered_as_a_picture(service: Service, data_url: Callable[..., str]) -> None:
    """The resize by URL negotiates as the upload does."""
    body = {"image_url": data_url(PHOTO, "image/jpeg"), "max_dim": 48}
    answer = service.client.post("/utils/photo_resize_url", json=body, headers={"Accept": "image/png"})
    picture = opened(answer)
    assert (picture.format, picture.size) == ("PNG", (48, 32))
    assert [answer.headers[name] for name in SIZES] == ["48", "32", "96", "64"]


def test_conversion_is_answered_as_a_picture(service: Service) -> None:
    """A converted upload comes back as PNG with its alpha, or on white where JPEG was asked for."""
    clear = encode(draw_cutout(60, 40), "WEBP", lossless=True)
    picture = opened(send(service, "/utils/convert_to_png", clear, {}, "image/png"))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGBA", (60, 40))
    on_white = opened(send(service, "/utils/convert_to_png", clear, {}, "image/jpeg"))
    assert on_white.format == "JPEG"
    corner = on_white.convert("RGB").getpixel((0, 0))
    assert isinstance(corner, tuple)
    assert min(corner) > 250


def test_animation_is_answered_by_its_first_frame(service: Service) -> None:
    """With `keep_animation` the answer is the first frame, and the files of all frames are kept all the same."""
    answer = send(
        service, "/utils/convert_to_png", animated_gif(3), {"keep_animation": "true"}, "image/png", "moving.gif"
    )
    first = opened(answer)
    assert [answer.headers[name] for name in SIZES] == ["40", "30", "40", "30"]
    document = send(service, "/utils/convert_to_png", animated_gif(3), {"keep_animation": "true"}, "*/*", "moving.gif")
    frames = Image.open(io.BytesIO(base64.b64decode(document.json()["image_data"])))
    assert first.convert("RGBA").tobytes() == frames.convert("RGBA").tobytes()
    kept = service.parts.settings.data_dir / "outputs"
    assert len(list(kept.glob("moving*_*.png"))) == 6


def test_refusals_stay_json(service: Service) -> None:
    """An error is the documented JSON, whatever was asked for."""
    answer = send(service, "/utils/convert_to_png", b"no picture", {}, "image/png")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["field"] == "image"


def test_what_webp_can_not_hold_is_refused(service: Service) -> None:
    """A side that WebP has no room for is a 400 that says what to ask for, and leaves no file behind."""
    long = encode(Image.new("L", (16_384, 2)), "PNG")
    answer = send(service, "/utils/convert_to_png", long, {}, "image/webp", "long.png")
    assert answer.status_code == 400
    assert "16383" in answer.json()["error"]
    assert "image/png" in answer.json()["error"]
    assert not (service.parts.settings.data_dir / "outputs" / "long.png").exists()
