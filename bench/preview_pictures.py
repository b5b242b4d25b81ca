"""The pictures of the preview's bench: real photos, and subjects and marks drawn over them."""

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench.preview_measures import Pixels
from PIL import Image, ImageDraw, ImageFilter, ImageFont

ROOT = Path(__file__).parent.parent
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_OWN_SIDE = 1600
_WHEEL_PHOTOS = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "retina",
    "hubble_deep_field",
    "camera",
    "stereo_motorcycle",
)
MARK_KINDS = ("corner", "dark", "outlined", "date", "centre", "tiled", "logo")
_OVERSAMPLING = 3


@dataclass(frozen=True, slots=True)
class Photo:
    """A real photograph: RGB, with a reference mask (H×W bool) of its subject where there is one."""

    name: str
    image: Image.Image
    mask: Pixels | None = None
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class Composite:
    """A drawn subject over a backdrop: RGB, and the true matte (H×W uint8)."""

    name: str
    image: Image.Image
    matte: Pixels
    is_studio: bool


def encode(image: Image.Image, format_name: str = "PNG", **options: object) -> bytes:
    """Return the bytes of a picture."""
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def decode(content: bytes) -> Image.Image:
    """Open a picture fully."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def pixels(image: Image.Image) -> Pixels:
    """Return a picture as H×W×3 uint8."""
    return np.asarray(image.convert("RGB"))


def shipped(name: str) -> Any:
    """Return the arrays of a picture that scikit-image ships, by the name of its function."""
    # Imported here: the measured processes import this module too and must not pay for it.
    import skimage.data

    return getattr(skimage.data, name)()


def wheel_photos() -> list[Photo]:
    """Open the photographs that scikit-image and scikit-learn ship in their wheels."""
    # As above.
    from sklearn.datasets import load_sample_images

    arrays = {name: shipped(name) for name in _WHEEL_PHOTOS}
    arrays["motorcycle"] = arrays.pop("stereo_motorcycle")[0]
    arrays |= dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    return [Photo(name, Image.fromarray(array).convert("RGB")) for name, array in arrays.items()]


def own_photos(folder: Path) -> list[Photo]:
    """Open every photo of a folder, at most 1600 pixels a side; `<name>.mask.png` beside one is its reference mask."""
    photos = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in _SUFFIXES or file.name.endswith(".mask.png"):
            continue
        image = decode(file.read_bytes()).convert("RGB")
        image.thumbnail((_OWN_SIDE, _OWN_SIDE), Image.Resampling.LANCZOS)
        reference = file.with_suffix(".mask.png")
        mask = None
        if reference.exists():
            mask = np.asarray(decode(reference.read_bytes()).convert("L").resize(image.size)) > 127
        photos.append(Photo(file.stem, image, mask, is_own=True))
    return photos


def scaled(image: Image.Image, megapixels: float) -> Image.Image:
    """Scale a photo to so many millions of pixels, with a little grain so that it does not compress like a drawing."""
    factor = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
    size = (round(image.width * factor), round(image.height * factor))
    grain = np.random.default_rng(3).normal(0, 2, (size[1], size[0], 1)).astype(np.float32)
    large = pixels(image.resize(size, Image.Resampling.BICUBIC))
    return Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8))


# Subjects with a known matte.


def draw_subjects() -> dict[str, Image.Image]:
    """Draw subjects as 600×600 RGBA: a mug, a plant of thin leaves, a ball of fur, a ring, a figure."""
    return {
        "mug": _mug(),
        "plant": _plant(),
        "fur": _fur(),
        "ring": _ring(),
        "figure": _figure(),
    }


def _figure() -> Image.Image:
    image = Image.new("RGBA", (600, 600))
    image.paste(draw_figure((70, 110, 180), (60, 60, 70)).resize((450, 600), Image.Resampling.LANCZOS), (75, 0))
    return image


def _canvas() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGBA", (600 * _OVERSAMPLING, 600 * _OVERSAMPLING))
    return image, ImageDraw.Draw(image)


def _box(*values: float) -> list[float]:
    return [value * _OVERSAMPLING for value in values]


def _finish(image: Image.Image, seed: int) -> Image.Image:
    """Scale down, light from the left and add grain."""
    small = image.resize((600, 600), Image.Resampling.LANCZOS)
    rgba = np.asarray(small).astype(np.float32)
    light = np.linspace(1.18, 0.78, 600)[None, :, None]
    grain = np.random.default_rng(seed).normal(0, 3, (600, 600, 1))
    rgba[:, :, :3] = np.clip(rgba[:, :, :3] * light + grain, 0, 255)
    return Image.fromarray(rgba.astype(np.uint8))


def _mug() -> Image.Image:
    image, drawing = _canvas()
    drawing.ellipse(_box(350, 200, 520, 400), outline=(180, 40, 40, 255), width=30 * _OVERSAMPLING)
    drawing.rounded_rectangle(_box(130, 120, 410, 500), 40 * _OVERSAMPLING, fill=(200, 50, 45, 255))
    drawing.ellipse(_box(134, 95, 406, 165), fill=(120, 25, 25, 255))
    drawing.rectangle(_box(130, 280, 410, 320), fill=(240, 225, 200, 255))
    return _finish(image, 1)


def _plant() -> Image.Image:
    image, drawing = _canvas()
    dice = np.random.default_rng(4)
    for _ in range(26):
        angle, length = dice.uniform(-1.1, 1.1), dice.uniform(180, 330)
        x, y = 300 + length * np.sin(angle), 400 - length * np.cos(angle)
        side = np.array([np.cos(angle), np.sin(angle)]) * dice.uniform(10, 22)
        middle = np.array([(300 + x) / 2, (400 + y) / 2])
        leaf = [(300, 400), tuple(middle + side), (x, y), tuple(middle - side)]
        green = int(dice.integers(90, 160))
        drawing.polygon([(a * _OVERSAMPLING, b * _OVERSAMPLING) for a, b in leaf], fill=(40, green, 50, 255))
    pot = [(220, 400), (380, 400), (355, 560), (245, 560)]
    drawing.polygon([(a * _OVERSAMPLING, b * _OVERSAMPLING) for a, b in pot], fill=(190, 105, 60, 255))
    return _finish(image, 2)


def _fur() -> Image.Image:
    image, drawing = _canvas()
    dice = np.random.default_rng(6)
    for _ in range(9000):
        angle, start = dice.uniform(0, 2 * np.pi), 215 * np.sqrt(dice.uniform(0, 1))
        turn = angle + dice.normal(0, 0.25)
        reach = dice.uniform(18, 42)
        x, y = 300 + start * np.cos(angle), 300 + start * np.sin(angle)
        end = (x + reach * np.cos(turn), y + reach * np.sin(turn))
        tone = int(dice.integers(0, 70))
        drawing.line(_box(x, y, *end), fill=(110 + tone, 80 + tone, 45 + tone, 255), width=_OVERSAMPLING + 1)
    for x in (235, 365):
        drawing.ellipse(_box(x - 22, 250, x + 22, 294), fill=(20, 20, 22, 255))
    return _finish(image, 3)


def _ring() -> Image.Image:
    image, drawing = _canvas()
    drawing.ellipse(_box(90, 90, 510, 510), outline=(60, 120, 190, 255), width=85 * _OVERSAMPLING)
    for turn in range(0, 360, 30):
        drawing.arc(_box(92, 92, 508, 508), turn, turn + 14, fill=(235, 200, 60, 255), width=81 * _OVERSAMPLING)
    return _finish(image, 4)


def draw_figure(jersey: tuple[int, int, int], trousers: tuple[int, int, int]) -> Image.Image:
    """Draw a standing figure as 600×800 RGBA; FACE, JERSEY and TROUSERS are places in it."""
    scale = 4
    image = Image.new("RGBA", (600 * scale, 800 * scale))
    drawing = ImageDraw.Draw(image)

    def shape(points: Sequence[tuple[int, int]], colour: tuple[int, int, int]) -> None:
        drawing.polygon([(x * 2 * scale, y * 2 * scale) for x, y in points], fill=(*colour, 255))

    def oval(box: Sequence[int], colour: tuple[int, int, int]) -> None:
        drawing.ellipse([value * 2 * scale for value in box], fill=(*colour, 255))

    skin, shoes = (224, 172, 140), (30, 25, 25)
    shape([(131, 215), (169, 215), (172, 370), (154, 370), (150, 240), (146, 370), (128, 370)], trousers)
    shape([(126, 368), (148, 368), (148, 378), (126, 378)], shoes)
    shape([(153, 368), (175, 368), (175, 378), (153, 378)], shoes)
    shape([(125, 97), (175, 97), (170, 220), (130, 220)], jersey)
    shape([(126, 97), (112, 110), (102, 210), (114, 212), (129, 130)], jersey)
    shape([(174, 97), (188, 110), (198, 210), (186, 212), (171, 130)], jersey)
    oval((101, 207, 116, 225), skin)
    oval((184, 207, 199, 225), skin)
    shape([(143, 82), (157, 82), (157, 100), (143, 100)], skin)
    oval((131, 45, 169, 91), skin)
    drawing.pieslice([value * 2 * scale for value in (129, 40, 171, 85)], 180, 360, fill=(60, 40, 30, 255))
    for x in (142, 158):
        oval((x - 3, 64, x + 3, 67), shoes)
    return image.resize((600, 800), Image.Resampling.LANCZOS)


FACE, JERSEY, TROUSERS = (272, 130, 328, 176), (268, 220, 332, 400), (266, 490, 290, 700)
"""Left, top, right, bottom inside the figure's parts, in its own pixels."""


