"""SVG rendering: the same by both renderers, and nothing of the machine gets in."""

import base64
import gzip
import io
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from imgapi.errors import ImageTooLarge, InvalidParameter, UnreadableImage
from imgapi.pictures.fonts import generic_families
from imgapi.pictures.premultiplied import straighten
from imgapi.pictures.signatures import sniff_format
from imgapi.pictures.svg import render_svg, render_svg_png
from imgapi.pictures.svg_clean import clean_svg
from imgapi.pictures.svg_document import parse_svg
from pictures import SVG_LEAD, draw_photo, encode, png_claiming, svg_bytes

# What references in CSS are made of, and what may stand between.
CSS_PIECES = (
    *("url(", "URL(", "image(", "image-set(", "src(", "cross-fade(", "rgb(1,2)", "(", ")", "@import", "@", "/*", "*/"),
    *("#a", '"', "'", " ", "\t", "\n", "\u2003", ";", "{", "}", "font-face", "data:,", "http://host.example/x"),
)
# What only the newer resvg is asked to draw, without a pixel of its own.
NEWER = '<svg width="0" height="0"/>'
BOUNDS: dict[str, Any] = {"max_pixels": 16_000_000, "max_side": 16_384, "max_bytes": 5 * 1024 * 1024}


def test_shapes_gradients_and_css_are_drawn(renderer: str) -> None:
    """Shapes, style sheets, gradients and references within the document come out."""
    body = (
        '<defs><linearGradient id="g"><stop offset="0" stop-color="#f00"/><stop offset="1" stop-color="#00f"/>'
        '</linearGradient><rect id="r" width="10" height="10" fill="#0f0"/></defs>'
        "<style>.a { fill: url(#g) }</style>"
        '<rect class="a" y="20" width="120" height="60"/><use xlink:href="#r" x="50"/>'
    )
    image = render_svg(svg_bytes(body), renderer=renderer, **BOUNDS)
    assert (image.mode, image.size) == ("RGBA", (120, 80))
    assert image.getpixel((55, 5)) == (0, 255, 0, 255)
    left, right = image.getpixel((3, 50)), image.getpixel((116, 50))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert (left[0] > 240, left[2] < 15) == (True, True)
    assert (right[2] > 240, right[0] < 15) == (True, True)
    assert image.getpixel((5, 5)) == (0, 0, 0, 0)


def test_text_is_drawn_where_a_font_is_installed() -> None:
    """Text of every generic family and of a font that isn't there leaves ink."""
    if not generic_families():
        pytest.skip("no font is installed")
    for family in ("sans-serif", "serif", "monospace", "cursive", "No Such Font"):
        body = f'<text x="5" y="60" font-size="40" font-family="{family}">Mg</text>'
        assert render_svg(svg_bytes(body), renderer="resvg", **BOUNDS).getbbox() is not None


def test_families_are_chosen_among_what_is_installed(tmp_path: Path) -> None:
    """Each generic family has one in the order of fontconfig; without a family, text has serifs."""
    for name in ("NotoSans", "NotoSerif", "NotoMono", "Yellowtail", "SedgwickAveDisplay"):
        (tmp_path / f"{name}-Regular.ttf").touch()
    (tmp_path / "DejaVuSans.ttf").touch()
    assert generic_families(folders=(str(tmp_path),)) == {
        "sans_serif_family": "Noto Sans",
        "serif_family": "Noto Serif",
        "monospace_family": "Noto Mono",
        "cursive_family": "Yellowtail",
        "fantasy_family": "Sedgwick Ave Display",
        "font_family": "Noto Serif",
    }


@pytest.mark.parametrize(
    "style",
    [
        'font-family="No Such Sans, Arial"',
        'style="font-family: Helvetica; fill: black"',
        "style=\"font: 40px 'Segoe UI'\"",
        'class="words"',
    ],
)
def test_well_known_families_have_stand_ins(style: str) -> None:
    """Where Arial and its like are missing, letters come without serifs, wherever the family is named."""
    families = generic_families()
    if not families or families["sans_serif_family"] == families["serif_family"]:
        pytest.skip("no fonts with and without serifs are installed")
    text = '<style>.words {{ font-family: "Arial" }}</style><text y="60" font-size="40" {}>Mgil</text>'
    drawn = [
        np.asarray(render_svg(svg_bytes(text.format(named)), renderer="resvg", **BOUNDS))
        for named in (style, 'font-family="Liberation Sans, Arial, sans-serif"', 'font-family="No Such Family"')
    ]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_any_font_is_better_than_none(tmp_path: Path) -> None:
    """Where none of the known families is installed, one of another name is taken; no font is no error."""
    font = ImageFont.load_default(size=12)
    assert isinstance(font, ImageFont.FreeTypeFont)
    (tmp_path / "A Damaged Font.ttf").touch()
    assert generic_families(folders=(str(tmp_path),)) == {}
    (tmp_path / "Some Font.otf").write_bytes(font.font_bytes)
    assert set(generic_families(folders=(f"{tmp_path}/.",)).values()) == {"Aileron"}


