"""How often any two models decide differently, and the heads of one model: Table 4 of DeiT
(Touvron 2021, arXiv:2012.12877).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdcore.analysis.comparison import Comparison
from kdcore.analysis.logits import IntArray
from kdcore.analysis.results import logits
from kdcore.analysis.statistics import finite_or_none, mean_interval
from kdcore.methods.distillation_token import TOKEN_HEADS
from kdcore.palette import ROLE_NAMES
from kdcore.storage.schema import Run
from kdcore.storage.store import Store


@dataclass(frozen=True)
class Disagreement:
    """Shares of test examples to which two models give different classes.

    Attributes:
        names: the models, and after each with two tokens its heads.
        shares: [models, models], fractions; the mean over the seeds that both have.
        seeds: how many these are, [models, models].
        intervals: 95 % t intervals of the means, low and high, [models, models, 2]; NaN below two
            seeds.
    """

    names: tuple[str, ...]
    shares: NDArray[np.float64]
    seeds: NDArray[np.int64]
    intervals: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON; a share is None where two have no seed in common, an interval below
        two seeds.
        """
        return {
            "models": list(self.names),
            "shares": _without_nan(self.shares.tolist()),
            "seeds": self.seeds.tolist(),
            "intervals": _without_nan(self.intervals.tolist()),
        }


def _without_nan(values: Any) -> Any:
    if isinstance(values, list):
        return [_without_nan(each) for each in values]
    return finite_or_none(values)


@dataclass(frozen=True)
class _Deciding:
    name: str
    classes: dict[int, IntArray]
    for_all_seeds: bool


def disagreement(store: Store, found: Comparison) -> Disagreement:
    """Return how often any two of the trained models that are compared decide differently on test
    data.

    A teacher that is trained once meets every seed of the others.
    """
    deciding: list[_Deciding] = []
    for contender, style in zip(found.contenders, found.styles, strict=True):
        once = contender.role == "teacher" and contender.expected == 1
        for what, split in _answers_of(contender.trained):
            classes = {run.seed: _classes(store, run, split) for run in contender.trained}
            plain = contender.role if style.name == ROLE_NAMES[contender.role] else style.name
            deciding.append(_Deciding(f"{plain}{what}", classes, once))
    size = len(deciding)
    shares, seeds = np.full((size, size), np.nan), np.zeros((size, size), np.int64)
    intervals = np.full((size, size, 2), np.nan)
    for row, one in enumerate(deciding):
        for column, other in enumerate(deciding):
            differing = [float(np.mean(a != b)) for a, b in _met(one, other)]
            seeds[row, column] = len(differing)
            if differing:
                shares[row, column] = np.mean(differing)
                intervals[row, column] = mean_interval(differing)
    return Disagreement(tuple(each.name for each in deciding), shares, seeds, intervals)


def _answers_of(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return (what is added to its name, where its answers are kept) for a model and its heads."""
    if not runs:
        return []
    apart = all(run.summary.get("heads") for run in runs)
    heads = [(f", {name}", f"test/{name}") for name in TOKEN_HEADS] if apart else []
    return [(", both heads" if heads else "", "test"), *heads]


def _classes(store: Store, run: Run, split: str) -> IntArray:
    return np.asarray(logits(store, run, split).argmax(axis=1))


def _met(one: _Deciding, other: _Deciding) -> list[tuple[IntArray, IntArray]]:
    """Return the answers of two models that stand against each other, seed by seed."""
    if one.for_all_seeds:
        (alone,) = one.classes.values()
        return [(alone, each) for each in other.classes.values()]
    if other.for_all_seeds:
        (alone,) = other.classes.values()
        return [(each, alone) for each in one.classes.values()]
    shared = sorted(one.classes.keys() & other.classes.keys())
    return [(one.classes[seed], other.classes[seed]) for seed in shared]
