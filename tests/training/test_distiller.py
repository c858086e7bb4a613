"""The distiller: what it trains, what it leaves alone, and that its numbers are what they say."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import kdcore
from kdcore import Distiller, errors
from kdcore.errors import ConfigError, KDLabError, ModelError
from kdcore.models.precision import policy_scope

# Keras 3.15 converts variables in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROWS, BATCH = 50, 16  # an uneven last batch of 2
ACCURACY = keras.metrics.SparseCategoricalAccuracy


@pytest.fixture(scope="module")
def digits() -> tuple[NDArray, NDArray]:
    data = load_digits()
    return (data.images[:ROWS, ..., None] / 16).astype(np.float32), data.target[:ROWS].astype(
        np.int32
    )


@pytest.fixture(scope="module")
def teacher(digits: tuple[NDArray, NDArray]) -> keras.Model:
    """A trained teacher with all that could change behind one's back: BatchNorm statistics and
    Dropout.
    """
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, strides=2),
            layers.BatchNormalization(momentum=0.5),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(*digits, epochs=10, batch_size=BATCH, verbose=0)
    return model


@pytest.fixture(scope="module")
def teacher_logits(teacher: keras.Model, digits: tuple[NDArray, NDArray]) -> NDArray:
    return np.asarray(teacher(digits[0], training=False))


def plain_student(seed: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(12, "relu"), layers.Dense(10)]
    )


def rich_student(seed: int = 1) -> keras.Model:
    """A student with convolution, BatchNorm, Dropout and a weight penalty."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            # No bias before BatchNorm: its gradient is rounding only, which Adam would blow up.
            layers.Conv2D(
                4, 3, strides=2, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.01)
            ),
            layers.BatchNormalization(),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10),
        ]
    )


def distiller(
    student: keras.Model, teacher: keras.Model | None = None, **settings: Any
) -> Distiller:
    model = Distiller(student=student, teacher=teacher)
    model.compile(
        **{
            "optimizer": keras.optimizers.Adam(0.01),
            "metrics": [ACCURACY(name="accuracy")],
            **settings,
        }
    )
    return model


def fit(model: keras.Model, x: Any, y: Any = None, **settings: Any) -> dict[str, list[float]]:
    keras.utils.set_random_seed(3)
    return model.fit(
        x,
        y,
        **{"epochs": 2, "verbose": 0, **({} if y is None else {"batch_size": BATCH}), **settings},
    ).history


def evaluate(model: keras.Model, x: Any, y: Any = None, **settings: Any) -> dict[str, float]:
    settings = {} if y is None else {"batch_size": BATCH, **settings}
    return model.evaluate(x, y, verbose=0, return_dict=True, **settings)


def cached(labels: NDArray, teacher_logits: NDArray) -> dict[str, NDArray]:
    return {"labels": labels, "teacher_logits": teacher_logits}


def assert_same_weights(first: keras.Model, second: keras.Model) -> None:
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def differ(first: list[NDArray], second: list[NDArray]) -> bool:
    return any(np.any(a != b) for a, b in zip(first, second, strict=True))


def log_softmax(logits: NDArray, temperature: float = 1.0) -> NDArray:
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def hard_rows(logits: NDArray, labels: NDArray) -> NDArray:
    return -log_softmax(logits)[np.arange(len(labels)), labels]


def soft_rows(teacher_logits: NDArray, logits: NDArray, temperature: float) -> NDArray:
    teacher, student = log_softmax(teacher_logits, temperature), log_softmax(logits, temperature)
    return temperature**2 * (np.exp(teacher) * (teacher - student)).sum(axis=-1)


# The two ends of alpha


@pytest.mark.parametrize(
    ("build_student", "from_cache"), [(plain_student, True), (rich_student, False)]
)
def test_alpha_one_is_plain_training_to_the_bit(
    digits: tuple[NDArray, NDArray],
    teacher: keras.Model,
    teacher_logits: NDArray,
    build_student: Callable[[], keras.Model],
    from_cache: bool,
) -> None:
    x, labels = digits
    plain = build_student()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain.compile(keras.optimizers.Adam(0.01), loss, metrics=[ACCURACY(name="accuracy")])
    want = fit(plain, x, labels, epochs=3)

    model = distiller(build_student(), None if from_cache else teacher, alpha=1, temperature=4)
    found = fit(model, x, cached(labels, teacher_logits) if from_cache else labels, epochs=3)

    assert_same_weights(model.student, plain)
    assert found["loss"] == want["loss"]
    assert found["accuracy"] == want["accuracy"]
    assert found["loss"][-1] < found["loss"][0]


