"""Pixel steps around the painters for the chat-style models, imported by the worker processes that do them."""

from imgapi.emulator.inner import Inner


def find_inner(content: bytes) -> Inner | None:
    """Do `canvas.find_inner`."""
    from imgapi.emulator import canvas

    return canvas.find_inner(content)


def flatten(content: bytes) -> bytes:
    """Do `canvas.flatten`."""
    from imgapi.emulator import canvas

    return canvas.flatten(content)


def fit_size(content: bytes, width: int, height: int) -> bytes:
    """Do `canvas.fit_size`."""
    from imgapi.emulator import canvas

    return canvas.fit_size(content, width, height)
