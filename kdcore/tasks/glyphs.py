"""Pictures of examples that are no pictures: a row of a table as bars, so that galleries can show
it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

HEIGHT = 24
WIDTH = 48
MOST_BARS = 24
# A value this many spreads from the middle fills its half.
LONGEST = 2.5


def feature_glyphs(features: NDArray, centre: NDArray, spread: NDArray) -> NDArray[np.uint8]:
    """Return a picture [n, 24, about 48, 1] of each row of ``features`` [n, f]: one bar a feature,
    up where it is above ``centre``, down where it is below, as long as ``spread`` says. Of more
    than 24 features, 24 at even distances.
    """
    flat = features.reshape(len(features), -1)
    chosen = np.unique(np.linspace(0, flat.shape[1] - 1, min(MOST_BARS, flat.shape[1])).astype(int))
    deviations = (flat[:, chosen] - centre.reshape(-1)[chosen]) / np.where(
        spread == 0, 1, spread
    ).reshape(-1)[chosen]
    lengths = np.rint(np.clip(deviations / LONGEST, -1, 1) * (HEIGHT // 2 - 1)).astype(int)
    wide = max(2, WIDTH // len(chosen))
    middle = HEIGHT // 2
    rows = np.arange(HEIGHT)[None, :, None]
    tall = lengths[:, None, :]
    filled = np.where(
        tall >= 0,
        (rows <= middle) & (rows >= middle - tall),
        (rows >= middle) & (rows <= middle - tall),
    )
    bars = np.where(filled, 255, 0).astype(np.uint8)
    bars[:, middle, :] = np.maximum(bars[:, middle, :], 110)  # the line that they stand on
    cells = np.repeat(bars, wide, axis=2)
    if wide > 2:
        gaps = np.arange(cells.shape[2]) % wide == wide - 1
        cells[:, :, gaps] = np.where(np.arange(HEIGHT)[None, :, None] == middle, 110, 0)
    return cells[..., None]


def features_in_words(
    values: NDArray, centre: NDArray, spread: NDArray, names: Sequence[str], most: int = 6
) -> str:
    """Say which features of one row are furthest from the middle: "alcohol 14.2 (high), hue 0.61
    (low)".
    """
    deviations = (values - centre) / np.where(spread == 0, 1, spread)
    order = np.argsort(-np.abs(deviations), kind="stable")[:most]
    return ", ".join(
        f"{names[at]} {values[at]:.4g}"
        + (" (high)" if deviations[at] > 1 else " (low)" if deviations[at] < -1 else "")
        for at in order
    )
