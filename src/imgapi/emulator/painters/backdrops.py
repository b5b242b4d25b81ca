"""Backdrops painted from words: a horizon or a studio wall in the colours that a prompt names."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from imgapi.matting.pixels import Pixels

Colour: TypeAlias = tuple[int, int, int]
_WORK_SIDE = 1024


@dataclass(frozen=True, slots=True)
class _Palette:
    """Colours of a scene from top to bottom, how rough its two halves are, and how many lights float in it."""

    high: Colour
    low: Colour
    far: Colour
    near: Colour
    horizon: float = 0.62
    cloud: float = 10.0
    grain: float = 10.0
    lights: int = 0


_STUDIO = _Palette((236, 236, 238), (222, 222, 226), (214, 214, 218), (190, 190, 196), 0.7, 1.5, 1.5)

# The first row with a word of the prompt in it wins; moods stand before places, because they decide the light.
_SCENES: tuple[tuple[tuple[str, ...], _Palette], ...] = (
    (("sunset", "sunrise", "dusk", "日落", "夕阳", "黄昏", "日出", "晚霞"),
     _Palette((64, 66, 120), (255, 158, 92), (190, 96, 72), (58, 44, 62), 0.6, 22.0, 9.0)),
    (("night", "neon", "city", "street", "夜", "霓虹", "城市", "街"),
     _Palette((14, 16, 40), (46, 38, 84), (40, 34, 60), (18, 18, 28), 0.66, 8.0, 6.0, 90)),
    (("space", "galaxy", "star", "太空", "星空", "宇宙", "银河"),
     _Palette((6, 8, 24), (30, 22, 60), (24, 18, 48), (8, 8, 20), 0.8, 14.0, 10.0, 160)),
    (("snow", "winter", "ice", "雪", "冬", "冰"),
     _Palette((168, 196, 224), (226, 236, 246), (238, 243, 250), (206, 220, 238), 0.55, 10.0, 6.0, 40)),
    (("beach", "sand", "desert", "沙滩", "海滩", "沙漠"),
     _Palette((84, 160, 220), (196, 226, 240), (228, 206, 160), (198, 168, 116), 0.5, 14.0, 8.0)),
    (("sea", "ocean", "lake", "water", "海", "湖", "水"),
     _Palette((96, 168, 224), (206, 228, 240), (44, 122, 160), (14, 70, 110), 0.48, 16.0, 12.0)),
    (("forest", "jungle", "tree", "森林", "树", "丛林"),
     _Palette((150, 186, 120), (74, 118, 62), (54, 90, 44), (30, 52, 26), 0.58, 26.0, 18.0, 30)),
    (("grass", "meadow", "garden", "park", "field", "草", "花园", "公园", "田"),
     _Palette((120, 184, 236), (214, 234, 244), (122, 172, 76), (66, 120, 44), 0.52, 16.0, 14.0)),
    (("mountain", "hill", "山"),
     _Palette((110, 160, 214), (208, 222, 234), (122, 134, 132), (70, 84, 66), 0.5, 18.0, 16.0)),
    (("sky", "cloud", "天空", "云"),
     _Palette((74, 140, 220), (188, 216, 242), (206, 226, 244), (230, 240, 248), 0.8, 26.0, 12.0)),
    (("wood", "desk", "table", "木", "桌"),
     _Palette((206, 190, 172), (188, 168, 146), (164, 116, 72), (122, 80, 46), 0.6, 4.0, 14.0)),
    (("room", "indoor", "home", "sofa", "kitchen", "房间", "室内", "客厅", "厨房"),
     _Palette((232, 222, 208), (218, 204, 186), (176, 140, 104), (136, 102, 74), 0.66, 3.0, 8.0)),
    (("marble", "luxury", "大理石", "高级"),
     _Palette((240, 238, 234), (226, 222, 216), (234, 230, 226), (204, 198, 192), 0.62, 4.0, 12.0)),
)  # fmt: skip

_COLOURS: tuple[tuple[tuple[str, ...], Colour], ...] = (
    (("red", "红"), (190, 52, 48)),
    (("orange", "橙"), (232, 138, 54)),
    (("yellow", "gold", "黄", "金"), (236, 200, 92)),
    (("green", "绿"), (96, 158, 92)),
    (("blue", "蓝"), (72, 122, 196)),
    (("purple", "violet", "紫"), (128, 92, 176)),
    (("pink", "粉"), (238, 172, 186)),
    (("brown", "棕", "褐"), (138, 100, 72)),
    (("black", "dark", "黑"), (38, 38, 42)),
    (("gray", "grey", "灰"), (150, 150, 154)),
    (("white", "白"), (244, 244, 246)),
)


def paint_backdrop(prompt: str, width: int, height: int, *, seed: int) -> Pixels:
    """Paint a plausible backdrop for the words it knows, else a neutral studio.

    Returns:
        height×width×3 uint8; the same prompt, size and seed give the same pixels.
    """
    palette = _choose(prompt.lower())
    scale = min(1.0, _WORK_SIDE / max(width, height))
    across, down = max(8, round(width * scale)), max(8, round(height * scale))
    dice = np.random.default_rng(seed)
    horizon = float(np.clip(palette.horizon + dice.uniform(-0.06, 0.06), 0.3, 0.85))
    y = np.linspace(0, 1, down, dtype=np.float32)
    upper = _gradient(palette.high, palette.low, y / horizon)
    lower = _gradient(palette.far, palette.near, (y - horizon) / (1 - horizon))
    ground = np.clip((y - horizon) / 0.03 + 0.5, 0, 1)[:, None, None]
    clouds = _clouds(dice, across, down, stretch=3.0)[:, :, None] * palette.cloud
    grain = _clouds(dice, across, down, stretch=8.0)[:, :, None] * palette.grain
    painted = (upper[:, None] + clouds) * (1 - ground) + (lower[:, None] + grain) * ground
    if palette.lights:
        painted += _lights(dice, across, down, palette.lights)
    painted = painted * _vignette(across, down)
    enlarged = cv2.resize(painted.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    # A little noise keeps the long gradients from showing steps at 8 bits.
    speckle = dice.normal(0, 1.0, (min(height, 256), min(width, 256), 1)).astype(np.float32)
    enlarged += np.tile(speckle, (height // len(speckle) + 1, width // speckle.shape[1] + 1, 1))[:height, :width]
    return np.asarray(np.clip(enlarged + 0.5, 0, 255), dtype=np.uint8)


def _choose(prompt: str) -> _Palette:
    for words, palette in _SCENES:
        if any(word in prompt for word in words):
            return palette
    for words, (red, green, blue) in _COLOURS:
        if any(word in prompt for word in words):
            light = (min(255, red + 24), min(255, green + 24), min(255, blue + 24))
            deep = (red * 3 // 4, green * 3 // 4, blue * 3 // 4)
            return _Palette(light, (red, green, blue), (red, green, blue), deep, 0.7, 2.0, 2.0)
    return _STUDIO


def _gradient(start: Colour, end: Colour, position: Pixels) -> Pixels:
    weight = np.clip(position, 0, 1)[:, None]
    return np.asarray((1 - weight) * np.array(start, np.float32) + weight * np.array(end, np.float32))


def _clouds(dice: np.random.Generator, width: int, height: int, *, stretch: float) -> Pixels:
    """Noise of several sizes, wider than tall: height×width float32 with spread about 1."""
    total = np.zeros((height, width), dtype=np.float32)
    for octave in range(5):
        rows = 2 ** (octave + 2)
        columns = max(2, round(rows * width / height / stretch) + 1)
        coarse = dice.normal(0, 1, (rows + 1, columns + 1)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * 0.6**octave
    return total / 1.3


def _lights(dice: np.random.Generator, width: int, height: int, count: int) -> Pixels:
    drawn = np.zeros((height, width, 3), dtype=np.float32)
    for _ in range(count):
        place = int(dice.uniform(0, width)), int(dice.uniform(0, 0.75 * height))
        radius = int(dice.uniform(0.001, 0.018) * max(width, height)) + 1
        warm = dice.uniform(0.5, 1.0, 3) * (70 if radius > 4 else 190)
        disc = np.zeros_like(drawn)
        cv2.circle(disc, place, radius, tuple(float(value) for value in warm), -1, cv2.LINE_AA)
        drawn += disc
    return cv2.GaussianBlur(drawn, (0, 0), 1.5)


def _vignette(width: int, height: int) -> Pixels:
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    return 1.0 - 0.12 * (x * x + y * y) / 2
