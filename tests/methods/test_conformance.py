"""What every registered method keeps to, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kdcore import Distiller, models
from kdcore.analysis.results import load_results, logits
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import StopRequested
from kdcore.methods import METHODS
from kdcore.storage.store import Store
from kdcore.training import kept_loops
from kdcore.training.loop import Loop
from kdcore.training.method_loss import MethodLoss, method_losses
from kdcore.work.experiment import run_experiment

# Keras 3.15 converts variables in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FROM_CROSS_ENTROPY = ("distillation_token", "hard_labels", "label_smoothing", "pseudo_labels")
SHAPE, CLASSES = (8, 8, 1), 10
# SGD, whose step is traced in half the time of Adam's.
TINY = {
    "teacher": "conv-8-8",
    "teacher_epochs": 1,
    "student": "conv-4-4",
    "training_examples": 70,
    "labels": 40,
    "batch_size": 32,
    "epochs": 2,
    "seeds": 1,
    "optimizer": "sgd",
}


@pytest.fixture(autouse=True)
def no_loops_kept() -> Iterator[None]:
    kept_loops._kept.clear()
    yield
    kept_loops._kept.clear()


@pytest.fixture(params=sorted(METHODS))
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def student_for(method: str) -> str:
    """A small student that a method can teach."""
    return "deit-1-16" if METHODS[method].student_example else "conv-4-4"


def networks(student: str = "conv-4-4") -> tuple[keras.Model, keras.Model]:
    return (
        models.build("conv-8-8", SHAPE, CLASSES, seed=1),
        models.build(student, SHAPE, CLASSES, seed=2),
    )


def batch(rows: int = 16) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, rows).astype(np.int32)
    labels[::3] = -1  # rows without a label
    return random.normal(size=(rows, *SHAPE)).astype(np.float32), labels


def compiled(method: str, teacher: keras.Model | None, student: keras.Model) -> Distiller:
    made = METHODS[method]()
    distiller = Distiller(student=student, teacher=teacher)
    distiller.compile(
        optimizer=keras.optimizers.SGD(1e-2, momentum=0.9),
        alpha=getattr(made, "alpha", 0.0),
        distillation_loss=method_losses(made, teacher, student),
    )
    return distiller


def test_its_words_are_there(method: str) -> None:
    card = METHODS[method]
    assert card.title
    assert card.summary.endswith(".")
    assert card.equation
    assert card.paper
    assert str(card.needs).endswith(".")
    assert {curve.name for curve in card.curves}.isdisjoint({"loss", "hard_loss", "soft_loss"})


def test_it_is_zero_where_teacher_and_student_agree_if_it_says_so(method: str) -> None:
    card = METHODS[method]
    if not card.zero_at_agreement:
        assert method in FROM_CROSS_ENTROPY, "it is a cross-entropy"
        return
    inputs, labels = batch()
    teacher = models.build("conv-8-8", SHAPE, CLASSES, seed=1)
    student = models.build("conv-8-8", SHAPE, CLASSES, seed=1)
    distiller = compiled(method, teacher, student)
    logs = distiller.test_step((inputs, labels))
    assert float(logs["soft_loss"]) == pytest.approx(0.0, abs=1e-5)


def test_the_teacher_does_not_move_and_the_student_does(method: str) -> None:
    inputs, labels = batch()
    teacher, student = networks(student_for(method))
    before, start = teacher.get_weights(), student.get_weights()
    compiled(method, teacher, student).fit(inputs, labels, epochs=2, verbose=0)
    for ours, theirs in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    moved = [not np.array_equal(a, b) for a, b in zip(start, student.get_weights(), strict=True)]
    assert all(moved)


def test_cached_answers_teach_what_the_live_teacher_teaches(method: str) -> None:
    if METHODS[method].needs.teacher == "features":
        return  # tests/training/test_teacher_features.py
    inputs, labels = batch()
    teacher, student = networks(student_for(method))
    answers = teacher.predict(inputs, verbose=0)
    live = compiled(method, teacher, student)
    live.fit(inputs, labels, epochs=3, shuffle=False, verbose=0)
    _, twin = networks(student_for(method))
    cached = compiled(method, None, twin)
    targets = {"labels": labels, "teacher_logits": answers}
    cached.fit(inputs, targets, epochs=3, shuffle=False, verbose=0)
    for ours, theirs in zip(student.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_gradients_are_finite_for_logits_of_any_size(method: str, size: float) -> None:
    made = METHODS[method]()
    labels = tf.constant([0, 1, 2, -1, 4, 5, 6, 7])
    for number, term in enumerate(made.terms()):
        shape = [8, CLASSES] if term.on == "logits" else [8, 4, 4, 6]
        drawn = [size * tf.random.stateless_normal(shape, (0, seed)) for seed in (1, 2)]
        if term.on == "logits":
            drawn = [size * tf.sign(each) for each in drawn]
        loss = MethodLoss(made, number)
        loss.build(*(each.shape for each in drawn))
        student_outputs = tf.Variable(drawn[1])
        with tf.GradientTape() as tape:
            value = loss.compute_loss(drawn[0], student_outputs, labels=labels)
        assert np.isfinite(float(value)), number
        assert np.isfinite(tape.gradient(value, student_outputs).numpy()).all(), number


def test_it_trains_in_keras_own_distiller(method: str) -> None:
    if METHODS[method].needs.teacher == "nothing":
        return  # there is nothing to distil
    inputs, labels = batch()
    teacher, student = networks(student_for(method))
    start = student.get_weights()
    distiller = keras.distillation.Distiller(
        teacher,
        student,
        method_losses(METHODS[method](), teacher, student),
        student_loss_weight=0.5,
    )
    distiller.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = distiller.fit(inputs, np.maximum(labels, 0), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert not all(np.array_equal(a, b) for a, b in zip(start, student.get_weights(), strict=True))


# --- In experiments ---


def experiment(method: str) -> ExperimentConfig:
    """A tiny experiment; of dense layers, which are compiled faster, where no maps are needed."""
    dense = {"teacher": "mlp-8", "student": "mlp-4"}
    if METHODS[method].needs.images:
        dense = {"student": student_for(method)}
    return ExperimentConfig(**{**TINY, **dense}, method=method)


def answers(store: Store, experiment: str) -> np.ndarray:
    return logits(store, load_results(store, experiment).runs("student")[0], "test")


def test_a_stopped_run_ends_where_an_unstopped_one_ends_to_the_bit(
    method: str, store: Store
) -> None:
    config = experiment(method)
    whole = store.create(config)
    run_experiment(store, whole, reuse="teacher")
    stopped = store.create(config)
    calls = 0

    def stop() -> None:
        nonlocal calls
        students = [run for link, run in store.runs_of(stopped) if link.role == "student"]
        calls += bool(students)
        if calls == 3:
            raise StopRequested("now")

    with pytest.raises(StopRequested):
        run_experiment(store, stopped, reuse="teacher", check=stop)
    (student,) = [run for link, run in store.runs_of(stopped) if link.role == "student"]
    assert store.artifact(f"checkpoint/{student.id}") is not None, "it was stopped on the way"
    run_experiment(store, stopped, reuse="teacher")
    np.testing.assert_array_equal(answers(store, stopped), answers(store, whole))


def test_a_kept_loop_ends_where_a_new_one_ends_to_the_bit(
    method: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = experiment(method)
    changed: dict[str, Any] = {"seed": 5, "learning_rate": 0.01}
    if "temperature" in METHODS[method].model_fields:
        changed["temperature"] = 3.0
    second = first.replace(**changed)
    anew = store.create(second)
    run_experiment(store, anew, reuse="teacher")
    kept_loops._kept.clear()
    run_experiment(store, store.create(first), reuse="teacher")
    traced: list[Loop] = []
    whole = Loop._run
    monkeypatch.setattr(
        Loop, "_run", lambda self, *given: (traced.append(self), whole(self, *given))[1]
    )
    again = store.create(second)
    run_experiment(store, again, reuse="teacher")
    assert not traced, "neither student nor baseline is compiled once more"
    np.testing.assert_array_equal(answers(store, again), answers(store, anew))
