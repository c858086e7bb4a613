"""The feature maps that a method compares are kept for teacher, student and baseline."""

from __future__ import annotations

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from kdcore.analysis.attention import AttentionMaps, attention_of, latest_attention
from kdcore.analysis.results import load_results
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.storage.schema import Run
from kdcore.storage.store import Store
from kdcore.training.evaluation import model_from_bytes
from kdcore.training.taps import names_within
from kdcore.work.experiment import run_experiment

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PLAIN = ExperimentConfig(
    training_examples=200,
    teacher="conv-8-8",
    teacher_epochs=2,
    student="conv-2-4",
    epochs=3,
    seeds=1,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a teacher that was trained where nobody looked, and two students of it."""
    file: Path = tmp_path_factory.mktemp("maps") / "store.db"
    store = Store(f"sqlite:///{file}")
    for config, looked_at in (
        (PLAIN, False),
        (PLAIN.replace(temperature=2.0), True),
        (PLAIN.replace(method="attention"), True),
        (PLAIN.replace(method="hints"), True),
        (PLAIN.replace(teacher="mlp-16"), False),
        (PLAIN.replace(teacher="mlp-16", temperature=2.0), True),
    ):
        name = f"{config.teacher} {config.method.describe()}"
        run_experiment(
            store, store.create(config, name=name), reuse="teacher", keeps_attention=looked_at
        )
    return store


def runs(store: Store, name: str) -> dict[str, Run]:
    experiment = next(each.id for each, _ in store.experiments() if each.name.startswith(name))
    results = load_results(store, experiment)
    return {role: results.runs(role)[0] for role in ("teacher", "student", "baseline")}


def last(store: Store, run: Run) -> AttentionMaps:
    found = latest_attention(store, run.id)
    assert found is not None
    return found[1]


def strengths(store: Store, run: Run, layer: str) -> NDArray[np.float64]:
    """Return the mean over channels of F², with the sum 1, of the model as it was kept."""
    model = model_from_bytes(store.artifact(f"model/{run.id}") or b"")
    dataset = datasets.load(PLAIN)
    images = dataset.probe.inputs.astype(np.float32) * np.float32(dataset.scale)
    tapped = keras.Model(model.inputs[0], model.get_layer(names_within(model)[layer]).output)
    squares = np.asarray(tapped(images), np.float64) ** 2
    maps = squares.mean(axis=-1)
    return np.asarray(maps / maps.sum(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize("method", ["attention transfer", "hints"])
def test_each_keeps_the_maps_of_the_layers_that_are_compared(store: Store, method: str) -> None:
    trained = runs(store, f"conv-8-8 {method}")
    pairs = [pair.split(":") for pair in last(store, trained["student"]).layers]
    assert pairs
    for of_teacher, of_student in pairs:
        of_pair = f"{of_teacher}:{of_student}"
        for role, key, layer in (
            ("teacher", of_teacher, of_teacher),
            ("student", of_pair, of_student),
            ("baseline", of_pair, of_student),
        ):
            kept = last(store, trained[role]).layers[key]
            expected = strengths(store, trained[role], layer)
            np.testing.assert_allclose(kept, expected, rtol=2e-3, atol=1e-4)


def test_a_students_maps_are_kept_epoch_by_epoch(store: Store) -> None:
    student = runs(store, "conv-8-8 attention transfer")["student"]
    by_epoch = [attention_of(store, student.id, epoch) for epoch in range(4)]
    maps = [next(iter(each.layers.values())) for each in by_epoch if each is not None]
    assert len(maps) == 4
    assert all(not np.allclose(a, b, atol=1e-3) for a, b in itertools.pairwise(maps))


def test_other_methods_keep_no_maps_of_pairs(store: Store) -> None:
    assert last(store, runs(store, "conv-8-8 α 0.1 · T 2")["student"]).layers == {}


def test_a_teacher_that_was_trained_where_nobody_looked_is_looked_at_later(store: Store) -> None:
    found = last(store, runs(store, "conv-8-8 α 0.1 · T 2")["teacher"])
    assert found.maps["feature maps"].shape[0] == 64
    of_nothing = last(store, runs(store, "mlp-16 α 0.1 · T 2")["teacher"])
    assert of_nothing.maps == {}, "a dense network has no places to look at, and is not asked again"
