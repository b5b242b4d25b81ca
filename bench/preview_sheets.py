"""Contact sheets: rows of labelled pictures, as PNG."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_CELL, _GAP, _LABEL = 260, 8, 30
_COLUMNS, _MOST_LINES = 6, 8
_PAPER, _INK = (250, 250, 250), (30, 30, 30)

Cell = tuple[str, Image.Image | None]
"""A label and a picture; None where there is none (refused)."""


def on_checkerboard(image: Image.Image, square: int = 12) -> Image.Image:
    """Lay a transparent picture on a grey checkerboard."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    rows, columns = np.mgrid[0 : image.height, 0 : image.width] // square
    board = Image.fromarray(np.where((rows + columns) % 2, 205, 245).astype(np.uint8)).convert("RGB")
    board.paste(image, mask=image.getchannel("A"))
    return board


def write_sheets(folder: Path, name: str, rows: Sequence[Sequence[Cell]]) -> None:
    """Write the rows as `<name>-1.png`, `<name>-2.png`, … of at most eight rows each, short rows side by side."""
    folder.mkdir(parents=True, exist_ok=True)
    together = max(1, _COLUMNS // max((len(row) for row in rows), default=1))
    lines = [list(itertools.chain(*rows[at : at + together])) for at in range(0, len(rows), together)]
    for page, first in enumerate(range(0, len(lines), _MOST_LINES), 1):
        _draw([[(text, _fit(image)) for text, image in line] for line in lines[first : first + _MOST_LINES]]).save(
            folder / f"{name}-{page}.png"
        )


def _draw(lines: Sequence[Sequence[Cell]]) -> Image.Image:
    font = ImageFont.load_default(13)
    heights = [max((image.height for _, image in line if image), default=0) + _LABEL + _GAP for line in lines]
    width = max(len(line) for line in lines) * (_CELL + _GAP) + _GAP
    sheet = Image.new("RGB", (width, sum(heights) + _GAP), _PAPER)
    drawing = ImageDraw.Draw(sheet)
    top = _GAP
    for line, height in zip(lines, heights, strict=True):
        for across, (text, image) in enumerate(line):
            left = _GAP + across * (_CELL + _GAP)
            drawing.multiline_text((left, top), _wrap(text), fill=_INK, font=font, spacing=1)
            if image is not None:
                sheet.paste(on_checkerboard(image), (left, top + _LABEL))
        top += height
    return sheet


def _fit(image: Image.Image | None) -> Image.Image | None:
    if image is None:
        return None
    scale = min(_CELL / image.width, _CELL / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _wrap(label: str, columns: int = 36) -> str:
    return "\n".join(label[at : at + columns] for at in range(0, min(len(label), 2 * columns), columns))
