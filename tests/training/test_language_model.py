"""Masked language modelling against plain versions: masks, losses, layer start, who learns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from kdcore import models
from kdcore.errors import ModelError
from kdcore.models.language_model import build_head, depth_of, encoder_of, start_from_layers
from kdcore.plans.pretraining import Pretraining
from kdcore.tasks.values import InputValues
from kdcore.tasks.vocabulary import MASK_ID, SPECIAL, TokenNumbers, middle_masked
from kdcore.training.language_model import (
    GuessedWords,
    LanguageModel,
    LanguageModelTrainer,
    hidden_and_logits,
    mask_tokens,
)
from kdcore.training.loop import Learner, Loop, Network, train_together

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TOKENS, LENGTH, WIDTH = 40, 16, 32
VALUES, NUMBERS = InputValues(tokens=TOKENS), TokenNumbers(TOKENS)
GENERATOR = np.random.default_rng(1)


def texts(count: int = 12) -> np.ndarray:
    found = GENERATOR.integers(len(SPECIAL), TOKENS, (count, LENGTH)).astype(np.int32)
    found[:, 0] = 2
    for row, length in zip(found, GENERATOR.integers(4, LENGTH + 1, count), strict=True):
        row[length - 1], row[length:] = 3, 0
    return found


def pair(depth: int, seed: int) -> tuple[keras.Model, keras.Layer]:
    network = models.build(f"transformer-{depth}-{WIDTH}", (LENGTH,), 5, seed, values=VALUES)
    return network, build_head(network, seed)


def plainly_masked(
    tokens: np.ndarray, draws: np.ndarray, others: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """What :func:`mask_tokens` does, one token after the other."""
    seen, labels = tokens.copy(), np.full_like(tokens, -1)
    for row in range(tokens.shape[0]):
        for at in range(tokens.shape[1]):
            if tokens[row, at] < len(SPECIAL) or draws[0, row, at] >= share:
                continue
            labels[row, at] = tokens[row, at]
            if draws[1, row, at] < 0.8:
                seen[row, at] = MASK_ID
            elif draws[1, row, at] < 0.9:
                seen[row, at] = others[row, at]
    return seen, labels


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_masks_are_those_of_a_plain_version(share: float) -> None:
    tokens = texts(60)
    draws = GENERATOR.random((2, *tokens.shape)).astype(np.float32)
    others = GENERATOR.integers(len(SPECIAL), TOKENS, tokens.shape).astype(np.int32)
    found = mask_tokens(tokens, draws, others, share, NUMBERS)
    expected = plainly_masked(tokens, draws, others, share)
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(one), two)
    assert (expected[1] >= 0).sum() == pytest.approx(
        share * (tokens >= len(SPECIAL)).sum(), rel=0.3
    )


def test_masks_are_new_at_every_step_and_repeat_with_the_seed() -> None:
    def losses(seed: int) -> list[float]:
        network, head = pair(1, 0)
        model = LanguageModel(network, head, Pretraining(), NUMBERS, seed)
        return [float(model.losses_of(model.masked(tokens))["masked_loss"]) for _ in range(3)]

    tokens = texts()
    first = losses(4)
    assert len(set(first)) == 3
    assert losses(4) == first
    assert losses(5) != first


def test_a_student_of_its_teachers_layers_has_its_weights_to_the_bit() -> None:
    teacher, student = pair(4, 1), pair(2, 2)
    start_from_layers(student, teacher, (0, 2))
    ours, theirs = encoder_of(student[0]), encoder_of(teacher[0])
    assert (depth_of(ours), depth_of(theirs)) == (2, 4)
    for mine, of in [(0, 0), (1, 2)]:
        for one, two in zip(
            ours.get_layer(f"transformer_layer_{mine}").get_weights(),
            theirs.get_layer(f"transformer_layer_{of}").get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(
        ours.get_layer("token_embedding").get_weights()[0],
        theirs.get_layer("token_embedding").get_weights()[0],
    )
    whole = pair(4, 3)
    start_from_layers(whole, teacher, (0, 1, 2, 3))
    tokens = ops.convert_to_tensor(texts())
    for one, two in zip(
        hidden_and_logits(*whole, tokens), hidden_and_logits(*teacher, tokens), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


@pytest.mark.parametrize(
    ("layers", "width", "message"),
    [((0,), WIDTH, "got layers"), ((0, 9), WIDTH, "got layers"), ((0, 2), 48, "has its width")],
)
def test_what_does_not_fit_is_refused(layers: tuple[int, ...], width: int, message: str) -> None:
    network = models.build(f"transformer-2-{width}", (LENGTH,), 5, 0, values=VALUES)
    with pytest.raises(ModelError, match=message):
        start_from_layers((network, build_head(network, 0)), pair(4, 1), layers)
    with pytest.raises(ModelError, match="only transformers are language models"):
        build_head(models.build("bag-16", (LENGTH,), 5, 0, values=VALUES), 0)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_the_three_losses_are_those_of_float64_numpy() -> None:
    teacher, student, tokens = pair(2, 1), pair(1, 2), texts()
    how = Pretraining(distillation=5.0, masked=2.0, hidden=1.0, temperature=2.0)
    model = LanguageModel(*student, how, NUMBERS, 3, teacher)
    twin = LanguageModel(*student, how, NUMBERS, 3, teacher)
    draws = keras.random.uniform([2, *tokens.shape], seed=twin.numbers)
    others = keras.random.randint(tokens.shape, len(SPECIAL), TOKENS, seed=twin.numbers)
    seen, labels = (
        np.asarray(each) for each in mask_tokens(tokens, draws, others, how.mask, NUMBERS)
    )
    found = {name: float(value) for name, value in model.losses_of(model.masked(tokens)).items()}

    hidden, logits = (np.asarray(each, np.float64) for each in hidden_and_logits(*student, seen))
    taught_hidden, taught = (
        np.asarray(each, np.float64) for each in hidden_and_logits(*teacher, seen)
    )
    real, guessed = tokens != 0, labels >= 0
    own = log_softmax(logits)
    masked = -own[guessed, labels[guessed]].mean()
    mine, theirs = log_softmax(logits / 2), log_softmax(taught / 2)
    tokens_apart = 4 * (np.exp(theirs) * (theirs - mine)).sum(axis=-1)[real].mean()
    angle = (hidden * taught_hidden).sum(axis=-1) / (
        np.linalg.norm(hidden, axis=-1) * np.linalg.norm(taught_hidden, axis=-1)
    )
    expected = {
        "masked_loss": masked,
        "token_loss": tokens_apart,
        "hidden_loss": (1 - angle)[real].mean(),
    }
    assert found == pytest.approx(expected, rel=1e-4)
    whole = float(model._whole(model.losses_of(model.masked(tokens))))
    assert whole > 0


def test_a_taught_student_leaves_its_teacher_and_its_classes_alone_and_comes_nearer() -> None:
    teacher, student, tokens = pair(2, 1), pair(1, 2), texts(64)
    before = [weight.copy() for weight in teacher[0].get_weights()]
    classes = [weight.copy() for weight in student[0].get_layer("logits").get_weights()]
    how = Pretraining(distillation=5.0, masked=0.0, hidden=1.0)
    model = LanguageModel(*student, how, NUMBERS, 3, teacher)
    model.compile(keras.optimizers.Adam(3e-3))
    trainer = LanguageModelTrainer(model)
    trainer.build((tokens.astype(np.float32), None))
    first = {name: float(value) for name, value in model.losses_of(model.masked(tokens)).items()}
    for _ in range(40):
        model.train_step((tokens.astype(np.float32), None))
    last = {name: float(value) for name, value in model.losses_of(model.masked(tokens)).items()}
    assert set(first) == {"token_loss", "hidden_loss"}
    assert all(last[name] < 0.7 * first[name] for name in first)
    for one, two in zip(before, teacher[0].get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(classes, student[0].get_layer("logits").get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_start_from_layers_begins_nearer_than_a_fresh_one() -> None:
    teacher, tokens = pair(4, 1), texts(64)
    trained = LanguageModel(*teacher, Pretraining(), NUMBERS, 0)
    trained.compile(keras.optimizers.Adam(3e-3))
    LanguageModelTrainer(trained).build((tokens.astype(np.float32), None))
    for _ in range(60):
        trained.train_step((tokens.astype(np.float32), None))
    how = Pretraining(distillation=5.0, masked=2.0, hidden=1.0)
    apart = {}
    for name in ("fresh", "layers"):
        student = pair(2, 2)
        if name == "layers":
            start_from_layers(student, teacher, (0, 2))
        model = LanguageModel(*student, how, NUMBERS, 3, teacher)
        apart[name] = float(model.losses_of(model.masked(tokens))["token_loss"])
    assert apart["layers"] < apart["fresh"]


def test_guesses_are_measured_on_masks_that_are_the_same_for_all() -> None:
    model, other, tokens = pair(1, 1), pair(2, 2), texts(40)
    how = Pretraining(mask=0.3)
    one, two = (LanguageModel(*each, how, NUMBERS, 0) for each in (model, other))
    first, again, second = (GuessedWords(each, tokens, tokens[:4]) for each in (one, one, two))
    np.testing.assert_array_equal(first.seen, second.seen)
    assert first.validation() == again.validation()
    assert first.validation() != second.validation()
    _, logits = hidden_and_logits(*model, first.seen)
    guessed = first.labels >= 0
    plain = -log_softmax(np.asarray(logits, np.float64))[guessed, first.labels[guessed]].mean()
    assert first.validation()["loss"] == pytest.approx(plain, rel=1e-4)
    assert one.compiled_measure.experimental_get_tracing_count() == 1, "of many sizes, by two"
    game, places = middle_masked(tokens[:4], MASK_ID)
    assert (game[np.arange(4), places] == MASK_ID).all()
    _, asked = hidden_and_logits(*model, game)
    np.testing.assert_allclose(
        first.probe_logits(), np.asarray(asked)[np.arange(4), places], atol=1e-5
    )


# Sixteen to a batch: two lengths in steps of eight tokens, and an uneven last batch.
LENGTHS = np.repeat([6, 14], [32, 40])[:, None]


def learner(jit_compile: bool, tokens: np.ndarray, how: Pretraining) -> Learner:
    network, head = pair(1, 2)
    model = LanguageModel(network, head, how, NUMBERS, 3, pair(2, 1) if how.distillation else None)
    model.compile(keras.optimizers.Adam(1e-3))
    return Learner(
        "words",
        Loop(LanguageModelTrainer(model), 1.0, jit_compile=jit_compile),
        Network(network, 1.0),
        tokens,
        np.zeros(len(tokens), np.int32),
        lambda epoch: np.arange(72, dtype=np.int32),
        16,
        5,
    )


def texts_of_two_lengths() -> np.ndarray:
    words = np.random.default_rng(2).integers(len(SPECIAL), TOKENS, (72, LENGTH))
    return np.where(np.arange(LENGTH) < LENGTHS, words, 0).astype(np.int32)


def test_masks_and_losses_are_the_same_with_xla() -> None:
    how = Pretraining(distillation=5.0, masked=2.0, hidden=1.0)
    plain, compiled = (learner(each, texts_of_two_lengths(), how) for each in (False, True))
    for epoch in range(1, 4):
        for each in (plain, compiled):
            train_together([each], epoch)
        assert compiled.logs() == pytest.approx(plain.logs(), rel=1e-4)
    for one, two in zip(plain._state(), compiled._state(), strict=True):
        np.testing.assert_allclose(np.asarray(two), np.asarray(one), atol=1e-3)


def test_each_shape_is_compiled_once(tmp_path: Path) -> None:
    train = (
        "from tests.training.test_language_model import *\n"
        "each = learner(True, texts_of_two_lengths(), Pretraining())\n"
        "train_together([each], 3)\n"
        "assert each.loop._step.experimental_get_tracing_count() == 1\n"
    )
    named = {"XLA_FLAGS": f"--xla_dump_to={tmp_path} --xla_dump_hlo_module_re=.*step.*"}
    subprocess.run([sys.executable, "-c", train], env={**os.environ, **named}, check=True)
    programs = list(tmp_path.glob("*step*.before_optimizations.txt"))
    assert len(programs) == 3, "two lengths, and the uneven last batch"
