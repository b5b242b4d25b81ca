"""What format bytes are of, told by the bytes alone."""

import re

from imgapi.errors import UnreadableImage, UnsupportedFormat

TAKEN_FORMATS = ("jpeg", "png", "webp", "svg", "tiff", "gif", "bmp")
_TAKEN = "send jpeg, png, webp, svg, tiff, gif or bmp"

# Illustrator puts kilobytes of comments before the root element; more than this is not looked through.
_SVG_LOOK_BYTES = 64 * 1024
_XML_LEAD = re.compile(
    r"(?:\s+|<\?(?:[^?]|\?(?!>))*\?>|<!--(?:[^-]|-(?!->))*-->|<!DOCTYPE[^\[>]*(?:\[[^\]]*\]\s*)?>)", re.IGNORECASE
)
_SVG_ROOT = re.compile(r"<(?:[\w.-]+:)?svg[\s/>]")

_LEADS = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
)

# Sizes of the information headers that follow a BMP's 14-byte file header; OS/2's of 64 may end after any field.
OS2_HEADER_SIZES = frozenset({16, 20, 24, 28, 32, 36, 42, 44, 46, 48, 60, 64})
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 108, 124}) | OS2_HEADER_SIZES

_FOREIGN = (
    (re.compile(rb"^\x1f\x8b"), "gzip data (a compressed SVG has to be unpacked first)"),
    (re.compile(rb"^%PDF-"), "a PDF document"),
    (re.compile(rb"^....ftyp(?:avif|avis)", re.DOTALL), "an AVIF picture"),
    (re.compile(rb"^....ftyp(?:hei|hev|mif1|msf1)", re.DOTALL), "a HEIC picture"),
    (re.compile(rb"^....ftyp", re.DOTALL), "a video"),
    (re.compile(rb"^(?:\xff\x0a|\x00\x00\x00\x0cJXL )"), "a JPEG XL picture"),
    (re.compile(rb"^(?:\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51)"), "a JPEG 2000 picture"),
    (re.compile(rb"^8BPS"), "a Photoshop document"),
    (re.compile(rb"^%!PS"), "a PostScript document"),
    (re.compile(rb"^\x00\x00[\x01\x02]\x00[^\x00]\x00"), "a Windows icon"),
    (re.compile(rb"^P[1-7][\s#]"), "a Netpbm picture"),
    (re.compile(rb"^PK\x03\x04"), "a zip archive"),
    (re.compile(rb"^\x1aE\xdf\xa3"), "a video"),
    (re.compile(rb"^\s*<(?:!doctype\s+html|html|head|body)", re.IGNORECASE), "an HTML page"),
    (re.compile(rb"^\s*[\[{]\s*[\"\]}\[{]"), "JSON text"),
)


def sniff_format(content: bytes) -> str | None:
    """Tell the format by its first bytes: one of TAKEN_FORMATS, or None for anything else."""
    for lead, name in _LEADS:
        if content.startswith(lead):
            return name
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp"
    if content.startswith(b"BM") and int.from_bytes(content[14:18], "little") in _BMP_HEADER_SIZES:
        return "bmp"
    return "svg" if _looks_like_svg(content[:_SVG_LOOK_BYTES]) else None


def recognise(content: bytes) -> str:
    """Tell the format or say why the bytes are refused.

    Raises:
        UnreadableImage: There are no bytes, or they are no picture that is known.
        UnsupportedFormat: They are something known that is not taken.
    """
    if not content:
        raise UnreadableImage(f"the picture is empty (0 bytes); {_TAKEN}")
    name = sniff_format(content)
    if name is not None:
        return name
    for pattern, what in _FOREIGN:
        if pattern.search(content[:1024]):
            raise UnsupportedFormat(f"the bytes are {what}, which is not taken; {_TAKEN}")
    raise UnreadableImage(f"the bytes are not a picture of a known format; {_TAKEN}")


def _looks_like_svg(start: bytes) -> bool:
    text = _decode_lead(start)
    position = 0
    while match := _XML_LEAD.match(text, position):
        position = match.end()
    return _SVG_ROOT.match(text, position) is not None


def _decode_lead(start: bytes) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return start.decode("utf-16", "replace")
    if start.startswith(b"<\x00"):
        return start.decode("utf-16-le", "replace")
    if start.startswith(b"\x00<"):
        return start.decode("utf-16-be", "replace")
    # Markup is ASCII in every other encoding XML is met in, so the letters between need not be right.
    return start.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