def test_alpha_zero_ignores_the_labels_to_the_bit(
    digits: tuple[NDArray, NDArray], teacher: keras.Model, teacher_logits: NDArray
) -> None:
    x, labels = digits
    shuffled = np.random.default_rng(0).permutation(labels)
    first, second = (distiller(plain_student(), alpha=0, temperature=4) for _ in range(2))
    curve, other = (
        fit(model, x, cached(targets, teacher_logits))
        for model, targets in ((first, labels), (second, shuffled))
    )
    assert_same_weights(first.student, second.student)
    assert curve["loss"] == other["loss"] == curve["soft_loss"]
    assert curve["hard_loss"] != other["hard_loss"], "the labels were the same"
    assert differ(first.student.get_weights(), plain_student().get_weights()), "nothing was trained"


# The teacher


def test_cached_logits_equal_a_live_teacher_under_shuffling(
    digits: tuple[NDArray, NDArray], teacher: keras.Model, teacher_logits: NDArray
) -> None:
    x, labels = digits
    live, from_cache = (
        distiller(plain_student(), teacher, alpha=0.3),
        distiller(plain_student(), alpha=0.3),
    )
    want, found = fit(live, x, labels), fit(from_cache, x, cached(labels, teacher_logits))
    for name in want:
        np.testing.assert_allclose(found[name], want[name], rtol=1e-5, atol=1e-5)
    # Logits that belong to other rows are noticed.
    wrong = fit(from_cache, x, cached(labels, teacher_logits[::-1].copy()), epochs=1)
    assert abs(wrong["soft_loss"][0] - want["soft_loss"][0]) > 1e-2


def test_the_teacher_stays_bit_identical(
    digits: tuple[NDArray, NDArray], teacher: keras.Model
) -> None:
    before = [np.copy(weight) for weight in teacher.get_weights()]
    model = distiller(rich_student(), teacher)
    assert not teacher.trainable_variables
    assert len(model.trainable_variables) == len(model.student.trainable_variables) > 0
    fit(model, *digits)
    evaluate(model, *digits)
    assert not differ(before, teacher.get_weights())


def test_a_teacher_made_trainable_again_still_does_not_move(
    digits: tuple[NDArray, NDArray], teacher: keras.Model
) -> None:
    before = [np.copy(weight) for weight in teacher.get_weights()]
    model = distiller(plain_student(), teacher)
    teacher.trainable = True
    try:
        fit(model, *digits, epochs=1)
    finally:
        teacher.trainable = False
    assert not differ(before, teacher.get_weights())


def test_the_teacher_is_not_called_where_its_logits_are_given(
    digits: tuple[NDArray, NDArray], teacher_logits: NDArray
) -> None:
    class Untouchable(layers.Layer):
        touched = 0

        def call(self, inputs: Any) -> Any:
            Untouchable.touched += 1
            return inputs

    untouchable = keras.Sequential(
        [keras.Input((8, 8, 1)), Untouchable(), layers.Flatten(), layers.Dense(10)]
    )
    Untouchable.touched = 0
    model = distiller(plain_student(), untouchable)
    fit(model, digits[0], cached(digits[1], teacher_logits), epochs=1)
    assert Untouchable.touched == 0
    fit(model, *digits, epochs=1)
    assert Untouchable.touched > 0


# The student


def test_dropout_and_batchnorm_of_the_student_train(
    digits: tuple[NDArray, NDArray], teacher: keras.Model
) -> None:
    student = rich_student()
    statistics = [
        np.copy(student.layers[1].moving_mean),
        np.copy(student.layers[1].moving_variance),
    ]
    model = distiller(student, teacher, optimizer=keras.optimizers.SGD(0.0))
    trained = fit(model, *digits, epochs=1)
    assert differ(
        statistics,
        [student.layers[1].moving_mean.numpy(), student.layers[1].moving_variance.numpy()],
    )
    # Not a weight has moved, so only Dropout and the batch's statistics can tell training from
    # evaluation.
    assert abs(trained["soft_loss"][0] - evaluate(model, *digits)["soft_loss"]) > 1e-3
    assert evaluate(model, *digits) == evaluate(model, *digits)


def test_as_a_model_it_is_its_student(
    digits: tuple[NDArray, NDArray], teacher: keras.Model
) -> None:
    model = distiller(rich_student(), teacher)
    np.testing.assert_array_equal(
        model.predict(digits[0], verbose=0), model.student.predict(digits[0], verbose=0)
    )


# The losses, against NumPy


