"""The pixels of an image file with all the levels that it has."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from kdcore.data.readers.common import FORMATS, MOST_PIXELS

LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def read_pixels(data: bytes) -> NDArray:
    """Return the pixels [height, width, 1 or 3] of an image file, turned as its camera said.

    8 bits a channel come as uint8; what has more comes as it is, as uint16, int32 or float32, so
    that no level is lost. Transparent pixels show what lies behind them: white, or black where the
    visible ink is light. Raises OSError or ValueError for what is no image of a known format, or
    has too many pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of doubtful metadata; what cannot be decoded raises
        try:
            opened = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            raise ValueError(f"not an image of a known format: {', '.join(FORMATS)}") from None
        with opened as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels are too many")
            if image.mode.startswith("I;16"):
                return np.asarray(image).astype(np.uint16)[..., np.newaxis]
            turned = ImageOps.exif_transpose(image)
            if turned.mode in ("I", "F"):
                return np.asarray(turned)[..., np.newaxis]
            if turned.has_transparency_data:
                return _on_a_ground(turned)
            if turned.mode in ("1", "L"):
                return np.asarray(turned.convert("L"))[..., np.newaxis]
            return np.asarray(turned.convert("RGB"))


def in_bytes_for_show(pixels: NDArray) -> NDArray[np.uint8]:
    """Return one image's pixels as uint8: bytes as they are, others by the range that they are of.

    Whole numbers up to 255 are bytes; up to 4,095 and 65,535 they have 12 and 16 bits. Other values
    from 0 to 1 are fractions of white; anything else is stretched from its lowest to its highest.
    """
    if pixels.dtype == np.uint8:
        return pixels
    low, high = float(pixels.min()), float(pixels.max())
    whole = bool(np.all(pixels == np.rint(pixels)))
    if whole and low >= 0 and high > 1:
        full = next((top for top in (255, 4095, 65535) if high <= top), high)
    elif low >= 0 and high <= 1:
        full = 1.0
    else:
        full, pixels = max(high - low, 1e-12), pixels.astype(np.float64) - low
    return np.clip(np.rint(pixels * (255 / full)), 0, 255).astype(np.uint8)


def _on_a_ground(image: Image.Image) -> NDArray[np.uint8]:
    """Lay an image with transparent pixels on white, or on black where its visible ink is light."""
    grey = image.mode == "LA"
    values = np.asarray(image.convert("RGBA"), np.float64)
    colour, alpha = values[..., :3], values[..., 3:] / 255
    weight = float(alpha.sum())
    ink = float((colour @ LUMINANCE * alpha[..., 0]).sum()) / weight if weight else 0.0
    ground = 255.0 if ink < 128 else 0.0
    laid = np.rint(colour * alpha + ground * (1 - alpha)).astype(np.uint8)
    return laid[..., :1] if grey else laid
