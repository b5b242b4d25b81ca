"""SVG to pixels by a choice of renderer, the document cleaned and its size bounded before."""

import importlib
import io
import re
import resource
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from math import isclose
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgapi.errors import CapabilityMissing, InvalidParameter, UnreadableImage
from imgapi.pictures.chunks import state_colours
from imgapi.pictures.encode import encode_png
from imgapi.pictures.fonts import families_for, with_installed, with_installed_in_css
from imgapi.pictures.limits import check_size
from imgapi.pictures.png_writer import write_samples
from imgapi.pictures.premultiplied import straighten
from imgapi.pictures.rasters import decoding
from imgapi.pictures.svg_clean import EmbeddedSvg, clean_svg
from imgapi.pictures.svg_document import FONT_SIZE, SVG, intrinsic_size, read_svg, rendered_size, stretch
from imgapi.pictures.worker_process import address_space_bytes

RENDERERS = ("resvg", "cairosvg")
_DPI = 96
# What `systemLanguage` is compared with; resvg's own choice, which only one of its bindings makes.
_LANGUAGE = "en"
_PANIC = "PanicException"
# Variations of a font, baselines but the usual one, accents above accents, and letters: from Hebrew to the Vedic ones,
# the presentation forms of these scripts, and what is beyond the 16-bit plane but Chinese.
_NEWER_TEXT = re.compile(
    "font-variation|(?:dominant|alignment)-baseline|[\u0300-\u036f]{2}|"
    "[\u0590-\u1dff\ufb1d-\ufdff\ufe70-\ufeff\U00010000-\U0001ffff]"
)
# Sixteen layers of the largest drawing. A worker may take more, for pictures whose size is told before they are read.
_MAX_MEMORY_BYTES = 1024**3

ET.register_namespace("", SVG[1:-1])
ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")

Scale = Callable[[int, int], tuple[int, int]]


def render_svg(
    content: bytes,
    *,
    renderer: str,
    max_pixels: int,
    max_side: int,
    max_bytes: int,
    scale: Scale | None = None,
) -> Image.Image:
    """Render an SVG as `render_svg_png` does, and decode the rendering: RGBA."""
    return _open_rendering(
        render_svg_png(
            content, renderer=renderer, max_pixels=max_pixels, max_side=max_side, max_bytes=max_bytes, scale=scale
        )
    )


def render_svg_png(
    content: bytes,
    *,
    renderer: str,
    max_pixels: int,
    max_side: int,
    max_bytes: int,
    scale: Scale | None = None,
) -> bytes:
    """Render an SVG as PNG at its intrinsic size, 96 dpi, transparent where nothing is drawn: RGBA, sRGB stated.

    Args:
        content: The document.
        renderer: `resvg` or `cairosvg`; CairoSVG also stands in where resvg_py can't be imported.
        max_pixels: Width times height of the rendering.
        max_side: Longer side of the rendering.
        max_bytes: Size of the document.
        scale: Gives another size to render at, from the intrinsic one.

    Raises:
        UnreadableImage: No SVG, or one that the renderer refuses.
        ImageTooLarge: Bytes, pixels or written-out references beyond the limits.
        CapabilityMissing: The renderer is not installed; the message says how to get it.
        InvalidParameter: No such renderer.
    """
    root = read_svg(content, max_bytes)
    return draw_svg_png(root, renderer=renderer, max_pixels=max_pixels, max_side=max_side, scale=scale)


