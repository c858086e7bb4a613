"""A teacher that was brought is looked at before a student is trained with it."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits, load_wine

from kdcore.analysis.brought_teacher import looks
from kdcore.analysis.results import load_results
from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import ExperimentConfig, starting_config
from kdcore.data import ingest
from kdcore.engine.jobs import run_job
from kdcore.errors import ConfigError, ModelError
from kdcore.storage import user_data, user_models
from kdcore.storage.store import Store, new_id
from kdcore.storage.user_models import fit_in_words
from kdcore.work.experiment import run_experiment

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def trained(low: float, high: float, *, standardised: bool = False) -> keras.Model:
    """A model for digits that wants pixels between ``low`` and ``high``, or standardised, and does
    not say so.
    """
    keras.utils.set_random_seed(0)
    digits = load_digits()
    pixels = (digits.images[..., None] / 16 * (high - low) + low).astype(np.float32)
    if standardised:
        pixels = (pixels - pixels.mean()) / pixels.std()
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003 if high < 10 else 0.001), loss)
    model.fit(pixels, digits.target, epochs=8, verbose=0)
    return model


def added(store: Store, model: keras.Model, folder: Path, name: str) -> str:
    path = folder / "model.keras"
    model.save(path)
    with path.open("rb") as file:
        upload = user_data.put_upload(store, new_id(), file)
    payload = {"upload": upload, "file_name": "model.keras", "name": name, "inputs": "auto"}
    assert run_job(store.url, store.add_job("model", payload)) == "finished"
    return name


def experiment(teacher: str, **changes: object) -> ExperimentConfig:
    return ExperimentConfig(teacher=teacher, student="mlp-4", epochs=1, seeds=1, **changes)


@pytest.mark.parametrize(("low", "high", "inputs"), [(-1, 1, "-1 to 1"), (0, 255, "0 to 255")])
def test_a_teacher_that_does_better_with_other_values_is_not_trained_with_silently(
    store: Store, tmp_path: Path, low: float, high: float, inputs: str
) -> None:
    name = added(store, trained(low, high), tmp_path, "shifted")
    refused = store.create(experiment(name))
    with pytest.raises(
        ModelError, match=rf'right with values 0 to 1.*teacher-inputs\) to "{inputs}"'
    ):
        run_experiment(store, refused)
    (run,) = load_results(store, refused).runs("teacher")
    assert run.finished_at is None
    assert run.summary["examined"]["better"] == inputs
    assert not load_results(store, refused).runs("student"), "no student was begun"

    mended = store.create(experiment(name, teacher_inputs=inputs))
    run_experiment(store, mended)
    assert load_results(store, mended).accuracies("teacher")[0] > 0.9
    as_added = store.create(experiment(name, teacher_inputs="as added"))
    run_experiment(store, as_added)
    before = load_results(store, as_added).accuracies("teacher")[0]
    assert before < load_results(store, mended).accuracies("teacher")[0]


def test_a_teacher_that_is_right_is_used_and_what_was_seen_is_kept(
    store: Store, tmp_path: Path
) -> None:
    name = added(store, trained(0, 1), tmp_path, "right")
    done = store.create(experiment(name))
    run_experiment(store, done)
    (run,) = load_results(store, done).runs("teacher")
    examined = run.summary["examined"]
    assert examined["problem"] == ""
    assert [seen["inputs"] for seen in examined["seen"]] == [
        "0 to 1",
        "0 to 255",
        "-1 to 1",
        "standardised",
    ]
    assert examined["examples"] == 270


def test_a_network_that_is_not_brought_has_no_values_to_choose() -> None:
    with pytest.raises(ConfigError, match="teacher_inputs must be checked, unless the teacher is"):
        ExperimentConfig(teacher_inputs="0 to 255")


def test_a_model_is_looked_at_when_it_is_added_on_what_is_at_hand_and_fits(
    store: Store, tmp_path: Path
) -> None:
    added(store, trained(-1, 1), tmp_path, "shifted")
    row = user_models.find(store, "shifted")
    assert row is not None
    (found,) = looks(store, row.key).values()
    assert list(looks(store, row.key)) == ["digits"]
    assert found.better == "-1 to 1"
    assert "right with values 0 to 1" in str(found)
    assert "270 validation examples" in str(found)


def test_a_model_that_nothing_at_hand_fits_is_added_without_a_look(
    store: Store, tmp_path: Path
) -> None:
    inputs = keras.Input((5, 5, 1))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs)))
    added(store, model, tmp_path, "lonely")
    row = user_models.find(store, "lonely")
    assert row is not None
    assert looks(store, row.key) == {}
    job_id = store.add_job("look", {"model": row.key, "dataset": "digits"})
    assert run_job(store.url, job_id) == "failed"
    assert "answers for 3 classes, the data has 10" in (store.job(job_id).error or "")


def test_a_model_of_standardised_pixels_is_recognised(store: Store, tmp_path: Path) -> None:
    added(store, trained(0, 1, standardised=True), tmp_path, "standard")
    row = user_models.find(store, "standard")
    assert row is not None
    found = looks(store, row.key)["digits"]
    best = max(found.seen, key=lambda each: (each.accuracy, -each.log_loss))
    assert best.inputs == "standardised"


@pytest.fixture
def wine(store: Store, tmp_path: Path) -> str:
    """A table in its own units, in the store."""
    frame = load_wine(as_frame=True).frame
    path = tmp_path / "wine.csv"
    frame.to_csv(path, index=False)
    return ingest.add(store, "wine", path).key


def test_a_model_of_a_tables_own_units_is_recognised(
    store: Store, wine: str, tmp_path: Path
) -> None:
    """Trained on proline in mg and alcohol in percent: with standardised features it is lost."""
    keras.utils.set_random_seed(0)
    frame = load_wine(as_frame=True).frame
    raw, labels = frame.drop(columns="target").to_numpy(np.float32), frame["target"].to_numpy()
    model = keras.Sequential(
        [
            keras.Input((raw.shape[1],)),
            layers.Rescaling([float(1 / each) for each in raw.std(axis=0)]),
            layers.Dense(16, activation="relu"),
            layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss)
    model.fit(raw, labels, epochs=60, verbose=0)
    # The same network with its scaling hidden in the first layer's weights.
    bare = keras.Sequential(
        [keras.Input((raw.shape[1],)), layers.Dense(16, activation="relu"), layers.Dense(3)]
    )
    kernel, *rest = model.get_weights()
    bare.set_weights([kernel / raw.std(axis=0)[:, np.newaxis], *rest])
    added(store, bare, tmp_path, "in-units")
    row = user_models.find(store, "in-units")
    assert row is not None
    found = looks(store, row.key)[wine]
    assert found.better == "as in the file"
    assert {each.inputs: each.accuracy for each in found.seen}["as in the file"] > 0.9
    refused = store.create(starting_config(wine).replace(teacher="in-units", seeds=1, epochs=1))
    with pytest.raises(ModelError, match='teacher-inputs\\) to "as in the file"'):
        run_experiment(store, refused)
    mended = store.experiment(refused).config | {"teacher_inputs": "as in the file"}
    done = store.create(ExperimentConfig(**mended))
    run_experiment(store, done)
    assert load_results(store, done).accuracies("teacher")[0] > 0.9


def test_a_model_with_its_own_normalisation_is_given_a_tables_units(
    store: Store, wine: str, tmp_path: Path
) -> None:
    """What it learnt of the units would be applied to standardised features otherwise."""
    keras.utils.set_random_seed(0)
    frame = load_wine(as_frame=True).frame
    raw, labels = frame.drop(columns="target").to_numpy(np.float32), frame["target"].to_numpy()
    known = layers.Normalization()
    known.adapt(raw)
    model = keras.Sequential([keras.Input((raw.shape[1],)), known, layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss)
    model.fit(raw, labels, epochs=40, verbose=0)
    added(store, model, tmp_path, "normalised")
    row = user_models.find(store, "normalised")
    assert row is not None
    found = looks(store, row.key)[wine]
    assert found.problem == ""
    assert found.seen[0].inputs == "as in the file"
    assert found.seen[0].accuracy > 0.9
    words = fit_in_words(user_models.to_card(row), dataset_card(wine))
    assert "sees values as in the file (told by its own Normalization layer)" in words
