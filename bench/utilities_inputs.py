"""The pictures the benchmark sends, and how near an answer is to the best that could be made of them."""

import io
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import resvg_py
from PIL import Image

from imgapi.pictures.fonts import generic_families

# Colour photographs that the test dependencies ship.
PHOTOS = (
    ("sklearn.datasets.images", "china.jpg"),
    ("sklearn.datasets.images", "flower.jpg"),
    ("skimage.data", "astronaut.png"),
    ("skimage.data", "coffee.png"),
    ("skimage.data", "chelsea.png"),
    ("skimage.data", "rocket.jpg"),
    ("skimage.data", "motorcycle_left.png"),
)
COLUMNS, ROWS = 4, 3
NOISE = 2.0
SOURCE_QUALITY = 92
SVG_SIDE = 900
_SVG_LEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" width="{SVG_SIDE}" height="{SVG_SIDE}" viewBox="0 0 300 300"><defs>'
)
_GREENS = ("#9ae6b4", "#68d391", "#48bb78", "#38a169", "#2f855a")


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of request.

    Attributes:
        key: Name of its file.
        title: Name in tables.
        source: The picture sent.
        suffix: Its file name's end.
        side: Longest side of the JPEG asked for; None asks for a PNG of all pixels.
    """

    key: str
    title: str
    source: bytes
    suffix: str
    side: int | None

    @property
    def filename(self) -> str:
        """The name it is uploaded and stored under."""
        return f"{self.key}{self.suffix}"


@cache
def make_photo(width: int, height: int) -> bytes:
    """Make a JPEG (4:2:0) of that many pixels: a sheet of real photographs, with a sensor's noise over them."""
    random = np.random.default_rng(1)
    sheet = Image.new("RGB", (width, height))
    cell = (math.ceil(width / COLUMNS), math.ceil(height / ROWS))
    for number in range(COLUMNS * ROWS):
        package, name = PHOTOS[number % len(PHOTOS)]
        with Image.open(io.BytesIO(files(package).joinpath(name).read_bytes())) as opened:
            photo = opened.convert("RGB")
        if number >= len(PHOTOS):
            photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        square = min(photo.size)
        left, top = (photo.width - square) // 2, (photo.height - square) // 2
        tile = photo.resize(cell, Image.Resampling.LANCZOS, box=(left, top, left + square, top + square))
        pixels = np.asarray(tile, np.float32) + random.normal(0, NOISE, (cell[1], cell[0], 3)).astype(np.float32)
        tile = Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
        sheet.paste(tile, (number % COLUMNS * cell[0], number // COLUMNS * cell[1]))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=SOURCE_QUALITY, subsampling=2)
    return out.getvalue()


def make_svg() -> bytes:
    """Draw a landscape as an SVG of 900 x 900 px; no text, since fonts differ between machines."""
    random = np.random.default_rng(2)
    parts = [
        _SVG_LEAD,
        '<linearGradient id="sky" x2="0" y2="1"><stop offset="0" stop-color="#2b6cb0"/>',
        '<stop offset="1" stop-color="#fbd38d"/></linearGradient>',
        '<radialGradient id="sun"><stop offset="0" stop-color="#fff"/><stop offset="1" stop-color="#f6ad55"/>',
        "</radialGradient></defs>",
        '<rect x="10" y="10" width="280" height="280" rx="24" fill="url(#sky)"/>',
        '<circle cx="215" cy="85" r="26" fill="url(#sun)"/>',
    ]
    for x, y, width in random.uniform((30, 30, 12), (250, 110, 30), (12, 3)):
        parts.append(f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{width:.1f}" ry="7" fill="#fff" fill-opacity="0.7"/>')
    for number in range(5):
        top = 150 + 25 * number
        bends = " ".join(
            f"{value:.1f}" for value in random.uniform((80, top - 40, 180, top - 20), (120, top, 220, top))
        )
        parts.append(
            f'<path d="M10 {top} C{bends} 290 {top} V270 Q290 290 266 290 H34 Q10 290 10 270 Z" '
            f'fill="{_GREENS[number]}" stroke="#234e52" stroke-width="0.7"/>'
        )
    for x, y, size in random.uniform((25, 175, 6), (275, 255, 18), (40, 3)):
        parts.append(
            f'<path d="M{x:.1f} {y - size:.1f} l{size / 2:.1f} {size:.1f} h-{size:.1f} z" fill="#22543d"/>'
            f'<rect x="{x - 1:.1f}" y="{y:.1f}" width="2" height="{size / 3:.1f}" fill="#744210"/>'
        )
    for x, y, reach in random.uniform((40, 40, 3), (260, 130, 7), (20, 3)):
        parts.append(
            f'<path d="M{x:.1f} {y:.1f} q{reach:.1f} -{reach:.1f} {2 * reach:.1f} 0" fill="none" stroke="#1a202c"/>'
        )
    parts.append("</svg>")
    return "".join(parts).encode()


def make_heavy_svg() -> bytes:
    """Draw an SVG of 900 x 900 px that is mostly large gradients in half-clear layers."""
    random = np.random.default_rng(3)
    parts = [
        _SVG_LEAD,
        '<linearGradient id="g0"><stop offset="0" stop-color="#e53e3e"/><stop offset="1" stop-color="#3182ce"/>',
        '</linearGradient><radialGradient id="g1"><stop offset="0" stop-color="#38a169"/>',
        '<stop offset="1" stop-color="#805ad5"/></radialGradient></defs>',
    ]
    for number, (x, y, radius) in enumerate(random.uniform((40, 40, 10), (260, 260, 32), (40, 3))):
        circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="url(#g{number % 2})" opacity="0.6"/>'
        parts.append(circle)
    parts.append("</svg>")
    return "".join(parts).encode()


def make_chart_svg() -> bytes:
    """Draw a chart of 900 x 900 px as an SVG: bars, lines and some hundred words and numbers in the system's fonts."""
    random = np.random.default_rng(4)
    parts = [
        _SVG_LEAD,
        "<style>text { font: 6px sans-serif; fill: #2d3748 } .title { font: bold 14px serif }</style></defs>",
        '<rect width="300" height="300" fill="#fff"/>',
        '<text class="title" x="12" y="20">Pictures scaled in a month</text>',
    ]
    for line in range(11):
        y = 270 - 22 * line
        parts.append(
            f'<path d="M30 {y} H290" stroke="#e2e8f0"/><text x="26" y="{y + 2}" text-anchor="end">{line}000</text>'
        )
    for bar, height in enumerate(random.uniform(10, 210, 30)):
        x = 34 + 8.5 * bar
        parts.append(
            f'<rect x="{x:.1f}" y="{270 - height:.1f}" width="6" height="{height:.1f}" fill="{_GREENS[bar % 5]}"/>'
            f'<text x="{x + 3:.1f}" y="{266 - height:.1f}" text-anchor="middle">{height * 50:.0f}</text>'
            f'<text transform="translate({x + 4:.1f} 274) rotate(60)">Day {bar + 1}</text>'
        )
    parts.append("</svg>")
    return "".join(parts).encode()


def the_four() -> tuple[Task, ...]:
    """Make the four kinds of request that the targets are about."""
    return (
        Task("jpeg12", "JPEG 12 MP → 1024 px", make_photo(4000, 3000), ".jpg", 1024),
        Task("jpeg2", "JPEG 2 MP → 512 px", make_photo(1632, 1224), ".jpg", 512),
        Task("png2", "JPEG 2 MP → PNG", make_photo(1632, 1224), ".jpg", None),
        Task("svg", "SVG 900 px → PNG", make_svg(), ".svg", None),
    )


def the_others() -> tuple[Task, ...]:
    """Make what is worth knowing beside the four: what a drawing costs depends on the drawing."""
    return (
        Task("heavy", "SVG of clear gradients, 900 px → PNG", make_heavy_svg(), ".svg", None),
        Task("chart", "SVG chart with text, 900 px → PNG", make_chart_svg(), ".svg", None),
    )


def the_growth() -> tuple[Task, ...]:
    """Make JPEGs of 0.3, 2, 12 and 50 MP, all to be scaled to 512 px."""
    sizes = {"0.3 MP": (640, 480), "2 MP": (1632, 1224), "12 MP": (4000, 3000), "50 MP": (8160, 6120)}
    return tuple(
        Task(f"grow{number}", f"{name} → 512 px", make_photo(*size), ".jpg", 512)
        for number, (name, size) in enumerate(sizes.items())
    )


def reference(task: Task) -> Image.Image:
    """Make the best answer there is: a full decode, then Lanczos; of an SVG four times the pixels, averaged."""
    if task.suffix == ".svg":
        fonts: Any = generic_families()
        large = resvg_py.svg_to_bytes(svg_string=task.source.decode(), width=4 * SVG_SIDE, height=4 * SVG_SIDE, **fonts)
        with Image.open(io.BytesIO(bytes(large))) as image:
            return image.convert("RGBA").reduce(4)
    with Image.open(io.BytesIO(task.source)) as image:
        pixels = image.convert("RGB")
    if task.side is None:
        return pixels
    scale = task.side / max(pixels.size)
    return pixels.resize((round(pixels.width * scale), round(pixels.height * scale)), Image.Resampling.LANCZOS)


def psnr(answer: bytes, best: Image.Image) -> float:
    """Compare with the reference, in dB; infinite for equal pixels, NaN for another size."""
    with Image.open(io.BytesIO(answer)) as image:
        pixels = image.convert(best.mode)
    if pixels.size != best.size:
        return math.nan
    if best.mode == "RGBA":
        pixels, best = (Image.alpha_composite(Image.new("RGBA", best.size, "white"), each) for each in (pixels, best))
    difference = np.asarray(pixels, np.float64) - np.asarray(best, np.float64)
    error = float(np.mean(difference**2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
