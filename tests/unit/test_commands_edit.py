"""The commands `imgapi edit …` against a running server: options, files, exit codes and what is said."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from structlog.testing import capture_logs
from typer.testing import CliRunner

from conftest import Service, run_service
from imgapi.api.keys import new_key
from imgapi.clock import SystemClock
from imgapi.commands.edit import edit_commands, option_name
from imgapi.commands.operations import OPERATIONS
from imgapi.contract.samples import SAMPLES
from pictures import animated_gif, draw_photo, encode
from servers import free_socket

SAMPLES_FOLDER = Path(__file__).parents[2] / "src" / "imgapi" / "api" / "samples"
NINE = {
    "change-bg": ["product.jpg", "--ref-image", "landscape.jpg"],
    "change-cloth": ["person.jpg", "--top-garment", "shirt.jpg", "--bottom-garment", "trousers.jpg"],
    "expand": [
        "landscape.jpg",
        "--left-scale",
        "1.25",
        "--right-scale",
        "1",
        "--top-scale",
        "1",
        "--bottom-scale",
        "1",
    ],
    "fix": ["product.jpg", "--upscale-factor", "1"],
    "remove-bg": ["product.jpg"],
    "remove-watermark": ["watermarked.jpg", "--boxes", "680,586,270,40"],
    "photo-resize-url": ["landscape.jpg", "--max-dim", "300"],
    "photo-resize": ["landscape.jpg", "--max-dim", "300"],
    "convert-to-png": ["landscape.jpg"],
}
SIZES = {
    "expand": (1200, 640),
    "fix": (800, 640),
    "remove-bg": (800, 640),
    "photo-resize-url": (300, 200),
    "photo-resize": (300, 200),
    "convert-to-png": (960, 640),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the log of the service, which runs in this process, off the standard output of the commands."""
    with capture_logs():
        yield


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with the sample pictures."""
    monkeypatch.chdir(tmp_path)
    for name in SAMPLES:
        (tmp_path / name).write_bytes((SAMPLES_FOLDER / name).read_bytes())
    return tmp_path


def edit(*arguments: str, given: bytes = b"", **variables: str) -> Any:
    """Run a command in this process."""
    return CliRunner().invoke(edit_commands(), list(arguments), input=given, env=variables)


def free_port_address() -> str:
    """An address at which nothing answers."""
    with free_socket() as bound:
        return f"http://127.0.0.1:{bound.getsockname()[1]}"


def lines(result: Any) -> list[dict[str, Any]]:
    """What `--json` wrote."""
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("command", NINE)
def test_each_of_the_nine_makes_a_picture(service: Service, command: str) -> None:
    """Every operation is a command: files in, the file that is named out, and its path said."""
    result = edit(command, *NINE[command], "-o", "made.png", "--server", service.address)
    assert result.exit_code == 0, result.output
    assert result.stdout == "made.png\n"
    with Image.open("made.png") as picture:
        assert picture.size == SIZES.get(command, picture.size)
        assert (picture.mode == "RGBA") == (command == "remove-bg")


def test_options_are_those_of_the_documented_fields() -> None:
    """Each documented field is an option, or the picture that is named; its limits and words are the document's."""
    for operation in OPERATIONS.values():
        told = " ".join(edit(operation.command, "--help", COLUMNS="300", TERM="dumb").output.split())
        for name, field in operation.fields.items():
            assert f"{option_name(name)} " in told, (operation.name, name)
            if name != "overwrite":
                assert " ".join((field.description or "").split()) in told, (operation.name, name)
    assert "1<=x<=4" in edit("fix", "--help", COLUMNS="300").output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fix", "product.jpg", "--upscale-factor", "9"], "less than or equal to 4"),
        (["fix", "nothing.jpg"], "There is no file nothing.jpg."),
        (["change-bg", "product.jpg"], "Missing option '--ref-image'"),
        (["change-bg", "product.jpg", "--ref-image", "gone.jpg"], "There is no file gone.jpg."),
        (["remove-watermark", "product.jpg", "--boxes", "1,2,3"], "is not 4 whole numbers"),
        (["photo-resize", "product.jpg", "--min-dim", "600", "--max-dim", "500"], "min_dim is 600"),
        (
            [
                "expand",
                "product.jpg",
                *(word for side in ("top", "bottom", "left", "right") for word in (f"--{side}-scale", "1")),
            ],
            "nothing to add",
        ),
        (["fix", "product.jpg", "--server", "localhost:5000"], "has to begin with http:// or https://"),
        (["fix", "product.jpg", "-o", "-", "--json"], "can't have both"),
        (["fix", "product.jpg", "--key-file", "none"], "key file none can't be read"),
    ],
)
def test_wrong_command_line_is_told_and_nothing_is_begun(arguments: list[str], sentence: str) -> None:
    """What can't be meant so ends with code 2 and a sentence, before any service is asked."""
    result = edit(*arguments, TERM="dumb", COLUMNS="300")
    assert result.exit_code == 2, result.output
    assert sentence in " ".join(result.output.split())


