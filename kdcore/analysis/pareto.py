"""Which of several things no other is both cheaper and better than."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from kdcore.analysis.logits import BoolArray
from kdcore.errors import require


def pareto_front(costs: ArrayLike, values: ArrayLike) -> BoolArray:
    """Return which points no other point beats: none costs as little and is worth as much, one of
    them strictly better.

    Args:
        costs: [n], lower is better.
        values: [n], higher is better.

    Returns:
        bool [n]. Equal points stand or fall together; a point with a nan is not on the front.
    """
    cost, value = np.asarray(costs, dtype=np.float64), np.asarray(values, dtype=np.float64)
    require(
        cost.ndim == 1 and cost.shape == value.shape,
        "values",
        f"of the costs' shape {cost.shape}",
        value.shape,
    )
    known = ~(np.isnan(cost) | np.isnan(value))
    front = np.zeros(len(cost), dtype=bool)
    if known.any():
        prices, price_of = np.unique(cost[known], return_inverse=True)
        best = np.full(len(prices), -np.inf)
        np.maximum.at(best, price_of, value[known])
        best_so_far = np.maximum.accumulate(best)
        worth_it = np.concatenate([[True], best_so_far[1:] > best_so_far[:-1]])
        front[known] = (value[known] == best[price_of]) & worth_it[price_of]
    return front
