"""Runs every painter of the local preview over real photos; writes contact sheets and a page of figures.

Run it with `sh scripts/bench preview`, or `python bench/preview.py --photos FOLDER` with photos of one's own as well.
The photos are those that the test dependencies ship. The figures go to `bench/preview.md`, the sheets to
`bench/out/preview`. Photos of one's own change the figures, so these then go to the folder of the sheets instead.
"""

import argparse
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from bench.preview_cost import try_cost  # noqa: E402 - found by the line above when run as a file
from bench.preview_enlarging import try_super_resolution  # noqa: E402
from bench.preview_matting import try_matting  # noqa: E402
from bench.preview_pictures import own_photos, wheel_photos  # noqa: E402
from bench.preview_scenes import try_background, try_expand, try_on  # noqa: E402
from bench.preview_sections import Section, Setting  # noqa: E402
from bench.preview_strips import write_strips  # noqa: E402
from bench.preview_watermarks import try_watermark  # noqa: E402

TRIALS = {
    "matting": try_matting,
    "background": try_background,
    "expand": try_expand,
    "super-resolution": try_super_resolution,
    "watermark": try_watermark,
    "try-on": try_on,
    "cost": try_cost,
}
_PACKAGES = ("imgapi", "numpy", "opencv-python-headless", "pillow", "scikit-image", "scikit-learn")


def write_report(sections: list[Section], photos: str) -> str:
    """Write the result page."""
    targets = [target for section in sections for target in section.targets]
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    parts = [
        "# The local preview, measured\n\nWritten by `bench/preview.py` (`sh scripts/bench preview`); do not edit.",
        f"{datetime.now(UTC):%Y-%m-%d}, 2 cores, Python {platform.python_version()}, {versions}.",
        photos,
        "## Targets\n\n" + "\n".join(f"- {'met' if met else '**MISSED**'}: {text}." for text, met in targets),
        *(f"## {section.title}\n\n{section.text}" for section in sections),
        READING,
    ]
    return "\n\n".join(parts) + "\n"


READING = """## How to read it

- Each run happens in a fresh process on one thread, through the functions that the service calls.
- The painters are classical: no learned weights. These are a handful of photos, some of which were looked at while \
the painters were made; expect less from other photos.
- IoU is measured on *drawn* subjects, which are easier than real ones where they differ from the backdrop in \
colour and harder where they lack the light of the scene.
- No figure says whether a picture looks right: look at the sheets in `bench/out/preview`.
"""


def main() -> int:
    """Run the trials that were asked for, print and write the page; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of photos of one's own, with <name>.mask.png where known")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "preview", help="where the sheets go")
    parser.add_argument("--quick", action="store_true", help="few photos, for a look; writes no page into bench/")
    parser.add_argument("--only", nargs="+", choices=TRIALS, help="only these trials; writes no page into bench/")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time; cost is always measured alone")
    parser.add_argument("--strips", action="store_true", help="write the strips of the README, and nothing else")
    options = parser.parse_args()
    if options.strips:
        write_strips(ROOT / "docs" / "strips")
        return 0
    photos = wheel_photos()
    own = own_photos(options.photos) if options.photos else []
    setting = Setting([*photos, *own], options.out, options.processes, options.quick)
    sections = []
    for name in options.only or TRIALS:
        print(f"{name} …", file=sys.stderr, flush=True)
        sections.append(TRIALS[name](setting))
    named = f"Photos: {', '.join(photo.name for photo in photos)}" + (f", and {len(own)} of one's own." if own else ".")
    report = write_report(sections, named)
    is_whole = not (own or options.quick or options.only)
    page = Path(__file__).with_suffix(".md") if is_whole else options.out / "preview.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(report, encoding="utf-8")
    print(report)
    return 0 if all(met for section in sections for _, met in section.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
