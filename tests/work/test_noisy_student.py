"""Noisy Student as a worker trains it: who saw what, and what a generation learned from."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from kdcore import models
from kdcore.analysis.pseudo_labels import mistakes_key, stored_mistakes
from kdcore.analysis.results import lineage, load_results, summary
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.data.languages import load as load_languages
from kdcore.errors import ModelError, StopRequested
from kdcore.models.noise import with_dropout, with_stochastic_depth
from kdcore.storage.arrays import unpack
from kdcore.storage.schema import Run
from kdcore.storage.store import Store
from kdcore.tasks.text import texts_of
from kdcore.training.evaluation import model_from_bytes, model_to_bytes
from kdcore.training.loop import Network, mixed_order
from kdcore.work import learners as work
from kdcore.work.experiment import run_experiment

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CONFIG = ExperimentConfig(
    plan="noisy-student",
    generations=2,
    confidence=0.0,
    labels=30,
    teacher="conv-4-8",
    student="conv-4-8",
    augmentation="shifts",
    teacher_epochs=4,
    epochs=3,
    seeds=2,
    training_examples=200,
    precision="float32",
)
STEPS = ["teacher", "generation 1", "student", "baseline"]


def answers_of(store: Store, run: Run) -> np.ndarray:
    key = store.artifact_used_by(run.id, "teacher_logits/")
    assert key is not None
    data = store.artifact(key)
    assert data is not None
    return unpack(data)


def weights_of(store: Store, run: Run) -> list[np.ndarray]:
    data = store.artifact(f"model/{run.id}")
    assert data is not None
    return model_from_bytes(data).get_weights()


def test_each_generation_learns_what_the_one_before_says_of_clean_examples(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[tuple[np.ndarray, np.ndarray]] = []
    original = work.make_targets

    def remember(role, labels, labelled, answers, features):  # type: ignore[no-untyped-def]
        made = original(role, labels, labelled, answers, features)
        if role == "student":
            taught.append((made["labels"], answers))
        return made

    monkeypatch.setattr(work, "make_targets", remember)
    config = CONFIG.replace(seeds=1)
    experiment = store.create(config)
    run_experiment(store, experiment)
    results = load_results(store, experiment)
    dataset = datasets.load(config)
    for (labels, answers), teacher in zip(taught, ("teacher", "generation 1"), strict=True):
        assert (labels >= 0).sum() == 30
        (run,) = results.runs_of_step(teacher)
        data = store.artifact(f"model/{run.id}")
        assert data is not None
        alone = Network(model_from_bytes(data), dataset.scale)
        # The trained model by itself, without dropout, on the images as they are.
        np.testing.assert_allclose(answers, alone.logits(dataset.train.inputs), atol=1e-4)
        np.testing.assert_array_equal(answers, answers_of(store, run))
    described = lineage(store, results)[1].pseudo_labels
    assert described is not None
    assert described["examples"] == 170
    (first,) = results.runs_of_step("generation 1")
    mistakes = stored_mistakes(store, first)
    assert mistakes is not None
    places = {int(row): place for place, row in enumerate(dataset.train.rows)}
    at = [places[int(row)] for row in mistakes["rows"]]
    np.testing.assert_array_equal(mistakes["labels"], dataset.train.labels[at])
    np.testing.assert_array_equal(mistakes["given"], taught[0][1][at].argmax(axis=1))
    assert (mistakes["given"] != mistakes["labels"]).all()
    assert (np.diff(mistakes["confidence"]) <= 0).all()
    assert mistakes["images"].shape == (len(at), 8, 8, 1)
    shown = mistakes["images"].astype(float) / 255
    np.testing.assert_allclose(shown, dataset.train.inputs[at] / 16, atol=0.01)
    said = summary(store, experiment)["confident_mistakes"]
    assert list(said) == ["generation 1", "student"]
    assert [each["row"] for each in said["generation 1"]] == mistakes["rows"].tolist()
    assert said["generation 1"][0]["true"] == str(mistakes["labels"][0])
    store.delete_artifacts(mistakes_key(first.id))  # as in a store of before they were kept
    assert list(summary(store, experiment)["confident_mistakes"]) == ["student"]


def test_mistakes_among_texts_are_shown_as_texts(store: Store) -> None:
    config = CONFIG.replace(
        dataset="languages", teacher="bag-16", student="bag-16", augmentation="none", seeds=1
    )
    experiment = store.create(config.replace(generations=1))
    run_experiment(store, experiment)
    (run,) = load_results(store, experiment).runs_of_step("student")
    mistakes = stored_mistakes(store, run)
    assert mistakes is not None
    raw = load_languages()
    originals = texts_of(raw.inputs[mistakes["rows"]])
    assert len(originals) == len(mistakes["images"]) > 0
    for shown, original in zip(mistakes["images"], originals, strict=True):
        # As models see them: in lower case, cut to what fits, without signs that are in no token.
        assert set(str(shown).split()[0]) <= set(original.lower()), (shown, original)


def test_nobody_saw_a_hidden_label(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.replace(seeds=1)
    first = store.create(config)
    run_experiment(store, first, reuse="none")
    dataset = datasets.load(config)
    rows = datasets.labelled_rows(dataset, 30, 0)
    wrong = (dataset.train.labels + 1) % 10
    wrong[rows] = dataset.train.labels[rows]
    lying = dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, labels=wrong))
    monkeypatch.setattr(datasets, "load", lambda _config: lying)
    # Which rows have a label is drawn a class; that draw is kept, all else is a lie.
    monkeypatch.setattr(datasets, "labelled_rows", lambda *_given: rows)
    second = store.create(config)
    run_experiment(store, second, reuse="none")
    for (_, run), (_, other) in zip(
        load_results(store, first).links, load_results(store, second).links, strict=True
    ):
        assert run.id != other.id
        for own, again in zip(weights_of(store, run), weights_of(store, other), strict=True):
            np.testing.assert_array_equal(own, again)


@pytest.mark.parametrize("network", ["conv-4-8", "resnet-8-2"])
def test_it_is_the_same_to_the_bit_after_stops_in_each_generation(
    store: Store, network: str
) -> None:
    config = CONFIG.replace(training_examples=100, teacher=network, student=network)
    whole, halting = store.create(config), store.create(config)
    run_experiment(store, whole, reuse="none")
    resumed = 0
    for allowed in (4, 9, None):
        left = [allowed]

        def check(left: list[int | None] = left) -> None:
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise StopRequested("stop")

        try:
            run_experiment(store, halting, reuse="none", check=check)
        except StopRequested:
            resumed += 1
    assert resumed == 2
    results = load_results(store, whole)
    assert list(results.steps) == STEPS
    again = load_results(store, halting)
    for (link, run), (_, other) in zip(results.links, again.links, strict=True):
        own, resumed_one = (store.artifact(f"logits/{each.id}/test") for each in (run, other))
        assert own == resumed_one, f"{link.step} of seed {link.seed}"

    found = summary(store, whole)
    assert set(found["gains_over_teachers"]) == {"generation 1", "student"}
    assert [len(found[step]["accuracy"]) for step in STEPS] == [2] * 4
    teacher = [each.summary["test_accuracy"] for each in results.runs_of_step("teacher")]
    student = [each.summary["test_accuracy"] for each in results.runs_of_step("student")]
    over = lineage(store, results)[-1].gain_over_first
    assert over is not None
    assert over.mean == pytest.approx(100 * (np.mean(student) - np.mean(teacher)))


def test_batches_hold_both_kinds_in_the_asked_ratio() -> None:
    labelled, unlabelled = np.arange(5), np.arange(100, 140)
    epochs = [mixed_order(labelled, unlabelled, 3, 64, 16, 0, epoch) for epoch in range(5)]
    batches = np.concatenate(epochs).reshape(-1, 16)
    assert len(batches) == 20
    assert set((batches < 100).sum(axis=1)) == {4}
    counts = np.bincount(batches[batches >= 100] - 100)
    assert counts.max() - counts.min() <= 1, "all come round as often as each other"
    np.testing.assert_array_equal(epochs[2], mixed_order(labelled, unlabelled, 3, 64, 16, 0, 2))


def test_dropout_changes_training_and_nothing_else() -> None:
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(32, activation="relu")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    noisy = with_dropout(model, 0.5, seed=1)
    examples = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
    np.testing.assert_array_equal(noisy(examples), model(examples))
    assert not np.allclose(noisy(examples, training=True), model(examples, training=True))
    assert with_dropout(model, 0.0, seed=1) is model
    chain = with_dropout(keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)]), 0.5, 0)
    assert chain(examples).shape == (8, 3)


def residual(blocks: int) -> keras.Model:
    """Return a network of blocks that add themselves to their input, one pixel to an example."""
    inputs = x = keras.Input((1, 1, 4))
    for _ in range(blocks):
        x = keras.layers.Add()([keras.layers.Conv2D(4, 1)(x), x])
    return keras.Model(inputs, x)


def test_a_block_is_left_out_for_some_examples_and_counts_more_for_the_others() -> None:
    model = residual(1)
    noisy = with_stochastic_depth(model, 0.75, seed=1)
    examples = np.random.default_rng(0).normal(size=(4000, 1, 1, 4)).astype(np.float32)
    plain, trained = np.asarray(model(examples)), np.asarray(noisy(examples, training=True))
    np.testing.assert_array_equal(noisy(examples), plain)
    out = np.isclose(trained, examples, atol=1e-6).all(axis=(1, 2, 3))
    assert 0.72 < out.mean() < 0.78
    block = plain - examples
    np.testing.assert_allclose(trained[~out], (examples + 4 * block)[~out], atol=1e-4)


def test_later_blocks_are_left_out_more_often() -> None:
    model = residual(3)
    noisy = with_stochastic_depth(with_dropout(model, 0.0, seed=1), 0.6, seed=1)
    rates = [each.rate for each in noisy.layers if isinstance(each, keras.layers.Dropout)]
    np.testing.assert_allclose(rates, [0.2, 0.4, 0.6])
    assert noisy.trainable_variables[0] is model.trainable_variables[0]
    assert with_stochastic_depth(model, 0.0, seed=1) is model
    chain = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)], name="chain")
    with pytest.raises(ModelError, match="needs a residual network, got chain"):
        with_stochastic_depth(chain, 0.2, seed=1)


def test_dropout_and_stochastic_depth_go_together_and_stay_out_of_the_answers() -> None:
    model = models.build("resnet-8-2", (8, 8, 1), 3, seed=0)
    noisy = with_stochastic_depth(with_dropout(model, 0.5, seed=1), 0.5, seed=1)
    names = [layer.name for layer in noisy.layers if layer.name.startswith("noise_")]
    assert sorted(names) == ["noise_depth_1", "noise_depth_2", "noise_depth_3", "noise_dropout"]
    examples = np.random.default_rng(0).normal(size=(8, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(noisy(examples), model(examples))
    first, second = (np.asarray(noisy(examples, training=True)) for _ in range(2))
    assert not np.allclose(first, second)
    kept = model_from_bytes(model_to_bytes(noisy))
    np.testing.assert_allclose(kept(examples), model(examples), atol=1e-6)
