"""Every error of the application, framework errors included, answers in the documented shape."""

import http.client
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from conftest import Service, run_service
from pictures import encode

URL = "https://example.com/photo.jpg"
DOT = encode(Image.new("RGB", (4, 4), "red"), "PNG")

WRONG_BODIES: list[tuple[str, Any, str]] = [
    ("/change_bg", {"ref_image_url": URL}, "base_image_url"),
    ("/change_bg", {"base_image_url": "", "ref_image_url": URL}, "base_image_url"),
    ("/change_bg", {"base_image_url": URL, "ref_image_url": URL, "n": 5}, "n"),
    ("/change_bg", {"base_image_url": URL, "ref_image_url": URL, "n": 0}, "n"),
    ("/change_bg", {"base_image_url": URL, "ref_image_url": URL, "n": 1.5}, "n"),
    ("/change_bg", {"base_image_url": URL, "ref_image_url": URL, "n": True}, "n"),
    ("/change_bg", {"base_image_url": URL, "ref_image_url": URL, "n": "many"}, "n"),
    ("/change_bg", {"base_image_url": URL, "ref_image_url": URL, "n": None}, "n"),
    ("/change_bg", {"base_image_url": 7, "ref_image_url": URL}, "base_image_url"),
    ("/change_cloth", {"top_garment_url": URL, "bottom_garment_url": URL}, "person_image_url"),
    ("/expand", {"base_image_url": URL, "top_scale": 2.5}, "top_scale"),
    ("/expand", {"base_image_url": URL, "left_scale": 0.5}, "left_scale"),
    ("/expand", {"base_image_url": URL, "left_scale": False}, "left_scale"),
    ("/fix", {"base_image_url": URL, "upscale_factor": 5}, "upscale_factor"),
    ("/fix", {}, "base_image_url"),
    ("/remove_bg", {"image_url": ["a"]}, "image_url"),
    ("/remove_watermark", {"image_url": "ftp://example.com/a.png"}, "image_url"),
    ("/remove_watermark", {"image_url": "http://127.0.0.1/a.png"}, "image_url"),
    ("/remove_watermark", {"image_url": "http://169.254.169.254/a.png"}, "image_url"),
    ("/remove_bg", {"image_url": "not a url"}, "image_url"),
    ("/remove_bg", {"image_url": "data:image/png;base64,!!!"}, "image_url"),
    ("/remove_bg", {"image_url": "data:image/png;base64,aGVsbG8gd29ybGQ="}, "image_url"),
    ("/utils/photo_resize_url", {"image_url": URL, "min_dim": 0}, "min_dim"),
    ("/utils/photo_resize_url", {"image_url": URL, "max_dim": 20000}, "max_dim"),
]


def assert_error(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Hold an answer against the documented error shape; return its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert isinstance(body["error"], str)
    assert body["error"]
    assert isinstance(body["code"], str)
    assert body["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return body


@pytest.mark.parametrize(("path", "body", "field"), WRONG_BODIES)
def test_wrong_value_is_a_400_that_names_the_field(service: Service, path: str, body: Any, field: str) -> None:
    """A missing, mistyped, out-of-range or unusable value answers 400 and names its field."""
    error = assert_error(service.post(path, body), 400)
    assert error["error"].startswith(field)
    assert error["field"] == field


def test_all_scales_one_is_refused(service: Service) -> None:
    """Nothing to do is a 400: the picture would come back as it is, and be paid for."""
    scales = dict.fromkeys(("top_scale", "bottom_scale", "left_scale", "right_scale"), 1.0)
    error = assert_error(service.post("/expand", {"base_image_url": URL, **scales}), 400)
    assert "nothing to add" in error["error"]


def test_explicit_min_above_max_is_refused_and_the_default_is_not(service: Service) -> None:
    """Only an explicitly sent `min_dim` above `max_dim` is a contradiction."""
    both = {"min_dim": "600", "max_dim": "500"}
    answer = service.client.post("/utils/photo_resize", files={"image": ("a.png", DOT)}, data=both)
    assert "min_dim is 600" in assert_error(answer, 400)["error"]
    lowered = service.client.post("/utils/photo_resize", files={"image": ("a.png", DOT)}, data={"max_dim": "2"})
    assert lowered.json()["resized_size"] == "2x2px"


@pytest.mark.parametrize(
    ("sent", "nearest"), [("base_image_ulr", "base_image_url"), ("N", None), ("refprompt", "ref_prompt")]
)
def test_unknown_field_is_named_with_its_nearest(service: Service, sent: str, nearest: str | None) -> None:
    """A typo must not cost money: it is named, and the nearest known field with it."""
    error = assert_error(service.post("/change_bg", {"base_image_url": URL, "ref_image_url": URL, sent: "x"}), 400)
    assert sent in error["error"]
    assert (f"did you mean {nearest}?" if nearest else "known fields are") in error["error"]


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"null", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b"", "application/json", 400),
        (b"{}", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"image_url": NaN}', "application/json", 400),
        (b'{"image_url": "x"}', "text/plain", 415),
        (b"image_url=x", "application/x-www-form-urlencoded", 415),
    ],
)
def test_body_that_is_no_json_object(service: Service, content: bytes, content_type: str, status: int) -> None:
    """Broken, foreign and empty bodies answer in the documented shape."""
    answer = service.client.post("/remove_bg", content=content, headers={"Content-Type": content_type})
    assert_error(answer, status)


