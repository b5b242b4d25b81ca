"""Uploaded files: kept for a while under an unguessable URL that every picture field takes."""

import base64
import concurrent.futures
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from conftest import Service, run_service
from imgapi.api.keys import new_key
from pictures import draw_photo, encode, photo_bytes

SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><script>alert(1)</script>
<rect width="40" height="30" fill="red"/></svg>"""
DOT = encode(draw_photo(8, 6), "png")
LARGER = encode(draw_photo(16, 12), "png")


def upload(service: Service, content: bytes, name: str = "photo.jpg") -> httpx.Response:
    """Send one file."""
    return service.client.post("/files", files={"file": (name, content)})


def assert_error(answer: httpx.Response, status: int, code: str) -> str:
    """Check the documented shape and return the sentence."""
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert {"error", "code", "request_id"} <= set(body)
    return str(body["error"])


def test_an_uploaded_picture_is_told_and_shown(service: Service) -> None:
    """An upload answers 201 with URL, expiry, size and format; the URL shows the same bytes with their own type."""
    content = photo_bytes("china")
    before = datetime.now(UTC)
    answer = upload(service, content, "../../holiday.PNG")
    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == {"name", "url", "expires_at", "width", "height", "format"}
    assert body["name"] == body["url"].rpartition("/")[2]
    assert (body["width"], body["height"], body["format"]) == (640, 427, "jpeg")
    assert answer.headers["location"] == body["url"]
    assert re.fullmatch(rf"{service.address}/files/[0-9a-f]{{43}}\.jpg", body["url"])
    expires = datetime.fromisoformat(body["expires_at"])
    assert body["expires_at"].endswith("Z")
    assert timedelta(days=1) - timedelta(seconds=1) < expires - before < timedelta(days=1, seconds=60)
    shown = service.client.get(body["url"])
    assert (shown.status_code, shown.content) == (200, content)
    assert shown.headers["content-type"] == "image/jpeg"
    assert shown.headers["content-disposition"] == "inline"
    assert shown.headers["x-content-type-options"] == "nosniff"
    found = re.fullmatch(r"private, max-age=(\d+), immutable", shown.headers["cache-control"])
    assert found
    assert 86_000 < int(found[1]) <= 86_400


@pytest.mark.parametrize(
    ("format_name", "media_type"),
    [
        ("png", "image/png"),
        ("webp", "image/webp"),
        ("gif", "image/gif"),
        ("bmp", "image/bmp"),
        ("tiff", "image/tiff"),
        ("svg", "image/svg+xml"),
    ],
)
def test_every_format_keeps_its_type(service: Service, format_name: str, media_type: str) -> None:
    """Whatever other operations take can be uploaded, under any file name, and comes back under its own type."""
    content = SVG if format_name == "svg" else encode(draw_photo(40, 30), format_name)
    body = upload(service, content, "x.jpg").json()
    assert (body["format"], body["width"], body["height"]) == (format_name, 40, 30)
    shown = service.client.get(body["url"])
    assert (shown.content, shown.headers["content-type"]) == (content, media_type)


def test_a_strangers_drawing_runs_nothing(service: Service) -> None:
    """A browser that shows an uploaded SVG at this address is told to run no script in it and to load nothing."""
    shown = service.client.get(upload(service, SVG, "a.svg").json()["url"])
    policy = dict(part.strip().partition(" ")[::2] for part in shown.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["sandbox"] == ""
    assert "script-src" not in policy


def test_the_head_of_a_file_is_its_get_without_the_bytes(service: Service) -> None:
    """HEAD answers like GET, sizes included, with nothing in it."""
    url = upload(service, DOT).json()["url"]
    head, shown = service.client.head(url), service.client.get(url)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "content-disposition", "x-content-type-options"):
        assert head.headers[name] == shown.headers[name]
    assert service.client.head("/files/none.png").status_code == 404


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"hello world", "unreadable_image"),
        (b"", "unreadable_image"),
        (DOT[:20], "unreadable_image"),
        (b"%PDF-1.7\n", "unsupported_format"),
        (b"GIF89a" + b"\xff\xff\xff\xff" + bytes(20), "unreadable_image"),
    ],
)
def test_what_is_no_picture_is_not_kept(service: Service, content: bytes, code: str) -> None:
    """A file that no operation could use is refused at once, in the documented shape, about the field."""
    before = len(list(service.parts.settings.data_dir.glob("files/*")))
    answer = upload(service, content)
    assert assert_error(answer, 400, code)
    assert answer.json()["field"] == "file"
    assert len(list(service.parts.settings.data_dir.glob("files/*"))) == before


def test_a_form_that_is_wrong_is_told_about_its_own_field(service: Service) -> None:
    """A missing file, another field's name, text for a file and a second file are told with the name `file`."""
    post = service.client.post
    missing = post("/files", content=b"--x--\r\n", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert "file" in assert_error(missing, 400, "invalid_parameter")
    other = assert_error(post("/files", files={"image": ("a.png", DOT)}), 400, "invalid_parameter")
    assert "the picture belongs into file" in other
    text = post("/files", files={"file": (None, "text")})
    assert text.json()["field"] == "file"
    twice = post("/files", files=[("file", ("a.png", DOT)), ("file", ("b.png", DOT))])
    assert assert_error(twice, 400, "invalid_parameter") == "file: send one file, and more than one was sent"
    long = post("/files", files={"file": (None, bytes(70_000))})
    assert "in the field file" in assert_error(long, 400, "invalid_parameter")
    unknown = post("/files", files={"file": ("a.png", DOT)}, data={"name": "x"})
    assert "name is not a field" in assert_error(unknown, 400, "invalid_parameter")
    assert "in the field file" in assert_error(post("/files", json={"file": "x"}), 415, "unsupported_media_type")


def test_a_name_that_is_none_and_a_file_that_is_gone_are_told_apart(service: Service) -> None:
    """A name no file can have is a 404, one that may have been a file's a 410; neither looks beyond the files."""
    for name in ("none.png", "quotas.sqlite3", "0" * 43, "%00.png"):
        assert "POST /files" in assert_error(service.client.get(f"/files/{name}"), 404, "not_found")
    assert_error(service.client.get("/files/..%2Fquotas.sqlite3"), 404, "not_found")
    for name in ("0" * 43 + ".png", "f" * 43 + ".png"):
        assert "upload it again" in assert_error(service.client.get(f"/files/{name}"), 410, "result_expired")
    name = upload(service, DOT).json()["url"].rpartition("/")[2]
    assert_error(service.client.get(f"/results/{name}"), 410, "result_expired")


def test_an_uploads_url_is_a_picture_for_every_operation(service: Service) -> None:
    """The URL stands for the picture in the utilities, in a local edit and in an edit of the upstream's."""
    url = upload(service, photo_bytes("astronaut")).json()["url"]
    resized = service.post("/utils/photo_resize_url", {"image_url": url, "max_dim": 128})
    assert resized.status_code == 200, resized.text
    assert resized.json()["original_size"] == "512x512px"
    assert base64.b64decode(resized.json()["image_data"])
    cut = service.post("/remove_bg", {"image_url": url})
    assert cut.status_code == 200, cut.text
    fixed = service.post("/fix", {"base_image_url": url})
    assert fixed.status_code == 200, fixed.text
    assert fixed.json()["results"][0]["url"]


def test_an_upload_that_is_gone_is_told_where_it_is_used(service: Service) -> None:
    """An expired URL in a picture field is a 400 about that field."""
    url = f"{service.address}/files/{'0' * 43}.png"
    answer = service.post("/utils/photo_resize_url", {"image_url": url})
    assert answer.json()["field"] == "image_url"
    assert_error(answer, 400, "source_unreachable")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Service]:
    """A service that keeps few files, and asks for keys."""
    key = new_key()
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[keys]]\nname = "one"\nhash = "{key[1]}"\n')
    for service in run_service(tmp_path, files_max_count=5, files_max_bytes=4 * len(LARGER), api_keys_file=keys):
        service.client.headers["X-API-Key"] = key[0]
        yield service


