"""Resampling to a size, whatever the pixels are made of."""

from PIL import Image

# Reduces by whole factors first, as long as thrice the target stays; sharper than needed, and much faster.
_REDUCING_GAP = 3.0
_RESAMPLED_FAST = frozenset({"L", "RGB", "RGBA", "CMYK"})
_RESAMPLED_AS_THEY_ARE = frozenset({"L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I", "LAB", "YCbCr"})


def scaled_to_range(width: int, height: int, *, min_dim: int, max_dim: int) -> tuple[int, int]:
    """Tell the size after the resize rule: longer side at most `max_dim`, else shorter at least `min_dim` if it fits.

    The ratio is kept to the rounding of a pixel; a side never becomes 0.
    """
    longer, shorter = max(width, height), min(width, height)
    if longer > max_dim:
        factor, exact = max_dim / longer, max_dim
        return _scaled(width, height, factor, longer, exact)
    if shorter < min_dim:
        if longer * min_dim <= max_dim * shorter:
            return _scaled(width, height, min_dim / shorter, shorter, min_dim)
        return _scaled(width, height, max_dim / longer, longer, max_dim)
    return width, height


def _scaled(width: int, height: int, factor: float, side: int, exact: int) -> tuple[int, int]:
    return (
        exact if width == side else max(1, round(width * factor)),
        exact if height == side else max(1, round(height * factor)),
    )


def resample(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resample with Lanczos; pictures with transparency are weighed by it, so that hidden colours don't bleed.

    Palettes become RGB or RGBA, bilevel pictures grey, and 16-bit grey stays 16-bit.
    """
    if image.size == size:
        return image
    mode = image.mode
    if mode not in _RESAMPLED_AS_THEY_ARE:
        image = image.convert("L" if mode == "1" else "RGBA" if image.has_transparency_data else "RGB")
    if image.mode in _RESAMPLED_FAST and (resampled := _resample_fast(image, size)) is not None:
        return resampled
    gap = _REDUCING_GAP if image.mode not in ("I;16", "I") else None
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=gap)


def _resample_fast(image: Image.Image, size: tuple[int, int]) -> Image.Image | None:
    """Resample as Pillow does, in a sixth of the time (bench/results.md); None where that library has no wheel."""
    try:
        from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer
    except ImportError:
        return None
    resampled = Image.new(image.mode, size)
    options = ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.lanczos3))
    Resizer().resize_pil(image, resampled, options)
    return resampled


def flatten(image: Image.Image) -> Image.Image:
    """Lay a picture with transparency onto white; RGB."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    top = image.convert("RGBA")
    white = Image.new("RGBA", top.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, top).convert("RGB")