def test_body_of_a_million_values_is_refused_unparsed(service: Service) -> None:
    """A large body of tiny values, which no request needs, is refused before it holds up everybody else."""
    content = b'{"image_url": [' + b"0," * 1_000_001 + b"0]}"
    answer = service.client.post("/remove_bg", content=content, headers={"Content-Type": "application/json"})
    assert "more than 1000000 values" in assert_error(answer, 400)["error"]


def test_framework_errors_answer_in_the_documented_shape(service: Service) -> None:
    """An unknown route, a wrong method and a missing body are JSON errors too."""
    assert "no /nowhere" in assert_error(service.client.get("/nowhere"), 404)["error"]
    assert_error(service.client.post("/fix/", json={}), 404)
    refused = service.client.get("/fix")
    assert "POST" in assert_error(refused, 405)["error"]
    assert refused.headers["allow"] == "POST"
    assert_error(service.client.post("/fix"), 400)
    assert assert_error(service.client.get("/results/none.png"), 404)["code"] == "not_found"
    assert assert_error(service.client.get(f"/results/{'0' * 32}.png"), 410)["code"] == "result_expired"
    assert_error(service.client.get("/emulator/results/none.png"), 403)
    assert_error(service.client.get("/emulator/_emulator/ledger"), 404)
    assert_error(service.client.get("/emulator/api/v1/tasks"), 404)


def test_docs_come_from_this_host_alone(service: Service) -> None:
    """The pages of the document load nothing from another host, and what they load is there."""
    for path in ("/docs", "/redoc"):
        page = service.client.get(path)
        assert page.status_code == 200
        loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert loaded
        for link in loaded:
            address = page.url.join(link)
            assert address.netloc == page.url.netloc
            assert service.client.get(address).status_code == 200
    assert service.client.get("/openapi.json").json() == service.app.openapi()


def test_form_errors_answer_in_the_documented_shape(service: Service) -> None:
    """A form without a file, with text for a file, with two files, unknown fields or a broken body is told so."""
    path = "/utils/convert_to_png"
    post = service.client.post
    assert_error(post(path), 400)
    missing = assert_error(post(path, files={"other": ("a.png", DOT)}), 400)
    assert "image" in missing["error"]
    assert assert_error(post(path, data={"image": "text"}, files={}), 415)["error"]
    text = {"image": (None, "text")}
    assert assert_error(post(path, files=text), 400)["field"] == "image"
    twice = [("image", ("a.png", DOT)), ("image", ("b.png", DOT))]
    assert assert_error(post(path, files=twice), 400)["error"] == "image: send one file, and more than one was sent"
    unknown = assert_error(post(path, files={"image": ("a.png", DOT)}, data={"overwite": "true"}), 400)
    assert "did you mean overwrite?" in unknown["error"]
    wrong = assert_error(post(path, files={"image": ("a.png", DOT)}, data={"overwrite": "perhaps"}), 400)
    assert wrong["field"] == "overwrite"
    assert_error(post(path, json={"image": "x"}), 415)
    empty = assert_error(post(path, files={"image": ("a.png", b"")}), 400)
    assert empty["field"] == "image"


PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'


@pytest.mark.parametrize(
    ("content", "content_type", "sentence"),
    [
        (PART + DOT, "multipart/form-data; boundary=x", "ended early"),
        (PART + bytes(2_000_000), "multipart/form-data; boundary=x", "ended early"),
        (PART + DOT + b"\r\n--x\r\n", "multipart/form-data; boundary=x", "ended early"),
        (b"--x\r\nnonsense", "multipart/form-data; boundary=x", "ended early"),
        (b"", "multipart/form-data; boundary=x", "ended early"),
        (PART + DOT + b"\r\n--x--\r\n", "multipart/form-data; boundary=x; charset=undefined", "charset"),
        (PART + DOT + b"\r\n--x--\r\n", "multipart/form-data; boundary=x; charset=punycode", "charset"),
        (b"hello", "multipart/form-data; boundary=x", "not valid multipart/form-data"),
        (b"--x", "multipart/form-data", "has no boundary"),
        (b"--x\r\nContent-Type: image/png\r\n\r\n\r\n--x--", "multipart/form-data; boundary=x", "has no name"),
    ],
)
def test_broken_form_is_told_what_is_broken(service: Service, content: bytes, content_type: str, sentence: str) -> None:
    """A form that is cut off or malformed is told so, in words that a caller of this service can act on."""
    answer = service.client.post("/utils/photo_resize", content=content, headers={"Content-Type": content_type})
    assert sentence in assert_error(answer, 400)["error"]


def test_picture_sent_as_text_is_told_to_be_a_file(service: Service) -> None:
    """A picture without a file name is a text field, too long for one; the answer says how to send it."""
    answer = service.client.post("/utils/photo_resize", files={"image": (None, bytes(70_000))})
    assert "in the field image" in assert_error(answer, 400)["error"]


