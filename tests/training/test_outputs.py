"""Outputs that are no plain logits: undone, chosen by name or refused, never softened twice."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from numpy.typing import NDArray

from kdcore import Distiller
from kdcore.errors import ModelError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 6)).astype(np.float32)
Y = RNG.integers(0, 4, 48)


def net(end: Callable[[Any], Any], seed: int = 0, outputs: int = 4) -> keras.Model:
    """A small model; ``end`` makes its output of its logits."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,))
    hidden = layers.Dense(8, activation="relu")(inputs)
    return keras.Model(inputs, end(layers.Dense(outputs)(hidden)))


class Subclassed(keras.Model):
    """A model that is code: nobody can look into it."""

    def __init__(self, inner: keras.Model) -> None:
        super().__init__()
        self.inner = inner

    def call(self, inputs: Any) -> Any:
        return ops.softmax(self.inner(inputs))


ENDS: dict[str, Callable[[int], keras.Model]] = {
    "activation layer": lambda seed: net(layers.Activation("softmax"), seed),
    "softmax layer": lambda seed: net(layers.Softmax(), seed),
    "ops": lambda seed: net(ops.softmax, seed),
    "nested": lambda seed: keras.Sequential([keras.Input((6,)), net(ops.softmax, seed)]),
    "subclassed": lambda seed: Subclassed(net(lambda x: x, seed)),
}


def plain(seed: int) -> keras.Model:
    return net(lambda x: x, seed)


def trained(student: keras.Model, teacher: keras.Model, **how: Any) -> tuple[dict, NDArray]:
    distiller = Distiller(student=student, teacher=teacher)
    distiller.compile(keras.optimizers.SGD(0.1), alpha=0.3, temperature=3.0, **how)
    history = distiller.fit(X, Y, epochs=3, batch_size=16, shuffle=False, verbose=0).history
    return history, np.asarray(student.predict(X, verbose=0))


@pytest.mark.parametrize("end", list(ENDS))
def test_a_softmax_at_the_end_changes_nothing_but_is_said(end: str) -> None:
    history, logits = trained(plain(1), plain(2))
    with pytest.warns(UserWarning, match=r"the teacher gives probabilities \(it ends in a softmax"):
        with_teacher, answers = trained(plain(1), ENDS[end](2))
    np.testing.assert_allclose(with_teacher["soft_loss"], history["soft_loss"], rtol=1e-4)
    np.testing.assert_allclose(answers, logits, atol=1e-4)
    with pytest.warns(UserWarning, match="gives probabilities") as warned:
        both, probabilities = trained(ENDS[end](1), ENDS[end](2))
    assert {str(warning.message).split()[1] for warning in warned} == {"teacher", "student"}
    np.testing.assert_allclose(both["loss"], history["loss"], rtol=1e-4)
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)


def test_of_plain_logits_nothing_is_said() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(plain(1), plain(2))


@pytest.mark.parametrize("end", ["logit", "sigmoid"])
def test_one_output_is_two_classes(end: str) -> None:
    last: Callable[[Any], Any] = (lambda x: x) if end == "logit" else layers.Activation("sigmoid")
    labels = (X[:, 0] > 0).astype(np.float32)
    student, teacher = net(last, 1, 1), net(last, 2, 1)
    before = [np.array(weights) for weights in student.get_weights()]
    if end == "sigmoid":
        with pytest.warns(UserWarning, match="ends in a sigmoid"):
            distiller = Distiller(student=student, teacher=teacher)
    else:
        distiller = Distiller(student=student, teacher=teacher)
    distiller.compile("sgd", metrics=["accuracy"], alpha=0.0, temperature=2.0)
    found = distiller.evaluate(X, labels, batch_size=48, verbose=0, return_dict=True)
    z = [np.asarray(model.predict(X, verbose=0), np.float64)[:, 0] for model in (teacher, student)]
    if end == "sigmoid":
        z = [np.log(p / (1 - p)) for p in z]
    p, q = (1 / (1 + np.exp(-logit / 2)) for logit in z)
    divergence = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert found["soft_loss"] == pytest.approx(4 * divergence.mean(), rel=1e-4)
    assert found["accuracy"] == pytest.approx(np.mean((z[1] > 0) == (labels > 0)))
    distiller.fit(X, labels, epochs=3, verbose=0)
    after = student.get_weights()
    assert any(np.abs(one - other).max() > 1e-4 for one, other in zip(before, after, strict=True))


