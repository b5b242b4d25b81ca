"""Which installed fonts stand for CSS's generic families; resvg by itself knows only those of one other system."""

import os
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


@cache
def generic_families() -> dict[str, str]:
    """Name an installed family for each generic one, as keyword arguments of resvg; empty without any known font."""
    installed = _font_files()
    found = {
        generic: family
        for generic, choices in _CHOICES.items()
        for start, family in reversed(choices)
        if any(name.startswith(start) for name in installed)
    }
    standing_in = found.get("sans_serif_family") or next(iter(found.values()), None)
    if standing_in is None:
        return {}
    generics = (*_CHOICES, "cursive_family", "fantasy_family", "font_family")
    return {generic: found.get(generic, standing_in) for generic in generics}


def _font_files() -> set[str]:
    names: set[str] = set()
    for folder in _FOLDERS:
        for _, _, files in os.walk(Path(folder).expanduser()):
            names.update(files)
            if len(names) > _MAX_FILES:
                return names
    return names