def test_chinese_is_drawn_in_the_family_asked_for() -> None:
    """Chinese without and with serifs differ, and Latin letters beside it are of the same family."""
    families = generic_families(cjk=True)
    if "CJK" not in families.get("sans_serif_family", "") or "CJK" not in families.get("serif_family", ""):
        if "fonts" in os.environ.get("IMGAPI_TEST_REQUIRE", ""):
            pytest.fail("fonts with Chinese are required: install fonts-noto-cjk")
        pytest.skip("no fonts with Chinese, with and without serifs, are installed (Debian: fonts-noto-cjk)")
    text = '<text y="40" font-size="30" font-family="{}">中文 abc</text>'
    asked = ("sans-serif", families["sans_serif_family"], "serif", families["serif_family"])
    drawn = [np.asarray(render_svg(svg_bytes(text.format(family)), renderer="resvg", **BOUNDS)) for family in asked]
    assert np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[2], drawn[3])
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ('width="1in" height="36pt"', (96, 48)),
        ('viewBox="0 0 50 20"', (50, 20)),
        ('viewBox="0 0 50 20" width="100"', (100, 40)),
        ('width="50%" height="100%" viewBox="0 0 50 20"', (25, 20)),
        ("", (300, 150)),
        ('width="10.4" height="40.5001"', (10, 41)),
        ('width="10.5" height="3.5"', (11, 4)),
        ('viewBox="0 0 33.3 44.4" height="70"', (53, 70)),
        ('viewBox="0 0 30 10" width="100 px" height="50"', (150, 50)),
        ('font-size="20" width="2em" height="4ex"', (40, 40)),
        ('style="fill:red; font-size: 150%" width="2em" height="1rem"', (48, 24)),
        ('font-size="large" width="2em" height="1in"', (32, 96)),
    ],
)
def test_intrinsic_size_is_what_is_rendered(renderer: str, attributes: str, size: tuple[int, int]) -> None:
    """Both renderers render at the size the header tells."""
    assert render_svg(svg_bytes("<g/>", attributes), renderer=renderer, **BOUNDS).size == size


def test_size_with_a_fraction_stretches_nothing() -> None:
    """What lies on whole pixels stays on them where the drawing ends within one."""
    image = render_svg(
        svg_bytes('<rect x="80" width="1" height="40.4"/>', 'width="100.4" height="40.4"'), renderer="resvg", **BOUNDS
    )
    assert image.size == (100, 40)
    assert image.getbbox() == (80, 0, 81, 40)
    assert image.getpixel((80, 39)) == (0, 0, 0, 255)


def test_em_is_sixteen_pixels_in_both_bindings() -> None:
    """Lengths in em don't depend on which binding draws."""
    for more in ("", NEWER):
        image = render_svg(svg_bytes('<rect width="2em" height="2ex"/>' + more), renderer="resvg", **BOUNDS)
        assert image.getbbox() == (0, 0, 32, 16)


def test_another_size_is_rendered_not_resampled(renderer: str) -> None:
    """A scale asks the vectors for more pixels."""
    image = render_svg(
        svg_bytes('<rect width="60" height="80"/>'),
        renderer=renderer,
        scale=lambda width, height: (width * 4, height * 4),
        **BOUNDS,
    )
    assert image.size == (480, 320)
    assert (image.getpixel((239, 10)), image.getpixel((240, 10))) == ((0, 0, 0, 255), (0, 0, 0, 0))


def cleaned(body: str) -> str:
    """Clean a document and give all its attribute values and texts."""
    root = parse_svg(svg_bytes(body))
    for embedded in clean_svg(root):
        embedded.put_back()
    parts = [part for element in root.iter() for part in (*element.attrib.values(), element.text or "")]
    return " | ".join(parts).lower()


