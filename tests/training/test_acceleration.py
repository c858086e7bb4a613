"""A step compiled by XLA: the same training, to the bit after a stop, and only where it pays."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kdcore import models
from kdcore.config.experiment import ExperimentConfig
from kdcore.methods import METHODS
from kdcore.storage.store import Store
from kdcore.tasks.values import InputValues
from kdcore.training import acceleration
from kdcore.training.acceleration import EXAMPLES_THAT_PAY, TEXTS_THAT_PAY, xla_pays
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
from kdcore.work import learners
from kdcore.work.outcome import run
from tests.support.stops import assert_goes_on_to_the_bit

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


def test_it_pays_for_long_trainings_of_transformers_alone() -> None:
    vit, conv = (models.build(name, (8, 8, 1), 10, seed=1) for name in ("vit-1-16", "conv-4-4"))
    assert xla_pays(vit, EXAMPLES_THAT_PAY)
    assert not xla_pays(vit, EXAMPLES_THAT_PAY - 1)
    assert not xla_pays(conv, 10 * EXAMPLES_THAT_PAY)


def test_texts_of_more_lengths_must_be_trained_longer() -> None:
    transformer, bag = (text_network(name) for name in ("transformer-1-16", "bag-16"))
    lengths = LONGEST // TOKENS_A_STEP
    assert xla_pays(transformer, lengths * TEXTS_THAT_PAY, LONGEST)
    assert not xla_pays(transformer, lengths * TEXTS_THAT_PAY - 1, LONGEST)
    assert not xla_pays(transformer, lengths * TEXTS_THAT_PAY, LONGEST + 1)
    assert not xla_pays(bag, 10 * lengths * TEXTS_THAT_PAY, LONGEST)


def test_a_stopped_training_goes_on_to_the_bit(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    class Watched(Loop):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            compiled.append(named.get("jit_compile", False))

    monkeypatch.setattr(learners, "Loop", Watched)
    monkeypatch.setattr(acceleration, "TEXTS_THAT_PAY", 1)
    config = ExperimentConfig(
        dataset="languages",
        training_examples=100,
        labels=50,
        teacher="bag-8",
        teacher_epochs=1,
        student="transformer-1-16",
        # One batch of one length an epoch: each takes seconds to compile.
        batch_size=100,
        epochs=4,
        seeds=1,
    )
    whole = run(config, store=store, progress=False)
    assert compiled == [False, True, True], "teacher, student and baseline"
    other = Store(f"sqlite:///{tmp_path}/other.db")
    assert_goes_on_to_the_bit(store, whole.experiment_id, other, ("student", "baseline"))