@pytest.mark.parametrize("shape", ["class numbers", "column", "uint8", "float", "one-hot"])
def test_epoch_values_are_exact_means_over_examples(
    digits: tuple[NDArray, NDArray], teacher: keras.Model, teacher_logits: NDArray, shape: str
) -> None:
    x, labels = digits
    targets = {
        "class numbers": labels,
        "column": labels[:, None],
        "uint8": labels.astype(np.uint8),
        "float": labels.astype(np.float32),
        "one-hot": np.eye(10, dtype=np.float32)[labels],
    }[shape]
    one_hot = {
        "student_loss_fn": keras.losses.CategoricalCrossentropy(from_logits=True),
        "metrics": [keras.metrics.CategoricalAccuracy(name="accuracy")],
    }
    # A student that does not move has the same loss in every batch's evaluation and training.
    settings = {"optimizer": keras.optimizers.SGD(0.0), "alpha": 0.3, "temperature": 5}
    settings["run_eagerly"] = shape not in ("class numbers", "one-hot")  # saves the tracing
    model = distiller(
        plain_student(), teacher, **settings, **(one_hot if shape == "one-hot" else {})
    )
    logits = np.asarray(model.student(x))
    hard, soft = hard_rows(logits, labels).mean(), soft_rows(teacher_logits, logits, 5).mean()
    want = {
        "hard_loss": hard,
        "soft_loss": soft,
        "loss": 0.3 * hard + 0.7 * soft,
        "accuracy": np.mean(logits.argmax(axis=1) == labels),
    }
    history = fit(model, x, targets)
    for found in (
        evaluate(model, x, targets),
        *({name: history[name][epoch] for name in want} for epoch in range(2)),
    ):
        assert found.keys() == want.keys()
        for name in want:
            np.testing.assert_allclose(found[name], want[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("column", [False, True])
def test_rows_without_a_label_count_for_the_soft_loss_only(
    digits: tuple[NDArray, NDArray], teacher: keras.Model, teacher_logits: NDArray, column: bool
) -> None:
    x, labels = digits
    known = np.zeros(ROWS, bool)
    known[[0, 1, 2, 5, 20, 49]] = (
        True  # 4 in the first batch, 1 in the second, none in the third, 1 in the last
    )
    targets = np.where(known, labels, -1)
    targets = targets[:, None] if column else targets
    metrics = [
        ACCURACY(name="accuracy"),
        keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="entropy"),
    ]
    still = keras.optimizers.SGD(0.0)
    model = distiller(
        plain_student(), teacher, optimizer=still, metrics=metrics, alpha=0.3, temperature=5
    )
    logits = np.asarray(model.student(x))
    hard, soft = hard_rows(logits, labels), soft_rows(teacher_logits, logits, 5)
    batches = [slice(start, start + BATCH) for start in range(0, ROWS, BATCH)]
    totals = [
        (
            0.3 * (hard[rows][known[rows]].mean() if known[rows].any() else 0)
            + 0.7 * soft[rows].mean()
        )
        * len(soft[rows])
        for rows in batches
    ]
    want = {
        "hard_loss": hard[known].mean(),
        "soft_loss": soft.mean(),
        "loss": np.sum(totals) / ROWS,
        "accuracy": np.mean(logits.argmax(axis=1) == labels, where=known),
        "entropy": hard[known].mean(),
    }
    history = fit(model, x, targets, epochs=1, shuffle=False)
    found = evaluate(model, x, targets)
    for name in want:
        np.testing.assert_allclose(found[name], want[name], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(history[name][0], want[name], rtol=1e-5, err_msg=name)


def one_step(
    student: keras.Model, x: NDArray, y: Any, weights: NDArray | None = None, **settings: Any
) -> list[NDArray]:
    """The student's weights after one step of gradient descent of size 1, minus those before."""
    before = [np.copy(weight) for weight in student.get_weights()]
    model = distiller(student, optimizer=keras.optimizers.SGD(1.0), **settings)
    model.train_step((x, y, weights) if weights is not None else (x, y))
    return [np.asarray(after) - b for after, b in zip(student.get_weights(), before, strict=True)]


def step_of(student: keras.Model, loss: Callable[[Any], Any], x: NDArray) -> list[NDArray]:
    with tf.GradientTape() as tape:
        value = loss(student(x))
    return [-np.asarray(gradient) for gradient in tape.gradient(value, student.trainable_variables)]


def test_the_hard_gradient_is_that_of_the_labelled_rows_alone(
    digits: tuple[NDArray, NDArray], teacher_logits: NDArray
) -> None:
    x, labels = digits
    known = labels < 3
    targets = cached(np.where(known, labels, -1), teacher_logits)
    want = step_of(
        plain_student(),
        lambda logits: tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels[known], tf.boolean_mask(logits, known)
            )
        ),
        x,
    )
    for found, gradient in zip(one_step(plain_student(), x, targets, alpha=1), want, strict=True):
        np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-6)


