"""The OpenAPI document held against the rules of Redocly and Spectral."""

from pathlib import Path

from node import need_node, run_program

ROOT = Path(__file__).parent.parent.parent


def test_document_has_no_findings() -> None:
    """Redocly and Spectral find nothing in openapi.json, not even a hint."""
    need_node()
    said = run_program("sh", "scripts/lint-openapi", folder=ROOT)
    assert "No results" in said
