"""Networks for texts: padding changes nothing, order matters to some, what they cost."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kdcore import models
from kdcore.data import datasets
from kdcore.errors import ModelError
from kdcore.models.families import multiply_accumulates
from kdcore.models.precision import policy_scope
from kdcore.tasks.values import InputValues
from kdcore.training.evaluation import model_from_bytes, model_to_bytes
from kdcore.training.loop import Network, by_length, student_order, text_lengths

TOKENS, LENGTH, CLASSES = 60, 24, 5
VALUES = InputValues(tokens=TOKENS)
GENERATOR = np.random.default_rng(0)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def build(name: str, seed: int = 1) -> keras.Model:
    return models.build(name, (LENGTH,), CLASSES, seed, values=VALUES)


def texts(count: int = 40) -> np.ndarray:
    found = GENERATOR.integers(5, TOKENS, (count, LENGTH))
    for row, length in zip(found, GENERATOR.integers(2, LENGTH + 1, count), strict=True):
        row[length:] = 0
    return found.astype(np.uint16)


@pytest.mark.parametrize("name", ["transformer-2-32", "bag-16"])
def test_padding_never_changes_an_answer(name: str) -> None:
    model, inputs = build(name), texts()
    whole = np.asarray(model(inputs.astype(np.float32)))
    for row, expected in zip(inputs, whole, strict=True):
        short = row[np.newaxis, : np.count_nonzero(row)]
        np.testing.assert_allclose(np.asarray(model(short))[0], expected, atol=2e-5)
    np.testing.assert_allclose(Network(model, 1.0).logits(inputs), whole, atol=2e-5)


@pytest.mark.parametrize("name", ["transformer-1-16", "bag-16"])
def test_it_answers_alike_from_its_file(name: str) -> None:
    model, inputs = build(name), texts(8).astype(np.float32)
    again = model_from_bytes(model_to_bytes(model))
    np.testing.assert_array_equal(np.asarray(model(inputs)), np.asarray(again(inputs)))


def test_a_bag_knows_no_order_and_a_transformer_does() -> None:
    inputs = GENERATOR.permutation(np.arange(5, 5 + LENGTH))[np.newaxis].astype(np.float32)
    turned = inputs[:, ::-1].copy()
    bag, transformer = build("bag-16"), build("transformer-1-16")
    np.testing.assert_allclose(np.asarray(bag(inputs)), np.asarray(bag(turned)), atol=1e-6)
    assert not np.allclose(transformer(inputs), transformer(turned), atol=1e-4)


def test_an_empty_text_is_answered_with_numbers() -> None:
    empty = np.zeros((1, 8), np.float32)
    for name in ("transformer-1-16", "bag-16"):
        assert np.isfinite(np.asarray(build(name)(empty))).all()


def test_multiply_accumulates_are_those_counted_by_hand() -> None:
    depth, width = 2, 32
    layer = LENGTH * (4 * width**2 + 2 * 4 * width**2) + 2 * LENGTH**2 * width
    expected = depth * layer + width * CLASSES
    assert multiply_accumulates(build("transformer-2-32"), LENGTH) == expected
    assert multiply_accumulates(build("bag-16"), LENGTH) == 16 * 16 + 16 * CLASSES
    with pytest.raises(ModelError, match="give the length of a text"):
        multiply_accumulates(build("transformer-2-32"))


def test_numbers_that_are_no_tokens_are_refused_in_words() -> None:
    with pytest.raises(ModelError, match="needs texts as tokens of a vocabulary"):
        models.build("transformer-1-16", (8, 8, 1), 10)


def test_batches_hold_texts_of_like_length_and_every_row_once() -> None:
    dataset = datasets.load_named("languages")
    lengths, rows = text_lengths(dataset.train.inputs), len(dataset.train)

    def order(epoch: int) -> np.ndarray:
        return student_order(rows, 3, epoch)

    sorted_order = by_length(order, lengths, 64)
    for epoch in (0, 1):
        found = sorted_order(epoch)
        np.testing.assert_array_equal(np.sort(found), np.arange(rows))
        np.testing.assert_array_equal(found, sorted_order(epoch))
        full = rows // 64 * 64
        np.testing.assert_array_equal(found[full:], order(epoch)[full:])
        padded = [
            lengths[each[:full].reshape(-1, 64)].max(axis=1).mean()
            for each in (order(epoch), found)
        ]
        assert padded[1] < 0.6 * padded[0]
    assert not np.array_equal(sorted_order(0), sorted_order(1))


@pytest.mark.parametrize("name", ["transformer-1-16", "bag-16"])
def test_tokens_are_told_apart_whatever_the_precision(name: str) -> None:
    with policy_scope("mixed_bfloat16"):  # which holds whole numbers to 256
        model = models.build(name, (LENGTH,), CLASSES, 1, values=InputValues(tokens=5000))
    one, other = np.full((1, 8), 1000, np.float32), np.full((1, 8), 1001, np.float32)
    assert not np.allclose(model(one), model(other), atol=1e-3)
    np.testing.assert_array_equal(np.asarray(model(one)), np.asarray(model(one.astype(np.int32))))
