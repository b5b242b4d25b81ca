"""The pages of the document, their assets and the sample pictures."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import Service, run_service
from imgapi.contract.samples import SAMPLES

PAGES = ("/docs", "/redoc")
ASSETS = ("icon.svg", "pages.css", "redoc-start.js", "redoc.standalone.js", "swagger-ui-bundle.js", "swagger-ui.css")


@pytest.mark.parametrize("page", PAGES)
def test_pages_run_only_what_this_service_serves(service: Service, page: str) -> None:
    """The policy of a page names no other host, and no script runs that stands in the page or is made of text."""
    answer = service.client.get(page)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "://" not in answer.text
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert not {"*", "http:", "https:"} & set(" ".join(policy.values()).split())
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_swagger_ui_needs_no_inline_styles(service: Service) -> None:
    """Only Redoc, which writes its styles into the page as it draws, may use inline ones."""
    policies = {page: service.client.get(page).headers["content-security-policy"] for page in PAGES}
    assert "unsafe" not in policies["/docs"]
    assert "style-src 'self' 'unsafe-inline';" in policies["/redoc"]


@pytest.mark.parametrize("page", PAGES)
def test_pages_find_their_files_below_any_address(service: Service, page: str) -> None:
    """Every link of a page is relative, so that a proxy may put the service below a path; each leads to a file."""
    text = service.client.get(page).text
    links = [part.partition('"')[0] for name in ("src", "href") for part in text.split(f'{name}="')[1:]]
    assert links
    for link in links:
        assert not link.startswith("/")
        assert service.client.get(f"/{link}").status_code == 200, link


@pytest.mark.parametrize("name", ASSETS)
def test_assets_are_sent_once(service: Service, name: str) -> None:
    """A browser that has a file is told that it is still good, and HEAD answers without the body."""
    path = f"/docs/assets/{name}"
    answer = service.client.get(path)
    assert answer.status_code == 200
    assert answer.content
    tag = answer.headers["etag"]
    again = service.client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    head = service.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))


def test_redoc_asks_nobody_for_a_logo(service: Service) -> None:
    """The one picture that Redoc would load from its maker is not in the script that is served."""
    assert "cdn.redoc.ly" not in service.client.get("/docs/assets/redoc.standalone.js").text


@pytest.mark.parametrize("path", ["/docs/assets/pages.py", "/docs/assets/..%2fpages.py", "/samples/none.jpg"])
def test_nothing_else_is_served(service: Service, path: str) -> None:
    """A name that is not one of ours is a documented 404."""
    answer = service.client.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_pictures_that_any_model_takes(service: Service, name: str) -> None:
    """A sample is a small JPEG whose sides need no preparation, and it carries no metadata."""
    answer = service.client.get(f"/samples/{name}")
    assert answer.headers["content-type"] == "image/jpeg"
    assert len(answer.content) < 100_000
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.format == "JPEG"
        assert min(picture.size) >= 512
        assert max(picture.size) <= 1024
        assert not picture.getexif()


def test_every_packaged_sample_has_its_name() -> None:
    """What is packaged is what the document may name."""
    packaged = {entry.name for entry in files("imgapi.api").joinpath("samples").iterdir()}
    assert packaged == set(SAMPLES)


def examples(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every example of a JSON body, with its path."""
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        for example in content.get("examples", {}).values():
            yield path, example["value"]


def test_examples_work_as_they_stand(service: Service) -> None:
    """Each example of the served document, sent as it is, succeeds; the seven JSON paths have one."""
    document = service.client.get("/openapi.json").json()
    tried = set()
    for path, body in examples(document):
        if {"image_url", "base_image_url", "person_image_url"} & set(body):
            answer = service.post(path, body)
            assert answer.status_code == 200, (path, answer.text)
            tried.add(path)
    assert len(tried) == 7


def test_examples_follow_the_address(tmp_path: Path) -> None:
    """Behind a proxy below a path, the examples lead to the public address, and are fetched without leaving."""
    public = "http://127.0.0.1:9/pictures"
    with contextmanager(run_service)(tmp_path, public_url=public) as service:
        document = service.client.get("/openapi.json").json()
        assert document["servers"][0]["url"] == "/pictures"
        path, body = next((path, body) for path, body in examples(document) if path == "/utils/photo_resize_url")
        assert body["image_url"].startswith(f"{public}/samples/")
        assert service.post(path, body).status_code == 200


def test_pages_can_be_switched_off(tmp_path: Path) -> None:
    """With `IMGAPI_DOCS=off` there is no page, no document and no file of theirs."""
    with contextmanager(run_service)(tmp_path, docs="off") as service:
        for path in (*PAGES, "/openapi.json", "/docs/assets/pages.css", "/samples/person.jpg"):
            assert service.client.get(path).status_code == 404
