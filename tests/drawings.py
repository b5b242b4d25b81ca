"""Pictures that the preview's tests draw or take from the test dependencies."""

import functools
import io
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from sklearn.datasets import load_sample_images

from imgapi.emulator import painters
from imgapi.emulator.painters import PaintJob

Pixels: TypeAlias = NDArray[Any]
Colour: TypeAlias = tuple[int, int, int]


@functools.cache
def photo(name: str, longest_side: int = 360) -> Image.Image:
    """One of the real photos shipped with the test dependencies, scaled down to keep tests quick."""
    if name in {"china", "flower"}:
        image = Image.fromarray(load_sample_images().images[0 if name == "china" else 1])
    else:
        image = Image.fromarray(getattr(skimage.data, name)())
    image = image.convert("RGB")
    image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    return image


def encode(image: Image.Image, format_name: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture."""
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def decode(content: bytes) -> Image.Image:
    """The picture of some bytes, pixels loaded."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def pixels(image: Image.Image) -> Pixels:
    """A picture as int32, so that differences don't wrap."""
    return np.asarray(image).astype(np.int32)


def studio(width: int, height: int) -> Image.Image:
    """A lit studio wall: a grey gradient with a little noise."""
    column = np.linspace(236, 206, height)[:, None, None] * np.ones((1, width, 3))
    noise = np.random.default_rng(1).normal(0, 1.5, column.shape)
    return Image.fromarray((column + noise).clip(0, 255).astype(np.uint8))


def mug() -> tuple[Image.Image, Pixels]:
    """A red mug with a handle and a soft shadow in a studio, and its true outline (H×W bool)."""
    scale, size = 4, (400, 300)
    large = Image.new("RGBA", (size[0] * scale, size[1] * scale))
    drawing = ImageDraw.Draw(large)
    drawing.ellipse([240 * scale, 115 * scale, 320 * scale, 205 * scale], outline=(180, 40, 40, 255), width=14 * scale)
    drawing.rounded_rectangle([125 * scale, 90 * scale, 265 * scale, 240 * scale], 15 * scale, fill=(200, 50, 45, 255))
    drawing.ellipse([127 * scale, 80 * scale, 263 * scale, 105 * scale], fill=(120, 25, 25, 255))
    small = large.resize(size, Image.Resampling.LANCZOS)
    shadow = Image.new("L", size, 0)
    ImageDraw.Draw(shadow).ellipse([100, 225, 325, 260], fill=90)
    image = studio(*size)
    image.paste((60, 60, 60), mask=shadow.filter(ImageFilter.GaussianBlur(8)))
    image.paste(small, mask=small)
    return image, np.asarray(small.getchannel("A")) > 127


def person() -> Image.Image:
    """A standing figure, 300×400: face, blue jersey, dark trousers, hands and shoes."""
    scale = 4
    figure = Image.new("RGBA", (300 * scale, 400 * scale))
    drawing = ImageDraw.Draw(figure)

    def shape(points: list[tuple[int, int]], colour: tuple[int, int, int]) -> None:
        drawing.polygon([(x * scale, y * scale) for x, y in points], fill=colour)

    def oval(left: int, top: int, right: int, bottom: int, colour: tuple[int, int, int]) -> None:
        drawing.ellipse([left * scale, top * scale, right * scale, bottom * scale], fill=colour)

    skin, jersey, trousers, shoes = (224, 172, 140), (70, 110, 180), (60, 60, 70), (30, 25, 25)
    shape([(131, 215), (169, 215), (172, 370), (154, 370), (150, 240), (146, 370), (128, 370)], trousers)
    shape([(126, 368), (148, 368), (148, 378), (126, 378)], shoes)
    shape([(153, 368), (175, 368), (175, 378), (153, 378)], shoes)
    shape([(125, 97), (175, 97), (170, 220), (130, 220)], jersey)
    shape([(126, 97), (112, 110), (102, 210), (114, 212), (129, 130)], jersey)
    shape([(174, 97), (188, 110), (198, 210), (186, 212), (171, 130)], jersey)
    oval(101, 207, 116, 225, skin)
    oval(184, 207, 199, 225, skin)
    shape([(143, 82), (157, 82), (157, 100), (143, 100)], skin)
    oval(131, 45, 169, 91, skin)
    drawing.pieslice([129 * scale, 40 * scale, 171 * scale, 85 * scale], 180, 360, fill=(60, 40, 30))
    for x in (142, 158):
        oval(x - 3, 64, x + 3, 67, shoes)
    small = figure.resize((300, 400), Image.Resampling.LANCZOS)
    image = studio(300, 400)
    image.paste(small, mask=small)
    return image


def shirt() -> Image.Image:
    """A flat-lay T-shirt with red and cream stripes on white."""
    image, outline = Image.new("RGB", (300, 300), (250, 250, 250)), Image.new("L", (300, 300), 0)
    points = [(90, 48), (126, 48), (150, 66), (174, 48), (210, 48), (276, 108), (240, 144), (210, 120)]
    points += [(210, 264), (90, 264), (90, 120), (60, 144), (24, 108)]
    ImageDraw.Draw(outline).polygon(points, fill=255)
    fabric = Image.new("RGB", (300, 300), (200, 30, 40))
    for y in range(0, 300, 30):
        ImageDraw.Draw(fabric).rectangle([0, y, 300, y + 14], fill=(245, 235, 220))
    image.paste(fabric, mask=outline)
    return image


def trousers() -> Image.Image:
    """Flat-lay green trousers on near-white."""
    image, outline = Image.new("RGB", (240, 360), (248, 248, 250)), Image.new("L", (240, 360), 0)
    points = [(66, 36), (174, 36), (192, 330), (138, 330), (120, 120), (102, 330), (48, 330)]
    ImageDraw.Draw(outline).polygon(points, fill=255)
    image.paste(Image.new("RGB", (240, 360), (40, 120, 60)), mask=outline)
    return image


def watermarked(image: Image.Image, where: str, opacity: float) -> tuple[Image.Image, Pixels]:
    """Lay white half-transparent text over a photo; the picture and what the text covers (H×W bool)."""
    width, height = image.size
    text, size = "SAMPLE PHOTO", max(16, height // 16) * (2 if where == "centre" else 1)
    font = ImageFont.load_default(size)
    layer = Image.new("L", image.size, 0)
    long = ImageDraw.Draw(layer).textlength(text, font=font)
    if where == "tiled":
        large = Image.new("L", (width * 2, height * 2), 0)
        for row, y in enumerate(range(0, height * 2, size * 5)):
            for x in range(-(row % 2) * int(long * 0.7), width * 2, int(long * 1.4)):
                ImageDraw.Draw(large).text((x, y), text, fill=255, font=font)
        turned = large.rotate(30, resample=Image.Resampling.BICUBIC)
        layer = turned.crop((width // 2, height // 2, width // 2 + width, height // 2 + height))
    else:
        places = {"corner": (width - long - 10, height - size * 1.6), "centre": ((width - long) / 2, height / 2 - size)}
        ImageDraw.Draw(layer).text(places[where], text, fill=255, font=font)
    share = np.asarray(layer)[:, :, None] / 255 * opacity
    mixed = np.asarray(image) * (1 - share) + 255 * share
    return Image.fromarray((mixed + 0.5).astype(np.uint8)), np.asarray(layer) > 8


def psnr(one: Image.Image, other: Image.Image, where: Pixels | None = None) -> float:
    """Peak signal to noise ratio in dB, over the marked pixels when some are."""
    difference = (pixels(one) - pixels(other)) ** 2
    return float(10 * np.log10(255**2 / max(1e-9, float((difference if where is None else difference[where]).mean()))))


def paint_job(operation: str, *, count: int = 1, seed: int = 7, prompt: str = "", **parts: object) -> PaintJob:
    """A paint job whose pictures and parameters are told apart by type."""
    pictures = {name: encode(part) for name, part in parts.items() if isinstance(part, Image.Image)}
    pictures |= {name: part for name, part in parts.items() if isinstance(part, bytes)}
    parameters = {name: part for name, part in parts.items() if not isinstance(part, (Image.Image, bytes))}
    return PaintJob(operation, pictures, parameters, prompt, seed, count)


def paint(job: PaintJob) -> tuple[bytes, ...]:
    """The pictures of a job."""
    return painters.paint(job).pictures


def cut_mug() -> tuple[Image.Image, Pixels]:
    """The mug as RGBA, and its outline."""
    image, outline = mug()
    image.putalpha(Image.fromarray((outline * 255).astype(np.uint8)))
    return image, outline


_SKIN_TONES = {"light": (232, 188, 160), "brown": (170, 115, 80), "dark": (105, 68, 48)}


def _draw_head(
    shape: Callable[[list[tuple[int, int]], Colour], None],
    oval: Callable[[float, float, float, float, Colour], None],
    tone: Colour,
) -> None:
    """Draw hair, face, brows, eyes, nose and mouth of `figure`."""
    hair, shade = (55, 38, 28), (round(tone[0] * 0.75), round(tone[1] * 0.75), round(tone[2] * 0.75))
    oval(57, 2, 103, 46, hair)
    oval(60, 5, 100, 56, tone)
    shape([(58, 22), (60, 10), (72, 3), (88, 3), (100, 10), (102, 22), (80, 14)], hair)
    for x in (71, 89):
        shape([(x - 7, 23), (x + 7, 23), (x + 7, 25), (x - 7, 25)], hair)
        oval(x - 6, 25, x + 6, 32, shade)
        oval(x - 4, 27, x + 4, 31, (240, 238, 235))
        oval(x - 2, 27, x + 2, 31, (40, 30, 25))
    shape([(78, 30), (82, 30), (85, 40), (75, 40)], shade)
    oval(75, 38, 85, 41, shade)
    oval(71, 44, 89, 49, (150, 70, 65))


def figure(
    *,
    skin: str = "light",
    top: Colour = (70, 110, 180),
    bottom: Colour = (60, 60, 70),
    short_sleeves: bool = False,
    short_legs: bool = False,
    print_on_top: bool = False,
    ground: Image.Image | None = None,
    place: tuple[int, int] = (150, 40),
    tall: int = 345,
) -> Image.Image:
    """Draw a standing figure with eyes, brows and a mouth; a face detector finds it only sometimes.

    Args:
        skin: 'light', 'brown' or 'dark'.
        top: Colour of the jersey.
        bottom: Colour of the trousers.
        short_sleeves: Bare forearms.
        short_legs: Bare legs below the knee.
        print_on_top: Large white dots on the jersey.
        ground: What the figure stands before; a studio wall of 300×400 unless given.
        place: Column of the body's middle and row of the crown.
        tall: Height of the figure in pixels.
    """
    scale, tone = 4, _SKIN_TONES[skin]
    layer = Image.new("RGBA", (160 * scale, 345 * scale))
    drawing = ImageDraw.Draw(layer)

    def shape(points: list[tuple[int, int]], colour: Colour) -> None:
        drawing.polygon([(x * scale, y * scale) for x, y in points], fill=colour)

    def oval(left: float, top_row: float, right: float, low: float, colour: Colour) -> None:
        drawing.ellipse([left * scale, top_row * scale, right * scale, low * scale], fill=colour)

    shape([(58, 180), (102, 180), (106, 332), (86, 332), (81, 205), (79, 205), (74, 332), (54, 332)], bottom)
    if short_legs:
        shape([(55, 245), (77, 245), (74, 332), (56, 332)], tone)
        shape([(83, 245), (105, 245), (104, 332), (86, 332)], tone)
    for left in (50, 85):
        shape([(left, 330), (left + 25, 330), (left + 25, 343), (left, 343)], (35, 28, 26))
    shape([(50, 60), (110, 60), (104, 184), (56, 184)], top)
    for outer, side in ((34, -1), (126, 1)):
        inner, hand = 80 + side * 30, 80 + side * 55
        shape([(inner, 60), (outer, 75), (hand, 178), (hand - side * 13, 178), (inner - side * 5, 100)], top)
        if short_sleeves:
            shape([(80 + side * 48, 112), (hand, 178), (hand - side * 13, 178), (80 + side * 34, 112)], tone)
        oval(hand - 9, 172, hand + 5 + (side < 0) * 4, 196, tone)
    if print_on_top:
        for x, y in ((62, 85), (84, 85), (73, 110), (62, 135), (84, 135), (73, 160)):
            oval(x - 2, y, x + 14, y + 16, (245, 245, 245))
    shape(
        [(71, 45), (89, 45), (91, 64), (80, 70), (69, 64)],
        (round(tone[0] * 0.85), round(tone[1] * 0.85), round(tone[2] * 0.85)),
    )
    _draw_head(shape, oval, tone)
    small = layer.resize((round(160 * tall / 345), tall), Image.Resampling.LANCZOS)
    image = studio(300, 400) if ground is None else ground.copy()
    image.paste(small, (place[0] - small.width // 2, place[1]), mask=small)
    return image
