"""Decodes `data:` URLs of pictures (RFC 2397), strictly and with a bound that holds before anything is decoded."""

import binascii
import re
from urllib.parse import unquote_to_bytes

from imgapi.errors import ImageTooLarge, InvalidParameter

# A header is a media type and a few parameters; a longer one is something else.
_MAX_HEADER_CHARACTERS = 256
_HEADER = re.compile(
    r"data:(?P<type>image/[a-z0-9][a-z0-9.+-]*)(?P<parameters>(?:;[a-z0-9-]+=[^;,\s]*)*)(?P<base64>;base64)?",
    re.ASCII | re.IGNORECASE,
)
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Decoded piece by piece: one call holds the interpreter lock to its end. A multiple of 4 characters.
_PIECE_CHARACTERS = 1 << 20
_ESCAPE_CHARACTERS = 3  # "%3C"


def is_data_url(url: str) -> bool:
    """Tell whether the URL carries its own content."""
    return url[:5].lower() == "data:"


def decode_data_url(url: str, *, max_bytes: int) -> bytes:
    """Return the bytes of a `data:image/…;base64,…` URL, or of a percent-encoded SVG one.

    The media type only has to be a picture's: what the bytes are is found by looking at them.

    Args:
        url: The whole URL, as sent.
        max_bytes: Most bytes the picture may have; judged from the text's length before decoding.

    Raises:
        InvalidParameter: It is not a data URL of a picture, or its base64 or percent-encoding is broken.
        ImageTooLarge: The picture has more than `max_bytes`.
    """
    comma = url.find(",", 0, _MAX_HEADER_CHARACTERS)
    header = _HEADER.fullmatch(url, 0, comma) if comma >= 0 else None
    if header is None:
        raise InvalidParameter("A data: URL must have the form data:image/png;base64,… with the type of a picture.")
    if header["base64"]:
        return _decode_base64(url, comma + 1, max_bytes)
    if header["type"].lower() != "image/svg+xml":
        raise InvalidParameter("A data: URL of this type must be base64: data:image/…;base64,…")
    return _decode_percent(url, comma + 1, max_bytes)


def _decode_base64(url: str, start: int, max_bytes: int) -> bytes:
    _refuse_beyond((len(url) - start) // 4 * 3 - 2, max_bytes)
    pieces: list[bytes] = []
    try:
        for offset in range(start, len(url), _PIECE_CHARACTERS):
            end = offset + _PIECE_CHARACTERS
            pieces.append(_decode_piece(url[offset:end], is_last=end >= len(url)))
    except (binascii.Error, UnicodeEncodeError) as exc:
        message = "The data: URL is not valid base64 (standard alphabet, padded, without line breaks)."
        raise InvalidParameter(message) from exc
    # Joining bytes lets go of the lock.
    content = b"".join(pieces)
    _refuse_beyond(len(content), max_bytes)
    return content


def _decode_piece(piece: str, *, is_last: bool) -> bytes:
    if "=" in piece and not is_last:
        raise binascii.Error("padding before the end")
    return binascii.a2b_base64(piece.encode("ascii"), strict_mode=True)


def _decode_percent(url: str, start: int, max_bytes: int) -> bytes:
    _refuse_beyond((len(url) - start) // _ESCAPE_CHARACTERS, max_bytes)
    text = url[start:]
    try:
        content = unquote_to_bytes(text)
    except UnicodeEncodeError as exc:
        raise InvalidParameter("The data: URL holds characters that are not valid text.") from exc
    if _STRAY_PERCENT.search(text):
        raise InvalidParameter("The data: URL has a percent sign that starts no escape; write it as %25.")
    _refuse_beyond(len(content), max_bytes)
    return content


def _refuse_beyond(size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise ImageTooLarge(f"The picture in the data: URL has more than the allowed {max_bytes} bytes.")