@pytest.mark.parametrize(
    "body",
    [
        '<image href="/etc/passwd" width="9" height="9"/>',
        '<image xlink:href="file:///etc/passwd" width="9" height="9"/>',
        '<image href=" http://host.example/x.png" width="9" height="9"/>',
        '<image href="data:image/svg+xml;base64,PHN2Zy8+" width="9" height="9"/>',
        '<use href="other.svg#etc"/>',
        '<use href="data:image/svg+xml,etc"/>',
        '<filter id="f"><feImage href="http://host.example/x"/></filter>',
        '<rect style="fill: url(http://host.example/x#a)"/>',
        "<rect fill=\"url('file:///etc/x')\"/>",
        '<rect fill="url(&quot;http://host.example/)"/>',
        '<rect mask="URL( //host.example/x )"/>',
        '<rect style="fill: u\\72 l(http://host.example/x)"/>',
        "<style>@im@import;port 'http://host.example/x.css';</style>",
        "<style>@import 'http://host.example/x.css';</style>",
        "<style>@import url(http://host.example/x.css);</style>",
        "<style>@font-face { font-family: x; src: url(file:///etc/x) }</style>",
        "<style>rect { fill: url(/* */http://host.example/x) }</style>",
        "<style>rect { background: image-set('http://host.example/x' 1x) }</style>",
        "<style><![CDATA[ rect { fill: url(http://host.example/x) } ]]></style>",
        '<script href="http://host.example/x.js"/>',
        '<a href="http://host.example/"><rect/></a>',
        '<g xml:base="http://host.example/"><use href="#a"/></g>',
        '<?xml-stylesheet href="http://host.example/x.css"?>',
        '<rect onload="fetch(1, http://host.example/)"/>',
    ],
)
def test_references_to_the_outside_are_dropped(body: str) -> None:
    """Neither file nor host survives the cleaning, however it is spelled."""
    left = cleaned(body)
    assert "etc" not in left
    assert "host.example" not in left


def test_references_within_and_small_rasters_stay() -> None:
    """`#id`, in quotes or not, and an embedded PNG are what drawings are made of."""
    left = cleaned('<use href="#a"/><rect fill="url( \'#b\' )"/><style>.c{mask:url("#d")}</style>')
    assert all(name in left for name in ("#a", "#b", "#d"))


def test_text_after_what_is_taken_out_stays() -> None:
    """A script within a text leaves the letters after it, and its place among its siblings."""
    root = parse_svg(svg_bytes("<text>a<script>alert(1)</script>b<foreignObject><p>no</p></foreignObject>c</text>"))
    clean_svg(root)
    assert "".join(root.itertext()).strip() == "abc"
    assert len(root[0]) == 2


def test_refused_reference_is_not_stood_in_for() -> None:
    """`href` counts before `xlink:href`, refused or not, as SVG 2 says."""
    url = f"data:image/png;base64,{base64.b64encode(encode(draw_photo(8, 8), 'PNG')).decode()}"
    body = f'<image href="elsewhere.png" xlink:href="{url}" width="40" height="40"/>'
    assert render_svg(svg_bytes(body), renderer="resvg", **BOUNDS).getbbox() is None
    body = f'<image xlink:href="elsewhere.png" href="{url}" width="40" height="40"/>'
    assert render_svg(svg_bytes(body), renderer="resvg", **BOUNDS).getbbox() == (0, 0, 40, 40)


def test_base64_in_a_url_may_be_escaped() -> None:
    """A data URL's base64 with `%2B` and `%3D` in it is read, as a URL is."""
    data = quote(base64.b64encode(encode(draw_photo(8, 8), "PNG")).decode(), safe="")
    assert "%2B" in data
    body = f'<image href="data:image/png;base64,{data}" width="40" height="40"/>'
    assert render_svg(svg_bytes(body), renderer="resvg", **BOUNDS).getbbox() == (0, 0, 40, 40)


def test_nothing_is_read_from_disk(renderer: str, tmp_path: Any) -> None:
    """A raster on disk that a drawing points to leaves no pixel."""
    path = tmp_path / "secret.png"
    path.write_bytes(encode(draw_photo(40, 40), "png"))
    for reference in (path, path.as_uri()):
        body = f'<image href="{reference}" width="40" height="40"/>'
        assert render_svg(svg_bytes(body), renderer=renderer, **BOUNDS).getbbox() is None