def test_files_expire(tmp_path: Path) -> None:
    """A file is shown until the instant that was told, and is gone after it."""
    for service in run_service(tmp_path, files_seconds=0.9):
        body = upload(service, DOT).json()
        assert service.client.get(body["url"]).status_code == 200
        time.sleep(max(0.0, datetime.fromisoformat(body["expires_at"]).timestamp() - time.time()) + 0.01)
        assert_error(service.client.get(body["url"]), 410, "result_expired")


def test_files_are_bounded_in_number_and_size(small: Service) -> None:
    """However many are uploaded at once, no more than the settings allow stay, and the last is there."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: upload(small, DOT), range(24)))
    assert {answer.status_code for answer in answers} == {201}
    folder = small.parts.settings.data_dir / "files"
    assert len(list(folder.iterdir())) <= 5
    for _ in range(30):
        newest = upload(small, LARGER).json()["url"]
        assert sum(path.stat().st_size for path in folder.iterdir()) <= small.parts.settings.files_max_bytes
    assert small.client.get(newest).content == LARGER


def test_uploading_asks_for_a_key_and_showing_does_not(small: Service) -> None:
    """Where keys are given out, an upload needs one; the URL alone shows the file, as it does to a browser."""
    url = upload(small, DOT).json()["url"]
    del small.client.headers["X-API-Key"]
    assert_error(upload(small, DOT), 401, "unauthorized")
    assert small.client.get(url).status_code == 200


def test_a_file_that_cannot_be_kept_is_a_failure_without_a_path(tmp_path: Path) -> None:
    """A folder that can't be written is a 500 in the documented shape that shows no path."""
    (tmp_path / "files").write_text("in the way")
    for service in run_service(tmp_path):
        sentence = assert_error(upload(service, DOT), 500, "capability_missing")
        assert str(tmp_path) not in sentence


def test_the_document_says_what_files_do(service: Service) -> None:
    """The OpenAPI document has the form's one field, the reply, its Location and both ways of not being there."""
    paths = service.app.openapi()["paths"]
    made = paths["/files"]["post"]
    form = made["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert (form["required"], list(form["properties"])) == (["file"], ["file"])
    assert made["responses"]["201"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/FileReply"
    }
    assert "Location" in made["responses"]["201"]["headers"]
    assert {"400", "408", "413", "415", "500", "503"} <= set(made["responses"])
    shown = paths["/files/{name}"]["get"]["responses"]
    assert set(shown["200"]["content"]) >= {"image/png", "image/jpeg", "image/svg+xml"}
    for status, code in (("404", "not_found"), ("410", "result_expired")):
        example = shown[status]["content"]["application/json"]["example"]
        assert example["code"] == code
        assert "file" in example["error"]
    assert "result" not in shown["404"]["content"]["application/json"]["example"]["error"]
