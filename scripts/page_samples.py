"""Draws the sample pictures of the OpenAPI document's examples, which the service ships and serves under /samples/."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imgapi.contract.samples import SAMPLES
from imgapi.pictures.svg import render_svg_png

DRAWINGS = Path(__file__).parent / "drawings"
FOLDER = Path(__file__).parent.parent / "src" / "imgapi" / "api" / "samples"
GRAIN = 1.6


def draw(name: str) -> Image.Image:
    """Draw an SVG of the drawings as RGB, with the grain that a camera gives."""
    document = (DRAWINGS / f"{name}.svg").read_bytes()
    content = render_svg_png(document, renderer="resvg", max_pixels=1_000_000, max_bytes=100_000)
    with Image.open(io.BytesIO(content)) as opened:
        plain = np.asarray(opened.convert("RGB"), np.float64)
    noise = np.random.default_rng(3).normal(0, GRAIN, (*plain.shape[:2], 1))
    return Image.fromarray(np.clip(np.rint(plain + noise), 0, 255).astype(np.uint8))


def watermark(picture: Image.Image) -> Image.Image:
    """Lay half-transparent white text over the lower right corner."""
    layer = Image.new("L", picture.size, 0)
    font = ImageFont.load_default(34)
    drawing = ImageDraw.Draw(layer)
    left, top, right, bottom = drawing.textbbox((0, 0), "SAMPLE PHOTO", font=font)
    place = (picture.width - (right - left) - 24, picture.height - (bottom - top) - 34)
    drawing.text(place, "SAMPLE PHOTO", fill=round(255 * 0.72), font=font)
    marked = picture.copy()
    marked.paste((255, 255, 255), mask=layer)
    return marked


def main() -> None:
    """Write the samples into the package."""
    pictures = {f"{path.stem}.jpg": draw(path.stem) for path in DRAWINGS.glob("*.svg")}
    pictures["watermarked.jpg"] = watermark(pictures["landscape.jpg"])
    if set(pictures) != set(SAMPLES):
        raise SystemExit("The samples drawn here are not those of imgapi.contract.samples.")
    for name, picture in pictures.items():
        picture.save(FOLDER / name, quality=88)


if __name__ == "__main__":
    main()
