"""Which distillation methods several paired seeds can tell from plain distillation.

Each method is compared with plain distillation by a paired t test over the seeds. Because several
are compared at once, Holm's procedure decides: where all are equal, the chance that any is told
apart is at most 5 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kdcore.analysis.statistics import PairedGain, paired_gain
from kdcore.errors import require

PLAIN = "logits"
ERROR_RATE = 0.05

Verdict = Literal["plain", "better", "worse", "no difference"]


@dataclass(frozen=True)
class Standing:
    """One method in the race: its accuracies by pair, a fraction each, its gain over the baseline
    and over plain distillation, None for plain distillation itself, and what Holm's procedure says
    of the latter. ``p_value`` is Holm's adjusted one.
    """

    method: str
    accuracies: tuple[float, ...]
    over_baseline: PairedGain
    over_plain: PairedGain | None
    p_value: float | None
    verdict: Verdict

    @property
    def accuracy(self) -> float:
        """The mean accuracy over the seeds, a fraction."""
        return float(np.mean(self.accuracies))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's step-down procedure, in the order given.

    Holm, "A simple sequentially rejective multiple test procedure", 1979. One that is at most 0.05
    is significant at a familywise error rate of 5 %.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def standings(
    accuracies: Mapping[str, Sequence[float]],
    baselines: Mapping[str, Sequence[float]],
    test_examples: int | None = None,
) -> list[Standing]:
    """Compare methods with plain distillation and with their baselines, the best first.

    Args:
        accuracies: by method, fractions from 0 to 1, one a seed in the same order for all.
        baselines: the same of each method's baseline.
        test_examples: how many examples the accuracies were measured on, if known.

    Raises ConfigError without plain distillation or with fewer than two seeds.
    """
    require(PLAIN in accuracies, "methods", f"with {PLAIN}, to compare with", ", ".join(accuracies))
    seeds = len(accuracies[PLAIN])
    require(seeds >= 2, "seeds", "at least 2, for intervals", seeds)
    rivals = [name for name in accuracies if name != PLAIN]
    over_plain = {
        name: paired_gain(accuracies[name], accuracies[PLAIN], test_examples=test_examples)
        for name in rivals
    }
    adjusted = dict(zip(rivals, holm([over_plain[name].p_value for name in rivals]), strict=True))
    found = []
    for name, own in accuracies.items():
        gain, verdict = over_plain.get(name), "plain"
        if gain is not None:
            sure = adjusted[name] <= ERROR_RATE
            verdict = "no difference" if not sure else "better" if gain.mean > 0 else "worse"
        found.append(
            Standing(
                name,
                tuple(own),
                paired_gain(own, baselines[name], test_examples=test_examples),
                gain,
                adjusted.get(name),
                verdict,  # type: ignore[arg-type]
            )
        )
    return sorted(found, key=lambda each: -each.accuracy)


def verdict_in_words(found: Sequence[Standing], titles: Mapping[str, str]) -> str:
    """Return what the race has shown, in sentences."""
    seeds = len(found[0].accuracies)

    def named(verdict: Verdict) -> str:
        return ", ".join(titles[each.method] for each in found if each.verdict == verdict)

    rivals = len(found) - 1
    if rivals == 0:
        return "Plain distillation ran alone."
    sentences = []
    if better := named("better"):
        sentences.append(f"Better than plain distillation: {better}.")
    else:
        sentences.append(
            f"No method is better than plain distillation as far as {seeds} seeds can tell."
        )
    if worse := named("worse"):
        sentences.append(f"Worse than plain distillation: {worse}.")
    if not better and not worse:
        sentences = [f"No method that {seeds} seeds can tell from plain distillation."]
    elif same := named("no difference"):
        sentences.append(f"{seeds} seeds cannot tell these from it: {same}.")
    if hurt := [titles[each.method] for each in found if each.over_baseline.outcome == "hurt"]:
        sentences.append(f"Worse than no teacher at all: {', '.join(hurt)}.")
    sentences.append(
        f"Paired t tests over {seeds} seeds, corrected by Holm's procedure for {rivals} "
        f"{'comparison' if rivals == 1 else 'comparisons'}; intervals are not corrected."
    )
    return " ".join(sentences)
