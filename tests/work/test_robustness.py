"""Trained models are asked about the same worse images, and what they say is compared by seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_wine

from kdcore.analysis.contenders import contenders_named
from kdcore.analysis.robustness import gain, of_contender, read
from kdcore.config.experiment import ExperimentConfig, starting_config
from kdcore.data import datasets, ingest
from kdcore.data.corruptions import CORRUPTIONS, corrupt
from kdcore.engine.jobs import run_job
from kdcore.storage.store import Store
from kdcore.training.evaluation import model_from_bytes
from kdcore.work.experiment import run_experiment

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
CONFIG = ExperimentConfig(
    teacher="mlp-32", teacher_epochs=4, student="mlp-8", epochs=4, seeds=2, labels=100
)


def test_accuracies_are_those_of_the_worse_images(store: Store) -> None:
    experiment = store.create(CONFIG)
    run_experiment(store, experiment)
    teacher, student, baseline = contenders_named(store, experiment)
    runs = [run.id for each in (teacher, student, baseline) for run in each.trained]
    assert of_contender(store, student) is None
    job_id = store.add_job("robustness", {"run_ids": runs})
    assert run_job(store.url, job_id) == "finished"

    (run,) = teacher.trained
    dataset = datasets.load(CONFIG)
    images = dataset.test.inputs.astype(np.float32) / 16
    model = model_from_bytes(store.artifact(f"model/{run.id}") or b"")
    measured = read(store, run.id)
    assert measured is not None
    assert measured.clean == pytest.approx(run.summary["test_accuracy"])
    assert measured.examples == len(dataset.test)
    for name in CORRUPTIONS:
        answers = np.asarray(model(corrupt(images, name, 2))).argmax(axis=1)
        assert measured.corrupted[name][1] == pytest.approx(
            np.mean(answers == dataset.test.labels), abs=0.005
        )
    assert measured.mean < measured.clean

    one, two = of_contender(store, student), of_contender(store, baseline)
    assert one is not None
    assert two is not None
    assert set(one.by_seed) == {0, 1}
    paired = gain(one, two)
    assert paired is not None
    expected = [100 * (one.by_seed[seed] - two.by_seed[seed]) for seed in (0, 1)]
    assert paired.mean == pytest.approx(np.mean(expected))

    done = subprocess.run(
        [sys.executable, "-m", "kdcore", "robustness", experiment, "--json"],
        env={**os.environ, "KD_STORE": store.url},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said[f"{experiment}:student"]["mean"] == pytest.approx(one.mean)


def test_a_table_cannot_be_blurred(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "wine.csv"
    load_wine(as_frame=True).frame.to_csv(path, index=False)
    key = ingest.add(store, "wine", path).key
    experiment = store.create(
        starting_config(key).replace(epochs=1, teacher_epochs=1, seeds=1, student="mlp-4")
    )
    run_experiment(store, experiment)
    (run,) = [run.id for _, run in store.runs_of(experiment) if run.role == "student"]
    job_id = store.add_job("robustness", {"run_ids": [run]})
    assert run_job(store.url, job_id) == "failed"
    assert "dataset must be of images" in (store.job(job_id).error or "")
