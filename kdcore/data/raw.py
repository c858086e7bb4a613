"""A dataset as its source gives it, before it is divided and scaled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdcore.tasks.columns import Column, Missing
from kdcore.tasks.vocabulary import Tokens


@dataclass(frozen=True)
class RawData:
    """A dataset as its source gives it. Inputs [n, ...] times ``scale`` lie in 0 to 1; no test
    part: it is drawn.

    ``per_feature`` says how the features of a table are scaled by what the training part shows:
    "unit" to 0 to 1, "standard" to mean 0 and deviation 1, "none" not at all. ``columns`` are those
    that a table's features come from, ``missing`` says what fills gaps (NaN) in them. ``parts`` [n]
    says of each example whether it is for "train", "validation" or "test"; without, they are drawn.
    ``unlabelled`` [m, ...] are inputs whose class is not known; they join the training part.
    ``tokens`` says how texts, given as UTF-8 bytes [n, width], become tokens.
    """

    inputs: NDArray
    labels: NDArray
    scale: float
    test_inputs: NDArray | None = None
    test_labels: NDArray | None = None
    per_feature: str = "none"
    columns: tuple[Column, ...] = ()
    missing: Missing = "refuse"
    parts: NDArray[np.str_] | None = None
    tokens: Tokens | None = None
    unlabelled: NDArray | None = None