def test_a_batch_without_any_label_teaches_by_the_teacher_alone(
    digits: tuple[NDArray, NDArray], teacher_logits: NDArray
) -> None:
    x, targets = digits[0], cached(np.full(ROWS, -1), teacher_logits)
    assert not any(np.any(moved) for moved in one_step(plain_student(), x, targets, alpha=1))
    softly = one_step(plain_student(), x, targets, alpha=0.25)
    fully = one_step(plain_student(), x, targets, alpha=0)
    assert max(np.abs(moved).max() for moved in fully) > 1e-3
    for found, whole in zip(softly, fully, strict=True):
        np.testing.assert_allclose(found, 0.75 * whole, rtol=1e-4, atol=1e-7)
    assert evaluate(distiller(plain_student()), x, targets)["hard_loss"] == 0


@pytest.mark.parametrize(("unlabelled", "column"), [(False, False), (True, False), (True, True)])
def test_sample_weights_weight_both_losses_and_the_metrics(
    digits: tuple[NDArray, NDArray],
    teacher: keras.Model,
    teacher_logits: NDArray,
    unlabelled: bool,
    column: bool,
) -> None:
    x, labels = digits
    known = labels < 5 if unlabelled else np.ones(ROWS, bool)
    weights = np.random.default_rng(0).random(ROWS).astype(np.float32)
    model = distiller(plain_student(), teacher, alpha=0.3, temperature=5)
    logits = np.asarray(model.student(x))
    hard = np.sum(weights * hard_rows(logits, labels), where=known) / known.sum()
    soft = np.mean(weights * soft_rows(teacher_logits, logits, 5))
    right = logits.argmax(axis=1) == labels
    want = {
        "hard_loss": hard,
        "soft_loss": soft,
        "loss": 0.3 * hard + 0.7 * soft,
        "accuracy": np.average(right[known], weights=weights[known]),
    }
    targets = np.where(known, labels, -1)
    targets = targets[:, None] if column else targets
    found = evaluate(model, x, targets, sample_weight=weights, batch_size=ROWS)
    for name in want:
        np.testing.assert_allclose(found[name], want[name], rtol=1e-5, err_msg=name)


def test_rows_of_weight_zero_have_no_influence(
    digits: tuple[NDArray, NDArray], teacher_logits: NDArray
) -> None:
    x, labels = digits
    weights = (np.arange(ROWS) % 3 > 0).astype(np.float32)
    other_x, other_labels, other_logits = x.copy(), labels.copy(), teacher_logits.copy()
    other_x[weights == 0], other_labels[weights == 0], other_logits[weights == 0] = 0.5, 9, 3.0
    first, second = distiller(plain_student()), distiller(plain_student())
    curve = fit(first, x, cached(labels, teacher_logits), sample_weight=weights)
    other = fit(second, other_x, cached(other_labels, other_logits), sample_weight=weights)
    assert curve == other
    assert_same_weights(first.student, second.student)
    assert curve != fit(distiller(plain_student()), x, cached(labels, teacher_logits))


@pytest.mark.parametrize(
    ("loss_fn", "per_row"),
    [
        (keras.losses.KLDivergence(), lambda t, s: np.sum(t * np.log(t / s), axis=1)),
        ("kl_divergence", lambda t, s: np.sum(t * np.log(t / s), axis=1)),
        (keras.losses.MeanSquaredError(), lambda t, s: np.mean((t - s) ** 2, axis=1)),
        (lambda t, s: tf.reduce_sum(t * (1 - s), axis=1), lambda t, s: np.sum(t * (1 - s), axis=1)),
        (
            lambda t, s: tf.reduce_mean(t * t * (1 - s)),
            lambda t, s: np.mean(t * t * (1 - s), axis=1),
        ),
    ],
    ids=["KLDivergence", "its name", "Keras loss", "function of rows", "function of the batch"],
)
def test_the_soft_loss_takes_softened_teacher_and_student_times_temperature_squared(
    digits: tuple[NDArray, NDArray],
    teacher: keras.Model,
    teacher_logits: NDArray,
    loss_fn: Any,
    per_row: Any,
) -> None:
    x, labels = digits
    model = distiller(
        plain_student(), teacher, distillation_loss_fn=loss_fn, temperature=4, run_eagerly=True
    )
    softened = (
        np.exp(log_softmax(np.asarray(logits), 4)) for logits in (teacher_logits, model.student(x))
    )
    want = 16 * per_row(*softened).mean()
    np.testing.assert_allclose(evaluate(model, x, labels)["soft_loss"], want, rtol=1e-4)