def draw_svg_png(
    root: ET.Element, *, renderer: str, max_pixels: int, max_side: int, scale: Scale | None = None
) -> bytes:
    """Render an SVG that was read already, as `render_svg_png` does, whose arguments and errors these are.

    The document is cleaned on the way, and is as it was no more.
    """
    embedded = clean_svg(root)
    render = _renderer(renderer)
    size = intrinsic_size(root)
    # Said in one unit on the root, both renderers take the size from here; fewer digits would move hairlines.
    root.set("width", f"{size[0]:.12g}")
    root.set("height", f"{size[1]:.12g}")
    natural = rendered_size(size)
    width, height = natural if scale is None else scale(*natural)
    check_size(width, height, max_pixels=max_pixels, max_side=max_side)
    with _bounded_memory():
        return render(root, embedded, width, height)


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """Keep a renderer within its memory, in a worker: a renderer that gets no more ends its process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken_bytes = address_space_bytes()
    if soft == resource.RLIM_INFINITY or not 0 < taken_bytes < soft - _MAX_MEMORY_BYTES:
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (taken_bytes + _MAX_MEMORY_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def available_renderers() -> tuple[str, ...]:
    """List the renderers that this installation can use."""
    found = []
    for name, package in (("resvg", "resvg_py"), ("cairosvg", "cairosvg")):
        try:
            importlib.import_module(package)
        except (ImportError, OSError):
            continue
        found.append(name)
    return tuple(found)


def _renderer(name: str) -> Callable[[ET.Element, Sequence[EmbeddedSvg], int, int], bytes]:
    if name not in RENDERERS:
        raise InvalidParameter(f"there is no SVG renderer {name!r}; choose one of {', '.join(RENDERERS)}")
    if name == "resvg":
        try:
            import resvg_py  # noqa: F401 - has no wheel on some platforms, where CairoSVG stands in
        except ImportError:
            pass
        else:
            return _render_with_resvg
    return _render_with_cairosvg


def _render_with_resvg(root: ET.Element, embedded: Sequence[EmbeddedSvg], width: int, height: int) -> bytes:
    trees = (root, *(each.root for each in embedded))
    has_text = any(next(tree.iter(f"{SVG}text"), None) is not None for tree in trees)
    families = families_for("".join(text for tree in trees for text in tree.itertext())) if has_text else {}
    for tree in trees if has_text else ():
        _name_installed_fonts(tree, families)
    for each in embedded:
        if has_text:
            # The renderer loads fonts only where it sees a text in the outer document; here it draws none.
            ET.SubElement(each.image, f"{SVG}text")
        each.put_back()
    own = intrinsic_size(root)
    is_own_size = rendered_size(own) == (width, height)
    # Said in the document, a size is drawn; told to a renderer, it may be drawn near that and resampled.
    if not is_own_size and not (isclose(width * own[1], height * own[0]) and _is_laid_out_first(root)):
        is_own_size = stretch(root, width, height)
    document = ET.tostring(root, encoding="unicode")
    if is_own_size and not embedded and not _needs_newest_resvg(root, document if has_text else ""):
        drawn = _draw_fast(document, families)
        if drawn is not None and drawn.shape[:2] == (height, width):
            return state_colours(write_samples(drawn, "RGBA"), None)
    rendered = _render_fully(document, width, height, families, has_text=has_text)
    if _is_rgba_of(rendered, width, height):
        return state_colours(rendered, None)
    image = _open_rendering(rendered)
    return encode_png(
        image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)
    )


def _name_installed_fonts(root: ET.Element, installed: Mapping[str, str]) -> None:
    for element in root.iter():
        if element.tag == f"{SVG}style":
            element.text = with_installed_in_css(element.text or "", installed)
        if (families := element.get("font-family")) is not None:
            element.set("font-family", with_installed(families, installed))
        if (css := element.get("style")) is not None:
            element.set("style", with_installed_in_css(css, installed))


def _render_fully(document: str, width: int, height: int, families: Mapping[str, str], *, has_text: bool) -> bytes:
    """Render with resvg_py, which has the newest resvg; a panic is no exception to Python."""
    import resvg_py

    # Keyword arguments of which the type checker knows only that they are strings.
    keywords: dict[str, Any] = dict(families)
    try:
        return bytes(
            resvg_py.svg_to_bytes(
                svg_string=document,
                dpi=_DPI,
                font_size=FONT_SIZE,
                languages=[_LANGUAGE],
                width=width,
                height=height,
                # Reading all fonts of the system costs more than most drawings.
                skip_system_fonts=not has_text,
                **keywords,
            )
        )
    except BaseException as exc:
        if not isinstance(exc, ValueError) and type(exc).__name__ != _PANIC:
            raise
        raise UnreadableImage("the svg can't be rendered", detail=str(exc)) from exc


def _draw_fast(document: str, families: Mapping[str, str]) -> NDArray[np.uint8] | None:
    """Draw with the older resvg of another binding: the same pixels, and not yet a PNG (bench/results.md).

    It can't be told a size. Gives H×W×4; None where it is missing or gives up; its panics are no exceptions to Python.
    """
    try:
        from svg2png_py import FontDatabase, RenderOptions, svg_to_rgba
    except ImportError:
        return None
    fonts = _system_fonts() if families else FontDatabase()
    options = RenderOptions(dpi=float(_DPI), font_size=FONT_SIZE, font_family=families.get("font_family", "serif"))
    try:
        drawn, width, height = svg_to_rgba(document, fonts, options=options)
    except BaseException as exc:
        if isinstance(exc, Exception) or type(exc).__name__ == _PANIC:
            return None
        raise
    return straighten(np.frombuffer(drawn, np.uint8).reshape(height, width, 4))


@cache
def _system_fonts() -> Any:
    """Find the system's fonts, once a process."""
    from svg2png_py import FontDatabase

    return FontDatabase.system()