def pixels(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((5, 4, 2)), layers.Conv2D(3, 1)])


@pytest.mark.parametrize("weights", [None, "rows", "positions"])
def test_outputs_per_position_are_means_over_all_of_them(weights: str | None) -> None:
    x = RNG.normal(size=(6, 5, 4, 2)).astype(np.float32)
    y = RNG.integers(0, 3, (6, 5, 4))
    y[0, 0] = -1
    student, teacher = pixels(1), pixels(2)
    distiller = Distiller(student=student, teacher=teacher)
    distiller.compile("sgd", alpha=0.5, temperature=2.0)
    given = {None: None, "rows": RNG.random(6), "positions": RNG.random((6, 5, 4))}[weights]
    found = distiller.evaluate(x, y, sample_weight=given, batch_size=6, verbose=0, return_dict=True)
    logits = [np.asarray(model.predict(x, verbose=0), np.float64) for model in (teacher, student)]

    def log_softmax(values: NDArray) -> NDArray:
        return values - np.log(np.exp(values).sum(-1, keepdims=True))

    t, s = (log_softmax(values / 2) for values in logits)
    soft = 4 * (np.exp(t) * (t - s)).sum(-1)
    hard = -np.take_along_axis(log_softmax(logits[1]), np.maximum(y, 0)[..., None], -1)[..., 0]
    each = (
        np.ones((6, 5, 4))
        if given is None
        else np.broadcast_to(given if given.ndim == 3 else given[:, None, None], (6, 5, 4))
    )
    known = y >= 0
    assert found["soft_loss"] == pytest.approx((soft * each).mean(), rel=1e-4)
    assert found["hard_loss"] == pytest.approx((hard * each)[known].sum() / known.sum(), rel=1e-4)


def test_masked_positions_do_not_count() -> None:
    def tagger(seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((None,), dtype="int32")
        embedded = layers.Embedding(9, 4, mask_zero=True)(inputs)
        return keras.Model(inputs, layers.Dense(3)(embedded))

    x = RNG.integers(1, 9, (4, 5))
    y = RNG.integers(0, 3, (4, 5))
    padded = np.concatenate([x, np.zeros((4, 3), int)], axis=1)
    labels = np.concatenate([y, np.zeros((4, 3), int)], axis=1)
    losses = []
    for inputs, targets in ((x, y), (padded, labels)):
        distiller = Distiller(student=tagger(1), teacher=tagger(2))
        distiller.compile("sgd", alpha=0.5, temperature=2.0)
        found = distiller.evaluate(inputs, targets, verbose=0, return_dict=True)
        losses.append((found["hard_loss"], found["soft_loss"]))
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def several(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,))
    return keras.Model(inputs, {"kind": layers.Dense(4)(inputs), "size": layers.Dense(2)(inputs)})