def test_embedded_raster_is_drawn(renderer: str) -> None:
    """A data URL of a small PNG is drawn; one that claims to be huge is dropped."""

    def drawing(content: bytes) -> bytes:
        data = base64.b64encode(content).decode()
        return svg_bytes(f'<image href="data:image/png;base64,{data}" width="40" height="40"/>')

    assert render_svg(drawing(encode(draw_photo(8, 8), "png")), renderer=renderer, **BOUNDS).getbbox() is not None
    assert render_svg(drawing(png_claiming(30_000, 30_000)), renderer=renderer, **BOUNDS).getbbox() is None


SMALL = 'width="40" height="40"'


def embedding(inner: bytes, more: str = "", lead: str = "data:image/svg+xml;base64,") -> bytes:
    """Write a drawing that is another one in an image element."""
    url = lead + (base64.b64encode(inner).decode() if "base64" in lead else quote(inner))
    return svg_bytes(f'<image id="i" xlink:href="{url}" width="40" height="40"/>{more}')


@pytest.mark.parametrize(
    "lead",
    [
        "data:image/svg+xml;base64,",
        "data:image/svg+xml,",
        "data:IMAGE/SVG+XML;charset=utf-8,",
        "data:;base64,",
        "data:,",
    ],
)
def test_embedded_svg_is_drawn(renderer: str, lead: str) -> None:
    """A drawing within a drawing is shown, as browsers do, in every way of writing its URL."""
    inner = svg_bytes('<rect width="40" height="40" fill="#0000ff"/>', SMALL)
    image = render_svg(embedding(inner, lead=lead), renderer=renderer, **BOUNDS)
    assert image.getpixel((20, 20)) == (0, 0, 255, 255)


def test_embedded_svg_may_be_packed(renderer: str) -> None:
    """A drawing embedded in gzip is drawn; one that unpacks to more than a drawing may have is refused."""
    inner = gzip.compress(svg_bytes('<rect width="40" height="40" fill="#0000ff"/>', SMALL))
    assert render_svg(embedding(inner), renderer=renderer, **BOUNDS).getpixel((20, 20)) == (0, 0, 255, 255)
    assert render_svg(embedding(inner[:30]), renderer=renderer, **BOUNDS).getbbox() is None
    bomb = gzip.compress(svg_bytes(" " * 6_000_000))
    assert len(bomb) < 10_000
    with pytest.raises(ImageTooLarge, match="embeds drawings of more than 5 MB"):
        render_svg(embedding(bomb), renderer=renderer, **BOUNDS)


def test_text_of_an_embedded_svg_is_drawn() -> None:
    """The fonts are there for a drawing whose only text is in the one that it embeds."""
    inner = svg_bytes('<text x="2" y="30" font-size="20">Ab</text>', SMALL)
    whole = render_svg(inner, renderer="resvg", **BOUNDS).getbbox()
    assert render_svg(embedding(inner), renderer="resvg", **BOUNDS).getbbox() == whole


def test_embedded_svg_is_cleaned_likewise(renderer: str, tmp_path: Any) -> None:
    """What it refers to outside, on disk or in a third drawing, is dropped; the rest of it is drawn."""
    path = tmp_path / "secret.png"
    path.write_bytes(encode(draw_photo(40, 40), "png"))
    third = base64.b64encode(svg_bytes('<rect width="40" height="40"/>')).decode()
    for reference in (str(path), path.as_uri(), f"data:image/svg+xml;base64,{third}"):
        inner = svg_bytes(f'<rect width="9" height="9"/><image href="{reference}" width="40" height="40"/>', SMALL)
        assert render_svg(embedding(inner), renderer=renderer, **BOUNDS).getbbox() == (0, 0, 9, 9)


@pytest.mark.parametrize(
    "inner", ["not XML", "<svg/>", "<!DOCTYPE svg [<!ENTITY a SYSTEM 'b'>]><svg>&a;</svg>", "<g>" * 500]
)
def test_unsound_embedded_svg_is_dropped(renderer: str, inner: str) -> None:
    """What is no drawing, or one that would be refused by itself, leaves no pixel, and the rest is drawn."""
    image = render_svg(embedding(inner.encode(), '<rect width="9" height="9"/>'), renderer=renderer, **BOUNDS)
    assert image.getbbox() == (0, 0, 9, 9)