@pytest.mark.parametrize("loss_fn", [None, keras.losses.KLDivergence()])
def test_the_soft_loss_does_not_clip(digits: tuple[NDArray, NDArray], loss_fn: Any) -> None:
    x = digits[0][:4]
    student = plain_student()
    student.layers[-1].bias.assign([500.0] + [0.0] * 9)  # confidently wrong
    sure = np.full((4, 10), -500, np.float32)
    sure[:, 1] = 500
    moved = one_step(
        student,
        x,
        cached(np.zeros(4, np.int32), sure),
        alpha=0,
        temperature=3,
        distillation_loss_fn=loss_fn,
    )[-1]
    np.testing.assert_allclose(moved[:2], [-3, 3], rtol=1e-3)


def test_a_hard_loss_may_be_a_function_of_rows_but_not_of_the_batch(
    digits: tuple[NDArray, NDArray], teacher_logits: NDArray
) -> None:
    x, labels = digits
    y = cached(np.where(labels < 5, labels, -1), teacher_logits)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
    rows = distiller(plain_student(), student_loss_fn=entropy)
    np.testing.assert_allclose(
        evaluate(rows, x, y)["hard_loss"],
        evaluate(distiller(plain_student()), x, y)["hard_loss"],
        rtol=1e-6,
    )
    batch = distiller(plain_student(), student_loss_fn=lambda y, z: tf.reduce_mean(entropy(y, z)))
    with pytest.raises(ModelError, match="student_loss_fn must return one value a row"):
        batch.train_step((x, y))


def test_metrics_may_be_given_as_keras_takes_them(
    digits: tuple[NDArray, NDArray], teacher: keras.Model
) -> None:
    entropy = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="entropy")
    model = distiller(plain_student(), teacher, metrics=["accuracy"], weighted_metrics=[entropy])
    found = evaluate(model, *digits)
    np.testing.assert_allclose(found["entropy"], found["hard_loss"], rtol=1e-5)
    assert list(found) == ["accuracy", "entropy", "hard_loss", "loss", "soft_loss"]
    as_list = model.evaluate(*digits, batch_size=BATCH, verbose=0)
    assert as_list == [
        found[name] for name in ("loss", "accuracy", "entropy", "hard_loss", "soft_loss")
    ]
    assert "accuracy" not in evaluate(distiller(plain_student(), teacher, metrics=None), *digits)


# How it is run


def test_execution_settings_do_not_change_the_result(
    digits: tuple[NDArray, NDArray], teacher_logits: NDArray
) -> None:
    x, y = digits[0], cached(np.where(digits[1] < 7, digits[1], -1), teacher_logits)
    plain = distiller(plain_student())
    want = fit(plain, x, y)
    for settings in ({"run_eagerly": True}, {"steps_per_execution": 3}, {"jit_compile": True}):
        special = distiller(plain_student(), **settings)
        found = fit(special, x, y)
        for name in want:
            np.testing.assert_allclose(
                found[name], want[name], rtol=1e-4, err_msg=f"{settings} {name}"
            )
        for a, b in zip(special.student.get_weights(), plain.student.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5, err_msg=f"{settings}")


class Batches(keras.utils.PyDataset):
    """A PyDataset of arrays, in order."""

    def __init__(self, x: NDArray, y: Any) -> None:
        super().__init__()
        self.x, self.y = x, y

    def __len__(self) -> int:
        return -(-len(self.x) // BATCH)

    def __getitem__(self, batch: int) -> tuple[NDArray, Any]:
        rows = slice(batch * BATCH, (batch + 1) * BATCH)
        return self.x[rows], keras.tree.map_structure(lambda array: array[rows], self.y)


def test_arrays_datasets_and_sequences_give_the_same(
    digits: tuple[NDArray, NDArray], teacher_logits: NDArray
) -> None:
    x, y = digits[0], cached(digits[1], teacher_logits)
    model = distiller(plain_student())
    want = fit(model, x, y, shuffle=False)
    for data in (tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH), Batches(x, y)):
        other = distiller(plain_student())
        assert fit(other, data, shuffle=False) == want
        assert_same_weights(other.student, model.student)
        assert evaluate(other, data) == evaluate(model, x, y)
        np.testing.assert_array_equal(
            other.predict(data, verbose=0), model.predict(x, batch_size=BATCH, verbose=0)
        )


