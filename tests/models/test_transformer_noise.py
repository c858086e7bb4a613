"""Vision transformers with noise inside: dropout before their heads, blocks left out at random."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from kdcore import ExperimentConfig, models
from kdcore.analysis.results import load_results
from kdcore.config.experiment import role_settings
from kdcore.errors import ConfigError, ModelError
from kdcore.methods.distillation_token import TOKEN_HEADS
from kdcore.models.noise import with_dropout, with_noise, with_stochastic_depth
from kdcore.plans.steps import Plan
from kdcore.storage.store import Store
from kdcore.training.evaluation import model_from_bytes
from kdcore.training.taps import tap
from kdcore.work import learners as work
from kdcore.work.experiment import run_experiment
from kdcore.work.outcome import run
from tests.support.stops import assert_goes_on_to_the_bit

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE, CLASSES = (8, 8, 1), 10


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *SHAPE)).astype(np.float32)


def answer_without_blocks(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    backbone = model.get_layer("vit_backbone")
    first, encoder = (layer for layer in backbone.layers if layer.weights)
    return np.asarray(model.get_layer("logits")(encoder.layer_norm(first(inputs))[:, 0]))


@pytest.mark.parametrize("name", ["vit-2-16", "deit-2-16"])
def test_noise_is_there_in_training_alone_and_on_the_same_weights(name: str) -> None:
    model = models.build(name, SHAPE, CLASSES, seed=1)
    noisy = with_noise(model, dropout=0.5, stochastic_depth=0.5, seed=1)
    inputs = images(8)
    np.testing.assert_allclose(noisy(inputs), model(inputs), atol=1e-5)
    first, second = (np.asarray(noisy(inputs, training=True)) for _ in range(2))
    assert not np.allclose(first, second)
    same = zip(noisy.trainable_variables, model.trainable_variables, strict=True)
    assert all(mine is own for mine, own in same)
    np.testing.assert_array_equal(model(inputs, training=True), model(inputs))


def test_a_block_of_attention_is_left_out_for_some_examples() -> None:
    model = models.build("vit-1-16", SHAPE, CLASSES, seed=1)
    noisy = with_stochastic_depth(model, 0.75, seed=1)
    inputs = images(2000)
    without = answer_without_blocks(model, inputs)
    out = np.isclose(noisy(inputs, training=True), without, atol=1e-5).all(axis=1)
    assert 0.72 < out.mean() < 0.78
    assert not np.isclose(model(inputs), without, atol=1e-5).all(axis=1).any()


def test_later_blocks_are_left_out_more_often() -> None:
    noisy = with_stochastic_depth(models.build("deit-3-16", SHAPE, CLASSES, seed=1), 0.6, seed=1)
    dropouts = noisy.get_layer("noise_encoder").dropouts
    rates = [each.rate for each in dropouts]
    np.testing.assert_allclose(rates, [0.2, 0.4, 0.6])


def test_each_head_of_two_has_dropout_of_its_own_and_is_tapped_with_it() -> None:
    model = models.build("deit-1-16", SHAPE, CLASSES, seed=1)
    noisy = with_dropout(model, 0.5, seed=1)
    heads = list(TOKEN_HEADS.values())
    inputs = images(4)
    plain = {name: np.asarray(value) for name, value in tap(model, heads)(inputs).items()}
    tapped = tap(noisy, heads)
    for name, value in tapped(inputs).items():
        np.testing.assert_allclose(value, plain[name], atol=1e-5)
    trained = tapped(inputs, training=True)
    for name in heads:
        assert not np.allclose(trained[name], plain[name]), f"no dropout reaches {name}"
    clean = tap(model, heads)(inputs, training=True)
    for name in heads:
        np.testing.assert_array_equal(clean[name], plain[name])


NOISY = ExperimentConfig(
    training_examples=100,
    labels=50,
    teacher="mlp-8",
    teacher_epochs=1,
    student="deit-1-16",
    method="distillation_token",
    dropout=0.2,
    stochastic_depth=0.5,
    epochs=2,
    seeds=1,
)


def test_a_noisy_training_goes_on_to_the_bit_and_leaves_a_network_without_noise(
    store: Store, tmp_path: Path
) -> None:
    noisy = run(NOISY, store=store, progress=False)
    other = Store(f"sqlite:///{tmp_path}/other.db")
    assert_goes_on_to_the_bit(store, noisy.experiment_id, other, ("student", "baseline"))
    (student,) = load_results(store, noisy.experiment_id).runs("student")
    data = store.artifact(f"model/{student.id}")
    assert data is not None
    kept, plain = model_from_bytes(data), models.build(NOISY.student, SHAPE, CLASSES)
    assert [type(layer) for layer in kept.layers] == [type(layer) for layer in plain.layers]


def test_noise_is_a_setting_of_student_and_baseline_and_is_said() -> None:
    assert "dropout 0.2, stochastic depth 0.5" in NOISY.describe()
    plain = NOISY.replace(dropout=0, stochastic_depth=0)
    assert "stochastic" not in plain.describe()
    teacher, *others = Plan(NOISY.plan.steps(NOISY)).steps
    assert (teacher.dropout, teacher.stochastic_depth) == (0, 0)
    assert {(step.dropout, step.stochastic_depth) for step in others} == {(0.2, 0.5)}
    assert "stochastic_depth" not in str([step.beyond_settings for step in plain.plan.steps(plain)])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"student": "conv-4-8", "method": "logits", "dropout": 0},
            "stochastic_depth must be 0, unless the student is a resnet-..., a vit-... or a deit-..., got 0.5",
        ),
        (
            {"student": "resnet-8-4", "method": "hints", "teacher": "conv-8-16", "dropout": 0},
            "stochastic_depth must be 0 with a method that compares feature maps, got 0.5",
        ),
        (
            {
                "student": "resnet-8-4",
                "method": "hints",
                "teacher": "conv-8-16",
                "stochastic_depth": 0,
            },
            "dropout must be 0 with a method that compares feature maps, got 0.2",
        ),
    ],
)
def test_noise_that_does_not_go_with_the_rest_is_refused(
    changed: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        NOISY.replace(**changed)
    assert said in str(refused.value)


def test_a_model_that_ends_in_another_model_has_no_place_for_dropout() -> None:
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    outer = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), inner], name="outer")
    with pytest.raises(ModelError, match="ends in a layer with one input, got outer"):
        with_dropout(outer, 0.5, seed=1)


def test_noise_that_does_not_go_into_a_network_is_refused_before_a_teacher_is_trained(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: keras.Model, **_: object) -> keras.Model:
        raise ModelError(f"dropout needs another model, got {model.name}")

    monkeypatch.setattr(work, "with_noise", refuse)
    before = len(store.finished_runs("teacher"))
    with pytest.raises(ModelError, match="got deit_1_16"):
        run_experiment(store, store.create(NOISY.replace(teacher="mlp-9")))
    assert len(store.finished_runs("teacher")) == before


def test_noise_is_no_setting_of_the_teacher_of_a_student() -> None:
    stored = NOISY.model_dump(mode="json")
    assert "dropout" in role_settings("student", stored)
    assert "dropout" in role_settings("baseline", stored)
    assert "dropout" not in role_settings("teacher", stored)
    noisy_student = ExperimentConfig(plan="noisy-student", labels=50).model_dump(mode="json")
    assert "dropout" in role_settings("teacher", noisy_student)
