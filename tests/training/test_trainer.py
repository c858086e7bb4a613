"""A trainer says what its state is and what its compiled form depends on."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest

from kdcore import models
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.errors import ModelError
from kdcore.storage.store import Store
from kdcore.training.callbacks import MetricStream
from kdcore.training.loop import Learner, Loop, Network, student_order
from kdcore.training.trainer import (
    DistillationTrainer,
    Trainer,
    compiled_form,
    make_targets,
    make_trainer,
)
from kdcore.work.experiment import run_experiment

# Keras 3.15 converts variables in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONFIG = ExperimentConfig(
    teacher="mlp-8",
    teacher_epochs=1,
    student="mlp-4",
    training_examples=70,
    labels=40,
    epochs=1,
    seeds=1,
)


def made(role: str, config: ExperimentConfig = CONFIG) -> tuple[Trainer, Learner]:
    data = datasets.load(config)
    network = Network(
        models.build(config.student, data.input_shape, data.classes, seed=0), data.scale
    )
    trainer = make_trainer(role, config, network.model)
    logits = np.random.default_rng(0).normal(size=(len(data.train), 10)).astype(np.float32)
    targets = make_targets(role, data.train.labels, np.arange(40), logits)
    order = partial(student_order, len(data.train), 0)
    loop = Loop(trainer, data.scale)
    learner = Learner("run", loop, network, data.train.inputs, targets, order, 32, 3)
    return trainer, learner


@pytest.mark.parametrize("role", ["teacher", "student", "baseline"])
def test_the_state_is_all_that_training_changes(role: str) -> None:
    trainer, learner = made(role)
    learner.advance(learner.next_batches(2))
    known = {id(variable) for variable in trainer.state}
    assert {id(variable) for variable in trainer.model.trainable_variables} <= known
    assert {id(variable) for variable in trainer.model.optimizer.variables} <= known
    assert len(known) == len(trainer.state), "nothing is saved twice"


def test_a_restarted_trainer_is_a_new_one() -> None:
    trainer, learner = made("student")
    first = [value.numpy() for value in trainer.state]
    learner.advance(learner.next_batches(2))
    assert not all(np.array_equal(a, b.numpy()) for a, b in zip(first, trainer.state, strict=True))
    start, _ = made("student")
    trainer.restart(start.network, CONFIG.replace(alpha=0.5, temperature=2.0))
    for before, after in zip(first, trainer.state, strict=True):
        np.testing.assert_array_equal(before, after.numpy())


def test_settings_that_share_a_compiled_form_may_be_set_and_others_are_refused() -> None:
    mixed, soft_only = CONFIG.replace(alpha=0.4), CONFIG.replace(alpha=0.0)
    assert compiled_form("student", CONFIG) == compiled_form("student", mixed)
    assert compiled_form("student", CONFIG) != compiled_form("student", soft_only)
    assert compiled_form("baseline", CONFIG) == compiled_form("baseline", soft_only)
    trainer, _ = made("student")
    assert isinstance(trainer, DistillationTrainer)
    trainer.tune(mixed.method)
    with pytest.raises(ModelError, match="must not change to or from 0 or 1"):
        trainer.tune(soft_only.method)


def test_the_metric_stream_need_not_be_the_first_callback(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_learner = Learner.__post_init__

    def with_another_first(self: Learner) -> None:
        self.callbacks = [keras.callbacks.Callback(), *self.callbacks]
        of_learner(self)

    monkeypatch.setattr(Learner, "__post_init__", with_another_first)
    experiment = store.create(CONFIG)
    run_experiment(store, experiment)
    for _, run in store.runs_of(experiment):
        assert run.summary["seconds"] > 0, MetricStream.__name__