def test_more_fields_than_there_are_is_refused(service: Service) -> None:
    """A form of many fields is refused in the service's own words."""
    fields = {f"field_{number}": "x" for number in range(20)}
    answer = service.client.post("/utils/photo_resize", files={"image": ("a.png", DOT)}, data=fields)
    assert "more than 10 fields" in assert_error(answer, 400)["error"]


def test_bounds_of_forms_are_settings(tmp_path: Path) -> None:
    """An operator sets how many fields a form may have and how long they may be; callers are told, and held to it."""
    for service in run_service(tmp_path, max_form_fields=2, max_field_bytes=2000):
        limits = service.client.get("/operations").json()["limits"]
        assert (limits["max_form_fields"], limits["max_field_bytes"]) == (2, 2000)
        for data, sentence in (
            ({"min_dim": "1", "max_dim": "2", "third": "3"}, "more than 2 fields"),
            ({"min_dim": "1" * 2001}, "more than 2000 bytes"),
        ):
            answer = service.client.post("/utils/photo_resize", files={"image": ("a.png", DOT)}, data=data)
            assert sentence in assert_error(answer, 400)["error"]


@pytest.mark.parametrize("body", [b'{"image_url": "x", "min_dim": "\\ud800"}', b'{"\\ud800": 1}'])
def test_text_that_is_none_is_refused(service: Service, body: bytes) -> None:
    """Half a surrogate pair is no text; it is refused as such and can be written into the answer."""
    headers = {"Content-Type": "application/json"}
    assert_error(service.client.post("/utils/photo_resize_url", content=body, headers=headers), 400)


def test_picture_that_is_none_is_refused(service: Service) -> None:
    """Text called a picture, and a picture cut short, are 400s that say what is wrong."""
    for content in (b"hello world", DOT[:40], b"%PDF-1.7 not here"):
        answer = service.client.post("/utils/photo_resize", files={"image": ("a.png", content)})
        assert assert_error(answer, 400)["field"] == "image"


def test_large_body_is_refused_before_it_is_read(service: Service) -> None:
    """A body that is announced beyond the limit answers 413 at once and names the limit."""
    limit = service.parts.settings.max_picture_bytes + 64 * 1024
    host, _, port = service.address.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.putrequest("POST", "/utils/photo_resize")
        connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        connection.putheader("Content-Length", str(limit + 1))
        connection.endheaders()
        answer = connection.getresponse()
        body = json.loads(answer.read())
    finally:
        connection.close()
    assert (answer.status, body["code"]) == (413, "body_too_large")
    assert str(limit) in body["error"]


def test_body_that_grows_beyond_the_limit_is_refused_while_it_arrives(service: Service) -> None:
    """A chunked body, whose length nobody announces, is counted as it is read."""
    limit = service.parts.settings.max_picture_bytes + 64 * 1024

    def chunks() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        for _ in range(limit // 65536 + 1):
            yield bytes(65536)

    # The bound of multipart bodies holds however the type is written.
    headers = {"Content-Type": "Multipart/Form-Data; boundary=x"}
    assert_error(service.client.post("/utils/photo_resize", content=chunks(), headers=headers), 413)


def test_refusal_of_a_large_body_arrives(service: Service) -> None:
    """A caller who sends all of a body that is too large before reading gets the 413, not a reset connection."""
    size = service.parts.settings.max_picture_bytes + 2 * 1024 * 1024
    head = (
        "POST /utils/photo_resize HTTP/1.1\r\nHost: imgapi\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {size}\r\n\r\n"
    )
    host, _, port = service.address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + bytes(size))
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "sent",
    [
        b"HELLO\r\n\r\n",
        b"GET /livez FTP/1.0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
        b"POST /fix HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["words", "version", "two hosts", "no colon", "length", "TLS", "endless"],
)
def test_what_is_no_http_is_told_in_the_documented_shape(service: Service, sent: bytes) -> None:
    """A request that no application sees is refused in JSON like any other, and the connection is closed."""
    host, _, port = service.address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert {"error", "code", "request_id"} == set(json.loads(body))


def test_json_that_grows_beyond_the_limit_is_refused_while_it_arrives(service: Service) -> None:
    """A JSON body without an announced length is a 413 too, not broken JSON."""
    limit = 3 * (service.parts.settings.max_picture_bytes * 4 // 3 + 1024) + 1024 * 1024
    chunks = (b" " * 1024 * 1024 for _ in range(limit // (1024 * 1024) + 1))
    headers = {"Content-Type": "application/json"}
    assert_error(service.client.post("/fix", content=chunks, headers=headers), 413)


def test_request_id_comes_back(service: Service) -> None:
    """A caller's request id is kept when it is one, and replaced when it is not."""
    given = service.client.get("/livez", headers={"X-Request-ID": "order-7.a_b"})
    assert given.headers["x-request-id"] == "order-7.a_b"
    foreign = service.client.get("/livez", headers={"X-Request-ID": "a b"})
    assert foreign.headers["x-request-id"] not in {"", "a b"}
