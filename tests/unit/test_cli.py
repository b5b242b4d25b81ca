"""The command line beside `serve`: doctor, and the emulator as a program of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from imgapi.cli import cli


def test_doctor_says_what_there_is() -> None:
    """`imgapi doctor` names version, upstream, matting, limits and renderers, and never a key."""
    result = CliRunner().invoke(cli, ["doctor"], env={"DASHSCOPE_API_KEY": "sk-secret-of-mine"})
    assert result.exit_code == 0
    for word in ("imgapi", "dashscope.aliyuncs.com", "matting", "resvg", "cairosvg", "pixels"):
        assert word in result.output
    assert "sk-secret" not in result.output


@pytest.mark.parametrize("command", ["serve", "doctor", "emulator"])
def test_wrong_setting_stops_every_command(command: str) -> None:
    """A wrong value ends a command with a sentence that names the variable."""
    result = CliRunner().invoke(cli, [command], env={"IMGAPI_LOG_LEVEL": "loud"})
    assert result.exit_code == 78
    assert "IMGAPI_LOG_LEVEL has a wrong value" in result.output


def test_model_that_can_not_serve_an_edit_stops_the_start() -> None:
    """A model list with a stranger in it names the variable and the models that can."""
    result = CliRunner().invoke(cli, ["serve"], env={"IMGAPI_FIX_MODELS": "aitryon"})
    assert result.exit_code == 78
    assert "IMGAPI_FIX_MODELS has a wrong value" in result.output
    assert "wanx2.1-imageedit" in result.output


def test_emulator_runs_as_a_program(tmp_path: Path) -> None:
    """`imgapi emulator` serves the protocol and its control plane, and ends on SIGTERM with nothing left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "imgapi", "emulator", "--port", str(port)]
    environment = {**os.environ, "IMGAPI_WORKERS": "1", "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        try:
            deadline = time.monotonic() + 60
            address = f"http://127.0.0.1:{port}"
            while True:
                assert process.poll() is None
                assert time.monotonic() < deadline
                try:
                    ledger = httpx.get(f"{address}/_emulator/ledger", trust_env=False)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            assert ledger.json()["tasks_created"] == 0
            headers = {"Authorization": "Bearer sk-any"}
            listed = httpx.get(f"{address}/api/v1/tasks", headers=headers, trust_env=False)
            assert listed.json()["total"] == 0
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert list(tmp_path.iterdir()) == []
