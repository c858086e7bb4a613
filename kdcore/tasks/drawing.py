"""A drawing made into what a model was trained on, as the authors of MNIST and of the 8×8 digits
made theirs.

A drawing is ink on an empty ground: a grey image [height, width] of floats, 0 where nothing is and
1 where the pen was.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage

from kdcore.errors import Words, require

Grey = NDArray[np.float32]

LEAST_INK = 0.1  # what is fainter is not part of the digit
MNIST_BOX, MNIST_SIDE = 20, 28
NIST_WIDTH, NIST_SIDE, BLOCK = 20, 32, 4
NIST_INK = 0.31  # share of the 32×32 bitmaps that is ink, on average over the 1,797 digits


def like_mnist(drawing: Grey) -> Grey:
    """Return a drawing as MNIST's authors prepared theirs: [28, 28], from 0 to 1.

    "The original black and white images from NIST were size normalized to fit in a 20x20 pixel box
    while preserving their aspect ratio. The resulting images contain grey levels as a result of the
    anti-aliasing technique [...]. The images were centered in a 28x28 image by computing the center
    of mass of the pixels" (LeCun, Cortes, Burges 1998). Raises ConfigError for a drawing without
    ink.
    """
    ink = cut_out(drawing)
    scale = MNIST_BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    return _centred(_resize(ink, height, width), MNIST_SIDE)


def like_digits(drawing: Grey) -> Grey:
    """Return a drawing as the 8×8 digits were prepared: [8, 8], counts of ink from 0 to 16 divided
    by 16.

    NIST's programs normalised each digit to 20 by 32 pixels, adapted the width of its strokes, and
    sheared it upright; "32x32 bitmaps are divided into nonoverlapping blocks of 4x4 and the number
    of on pixels are counted in each block" (Alpaydin and Kaynak 1998; Garris et al. 1994). Raises
    ConfigError for a drawing without ink.
    """
    upright = cut_out(_upright(cut_out(drawing)))
    width = NIST_WIDTH if upright.shape[1] > 0.3 * upright.shape[0] else NIST_WIDTH // 2
    box = _resize(upright, NIST_SIDE, width)
    bitmap = np.zeros((NIST_SIDE, NIST_SIDE), np.float32)
    left = (NIST_SIDE - width) // 2
    bitmap[:, left : left + width] = box
    blocks = _of_usual_weight(bitmap).reshape(8, BLOCK, 8, BLOCK)
    return blocks.sum(axis=(1, 3), dtype=np.float32) / BLOCK**2


def cut_out(drawing: Grey) -> Grey:
    """Return the smallest part of a drawing that holds all of its ink.

    Raises ConfigError where there is none.
    """
    rows, columns = (np.flatnonzero((drawing > LEAST_INK).any(axis=axis)) for axis in (1, 0))
    require(len(rows) > 0, "drawing", "one with some ink", Words("an empty one"))
    return drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def dark_on_light(pixels: NDArray[np.uint8]) -> Grey:
    """Return a picture [height, width, channels] of a dark digit on light ground, or the reverse,
    as a drawing.

    The ground is what most of the border shows; contrast is stretched, and what is close to the
    ground is ground.
    """
    grey = pixels.mean(axis=2, dtype=np.float32)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    distance = np.abs(grey - np.median(border))
    # Shadows and paper: a fifth of the way to the ink is still ground.
    return np.clip((distance / max(float(distance.max()), 1.0) - 0.2) / 0.6, 0, 1).astype(
        np.float32
    )


def fit(pixels: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the middle of a picture [height, width, channels] in the size and channels of
    ``shape``.
    """
    height, width, channels = shape
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert(
        "L" if channels == 1 else "RGB"
    )
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(fitted).reshape(height, width, channels)


def _resize(ink: Grey, height: int, width: int) -> Grey:
    image = Image.fromarray(np.ascontiguousarray(ink, np.float32))
    return np.clip(
        np.asarray(image.resize((width, height), Image.Resampling.BILINEAR)), 0, 1
    )  # anti-aliased


def _centred(ink: Grey, side: int) -> Grey:
    """Put ink into a square with its centre of mass in the middle, to the nearest whole pixel."""
    square = np.zeros((side, side), np.float32)
    middle = ndimage.center_of_mass(ink)
    starts = [
        int(np.clip(round(side / 2 - centre), 0, side - length))
        for centre, length in zip(middle, ink.shape, strict=True)
    ]
    square[starts[0] : starts[0] + ink.shape[0], starts[1] : starts[1] + ink.shape[1]] = ink
    return square


def _upright(ink: Grey) -> Grey:
    """Shear a digit so that its slant, the regression of columns on rows weighted by ink,
    is gone.
    """
    rows, columns = np.mgrid[: ink.shape[0], : ink.shape[1]]
    middle_row, middle_column = ndimage.center_of_mass(ink)
    spread = float(np.sum(ink * (rows - middle_row) ** 2))
    if spread == 0:
        return ink
    slant = float(np.sum(ink * (rows - middle_row) * (columns - middle_column))) / spread
    slant = float(np.clip(slant, -1, 1))
    room = int(np.ceil(abs(slant) * ink.shape[0] / 2)) + 1
    wide = np.pad(ink, ((0, 0), (room, room)))
    # Each row comes from where the slant has moved it to.
    matrix = np.array([[1, 0], [slant, 1]])
    return np.asarray(
        ndimage.affine_transform(wide, matrix, offset=(0, -slant * middle_row), order=1), np.float32
    )


def _of_usual_weight(bitmap: Grey) -> NDArray[np.bool_]:
    """Make strokes thicker or thinner until as much of the bitmap is ink as of the digits on
    average.
    """
    inside = bitmap >= 0.5
    if not inside.any():
        inside = bitmap >= bitmap.max()
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    wanted = round(NIST_INK * bitmap.size)
    # Between pixels of one distance, those with more ink come first.
    order = np.argsort(-(distance + bitmap / 10), axis=None, kind="stable")
    weighted = np.zeros(bitmap.size, bool)
    weighted[order[:wanted]] = True
    return weighted.reshape(bitmap.shape)
