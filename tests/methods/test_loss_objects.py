"""Losses as objects: Keras' own in our distiller, layers of a loss, saving; which layers are
tapped.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kdcore
from kdcore import Distiller, models
from kdcore.errors import ModelError
from kdcore.methods import METHODS
from kdcore.models.layers_within import layers_within
from kdcore.models.noise import with_noise
from kdcore.models.own import adapt
from kdcore.tasks.values import InputValues
from kdcore.training.adapters import make_adapter
from kdcore.training.method_loss import method_losses
from kdcore.training.paired_layers import candidates, default_pairs
from kdcore.training.taps import names_within, shape_of, tap

# Keras 3.15 converts variables in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE, CLASSES = (8, 8, 1), 10


def batch(rows: int = 32) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return (
        random.normal(size=(rows, *SHAPE)).astype(np.float32),
        random.integers(0, CLASSES, rows).astype(np.int32),
    )


def networks(student: str = "conv-4-4") -> tuple[keras.Model, keras.Model]:
    return (
        models.build("conv-8-8", SHAPE, CLASSES, seed=1),
        models.build(student, SHAPE, CLASSES, seed=2),
    )


class Lined(keras.distillation.DistillationLoss):
    """Somebody's loss with a layer of its own, which is no layer itself."""

    def __init__(self) -> None:
        self.line = keras.layers.Dense(CLASSES)

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        return keras.ops.mean((self.line(student_outputs) - teacher_outputs) ** 2)


def test_keras_logits_distillation_trains_in_our_distiller() -> None:
    inputs, labels = batch()
    teacher, student = networks()
    distiller = Distiller(student=student, teacher=teacher)
    theirs = keras.distillation.LogitsDistillation(
        temperature=3.0, loss=keras.losses.KLDivergence()
    )
    distiller.compile("adam", alpha=0.0, distillation_loss=theirs)
    logs = distiller.test_step((inputs, labels))
    ours = Distiller(student=student, teacher=teacher)
    ours.compile("adam", alpha=0.0, temperature=3.0)
    expected = ours.test_step((inputs, labels))["soft_loss"]
    assert float(logs["soft_loss"]) == pytest.approx(float(expected), rel=1e-4)
    start = student.get_weights()
    distiller.fit(inputs, labels, verbose=0)
    assert not np.array_equal(start[0], student.get_weights()[0])


def test_keras_feature_distillation_taps_layers_in_our_distiller() -> None:
    inputs, labels = batch()
    teacher, student = networks("conv-4-8")
    of_teacher, of_student = default_pairs(teacher, student)[-1]
    distiller = Distiller(student=student, teacher=teacher)
    theirs = keras.distillation.FeatureDistillation(
        loss="mse", teacher_layer_name=of_teacher, student_layer_name=of_student
    )
    distiller.compile("adam", alpha=0.0, distillation_loss=theirs)
    logs = distiller.test_step((inputs, labels))
    features = [
        keras.Model(model.inputs[0], model.get_layer(name).output)(inputs)
        for model, name in ((teacher, of_teacher), (student, of_student))
    ]
    expected = np.mean((features[0].numpy() - features[1].numpy()) ** 2)
    assert float(logs["soft_loss"]) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ModelError, match="give the distiller a teacher"):
        Distiller(student=student).compile("adam", distillation_loss=theirs)


def test_a_layer_of_somebody_elses_loss_is_trained() -> None:
    inputs, labels = batch()
    teacher, student = networks()
    loss = Lined()
    distiller = Distiller(student=student, teacher=teacher)
    distiller.compile("adam", alpha=0.0, distillation_loss=loss)
    distiller.test_step((inputs, labels))
    before = loss.line.get_weights()
    distiller.fit(inputs, labels, epochs=2, verbose=0)
    assert not np.array_equal(before[0], loss.line.get_weights()[0])
    assert len(distiller.trained_variables) == len(student.trainable_variables) + 2
    assert len(student.trainable_variables) == 6


def test_sample_weights_are_refused_with_a_loss_object() -> None:
    inputs, labels = batch()
    teacher, student = networks()
    distiller = Distiller(student=student, teacher=teacher)
    distiller.compile("adam", distillation_loss=Lined())
    with pytest.raises(ModelError, match="sample weights must be left out"):
        distiller.train_on_batch(inputs, labels, sample_weight=np.ones(len(labels)))


