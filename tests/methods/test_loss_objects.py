"""Losses as objects: Keras' own in our distiller, layers of a loss, saving; which layers are
tapped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kdcore import Distiller, models
from kdcore.errors import ModelError
from kdcore.methods import METHODS
from kdcore.training.method_loss import method_losses
from kdcore.training.taps import candidates, default_pairs, make_adapter, names_within, tap

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
    found = candidates(resnet)
    assert list(found) == [(8, 8), (4, 4), (2, 2)]
    blocks = [layer.name for layer in resnet.layers if isinstance(layer, keras.layers.ReLU)]
    # Two blocks a stage, two activations a block, one before the first.
    assert [*found.values()] == [blocks[4], blocks[8], blocks[12]]


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