def test_one_of_several_outputs_is_chosen_by_name_or_refused() -> None:
    with pytest.raises(ModelError, match="output must be one of kind, size, got none"):
        Distiller(student=several(1), teacher=several(2))
    with pytest.raises(ModelError, match="output must be one of kind, size, got colour"):
        Distiller(student=several(1), teacher=several(2), output="colour")
    distiller = Distiller(student=several(1), teacher=several(2), output="kind")
    distiller.compile("sgd", alpha=0.5, temperature=2.0)
    found = distiller.evaluate(X, Y, batch_size=48, verbose=0, return_dict=True)
    chosen = [keras.Model(m.inputs, m.output["kind"]) for m in (several(1), several(2))]
    same = Distiller(student=chosen[0], teacher=chosen[1])
    same.compile("sgd", alpha=0.5, temperature=2.0)
    expected = same.evaluate(X, Y, batch_size=48, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    single = keras.Model(chosen[0].inputs, {"only": chosen[0].output})
    Distiller(student=single, teacher=chosen[1])


# --- What is given and not used, or cannot work ---


def test_loss_is_the_hard_loss_and_not_given_twice() -> None:
    distiller = Distiller(student=plain(1), teacher=plain(2))
    distiller.compile("sgd", loss=lambda y, p: 7.0 + 0.0 * ops.sum(p, axis=-1), alpha=1.0)
    assert distiller.evaluate(X, Y, verbose=0, return_dict=True)["loss"] == pytest.approx(7)
    with pytest.raises(ModelError, match="one hard loss, got loss and student_loss_fn"):
        distiller.compile("sgd", loss="mse", student_loss_fn="mse")


MISFITS = {
    "MeanSquaredError": (lambda: Y, "must take class numbers, as .*, got mean_squared_error"),
    "CategoricalCrossentropy": (lambda: Y, "must take class numbers, .* got categorical_cross"),
    "SparseCategoricalCrossentropy": (lambda: np.eye(4)[Y], "must take labels that are a row"),
}


@pytest.mark.parametrize("name", MISFITS)
@pytest.mark.parametrize("field", ["loss", "student_loss_fn"])
@pytest.mark.parametrize("as_object", [False, True])
def test_a_loss_that_cannot_compare_such_labels_is_refused(
    name: str, field: str, as_object: bool
) -> None:
    """Keras stretches a class number over all classes, and learns nonsense without a word."""
    labels, rule = MISFITS[name]
    distiller = Distiller(student=plain(1), teacher=plain(2))
    loss = getattr(keras.losses, name)()
    distiller.compile("sgd", **{field: loss if as_object else loss.fn})
    for shaped in (labels(), labels().reshape(len(X), -1)):
        with pytest.raises(ModelError, match=f"{field} {rule}"):
            distiller.fit(X, shaped, verbose=0)


def test_without_a_loss_rows_over_the_classes_are_cross_entropy() -> None:
    labels = 0.8 * np.eye(4)[Y] + 0.05
    distiller = Distiller(student=plain(1), teacher=plain(2))
    distiller.compile("sgd", alpha=1.0)
    found = distiller.evaluate(X, labels, batch_size=16, verbose=0, return_dict=True)
    logits = plain(1).predict(X, verbose=0).astype(np.float64)
    log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert found["hard_loss"] == pytest.approx(-(labels * log).sum(axis=1).mean(), rel=1e-5)


@pytest.mark.parametrize(("at", "number"), [(0, 4), (40, 255), (47, 1.5)])
def test_labels_that_are_no_classes_are_refused_wherever_they_stand(at: int, number: float) -> None:
    labels = np.asarray(Y, np.float32).copy()
    labels[at] = number
    distiller = Distiller(student=plain(1), teacher=plain(2))
    distiller.compile("sgd")
    with pytest.raises(ModelError, match=f"numbers of 4 classes, 0 to 3, .*, got {number:g}"):
        distiller.fit(X, labels, verbose=0)
    if at == 0:
        with pytest.raises(ModelError, match="numbers of 4 classes"):
            distiller.fit(tf.data.Dataset.from_tensor_slices((X, labels)).batch(8), verbose=0)


def test_a_loss_of_probabilities_gets_the_students_probabilities() -> None:
    loss = keras.losses.SparseCategoricalCrossentropy()
    with pytest.warns(UserWarning, match="the student gives probabilities"):
        distiller = Distiller(student=ENDS["softmax layer"](1), teacher=plain(2))
    distiller.compile("sgd", student_loss_fn=loss, alpha=1.0)
    found = distiller.evaluate(X, Y, batch_size=48, verbose=0, return_dict=True)
    expected = loss(Y, distiller.student.predict(X, verbose=0))
    assert found["hard_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_truth_values_are_labels() -> None:
    found = []
    for labels in (Y % 2 == 0, (Y % 2 == 0).astype(int)):
        distiller = Distiller(student=plain(1), teacher=plain(2))
        distiller.compile("sgd", metrics=["accuracy"])
        found.append(distiller.evaluate(X, labels, verbose=0, return_dict=True))
    assert found[0] == found[1]


def test_what_is_exported_is_the_student(tmp_path: Path) -> None:
    distiller = Distiller(student=plain(1), teacher=plain(2))
    distiller.compile("sgd")
    distiller.fit(X, Y, verbose=0)
    distiller.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.serve(X), distiller.predict(X, verbose=0), atol=1e-5)


def test_shared_layers_and_other_inputs_are_refused_in_words() -> None:
    shared = layers.Dense(8, name="both")
    models = []
    for _ in range(2):
        inputs = keras.Input((6,))
        models.append(keras.Model(inputs, layers.Dense(4)(shared(inputs))))
    with pytest.raises(ModelError, match=r"must not share layers.* got both in both"):
        Distiller(student=models[0], teacher=models[1])
    assert models[0].trainable_variables, "nothing was frozen"
    models[1].trainable = False  # as many scripts do beforehand: the student's part is frozen by it
    with pytest.raises(ModelError, match=r"must not share layers.* or freeze these layers alone"):
        Distiller(student=models[0], teacher=models[1])
    other = keras.Sequential([keras.Input((7,)), layers.Dense(4)])
    with pytest.raises(
        ModelError, match="same inputs, got 6 for the teacher and 7 for the student"
    ):
        Distiller(student=other, teacher=plain(1))


def as_dataset() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)


