"""SVGs written to slip past the cleaner, or to keep it busy: what it sees is what a renderer sees, and soon."""

import time
from typing import Any

import pytest

from imgapi.pictures.svg import render_svg
from imgapi.pictures.svg_clean import clean_svg
from imgapi.pictures.svg_document import intrinsic_size, parse_svg
from pictures import svg_bytes

_REPEATED = 200_000
BOUNDS: dict[str, Any] = {"max_pixels": 16_000_000, "max_side": 16_384, "max_bytes": 5 * 1024 * 1024}


@pytest.mark.parametrize(
    "body",
    [
        f'<rect fill="url({" " * _REPEATED}x"/>',
        f'<rect fill="url({" " * _REPEATED}#"/>',
        f'<rect fill="url({"&#9;" * _REPEATED}#"/>',
        f'<rect fill="{"url(" * _REPEATED}"/>',
        f'<rect style="{"/*" * _REPEATED}("/>',
        f"<style>{'@font-face ' * _REPEATED}</style>",
    ],
)
def test_cleaning_is_linear(body: str) -> None:
    """A value on which a search could begin anew at each of its letters is cleaned in a moment."""
    root = parse_svg(svg_bytes(body))
    started = time.process_time()
    clean_svg(root)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("attributes", ['width="{}#"', 'width="1em" style="font-size:{}#"', 'viewBox="{}#"'])
@pytest.mark.parametrize("repeated", ["1", " ", ".", "1 "])
def test_size_is_told_at_once(attributes: str, repeated: str) -> None:
    """So is a length or a list of numbers that goes on and on and then is none."""
    root = parse_svg(svg_bytes("<g/>", attributes.format(repeated * _REPEATED)))
    started = time.process_time()
    intrinsic_size(root)
    assert time.process_time() - started < 2


def test_elements_of_no_namespace_are_not_drawn(renderer: str) -> None:
    """What leaves the namespace of SVG is no part of the drawing, as in browsers, and no way around the cleaner."""
    body = '<rect xmlns="" width="40" height="40"/><style xmlns="">rect { width: 40px }</style>'
    assert render_svg(svg_bytes(body), renderer=renderer, **BOUNDS).getbbox() is None
    noise = '<filter id="f"><feTurbulence xmlns="" baseFrequency="0.1" numOctaves="99999999"/></filter>'
    rect = '<rect width="40" height="40" filter="url(#f)"/>'
    render_svg(svg_bytes(noise + rect), renderer=renderer, **BOUNDS)
