"""How the conversions fare on public suites that bring their own reference pictures, which are kept apart from here.

    python -m bench.suites --resvg RESVG/crates/resvg/tests --pygif GIF-TEST-SUITE

writes bench/suites.md. The first folder is in resvg's source, the second in that of pygif or gdk-pixbuf. The drawings'
texts are in resvg's own fonts, which have to be the only ones: as root,
`unshare --mount sh -c 'mount --bind RESVG/crates/resvg/tests/fonts /usr/share/fonts; HOME=/none python -m …'`.
"""

import argparse
import io
import re
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from imgapi.errors import ImgapiError
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.fonts import generic_families
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.resize import resize

PAGE = Path(__file__).parent / "suites.md"
LIMITS = PictureLimits()
# What resvg's own test of its pictures lets pass.
STEP = 1
_TESTS = re.compile(r'render\("tests/([^"]+)"\)')
_ELSEWHERE = re.compile(r"<(?:image|feImage)\b[^>]*?\bhref=[\"'](?!#|data:|[\"'])", re.DOTALL)


@dataclass(slots=True)
class Score:
    """What came of a suite.

    Attributes:
        name: Of the suite.
        files: How many files were judged.
        left_out: How many were not, and why.
        wrong: Each file that is not as its reference, and in what.
        beside: Files of which the renderer by itself makes another picture; None where there is no renderer.
    """

    name: str
    files: int = 0
    left_out: str = ""
    wrong: dict[str, str] = field(default_factory=dict)
    beside: list[str] | None = None


def judge_drawings(folder: Path) -> Score:
    """Draw resvg's tests 300 pixels wide, as their references are, by the resize rule."""
    score = Score("resvg", beside=[])
    names = _TESTS.findall((folder / "integration" / "render.rs").read_text(encoding="utf-8"))
    elsewhere = 0
    for name in names:
        content = (folder / "tests" / f"{name}.svg").read_bytes()
        if _ELSEWHERE.search(content.decode(errors="replace")):
            elsewhere += 1
            continue
        score.files += 1
        with Image.open(folder / "tests" / f"{name}.png") as image:
            reference = np.asarray(image.convert("RGBA"))
        height, width = reference.shape[:2]
        try:
            drawn = resize(
                content, min_dim=min(width, height), max_dim=max(width, height), limits=LIMITS, svg_renderer="resvg"
            )
        except ImgapiError as exc:
            score.wrong[name] = f"refused: {exc}"
            continue
        ours = _pixels(drawn.content)
        if said := _difference(ours, reference):
            score.wrong[name] = said
        if score.beside is not None and _difference(ours, _drawn_alone(content, width, height)):
            score.beside.append(name)
    score.left_out = f"{elsewhere} that refer to pictures in files beside them, which nobody can upload with them"
    return score


def _drawn_alone(content: bytes, width: int, height: int) -> NDArray[np.uint8]:
    fonts: Any = generic_families()
    drawn = resvg_py.svg_to_bytes(
        svg_string=content.decode(), width=width, height=height, dpi=96, languages=["en"], **fonts
    )
    return _pixels(bytes(drawn))


def judge_animations(folder: Path) -> Score:
    """Split pygif's tests into frames and compare number and pixels with what their descriptions say.

    They lay images without a delay together with what follows, where browsers and most decoders count each. A file
    described without frames is right when it is refused.
    """
    score = Score("pygif")
    for file in sorted(folder.glob("*.conf")):
        name, description = file.stem, ConfigParser(interpolation=None)
        description.read(file, encoding="utf-8")
        config = description["config"]
        shape = int(config["height"]), int(config["width"]), 4
        expected = [
            np.frombuffer((folder / description[frame]["pixels"]).read_bytes(), np.uint8).reshape(shape)
            for frame in filter(None, config["frames"].split(","))
        ]
        content = (folder / config["input"]).read_bytes()
        score.files += 1
        try:
            frames = convert_to_png(content, all_frames=True, limits=LIMITS, svg_renderer="resvg").frames
        except ImgapiError as exc:
            if expected:
                score.wrong[name] = f"refused: {exc}"
            continue
        if len(frames) != len(expected):
            score.wrong[name] = f"{len(frames)} frames for {len(expected)}"
            continue
        differences = (_difference(_pixels(ours), right) for ours, right in zip(frames, expected, strict=True))
        if said := next(filter(None, differences), ""):
            score.wrong[name] = said
    return score


def _pixels(png: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGBA"))


def _difference(ours: NDArray[np.uint8], reference: NDArray[np.uint8]) -> str:
    """Say what differs, nothing where nothing does: what is clear has no colour."""
    if ours.shape != reference.shape:
        return f"{ours.shape[1]}x{ours.shape[0]} for {reference.shape[1]}x{reference.shape[0]}"
    steps = np.abs(ours.astype(np.int16) - reference).max(axis=2)
    steps[(ours[..., 3] == 0) & (reference[..., 3] == 0)] = 0
    return f"{(steps > STEP).sum()} pixels, by up to {steps.max()}" if steps.max() > STEP else ""


def write_page(scores: list[Score]) -> str:
    """Write the page."""
    lines = [
        "# Public suites",
        "",
        "Written by `bench/suites.py`; do not edit. It says where the suites are to be had.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}. A picture is right when no pixel is more than {STEP} of 255 off its reference.",
        "",
    ]
    for score in scores:
        lines += [f"## {score.name}", "", *_about(score), ""]
    return "\n".join(lines)


def _about(score: Score) -> Iterator[str]:
    right = score.files - len(score.wrong)
    yield f"{right} of {score.files} are right, {100 * right / score.files:.2f} %."
    if score.left_out:
        yield f"Left out: {score.left_out}."
    if score.beside is not None:
        yield f"resvg_py by itself makes another picture of {len(score.beside)}: {', '.join(score.beside) or 'none'}."
    yield ""
    yield from (f"- {name}: {said}" for name, said in score.wrong.items())


def main() -> int:
    """Judge the suites that are there, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resvg", type=Path, required=True)
    parser.add_argument("--pygif", type=Path, required=True)
    folders = parser.parse_args()
    scores = [judge_drawings(folders.resvg), judge_animations(folders.pygif)]
    page = write_page(scores)
    print(page)
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
