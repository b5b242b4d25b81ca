"""Matting with a model: networks of every known signature, run by the real onnxruntime."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny_models
from drawings import decode, encode, mug, pixels, studio
from imgapi.errors import CapabilityMissing, SubjectNotFound, UnreadableImage
from imgapi.matting.cutout import Cutout
from imgapi.matting.models import MODELS, Network, choose
from tiny_models import write_model, write_threshold


@pytest.fixture(autouse=True)
def _need_onnxruntime() -> None:
    """Nothing here works without it."""
    tiny_models.need_onnxruntime()


def run(path: Path, content: bytes) -> Cutout:
    """Cut out with a file, as the service would with `IMGAPI_MATTING=onnx:<path>`."""
    from imgapi.matting.onnx import cut_out_with_model

    choice = choose(f"onnx:{path}")
    assert choice is not None
    return cut_out_with_model(content, Network(choice.label, path, choice.signature, threads=1))


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("u2netp", tiny_models.U2NET),
        ("isnet-general-use", tiny_models.ISNET),
        ("birefnet-general", tiny_models.BIREFNET),
        ("someones", tiny_models.OPEN),
        ("someones-half", tiny_models.HALF),
    ],
)
def test_every_signature_cuts_the_subject_out(name: str, encoded: str, tmp_path: Path) -> None:
    """Fixed and open sizes, several outputs, logits and 16-bit floats: each cuts the red mug out to its outline."""
    image, outline = mug()
    cutout = run(write_model(tmp_path / f"{name}.onnx", encoded), encode(image))
    found = np.asarray(decode(cutout.content).getchannel("A")) > 127
    assert (found & outline).sum() / (found | outline).sum() > 0.93
    assert cutout.confidence > 0.7
    assert cutout.warnings == ()


def test_rim_is_free_of_the_backdrop(tmp_path: Path) -> None:
    """Half-transparent rim pixels have the mug's red, not the wall's grey mixed in."""
    path = write_model(tmp_path / "u2net.onnx", tiny_models.U2NET)
    cut = pixels(decode(run(path, encode(mug()[0])).content))[:225]
    rim = (cut[:, :, 3] > 60) & (cut[:, :, 3] < 200)
    assert rim.sum() > 50
    assert np.median(cut[rim][:, 0] - cut[rim][:, 1]) > 80


@pytest.mark.parametrize(("name", "value"), [("isnet-x", 0.05), ("birefnet-x", 0.3), ("other", 0.3), ("u2net-x", 1.5)])
def test_each_family_is_given_its_own_normalisation(name: str, value: float, tmp_path: Path) -> None:
    """Of two greys, 130 and 200, only the network's own mean, deviation and white put the threshold between them."""
    greys = np.full((64, 64, 3), 130, dtype=np.uint8)
    greys[16:48, 16:48] = 200
    path = write_threshold(tmp_path / f"{name}.onnx", value)
    alpha = np.asarray(decode(run(path, encode(Image.fromarray(greys))).content).getchannel("A"))
    assert alpha[32, 32] == 255
    assert alpha[4, 4] == 0


def test_constant_matte_is_refused(tmp_path: Path) -> None:
    """A network that sees nothing stand out gives a sentence for the caller, not a division by zero."""
    with pytest.raises(SubjectNotFound, match="send a picture"):
        run(write_model(tmp_path / "constant.onnx", tiny_models.CONSTANT), encode(studio(80, 60)))


def test_everything_as_subject_is_refused(tmp_path: Path) -> None:
    """A matte that is opaque but for a pixel frees nothing from its background."""
    white = np.full((400, 400, 3), 250, dtype=np.uint8)
    white[:13, :13] = 0
    with pytest.raises(SubjectNotFound, match="fills the whole picture"):
        run(write_threshold(tmp_path / "other.onnx", 0.3), encode(Image.fromarray(white)))


def test_undecided_matte_says_so(tmp_path: Path) -> None:
    """A matte that is half opaque nearly everywhere comes with low confidence and its warning."""
    ramp = np.zeros((64, 64, 3), dtype=np.uint8)
    ramp[:, :, 0] = np.linspace(170, 210, 64)[None]
    ramp[:, :, 1] = 128
    cutout = run(write_model(tmp_path / "isnet.onnx", tiny_models.ISNET), encode(Image.fromarray(ramp)))
    assert cutout.confidence < 0.55
    assert cutout.warnings == ("low_confidence", "touches_border")


