"""What a dataset gives is brought to the range that a model wants: against plain NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kdcore.data import datasets
from kdcore.errors import ModelError
from kdcore.models.own import GREY_WEIGHTS, adapt
from kdcore.models.value_ranges import linear_to, to_range
from kdcore.tasks.values import InputValues

RANDOM = np.random.default_rng(0)


def applied(training: NDArray, wanted: str, values: InputValues) -> NDArray:
    scale, offset = linear_to(wanted, values, pictures=training.ndim > 2)
    return training * values.scale * scale + offset


@given(
    st.integers(1, 3), st.floats(0.01, 1.0), st.integers(0, 2**31 - 1), st.sampled_from([0.0, 1e6])
)
def test_standardised_has_mean_0_and_deviation_1_in_each_channel(
    channels: int, scale: float, seed: int, far: float
) -> None:
    generator = np.random.default_rng(seed)
    training = generator.normal(far, 9.0, (40, 3, 4, channels)) * np.arange(1, channels + 1)
    found = applied(training, "standardised", InputValues(training=training, scale=scale))
    np.testing.assert_allclose(found.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(axis=(0, 1, 2)), 1, rtol=1e-6)


def test_statistics_of_many_pieces_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    training = RANDOM.normal(3, 2, (50, 4, 4, 3)).astype(np.float32)
    whole = InputValues(training=training).statistics
    monkeypatch.setattr("kdcore.tasks.values.VALUES_AT_ONCE", 100)
    pieces = InputValues(training=training).statistics
    assert whole is not None
    assert pieces is not None
    np.testing.assert_allclose(pieces.mean, training.mean(axis=(0, 1, 2), dtype=np.float64))
    np.testing.assert_allclose(pieces.deviation, whole.deviation)
    np.testing.assert_array_equal(pieces.highest, training.max(axis=(0, 1, 2)))
    np.testing.assert_array_equal(pieces.lowest, training.min(axis=(0, 1, 2)))


def test_features_of_a_table_have_a_range_of_their_own_each() -> None:
    units = RANDOM.normal(0, 1, (30, 3)) * [1, 50, 2000] + [0, 7, -300]
    centre, spread = units.mean(axis=0), units.std(axis=0)
    stored = (units - centre) / spread
    values = InputValues(training=stored, centre=centre, spread=spread)
    np.testing.assert_allclose(applied(stored, "as in the file", values), units)
    np.testing.assert_allclose(applied(stored, "as they are", values), stored)
    unit = applied(stored, "0 to 1", values)
    np.testing.assert_allclose(unit.min(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(unit.max(axis=0), 1)


def test_a_constant_channel_is_no_division_by_nothing() -> None:
    training = np.ones((5, 2))
    for wanted in ("standardised", "0 to 1"):
        assert np.all(np.isfinite(applied(training, wanted, InputValues(training=training))))


def test_colour_turned_to_grey_is_standardised_as_grey() -> None:
    training = RANDOM.random((60, 4, 4, 3)).astype(np.float32)
    outside = keras.Input((4, 4, 1))
    seen = keras.Model(outside, keras.layers.Flatten()(outside))
    model = adapt(seen, (4, 4, 3), InputValues(training=training), "standardised")
    grey = training @ GREY_WEIGHTS
    expected = (grey - grey.mean()) / grey.std()
    np.testing.assert_allclose(model(training), expected.reshape(60, -1), atol=1e-4)


def test_nothing_is_put_in_front_of_what_fits_and_nothing_is_made_up_without_data() -> None:
    inputs = keras.Input((4, 4, 1))
    assert to_range(inputs, "0 to 1", InputValues(), pictures=True) is inputs
    with pytest.raises(ModelError, match="standardised can be made only where the data is at hand"):
        to_range(inputs, "standardised", InputValues(), pictures=True)


def test_a_dataset_knows_its_values() -> None:
    digits = datasets.load_named("digits")
    known = digits.values.statistics
    assert known is not None
    pixels = digits.train.inputs / 16
    assert known.mean == pytest.approx(pixels.mean())
    assert known.deviation == pytest.approx(pixels.std())