def test_references_multiply_embedded_drawings_too() -> None:
    """The elements of an embedded drawing count as often as its image is referred to."""
    uses = '<use href="#i"/>' * 600
    inner = svg_bytes('<g id="a">' + "<g/>" * 1000 + "</g>" + '<use href="#a"/>')
    render_svg(embedding(svg_bytes("<g/>"), uses), renderer="resvg", **BOUNDS)
    with pytest.raises(ImageTooLarge, match="expand to more than 1000000"):
        render_svg(embedding(inner, uses), renderer="resvg", **BOUNDS)


@given(st.lists(st.sampled_from(CSS_PIECES), max_size=9).map("".join))
def test_attributes_lose_what_loads_however_it_is_put_together(value: str) -> None:
    """An attribute without escapes, most of which need no cleaning, comes out as one with an escape does."""
    plain, escaped = (parse_svg(svg_bytes("<rect/>")) for _ in range(2))
    plain[0].set("fill", f"({value}")
    escaped[0].set("fill", f"\\28 {value}")
    clean_svg(plain)
    clean_svg(escaped)
    assert plain[0].get("fill") == escaped[0].get("fill")


def entity_bomb() -> bytes:
    """Write a document whose entities expand a million-fold."""
    lines = ['<!ENTITY a0 "boom">'] + [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 7)]
    return f"<!DOCTYPE svg [{''.join(lines)}]>{SVG_LEAD}><text>&a6;</text></svg>".encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (entity_bomb(), "entities"),
        (f'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>{SVG_LEAD}>&x;</svg>'.encode(), "entities"),
        (svg_bytes("<g>" * 5000 + "</g>" * 5000), "nests more than 200"),
        (svg_bytes("<g/>" * 250_001), "more than 250000 elements"),
        (svg_bytes()[:-10], "well-formed"),
        (b'<?xml version="1.0" encoding="no-such"?>' + svg_bytes(), "well-formed"),
        (b"<html xmlns='http://www.w3.org/1999/xhtml'><svg/></html>", "root"),
    ],
)
def test_hostile_documents_are_refused(content: bytes, words: str) -> None:
    """Entities, depth and breadth are refused before a renderer sees the document."""
    with pytest.raises(UnreadableImage, match=words):
        render_svg(content, renderer="resvg", **BOUNDS)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("GBK", "中文"),
        ("gb2312", "中文"),
        ("GB18030", "中文"),
        ("Big5", "中文"),
        ("Shift_JIS", "日本"),
        ("EUC-KR", "한국"),
        ("windows-1251", "Привет"),
        ("UTF-16", "中文"),
    ],
)
def test_encodings_of_letters_are_read(encoding: str, text: str) -> None:
    """What the declaration says of the bytes holds, for Chinese, Japanese and Korean too."""
    lead = f'<?xml version="1.0" encoding="{encoding}"?>{SVG_LEAD}'
    content = f'{lead} width="9" height="9"><title>{text}</title></svg>'.encode(encoding)
    assert parse_svg(content)[0].text == text
    assert sniff_format(content) == "svg"


@pytest.mark.parametrize("encoding", ["no-such", "rot13", "base64", "gbk"])
def test_encodings_that_do_not_fit_are_refused(encoding: str) -> None:
    """An unknown encoding, one of no letters, and bytes that are none of the encoding's."""
    content = f'<?xml version="1.0" encoding="{encoding}"?>{SVG_LEAD}><title>'.encode() + b"\xff\xff</title></svg>"
    with pytest.raises(UnreadableImage):
        parse_svg(content)


def test_references_that_multiply_are_refused() -> None:
    """Ten levels of tenfold `use` are counted, not drawn; so are patterns within patterns."""
    levels = '<g id="l0"><rect width="1" height="1"/></g>'
    for level in range(1, 9):
        levels += f'<g id="l{level}">' + f'<use href="#l{level - 1}"/>' * 10 + "</g>"
    with pytest.raises(ImageTooLarge, match="expand to more than"):
        render_svg(svg_bytes(f'<defs>{levels}</defs><use href="#l8"/>'), renderer="resvg", **BOUNDS)


