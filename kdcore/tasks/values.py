"""What values the inputs of a model have: how far they reach, and what the training part shows of
them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

VALUES_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Statistics:
    """What is known of each channel or feature, [channels]."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class InputValues:
    """The values that models see of a dataset.

    Args:
        low: the lowest value that is meant to occur.
        high: the highest.
        training: the training part's inputs as they are stored, [n, ..., channels]; None where the
            data is not at hand.
        scale: what stored inputs are multiplied by.
        centre: what was subtracted from each feature of a table.
        spread: what then divided it.
        tokens: of a vocabulary, how many there are; 0 where inputs are no tokens.
        vocabulary: the digest of its definition.
    """

    low: float = 0.0
    high: float = 1.0
    training: NDArray | None = None
    scale: float = 1.0
    centre: NDArray | None = None
    spread: NDArray | None = None
    tokens: int = 0
    vocabulary: str = ""

    @cached_property
    def statistics(self) -> Statistics | None:
        """What the training part shows of the values that models see; None without data."""
        return None if self.training is None else _statistics(self.training, self.scale)

    def grey(self, weights: NDArray) -> InputValues:
        """Return the values of the same images in grey, the sum of channels times ``weights``."""
        training = None if self.training is None else self.training @ weights[:, np.newaxis]
        return InputValues(self.low, self.high, training, self.scale)


def _statistics(training: NDArray, scale: float) -> Statistics:
    """Measure each channel piece by piece: large images do not fit into memory as float64."""
    from sklearn.preprocessing import StandardScaler

    channels = training.shape[-1]
    rows = max(1, VALUES_AT_ONCE // max(1, math.prod(training.shape[1:])))
    scaler = StandardScaler()
    lowest, highest = np.full(channels, np.inf), np.full(channels, -np.inf)
    for start in range(0, len(training), rows):
        piece = training[start : start + rows].reshape(-1, channels).astype(np.float64) * scale
        scaler.partial_fit(piece)
        lowest = np.minimum(lowest, piece.min(axis=0))
        highest = np.maximum(highest, piece.max(axis=0))
    return Statistics(scaler.mean_, scaler.scale_, lowest, highest)
