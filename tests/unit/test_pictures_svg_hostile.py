"""SVGs written to slip past the cleaner, or to keep it busy: what it sees is what a renderer sees, and soon."""

import base64
import gzip
import time
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from imgapi.errors import ImageTooLarge, UnreadableImage
from imgapi.pictures.fonts import with_installed_in_css
from imgapi.pictures.svg import render_svg
from imgapi.pictures.svg_clean import clean_svg
from imgapi.pictures.svg_document import intrinsic_size, parse_svg
from pictures import SVG_LEAD, encode, svg_bytes

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


INNER = f"{SVG_LEAD} width='40' height='40'><rect width='40' height='40' fill='#0000ff'/></svg>"
# Not a letter of base64 is in the marks of a comment.
PNG = base64.b64encode(encode(Image.new("RGB", (9, 9), "#ff0000"), "png")).decode().rstrip("=")
POLYGLOT = f"<!--{PNG}{'A' * (-len(PNG) % 4)}-->{INNER}"


@pytest.mark.parametrize(
    "reference",
    [
        f"data:text/plain;base64;x,{quote(POLYGLOT)}",
        f"data:text/plain;charset=base64,{quote(POLYGLOT)}",
        f"data:image/png;BASE64,{quote(POLYGLOT)}",
        f"data:image/png;base64,{PNG}url(data:image/svg+xml,{quote(INNER)})",
        f"#url(data:image/svg+xml,{quote(INNER)})",
        f"#u&#10;rl(data:image/svg+xml,{quote(INNER)})",
    ],
)
def test_what_was_cleaned_is_what_is_drawn(renderer: str, reference: str) -> None:
    """A URL that is a raster by one reading and a drawing by another is the raster or nothing, never the drawing."""
    body = f'<image href="{reference}" width="40" height="40"/><use href="{reference}"/>'
    drawn = np.asarray(render_svg(svg_bytes(body), renderer=renderer, **BOUNDS))
    assert not drawn[..., 2].any()


@pytest.mark.parametrize("name", ["href", "HREF", "\\68 ref", "hr/**/ef", "hre/*:*/f /**/", "href\n"])
def test_style_is_no_way_to_refer(renderer: str, name: str) -> None:
    """A style sets no reference, though CairoSVG takes each declaration for an attribute."""
    declaration = f"{name}: 'data:image/svg+xml,{quote(INNER)}'"
    image = '<image {} width="40" height="40"/>'
    for body in (
        image.format(f'style="{declaration}"'),
        f"<style>image {{ {declaration} }}</style>" + image.format(""),
    ):
        assert render_svg(svg_bytes(body), renderer=renderer, **BOUNDS).getbbox() is None


INSTALLED = {f"{generic}_family": generic for generic in ("serif", "sans_serif", "monospace", "font")}


@pytest.mark.parametrize(
    ("css", "written"),
    [
        (".font:hover { fill: red }", ".font:hover { fill: red }"),
        ("/* font: x */ fill: red", "/* font: x */ fill: red"),
        ('[id="font: a"] { fill: red }', '[id="font: a"] { fill: red }'),
        ("font-family:'A;B',serif;fill:red", "font-family:'A;B',\"serif\";fill:red"),
        ("font-family:/* a; */serif", 'font-family:/* a; */"serif"'),
        (".a{font:9px X!important}", '.a{font:9px X, "font"!important}'),
        ("@media x{.font:hover{font:9px X}}", '@media x{.font:hover{font:9px X, "font"}}'),
    ],
)
def test_only_declarations_of_fonts_are_written_anew(css: str, written: str) -> None:
    """Selectors, comments and strings that hold `font:` stay, and a family's name may hold a semicolon."""
    assert with_installed_in_css(css, INSTALLED) == written


@pytest.mark.parametrize("repeated", ["font:", "/*", '"font:', "font: '", "font:/*", "font ", "font:{", "'\""])
def test_fonts_are_found_at_once(repeated: str) -> None:
    """A style sheet in which a declaration could begin anew at each letter is searched in a moment."""
    started = time.process_time()
    with_installed_in_css(repeated * _REPEATED, INSTALLED)
    assert time.process_time() - started < 2


def test_attributes_of_a_doctype_do_not_multiply() -> None:
    """A DOCTYPE may give attributes to elements, but not so many or so long ones that these fill the memory."""
    document = "<!DOCTYPE svg [<!ATTLIST rect width CDATA '40' height CDATA '30'>]>" + svg_bytes("<rect/>").decode()
    assert render_svg(document.encode(), renderer="resvg", **BOUNDS).getbbox() == (0, 0, 40, 30)
    many = "".join(f" a{number} CDATA ''" for number in range(20))
    for defaults in (f"id CDATA '{'x' * 1000}'", many):
        document = f"<!DOCTYPE svg [<!ATTLIST g {defaults}>]>" + svg_bytes("<g/>").decode()
        with pytest.raises(UnreadableImage, match="too many attributes"):
            parse_svg(document.encode())


def test_predefined_entities_may_be_declared() -> None:
    """As the specification of XML writes them, a reference to a character within each (section 4.6)."""
    declared = '<!ENTITY lt "&#38;#60;"><!ENTITY amp "&#38;#38;"><!ENTITY a "1 &#38;lt; 2 &#38;#60; 3">'
    document = f"<!DOCTYPE svg [{declared}]>{SVG_LEAD}><text>&a; &lt;&amp;</text></svg>"
    assert "".join(parse_svg(document.encode()).itertext()) == "1 < 2 < 3 <&"


def embedding(document: bytes, times: int, media_type: str) -> bytes:
    """Write an SVG that embeds a document in so many pictures, gzipped."""
    url = f"data:{media_type};base64,{base64.b64encode(gzip.compress(document)).decode()}"
    return svg_bytes(f'<image width="1" height="1" href="{url}"/>' * times)


@pytest.mark.parametrize("end", ["</svg>", ""])
@pytest.mark.parametrize(
    ("entity", "uses"), [("x" * 1900, 1000), ("<g/>" * 400, 600)], ids=["as letters", "as elements"]
)
def test_entities_of_embedded_drawings_do_not_multiply(entity: str, uses: int, end: str) -> None:
    """What entities may become has one bound for all drawings that one embeds, damaged ones among them."""
    inner = f'<!DOCTYPE svg [<!ENTITY a "{entity}">]>{SVG_LEAD}><text>{"&a;" * uses}</text>{end}'
    root = parse_svg(embedding(inner.encode(), 20, "image/svg+xml"))
    started = time.process_time()
    with pytest.raises(ImageTooLarge, match="entities of the drawings"):
        clean_svg(root)
    assert time.process_time() - started < 5


def test_what_turns_out_to_be_no_drawing_is_counted() -> None:
    """Data of no stated type that unfold to megabytes are unfolded once or twice, not hundreds of times."""
    root = parse_svg(embedding(bytes(4 * 1024 * 1024), 3, ""))
    with pytest.raises(ImageTooLarge, match="more than 5 MB"):
        clean_svg(root)
