"""Networks of some 150 bytes with the signatures of real ones: a 1×1 convolution on RGB, and perhaps a sigmoid.

All but two take red for the subject: 24·R - 24·G - 6 of the normalised picture. CONSTANT gives 0.5 everywhere, and
THRESHOLD parts the normalised red channel at a value of the test's choice.
"""

import base64
import importlib
import os
import struct
from pathlib import Path

import pytest

# Three outputs, as U²-Net has seven; the second is of another shape.
U2NET = (
    "CAgSADr7AQoSCgF4CgF3CgFiEgFjIgRDb252ChAKAWMSAnkwIgdTaWdtb2lkChEKAXgSAnkxIghJZGVudGl0eQoSCgJ5MBICeTIiCElkZW50aXR5Eg"
    "FnKhsIAQgDCAEIARABQgF3SgwAAMBBAADAwQAAAAAqDQgBEAFCAWJKBAAAwMBaHQoBeBIYChYIARISCgIIAQoCCAMKAwigAQoDCKABYh4KAnkwEhgK"
    "FggBEhIKAggBCgIIAQoDCKABCgMIoAFiHgoCeTESGAoWCAESEgoCCAEKAggDCgMIoAEKAwigAWIeCgJ5MhIYChYIARISCgIIAQoCCAEKAwigAQoDCK"
    "ABQgQKABAN"
)
ISNET = (
    "CAgSADqUAQoSCgF4CgF3CgFiEgFjIgRDb252ChAKAWMSAnkwIgdTaWdtb2lkEgFnKhsIAQgDCAEIARABQgF3SgwAAMBBAADAwQAAAAAqDQgBEAFCAW"
    "JKBAAAwMBaHQoBeBIYChYIARISCgIIAQoCCAMKAwjAAQoDCMABYh4KAnkwEhgKFggBEhIKAggBCgIIAQoDCMABCgMIwAFCBAoAEA0="
)
# Logits, as BiRefNet gives.
BIREFNET = (
    "CAgSADqDAQoTCgF4CgF3CgFiEgJ5MCIEQ29udhIBZyobCAEIAwgBCAEQAUIBd0oMAADAQQAAwMEAAAAAKg0IARABQgFiSgQAAMDAWh0KAXgSGAoWCA"
    "ESEgoCCAEKAggDCgMIgAEKAwiAAWIeCgJ5MBIYChYIARISCgIIAQoCCAEKAwiAAQoDCIABQgQKABAN"
)
# Takes any size.
OPEN = (
    "CAgSADqWAQoSCgF4CgF3CgFiEgFjIgRDb252ChAKAWMSAnkwIgdTaWdtb2lkEgFnKhsIAQgDCAEIARABQgF3SgwAAMBBAADAwQAAAAAqDQgBEAFCAW"
    "JKBAAAwMBaHgoBeBIZChcIARITCgMSAW4KAggDCgMSAWgKAxIBd2IfCgJ5MBIZChcIARITCgMSAW4KAggBCgMSAWgKAxIBd0IECgAQDQ=="
)
# 16-bit floats.
HALF = (
    "CAgSADqIAQoSCgF4CgF3CgFiEgFjIgRDb252ChAKAWMSAnkwIgdTaWdtb2lkEgFnKhUIAQgDCAEIARAKQgF3SgYATgDOAAAqCwgBEApCAWJKAgDGWh"
    "sKAXgSFgoUCAoSEAoCCAEKAggDCgIIYAoCCGBiHAoCeTASFgoUCAoSEAoCCAEKAggBCgIIYAoCCGBCBAoAEA0="
)
CONSTANT = (
    "CAgSADqQAQoSCgF4CgF3CgFiEgFjIgRDb252ChAKAWMSAnkwIgdTaWdtb2lkEgFnKhsIAQgDCAEIARABQgF3SgwAAAAAAAAAgAAAAAAqDQgBEAFCAW"
    "JKBAAAAABaGwoBeBIWChQIARIQCgIIAQoCCAMKAghACgIIQGIcCgJ5MBIWChQIARIQCgIIAQoCCAEKAghACgIIQEIECgAQDQ=="
)
# A matte of two channels, which is none.
TWO_CHANNELS = (
    "CAgSADqgAQoSCgF4CgF3CgFiEgFjIgRDb252ChAKAWMSAnkwIgdTaWdtb2lkEgFnKicIAggDCAEIARABQgF3ShgAAMBBAADAwQAAAAAAAMBBAADAwQ"
    "AAAAAqEQgCEAFCAWJKCAAAwMAAAMDAWhsKAXgSFgoUCAESEAoCCAEKAggDCgIIIAoCCCBiHAoCeTASFgoUCAESEAoCCAEKAggCCgIIIAoCCCBCBAoA"
    "EA0="
)
_THRESHOLD = (
    "CAgSADqQAQoSCgF4CgF3CgFiEgFjIgRDb252ChAKAWMSAnkwIgdTaWdtb2lkEgFnKhsIAQgDCAEIARABQgF3SgwAAHpEAAAAAAAAAAAqDQgBEAFCAW"
    "JKBADkQEZaGwoBeBIWChQIARIQCgIIAQoCCAMKAgggCgIIIGIcCgJ5MBIWChQIARIQCgIIAQoCCAEKAgggCgIIIEIECgAQDQ=="
)
_PLACEHOLDER = struct.pack("<f", 12345.0)


def write_model(path: Path, encoded: str) -> Path:
    """Write a network's file."""
    path.write_bytes(base64.b64decode(encoded))
    return path


def write_threshold(path: Path, value: float) -> Path:
    """Write THRESHOLD: opaque where the normalised red is above the value, clear where it is below."""
    content = base64.b64decode(_THRESHOLD)
    assert content.count(_PLACEHOLDER) == 1
    path.write_bytes(content.replace(_PLACEHOLDER, struct.pack("<f", -1000.0 * value)))
    return path


def need_onnxruntime() -> None:
    """Skip without onnxruntime, which an installation may lack, unless IMGAPI_TEST_REQUIRE names it."""
    try:
        importlib.import_module("onnxruntime")
    except (ImportError, OSError) as exc:
        if "onnxruntime" in os.environ.get("IMGAPI_TEST_REQUIRE", ""):
            pytest.fail(f"onnxruntime is required and can't be imported: {exc}")
        pytest.skip(f"matting with a model needs onnxruntime (pip install 'imgapi[onnx]'): {exc}")