def test_a_loop_of_ones_own_over_train_step_equals_fit(
    digits: tuple[NDArray, NDArray], teacher_logits: NDArray
) -> None:
    x, y = digits[0][:48], cached(np.where(digits[1] < 7, digits[1], -1)[:48], teacher_logits[:48])
    model, looped = distiller(rich_student()), distiller(rich_student())
    want = fit(model, x, y, shuffle=False, epochs=1)

    looped.optimizer.build(looped.student.trainable_variables)
    looped.test_step((x[:1], {name: value[:1] for name, value in y.items()}))
    looped.reset_metrics()
    inputs, targets = tf.constant(x), {name: tf.constant(value) for name, value in y.items()}

    @tf.function
    def epoch() -> dict[str, tf.Tensor]:
        for batch in tf.range(3):
            rows = tf.range(batch * BATCH, (batch + 1) * BATCH)
            looped.train_step(
                (tf.gather(inputs, rows), {k: tf.gather(v, rows) for k, v in targets.items()})
            )
        return looped.get_metrics_result()

    keras.utils.set_random_seed(3)
    found = epoch()
    for a, b in zip(looped.student.get_weights(), model.student.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for name in want:
        np.testing.assert_allclose(found[name], want[name][0], rtol=1e-6, err_msg=name)


def test_training_in_bfloat16_stays_close_to_float32(
    digits: tuple[NDArray, NDArray], teacher_logits: NDArray
) -> None:
    y = cached(digits[1], teacher_logits)
    with policy_scope("mixed_bfloat16"):
        student = plain_student()
    mixed, plain = distiller(student), distiller(plain_student())
    want, found = fit(plain, digits[0], y), fit(mixed, digits[0], y)
    np.testing.assert_allclose(found["loss"], want["loss"], rtol=0.02)
    assert found["loss"] != want["loss"], "nothing was computed in bfloat16"
    assert {weight.dtype for weight in mixed.student.weights} == {"float32"}


def test_float16_gets_its_loss_scaling_and_the_right_gradient(
    digits: tuple[NDArray, NDArray], teacher_logits: NDArray
) -> None:
    x, y = digits[0], cached(digits[1], teacher_logits)
    with policy_scope("mixed_float16"):
        student = plain_student()
    model = distiller(student)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    # The first scale, 2^15, would make this step 32,768 times too long if it were not taken out
    # again.
    found, want = one_step(student, x, y), one_step(plain_student(), x, y)
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, atol=0.02 * max(np.abs(b).max(), 1e-3))


def test_inputs_are_not_rounded_to_a_policy_that_is_not_the_students(
    digits: tuple[NDArray, NDArray], teacher: keras.Model
) -> None:
    student = plain_student()
    with policy_scope("mixed_bfloat16"):
        model = distiller(student, teacher)
    np.testing.assert_array_equal(model(digits[0]), student(digits[0]))


# Save and reload


