"""Mixtures of examples: shares, labels, the same for the same seed; teacher and student see one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from kdcore.analysis.results import load_results, logits
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.presets import PRESETS
from kdcore.errors import ConfigError, ModelError, StopRequested
from kdcore.models import build
from kdcore.models.mixing import Mixing, mixing
from kdcore.storage.store import Store
from kdcore.training.loop import Loop
from kdcore.training.trainer import make_trainer
from kdcore.work.experiment import run_experiment

# Keras 3.15 converts variables in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CLASSES = 7


def one_hot_pictures(labels: np.ndarray, side: int = 8) -> np.ndarray:
    """Pictures whose every pixel says its class: a channel a class."""
    return np.broadcast_to(
        np.eye(CLASSES, dtype=np.float32)[labels][:, None, None, :],
        (len(labels), side, side, CLASSES),
    ).copy()


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(["mixup", "cutmix"]), st.integers(0, 10_000), st.integers(2, 40))
def test_a_mixture_is_of_two_examples_and_its_label_is_one_of_theirs(
    name: str, seed: int, count: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, CLASSES, count).astype(np.int32)
    mix = Mixing(name, seed)
    images, drawn = (np.asarray(part) for part in mix(one_hot_pictures(labels), labels))
    shares = images.mean(axis=(1, 2))
    assert shares.sum(axis=1) == pytest.approx(1, abs=1e-5)
    for share, own, label in zip(shares, labels, drawn, strict=True):
        there = set(np.flatnonzero(share > 1e-6))
        assert len(there) <= 2
        assert there <= {own, *there - {own}}
        assert label in there, "a label that is not in the picture is never drawn"


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_labels_are_drawn_in_the_proportion_of_the_mixture(name: str) -> None:
    labels = np.arange(4000, dtype=np.int32) % CLASSES
    images, drawn = (np.asarray(part) for part in Mixing(name, 1)(one_hot_pictures(labels), labels))
    share = images.mean(axis=(1, 2))[np.arange(len(labels)), labels]
    own = drawn == labels
    different = share < 0.999  # mixed with another class
    for low in (0.1, 0.4, 0.7):
        chosen = different & (share >= low) & (share < low + 0.2)
        assert chosen.sum() > 100
        assert own[chosen].mean() == pytest.approx(share[chosen].mean(), abs=0.08)


def test_the_same_seed_mixes_alike_and_goes_on_with_other_numbers() -> None:
    labels = np.arange(16, dtype=np.int32) % CLASSES
    images = one_hot_pictures(labels)
    first, second = Mixing("mixup", 3), Mixing("mixup", 3)
    once = np.asarray(first(images, labels)[0])
    assert np.array_equal(once, np.asarray(second(images, labels)[0]))
    assert not np.array_equal(once, np.asarray(first(images, labels)[0]))


def test_rows_without_a_label_stay_without_one() -> None:
    labels = np.full(50, -1, np.int32)
    _, drawn = Mixing("mixup", 0)(one_hot_pictures(np.zeros(50, np.int32)), labels)
    assert set(np.asarray(drawn).tolist()) == {-1}


def test_what_cannot_be_mixed_is_refused() -> None:
    with pytest.raises(ModelError, match="cutmix needs images"):
        mixing("cutmix", 0, (13,))
    assert mixing("none", 0, (13,)) is None
    with pytest.raises(ConfigError, match="mixing must be none with the plan noisy-student"):
        ExperimentConfig(plan="noisy-student", labels=50, mixing="mixup")
    with pytest.raises(ConfigError, match="mixing must be one of"):
        ExperimentConfig(mixing="blend")


TINY: dict[str, Any] = {
    "training_examples": 70,
    "labels": 40,
    "teacher": "mlp-8",
    "student": "mlp-4",
    "teacher_epochs": 1,
    "epochs": 3,
    "batch_size": 32,
    "seeds": 1,
}


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_teacher_and_student_see_the_same_mixture(name: str) -> None:
    """A student that is its teacher has nothing to learn from it, whatever both are shown."""
    config = ExperimentConfig(**TINY, mixing=name, alpha=0)
    labels = np.arange(32, dtype=np.int32) % 10
    inputs = ops.convert_to_tensor(np.random.default_rng(0).random((32, 8, 8, 1), dtype=np.float32))
    student, teacher = (build("conv-4-4", (8, 8, 1), 10, seed=0) for _ in range(2))

    def soft_loss(trainer: Any, targets: Any, mix: Mixing | None) -> float:
        loop = Loop(trainer, 1.0, None, mix)
        loop.build(inputs, targets)
        loop(np.arange(32, dtype=np.int32)[np.newaxis], inputs, targets)
        return float(trainer.model.get_metrics_result()["soft_loss"])

    same = soft_loss(
        make_trainer("student", config, student, teacher),
        ops.convert_to_tensor(labels),
        Mixing(name, 0),
    )
    assert same == pytest.approx(0, abs=1e-9)
    # Answers for clean images are about something else: they are refused for a mixed student.
    assert config.answers_live
    assert not config.replace(mixing="none").answers_live


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_a_stop_changes_nothing_and_mixing_changes_the_student(store: Store, name: str) -> None:
    config = ExperimentConfig(**{**TINY, "student": "conv-4-4"}, mixing=name)

    def trained(config: ExperimentConfig, stop: bool = False) -> np.ndarray:
        experiment = store.create(config)

        def watch(_seed: int, epoch: int, _accuracy: float) -> None:
            if stop and epoch == 1:
                raise StopRequested("stop")

        if stop:
            with pytest.raises(StopRequested):
                run_experiment(store, experiment, watch=watch)
        run_experiment(store, experiment)
        return logits(store, load_results(store, experiment).runs("student")[0], "test")

    whole = trained(config)
    np.testing.assert_array_equal(trained(config, stop=True), whole)
    assert not np.array_equal(trained(config.replace(mixing="none")), whole)


def test_the_preset_of_the_patient_teacher_uses_no_label() -> None:
    preset = PRESETS["Patient and consistent"]
    assert (preset.alpha, preset.mixing, preset.answers_live) == (0, "mixup", True)
