"""Many models beside each other: the best first, and which of the others paired seeds tell from it.

For more models than fit side by side. All accuracies are of test data; the best of many owes
something to luck, and is said to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdcore.analysis.comparison import accuracy_with_interval
from kdcore.analysis.contenders import Contender, names
from kdcore.analysis.statistics import PairedGain, finite_or_none, paired_gain
from kdcore.errors import require


@dataclass(frozen=True)
class Standing:
    """A model's place: mean test accuracy (a fraction) with its 95 % interval.

    ``behind`` is what the best is ahead of it over the seeds that both have, in points, None for
    the best itself and where they share fewer than two; ``apart`` whether their intervals do not
    touch.
    """

    contender: Contender
    name: str
    seeds: int
    accuracy: float
    interval: tuple[float, float]
    interval_kind: str
    parameters: int | None
    behind: PairedGain | None = None
    apart: bool = False

    @property
    def told_from_best(self) -> bool:
        """Whether paired seeds show that the best one is better, or without them the intervals."""
        return self.apart if self.behind is None else self.behind.outcome == "helped"

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        low, high = self.interval
        behind = self.behind
        return {
            "id": self.contender.id,
            "name": self.name,
            "role": self.contender.role,
            "model": self.contender.model,
            "seeds": self.seeds,
            "test_accuracy": self.accuracy,
            "test_accuracy_low": low,
            "test_accuracy_high": high,
            "interval": self.interval_kind,
            "parameters": self.parameters,
            "points_behind_best": behind.mean if behind else None,
            "points_behind_low": finite_or_none(behind.low) if behind else None,
            "points_behind_high": finite_or_none(behind.high) if behind else None,
            "told_from_best": self.told_from_best,
        }


@dataclass(frozen=True)
class Ranking:
    """Trained models, the best first, and those that are not trained yet."""

    standings: tuple[Standing, ...]
    untrained: tuple[Contender, ...]
    test_examples: int

    @property
    def words(self) -> str:
        """What the ranking says, in sentences."""
        if not self.standings:
            return "None of these models is trained yet."
        best, others = self.standings[0], self.standings[1:]
        even = sum(not each.told_from_best for each in others)
        told = (
            f"it can be told from all {len(others)} others"
            if not even
            else f"{even} of the {len(others)} others cannot be told from it"
        )
        return (
            f"Best of {len(self.standings)} on {self.test_examples:,} test examples: {best.name}, "
            f"{100 * best.accuracy:.1f} %; {told}. It is the best of many, so part of its lead may be luck."
        )


def rank(contenders: Sequence[Contender]) -> Ranking:
    """Rank models by mean test accuracy.

    Raises ConfigError where there is none.
    """
    require(len(contenders) > 0, "models", "at least one", 0)
    trained = [
        (each, name)
        for each, name in zip(contenders, names(contenders), strict=True)
        if each.trained
    ]
    trained.sort(key=lambda pair: -_mean(pair[0]))
    standings = [_standing(each, name, trained[0][0]) for each, name in trained]
    examples = trained[0][0].trained[0].summary["test_examples"] if trained else 0
    untrained = tuple(each for each in contenders if not each.trained)
    return Ranking(tuple(standings), untrained, int(examples))


def _standing(contender: Contender, name: str, best: Contender) -> Standing:
    accuracy, interval, kind = accuracy_with_interval(contender.trained)
    lowest = accuracy_with_interval(best.trained)[1][0]
    return Standing(
        contender,
        name,
        len(contender.trained),
        accuracy,
        interval,
        kind,
        contender.trained[0].parameters,
        None if contender is best else _behind(best, contender),
        lowest > interval[1],
    )


def _behind(best: Contender, other: Contender) -> PairedGain | None:
    ahead, behind = (
        {run.seed: run.summary["test_accuracy"] for run in each.trained} for each in (best, other)
    )
    seeds = sorted(ahead.keys() & behind.keys())
    if len(seeds) < 2:
        return None
    examples = int(best.trained[0].summary["test_examples"])
    return paired_gain(
        [ahead[seed] for seed in seeds],
        [behind[seed] for seed in seeds],
        test_examples=examples,
    )


def _mean(contender: Contender) -> float:
    return float(np.mean([run.summary["test_accuracy"] for run in contender.trained]))
