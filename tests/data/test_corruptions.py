"""Images made worse: worse the more severe, the same for everybody, in the range of values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from kdcore.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from kdcore.errors import ConfigError

DIGITS = (load_digits().images[:60, ..., np.newaxis] / 16).astype(np.float32)


def far(one: NDArray, other: NDArray) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2)))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_more_severe_the_further_from_what_it_was(name: str) -> None:
    distances = [far(corrupt(DIGITS, name, severity), DIGITS) for severity in SEVERITIES]
    assert 0 < distances[0] < distances[1] < distances[2]


@pytest.mark.parametrize("name", CORRUPTIONS)
@given(
    low=st.sampled_from([-1.0, 0.0]), high=st.sampled_from([1.0, 255.0]), seed=st.integers(0, 99)
)
@settings(max_examples=8, deadline=None)
def test_a_range_of_values_is_kept_and_means_the_same(
    name: str, low: float, high: float, seed: int
) -> None:
    unit = corrupt(DIGITS, name, 2, seed=seed)
    wide = corrupt(DIGITS * (high - low) + low, name, 2, (low, high), seed)
    assert wide.min() >= low - 1e-4
    assert wide.max() <= high + 1e-4
    np.testing.assert_allclose((wide - low) / (high - low), unit, atol=1e-4)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_seed_makes_the_same_images_and_the_original_is_left_alone(name: str) -> None:
    before = DIGITS.copy()
    np.testing.assert_array_equal(corrupt(DIGITS, name, 3), corrupt(DIGITS, name, 3))
    np.testing.assert_array_equal(DIGITS, before)


def test_what_each_does() -> None:
    colour = np.repeat(DIGITS, 3, axis=-1)
    assert corrupt(colour, "blur", 1).shape == colour.shape
    means = (1, 2, 3)
    flat = corrupt(DIGITS, "contrast", 3)
    np.testing.assert_allclose(flat.mean(axis=means), DIGITS.mean(axis=means), atol=1e-5)
    np.testing.assert_allclose(flat.std(axis=means), 0.15 * DIGITS.std(axis=means), rtol=1e-4)
    # A square of 4 x 4 pixels of the image's mean, the rest as it was.
    covered = corrupt(DIGITS, "occlusion", 3)
    changed = np.sum(~np.isclose(covered, DIGITS), axis=means)
    assert changed.max() <= 16
    assert changed.mean() > 8
    # Blur and shift leave a flat image flat.
    even = np.full_like(DIGITS, 0.5)
    for name in ("blur", "shift", "contrast", "occlusion"):
        np.testing.assert_allclose(corrupt(even, name, 3), even, atol=1e-5)
    noise = corrupt(even, "noise", 1) - even
    assert noise.std() == pytest.approx(0.1, rel=0.05)


def test_what_is_unknown_is_refused() -> None:
    with pytest.raises(ConfigError, match="corruption must be one of noise, blur"):
        corrupt(DIGITS, "fog", 1)
    with pytest.raises(ConfigError, match="severity must be 1, 2 or 3, got 4"):
        corrupt(DIGITS, "blur", 4)
