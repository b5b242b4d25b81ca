"""Which installed fonts stand for CSS's generic families; resvg by itself knows only those of one other system."""

import os
import re
from functools import cache
from pathlib import Path

_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
)
_MAX_FILES = 20_000

# Start of a font's file name, its family; the first that is installed is taken.
_CHOICES = {
    "sans_serif_family": (
        ("Arial", "Arial"),
        ("LiberationSans-", "Liberation Sans"),
        ("DejaVuSans.", "DejaVu Sans"),
        ("NotoSans-", "Noto Sans"),
        ("NotoSansCJK", "Noto Sans CJK SC"),
        ("wqy-", "WenQuanYi Zen Hei"),
        ("Helvetica", "Helvetica"),
    ),
    "serif_family": (
        ("Times New Roman", "Times New Roman"),
        ("LiberationSerif-", "Liberation Serif"),
        ("DejaVuSerif.", "DejaVu Serif"),
        ("NotoSerif-", "Noto Serif"),
        ("NotoSerifCJK", "Noto Serif CJK SC"),
        ("Times", "Times"),
    ),
    "monospace_family": (
        ("Courier New", "Courier New"),
        ("LiberationMono-", "Liberation Mono"),
        ("DejaVuSansMono.", "DejaVu Sans Mono"),
        ("NotoSansMono", "Noto Sans Mono"),
        ("Courier", "Courier"),
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


def families_for(text: str) -> dict[str, str]:
    """Name an installed family for each generic one, as keyword arguments of resvg; empty without any known font.

    Args:
        text: What is to be drawn, or a document that has it.
    """
    return generic_families(cjk=_CJK.search(text) is not None)


@cache
def generic_families(*, cjk: bool = False) -> dict[str, str]:
    """Name an installed family for each generic one; one that has Chinese, Japanese and Korean where there is one."""
    installed = _font_files()
    choices = {name: (_CJK_CHOICES[name] if cjk else ()) + latin for name, latin in _CHOICES.items()}
    found = {
        generic: family
        for generic, candidates in choices.items()
        for start, family in reversed(candidates)
        if any(name.startswith(start) for name in installed)
    }
    standing_in = found.get("sans_serif_family") or next(iter(found.values()), None)
    if standing_in is None:
        return {}
    generics = (*_CHOICES, "cursive_family", "fantasy_family", "font_family")
    return {generic: found.get(generic, standing_in) for generic in generics}


@cache
def _font_files() -> frozenset[str]:
    names: set[str] = set()
    for folder in _FOLDERS:
        for _, _, files in os.walk(Path(folder).expanduser()):
            names.update(files)
            if len(names) > _MAX_FILES:
                return frozenset(names)
    return frozenset(names)
