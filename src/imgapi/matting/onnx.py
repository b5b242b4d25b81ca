"""Matting by a network in ONNX form: U²-Net, IS-Net, BiRefNet and others of their signature."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import onnxruntime

from imgapi.errors import CapabilityMissing, SubjectNotFound
from imgapi.matting.cutout import Cutout
from imgapi.matting.models import Network, Signature
from imgapi.matting.pixels import Pixels, prepare_process, read_picture, write_png
from imgapi.matting.regions import touched_sides
from imgapi.matting.soft_edges import apply_matte

_LEAST_SPREAD = 0.1
_LEAST_SHARE = 0.001
_MOST_SHARE = 0.995
_LOW_CONFIDENCE = 0.55
_REAL_ALPHA_SHARE = 0.001
_ROUNDING = 0.01
_UNUSABLE = "The model that cuts out here can't be used; the operator of this service has to choose another."
_NOTHING = "no subject was found: send a picture with one clear subject, larger in the frame"
_EVERYTHING = "the subject fills the whole picture: send one that shows some background on all sides of it"
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True, slots=True)
class _Session:
    """A loaded network.

    Attributes:
        session: Of onnxruntime.
        input_name: Of the one input.
        input_type: Its element type.
        size: Its height and width; 0 where the network leaves it open.
        output_name: Of the first output, the matte.
    """

    session: Any
    input_name: str
    input_type: Any
    size: tuple[int, int]
    output_name: str


def cut_out_with_model(content: bytes, network: Network) -> Cutout:
    """Free the main subject of a picture from its background.

    A picture that already has real transparency keeps its alpha as it is. The network stays loaded in this process.

    Raises:
        UnreadableImage: The bytes are no picture.
        ImageTooLarge: More than 50 million pixels.
        SubjectNotFound: The network finds nothing, or everything, to be the subject.
        CapabilityMissing: The file is no network of a known signature, or needs more memory than there is.
    """
    prepare_process()
    picture = read_picture(content)
    notes = {"Software": f"imgapi {network.label}"}
    if picture.alpha is not None and _is_real(picture.alpha):
        pixels = np.dstack([picture.rgb, picture.alpha])
        return Cutout(write_png(pixels, notes=notes, icc_profile=picture.icc_profile), 1.0, ())
    matte, confidence = _to_matte(_infer(network, picture.rgb))
    solid = matte > 0.5  # noqa: PLR2004 - half opaque
    _refuse_nothing_or_all(float(solid.mean()))
    warnings = ["low_confidence"] if confidence < _LOW_CONFIDENCE else []
    if touched_sides(solid):
        warnings.append("touches_border")
    encoded = write_png(apply_matte(picture.rgb, matte), notes=notes, icc_profile=picture.icc_profile)
    return Cutout(encoded, round(confidence, 3), tuple(warnings))


def _is_real(alpha: Pixels) -> bool:
    """Whether the alpha channel cuts something out, rather than being noise in an opaque picture."""
    share = float((alpha < 128).mean())  # noqa: PLR2004 - half opaque
    if share > 1 - _REAL_ALPHA_SHARE:
        raise SubjectNotFound("the whole picture is transparent: send one in which the subject is visible")
    return share > _REAL_ALPHA_SHARE


def _infer(network: Network, rgb: Pixels) -> Pixels:
    """Return the network's first output as h×w float32, as it comes."""
    try:
        status = network.path.stat()
        loaded = _load(str(network.path), status.st_mtime_ns, status.st_size, network.threads)
        side = network.signature.side
        taken = _to_input(rgb, (loaded.size[0] or side, loaded.size[1] or side), network.signature)
        outputs = loaded.session.run([loaded.output_name], {loaded.input_name: taken.astype(loaded.input_type)})
    except CapabilityMissing:
        raise
    # onnxruntime's exceptions share no base class but Exception.
    except Exception as exc:
        raise CapabilityMissing(_UNUSABLE, detail=f"{network.label}: {exc}") from exc
    matte = np.asarray(outputs[0], dtype=np.float32)
    while matte.ndim > 2 and matte.shape[0] == 1:  # noqa: PLR2004 - rows and columns
        matte = matte[0]
    if matte.ndim != 2 or not np.isfinite(matte).all():  # noqa: PLR2004 - rows and columns
        raise CapabilityMissing(_UNUSABLE, detail=f"{network.label}: an output of shape {outputs[0].shape} is no matte")
    return matte


@lru_cache(maxsize=1)
def _load(path: str, _modified_ns: int, _size_bytes: int, threads: int) -> _Session:
    """Load a network, anew when its file was changed."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The arena keeps what one picture needed for the next, and saves no time.
    options.enable_cpu_mem_arena = False
    # Idle threads would otherwise turn in circles for the next picture.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, sess_options=options, providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    if len(shape) != 4 or shape[1] != 3 or inputs[0].type not in _TYPES or not outputs:  # noqa: PLR2004 - N, RGB, H, W
        found = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
        raise CapabilityMissing(_UNUSABLE, detail=f"one input of shape 1x3xHxW is needed, and there is: {found}")
    height, width = (value if isinstance(value, int) and value > 0 else 0 for value in shape[2:])
    return _Session(session, inputs[0].name, _TYPES[inputs[0].type], (height, width), outputs[0].name)


def _to_input(rgb: Pixels, size: tuple[int, int], signature: Signature) -> Pixels:
    """Scale H×W×3 uint8 to `size` (height, width) and to the network's values: 1×3×height×width float32."""
    is_smaller = rgb.shape[0] * rgb.shape[1] > size[0] * size[1]
    scaled = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR)
    brightest = max(1.0, float(scaled.max())) if signature.by_brightest else 255.0
    mean, deviation = (np.array(each, dtype=np.float32) for each in (signature.mean, signature.deviation))
    values = (scaled.astype(np.float32) / brightest - mean) / deviation
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], dtype=np.float32)


def _to_matte(values: Pixels) -> tuple[Pixels, float]:
    """Stretch a network's values to a matte 0..1, and tell how decided it is, 0..1.

    Values outside 0..1 are logits, which BiRefNet gives.

    Raises:
        SubjectNotFound: All values are about the same, so that nothing stands out.
    """
    if float(values.min()) < -_ROUNDING or float(values.max()) > 1 + _ROUNDING:
        values = 1.0 / (1.0 + np.exp(-np.clip(values, -30.0, 30.0)))
    least, most = float(values.min()), float(values.max())
    if most - least < _LEAST_SPREAD:
        raise SubjectNotFound(_EVERYTHING if least > 0.5 else _NOTHING)  # noqa: PLR2004 - half opaque
    matte = ((values - least) / (most - least)).astype(np.float32)
    undecided = float(np.minimum(matte, 1 - matte).sum()) / max(1e-6, float(matte.sum()))
    return matte, float(np.clip((1 - 2 * undecided) * min(1.0, most), 0.0, 1.0))


def _refuse_nothing_or_all(share: float) -> None:
    if share < _LEAST_SHARE:
        raise SubjectNotFound(_NOTHING)
    if share > _MOST_SHARE:
        raise SubjectNotFound(_EVERYTHING)
