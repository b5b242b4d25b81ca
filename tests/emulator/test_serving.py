"""The emulator as a process of its own: it serves, and it leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

PROGRAM = """
import asyncio, sys
from emulator.rig import Web, cut_out_simply, paint_simply
from emulator.sockets import run_in_thread
from imgapi.emulator.app import Emulator, EmulatorConfig
from imgapi.emulator.server import serve

async def main():
    port = int(sys.argv[1])
    emulator = Emulator(EmulatorConfig(public_url=f"http://127.0.0.1:{port}"), fetch=Web().fetch,
                        run_pixels=run_in_thread, paint=paint_simply, cut_out=cut_out_simply)
    async with emulator:
        await serve(emulator, "127.0.0.1", port)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_process_and_its_folder(tmp_path: Path, number: signal.Signals) -> None:
    """On TERM or INT the process ends in good order, and the folder of its pictures is gone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(port)], env=environment)
    try:
        assert wait_for_answer(f"http://127.0.0.1:{port}/api/v1/tasks") == 401
        assert len(list(tmp_path.glob("imgapi-emulator-*"))) == 1
        process.send_signal(number)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert list(tmp_path.glob("imgapi-emulator-*")) == []


def wait_for_answer(url: str) -> int:
    """Ask until somebody answers; return the status."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return httpx.get(url, trust_env=False).status_code
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