class Batches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[NDArray, NDArray]:
        return X[16 * index : 16 * index + 16], Y[16 * index : 16 * index + 16]


def by_generator(distiller: Distiller) -> None:
    def batches():  # type: ignore[no-untyped-def]
        for _ in range(3):
            for index in range(3):
                yield X[16 * index : 16 * index + 16], Y[16 * index : 16 * index + 16]

    distiller.fit(batches(), epochs=3, steps_per_epoch=3, shuffle=False, verbose=0)


def on_batches(distiller: Distiller) -> None:
    for _ in range(3):
        for index in range(3):
            part = slice(16 * index, 16 * index + 16)
            distiller.train_on_batch(X[part], Y[part])


WAYS: dict[str, Callable[[Distiller], Any]] = {
    "tf.data": lambda distiller: distiller.fit(as_dataset(), epochs=3, shuffle=False, verbose=0),
    "PyDataset": lambda distiller: distiller.fit(Batches(), epochs=3, shuffle=False, verbose=0),
    "generator": by_generator,
    "train_on_batch": on_batches,
}


@pytest.mark.parametrize("way", list(WAYS))
def test_a_softmax_that_nobody_can_look_into_is_undone_however_data_comes(way: str) -> None:
    _, expected = trained(plain(1), plain(2))
    student = plain(1)
    distiller = Distiller(student=student, teacher=Subclassed(plain(2)))
    distiller.compile(keras.optimizers.SGD(0.1), alpha=0.3, temperature=3.0)
    with pytest.warns(UserWarning, match="the teacher gives probabilities"):
        WAYS[way](distiller)
    # No batch was lost to the look: the same student comes out.
    np.testing.assert_allclose(student.predict(X, verbose=0), expected, atol=1e-4)


