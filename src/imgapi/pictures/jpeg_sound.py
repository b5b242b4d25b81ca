"""JPEG walked marker by marker: what is not pixels taken out, and damage that costs no pixel passed over.

Taking metadata out this way leaves the compressed pixels as they are, so nothing is lost and little is computed.
"""

import io
import re
import struct
from collections.abc import Iterator
from contextlib import suppress

from PIL import Image, JpegImagePlugin

from imgapi.errors import UnreadableImage

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_PROGRESSIVE, _LOSSLESS = 0xC2, 0xC3
_COEFFICIENTS = 64
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
# In entropy-coded data FF00 is a stuffed FF and FFD0 to FFD7 are restarts; any other marker ends the scan.
_SCAN_END = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_FILLER_BYTES = 64
# More segments than any writer makes; beyond it, only the walk itself would cost, here and in Pillow.
_MAX_SEGMENTS = 100_000
# Writers make a dozen at most. Each passes over all of the picture, however little is in it.
_MAX_SCANS = 200
_SCAN_LEAD = b"\xff\xda"


def jpeg_segments(content: bytes) -> Iterator[tuple[int, memoryview]]:
    """Walk marker and body of a JPEG's segments up to and including the first start of scan; EOFError if cut."""
    for marker, start, end in _jpeg_markers(content):
        yield marker, memoryview(content)[start + 2 : end]
        if marker == _SOS:
            return


def is_lossless(content: bytes) -> bool:
    """Tell whether a JPEG is lossless, which no decoder can read at a fraction of its size."""
    return any(marker == _LOSSLESS for marker, _ in jpeg_segments(content))


def _jpeg_markers(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Walk marker, start of its length field and end of its segment, up to the end-of-image marker."""
    offset = 2
    for _ in range(_MAX_SEGMENTS):
        offset = content.find(b"\xff", offset)
        if offset < 0:
            raise EOFError
        while content[offset : offset + 1] == b"\xff":
            offset += 1
        if offset >= len(content):
            raise EOFError
        marker = content[offset]
        offset += 1
        if marker == _EOI:
            yield marker, offset, offset
            return
        if marker in _STANDALONE or marker in (0, _SOI):
            continue
        (length,) = struct.unpack_from(">H", content, offset)
        end = offset + length
        if end > len(content):
            raise EOFError
        yield marker, offset, end
        offset = end
        if marker == _SOS:
            found = _SCAN_END.search(content, end)
            if found is None:
                raise EOFError
            offset = found.start()
    raise UnreadableImage(f"the jpeg picture has more than {_MAX_SEGMENTS} segments; save it anew and send that")


def refuse_many_scans(content: bytes) -> None:
    """Refuse a JPEG with more scans than a picture needs.

    Raises:
        UnreadableImage: There are more.
    """
    # Entropy-coded data never hold the lead, and metadata hardly ever: the exact count is for the odd file.
    if content.count(_SCAN_LEAD) <= _MAX_SCANS:
        return
    scans = 0
    with suppress(EOFError, struct.error):
        for marker, _, _ in _jpeg_markers(content):
            scans += marker == _SOS
    if scans > _MAX_SCANS:
        raise UnreadableImage(f"the jpeg picture has more than {_MAX_SCANS} scans; save it anew and send that")


def bare_jpeg(content: bytes) -> bytes:
    """Rewrite what precedes the first scan with only what decoding needs, colours and orientation included.

    Raises:
        EOFError: There is no scan.
    """
    pieces = [b"\xff\xd8"]
    for marker, body in jpeg_segments(content):
        whole = bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + bytes(body)
        if marker == _SOS:
            pieces.append(whole)
            pieces.append(content[_scan_start(content) :])
        elif _is_kept(marker, bytes(body[:14])) or (marker == _APP1 and bytes(body[:6]) == b"Exif\x00\x00"):
            pieces.append(whole)
    return b"".join(pieces)


def _scan_start(content: bytes) -> int:
    return next(end for marker, _, end in _jpeg_markers(content) if marker == _SOS)


def decode_without_end(content: bytes) -> Image.Image:
    """Decode a JPEG whose end-of-image marker is missing, full size, provided that no pixel is missing.

    Raises:
        EOFError: Pixels are missing: what stands in for the missing bytes changes them.
    """
    start = content.rstrip(b"\xff")
    if _lacks_scans(start):
        raise EOFError
    try:
        first, second = (_decode(start + filler * _FILLER_BYTES + b"\xff\xd9") for filler in (b"\x55", b"\xaa"))
    except OSError as exc:
        raise EOFError from exc
    if first.tobytes() != second.tobytes():
        raise EOFError
    return first


def _lacks_scans(content: bytes) -> bool:
    """Tell whether a progressive JPEG ends before its last scan: a coefficient was never sent, or not to its last bit.

    What stands in for missing bytes changes nothing then, since no scan is there to read them.
    """
    # Of each component, the bits that are still to come of each coefficient; None before any came.
    left: dict[int, list[int | None]] = {}
    with suppress(EOFError, struct.error):
        for marker, start, end in _jpeg_markers(content):
            body = content[start + 2 : end]
            if marker == _PROGRESSIVE:
                left = {body[at]: [None] * _COEFFICIENTS for at in range(6, len(body) - 2, 3)}
            elif marker == _SOS and left:
                _note_scan(left, body)
    return any(bits != 0 for component in left.values() for bits in component)


def _note_scan(left: dict[int, list[int | None]], body: bytes) -> None:
    """Note which coefficients a scan brings to which bit (ITU-T T.81, B.2.3 and G.1.1.1)."""
    count = body[0] if body else 0
    if len(body) < 4 + 2 * count:
        return
    first, last, approximation = body[1 + 2 * count : 4 + 2 * count]
    for identity in body[1 : 1 + 2 * count : 2]:
        for place in range(first, min(last, _COEFFICIENTS - 1) + 1):
            if identity in left:
                left[identity][place] = approximation & 0x0F


def _decode(content: bytes) -> Image.Image:
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(content))
    image.load()
    return image


def strip_jpeg(content: bytes) -> bytes:
    """Rewrite a JPEG with nothing but its pixels, JFIF and Adobe markers and ICC profile; EOFError if it is cut.

    What follows the end of the image (thumbnails, gain maps, foreign files) goes as well.
    """
    pieces = [b"\xff\xd8"]
    scan_start = 0
    for marker, start, end in _jpeg_markers(content):
        if scan_start:
            pieces.append(content[scan_start : _marker_start(content, start)])
            scan_start = 0
        if marker == _EOI:
            pieces.append(b"\xff\xd9")
        elif _is_kept(marker, content[start + 2 : start + 16]):
            pieces.append(bytes((0xFF, marker)) + content[start:end])
        if marker == _SOS:
            scan_start = end
    return b"".join(pieces)


def _marker_start(content: bytes, length_start: int) -> int:
    offset = length_start - 2
    while content[offset - 1] == 0xFF:  # noqa: PLR2004 - fill bytes before a marker
        offset -= 1
    return offset


def _is_kept(marker: int, lead: bytes) -> bool:
    if marker == _APP0:
        return lead.startswith(b"JFIF\x00")
    if marker == _APP2:
        return lead.startswith(b"ICC_PROFILE\x00")
    if marker == _APP14:
        return lead.startswith(b"Adobe")
    return not (_APP0 < marker <= _APP15 or marker == _COM)
