"""A brought teacher is judged by its answers on the user's own labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kdcore.analysis.brought_teacher import Examination, examine

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 5, 300)


def answers(share: float, sure: float = 4.0, labels: np.ndarray = LABELS) -> np.ndarray:
    """Logits that are right for a share of the examples."""
    top = np.where(RANDOM.random(len(labels)) < share, labels, (labels + 1) % 5)
    return sure * np.eye(5)[top]


def test_a_range_that_does_much_better_is_named() -> None:
    found = examine({"0 to 1": answers(0.2), "-1 to 1": answers(0.95)}, LABELS)
    assert found.better == "-1 to 1"
    assert "right with values 0 to 1" in found.problem
    assert "% with -1 to 1" in found.problem
    assert found.examples == 300


def test_as_right_and_far_surer_of_it_is_better_too() -> None:
    right = answers(1.0)
    found = examine({"0 to 1": right / 40, "0 to 255": right}, LABELS)
    assert found.better == "0 to 255"
    assert "log loss" in found.problem


def test_ranges_that_the_examples_cannot_tell_apart_are_all_named() -> None:
    """Which one it was trained with is for its user to say."""
    right = answers(0.95)
    near = right + RANDOM.normal(0, 0.2, right.shape)
    far = right / 2
    given = {"0 to 1": answers(0.2), "standardised": near, "-1 to 1": right, "0 to 255": far}
    found = examine(given, LABELS)
    assert set(found.ways) == {"standardised", "-1 to 1"}
    assert found.problem.endswith(f"% with {found.ways[0]} or {found.ways[1]}")
    assert Examination.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    old = {key: value for key, value in found.to_dict().items() if key != "alike"}
    assert Examination.from_dict(old).ways == (found.better,)


@pytest.mark.parametrize("other", [0.1, 0.9, 0.93])
def test_nothing_is_said_of_a_teacher_that_is_right(other: float) -> None:
    found = examine({"0 to 1": answers(0.9), "0 to 255": answers(other)}, LABELS)
    assert (found.problem, found.better) == ("", "")
    assert found.seen[0].accuracy == pytest.approx(0.9, abs=0.06)


def test_chance_is_that_of_the_labels() -> None:
    found = examine({"0 to 1": RANDOM.normal(size=(300, 5))}, LABELS)
    assert "no better than chance" in found.problem
    lopsided = np.where(np.arange(300) % 10, 0, 1)
    always = np.tile([3.0, 0.0], (300, 1))
    assert "no better than chance" in examine({"as they are": always}, lopsided).problem


def test_classes_in_another_order_are_recognised() -> None:
    found = examine({"0 to 1": answers(1.0)[:, [2, 0, 4, 1, 3]]}, LABELS)
    assert "in another order" in found.problem
    assert found.better == ""
