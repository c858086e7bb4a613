"""Workers train alike whatever a user's Keras is set to, and say why where they cannot start."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdcore.analysis.results import load_results
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.local import MOST_FAILED_STARTS, LocalEngine
from kdcore.storage.schema import Job, JobStatus, Pool
from kdcore.storage.store import Store
from tests.support.workers import end_workers

TINY = ExperimentConfig(
    teacher="conv-4-4",
    student="mlp-4",
    teacher_epochs=1,
    epochs=1,
    seeds=1,
    training_examples=100,
    labels=50,
)


@pytest.fixture
def engine(store: Store) -> Iterator[LocalEngine]:
    engine = LocalEngine(store, workers=1, idle_seconds=2.0)
    yield engine
    end_workers(store)
    for started in engine._started:
        started.process.wait()


def finish(engine: LocalEngine, job_id: str) -> JobStatus:
    while (status := JobStatus(engine.store.job(job_id).status)).live:
        engine.tend()
        time.sleep(0.1)
    return status


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
@pytest.mark.parametrize(
    "settings",
    [
        {"backend": "jax", "floatx": "float32", "image_data_format": "channels_last"},
        {"backend": "torch", "floatx": "float16", "image_data_format": "channels_first"},
    ],
    ids=["jax", "torch, float16, channels first"],
)
def test_a_users_keras_json_changes_nothing(
    engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", settings["backend"])
    experiment = engine.store.create(TINY)
    engine.submit(experiment)
    assert finish(engine, experiment) is JobStatus.FINISHED
    summary = load_results(engine.store, experiment).runs("teacher")[0].summary
    assert "tensorflow" in summary["versions"]


def test_workers_that_cannot_start_are_few_and_say_why(
    engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "tensorflow"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ImportError('libtensorflow is broken here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started: list[object] = []
    start = LocalEngine._start_worker
    monkeypatch.setattr(
        LocalEngine, "_start_worker", lambda self, pool: (started.append(pool), start(self, pool))
    )
    elsewhere = engine.store.add_job("speed", {"speed": "of a sweep"})
    with engine.store.writing() as session:  # for a kind of worker that only others have
        session.get_one(Job, elsewhere).pool = Pool.THREAD.value
        session.get_one(Job, elsewhere).held = True
    experiment = engine.store.create(TINY)
    engine.submit(experiment)
    assert finish(engine, experiment) is JobStatus.STOPPED
    job = engine.store.job(experiment)
    assert "libtensorflow is broken here" in (job.error or "")
    assert "no worker could start, tried 3 times" in (job.error or "")
    assert len(started) == MOST_FAILED_STARTS
    assert JobStatus(job.status).resumable
    assert engine.store.job(elsewhere).status == JobStatus.QUEUED.value
    engine.warm()
    assert len(started) == MOST_FAILED_STARTS, "also to keep one warm"
