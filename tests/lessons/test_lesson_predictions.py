"""How far a prediction is from what was measured, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdcore.errors import ConfigError
from kdcore.lessons import Expected, Measured, as_prediction, compare_with, expectation_in_words

finite = st.floats(-1000, 1000)


@given(st.lists(st.tuples(finite, finite), min_size=2, max_size=8), st.floats(0.1, 5000))
def test_a_curve_is_off_by_the_mean_of_its_distances(
    pairs: list[tuple[float, float]], reach: float
) -> None:
    truth, guess = zip(*pairs, strict=True)
    titles = tuple(map(str, range(len(pairs))))
    verdict = compare_with(Measured(truth, titles, "points", "test data"), list(guess), reach)
    off = np.mean(np.abs(np.subtract(guess, truth)))
    assert verdict.off == pytest.approx(off)
    assert verdict.right == (verdict.off / reach <= 0.15)
    furthest = max(range(len(pairs)), key=lambda number: abs(guess[number] - truth[number]))
    far = abs(guess[furthest] - truth[furthest])
    assert any(
        f"furthest at {title}" in verdict.words
        for title, one, other in zip(titles, guess, truth, strict=True)
        if abs(one - other) == pytest.approx(far)
    )


@given(finite, finite)
def test_a_number_is_off_by_its_distance(truth: float, guess: float) -> None:
    verdict = compare_with(Measured((truth,), ("",), "seeds", "test data"), guess, 10.0)
    assert verdict.off == pytest.approx(abs(truth - guess))
    assert f"you said {guess:.1f} seeds, the runs say {truth:.1f} seeds" in verdict.words


def test_percent_are_apart_in_points() -> None:
    verdict = compare_with(Measured((80.0,), ("",), "%", "test data"), 62.0, 100.0)
    assert "80.0 %, 18.0 points apart" in verdict.words
    assert verdict.words.startswith("A useful surprise")


def test_a_choice_is_right_or_kindly_wrong() -> None:
    found = Measured((1.0, 7.0), ("2", "8"), "%", "test data", best="8")
    assert compare_with(found, "8", 1.0).words == "Right: it is 8 (7.0 %)."
    wrong = compare_with(found, "2", 1.0)
    assert not wrong.right
    assert wrong.words == "A useful surprise: you said 2 (1.0 %), the runs say 8 (7.0 %)."
    with pytest.raises(ConfigError, match="prediction must be one of 2, 8, got '9'"):
        compare_with(found, "9", 1.0)


@pytest.mark.parametrize("value", [[1.0], "3", [1.0, "a"], None, {}, [1, 2, 3]])
def test_a_prediction_of_another_shape_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="prediction must be"):
        as_prediction("curve", value, 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "x", [1, 2]])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="prediction must be"):
        as_prediction("number", value, 0)


def test_predictions_are_kept_as_json_has_them() -> None:
    assert as_prediction("curve", (1, 2), 2) == [1.0, 2.0]
    assert as_prediction("number", 3, 0) == 3.0
    assert as_prediction("choice", "8", 0) == "8"


def curve(*values: float, half: float = 0.0) -> Measured:
    """Values over an axis, with intervals where there is a half width."""
    bounds = (
        {
            "low": tuple(value - half for value in values),
            "high": tuple(value + half for value in values),
        }
        if half
        else {}
    )
    return Measured(values, tuple(map(str, values)), "points", "test data", **bounds)


def test_an_expectation_of_two_options_is_told_from_both() -> None:
    found = Measured(
        (2.9, 2.8), ("alone", "taught"), "nats", "test data", best="taught", decimals=2
    )
    expected = Expected(words="so", rule="less", less=("taught", "alone"))
    assert expectation_in_words(expected, found)[0]
    other = Expected(words="so", rule="less", less=("alone", "taught"))
    shown, said = expectation_in_words(other, found)
    assert not shown
    assert "it is 2.90 nats (alone) against 2.80 nats (taught)" in said


@pytest.mark.parametrize(
    ("rule", "found", "shown", "said"),
    [
        ("falls", curve(9, 4, 1), True, "These runs show it."),
        ("falls", curve(9, 4, 1, half=5), False, "the intervals overlap, from 9.0 points to 1.0"),
        ("falls", curve(1, 4, 9), False, "it went from 1.0 points to 9.0 points"),
        ("rises", curve(1, 4, 9, half=1), True, "These runs show it."),
        ("above zero", curve(2, half=1), True, "These runs show it."),
        ("above zero", curve(2, half=3), False, "the interval, -1.0 to 5.0 points, holds zero"),
        ("above zero", curve(-2), False, "they measured -2.0 points"),
        ("at least", curve(3), False, "they measured 3.0 points"),
        ("at least", curve(3, 30), True, "These runs show it."),
    ],
)
def test_an_expectation_is_told_from_the_numbers(
    rule: str, found: Measured, shown: bool, said: str
) -> None:
    expected = Expected(words="so", rule=rule, least=10.0)
    assert expectation_in_words(expected, found)[0] is shown
    assert said in expectation_in_words(expected, found)[1]