def test_what_is_learnt_after_a_step_was_traced_is_traced_anew() -> None:
    def batches():  # type: ignore[no-untyped-def]
        while True:
            yield X[:16], Y[:16]

    student = plain(1)
    distiller = Distiller(student=student, teacher=Subclassed(plain(2)))
    distiller.compile(keras.optimizers.SGD(0.0), alpha=0.0, temperature=3.0)
    distiller.make_train_function()
    first = distiller.train_function(iter([(tf.constant(X[:16]), tf.constant(Y[:16]))]))
    with pytest.warns(UserWarning, match="gives probabilities"):
        history = distiller.fit(batches(), steps_per_epoch=1, shuffle=False, verbose=0).history
    found = history["soft_loss"][0]
    right, _ = trained_once(plain(1), plain(2))
    assert found == pytest.approx(right, rel=1e-4)
    assert float(first["soft_loss"]) != pytest.approx(right, rel=1e-2)


def trained_once(student: keras.Model, teacher: keras.Model) -> tuple[float, NDArray]:
    distiller = Distiller(student=student, teacher=teacher)
    distiller.compile(keras.optimizers.SGD(0.0), alpha=0.0, temperature=3.0)
    history = distiller.fit(X[:16], Y[:16], batch_size=16, verbose=0).history
    return history["soft_loss"][0], student.predict(X, verbose=0)


def test_probabilities_in_the_place_of_cached_logits_are_refused() -> None:
    probabilities = np.full((48, 4), 0.25, np.float32)
    distiller = Distiller(student=plain(1))
    distiller.compile("sgd")
    with pytest.raises(ModelError, match="teacher_logits must be logits, got probabilities"):
        distiller.fit(X, {"labels": Y, "teacher_logits": probabilities}, verbose=0)


def test_a_logit_between_0_and_1_is_no_probability_where_the_graph_says_so() -> None:
    small = net(lambda x: 0.5 + 0.01 * ops.tanh(x), 2, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distiller = Distiller(student=net(lambda x: x, 1, 1), teacher=small)
        distiller.compile("sgd", alpha=0.0)
        distiller.fit(X, (Y > 1).astype(np.float32), verbose=0)


def test_a_frozen_backbone_under_two_heads_is_what_it_is_meant_to_be() -> None:
    backbone = keras.Sequential([keras.Input((6,)), layers.Dense(8)], name="backbone")
    backbone.trainable = False
    models = []
    for _ in range(2):
        inputs = keras.Input((6,))
        models.append(keras.Model(inputs, layers.Dense(4)(backbone(inputs))))
    before = [np.asarray(weight) for weight in backbone.get_weights()]
    head = models[0].layers[-1].get_weights()
    distiller = Distiller(student=models[0], teacher=models[1])
    distiller.compile("adam")
    distiller.fit(X, Y, verbose=0)
    for was, now in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    assert not np.array_equal(head[0], models[0].layers[-1].get_weights()[0])


@pytest.mark.parametrize("labels", [np.eye(4)[[0, 1]] + np.eye(4)[[1, 2]], np.zeros((2, 4))])
@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_rows_of_several_classes_are_refused(labels: np.ndarray, kind: str) -> None:
    """Several sigmoids say of each class whether it is there; softened they would be nonsense."""
    x, y = np.random.default_rng(0).random((2, 6)).astype(np.float32), labels.astype(np.float32)
    student = keras.Sequential([keras.Input((6,)), layers.Dense(4, activation="sigmoid")])
    with pytest.warns(UserWarning, match="turned back into logits"):
        distiller = Distiller(student=student, teacher=plain(1))
    distiller.compile("adam", loss="binary_crossentropy")
    data = (x, y) if kind == "arrays" else (tf.data.Dataset.from_tensor_slices((x, y)).batch(2),)
    with pytest.raises(ModelError, match="must name one class a row, got rows that name"):
        distiller.fit(*data, verbose=0)


def test_rows_that_share_one_class_out_are_taken() -> None:
    """Label smoothing and mixtures."""
    y = 0.9 * np.eye(4)[np.asarray(Y).reshape(-1) % 4] + 0.025
    distiller = Distiller(student=plain(1), teacher=plain(2))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    distiller.compile("adam", loss=loss)
    assert np.isfinite(distiller.fit(X, y, verbose=0).history["loss"][0])
