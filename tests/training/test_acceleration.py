"""A step compiled by XLA: the same training, to the bit after a stop, and only where it pays."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdcore import models
from kdcore.config.experiment import ExperimentConfig
from kdcore.methods import METHODS
from kdcore.storage.store import Store
from kdcore.training import acceleration
from kdcore.training.acceleration import EXAMPLES_THAT_PAY, xla_pays
from kdcore.training.loop import Learner, Loop, Network, student_order, train_together
from kdcore.training.trainer import make_targets, make_trainer
from kdcore.work import experiment
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


def test_it_pays_for_long_trainings_of_transformers_of_images_alone() -> None:
    vit, conv = (models.build(name, (8, 8, 1), 10, seed=1) for name in ("vit-1-16", "conv-4-4"))
    assert xla_pays(vit, EXAMPLES_THAT_PAY)
    assert not xla_pays(vit, EXAMPLES_THAT_PAY - 1)
    assert not xla_pays(conv, 10 * EXAMPLES_THAT_PAY)


def test_a_stopped_training_goes_on_to_the_bit(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    class Watched(Loop):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            compiled.append(named.get("jit_compile", False))

    monkeypatch.setattr(experiment, "Loop", Watched)
    monkeypatch.setattr(acceleration, "EXAMPLES_THAT_PAY", 1)
    config = ExperimentConfig(
        training_examples=100,
        labels=50,
        teacher="mlp-8",
        teacher_epochs=1,
        student="vit-1-16",
        epochs=4,
        seeds=1,
    )
    whole = run(config, store=store, progress=False)
    assert compiled == [False, True, True], "teacher, student and baseline"
    other = Store(f"sqlite:///{tmp_path}/other.db")
    assert_goes_on_to_the_bit(store, whole.experiment_id, other, ("student", "baseline"))