def test_a_reloaded_distiller_predicts_the_same_and_trains_on(
    digits: tuple[NDArray, NDArray], teacher: keras.Model, tmp_path: Path
) -> None:
    x, y = digits
    model = distiller(rich_student(), teacher, alpha=0.3, temperature=7)
    fit(model, x, y, epochs=1, shuffle=False)
    model.save(tmp_path / "distiller.keras")
    reloaded = keras.saving.load_model(tmp_path / "distiller.keras", safe_mode=True)

    assert isinstance(reloaded, Distiller)
    assert (reloaded.alpha, reloaded.temperature) == (0.3, 7)
    np.testing.assert_array_equal(reloaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert evaluate(reloaded, x, y) == evaluate(model, x, y)
    # Dropout's random state is not saved, by Keras' design, so going on is compared without it.
    for distilled in (model, reloaded):
        distilled.student.layers[-2].rate = 0.0
        distilled.make_train_function(force=True)
    assert fit(reloaded, x, y, shuffle=False) == fit(model, x, y, shuffle=False)
    assert_same_weights(reloaded.student, model.student)
    reloaded.compile("sgd", alpha=0.9)
    assert np.isfinite(fit(reloaded, x, y, epochs=1)["loss"][0])


def test_a_distiller_without_teacher_and_never_compiled_is_saved_too(
    digits: tuple[NDArray, NDArray], tmp_path: Path
) -> None:
    model = Distiller(plain_student())
    model.save(tmp_path / "distiller.keras")
    reloaded = keras.saving.load_model(tmp_path / "distiller.keras", safe_mode=True)
    assert not reloaded.compiled
    np.testing.assert_array_equal(reloaded(digits[0]), model(digits[0]))


def test_a_student_without_a_known_input_shape_is_built_by_training(
    digits: tuple[NDArray, NDArray], teacher: keras.Model, tmp_path: Path
) -> None:
    model = distiller(keras.Sequential([layers.Flatten(), layers.Dense(10)]), teacher)
    curve = fit(model, *digits, epochs=3)
    assert curve["loss"][-1] < curve["loss"][0]
    model.save(tmp_path / "distiller.keras")
    reloaded = keras.saving.load_model(tmp_path / "distiller.keras", safe_mode=True)
    np.testing.assert_array_equal(reloaded(digits[0]), model(digits[0]))


def test_a_distiller_saved_before_training_keeps_its_settings(
    teacher: keras.Model, tmp_path: Path
) -> None:
    hard = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    model = distiller(
        plain_student(),
        teacher,
        student_loss_fn=hard,
        distillation_loss_fn=keras.losses.MeanSquaredError(),
        alpha=0.5,
    )
    model.save(tmp_path / "distiller.keras")
    reloaded = keras.saving.load_model(tmp_path / "distiller.keras", safe_mode=True)
    assert_same_weights(reloaded.student, model.student)
    assert_same_weights(reloaded.teacher, teacher)
    assert reloaded.student_loss_fn.reduction == "sum"
    assert isinstance(reloaded.distillation_loss_fn, keras.losses.MeanSquaredError)
    assert isinstance(reloaded.optimizer, keras.optimizers.Adam)
    assert not reloaded.teacher.trainable


# What is refused


def test_alpha_and_temperature_may_change_between_batches_of_a_compiled_training(
    digits: tuple[NDArray, NDArray], teacher_logits: NDArray
) -> None:
    x, y = digits[0][:96], cached(digits[1][:96], teacher_logits[:96])
    changed, anew = plain_student(), plain_student()
    model = distiller(changed, alpha=0.3, temperature=5)
    fit(model, x, y, epochs=1, shuffle=False)
    halfway = changed.get_weights()
    model.alpha, model.temperature = 0.8, 2.0
    model.optimizer.iterations.assign(0)
    for variable in model.optimizer.variables[2:]:
        variable.assign(keras.ops.zeros_like(variable))
    fit(model, x, y, epochs=1, shuffle=False)
    anew.set_weights(halfway)
    fit(distiller(anew, alpha=0.8, temperature=2), x, y, epochs=1, shuffle=False)
    assert_same_weights(changed, anew)
    assert differ(halfway, anew.get_weights())
    assert (model.alpha, model.temperature) == (0.8, 2.0)


@pytest.mark.parametrize(
    ("name", "before", "value", "message"),
    [
        ("alpha", 0.3, 1.5, "alpha must be at most 1, got 1.5"),
        ("temperature", 0.3, 0, "temperature must be above 0, got 0"),
        (
            "alpha",
            0.3,
            1,
            "alpha must not change to or from 0 or 1 without compile, got 1 after 0.3",
        ),
        (
            "alpha",
            0,
            0.5,
            "alpha must not change to or from 0 or 1 without compile, got 0.5 after 0",
        ),
    ],
)
def test_a_change_that_cannot_be_taken_up_is_refused_in_words(
    name: str, before: float, value: float, message: str
) -> None:
    model = distiller(plain_student(), alpha=before, temperature=5)
    with pytest.raises(KDLabError, match=re.escape(message)):
        setattr(model, name, value)
    assert (model.alpha, model.temperature) == (before, 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.5}, "alpha must be at most 1, got 1.5"),
        ({"alpha": -1}, "alpha must be at least 0, got -1"),
        ({"temperature": -1}, "temperature must be above 0, got -1"),
        ({"temperature": 0}, "temperature must be above 0, got 0"),
    ],
)
def test_settings_out_of_range_are_refused_in_words(
    settings: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        distiller(plain_student(), **settings)
    assert str(caught.value) == message


def test_what_cannot_be_trained_is_refused_in_words(
    digits: tuple[NDArray, NDArray], teacher: keras.Model, teacher_logits: NDArray
) -> None:
    x, labels = digits
    alone = distiller(plain_student())
    with pytest.raises(ModelError, match="has no teacher"):
        fit(alone, x, labels)
    with pytest.raises(ModelError, match="has no teacher"):
        evaluate(alone, x, labels)
    with pytest.raises(ModelError, match='keys "labels" and "teacher_logits"'):
        fit(alone, x, {"labels": labels, "logits": teacher_logits})
    with pytest.raises(ModelError, match="needs labels"):
        fit(distiller(plain_student(), teacher), x)
    with pytest.raises(ModelError, match=r"9\] from the teacher and \[.*10\] from the student"):
        fit(alone, x, cached(labels, teacher_logits[:, :9]))
    with pytest.raises(ModelError, match="same model"):
        Distiller(teacher, teacher)


def test_several_replicas_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Distiller, "distribute_strategy", SimpleNamespace(num_replicas_in_sync=2))
    with pytest.raises(ModelError, match="one device"):
        distiller(plain_student())