def test_real_alpha_is_kept_as_it_is(tmp_path: Path) -> None:
    """A picture that already is a cutout comes back with the very same four channels, as by classical means."""
    image, outline = mug()
    image.putalpha(Image.fromarray((outline * 255).astype(np.uint8)))
    cutout = run(write_model(tmp_path / "u2net.onnx", tiny_models.U2NET), encode(image))
    assert np.array_equal(pixels(decode(cutout.content)), pixels(image))
    assert cutout.confidence == 1.0


def test_picture_is_oriented_and_names_its_model(tmp_path: Path) -> None:
    """EXIF orientation is applied, and the PNG's note names the model but no folder of the machine."""
    image, _ = mug()
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(image.rotate(90, expand=True), "JPEG", quality=95, exif=exif)
    cut = decode(run(write_model(tmp_path / "u2netp.onnx", tiny_models.U2NET), content).content)
    assert (cut.format, cut.mode, cut.size) == ("PNG", "RGBA", image.size)
    assert cut.info["Software"] == "imgapi onnx:u2netp"


def test_large_picture_is_cut_at_its_full_size(tmp_path: Path) -> None:
    """Above the working size the result has all pixels, and the inside of the subject is untouched."""
    image = mug()[0].resize((2400, 300), Image.Resampling.BICUBIC)
    cut = pixels(decode(run(write_model(tmp_path / "isnet.onnx", tiny_models.ISNET), encode(image)).content))
    assert cut.shape == (300, 2400, 4)
    assert np.array_equal(cut[150, 1200, :3], pixels(image)[150, 1200])
    assert cut[150, 1200, 3] == 255


def test_network_is_loaded_anew_when_its_file_changes(tmp_path: Path) -> None:
    """One session serves all pictures until the operator replaces the file."""
    from imgapi.matting import onnx

    path = write_model(tmp_path / "u2net.onnx", tiny_models.U2NET)
    onnx._load.cache_clear()
    for _ in range(2):
        run(path, encode(mug()[0]))
    assert onnx._load.cache_info().misses == 1
    write_model(path, tiny_models.CONSTANT)
    os.utime(path, (1, 1))
    with pytest.raises(SubjectNotFound):
        run(path, encode(mug()[0]))


@pytest.mark.parametrize("content", [b"", b"no network", None])
def test_file_that_is_no_network_is_the_operators_to_mend(content: bytes | None, tmp_path: Path) -> None:
    """A damaged file or a network of another signature answers without a path; the reason is for the log."""
    path = write_model(tmp_path / "two.onnx", tiny_models.TWO_CHANNELS)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CapabilityMissing) as caught:
        run(path, encode(mug()[0]))
    assert "operator" in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert caught.value.detail


def test_unreadable_bytes_are_the_callers_to_mend(tmp_path: Path) -> None:
    """Bytes that are no picture are refused before the network is run."""
    with pytest.raises(UnreadableImage):
        run(write_model(tmp_path / "u2net.onnx", tiny_models.U2NET), b"no picture")


def test_known_models_are_chosen_by_name() -> None:
    """Each known name brings its own URL, checksum and size; `classical` brings no model."""
    assert choose("classical") is None
    for name, model in MODELS.items():
        choice = choose(f"onnx:{name}")
        assert choice is not None
        assert (choice.label, choice.known, choice.path) == (f"onnx:{name}", model, None)
        assert len(bytes.fromhex(model.sha256)) == 32
        assert model.url.startswith("https://")
        assert model.licence
    assert len({model.sha256 for model in MODELS.values()}) == len(MODELS)


@pytest.mark.parametrize("value", ["", "onnx", "onnx:", "onnx: ", "rembg", "onnx:bria-rmbg", "u2net"])
def test_unknown_choice_names_what_there_is(value: str) -> None:
    """What can't be chosen is refused with the names that can."""
    with pytest.raises(ValueError, match="u2netp, u2net"):
        choose(value)


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/srv/models/my shop's model.onnx", "onnx:my_shop_s_model"),
        ("model.onnx", "onnx:model"),
        ("./исходник", "onnx:_"),
    ],
)
def test_own_file_is_shown_by_its_stem(path: str, label: str) -> None:
    """A path is never shown: only the file's stem, in plain letters."""
    choice = choose(f"onnx:{path}")
    assert choice is not None
    assert choice.label == label
    assert choice.path == Path(path)
