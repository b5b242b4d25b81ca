"""Kinds of JPEG and TIFF that no decoder here reads, refused by their name before any decoder calls them damaged.

Sources: ITU-T T.81, table B.1; TIFF 6.0, its technical notes, TIFF/FX (RFC 3949) and DNG, and libtiff's list of
compressions.
"""

from PIL import TiffImagePlugin

from imgapi.errors import UnsupportedFormat
from imgapi.pictures import tiff_lab, tiff_samples
from imgapi.pictures.tiff_pages import TiffPage

_LOSSLESS = 0xC3
_JPEG_KINDS = {
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xDE), "is hierarchical"),
    0xCB: "is lossless with arithmetic coding",
    0xF7: "is a JPEG-LS",
}
# Markers of which each says by itself what kind of JPEG follows.
JPEG_KIND_MARKERS = frozenset(_JPEG_KINDS)
_JPEG_BITS = 8
_COLOURS = 3

_COMPRESSIONS = {
    9: "JBIG",
    10: "JBIG",
    32766: "NeXT's method",
    32909: "PixarLog",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34712: "JPEG 2000",
    34715: "JBIG2",
    34887: "LERC",
    34892: "DNG's lossy JPEG",
    34926: "Zstandard by its former number",
    34927: "WebP by its former number",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP of another kind than 8-bit RGB",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_JPEG, _WEBP = 7, 50001
_PHOTOMETRICS = {
    4: "a transparency mask",
    10: "ITU's L*a*b*",
    32803: "a camera's raw pixels",
    34892: "a camera's raw pixels",
    51177: "a depth map",
    52527: "a mask",
}
_SHOWN_PHOTOMETRICS = frozenset({0, 1, 2, 3, 5, 6, tiff_lab.CIE_LAB, tiff_lab.ICC_LAB, 32844, 32845})
_COMPLEX = frozenset({5, 6})


def refuse_jpeg(marker: int, bits: int, components: int, *, is_ycc: bool) -> None:
    """Refuse a JPEG whose kind no decoder here reads.

    Args:
        marker: A start of frame, or another of `JPEG_KIND_MARKERS`.
        bits: Bits a sample.
        components: Components of a pixel.
        is_ycc: The file says that its three components are luminance and chrominance.

    Raises:
        UnsupportedFormat: It is such a kind.
    """
    kind = _JPEG_KINDS.get(marker)
    if kind is None and bits != _JPEG_BITS:
        kind = f"has {bits} bits a sample"
    if kind is None and marker == _LOSSLESS and components == _COLOURS and is_ycc:
        kind = "is lossless and not RGB"
    if kind is not None:
        raise UnsupportedFormat(
            f"the jpeg picture {kind}, which is not taken; save it as a baseline or progressive jpeg of 8 bits"
        )


def refuse_tiff(page: TiffPage) -> None:
    """Refuse a page of a TIFF whose compression or colours no decoder here reads.

    Raises:
        UnsupportedFormat: It is such a page.
    """
    if page.compression not in TiffImagePlugin.COMPRESSION_INFO or _is_foreign_webp(page):
        method = _COMPRESSIONS.get(page.compression, f"method {page.compression}")
        raise UnsupportedFormat(
            f"the tiff picture is compressed with {method}, which is not taken; save it with LZW or Deflate"
        )
    colours = _foreign_colours(page)
    if colours is not None:
        raise UnsupportedFormat(
            f"the tiff picture's pixels are {colours}, which is not taken; save it as RGB or grey of 8 or 16 bits"
        )


def _is_foreign_webp(page: TiffPage) -> bool:
    return page.compression == _WEBP and not tiff_samples.is_needed(page)


def _foreign_colours(page: TiffPage) -> str | None:
    if page.photometric not in _SHOWN_PHOTOMETRICS:
        return _PHOTOMETRICS.get(page.photometric, f"of photometric interpretation {page.photometric}")
    if len(set(page.bits)) > 1:
        return f"of {', '.join(map(str, page.bits))} bits"
    if page.sample_format in _COMPLEX:
        return "complex numbers"
    if page.compression == _JPEG and page.bits[0] != _JPEG_BITS:
        return f"of {page.bits[0]} bits in JPEG"
    is_lab = page.photometric in (tiff_lab.CIE_LAB, tiff_lab.ICC_LAB)
    if is_lab and not tiff_samples.is_needed(page):
        return f"L*a*b* of {page.bits[0]} bits"
    return None