def test_circles_of_references_end(renderer: str) -> None:
    """A `use` that reaches itself is drawn as nothing or refused, and ends."""
    body = '<g id="a"><use href="#b"/></g><g id="b"><use href="#a"/></g><use href="#a"/>'
    with suppress(UnreadableImage):
        assert render_svg(svg_bytes(body), renderer=renderer, **BOUNDS).size == (120, 80)


def test_nested_transform_functions_are_dropped() -> None:
    """A transform list that nests, on which a parser can spend minutes, is left out."""
    assert "matrix" not in cleaned(f'<rect transform="{"matrix(" * 1000}"/>')
    assert "rotate" in cleaned('<rect transform="rotate(4) scale(2 3)"/>')


@pytest.mark.parametrize("octaves", ["2147483647", "1e9", " 4000000000 "])
def test_octaves_of_noise_that_nobody_sees_are_left_out(octaves: str) -> None:
    """Noise of any number of octaves is drawn at once, and looks like that of ten."""
    body = '<filter id="f"><feTurbulence baseFrequency="0.05" numOctaves="{}"/></filter><rect {}'
    drawn = [
        render_svg(
            svg_bytes(body.format(number, 'width="40" height="40" filter="url(#f)"/>')), renderer="resvg", **BOUNDS
        )
        for number in ("10", octaves)
    ]
    assert np.array_equal(np.asarray(drawn[0]), np.asarray(drawn[1]))


@pytest.mark.parametrize("more", ["", NEWER])
def test_what_makes_the_renderer_panic_is_refused(more: str) -> None:
    """A number beyond what the renderer can count is the caller's error, and ends no worker."""
    body = '<filter id="f"><feOffset dy="999999999999999999990"/></filter><circle cy="20" r="20" filter="url(#f)"/>'
    with pytest.raises(UnreadableImage, match="can't be rendered"):
        render_svg(svg_bytes(body + more), renderer="resvg", **BOUNDS)


def test_size_is_bounded_before_rendering() -> None:
    """Pixels beyond the limit are refused, at the intrinsic and at an asked-for size."""
    with pytest.raises(ImageTooLarge, match=r"10000x10000 pixels \(100.0 megapixels\); at most 16"):
        render_svg(svg_bytes(attributes='width="10000" height="10000"'), renderer="resvg", **BOUNDS)
    with pytest.raises(ImageTooLarge):
        render_svg(svg_bytes(), renderer="resvg", scale=lambda _w, _h: (9000, 9000), **BOUNDS)
    with pytest.raises(ImageTooLarge, match="svg"):
        render_svg(svg_bytes(), renderer="resvg", max_pixels=100_000, max_side=1000, max_bytes=10)


def test_renderer_names_are_closed() -> None:
    """Another renderer's name is refused with the choices."""
    with pytest.raises(InvalidParameter, match="resvg, cairosvg"):
        render_svg(svg_bytes(), renderer="inkscape", **BOUNDS)


def test_importing_needs_neither_renderer() -> None:
    """The module that renders imports no renderer until one is needed."""
    program = "import sys, imgapi.pictures.convert; sys.exit('cairosvg' in sys.modules or 'resvg_py' in sys.modules)"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, check=False, timeout=30).returncode == 0


def test_missing_renderers_are_stood_in_for_or_named() -> None:
    """Without resvg_py CairoSVG renders; without both, the error says what to install."""
    program = """
import sys
sys.modules["resvg_py"] = None
if sys.argv[1] == "none":
    sys.modules["cairosvg"] = None
from imgapi.errors import CapabilityMissing
from imgapi.pictures.fonts import generic_families
from imgapi.pictures.svg import render_svg, render_svg_png
try:
    image = render_svg(b'<svg xmlns="http://www.w3.org/2000/svg" width="7" height="5"/>',
                       renderer="resvg", max_pixels=100, max_side=100, max_bytes=1000)
    assert image.size == (7, 5)
except CapabilityMissing as error:
    assert "libcairo" in error.message
    print("missing")
"""
    for argument in ("none", "cairosvg"):
        command = [sys.executable, "-c", program, argument]
        done = subprocess.run(
            command,
            check=True,
            timeout=30,
            capture_output=True,
            text=True,
        )
        if argument == "none":
            assert done.stdout == "missing\n"


