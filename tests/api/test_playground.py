"""The playground's files, the words it says, and what it must not know by itself."""

import json
import re
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from conftest import Service, run_service
from imgapi import errors

FOLDER = files("imgapi.api").joinpath("playground")
FILES = {entry.name: entry.read_text(encoding="utf-8") for entry in FOLDER.iterdir()}
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}
ENGLISH: dict[str, str] = json.loads(FILES["en.json"])
CHINESE: dict[str, str] = json.loads(FILES["zh.json"])
PLURAL = re.compile(r"\.(one|other)$")
# The document is in English; these say it in Chinese.
CHINESE_ONLY = ("summary.", "description.", "about.")
# Written by the handlers of HTTP itself, beside the error tree.
HTTP_CODES = {"unauthorized", "not_found", "body_too_large", "request_timeout", "unsupported_media_type"}


def stems(words: dict[str, str]) -> set[str]:
    """The keys of a language, its plural forms taken as one."""
    return {PLURAL.sub("", key) for key in words}


@pytest.fixture(scope="module")
def operations(service: Service) -> dict[str, dict[str, Any]]:
    """The properties of each operation's request, as the document has them, by the last part of its path."""
    document = service.client.get("/openapi.json").json()
    found = {}
    for path, methods in document["paths"].items():
        if methods.get("post", {}).get("tags", [""])[0] in {"edits", "utils"}:
            schema = next(iter(methods["post"]["requestBody"]["content"].values()))["schema"]
            named = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)
            found[path.rpartition("/")[2]] = named["properties"]
    assert len(found) == 9
    return found


def test_page_runs_and_asks_only_what_this_service_serves(service: Service) -> None:
    """The policy lets no script, style or call come from or go to another host; only pictures may be elsewhere."""
    answer = service.client.get("/playground")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_page_has_nothing_inline_and_no_other_host() -> None:
    """No script, style or handler stands in the page, and no file names another host."""
    page = FILES["index.html"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    for name, text in FILES.items():
        hosts = set(re.findall(r"https?://[\w.-]+", text)) - {"http://www.w3.org"}
        assert not hosts, (name, hosts)
        assert "innerHTML" not in text, name


def test_every_file_is_found_below_any_address(service: Service) -> None:
    """The page's links are relative, so that a proxy may put it below a path; every file is served, and once only."""
    page = service.client.get("/playground").text
    links = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert {"playground/style.css", "playground/main.js"} <= set(links)
    assert not [link for link in links if link.startswith("/") or "://" in link]
    for name in set(FILES) - {"index.html"}:
        answer = service.client.get(f"/playground/{name}")
        assert answer.status_code == 200, name
        assert answer.text == FILES[name]
        again = service.client.get(f"/playground/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert service.client.head(f"/playground/{name}").headers["etag"] == answer.headers["etag"]


def test_scripts_name_files_that_are_there() -> None:
    """Every import is of a file of the folder, and every script is reached from the page."""
    reached, waiting = set(), {"main.js"}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= set(re.findall(r'from "\./([\w.-]+)"', SCRIPTS[name])) - reached
    assert reached == set(SCRIPTS)


@pytest.mark.parametrize("path", ["/playground/none.js", "/playground/..%2fplayground.py", "/playground/index.html"])
def test_nothing_else_is_served(service: Service, path: str) -> None:
    """A name that is not one of the page's files is a documented 404."""
    answer = service.client.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_page_is_off_with_the_document(tmp_path: Path) -> None:
    """With `IMGAPI_DOCS=off` there is no document to read, and no playground."""
    with contextmanager(run_service)(tmp_path, docs="off") as service:
        for path in ("/playground", "/playground/main.js"):
            assert service.client.get(path).status_code == 404


def test_both_languages_say_the_same() -> None:
    """What is said in one language is said in the other; only the document's own words are Chinese alone."""
    translated = {key for key in stems(CHINESE) if key.startswith(CHINESE_ONLY)}
    assert stems(CHINESE) - translated == stems(ENGLISH)
    for key in stems(ENGLISH) - {"page.title"}:
        names = [
            {
                name
                for text in (words.get(key), words.get(f"{key}.other"))
                if text
                for name in re.findall(r"\{\w+\}", text)
            }
            for words in (ENGLISH, CHINESE)
        ]
        assert names[0] == names[1], key


def test_every_word_that_is_used_is_there() -> None:
    """Each key that a script or the page names has its words, and no words wait for a key that nothing names."""
    text = "\n".join(FILES[name] for name in FILES if name.endswith((".js", ".html")))
    kinds = "|".join({key.partition(".")[0] for key in ENGLISH})
    whole = set(re.findall(rf'"((?:{kinds})(?:\.[\w-]+)+)"', text))
    assert whole <= stems(ENGLISH)
    # These are put together from a word of the document, of an answer, or of the page's state.
    begun = ("operation.", "field.", "group.", "problem.", "warning.", "maker.", "stage.", "boxes.")
    assert {key for key in stems(ENGLISH) - whole if not key.startswith(begun)} == set()


def test_every_failure_is_told_in_both_languages() -> None:
    """The heading of an error is in the reader's language, whichever failure it is."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ImgapiError)]
    codes = {kind.code for kind in kinds} | HTTP_CODES
    for words in (ENGLISH, CHINESE):
        assert {f"problem.{code}" for code in codes} - set(words) == set()


def test_every_operation_and_field_has_its_words(operations: dict[str, dict[str, Any]]) -> None:
    """Labels are there in both languages and descriptions in Chinese, for what the document has and nothing else."""
    fields = {name for properties in operations.values() for name in properties}
    labels = {f"operation.{name}" for name in operations} | {f"field.{name}" for name in fields}
    for words in (ENGLISH, CHINESE):
        assert labels - set(words) == set()
        shown = {key for key in words if key.startswith(("operation.", "field."))}
        assert shown - labels == {"field.optional", "field.default"}
    told = {f"{kind}.{name}" for kind in ("summary", "description") for name in operations}
    assert told == {key for key in CHINESE if key.startswith(("summary.", "description."))}
    for name, properties in operations.items():
        for field in properties:
            assert {f"about.{name}.{field}", f"about.{field}"} & set(CHINESE), (name, field)


def test_every_operation_has_its_icon(operations: dict[str, dict[str, Any]]) -> None:
    """The choice of an operation has a drawing."""
    assert set(operations) <= set(re.findall(r'<symbol id="(\w+)"', FILES["icons.svg"]))


def test_parameters_are_listed_nowhere_else(operations: dict[str, dict[str, Any]]) -> None:
    """No script names a parameter or its default: they are the document's; only pictures to compare are known."""
    known = {"image", "image_url", "base_image_url", "person_image_url"}
    sides = {"top_scale", "bottom_scale", "left_scale", "right_scale"}
    text = "\n".join(SCRIPTS.values())
    for properties in operations.values():
        for name, described in properties.items():
            if name not in known | sides | {"n", "boxes"}:
                assert f'"{name}"' not in text, name
            if isinstance(default := described.get("default"), str) and default:
                assert default not in text
