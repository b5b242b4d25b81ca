"""Colours as sRGB: ICC profiles applied, CMYK and Lab turned into RGB, odd sample types into what PNG holds."""

import io
from functools import cache

import numpy as np
from PIL import Image, ImageCms

GREY_MODES = frozenset({"1", "L", "LA", "I;16"})
_FULL_16_BIT = 65_535


@cache
def srgb_profile() -> ImageCms.ImageCmsProfile:
    """Give the sRGB profile all conversions end in."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def profile_fits(image: Image.Image) -> bool:
    """Tell whether the picture's ICC profile can be read and is of the colour space of its pixels."""
    return is_profile_of(image.info.get("icc_profile"), image.mode)


def is_profile_of(profile: bytes | None, mode: str) -> bool:
    """Tell whether an ICC profile can be read and is of the colour space of pixels of a mode."""
    space = _profile_space(profile)
    if mode in GREY_MODES:
        return space == "GRAY"
    return space == {"CMYK": "CMYK", "LAB": "Lab"}.get(mode, "RGB")


def _profile_space(profile: bytes | None) -> str | None:
    # In a TIFF, whatever kind of value stands in its place is given as that: a number, a text, a list.
    if not isinstance(profile, bytes) or not profile:
        return None
    try:
        return str(ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space).strip()
    except (OSError, ValueError):
        return None


def is_srgb(profile: bytes) -> bool:
    """Tell whether an RGB profile means sRGB, by its description or by what it does to a handful of colours."""
    probe_colours = Image.fromarray(
        np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 64, 32], [60, 120, 180], [128, 128, 128]]], np.uint8),
    )
    try:
        converted = _apply(probe_colours, profile, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False
    difference = np.asarray(converted).astype(int) - np.asarray(probe_colours)
    return bool(np.abs(difference).max() <= 2)  # noqa: PLR2004 - the rounding of profiles that all mean sRGB


def _apply(image: Image.Image, profile: bytes, mode: str) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        srgb_profile(),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode=mode,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if converted is None:
        raise ImageCms.PyCMSError("nothing was converted")
    return converted


def as_srgb(image: Image.Image) -> Image.Image:
    """Turn a picture into one of mode 1, L, LA, P, RGB, RGBA or I;16 whose colours are sRGB (grey ones stay grey).

    A profile that can't be read or doesn't fit the pixels counts as none; CMYK without a profile is turned by the
    plain formula (255-C)(255-K)/255, as viewers do.
    """
    image = expand_key_colour(image)
    profile: bytes | None = image.info.get("icc_profile") if profile_fits(image) else None
    if profile is not None and image.mode not in GREY_MODES:
        try:
            return _through_profile(image, profile)
        except (ImageCms.PyCMSError, ValueError, OSError):
            pass
    return as_png_mode(image)


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    if image.mode in ("CMYK", "LAB"):
        return _apply(image, profile, "RGB")
    if is_srgb(profile):
        return as_png_mode(image)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode not in ("RGB", "RGBA"):
        image = as_png_mode(image)
    return _apply(image, profile, image.mode)


def as_png_mode(image: Image.Image) -> Image.Image:
    """Turn modes PNG can't hold into one it can, profiles aside; sample values keep their meaning."""
    mode = image.mode
    if mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        return image
    if mode in ("I", "I;16B", "I;16L", "I;16N"):
        return _as_16_bit(image)
    if mode == "LAB":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        converted = ImageCms.profileToProfile(image, lab, srgb_profile(), outputMode="RGB")
        return image.convert("RGB") if converted is None else converted
    return image.convert({"PA": "RGBA", "La": "LA", "RGBa": "RGBA"}.get(mode, "RGB"))


def _as_16_bit(image: Image.Image) -> Image.Image:
    """Bring integers into 0..65535: as they are if they fit, larger ranges scaled."""
    samples = np.asarray(image, np.float64)
    highest = float(samples.max(initial=0))
    if highest > _FULL_16_BIT:
        samples = samples * (_FULL_16_BIT / highest)
    return Image.fromarray(np.rint(np.clip(samples, 0, _FULL_16_BIT)).astype(np.uint16))


def expand_key_colour(image: Image.Image) -> Image.Image:
    """Turn a key colour (tRNS of a grey or RGB picture) into an alpha channel; palettes keep theirs."""
    key = image.info.get("transparency")
    if key is None or image.mode in ("P", "PA", "I;16", "I"):
        return image
    profile = image.info.get("icc_profile")
    # Pillow applies the key of a grey picture only on the way to RGBA.
    expanded = image.convert("RGBA") if image.mode in ("1", "L", "RGB") else image
    if image.mode in ("1", "L"):
        expanded = expanded.convert("LA")
    expanded.info = {} if profile is None else {"icc_profile": profile}
    return expanded
