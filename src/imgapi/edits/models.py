"""What is known of each upstream model: what it takes, how fast it may be asked (docs/upstream.md#limits)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from imgapi.dashscope.wire import (
    ContentPart,
    ConversationInput,
    ConversationParameters,
    Message,
    SubmitBody,
)
from imgapi.edits.edit import Candidate, InputRule, MaskRule, PreparedPicture, R
from imgapi.pictures.bounds import Bounds

KILOBYTE, MEGABYTE = 1024, 1024 * 1024

BACKGROUND_PATH = "aigc/background-generation/generation"
IMAGE_TO_IMAGE_PATH = "aigc/image2image/image-synthesis"
WAN_PATH = "aigc/image-generation/generation"
QWEN_PATH = "aigc/multimodal-generation/generation"

BACKGROUND, TRY_ON_PLUS, TRY_ON, IMAGE_EDIT = (
    "wanx-background-generation-v2",
    "aitryon-plus",
    "aitryon",
    "wanx2.1-imageedit",
)
WAN, QWEN = "wan2.7-image", "qwen-image-2.0"

BACKGROUND_BASE = Bounds(formats=frozenset({"png"}), min_side=1, max_side=2048, max_bytes=10 * MEGABYTE)
BACKGROUND_REFERENCE = Bounds(
    formats=frozenset({"jpeg", "png", "webp"}), min_side=1, max_side=4096, max_bytes=10 * MEGABYTE
)
TRY_ON_PICTURE = Bounds(
    # One page adds WebP, the other does not: what both name is sure to be read.
    formats=frozenset({"jpeg", "png", "bmp"}),
    min_side=150,
    max_side=4096,
    max_bytes=5 * MEGABYTE,
    min_bytes=5 * KILOBYTE,
    alpha=False,
)
IMAGE_EDIT_PICTURE = Bounds(
    formats=frozenset({"jpeg", "png", "bmp", "tiff", "webp"}), min_side=512, max_side=4096, max_bytes=10 * MEGABYTE
)
WAN_PICTURE = Bounds(
    formats=frozenset({"jpeg", "png", "bmp", "webp"}),
    min_side=240,
    max_side=8000,
    max_bytes=20 * MEGABYTE,
    max_aspect=8.0,
    alpha=False,
)
QWEN_PICTURE = Bounds(
    formats=frozenset({"jpeg", "png", "bmp", "tiff", "webp"}),
    min_side=384,
    max_side=3072,
    max_bytes=10 * MEGABYTE,
    alpha=False,
)


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What one account may ask of a model: submits per second, tasks running at once, and the list price."""

    submits_per_second: float
    running: int
    price_cny: float


# Models without a documented cap on running tasks get one of ours, so that a burst can't spend without bound.
LIMITS: Mapping[str, ModelLimits] = {
    BACKGROUND: ModelLimits(2, 1, 0.08),
    TRY_ON: ModelLimits(10, 5, 0.20),
    TRY_ON_PLUS: ModelLimits(10, 5, 0.50),
    IMAGE_EDIT: ModelLimits(2, 2, 0.14),
    WAN: ModelLimits(5, 5, 0.20),
    QWEN: ModelLimits(2, 10, 0.20),
}

# What both successors take: 2.0 begins at 512², 2.7 at 768².
SMALLEST_AREA, LARGEST_AREA = 768 * 768, 2048 * 2048


def successors(
    fields: Iterable[str],
    body: Callable[[str, R, Mapping[str, PreparedPicture]], SubmitBody],
    canvas: Callable[[R], tuple[float, float, float, float]] | None = None,
    mask: MaskRule[R] | None = None,
) -> tuple[Candidate[R], Candidate[R]]:
    """Describe the two successors of every picture model: general editors that follow an instruction.

    Args:
        fields: The public fields that hold pictures.
        body: Writes the submit for the model named first.
        canvas: As `InputRule.canvas`.
        mask: As `Candidate.mask`.
    """
    wan: InputRule[R] = InputRule(WAN_PICTURE, canvas=canvas)
    qwen: InputRule[R] = InputRule(QWEN_PICTURE, canvas=canvas)
    names = tuple(fields)
    return (
        Candidate(
            model=WAN,
            path=WAN_PATH,
            asynchronous=True,
            inputs=dict.fromkeys(names, wan),
            body=lambda request, pictures: body(WAN, request, pictures),
            usual_seconds=15.0,
            mask=mask,
        ),
        Candidate(
            model=QWEN,
            path=QWEN_PATH,
            asynchronous=False,
            inputs=dict.fromkeys(names, qwen),
            body=lambda request, pictures: body(QWEN, request, pictures),
            usual_seconds=15.0,
            mask=mask,
        ),
    )


def conversation(
    model: str, pictures: Sequence[PreparedPicture], instruction: str, *, n: int = 1, size: str | None = None
) -> SubmitBody:
    """Write a submit for a successor model: pictures in order, then one instruction."""
    parts = (*(ContentPart(image=picture.url) for picture in pictures), ContentPart(text=instruction))
    return SubmitBody(
        model=model,
        input=ConversationInput(messages=(Message(content=parts),)),
        parameters=ConversationParameters(n=n, size=size),
    )


def size_within_area(width: float, height: float) -> str:
    """Write `W*H` of the same ratio, in steps of 16 px, inside the area that both successors take."""
    area = width * height
    factor = 1.0
    if area > LARGEST_AREA:
        factor = (LARGEST_AREA / area) ** 0.5
    elif area < SMALLEST_AREA:
        factor = (SMALLEST_AREA / area) ** 0.5
    # Rounding goes towards the inside of the range.
    step = 16
    wide, high = (max(step, int(side * factor // step) * step) for side in (width, height))
    if wide * high < SMALLEST_AREA:
        wide, high = (-int(-side * factor // step) * step for side in (width, height))
    return f"{wide}*{high}"