SHAPES = (
    '<defs><linearGradient id="g"><stop stop-color="red"/><stop offset="1" stop-color="blue" stop-opacity="0.3"/>'
    '</linearGradient><filter id="f"><feGaussianBlur stdDeviation="3"/></filter>'
    '<radialGradient id="r" fx="30%"><stop stop-color="gold"/><stop offset="1"/></radialGradient></defs>'
    '<rect x="5" y="5" width="60" height="40" rx="9" fill="url(#g)" stroke="#123" stroke-width="1.5"/>'
    '<circle cx="70" cy="60" r="25" fill="url(#r)" filter="url(#f)" opacity="0.8"/>'
    '<path d="M10 90 Q 50 20 90 90 T 110 70" fill="none" stroke="green" stroke-dasharray="4 2"/>'
)
SIZE = 'width="120" height="100" viewBox="0 0 120 100"'


def both(body: str, attributes: str = SIZE) -> tuple[Any, Any]:
    """Draw something the faster way, and by the newer resvg."""
    documents = (svg_bytes(body, attributes), svg_bytes(body + NEWER, attributes))
    fast, full = (np.asarray(render_svg(document, renderer="resvg", **BOUNDS)) for document in documents)
    return fast, full


def test_both_bindings_of_resvg_draw_the_same() -> None:
    """A drawing goes the faster way where it can, and no pixel differs."""
    fast, full = both(SHAPES)
    assert np.array_equal(fast, full)
    assert fast[:, :, 3].any()


@pytest.mark.parametrize(
    "text",
    [
        '<text y="40">Plain AVA ffi</text>',
        '<text y="40" font-family="No Such Family">Unknown</text>',
        '<text y="40" font-family="No Such Family, monospace">Known last</text>',
        '<text y="40" style="font: italic bold 20px/2 sans-serif">Shorthand</text>',
        "<style>text { font: 20px 'No Such', cursive }</style><text y=\"40\">Styled</text>",
        '<g font-family="sans-serif"><text y="40" font-family="inherit">Inherited</text></g>',
        '<text y="40" font-family="serif">中文 with letters</text>',
        '<text x="60" y="40" text-anchor="middle" letter-spacing="2" text-decoration="underline">Spaced</text>',
        '<path id="p" d="M5 40 Q 60 90 115 30" fill="none"/><text><textPath xlink:href="#p">Bent</textPath></text>',
        '<text y="40">א <tspan font-weight="bold">עברית</tspan></text>',
        '<text y="40">हिन्दी</text>',
        '<text y="40" font-size="30">z\u0348\u0324\u032d\u0356a\u0333\u036b\u0301o\u0307\u0311\u033d</text>',
        '<text y="40" font-size="30" dominant-baseline="middle">Hello AVA fi</text>',
    ],
)
def test_both_bindings_of_resvg_write_the_same(text: str) -> None:
    """Texts come out alike, their fonts found by name, by generic family, or at a loss."""
    fast, full = both(text)
    assert np.array_equal(fast, full)
    assert fast[:, :, 3].any() or not generic_families()


@pytest.mark.parametrize(
    "attributes",
    [
        SIZE,
        'width="120" height="100"',
        'width="1.3in" height="0.9in"',
        'viewBox="-5 -5 130 110"',
        'width="120" height="60" viewBox="0 0 120 100"',
        'width="120" height="60" viewBox="0 0 120 100" preserveAspectRatio="xMinYMin slice"',
        'width="120" height="100" viewBox="0 0 0 0"',
    ],
)
def test_another_size_is_drawn_alike_by_both_bindings(attributes: str) -> None:
    """A drawing asked for in another size is stretched to it, by a pixel of rounding too, whoever draws it."""
    percent = '<rect x="10%" y="20%" width="30%" height="40%" opacity="0.5"/>'
    bounds = BOUNDS | {"scale": lambda _width, _height: (317, 211)}
    for body in (SHAPES, percent):
        fast, full = (
            np.asarray(render_svg(svg_bytes(body + more, attributes), renderer="resvg", **bounds))
            for more in ("", NEWER)
        )
        assert fast.shape == (211, 317, 4)
        assert np.array_equal(fast, full)


def test_another_size_is_reached_to_the_pixel() -> None:
    """Half of a drawing is half of the picture, where rounding has changed its ratio of sides too."""
    body = '<rect width="50%" height="50%"/>'
    for more in ("", NEWER):
        image = render_svg(
            svg_bytes(body + more, 'width="1.3in" height="0.9in"'),
            renderer="resvg",
            scale=lambda *_: (1334, 916),
            **BOUNDS,
        )
        assert image.getbbox() == (0, 0, 667, 458)
        assert image.getchannel("A").getextrema() == (0, 255)