@pytest.mark.parametrize("method", ["decoupled", "hints"])
def test_a_distiller_with_a_method_is_saved_and_trained_on(method: str, tmp_path: Path) -> None:
    inputs, labels = batch()
    teacher, student = networks()
    distiller = Distiller(student=student, teacher=teacher)
    losses = method_losses(METHODS[method](), teacher, student)
    distiller.compile("adam", alpha=0.5, distillation_loss=losses)
    distiller.fit(inputs, labels, verbose=0)
    distiller.save(tmp_path / "distiller.keras")
    again = keras.saving.load_model(tmp_path / "distiller.keras")
    assert [loss.method for loss in again.distillation_losses] == [loss.method for loss in losses]
    before, after = (each.evaluate(inputs, labels, verbose=0) for each in (distiller, again))
    np.testing.assert_allclose(before, after, rtol=1e-5)
    again.fit(inputs, labels, verbose=0)


def test_curves_of_labelled_rows_are_means_over_them_alone() -> None:
    inputs, labels = batch(12)
    labels[[1, 2, 3, 6, 7, 8, 9, 10]] = -1  # batches of 4 with one, one and two labels
    teacher, student = networks()
    losses = method_losses(METHODS["decoupled"](), teacher, student)
    distiller = Distiller(student=student, teacher=teacher)
    distiller.compile(keras.optimizers.SGD(0.0), alpha=0.5, distillation_loss=losses)
    found = distiller.evaluate(inputs, labels, batch_size=4, verbose=0, return_dict=True)
    known = labels >= 0
    target, _ = kdcore.losses.decoupled_kd_terms(
        teacher(inputs[known]), student(inputs[known]), labels[known], 4.0
    )
    assert found["tckd"] == pytest.approx(float(np.mean(target)), rel=1e-5)


def test_decoupled_distillation_of_standardized_logits_is_blind_to_their_size() -> None:
    teacher, student, labels = (
        np.random.default_rng(seed).normal(size=(6, 5)).astype("float32") for seed in (0, 1, 2)
    )
    labels = np.arange(6) % 5

    def loss(logits_are: str, factor: float) -> float:
        (made,) = method_losses(METHODS["decoupled"](logits_are=logits_are), None, networks()[1])
        return float(made.compute_loss(factor * teacher + 1, student, labels=labels))

    assert loss("standardized", 3.0) == pytest.approx(loss("standardized", 1.0), rel=1e-4)
    assert loss("as they are", 3.0) != pytest.approx(loss("as they are", 1.0), rel=0.05)


def test_fit_tells_a_loss_which_epoch_it_is() -> None:
    inputs, labels = batch()
    teacher, student = networks()
    losses = method_losses(METHODS["decoupled"](warm_up_epochs=4), teacher, student)
    distiller = Distiller(student=student, teacher=teacher)
    distiller.compile(keras.optimizers.SGD(0.0), alpha=0.0, distillation_loss=losses)
    grown = distiller.fit(inputs, labels, epochs=5, verbose=0).history["soft_loss"]
    np.testing.assert_allclose(np.array(grown) / grown[-1], [0.25, 0.5, 0.75, 1, 1], rtol=1e-5)
    seen: list[int] = []
    mine = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, _: seen.append(epoch))
    distiller.fit(inputs, labels, 32, 2, 0, [mine])
    assert seen == [0, 1], "one's own callbacks are called too, also where they are given by place"


def test_layers_of_a_loss_are_those_of_its_seed_and_leave_other_seeds_alone() -> None:
    teacher, student = networks("conv-4-4")
    found = []
    for outside in (1, 2):
        np.random.seed(outside)
        random.seed(outside)
        before = np.random.get_state()[1].copy(), random.getstate()
        loss = method_losses(METHODS["hints"](), teacher, student, seed=5)[-1]
        loss.validate_model_compatibility(teacher, student)
        found.append([np.asarray(variable) for variable in loss.trainable_variables])
        np.testing.assert_array_equal(np.random.get_state()[1], before[0])
        assert random.getstate() == before[1]
    assert len(found[0]) == 1, "an adapter"
    np.testing.assert_array_equal(found[0][0], found[1][0])


