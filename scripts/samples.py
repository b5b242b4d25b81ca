"""Draws the sample pictures of the README: a standing person, two garments, a picture with a mark."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from drawings import person, shirt, trousers, watermarked  # noqa: E402 - the drawings live with the tests
from pictures import draw_photo  # noqa: E402 - as above


def main() -> None:
    """Write the samples into docs/samples."""
    folder = ROOT / "docs" / "samples"
    folder.mkdir(exist_ok=True)
    marked, _ = watermarked(draw_photo(960, 640, seed=7), "corner", 0.7)
    for name, picture in {"person": person(), "shirt": shirt(), "trousers": trousers(), "marked": marked}.items():
        picture.convert("RGB").save(folder / f"{name}.jpg", quality=90)


if __name__ == "__main__":
    main()