# Scripts written for the Keras example

EXAMPLE = """
import keras
from keras import layers
import numpy as np
{imports}

def network(first, second, name):
    return keras.Sequential(
        [
            keras.Input(shape=(28, 28, 1)),
            layers.Conv2D(first, (3, 3), strides=(2, 2), padding="same"),
            layers.LeakyReLU({leak}=0.2),
            layers.MaxPooling2D(pool_size=(2, 2), strides=(1, 1), padding="same"),
            layers.Conv2D(second, (3, 3), strides=(2, 2), padding="same"),
            layers.Flatten(),
            layers.Dense(10),
        ],
        name=name,
    )

teacher = network(256, 512, "teacher")
student = network(16, 32, "student")
student_scratch = keras.models.clone_model(student)

(x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
x_train = np.reshape(x_train.astype("float32") / 255.0, (-1, 28, 28, 1))
x_test = np.reshape(x_test.astype("float32") / 255.0, (-1, 28, 28, 1))

teacher.compile(
    optimizer=keras.optimizers.Adam(),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy()],
)
teacher.fit(x_train, y_train, epochs=5)
teacher.evaluate(x_test, y_test)

distiller = Distiller(student=student, teacher=teacher)
distiller.compile(
    optimizer=keras.optimizers.Adam(),
    metrics=[keras.metrics.SparseCategoricalAccuracy()],
    student_loss_fn=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    distillation_loss_fn=keras.losses.KLDivergence(),
    alpha=0.1,
    temperature=10,
)
distiller.fit(x_train, y_train, epochs=3)
distiller.evaluate(x_test, y_test)

student_scratch.compile(
    optimizer=keras.optimizers.Adam(),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy()],
)
student_scratch.fit(x_train, y_train, epochs=3)
student_scratch.evaluate(x_test, y_test)
"""
VERSIONS = {
    "2020, train_step": {
        "imports": "import tensorflow as tf\nfrom tensorflow import keras",
        "leak": "alpha",
    },
    "Keras 3, compute_loss": {
        "imports": "from keras import ops\nimport tensorflow as tf",
        "leak": "negative_slope",
    },
}


@pytest.mark.filterwarnings("ignore:Argument `alpha` is deprecated")
@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS.keys())
def test_the_keras_examples_script_runs_unchanged(
    version: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    data = [
        (rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8))
        for n in (72, 40)
    ]
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: data)
    keras.utils.set_random_seed(0)
    names: dict[str, Any] = {}
    # The only line of the script that is not the example's: it replaces the class statement.
    exec("from kdcore import Distiller\n" + textwrap.dedent(EXAMPLE).format(**version), names)

    x_test, y_test = names["x_test"], data[1][1]
    teacher_logits, logits = (np.asarray(names[role](x_test)) for role in ("teacher", "student"))
    hard = hard_rows(logits, y_test).mean()
    soft = soft_rows(teacher_logits, logits, 10).mean()
    want = {
        "hard_loss": hard,
        "soft_loss": soft,
        "loss": 0.1 * hard + 0.9 * soft,
        "sparse_categorical_accuracy": np.mean(logits.argmax(axis=1) == y_test),
    }
    found = names["distiller"].evaluate(x_test, y_test, verbose=0, return_dict=True)
    assert found.keys() == want.keys()
    for name in want:
        np.testing.assert_allclose(found[name], want[name], rtol=1e-4, err_msg=name)
    # It learned from its teacher: closer on what both were shown than the student that started from
    # scratch.
    taught, scratch = (
        soft_rows(
            np.asarray(names["teacher"](names["x_train"])),
            np.asarray(names[role](names["x_train"])),
            10,
        ).mean()
        for role in ("student", "student_scratch")
    )
    assert taught < scratch


# The package's own names


def test_the_package_offers_what_it_says_and_every_error() -> None:
    for name in kdcore.__all__:
        assert getattr(kdcore, name) is not None
    assert set(kdcore.__all__) <= set(dir(kdcore))
    raised = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.KDLabError)
    }
    assert raised <= set(kdcore.__all__)
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        kdcore.distil  # noqa: B018