def test_hints_bring_the_student_nearer_to_the_teachers_features() -> None:
    inputs, labels = batch(64)
    distances = {}
    for kind, weight in (("with", 100.0), ("without", 0.0)):
        teacher, student = networks("conv-4-8")  # the tapped layers have one shape: no adapter
        hints = METHODS["hints"](weight=weight)
        losses = method_losses(hints, teacher, student)
        distiller = Distiller(student=student, teacher=teacher)
        distiller.compile(keras.optimizers.Adam(0.01), alpha=0.1, distillation_loss=losses)
        distiller.fit(inputs, labels, epochs=20, verbose=0)
        (of_teacher, of_student) = default_pairs(teacher, student)[-1]
        taught = tap(teacher, [of_teacher])(inputs)[of_teacher].numpy()
        learnt = tap(student, [of_student])(inputs)[of_student].numpy()
        distances[kind] = float(np.mean((taught - learnt) ** 2))
    assert distances["with"] < 0.5 * distances["without"]


# --- Which layers ---


def test_the_last_activation_at_each_size_is_tapped() -> None:
    resnet = models.build("resnet-14-4", SHAPE, CLASSES, seed=0)
    found = candidates(resnet).maps
    assert list(found) == [(8, 8), (4, 4), (2, 2)]
    blocks = [layer.name for layer in resnet.layers if isinstance(layer, keras.layers.ReLU)]
    # Two blocks a stage, two activations a block, one before the first.
    assert [*found.values()] == [blocks[4], blocks[8], blocks[12]]


def test_blocks_of_transformers_are_paired_at_even_distances() -> None:
    deep, shallow = (
        models.build(name, SHAPE, CLASSES, seed=0) for name in ("vit-4-32", "vit-2-16")
    )
    pairs = default_pairs(deep, shallow)
    assert pairs == [("block_2", "block_1"), ("block_4", "block_2")]
    assert default_pairs(shallow, deep) == [("block_1", "block_2"), ("block_2", "block_4")]
    assert default_pairs(deep, shallow, "last") == pairs[-1:]
    with pytest.raises(ModelError, match="one has feature maps and the other encoder blocks"):
        default_pairs(models.build("conv-4-4", SHAPE, CLASSES, seed=0), shallow)
    assert list(names_within(shallow))[:4] == ["input_layer", "vit_backbone", "block_1", "block_2"]


