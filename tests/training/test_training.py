"""The loop that trains several models in step: the same steps as Keras' fit, to be stopped and
resumed to the bit.
"""

from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdcore import models
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.errors import StopRequested, StoreError, TrainingError
from kdcore.storage.schema import Run
from kdcore.storage.store import Store
from kdcore.training.callbacks import MetricStream
from kdcore.training.distiller import Distiller
from kdcore.training.loop import (
    Learner,
    Loop,
    Network,
    baseline_order,
    student_order,
    train_together,
)
from kdcore.training.trainer import DistillationTrainer, Trainer

EXAMPLES, BATCH = 200, 32
STEPS = -(-EXAMPLES // BATCH)


@pytest.fixture(scope="module")
def data() -> datasets.Dataset:
    return datasets.load(ExperimentConfig(training_examples=EXAMPLES))


@pytest.fixture(scope="module")
def teacher_logits(data: datasets.Dataset) -> np.ndarray:
    teacher = models.build("mlp-32", data.input_shape, data.classes, seed=9)
    return Network(teacher, data.scale).logits(data.train.inputs)


def plain(
    data: datasets.Dataset, seed: int = 0, name: str = "conv-4-8", learning_rate: float = 3e-3
) -> Learner:
    """A learner on all true labels."""
    network = Network(models.build(name, data.input_shape, data.classes, seed=seed), data.scale)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    network.model.compile(
        optimizer=keras.optimizers.Adam(learning_rate), loss=loss, metrics=[accuracy]
    )
    order = partial(student_order, EXAMPLES, seed)
    return Learner(
        "plain",
        Loop(Trainer(network.model), network.scale),
        network,
        data.train.inputs,
        data.train.labels,
        order,
        BATCH,
        STEPS,
    )


def distilled(
    data: datasets.Dataset, logits: np.ndarray, alpha: float, labels: np.ndarray | None = None
) -> Learner:
    """A learner on labels and cached logits, from the same start as ``plain``."""
    network = Network(models.build("conv-4-8", data.input_shape, data.classes, seed=0), data.scale)
    trainer = Distiller(student=network.model)
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    trainer.compile(
        optimizer=keras.optimizers.Adam(3e-3), metrics=[accuracy], alpha=alpha, temperature=4.0
    )
    targets = {"labels": data.train.labels if labels is None else labels, "teacher_logits": logits}
    order = partial(student_order, EXAMPLES, 0)
    return Learner(
        "distilled",
        Loop(DistillationTrainer(trainer), network.scale),
        network,
        data.train.inputs,
        targets,
        order,
        BATCH,
        STEPS,
    )


def weights(learner: Learner) -> list[np.ndarray]:
    return learner.network.model.get_weights()


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


class Logs(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[dict] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epochs.append(dict(logs or {}))


def test_the_loop_takes_the_same_steps_as_fit(data: datasets.Dataset) -> None:
    logs = Logs()
    learner = plain(data)
    learner.callbacks = [logs]
    train_together([learner], 3)
    reference = plain(data)
    inputs = data.train.inputs.astype(np.float32) * np.float32(data.scale)
    history = []
    for epoch in range(3):
        rows = student_order(EXAMPLES, 0, epoch)
        fit = reference.network.model.fit(
            inputs[rows], data.train.labels[rows], BATCH, shuffle=False, verbose=0
        )
        history.append({name: values[0] for name, values in fit.history.items()})
    for ours, theirs in zip(weights(learner), weights(reference), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)
    for ours, theirs in zip(logs.epochs, history, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4), (
            "epoch metrics are means over the epoch"
        )
        assert ours["accuracy"] == pytest.approx(theirs["accuracy"], abs=1e-6)


def test_alpha_one_is_the_baseline_to_the_bit(
    data: datasets.Dataset, teacher_logits: np.ndarray
) -> None:
    student, baseline = distilled(data, teacher_logits, alpha=1.0), plain(data)
    assert same(weights(student), weights(baseline)), "both start from the same weights"
    train_together([student, baseline], 3)
    assert same(weights(student), weights(baseline))


def test_alpha_zero_ignores_the_labels(data: datasets.Dataset, teacher_logits: np.ndarray) -> None:
    wrong = np.random.default_rng(0).permutation(data.train.labels)
    pair = [
        distilled(data, teacher_logits, 0.0),
        distilled(data, teacher_logits, 0.0, labels=wrong),
    ]
    train_together(pair, 2)
    assert same(weights(pair[0]), weights(pair[1]))


def test_in_between_both_parts_count(data: datasets.Dataset, teacher_logits: np.ndarray) -> None:
    ends = [distilled(data, teacher_logits, alpha) for alpha in (0.0, 0.5, 1.0)]
    train_together(ends, 1)
    assert not same(weights(ends[0]), weights(ends[1]))
    assert not same(weights(ends[1]), weights(ends[2]))


def test_advancing_together_changes_nothing(
    data: datasets.Dataset, teacher_logits: np.ndarray
) -> None:
    together = [distilled(data, teacher_logits, 0.3), plain(data)]
    train_together(together, 2)
    alone = [distilled(data, teacher_logits, 0.3), plain(data)]
    for learner in alone:
        train_together([learner], 2)
    assert same(weights(together[0]), weights(alone[0]))
    assert same(weights(together[1]), weights(alone[1]))


@pytest.mark.parametrize("stop_at", [3, STEPS, 2 * STEPS + 1])
def test_stopped_and_resumed_equals_never_stopped(
    data: datasets.Dataset, teacher_logits: np.ndarray, stop_at: int
) -> None:
    whole = distilled(data, teacher_logits, 0.3)
    train_together([whole], 3)
    first, saved = distilled(data, teacher_logits, 0.3), {}
    first._chunk_steps = 1

    def stop() -> None:
        first._chunk_steps = 1
        if first.step >= stop_at:
            raise StopRequested("stop")

    with pytest.raises(StopRequested):
        train_together([first], 3, on_chunk=stop, save=saved.update)
    second = distilled(data, teacher_logits, 0.3)
    second.restore(saved["distilled"])
    assert second.step == stop_at
    train_together([second], 3)
    assert same(weights(whole), weights(second))
    assert same(
        [np.asarray(variable) for variable in whole.model.optimizer.variables],
        [np.asarray(variable) for variable in second.model.optimizer.variables],
    )


def test_a_checkpoint_of_another_model_is_refused(data: datasets.Dataset) -> None:
    with pytest.raises(StoreError, match="another model"):
        plain(data, name="mlp-8-8-8").restore(plain(data).checkpoint())


@given(
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))),
    st.integers(1, 16),
    st.integers(0, 3),
)
@settings(deadline=None, max_examples=100)
def test_the_baseline_sees_full_batches_of_labelled_examples_only(
    sizes: tuple[int, int], batch: int, epoch: int
) -> None:
    examples, count = sizes
    labelled = np.sort(np.random.default_rng(1).permutation(examples)[:count])
    rows = baseline_order(labelled, examples, batch, 0, epoch)
    assert set(rows) <= set(labelled)
    if count == examples:
        assert np.array_equal(rows, student_order(examples, 0, epoch)), "the very same batches"
        return
    assert len(rows) == -(-examples // batch) * batch, (
        "as many steps as the student, each a full batch"
    )
    seen = np.concatenate(
        [baseline_order(labelled, examples, batch, 0, past) for past in range(epoch + 1)]
    )
    counts = np.bincount(seen, minlength=examples)[labelled]
    assert counts.max() - counts.min() <= 1, "every labelled example equally often"


