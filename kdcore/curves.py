"""Curves as arrays: thinned, smoothed, and averaged over seeds. What charts and reports draw."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kdcore.errors import require

Array = NDArray[np.float64]

POINTS_PER_CURVE = 2000


def downsample(x: Array, y: Array, limit: int = POINTS_PER_CURVE) -> tuple[Array, Array]:
    """Thin a curve to at most ``limit`` points: the first, the last, and the lowest and highest of each bin between.

    Spikes survive, which plain striding loses. Curves that are short enough come back as they are.
    """
    require(limit >= 4, "limit", "at least 4", limit)
    if len(x) <= limit:
        return x, y
    edges = np.linspace(1, len(x) - 1, (limit - 2) // 2 + 1).astype(int)
    inner = [
        start + np.array([np.argmin(y[start:stop]), np.argmax(y[start:stop])])
        for start, stop in itertools.pairwise(edges)
    ]
    keep = np.unique(np.concatenate([[0], *inner, [len(x) - 1]]))
    return x[keep], y[keep]


def smooth(values: Array, weight: float) -> Array:
    """Return the running mean with exponential weights: 0 leaves ``values``, towards 1 only the trend stays.

    m_i = w·m_(i-1) + (1 - w)·v_i, divided by 1 - w^i, so that the start is not pulled towards zero.
    """
    import pandas as pd

    require(0 <= weight < 1, "smoothing", "at least 0 and below 1", weight)
    if weight == 0 or len(values) == 0:
        return values
    return pd.Series(values).ewm(alpha=1 - weight, adjust=True).mean().to_numpy(dtype=np.float64)


def mean_and_band(curves: Sequence[tuple[Array, Array]]) -> tuple[Array, Array, Array, Array]:
    """Average curves (x, y) that may differ in length; returns x, mean, lower, upper.

    At each x the mean is over the curves that have got there. The band is the 95 % t interval of the mean from three
    curves on, lowest to highest with two, and has no width with one.
    """
    from scipy.special import stdtrit

    grid = np.unique(np.concatenate([x for x, _ in curves]))
    if len(grid) > POINTS_PER_CURVE:
        grid = grid[np.linspace(0, len(grid) - 1, POINTS_PER_CURVE).astype(int)]
    table = np.stack([np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in curves])
    present = ~np.isnan(table)
    count = present.sum(axis=0)
    mean = np.where(present, table, 0).sum(axis=0) / count
    squares = np.where(present, (table - mean) ** 2, 0).sum(axis=0)
    error = np.sqrt(squares / np.maximum(count - 1, 1) / count)
    half = stdtrit(np.maximum(count - 1, 1), 0.975) * error
    wide = count >= 3
    lower = np.where(wide, mean - half, np.where(present, table, np.inf).min(axis=0))
    upper = np.where(wide, mean + half, np.where(present, table, -np.inf).max(axis=0))
    return grid, mean, lower, upper