def test_wrong_setting_is_told() -> None:
    """A wrong setting ends the command with code 78."""
    result = edit("fix", "product.jpg", IMGAPI_LOG_LEVEL="loud")
    assert result.exit_code == 78
    assert "IMGAPI_LOG_LEVEL has a wrong value" in result.output


def test_second_run_does_only_what_is_missing(service: Service) -> None:
    """What is there is left alone and costs no request; --overwrite does it again, as the same task."""
    arguments = ("remove-bg", "product.jpg", "person.jpg", "-o", "out", "--json", "--server", service.address)
    first = lines(edit(*arguments))
    assert [line["status"] for line in first] == ["done", "done"]
    Path("out/person-remove-bg.png").unlink()
    second = {line["input"]: line for line in lines(edit(*arguments))}
    assert second["product.jpg"] == {
        "input": "product.jpg",
        "status": "skipped",
        "outputs": ["out/product-remove-bg.png"],
        "seconds": 0.0,
    }
    assert second["person.jpg"]["status"] == "done"
    again = lines(edit(*arguments, "--overwrite"))
    assert {line["input"]: line["task_id"] for line in again} == {line["input"]: line["task_id"] for line in first}
    assert edit("remove-bg", "product.jpg", "-o", "out/", "--server", free_port_address()).exit_code == 0
    anew = lines(edit(*arguments, "--overwrite", "--anew"))
    assert not {line["task_id"] for line in anew} & {line["task_id"] for line in first}


def test_each_picture_has_its_line_and_failures_their_sentence(service: Service) -> None:
    """With --json every picture has one line; one that fails is told by the service's own sentence, and ends with 1."""
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbut no more")
    result = edit("fix", "product.jpg", "broken.png", "-o", "out", "--json", "--server", service.address)
    assert result.exit_code == 1
    told = {line["input"]: line for line in lines(result)}
    assert told["product.jpg"]["outputs"] == ["out/product-fix.png"]
    assert told["product.jpg"]["engine"] == "local-preview"
    assert told["product.jpg"]["billed"] is False
    assert told["broken.png"]["status"] == "failed"
    assert told["broken.png"]["code"] == "unreadable_image"
    assert "base_image_url" in told["broken.png"]["error"]
    assert "1 done, 1 failed" in result.stderr
    assert "local previews" in result.stderr


def test_several_results_are_all_written(service: Service) -> None:
    """An edit that makes several pictures writes them all, numbered."""
    result = edit("change-bg", *NINE["change-bg"], "--n", "3", "-o", "new.png", "--server", service.address)
    assert result.stdout.splitlines() == ["new-1.png", "new-2.png", "new-3.png"]
    assert len({Path(name).read_bytes() for name in result.stdout.splitlines()}) == 3