@pytest.mark.parametrize("name", ["vit-2-16", "deit-2-16"])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_a_block_answers_what_the_rest_of_the_network_goes_on_with(name: str, noise: float) -> None:
    inputs, _ = batch(3)
    model = models.build(name, SHAPE, CLASSES, seed=0)
    noisy = with_noise(model, dropout=noise, stochastic_depth=noise, seed=0)
    found = tap(noisy, ["block_1", "block_2"])(inputs)
    encoder = next(part for part in layers_within(model) if hasattr(part, "encoder_layers"))
    again = encoder.encoder_layers[1](found["block_1"])
    again = again[0] if isinstance(again, tuple) else again
    np.testing.assert_allclose(found["block_2"], again, rtol=1e-5, atol=1e-6)
    assert shape_of(noisy, "block_2")[1:] == found["block_2"].shape[1:]
    np.testing.assert_allclose(found[""], model(inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["hints", "attention", "similarity"])
def test_a_transformer_learns_from_the_blocks_of_another(method: str) -> None:
    inputs, labels = batch(32)
    teacher, student = (
        models.build(name, SHAPE, CLASSES, seed=seed)
        for seed, name in enumerate(("vit-4-32", "vit-2-16"))
    )
    distances = {}
    for weight in (0.0, 1.0):
        copy = keras.models.clone_model(student)
        copy.set_weights(student.get_weights())
        losses = method_losses(METHODS[method](weight=weight, kd_weight=0.0), teacher, copy)
        distiller = Distiller(student=copy, teacher=teacher)
        distiller.compile(keras.optimizers.Adam(0.01), alpha=0.1, distillation_loss=losses)
        curves = distiller.fit(inputs, labels, epochs=8, verbose=0).history
        (curve,) = losses[-1].curves
        distances[weight] = curves[curve]
    assert distances[1.0][-1] < distances[1.0][0]
    assert distances[1.0][-1] < distances[0.0][-1]


def test_an_image_that_is_only_prepared_is_no_feature() -> None:
    padded = models.build("vit-2-16-p3", SHAPE, CLASSES, seed=0)
    assert any(isinstance(layer, keras.layers.ZeroPadding2D) for layer in padded.layers)
    assert candidates(padded).blocks == ("block_1", "block_2")
    inside = models.build("conv-4-8", (12, 12, 1), CLASSES, seed=0)
    values = InputValues(0.0, 1.0)
    brought = adapt(inside, (8, 8, 3), values, "0 to 1")
    kinds = {type(layer).__name__ for layer in brought.layers}
    assert {"Resizing", "Conv2D"} <= kinds, "resized, and grey"
    found = candidates(brought).maps
    assert [*found] == [*candidates(inside).maps]
    inputs = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    last = [*found.values()][-1]
    assert tap(brought, [last])(inputs)[last].shape[1:] == shape_of(brought, last)[1:]
    student = models.build("conv-4-8", (8, 8, 3), CLASSES, seed=0)
    assert all("/" in of_teacher for of_teacher, _ in default_pairs(brought, student))


def test_heads_are_no_hidden_layers() -> None:
    deit = models.build("deit-2-16", SHAPE, CLASSES, seed=0)
    with pytest.raises(ModelError, match="one has vectors and the other encoder blocks"):
        default_pairs(models.build("mlp-16", SHAPE, CLASSES, seed=0), deit)


def test_layers_of_one_size_belong_together_and_vectors_to_vectors() -> None:
    teacher = models.build("resnet-14-4", SHAPE, CLASSES, seed=0)
    student = models.build("resnet-8-2", SHAPE, CLASSES, seed=0)
    assert [
        (teacher.get_layer(a).output.shape[1:3], student.get_layer(b).output.shape[1:3])
        for a, b in default_pairs(teacher, student)
    ] == [((8, 8), (8, 8)), ((4, 4), (4, 4)), ((2, 2), (2, 2))]
    assert len(default_pairs(teacher, student, "last")) == 1
    wide, narrow = (models.build(name, (13,), 3, seed=0) for name in ("mlp-16-8", "mlp-4"))
    ((of_wide, of_narrow),) = default_pairs(wide, narrow)
    assert wide.get_layer(of_wide).output.shape == (None, 8)
    assert narrow.get_layer(of_narrow).output.shape == (None, 4)
    with pytest.raises(ModelError, match="no layers that belong together"):
        default_pairs(teacher, models.build("mlp-4", SHAPE, CLASSES, seed=0))
    with pytest.raises(ModelError, match="layer must be one of"):
        tap(teacher, ["nowhere"])


def test_tokens_are_adapted_one_by_one_where_there_are_as_many() -> None:
    adapter = make_adapter((None, 17, 32), (None, 17, 16))
    assert adapter is not None
    assert adapter(np.zeros((2, 17, 16), np.float32)).shape == (2, 17, 32)
    with pytest.raises(ModelError, match="as many tokens, got 18 of the teacher and 17"):
        make_adapter((None, 18, 32), (None, 17, 32))


def test_layers_are_named_by_their_place_in_the_model_whatever_was_built_before() -> None:
    first, second = (models.build("conv-4-4", SHAPE, CLASSES, seed=0) for _ in range(2))
    assert list(names_within(first)) == list(names_within(second))
    assert list(names_within(first)) == [
        "conv2d",
        "leaky_re_lu",
        "max_pooling2d",
        "conv2d_1",
        "flatten",
        "logits",
    ]
    hints = METHODS["hints"](layers="conv2d_1:conv2d_1")
    losses = method_losses(hints, first, second)
    assert losses[1].teacher_layer_name == first.layers[3].name
    assert losses[1].student_layer_name == second.layers[3].name
    with pytest.raises(ModelError, match="layer must be one of conv2d, leaky_re_lu"):
        method_losses(METHODS["hints"](layers="conv9:conv2d"), first, second)


@pytest.mark.parametrize(
    ("of_teacher", "of_student"),
    [
        ((None, 8, 8, 6), (None, 8, 8, 3)),
        ((None, 4, 4, 6), (None, 8, 8, 3)),
        ((None, 8, 8, 6), (None, 4, 4, 3)),
        ((None, 7, 7, 6), (None, 4, 4, 3)),
        ((None, 12), (None, 5)),
    ],
)
def test_an_adapter_brings_features_to_the_teachers_shape(
    of_teacher: tuple[int | None, ...], of_student: tuple[int | None, ...]
) -> None:
    adapter = make_adapter(of_teacher, of_student)
    assert adapter is not None
    given = np.zeros((2, *of_student[1:]), np.float32)
    assert adapter(given).shape == (2, *of_teacher[1:])
    assert make_adapter(of_teacher, of_teacher) is None
    with pytest.raises(ModelError, match="two layers with places or two without"):
        make_adapter((None, 8), (None, 4, 4, 2))
