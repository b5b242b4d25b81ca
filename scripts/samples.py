"""Draws the sample pictures of the README: a beach, a standing person, two garments, a picture with a mark."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

HORIZON = 0.5
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from drawings import person, shirt, trousers, watermarked  # noqa: E402 - the drawings live with the tests
from pictures import draw_photo  # noqa: E402 - as above


def beach(width: int = 960, height: int = 640) -> Image.Image:
    """A sunset over the sea: sky, sun, its path on the water, sand."""
    y, x = np.mgrid[0:height, 0:width] / height
    sky = np.stack([250 - 60 * (1 - y), 120 + 130 * y, 110 + 60 * (1 - y)], axis=2)
    sun = np.clip(1.6 - 9 * np.hypot(x - 0.75, y - 0.42), 0, 1)[:, :, None]
    picture = sky * (1 - sun) + np.array([255, 235, 170]) * sun
    ripples = 14 * np.sin(y * 160 + 4 * np.sin(x * 23)) * (y - 0.5)
    path = 90 * np.exp(-(((x - 0.75) / (0.04 + 0.3 * (y - 0.5))) ** 2))
    water = np.stack([40 + path + ripples, 90 + path * 0.8 + ripples, 130 + path * 0.3 + ripples], axis=2)
    picture = np.where((y > HORIZON)[:, :, None], water, picture)
    sand = np.stack([220 - 30 * y, 190 - 30 * y, 140 - 30 * y], axis=2)
    picture = np.where((y > 0.84 + 0.02 * np.sin(x * 5))[:, :, None], sand, picture)
    noise = np.random.default_rng(5).normal(0, 3, (height, width, 1))
    return Image.fromarray(np.clip(picture + noise, 0, 255).astype(np.uint8))


def main() -> None:
    """Write the samples into docs/samples."""
    folder = ROOT / "docs" / "samples"
    folder.mkdir(exist_ok=True)
    marked, _ = watermarked(draw_photo(960, 640, seed=7), "corner", 0.7)
    pictures = {"beach": beach(), "person": person(), "shirt": shirt(), "trousers": trousers(), "marked": marked}
    for name, picture in pictures.items():
        picture.convert("RGB").save(folder / f"{name}.jpg", quality=90)


if __name__ == "__main__":
    main()