def test_urls_are_taken_by_every_kind_of_command(service: Service) -> None:
    """A URL will do where a file will: for an edit, for a resize, and for a conversion, which takes only uploads."""
    url = f"{service.address}/samples/product.jpg"
    for command in ("remove-bg", "photo-resize", "photo-resize-url", "convert-to-png"):
        result = edit(command, url, "--server", service.address)
        assert result.exit_code == 0, result.output
        assert Path(result.stdout.strip()).name.startswith(f"product-{command}.")


def test_url_that_is_not_public_is_not_fetched_here(service: Service) -> None:
    """A conversion fetches its URL as the service would: nothing of this machine or its network."""
    result = edit("convert-to-png", "http://127.0.0.1/a.png", "--server", service.address)
    assert result.exit_code == 1
    assert "not on the public internet" in result.stderr


def test_frames_that_stay_with_the_server_are_told(service: Service) -> None:
    """A server keeps the frames of an animation; the first is written, and where the others are is said."""
    Path("wave.gif").write_bytes(animated_gif(3))
    result = edit("convert-to-png", "wave.gif", "--keep-animation", "--server", service.address)
    assert result.exit_code == 0
    assert result.stdout == "wave-convert-to-png.png\n"
    assert "all 3 frames" in result.stderr


def test_misleading_ending_is_told(service: Service) -> None:
    """A file keeps the name that was chosen, and that its ending is another format's is said."""
    result = edit("photo-resize", "product.jpg", "-o", "small.png", "--server", service.address)
    assert result.exit_code == 0
    assert "another format than its name says" in result.stderr


def test_picture_passes_through(service: Service) -> None:
    """Standard input to standard output: the bytes of the picture and nothing else."""
    result = edit(
        "photo-resize", "-", "--max-dim", "64", "--server", service.address, given=encode(draw_photo(90, 60), "png")
    )
    assert result.exit_code == 0
    with Image.open(io.BytesIO(result.stdout_bytes)) as picture:
        assert picture.size == (64, 43)


def test_silence_and_foreign_servers_are_told() -> None:
    """No answer, or one of something else, ends with 1 and a sentence."""
    result = edit("fix", "product.jpg", "--server", free_port_address())
    assert result.exit_code == 1
    assert "does not answer" in result.stderr
    assert not list(Path().glob("*-fix*"))


class OneMinute(SystemClock):
    """The machine's time, in whose minutes no request is too late."""

    def monotonic(self) -> float:
        """Seconds since the beginning: none."""
        return 0.0


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Service, str]]:
    """A server that asks for keys; a key's holder may send two requests a minute."""
    key, digest = new_key()
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[keys]]\nname = "one"\nhash = "{digest}"\nrequests_per_minute = 3\n')
    for service in run_service(tmp_path / "data", clock=OneMinute(), api_keys_file=keys):
        yield service, key


def test_key_comes_from_a_file_and_quotas_are_for_later(guarded: tuple[Service, str]) -> None:
    """Without the key the command fails with the service's sentence; beyond its quota it says 75: try again later."""
    service, key = guarded
    refused = edit("photo-resize", "product.jpg", "--server", service.address)
    assert refused.exit_code == 1
    assert "asks for a key" in refused.stderr
    Path("key").write_text(f"{key}\n")
    arguments = (
        "photo-resize",
        "--max-dim",
        "90",
        "--server",
        service.address,
        "--key-file",
        "key",
        "--json",
        "-j",
        "1",
    )
    result = edit(*arguments, "product.jpg", "shirt.jpg", "person.jpg", "landscape.jpg", "-o", "out")
    assert result.exit_code == 75
    assert key not in result.output
    told = [(line["status"], line.get("code")) for line in lines(result)]
    assert told == [("done", None), ("done", None), ("later", "quota_exceeded"), ("later", "not_begun")]
    assert "2 to be tried later" in result.stderr


def test_names_can_not_speak_to_the_terminal(service: Service) -> None:
    """Control characters in a file's name are shown, not obeyed."""
    Path("a\x1b[2Jb.png").write_bytes(b"no picture")
    result = edit("fix", "a\x1b[2Jb.png", "--server", service.address)
    assert result.exit_code == 1
    assert "\x1b" not in result.stderr
