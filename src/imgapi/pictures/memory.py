"""How a process gets memory from the system and gives it back."""

import ctypes
from contextlib import suppress

# glibc's mallopt(3): parameter and value. Its defaults ask the system anew, page by page, for each upload, which costs
# as much as all copying of it, and keep what a rush took in a heap for each thread (bench/results.md).
_MEBIBYTE = 1024 * 1024
_OPTIONS = {"M_TRIM_THRESHOLD": (-1, 8 * _MEBIBYTE), "M_MMAP_THRESHOLD": (-3, 4 * _MEBIBYTE), "M_ARENA_MAX": (-8, 2)}


def settle_memory() -> bool:
    """Have uploads reuse memory, and threads share it; before any thread is started. False where it isn't glibc's."""
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        return all(mallopt(*option) == 1 for option in _OPTIONS.values())
    return False


def give_free_memory_back() -> bool:
    """Give the system what is free, which takes some milliseconds; False where there is nothing, or no glibc."""
    with suppress(AttributeError, OSError):
        return bool(ctypes.CDLL(None).malloc_trim(0))
    return False
