"""A file of answers teaches as the model would that gave them."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from kdcore.analysis.brought_teacher import looks
from kdcore.analysis.results import load_results, logits
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.data.readers.answers import Answers
from kdcore.engine.jobs import run_job
from kdcore.engine.predictions import trained_models
from kdcore.errors import ConfigError
from kdcore.models.answers import answers_model
from kdcore.storage import user_data, user_models
from kdcore.storage.store import Store, new_id
from kdcore.takeaway.downloads import FORMATS
from kdcore.takeaway.limits import limits
from kdcore.work.experiment import run_experiment

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def add(store: Store, path: Path, name: str, dataset: str = "digits") -> str:
    with path.open("rb") as file:
        upload = user_data.put_upload(store, new_id(), file)
    payload = {"upload": upload, "file_name": path.name, "name": name, "inputs": "auto"}
    job_id = store.add_job("model", payload | {"dataset": dataset})
    run_job(store.url, job_id)
    return store.job(job_id).error or ""


@pytest.fixture
def probabilities() -> np.ndarray:
    """What a model that was fitted on half of the digits says of all, as they are numbered."""
    digits = load_digits()
    fitted = LogisticRegression(max_iter=200).fit(digits.data[::2] / 16, digits.target[::2])
    return fitted.predict_proba(digits.data / 16)


def test_a_student_is_taught_by_a_file(
    store: Store, tmp_path: Path, probabilities: np.ndarray
) -> None:
    path = tmp_path / "llm.csv"
    pd.DataFrame(probabilities, columns=[str(n) for n in range(10)]).to_csv(path, index=False)
    assert add(store, path, "llm") == ""
    row = user_models.find(store, "llm")
    assert row is not None
    (seen,) = looks(store, row.key).values()
    assert seen.seen[0].accuracy > 0.9
    config = ExperimentConfig(teacher="llm", student="mlp-16", epochs=8, seeds=1, labels=50)
    done = store.create(config)
    run_experiment(store, done)
    results = load_results(store, done)
    (teacher,) = results.runs("teacher")
    # Its answers to the test examples are those of the file, by their rows.
    rows = datasets.load(config).test.rows
    found = keras.ops.softmax(logits(store, teacher, "test"))
    np.testing.assert_allclose(found, probabilities[rows], atol=1e-5)
    student, baseline = (results.accuracies(role)[0] for role in ("student", "baseline"))
    assert student > baseline
    assert set(limits(store, teacher.id)) == set(FORMATS)
    assert "teacher" not in trained_models(store, done), "it cannot be asked about a drawing"


def test_what_it_cannot_be_asked_for_is_refused_in_words(
    store: Store, tmp_path: Path, probabilities: np.ndarray
) -> None:
    path = tmp_path / "answers.npz"
    np.savez(path, probabilities=probabilities)
    assert add(store, path, "file") == ""
    for settings, words in (
        ({"augmentation": "shifts"}, "none with a file of answers"),
        ({"mixing": "mixup"}, "none with a file of answers"),
        ({"method": "attention"}, "no layers to look into"),
        ({"dataset": "mnist"}, "made for mnist"),
    ):
        with pytest.raises(ConfigError, match=words):
            ExperimentConfig(teacher="file", student="mlp-16", **settings)
    with pytest.raises(ConfigError, match="not a file that only answers"):
        ExperimentConfig(student="file")


def test_answers_that_do_not_fit_are_refused_when_they_are_added(
    store: Store, tmp_path: Path, probabilities: np.ndarray
) -> None:
    path = tmp_path / "short.npz"
    np.savez(path, probabilities=probabilities[:-3])
    assert "3 missing, the first for rows 1794, 1795, 1796" in add(store, path, "short")
    assert "dataset must be named" in add(store, path, "nameless", dataset="")


def test_an_unknown_example_has_no_answer_and_equal_ones_share_theirs() -> None:
    dataset = datasets.load_named("digits")
    count = len(dataset.train) + len(dataset.validation) + len(dataset.test)
    random = np.random.default_rng(0)
    given = random.normal(size=(count, 10)).astype(np.float32)
    model = answers_model(Answers(given, None, ""), dataset)
    seen = dataset.validation.inputs[:5].astype(np.float32) * np.float32(dataset.scale)
    np.testing.assert_allclose(model(seen), given[dataset.validation.rows[:5]], atol=1e-5)
    with pytest.raises(Exception, match="has none for this example"):
        model(seen + 0.1)
