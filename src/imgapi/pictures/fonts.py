"""Which installed fonts stand for CSS's generic families; resvg by itself knows only those of one other system."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from PIL import ImageFont

_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
)
_MAX_FILES = 20_000
_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")

# Start of a font's file name, its family; the first that is installed is taken, in fontconfig's own order.
_CHOICES = {
    "sans_serif_family": (
        ("NotoSans-", "Noto Sans"),
        ("DejaVuSans.", "DejaVu Sans"),
        ("Arial", "Arial"),
        ("LiberationSans-", "Liberation Sans"),
        ("NotoSansCJK", "Noto Sans CJK SC"),
        ("wqy-", "WenQuanYi Zen Hei"),
        ("Helvetica", "Helvetica"),
    ),
    "serif_family": (
        ("NotoSerif-", "Noto Serif"),
        ("DejaVuSerif.", "DejaVu Serif"),
        ("Times New Roman", "Times New Roman"),
        ("Times_New_Roman", "Times New Roman"),
        ("LiberationSerif-", "Liberation Serif"),
        ("NotoSerifCJK", "Noto Serif CJK SC"),
        ("Times", "Times"),
    ),
    "monospace_family": (
        ("NotoSansMono", "Noto Sans Mono"),
        ("NotoMono-", "Noto Mono"),
        ("DejaVuSansMono.", "DejaVu Sans Mono"),
        ("Courier New", "Courier New"),
        ("Courier_New", "Courier New"),
        ("LiberationMono-", "Liberation Mono"),
        ("Courier", "Courier"),
    ),
    "cursive_family": (
        ("Comic Sans MS", "Comic Sans MS"),
        ("Comic_Sans_MS", "Comic Sans MS"),
        ("Z003-", "Z003"),
        ("Yellowtail-", "Yellowtail"),
    ),
    "fantasy_family": (
        ("Impact", "Impact"),
        ("Papyrus", "Papyrus"),
        ("SedgwickAveDisplay-", "Sedgwick Ave Display"),
    ),
}


# With Chinese, Japanese or Korean in a text, its generic family is one that has both these letters and Latin ones: left
# to look for them itself, the renderer takes the first font that has them, with serifs or not.
_CJK_CHOICES = {
    "sans_serif_family": (("NotoSansCJK", "Noto Sans CJK SC"), ("wqy-", "WenQuanYi Zen Hei")),
    "serif_family": (("NotoSerifCJK", "Noto Serif CJK SC"),),
    "monospace_family": (("NotoSansCJK", "Noto Sans Mono CJK SC"),),
}
_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")


# Families that drawings name alone, and what fontconfig would draw them with; resvg itself would use serifs for all.
_STAND_INS = (
    (re.compile(r"\b(?:mono|courier|consolas|menlo|monaco)\b", re.IGNORECASE), "'Liberation Mono', monospace"),
    (re.compile(r"\b(?:arial|helvetica)\b", re.IGNORECASE), "'Liberation Sans', sans-serif"),
    (re.compile(r"\btimes\b", re.IGNORECASE), "'Liberation Serif', serif"),
    (
        re.compile(
            r"\b(?:sans|verdana|tahoma|trebuchet|segoe|calibri|roboto|ubuntu|lato|inter|system-ui)\b|-apple-system",
            re.IGNORECASE,
        ),
        "sans-serif",
    ),
)
# Comments and strings are passed over whole, whatever they hold; what ends at a brace is a selector.
_DECLARATION = re.compile(
    r"/\*.*?(?:\*/|\Z)|\"[^\"]*\"|'[^']*'"
    r"|(?P<name>(?<![\w-])font(?:-family)?\s*:)"
    r"(?P<families>(?:/\*.*?(?:\*/|\Z)|\"[^\"]*\"|'[^']*'|[^;{}!\"'])+)(?P<brace>\{?)",
    re.IGNORECASE | re.DOTALL,
)
_GENERIC = re.compile(
    r"\"[^\"]*\"|'[^']*'|(?<![\w-])(?P<generic>serif|sans-serif|monospace|cursive|fantasy)(?![\w-])", re.IGNORECASE
)
_FROM_ELSEWHERE = frozenset({"inherit", "initial", "unset", "revert", "revert-layer"})


def with_installed(families: str, installed: Mapping[str, str]) -> str:
    """Name installed families in a list of them: in place of generic ones, and behind names that may be missing.

    Args:
        families: The list, as CSS writes it, or what else `font` holds before it.
        installed: What stands for generic families, as `families_for` gives it; where empty, the list stays as it is.
    """
    if not installed or families.strip().lower() in _FROM_ELSEWHERE:
        return families
    for names, stand_ins in _STAND_INS:
        if names.search(families):
            families = f"{families.rstrip()}, {stand_ins}"
            break
    generics = False

    def named(match: re.Match[str]) -> str:
        nonlocal generics
        generics = generics or match["generic"] is not None
        return match[0] if match["generic"] is None else _installed(match["generic"], installed)

    families = _GENERIC.sub(named, families)
    return families if generics else f'{families.rstrip()}, "{installed["font_family"]}"'


def _installed(generic: str, installed: Mapping[str, str]) -> str:
    name = installed[f"{generic.lower().replace('-', '_')}_family"]
    return f'"{name}"'


def with_installed_in_css(css: str, installed: Mapping[str, str]) -> str:
    """Do the same in every declaration of a font in CSS."""

    def named(match: re.Match[str]) -> str:
        if match["name"] is None or match["brace"]:
            return match[0]
        return match["name"] + with_installed(match["families"], installed)

    return _DECLARATION.sub(named, css)


def families_for(text: str) -> dict[str, str]:
    """Name an installed family for each generic one, as keyword arguments of resvg; empty without any font.

    Args:
        text: What is to be drawn.
    """
    return generic_families(cjk=_CJK.search(text) is not None)


@cache
def generic_families(*, cjk: bool = False, folders: tuple[str, ...] = _FOLDERS) -> dict[str, str]:
    """Name an installed family for each generic one, as keyword arguments of resvg; empty without any font.

    Args:
        cjk: Whether to prefer families that have Chinese, Japanese and Korean.
        folders: Where fonts are looked for.
    """
    installed = _font_files(folders)
    choices = {name: (_CJK_CHOICES.get(name, ()) if cjk else ()) + latin for name, latin in _CHOICES.items()}
    found = {
        generic: family
        for generic, candidates in choices.items()
        for start, family in reversed(candidates)
        if any(name.startswith(start) for name in installed)
    }
    standing_in = found.get("sans_serif_family") or next(iter(found.values()), None) or _any_family(installed)
    if standing_in is None:
        return {}
    families = {generic: found.get(generic, standing_in) for generic in _CHOICES}
    # Browsers draw with serifs where no family is asked for.
    return families | {"font_family": families["serif_family"]}


def _any_family(installed: dict[str, Path]) -> str | None:
    """Name the family of the first file that is a font."""
    for name in sorted(installed):
        if name.lower().endswith(_SUFFIXES):
            with suppress(OSError):
                return ImageFont.truetype(installed[name]).getname()[0]
    return None


@cache
def _font_files(folders: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        for place, _, files in os.walk(Path(folder).expanduser()):
            found.update((name, Path(place) / name) for name in files)
            if len(found) > _MAX_FILES:
                return found
    return found
