"""TIFFs of many pages, and what their directories may cost."""

import io
import time

from PIL import Image

from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits

LIMITS = PictureLimits()


def scan_of(pages: int) -> bytes:
    """Write as many pages as a scanner would, 200 kB each and not compressed."""
    page = Image.new("L", (500, 400), 200)
    out = io.BytesIO()
    page.save(out, "TIFF", save_all=True, append_images=[page] * (pages - 1))
    return out.getvalue()


def test_a_late_page_costs_no_more_than_an_early_one() -> None:
    """Ninety pages take a moment: to come to one, neither the pages before it nor the rest of the file are read."""
    content = scan_of(90)
    begun = time.process_time()
    assert len(convert_to_png(content, all_frames=True, limits=LIMITS, svg_renderer="resvg").frames) == 90
    assert time.process_time() - begun < 3