def _needs_newest_resvg(root: ET.Element, text: str) -> bool:
    """Tell whether there is something that the older resvg draws otherwise, in the elements or a document with texts.

    That is an inner frame, a gradient's focal radius, a font's variations, a text's baseline, and scripts of joined or
    reordered letters.
    """
    frames = root.iter(f"{SVG}svg")
    next(frames)
    has_radius = any(gradient.get("fr") is not None for gradient in root.iter(f"{SVG}radialGradient"))
    return has_radius or next(frames, None) is not None or _NEWER_TEXT.search(text) is not None


def _is_laid_out_first(root: ET.Element) -> bool:
    """Tell whether resvg lays something out by the size that the document says, and scales it after.

    That is text on a path, and the paint of another shape (SVG 2's `context-fill`).
    """
    return any(
        element.tag == f"{SVG}textPath"
        or any("context-" in value for value in (*element.attrib.values(), element.text or ""))
        for element in root.iter()
    )


def _is_rgba_of(png: bytes, width: int, height: int) -> bool:
    """Whether a PNG's header says 8-bit RGBA of that size."""
    return png[16:26] == struct.pack(">IIBB", width, height, 8, 6)


def _render_with_cairosvg(root: ET.Element, embedded: Sequence[EmbeddedSvg], width: int, height: int) -> bytes:
    try:
        # Needs the libcairo of the system, without which everything else works.
        import cairosvg
    except (ImportError, OSError) as exc:
        raise CapabilityMissing(
            "rendering SVG with CairoSVG needs the system library libcairo "
            "(Debian and Ubuntu: apt-get install libcairo2); or set IMGAPI_SVG_RENDERER=resvg",
            detail=str(exc),
        ) from exc
    for each in embedded:
        each.put_back()
    try:
        rendered = cairosvg.svg2png(
            bytestring=ET.tostring(root, encoding="utf-8"),
            dpi=_DPI,
            output_width=width,
            output_height=height,
        )
    # CairoSVG documents no exceptions; whatever it stumbles over, the document was the cause.
    except Exception as exc:
        raise UnreadableImage("the svg can't be rendered", detail=f"{type(exc).__name__}: {exc}") from exc
    # Cairo states a background colour, which is metadata; so it is written anew.
    return encode_png(_open_rendering(rendered))


def _open_rendering(content: bytes) -> Image.Image:
    with decoding("svg"):
        image = Image.open(io.BytesIO(content), formats=("PNG",))
        image.load()
    return image if image.mode == "RGBA" else image.convert("RGBA")
