"""The matting networks that imgapi knows, and how the setting names one; imports neither numpy nor onnxruntime."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CLASSICAL = "classical"
_PREFIX = "onnx:"
_UNPRINTED = re.compile(r"[^\w.+-]+", re.ASCII)
_MAX_NAME = 64

Channels = tuple[float, float, float]
_IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a network takes: one picture, 1×3×side×side, RGB.

    Attributes:
        side: Pixels a side, where the network's own input leaves it open.
        mean: Subtracted from each channel, which is 0..1 before.
        deviation: Divides each channel after that.
        by_brightest: Whether 1.0 is the picture's brightest value, as U²-Net was trained, rather than 255.
    """

    side: int
    mean: Channels
    deviation: Channels
    by_brightest: bool = False


U2NET = Signature(320, _IMAGENET_MEAN, _IMAGENET_DEVIATION, by_brightest=True)
ISNET = Signature(1024, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
BIREFNET = Signature(1024, _IMAGENET_MEAN, _IMAGENET_DEVIATION)
OTHER = Signature(320, _IMAGENET_MEAN, _IMAGENET_DEVIATION)
_FAMILIES = {"u2net": U2NET, "silueta": U2NET, "isnet": ISNET, "birefnet": BIREFNET}


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A network that can be had by name.

    Attributes:
        name: As the setting has it.
        url: Where its ONNX file is published.
        sha256: Of that file, 64 hexadecimal digits.
        size_bytes: Of that file.
        signature: What it takes.
        licence: Of the weights, as their authors state it; not legal advice.
    """

    name: str
    url: str
    sha256: str
    size_bytes: int
    signature: Signature
    licence: str


_RELEASE = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"
_MODELS = (
    KnownModel(
        "u2netp",
        f"{_RELEASE}/u2netp.onnx",
        "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        4_574_861,
        U2NET,
        "Apache-2.0",
    ),
    KnownModel(
        "u2net",
        f"{_RELEASE}/u2net.onnx",
        "8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
        175_997_641,
        U2NET,
        "Apache-2.0",
    ),
    KnownModel(
        "silueta",
        f"{_RELEASE}/silueta.onnx",
        "75da6c8d2f8096ec743d071951be73b4a8bc7b3e51d9a6625d63644f90ffeedb",
        44_173_029,
        U2NET,
        "not stated (made from U²-Net)",
    ),
    KnownModel(
        "isnet-general-use",
        f"{_RELEASE}/isnet-general-use.onnx",
        "60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
        178_648_008,
        ISNET,
        "Apache-2.0",
    ),
    KnownModel(
        "birefnet-general-lite",
        f"{_RELEASE}/BiRefNet-general-bb_swin_v1_tiny-epoch_232.onnx",
        "5600024376f572a557870a5eb0afb1e5961636bef4e1e22132025467d0f03333",
        224_005_088,
        BIREFNET,
        "MIT",
    ),
    KnownModel(
        "birefnet-general",
        f"{_RELEASE}/BiRefNet-general-epoch_244.onnx",
        "58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c",
        972_666_916,
        BIREFNET,
        "MIT",
    ),
)
MODELS: Mapping[str, KnownModel] = {model.name: model for model in _MODELS}


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The network that an operator chose, by name or by the path of a file.

    Attributes:
        name: The known name, or the file's stem; never a path.
        signature: What it takes.
        known: Where it can be had and how it is checked; None for a file of the operator's own.
        path: The operator's own file; None for a known network.
    """

    name: str
    signature: Signature
    known: KnownModel | None = None
    path: Path | None = None

    @property
    def label(self) -> str:
        """The name as replies show it, such as `onnx:u2netp`."""
        return f"{_PREFIX}{self.name}"


@dataclass(frozen=True, slots=True)
class Network:
    """What a worker process needs in order to run a network.

    Attributes:
        label: As `ModelChoice.label`; noted in each PNG.
        path: The ONNX file.
        signature: What it takes.
        threads: How many threads compute at the same time.
    """

    label: str
    path: Path
    signature: Signature
    threads: int


def choose(value: str) -> ModelChoice | None:
    """Read `classical` (None), `onnx:<known name>` or `onnx:<path of an ONNX file>`.

    Raises:
        ValueError: It is none of these; one sentence for an operator.
    """
    if value == CLASSICAL:
        return None
    chosen = value.removeprefix(_PREFIX).strip()
    if chosen == value or not chosen:
        raise ValueError(
            f"it must be {CLASSICAL} or {_PREFIX}NAME, where NAME is {_names()}, or a path to an ONNX file"
        )
    known = MODELS.get(chosen)
    if known is not None:
        return ModelChoice(known.name, known.signature, known=known)
    path = Path(chosen).expanduser()
    if "/" not in chosen and path.suffix != ".onnx":
        raise ValueError(f"no model is named {chosen[:_MAX_NAME]!r}; there are {_names()}, and paths to ONNX files")
    name = _UNPRINTED.sub("_", path.stem)[:_MAX_NAME] or "model"
    return ModelChoice(name, _signature_of(path.stem.lower()), path=path)


def _names() -> str:
    return ", ".join(MODELS)


def _signature_of(stem: str) -> Signature:
    return next((signature for family, signature in _FAMILIES.items() if stem.startswith(family)), OTHER)
