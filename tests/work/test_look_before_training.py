"""A teacher that was brought is looked at before a student is trained with it."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from kdcore.analysis.results import load_results
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.jobs import run_job
from kdcore.errors import ConfigError, ModelError
from kdcore.storage import user_data
from kdcore.storage.store import Store, new_id
from kdcore.work.experiment import run_experiment

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def trained(low: float, high: float) -> keras.Model:
    """A model for digits that wants pixels between ``low`` and ``high``, and does not say so."""
    keras.utils.set_random_seed(0)
    digits = load_digits()
    pixels = (digits.images[..., None] / 16 * (high - low) + low).astype(np.float32)
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
    assert [seen["inputs"] for seen in examined["seen"]] == ["0 to 1", "0 to 255", "-1 to 1"]
    assert examined["examples"] == 270


def test_a_network_that_is_not_brought_has_no_values_to_choose() -> None:
    with pytest.raises(ConfigError, match="teacher_inputs must be checked, unless the teacher is"):
        ExperimentConfig(teacher_inputs="0 to 255")