@pytest.mark.parametrize(
    "body",
    [
        (
            '<path id="way" d="M10 50C18 68 42 68 50 50 58 32 82 32 90 50" fill="none"/>'
            '<text font-size="12"><textPath href="#way">Some long text</textPath></text>'
        ),
        (
            '<defs><linearGradient id="g"><stop stop-color="red"/><stop offset="1" stop-color="blue"/></linearGradient>'
            '<g id="a"><text x="10" y="60" font-size="40" fill="context-fill" stroke="black">Text</text></g></defs>'
            '<use href="#a" fill="url(#g)"/>'
        ),
    ],
    ids=["text on a path", "paint of its context"],
)
def test_what_the_renderer_lays_out_by_the_documents_size_is_scaled_after(body: str) -> None:
    """Its pixels are those that the renderer makes when it is told a size; other ratios of sides are stretched."""
    resvg_py = pytest.importorskip("resvg_py")
    text = svg_bytes(body, SIZE)
    scaled = render_svg(text, renderer="resvg", **BOUNDS | {"scale": lambda *_: (180, 150)})
    told = resvg_py.svg_to_bytes(svg_string=text.decode(), width=180, height=150, dpi=96, **generic_families())
    assert np.array_equal(np.asarray(scaled), np.asarray(Image.open(io.BytesIO(bytes(told)))))
    stretched = render_svg(text, renderer="resvg", **BOUNDS | {"scale": lambda *_: (181, 149)})
    assert stretched.size == (181, 149)


def test_premultiplied_colours_are_divided_as_resvg_does() -> None:
    """Each colour of each alpha is divided to the nearest step; clear stays clear, opaque stays as it is."""
    alpha, colour = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    colour = np.minimum(colour, alpha)
    pixels = np.stack([colour, np.zeros_like(colour), colour, alpha], axis=2).astype(np.uint8)
    straight = straighten(pixels)
    exact = np.floor(colour / np.maximum(alpha, 1) * 255 + 0.5).astype(np.int16)
    assert np.array_equal(straight[..., 3], pixels[..., 3])
    assert not straight[..., 1].any()
    # Halves fall either way where a float is not the fraction.
    assert np.abs(straight[..., 0] - exact).max() <= 1
    assert np.mean(straight[..., 0] != exact) < 0.001
    assert np.array_equal(straight[..., 0], straight[..., 2])


def test_languages_are_chosen_alike_by_both_bindings() -> None:
    """Where a drawing offers languages, English is taken by whichever resvg draws it."""
    body = (
        '<switch><rect systemLanguage="de" width="9" height="9" fill="red"/>'
        '<rect systemLanguage="en" width="9" height="9" fill="lime"/><rect width="9" height="9"/></switch>'
    )
    for more in ("", NEWER):
        assert render_svg(svg_bytes(body + more), renderer="resvg", **BOUNDS).getpixel((4, 4)) == (0, 255, 0, 255)


@pytest.mark.parametrize(
    "body",
    [
        '<svg transform="rotate(45 60 50)" x="40" y="30" width="40" height="40"><rect width="40" height="40"/></svg>',
        (
            '<defs><radialGradient id="g" fr="100%"><stop stop-color="red"/><stop offset="1" stop-color="lime"/>'
            '</radialGradient></defs><circle cx="60" cy="50" r="40" fill="url(#g)"/>'
        ),
    ],
    ids=["turned frame", "focal radius"],
)
def test_what_the_older_resvg_does_not_know_is_left_to_the_newer(body: str) -> None:
    """SVG 2's transform of an inner frame and focal radius are drawn."""
    by_itself, full = both(body)
    assert np.array_equal(by_itself, full)


def test_rendering_is_handed_on_as_a_clean_png() -> None:
    """The renderer's own PNG goes out with sRGB stated and nothing else said."""
    content = render_svg_png(svg_bytes(SHAPES, attributes=SIZE), renderer="resvg", **BOUNDS)
    names = [content[place : place + 4] for place in (12, 37)]
    assert names == [b"IHDR", b"sRGB"]
    with Image.open(io.BytesIO(content)) as image:
        assert (image.mode, image.size) == ("RGBA", (120, 100))
        assert not set(image.info) - {"srgb"}
