"""SVG to pixels by a choice of renderer, the document cleaned and its size bounded before."""

import importlib
import io
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

from PIL import Image

from imgapi.errors import CapabilityMissing, ImageTooLarge, InvalidParameter, UnreadableImage
from imgapi.pictures.fonts import generic_families
from imgapi.pictures.limits import check_bytes
from imgapi.pictures.rasters import decoding
from imgapi.pictures.svg_clean import clean_svg
from imgapi.pictures.svg_document import SVG, intrinsic_size, parse_svg, rendered_size

RENDERERS = ("resvg", "cairosvg")
_DPI = 96

ET.register_namespace("", SVG[1:-1])
ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")

Scale = Callable[[int, int], tuple[int, int]]


def render_svg(
    content: bytes,
    *,
    renderer: str,
    max_pixels: int,
    max_bytes: int,
    scale: Scale | None = None,
) -> Image.Image:
    """Render an SVG as an RGBA picture at its intrinsic size, 96 dpi, transparent where nothing is drawn.

    Args:
        content: The document.
        renderer: `resvg` or `cairosvg`; CairoSVG also stands in where resvg_py can't be imported.
        max_pixels: Width times height of the rendering.
        max_bytes: Size of the document.
        scale: Gives another size to render at, from the intrinsic one.

    Raises:
        UnreadableImage: No SVG, or one that the renderer refuses.
        ImageTooLarge: Bytes, pixels or written-out references beyond the limits.
        CapabilityMissing: The renderer is not installed; the message says how to get it.
        InvalidParameter: No such renderer.
    """
    check_bytes(len(content), max_bytes, "the svg")
    root = parse_svg(content)
    clean_svg(root)
    render = _renderer(renderer)
    size = intrinsic_size(root)
    # Said in one unit on the root, both renderers take the size from here.
    root.set("width", f"{size[0]:.6g}")
    root.set("height", f"{size[1]:.6g}")
    natural = rendered_size(size)
    width, height = natural if scale is None else scale(*natural)
    _check_pixels(width, height, max_pixels)
    return render(root, width, height)


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


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"the svg is {width}x{height} pixels; at most {max_pixels / 1e6:.4g} megapixels are rendered",
        )


def _renderer(name: str) -> Callable[[ET.Element, int, int], Image.Image]:
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


def _render_with_resvg(root: ET.Element, width: int, height: int) -> Image.Image:
    import resvg_py

    has_text = next(root.iter(f"{SVG}text"), None) is not None
    # Keyword arguments of which the type checker knows only that they are strings.
    families: Any = generic_families() if has_text else {}
    try:
        rendered = resvg_py.svg_to_bytes(
            svg_string=ET.tostring(root, encoding="unicode"),
            dpi=_DPI,
            width=width,
            height=height,
            # Reading all fonts of the system costs more than most drawings.
            skip_system_fonts=not has_text,
            **families,
        )
    except ValueError as exc:
        raise UnreadableImage("the svg can't be rendered", detail=str(exc)) from exc
    image = _open_rendering(bytes(rendered))
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.LANCZOS)


def _render_with_cairosvg(root: ET.Element, width: int, height: int) -> Image.Image:
    try:
        # Needs the libcairo of the system, without which everything else works.
        import cairosvg
    except (ImportError, OSError) as exc:
        raise CapabilityMissing(
            "rendering SVG with CairoSVG needs the system library libcairo "
            "(Debian and Ubuntu: apt-get install libcairo2); or set IMGAPI_SVG_RENDERER=resvg",
            detail=str(exc),
        ) from exc
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
    return _open_rendering(rendered)


def _open_rendering(content: bytes) -> Image.Image:
    with decoding("svg"):
        image = Image.open(io.BytesIO(content), formats=("PNG",))
        image.load()
    return image if image.mode == "RGBA" else image.convert("RGBA")
