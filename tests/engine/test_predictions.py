"""Questions to trained models through the store: a worker's answers are the models' own, whatever
is asked.
"""

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdcore.analysis.results import examples, logits
from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.jobs import run_job
from kdcore.engine.predictions import (
    answer,
    ask,
    forget_old,
    from_drawing,
    from_image,
    keep_warm,
    predict,
    ready,
    scaled,
    trained_models,
)
from kdcore.errors import ConfigError, StoreError
from kdcore.storage.schema import Job, Pool, Prediction
from kdcore.storage.store import Store

# Keras loads weights through NumPy's old protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class ThisProcess:
    """An engine that runs jobs in threads of this process, so that a test does not start another
    one.
    """

    def __init__(self, store: Store) -> None:
        self.store, self.threads = store, {}

    def submit(self, job_id: str) -> None:
        if job_id not in self.threads:
            self.threads[job_id] = threading.Thread(target=run_job, args=(self.store.url, job_id))
            self.threads[job_id].start()

    def cancel(self, job_id: str) -> None:
        self.store.request_stop(job_id)

    def close(self) -> None:
        for job_id, thread in self.threads.items():
            self.cancel(job_id)
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def engine(trained_store: Store) -> Iterator[ThisProcess]:
    engine = ThisProcess(trained_store)
    yield engine
    engine.close()


def test_answers_are_the_models_own_and_many_a_second(
    trained_store: Store, engine: ThisProcess
) -> None:
    store, experiment = trained_store, trained_store.experiments()[-1][0].id
    runs = trained_models(store, experiment, seed=1)
    assert list(runs) == ["teacher", "student", "baseline"]
    assert [runs["student"].seed, runs["baseline"].seed] == [1, 1]
    pictures = examples(store, runs["student"].summary["dataset"], "test")["images"][:20]
    inputs = scaled(dataset_card("digits"), pictures)
    inputs = np.rint(inputs * 16) / 16  # pictures have 256 levels, digits have 17
    said = predict(store, engine, [run.id for run in runs.values()], inputs)
    for run in runs.values():
        np.testing.assert_allclose(
            said.logits[run.id],
            logits(store, run, "test")[:20],
            atol=1e-4 if run.role != "teacher" else 0.2,
        )
        assert said.milliseconds[run.id] > 0
    job = keep_warm(store, engine)
    assert ready(job)
    assert len(engine.threads) == 1, "one worker for everybody"
    with store.reading() as session:
        assert session.get(Job, job.id).pool == Pool.ANSWERS, (
            "a worker of its own kind: training keeps its places"
        )


def test_a_question_that_cannot_be_answered_says_why_and_the_next_one_is(
    trained_store: Store, engine: ThisProcess
) -> None:
    store = trained_store
    student = trained_models(store, store.experiments()[-1][0].id)["student"]
    good = np.zeros((1, 8, 8, 1), np.float32)
    with pytest.raises(StoreError, match="run nothing has no model to ask"):
        predict(store, engine, ["nothing"], good)
    with pytest.raises(
        StoreError, match=r"the model takes inputs of shape \(8, 8, 1\), got \(5, 5, 1\)"
    ):
        predict(store, engine, [student.id], np.zeros((1, 5, 5, 1), np.float32))
    assert predict(store, engine, [student.id], good).logits[student.id].shape == (1, 10)


def test_the_worker_ends_when_nobody_asks_and_a_second_one_leaves_at_once(
    trained_store: Store, engine: ThisProcess
) -> None:
    store = trained_store
    first = keep_warm(store, engine, idle_seconds=1.5)
    while not ready(store.job(first.id)):
        time.sleep(0.02)
    second = store.add_job("predict", {"idle_seconds": 60.0})
    assert run_job(store.url, second) == "finished", "the first one answers"
    engine.threads[first.id].join(30)
    assert store.job(first.id).status == "finished"
    assert keep_warm(store, engine).id != first.id


def test_old_questions_are_forgotten(trained_store: Store) -> None:
    question = ask(trained_store, ["any"], np.zeros((1, 2), np.float32))
    assert answer(trained_store, question) is None
    with trained_store.writing() as session:
        session.get_one(Prediction, question).asked_at -= 100
    forget_old(trained_store)
    with pytest.raises(StoreError, match="no longer in the store"):
        answer(trained_store, question)


def test_no_worker_is_said_in_words(trained_store: Store) -> None:
    class Nobody(ThisProcess):
        def submit(self, job_id: str) -> None:
            pass

    with pytest.raises(StoreError, match=r"no worker has answered within 0\.05 seconds"):
        predict(
            trained_store,
            Nobody(trained_store),
            ["any"],
            np.zeros((1, 2), np.float32),
            patience=0.05,
        )


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_pictures_are_prepared_for_the_dataset(tmp_path: Path) -> None:
    digits, fashion, cifar = map(dataset_card, ("digits", "fashion_mnist", "cifar10"))
    page = np.full((100, 60), 255, np.uint8)
    page[20:80, 25:35] = 0
    ink = (255 - page).astype(np.float32) / 255
    np.testing.assert_array_equal(from_image(digits, png(page)), from_drawing(digits, ink))
    assert from_image(fashion, png(page)).shape == (1, 28, 28, 1)
    picture = from_image(cifar, png(page))
    assert picture.shape == (1, 32, 32, 3)
    assert (picture.min(), picture.max()) == (0, 1)
    for data, words in (
        (b"no picture", "image must be an image file that can be read"),
        (b"0" * 9_000_000, "image must be at most 8.0 MB, got 9.0 MB"),
    ):
        with pytest.raises(ConfigError, match=words):
            from_image(cifar, data)
    with pytest.raises(ConfigError, match="dataset must be digits"):
        from_drawing(fashion, ink)


def test_unknown_seeds_and_untrained_experiments_are_refused(trained_store: Store) -> None:
    experiment = trained_store.experiments()[-1][0].id
    with pytest.raises(ConfigError, match="seed must be one of 0, 1, got 9"):
        trained_models(trained_store, experiment, 9)
    config = trained_store.experiment(experiment).config
    untrained = trained_store.create(ExperimentConfig(**config))
    with pytest.raises(StoreError, match="has no trained model yet"):
        trained_models(trained_store, untrained)
