"""The OpenAPI document says exactly what the service does, and the committed one is current."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from imgapi.api.gate import is_open
from imgapi.api.openapi import written
from imgapi.app import create_app
from imgapi.cli import cli
from imgapi.settings import Settings

ROOT = Path(__file__).parent.parent.parent
OPERATIONS = {"get", "post", "put", "delete", "patch", "head"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document as the service serves it."""
    return create_app(Settings.model_construct()).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every operation with its path."""
    return [
        (path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in OPERATIONS
    ]


def test_committed_document_is_current(document: dict[str, Any]) -> None:
    """`openapi.json` is what the code generates."""
    assert (ROOT / "openapi.json").read_text(encoding="utf-8") == written(document)


def test_check_notices_a_stale_document(tmp_path: Path) -> None:
    """`imgapi openapi --check` fails on a document that is not what the code generates."""
    stale = tmp_path / "openapi.json"
    stale.write_text("{}")
    result = CliRunner().invoke(cli, ["openapi", "--check", str(stale)])
    assert result.exit_code == 1


def test_version_and_no_phantom_422(document: dict[str, Any]) -> None:
    """It is OpenAPI 3.1, and no operation claims FastAPI's 422 or its schemas."""
    assert document["openapi"].startswith("3.1")
    assert "ValidationError" not in json.dumps(document)


def test_document_says_whom_and_where_to_ask(document: dict[str, Any]) -> None:
    """It has a server without a host, a contact and a license, and each tag that is used is described."""
    assert [server["url"] for server in document["servers"]] == ["/"]
    assert document["info"]["contact"]["name"]
    assert document["info"]["license"]["identifier"] == "MIT"
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    assert {tag for _, operation in operations(document) for tag in operation["tags"]} <= described


def test_what_asks_for_no_key_says_so(document: dict[str, Any]) -> None:
    """Paths that are open even where keys are given out need none; every other declares the refusals of keys."""
    for path, operation in operations(document):
        if is_open(path):
            assert operation["security"] == [], path
            continue
        assert "security" not in operation, path
        for status in ("401", "429"):
            content = operation["responses"][status]["content"]["application/json"]
            assert content["schema"] == {"$ref": "#/components/schemas/ErrorReply"}, (path, status)


def test_operations_are_named_tagged_and_described(document: dict[str, Any]) -> None:
    """Each operation has a unique verb_noun id, one declared tag, a summary and a description."""
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in document["tags"]}
    for path, operation in operations(document):
        assert "_" in operation["operationId"], path
        assert operation["operationId"].replace("_", "").isalpha()
        assert len(operation["tags"]) == 1
        assert operation["tags"][0] in tags
        assert operation["summary"]
        assert operation["description"]


def test_errors_are_declared_in_their_shape(document: dict[str, Any]) -> None:
    """Every operation of the nine declares the errors it answers, each with the documented shape and an example."""
    for path, operation in operations(document):
        if operation["tags"][0] not in {"edits", "utils"}:
            continue
        for status in ("400", "408", "413", "415", "500", "503"):
            content = operation["responses"][status]["content"]["application/json"]
            assert content["schema"] == {"$ref": "#/components/schemas/ErrorReply"}, (path, status)
            assert {"error", "code", "request_id"} <= set(content["example"])
        assert "Retry-After" in operation["responses"]["503"]["headers"]


def test_results_declare_both_ways_of_not_being_there(document: dict[str, Any]) -> None:
    """A name that can't be a result and a result that is gone are declared apart."""
    responses = document["paths"]["/results/{name}"]["get"]["responses"]
    for status, code in (("404", "not_found"), ("410", "result_expired")):
        content = responses[status]["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/ErrorReply"}
        assert content["example"]["code"] == code


def test_replies_have_no_defaults_and_no_nulls(document: dict[str, Any]) -> None:
    """A default would make a field optional in generated clients; an absent field is absent, never null."""
    for name, schema in document["components"]["schemas"].items():
        if name != "Box" and not name.endswith("Request"):
            text = json.dumps(schema)
            assert '"default"' not in text, name
            assert '"null"' not in text, name


def test_uploads_are_binary(document: dict[str, Any]) -> None:
    """Files are `format: binary`, as client generators expect."""
    for path in ("/utils/photo_resize", "/utils/convert_to_png"):
        content = document["paths"][path]["post"]["requestBody"]["content"]
        schema = content["multipart/form-data"]["schema"]
        assert schema["properties"]["image"]["format"] == "binary"
        assert schema["required"] == ["image"]
    assert "contentMediaType" not in json.dumps(document)


def test_json_requests_have_examples(document: dict[str, Any]) -> None:
    """Each JSON request has an example with its required fields."""
    for path, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" not in content:
            continue
        name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
        schema = document["components"]["schemas"][name]
        assert schema["additionalProperties"] is False
        examples = [example["value"] for example in content["application/json"]["examples"].values()]
        assert examples, path
        for example in examples:
            assert set(schema["required"]) <= set(example), path


def test_pictures_are_declared_beside_json(document: dict[str, Any]) -> None:
    """The utilities declare the picture itself, binary, with the headers that tell its size."""
    for path in ("/utils/photo_resize", "/utils/photo_resize_url", "/utils/convert_to_png"):
        answer = document["paths"][path]["post"]["responses"]["200"]
        assert next(iter(answer["content"])) == "application/json"
        for media_type in ("image/png", "image/jpeg", "image/webp"):
            assert answer["content"][media_type]["schema"] == {"type": "string", "format": "binary"}
        assert {"X-Image-Width", "X-Image-Height", "X-Original-Width", "X-Original-Height", "Vary"} <= set(
            answer["headers"]
        )