def test_orders_are_permutations_that_differ_by_epoch_and_seed() -> None:
    orders = [tuple(student_order(50, seed, epoch)) for seed in range(3) for epoch in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(orders)) == 9


def streamed(
    store: Store,
    learner: Learner,
    *more: keras.callbacks.Callback,
    seconds_between_points: float = 0.0,
) -> MetricStream:
    """Give a learner the callback that streams to a run of the store."""
    from kdcore.training.evaluation import ValidationProbe

    config = ExperimentConfig(training_examples=EXAMPLES)
    experiment = store.create(config)
    run = Run(
        id=learner.run_id,
        fingerprint="f" * 32,
        role="student",
        seed=0,
        model="m",
        config={},
        experiment_id=experiment,
        created_at=0.0,
    )
    store.claim_run(run, experiment, share=False)
    stream = MetricStream(
        store,
        learner.run_id,
        steps_per_epoch=STEPS,
        batch_size=BATCH,
        evaluator=ValidationProbe(learner.network, datasets.load(config)),
        seconds_between_points=seconds_between_points,
    )
    learner.callbacks = [stream, *more]
    learner._chunk_steps = 1
    return stream


def test_the_stream_holds_exact_means_validation_and_probes(
    data: datasets.Dataset, teacher_logits: np.ndarray, tmp_path
) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    learner = distilled(data, teacher_logits, 0.3)
    logs = Logs()
    streamed(store, learner, logs)
    train_together([learner], 2)
    points = store.metrics(["distilled"])
    assert set(points["split"]) == {"train", "validation", "epoch"}
    epochs = points[points["split"] == "epoch"]
    for measure in ("loss", "hard_loss", "soft_loss", "accuracy"):
        assert epochs[measure].to_list() == pytest.approx(
            [epoch[measure] for epoch in logs.epochs], rel=1e-6
        )
    assert np.allclose(
        epochs["loss"], 0.3 * epochs["hard_loss"] + 0.7 * epochs["soft_loss"], rtol=1e-5
    )
    train = points[(points["split"] == "train") & (points["epoch"] <= 1)]
    sizes = np.diff([0, *np.minimum(train["step"] * BATCH, EXAMPLES)])
    assert np.average(train["loss"], weights=sizes) == pytest.approx(
        epochs["loss"].iloc[0], rel=1e-5
    ), "the means since the last point make up the epoch's mean"
    assert train["learning_rate"].to_list() == pytest.approx([3e-3] * len(train))
    validation = points[points["split"] == "validation"].iloc[-1]
    logits = learner.network.logits(data.validation.inputs)
    assert validation["accuracy"] == pytest.approx(
        np.mean(logits.argmax(1) == data.validation.labels)
    )
    probes, _ = store.probes(["distilled"])
    assert [epoch for _, epoch, _ in probes] == [1, 2]
    assert np.array_equal(probes[-1][2], learner.network.logits(data.probe.inputs))


