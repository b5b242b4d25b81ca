"""Node for tests: the programs of the TypeScript client and the linters of the OpenAPI document."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

OLDEST = 20


def need_node() -> None:
    """Skip without Node and npm, or with an old one, unless IMGAPI_TEST_REQUIRE names node."""
    reason = f"this needs Node {OLDEST} or later with npm (Debian: apt-get install nodejs npm)"
    if shutil.which("node") and shutil.which("npm") and shutil.which("npx"):
        version = run_program("node", "--version", folder=Path())
        if int(version.removeprefix("v").partition(".")[0]) >= OLDEST:
            return
        reason += f", and {version.strip()} is here"
    if "node" in os.environ.get("IMGAPI_TEST_REQUIRE", ""):
        pytest.fail(f"node is required and is not there: {reason}")
    pytest.skip(reason)


def run_program(*command: str, folder: Path) -> str:
    """Run a program to its good end; return what it printed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
