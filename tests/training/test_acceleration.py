"""A step compiled by XLA: the same training, and when it pays."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest

from kdcore import models
from kdcore.config.experiment import ExperimentConfig
from kdcore.methods import METHODS
from kdcore.tasks.values import InputValues
from kdcore.training import acceleration
from kdcore.training.acceleration import (
    EXAMPLES_TO_MEASURE,
    MARGIN,
    MULTIPLICATIONS_TO_MEASURE,
    ON_GPU,
    TEXTS_TO_MEASURE,
    StepTimes,
    device,
    is_long,
    shapes_of,
)
from kdcore.training.loop import (
    TOKENS_A_STEP,
    Learner,
    Loop,
    Network,
    by_length,
    student_order,
    text_lengths,
    train_together,
)
from kdcore.training.trainer import make_targets, make_trainer

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
GENERATOR = np.random.default_rng(0)
INPUTS = GENERATOR.random((72, 8, 8, 1)).astype(np.float32)
LABELS = GENERATOR.integers(0, 10, 72).astype(np.int32)
ANSWERS = GENERATOR.normal(size=(72, 10)).astype(np.float32)
FROM_ANSWERS = [name for name, method in METHODS.items() if method.needs.teacher != "features"]


def learner(method: str, jit_compile: bool) -> Learner:
    student = METHODS[method].student_example or "vit-1-16"
    config = ExperimentConfig(method=method, student=student.replace("4-64", "1-16"))
    network = Network(models.build(config.student, (8, 8, 1), 10, seed=1), 1.0)
    answers = None if config.method.needs.teacher == "nothing" else ANSWERS
    return Learner(
        "student",
        Loop(make_trainer("student", config, network.model), 1.0, jit_compile=jit_compile),
        network,
        INPUTS,
        make_targets("student", LABELS, np.arange(40), answers),
        partial(student_order, len(INPUTS), 0),
        32,  # and an uneven last batch of 8
        3,
    )


@pytest.mark.parametrize("method", FROM_ANSWERS)
def test_a_training_is_the_same_with_it(method: str) -> None:
    plain, compiled = (learner(method, each) for each in (False, True))
    for each in (plain, compiled):
        train_together([each], 2)
    one, two = (each.network.logits(INPUTS) for each in (plain, compiled))
    np.testing.assert_allclose(two, one, atol=2e-4)
    assert compiled.logs()["loss"] == pytest.approx(plain.logs()["loss"], rel=1e-4)


LONGEST = 24
LENGTHS = GENERATOR.integers(2, LONGEST + 1, (72, 1))
WORDS = GENERATOR.integers(1, 50, (72, LONGEST))
TEXTS = np.where(np.arange(LONGEST) < LENGTHS, WORDS, 0).astype(np.uint16)


def text_network(name: str) -> keras.Model:
    return models.build(name, (LONGEST,), 10, seed=1, values=InputValues(tokens=50))


def test_a_training_on_texts_of_many_lengths_is_the_same_with_it() -> None:
    found = []
    for jit_compile in (False, True):
        network = Network(text_network("transformer-1-16"), 1.0)
        trainer = make_trainer("student", ExperimentConfig(), network.model)
        order = by_length(partial(student_order, len(TEXTS), 0), text_lengths(TEXTS), 16)
        each = Learner(
            "student",
            Loop(trainer, 1.0, jit_compile=jit_compile),
            network,
            TEXTS,
            make_targets("student", LABELS, np.arange(40), ANSWERS),
            order,
            16,  # and an uneven last batch of 8
            5,
        )
        train_together([each], 2)
        found.append(network.logits(TEXTS))
    np.testing.assert_allclose(found[1], found[0], atol=2e-4)


IN_STEP = StepTimes(plain=0.03, xla=0.02, compiling_plain=1.0, compiling_xla=3.0)


def test_it_pays_where_more_is_saved_than_compiling_takes() -> None:
    enough = round(MARGIN * 2.0 / 0.01)
    assert IN_STEP.pays(enough + 1)
    assert not IN_STEP.pays(enough - 1)
    assert not IN_STEP.pays(enough + 1, shapes=2), "each shape is compiled"
    assert IN_STEP.pays(2 * enough + 1, shapes=2)
    assert not replace(IN_STEP, xla=0.031).pays(10**9)
    assert not replace(IN_STEP, xla=0.0299).pays(10**9), "no more than measurements differ"
    assert replace(IN_STEP, compiling_xla=0.5).pays(1), "it was compiled sooner"
    assert StepTimes.from_bytes(IN_STEP.to_bytes()) == IN_STEP


def test_short_trainings_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_long(EXAMPLES_TO_MEASURE, 1)
    assert not is_long(EXAMPLES_TO_MEASURE - 1, 1)
    assert is_long(1000, MULTIPLICATIONS_TO_MEASURE // 1000), "large networks sooner"
    assert not is_long(1000, MULTIPLICATIONS_TO_MEASURE // 1001)
    lengths = LONGEST // TOKENS_A_STEP
    assert is_long(lengths * TEXTS_TO_MEASURE, 1, LONGEST)
    assert not is_long(lengths * TEXTS_TO_MEASURE - 1, 1, LONGEST)
    assert not is_long(lengths * TEXTS_TO_MEASURE, 1, LONGEST + 1)
    monkeypatch.setattr(acceleration, "gpus", lambda: [("A100", (8, 0))])
    assert not is_long(EXAMPLES_TO_MEASURE, 1)
    assert is_long(ON_GPU * EXAMPLES_TO_MEASURE, 1)


def test_what_computes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device().endswith(" threads")
    monkeypatch.setattr(acceleration, "gpus", lambda: [("A100", (8, 0)), ("T4", (7, 5))])
    assert device() == "A100, T4"


def test_shapes_are_counted_and_a_typical_batch_is_taken() -> None:
    order = partial(student_order, len(INPUTS), 0)
    rows, shapes = shapes_of(order, 5, 32, None)
    assert (len(rows), shapes) == (32, 2), "an uneven last batch is a shape of its own"
    assert shapes_of(order, 5, 36, None)[1] == 1
    short, long = np.zeros((2, 30, 24), np.int32)
    short[:, :3], long[:, :20] = 1, 1
    texts = np.concatenate([short, long[:10]])
    by = by_length(partial(student_order, 40, 0), text_lengths(texts), 10)
    rows, shapes = shapes_of(by, 2, 10, texts)
    assert (texts[rows] != 0).sum() == 30, "three of four batches are short"
    assert shapes == 2


def test_measuring_changes_no_random_numbers_of_others() -> None:
    random.seed(3)
    np.random.seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist()

    def make(compiled: bool) -> Loop:
        random.random(), np.random.random()
        return learner("logits", compiled).loop

    targets = make_targets("student", LABELS, np.arange(40), ANSWERS)
    batch = {name: part[:32] for name, part in targets.items()}
    times = acceleration.measure(make, INPUTS[:32], batch)
    assert min(times.plain, times.xla) > 0
    assert times.compiling_xla > times.xla, "compiling is counted apart"
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
