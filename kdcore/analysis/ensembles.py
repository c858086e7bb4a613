"""Several generations that answer together: the mean of their probabilities (Furlanello 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kdcore.analysis.logits import BoolArray, FloatArray, softmax
from kdcore.analysis.statistics import PairedGain, interval_of_accuracies, paired_gain
from kdcore.errors import require


@dataclass(frozen=True)
class Ensemble:
    """The generations up to one of them, averaged.

    ``accuracies`` are fractions on test data by seed, ``interval`` the 95 % interval of their mean,
    ``gain`` what the ensemble is ahead of its last generation, paired over the seeds.
    """

    generations: int
    temperature: float
    accuracies: tuple[float, ...]
    interval: tuple[float, float]
    interval_kind: str
    gain: PairedGain

    @property
    def words(self) -> str:
        """Its accuracy with its interval: "96.12 % (95.80 to 96.44)"."""
        low, high = self.interval
        return f"{100 * np.mean(self.accuracies):.2f} % ({100 * low:.2f} to {100 * high:.2f})"

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        low, high = self.interval
        return {
            "generations": self.generations,
            "temperature": self.temperature,
            "accuracy": list(self.accuracies),
            "mean": float(np.mean(self.accuracies)),
            "low": low,
            "high": high,
            "interval": self.interval_kind,
            "gain_over_last": self.gain.to_dict(),
        }


def mean_probabilities(members: Sequence[ArrayLike], temperature: float = 1.0) -> FloatArray:
    """Return the mean of the softened distributions of several models, [examples, classes].

    ``members`` are the logits of each. Raises ConfigError for none, or for shapes that differ.
    """
    require(len(members) > 0, "members", "at least one model", 0)
    found = [softmax(logits, temperature) for logits in members]
    shapes = {each.shape for each in found}
    require(len(shapes) == 1, "members", "answers to the same examples", sorted(shapes))
    return np.mean(found, axis=0)


def ensemble(
    generations: int,
    temperature: float,
    right: Sequence[BoolArray],
    last: Sequence[BoolArray],
) -> Ensemble:
    """Return what came of an ensemble: which test examples it and its last generation got
    ``right``, a seed each.
    """
    accuracies = [float(each.mean()) for each in right]
    others = [float(each.mean()) for each in last]
    examples = len(right[0])
    if len(right) > 1:
        gain = paired_gain(accuracies, others, test_examples=examples)
    else:
        gain = paired_gain(accuracies, others, student_correct=right[0], baseline_correct=last[0])
    interval, kind = interval_of_accuracies(accuracies, examples)
    return Ensemble(generations, temperature, tuple(accuracies), interval, kind, gain)
