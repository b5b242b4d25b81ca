"""Memory of this process: reused for uploads, shared by threads."""

import platform
import subprocess
import sys

import pytest

# Takes and drops what fifty uploads take, each a little larger than the one before; prints how many pages the system
# had to give.
USE = """
import resource
from imgapi.pictures.memory import settle_memory
assert settle_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for number in range(50):
    b"x" * (2_400_000 + 8192 * number)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES_OF_ONE = 2_800_000 // 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_memory_of_an_upload_is_used_for_the_next() -> None:
    """Fifty uploads one after the other take the pages of one, not of fifty."""
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 2 * PAGES_OF_ONE