def studio(width: int, height: int, top: Sequence[float], bottom: Sequence[float]) -> Image.Image:
    """Draw a lit studio wall: a gradient between two RGB colours with a little noise."""
    share = np.linspace(0, 1, height)[:, None, None]
    wall = np.array(top) * (1 - share) + np.array(bottom) * share + np.zeros((height, width, 3))
    noise = np.random.default_rng(1).normal(0, 1.5, wall.shape)
    return Image.fromarray(np.clip(wall + noise, 0, 255).astype(np.uint8))


def composites(photos: Mapping[str, Image.Image], *, quick: bool) -> list[Composite]:
    """Lay each drawn subject before two studio walls and before parts of photos that show no subject of their own."""
    grey, blue = ((236,) * 3, (206,) * 3), ((120, 150, 190), (80, 105, 150))
    backdrops = [("grey wall", studio(900, 700, *grey), True), ("blue wall", studio(900, 700, *blue), True)]
    backdrops += [
        (f"{name}, part", _cover(_part(photos[name], box), 900, 700), False)
        for name, box in list(_QUIET_PARTS.items())[: 1 if quick else None]
    ]
    made = []
    for turn, (name, subject) in enumerate(draw_subjects().items()):
        for index, (where, backdrop, is_studio) in enumerate(backdrops):
            side = (560, 480, 520)[(turn + index) % 3]
            left = (170, 60, 300)[(turn + 2 * index) % 3]
            placed = Image.new("RGBA", (900, 700))
            placed.paste(subject.resize((side, side), Image.Resampling.LANCZOS), (left, 680 - side))
            scene = backdrop.copy()
            if is_studio:
                _cast_shadow(scene, (left + side // 6, 640, left + side * 5 // 6, 690))
            scene.paste(placed, mask=placed)
            made.append(Composite(f"{name} on {where}", scene, np.asarray(placed.getchannel("A")), is_studio))
    return made


_QUIET_PARTS = {
    "china": (0.53, 0.0, 1.0, 1.0),
    "flower": (0.0, 0.0, 0.28, 0.6),
    "coffee": (0.73, 0.0, 1.0, 0.5),
    "motorcycle": (0.52, 0.0, 1.0, 0.42),
    "rocket": (0.55, 0.0, 0.88, 1.0),
}
"""Shares left, top, right, bottom of photos: sky and trees, leaves out of focus, wood, shelves, a pad at night."""


def _part(image: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    sizes = (image.width, image.height, image.width, image.height)
    left, top, right, bottom = (round(share * size) for share, size in zip(box, sizes, strict=True))
    return image.crop((left, top, right, bottom))


def _cover(image: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(image.width / width, image.height / height)
    across, down = width * scale, height * scale
    left, top = (image.width - across) / 2, (image.height - down) / 2
    return image.resize((width, height), Image.Resampling.LANCZOS, box=(left, top, left + across, top + down))


def _cast_shadow(backdrop: Image.Image, box: tuple[int, int, int, int]) -> None:
    shadow = Image.new("L", backdrop.size, 0)
    ImageDraw.Draw(shadow).ellipse(box, fill=90)
    backdrop.paste((50, 50, 55), mask=shadow.filter(ImageFilter.GaussianBlur(14)))


# Watermarks.


def mark(image: Image.Image, kind: str) -> tuple[Image.Image, Pixels]:
    """Lay a watermark of one of MARK_KINDS over a photo; the picture, and what the mark covers (H×W bool)."""
    layer, colour, opacity = _MARKS[kind](image.size)
    share = np.asarray(layer.getchannel("A"))[:, :, None] / 255 * opacity
    paint = np.asarray(layer.convert("RGB")) if colour is None else np.array(colour)
    mixed = pixels(image) * (1 - share) + paint * share
    return Image.fromarray((mixed + 0.5).astype(np.uint8)), share[:, :, 0] > 0.03 * opacity


_Layer = tuple[Image.Image, tuple[int, int, int] | None, float]


def _write(size: tuple[int, int], text: str, share: float, place: tuple[float, float], **options: int) -> Image.Image:
    """Write text on a clear layer; its height is a share of the picture's, its place a share of the free room."""
    layer = Image.new("RGBA", size)
    font = ImageFont.load_default(max(14, round(share * size[1])))
    drawing = ImageDraw.Draw(layer)
    left, top, right, bottom = drawing.textbbox((0, 0), text, font=font)
    spot = ((size[0] - right + left) * place[0] - left, (size[1] - bottom + top) * place[1] - top)
    border = options.get("border", 0)
    drawing.text(spot, text, fill=(255, 255, 255, 255), font=font, stroke_width=border, stroke_fill=(0, 0, 0, 255))
    return layer


def _tiled(size: tuple[int, int]) -> _Layer:
    width, height = size
    font = ImageFont.load_default(max(14, height // 18))
    large = Image.new("RGBA", (width * 2, height * 2))
    drawing = ImageDraw.Draw(large)
    long = drawing.textlength("sample.pics", font=font)
    for row, y in enumerate(range(0, height * 2, max(40, height // 5))):
        for x in range(-int(long * 0.7 * (row % 2)), width * 2, int(long * 1.6)):
            drawing.text((x, y), "sample.pics", fill=(255, 255, 255, 255), font=font)
    turned = large.rotate(28, resample=Image.Resampling.BICUBIC)
    return turned.crop((width // 2, height // 2, width // 2 + width, height // 2 + height)), (255, 255, 255), 0.35


def _logo(size: tuple[int, int]) -> _Layer:
    side = max(40, min(size) // 5)
    large = Image.new("L", (side * 4, side * 4), 0)
    drawing = ImageDraw.Draw(large)
    drawing.ellipse([8, 8, side * 4 - 8, side * 4 - 8], outline=255, width=side // 3)
    points = [(side * 4 * x, side * 4 * y) for x, y in ((0.3, 0.72), (0.5, 0.24), (0.7, 0.72), (0.5, 0.58))]
    drawing.polygon(points, fill=255)
    alpha = Image.new("L", size, 0)
    alpha.paste(large.resize((side, side), Image.Resampling.LANCZOS), (size[0] - side - 14, 14))
    layer = Image.new("RGBA", size, (255, 255, 255, 0))
    layer.putalpha(alpha)
    return layer, (255, 255, 255), 0.6


_MARKS: Mapping[str, Callable[[tuple[int, int]], _Layer]] = {
    "corner": lambda size: (_write(size, "SAMPLE PHOTO", 0.055, (0.97, 0.97)), (255, 255, 255), 0.7),
    "dark": lambda size: (_write(size, "sample.pics", 0.055, (0.03, 0.96)), (15, 15, 20), 0.6),
    "outlined": lambda size: (_write(size, "SAMPLE", 0.08, (0.5, 0.96), border=2), None, 0.85),
    "date": lambda size: (_write(size, "12.08.2019 14:32", 0.045, (0.96, 0.96)), (255, 150, 40), 1.0),
    "centre": lambda size: (_write(size, "SAMPLE", 0.2, (0.5, 0.5)), (255, 255, 255), 0.35),
    "tiled": _tiled,
    "logo": _logo,
}


def drawings() -> dict[str, Image.Image]:
    """Draw what the tests draw: the figure, a striped shirt, green trousers, a mug in a studio."""
    # Imported here: these live with the tests, and load scikit-image.
    sys.path.append(str(ROOT / "tests"))
    from drawings import mug, person, shirt, trousers

    return {"person": person(), "shirt": shirt(), "trousers": trousers(), "mug": mug()[0]}
