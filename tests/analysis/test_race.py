"""Which methods a race tells from plain distillation, on results that were made up."""

from __future__ import annotations

import numpy as np
import pytest

from kdcore.analysis.race import holm, standings, verdict_in_words
from kdcore.errors import ConfigError

METHODS = ("logits", "dist", "hints", "attention", "similarity", "decoupled")
TITLES = {name: name.capitalize() for name in METHODS}


def race(random: np.random.Generator, better: float = 0.0, seeds: int = 5):
    """Return the standings of methods that are equal but for "dist", which is ``better``."""
    start = 0.85 + 0.02 * random.standard_normal(seeds)  # what is common to a seed
    accuracies = {
        name: np.clip(start + 0.01 * random.standard_normal(seeds), 0, 1) for name in METHODS
    }
    accuracies["dist"] = np.clip(accuracies["dist"] + better, 0, 1)
    baselines = {name: start - 0.1 for name in METHODS}
    return standings(accuracies, baselines)


def test_where_all_methods_are_equal_none_is_told_apart_in_95_of_100_races() -> None:
    random = np.random.default_rng(0)
    races = [race(random) for _ in range(1000)]
    quiet = [all(one.verdict in ("plain", "no difference") for one in each) for each in races]
    # Tests against the same plain distillation hang together, so Holm's errs on the safe side.
    assert 0.935 <= np.mean(quiet) <= 0.99
    uncorrected = [
        all(one.over_plain is None or one.over_plain.outcome == "no difference" for one in each)
        for each in races
    ]
    assert np.mean(uncorrected) < 0.90, "without a correction one in ten races would be wrong"
    assert "No method that 5 seeds can tell from plain distillation." in verdict_in_words(
        next(each for each, well in zip(races, quiet, strict=True) if well), TITLES
    )


def test_a_single_equal_method_is_named_equal_in_95_of_100_races() -> None:
    random = np.random.default_rng(1)
    equal = 0
    for _ in range(1000):
        start = 0.85 + 0.02 * random.standard_normal(5)
        accuracies = {name: start + 0.01 * random.standard_normal(5) for name in ("logits", "dist")}
        found = standings(accuracies, dict.fromkeys(accuracies, start))
        equal += next(each for each in found if each.method == "dist").verdict == "no difference"
    assert 930 <= equal <= 970


@pytest.mark.parametrize(("better", "verdict"), [(0.08, "better"), (-0.08, "worse")])
def test_a_clearly_different_method_is_named(better: float, verdict: str) -> None:
    random = np.random.default_rng(2)
    races = [race(random, better) for _ in range(200)]
    named = [next(one for one in each if one.method == "dist").verdict == verdict for each in races]
    assert np.mean(named) > 0.9
    words = verdict_in_words(races[0], TITLES)
    assert f"{verdict.capitalize()} than plain distillation: Dist." in words
    assert "Holm's procedure for 5 comparisons" in words


def test_holm_is_the_step_down_procedure() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_method_that_is_worse_than_no_teacher_is_said_to_be() -> None:
    plain, baseline = [0.9, 0.91, 0.92], [0.85, 0.86, 0.88]
    found = standings(
        {"logits": plain, "hints": [0.5, 0.52, 0.51]}, {"logits": baseline, "hints": baseline}
    )
    assert "Worse than no teacher at all: Hints." in verdict_in_words(found, TITLES)


def test_a_race_without_plain_distillation_or_with_one_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="methods must be with logits"):
        standings({"dist": [0.9, 0.8]}, {"dist": [0.8, 0.8]})
    with pytest.raises(ConfigError, match="seeds must be at least 2"):
        standings({"logits": [0.9]}, {"logits": [0.8]})
