"""Pseudo-labels: which are kept, balanced against a plain version, and what is said of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdcore.analysis.pseudo_labels import (
    confident_mistakes,
    describe_selection,
    select_examples,
)
from kdcore.errors import ConfigError
from kdcore.plans import Selection

LOGITS = arrays(np.float32, (40, 4), elements=st.floats(-8, 8, width=32))
LABELLED = np.array([0, 7, 11])


def plainly(logits: np.ndarray, labelled: np.ndarray, selection: Selection) -> list[int]:
    """Return what is to come out, example by example."""
    rows: list[tuple[float, int, int]] = []
    for row, values in enumerate(logits.astype(np.float64)):
        powers = np.exp(values - values.max())
        sure = float(powers.max() / powers.sum())
        if row not in labelled and sure >= selection.confidence:
            rows.append((sure, row, int(values.argmax())))
    if not selection.balance:
        return [row for _, row, _ in rows]
    classes = sorted({top for _, _, top in rows})
    wanted, chosen = -(-len(rows) // len(classes)), []
    for number in classes:
        mine = [row for sure, row, top in sorted(rows, key=lambda r: -r[0]) if top == number]
        chosen += [mine[place % len(mine)] for place in range(wanted)]
    return chosen


@given(LOGITS, st.sampled_from([0.0, 0.3]), st.booleans())
def test_filter_and_balance_are_those_of_a_plain_version(
    logits: np.ndarray, confidence: float, balance: bool
) -> None:
    selection = Selection(confidence, balance)
    assume(plainly(logits, LABELLED, Selection(confidence)))
    chosen = select_examples(logits, LABELLED, selection)
    plain = plainly(logits, LABELLED, selection)
    # Of examples that are equally sure, either may come first.
    sure = np.exp(logits.astype(np.float64))
    sure = np.sort(sure / sure.sum(axis=1, keepdims=True), axis=1)[:, -1]
    assert len(chosen) == len(plain)
    np.testing.assert_allclose(sure[chosen], sure[plain], rtol=1e-9)
    np.testing.assert_array_equal(logits.argmax(axis=1)[chosen], logits.argmax(axis=1)[plain])
    assert not set(chosen) & set(LABELLED), "what has a label is not labelled again"


@given(LOGITS)
def test_balance_brings_each_class_to_the_same_number(logits: np.ndarray) -> None:
    chosen = select_examples(logits, LABELLED, Selection(0.0, balance=True))
    assert len(set(Counter(logits.argmax(axis=1)[chosen]).values())) == 1


def test_nothing_sure_enough_is_said_with_what_there_is() -> None:
    logits = np.zeros((10, 4), np.float32)
    with pytest.raises(ConfigError, match=r"confidence must be at most 0\.25.*got 0\.9"):
        select_examples(logits, LABELLED[:1], Selection(0.9))


def test_what_is_said_of_pseudo_labels() -> None:
    logits = np.array([[4, 0], [3, 0], [0, 3], [0, 0.1], [9, 0]], np.float32)
    labels = np.array([0, 1, 1, 1, 0])
    chosen = select_examples(logits, np.array([4]), Selection(0.8, balance=True))
    assert chosen.tolist() == [0, 1, 2, 2]
    found = describe_selection(logits, labels, np.array([4]), chosen)
    assert (found["examples"], found["kept"]) == (4, 3)
    assert (found["kept_by_class"], found["used_by_class"]) == ([2, 1], [2, 2])
    assert found["right"] == 3 / 4
    assert found["right_of_kept"] == pytest.approx(2 / 3)
    assert sum(bin[2] for bin in found["reliability"]) == 4


def test_how_right_they_are_is_said_of_examples_with_a_hidden_label_alone() -> None:
    logits = np.array([[4, 0], [3, 0], [0, 3], [0, 0.1], [9, 0]], np.float32)
    labels = np.array([0, 1, 1, -1, 0])
    chosen = np.array([0, 1, 3], np.int32)
    found = describe_selection(logits, labels, np.array([4]), chosen)
    assert (found["examples"], found["judged"], found["kept"]) == (4, 3, 3)
    assert found["right"] == pytest.approx(2 / 3)
    assert found["right_of_kept"] == 1 / 2
    assert sum(bin[2] for bin in found["reliability"]) == 3
    labels[:] = -1
    none = describe_selection(logits, labels, np.array([4]), chosen)
    assert (none["examples"], none["judged"], none["right"]) == (4, 0, None)
    assert (none["right_of_kept"], none["reliability"]) == (None, [])


@given(LOGITS, st.integers(1, 40))
def test_confident_mistakes_are_the_surest_wrong_ones_of_the_chosen(
    logits: np.ndarray, most: int
) -> None:
    labels = np.arange(40) % 4
    chosen = select_examples(logits, LABELLED, Selection(0.0))
    found = confident_mistakes(logits, labels, np.repeat(chosen, 2), most)
    powers = np.exp(logits.astype(np.float64))
    sure = powers.max(axis=1) / powers.sum(axis=1)
    wrong = [row for row in chosen.tolist() if logits[row].argmax() != labels[row]]
    assert len(set(found["rows"].tolist())) == len(found["rows"]) == min(most, len(wrong))
    assert set(found["rows"].tolist()) <= set(wrong), "each once, however often it is repeated"
    np.testing.assert_allclose(
        found["confidence"], sorted(sure[wrong], reverse=True)[:most], rtol=1e-5
    )
    np.testing.assert_array_equal(found["labels"], labels[found["rows"]])
    np.testing.assert_array_equal(found["given"], logits.argmax(axis=1)[found["rows"]])


def test_an_example_without_any_label_is_no_mistake() -> None:
    logits = np.array([[4, 0], [0, 3], [5, 0]], np.float32)
    found = confident_mistakes(logits, np.array([1, -1, -1]), np.arange(3, dtype=np.int32))
    assert found["rows"].tolist() == [0]
    nobody = confident_mistakes(logits, np.array([-1, -1, -1]), np.arange(3, dtype=np.int32))
    assert {name: len(values) for name, values in nobody.items()} == dict.fromkeys(found, 0)
