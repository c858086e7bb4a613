"""Generations that answer together, against a plain version in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from kdcore.analysis.ensembles import ensemble, mean_probabilities
from kdcore.analysis.statistics import accuracy_interval, interval_of_accuracies
from kdcore.errors import ConfigError


@given(st.integers(0, 2**31 - 1), st.sampled_from([0.5, 1.0, 4.0]), st.integers(1, 4))
def test_probabilities_are_averaged_not_logits(seed: int, temperature: float, count: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (count, 20, 5)).astype(np.float32)
    expected = softmax(logits.astype(np.float64) / temperature, axis=2).mean(axis=0)
    np.testing.assert_allclose(mean_probabilities(list(logits), temperature), expected, rtol=1e-9)


def test_a_sure_model_counts_more_at_1_than_softened() -> None:
    members = [np.array([[9.0, 0.0]]), np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]])]
    assert mean_probabilities(members).argmax() == 0
    assert mean_probabilities([-each for each in members]).argmax() == 1
    members = [np.array([[4.0, 0.0, 3.9]]), np.array([[0.0, 0.1, 3.0]])]
    assert mean_probabilities(members).argmax() == 2


def test_its_interval_and_its_gain_over_the_last_generation() -> None:
    right = [np.arange(100) < 90, np.arange(100) < 94, np.arange(100) < 92]
    last = [np.arange(100) < 85, np.arange(100) < 90, np.arange(100) < 86]
    found = ensemble(3, 1.0, right, last)
    assert found.accuracies == (0.9, 0.94, 0.92)
    half = 4.302652729911275 * 0.02 / np.sqrt(3)  # Student's t of two degrees of freedom
    assert found.interval == pytest.approx((0.92 - half, 0.92 + half))
    assert found.gain.mean == pytest.approx(5.0)
    assert found.to_dict()["gain_over_last"]["n"] == 3
    assert found.words == f"92.00 % ({100 * (0.92 - half):.2f} to {100 * (0.92 + half):.2f})"
    one = ensemble(2, 1.0, right[:1], last[:1])
    assert one.interval == accuracy_interval(90, 100)
    assert one.interval_kind == "Wilson, one run on 100 test examples"


def test_what_cannot_be_averaged_is_refused() -> None:
    with pytest.raises(ConfigError, match="members must be at least one model, got 0"):
        mean_probabilities([])
    with pytest.raises(ConfigError, match="answers to the same examples"):
        mean_probabilities([np.zeros((3, 2)), np.zeros((4, 2))])
    with pytest.raises(ConfigError, match="accuracies"):
        interval_of_accuracies([1.5], 10)