def test_the_stream_also_serves_plain_fit(data: datasets.Dataset, tmp_path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    learner = plain(data)
    stream = streamed(store, learner)
    inputs = data.train.inputs.astype(np.float32) * np.float32(data.scale)
    learner.network.model.fit(
        inputs, data.train.labels, BATCH, epochs=2, verbose=0, callbacks=[stream]
    )
    points = store.metrics(["plain"])
    assert points[points["split"] == "epoch"]["step"].to_list() == [STEPS, 2 * STEPS]
    assert points[points["split"] == "train"]["loss"].notna().all()


def test_points_are_throttled_by_time(data: datasets.Dataset, tmp_path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    learner = plain(data)
    streamed(store, learner, seconds_between_points=3600.0)
    train_together([learner], 2)
    assert "train" not in set(store.metrics(["plain"])["split"])


def test_a_loss_that_is_not_finite_ends_training_in_words(data: datasets.Dataset, tmp_path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    learner = plain(data, learning_rate=1e30)
    streamed(store, learner)
    saved: dict[str, bytes] = {}
    with pytest.raises(
        TrainingError,
        match=r"the loss of .* became (nan|inf) at step .* learning rate below 1e\+30",
    ):
        train_together([learner], 5, save=saved.update)
    assert not saved, "weights that are not finite are no checkpoint"
