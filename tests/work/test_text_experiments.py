"""An experiment on texts from config to answers: nobody sees a hidden label, a stop resumes to the
bit, and what is typed is answered with the vocabulary of the training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kdcore.analysis import results
from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.engine.jobs import run_job
from kdcore.engine.predictions import from_text, vocabulary_of
from kdcore.errors import ConfigError, DatasetError, TrainingError
from kdcore.storage import user_models
from kdcore.storage.store import Store
from kdcore.tasks.vocabulary import Vocabulary
from kdcore.work.outcome import run
from tests.support.stops import assert_goes_on_to_the_bit

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def config(**changed: Any) -> ExperimentConfig:
    return ExperimentConfig(
        **{
            "dataset": "languages",
            "training_examples": 1500,
            "labels": 150,
            "teacher": "transformer-1-32",
            "student": "bag-16",
            "teacher_epochs": 2,
            "epochs": 2,
            "seeds": 1,
            "batch_size": 50,
            **changed,
        }
    )


def test_parts_are_those_of_the_source_and_the_vocabulary_that_of_the_training_part() -> None:
    from kdcore.data.languages import phrases

    dataset, found = datasets.load_named("languages"), phrases()
    card = dataset_card("languages")
    for name in ("train", "validation", "test"):
        part = getattr(dataset, name)
        assert (found.parts[part.rows] == name).all()
        assert len(part) == getattr(card, f"{name if name != 'train' else 'training'}_examples")
    vocabulary = dataset.vocabulary
    assert vocabulary is not None
    row = 7
    written = [found.texts[dataset.test.rows[row]]]
    np.testing.assert_array_equal(vocabulary.encode(written)[0], dataset.test.inputs[row])
    few = datasets.load_named("languages", 0, 300)
    assert few.vocabulary is not None
    assert few.vocabulary.size < vocabulary.size, "learnt from fewer phrases"
    np.testing.assert_array_equal(few.test.rows, dataset.test.rows)


def test_a_version_of_another_babel_is_shown_and_refused_for_training() -> None:
    old = "languages@0000000000"
    assert dataset_card(old).class_names == dataset_card("languages").class_names
    assert ExperimentConfig(**{**config().model_dump(), "dataset": "languages"}).dataset == (
        dataset_card("languages").key
    )
    with pytest.raises(DatasetError, match="train anew on languages"):
        datasets.load_named(old)


def test_it_learns_and_what_is_typed_is_answered_by_its_vocabulary(store: Store) -> None:
    outcome = run(config(teacher_epochs=4), store=store, progress=False)
    (teacher,) = outcome.accuracies("teacher")
    assert teacher > 3 / 15
    key = outcome.results.experiment.dataset_key
    assert key is not None
    shown = results.examples(store, key, "test")
    assert shown["images"].dtype.kind == "U"
    text = str(shown["images"][0])
    inputs = from_text(vocabulary_of(store, key), [text, text.upper()])
    np.testing.assert_array_equal(inputs[0], inputs[1])
    np.testing.assert_array_equal(inputs[0], datasets.load(config()).test.inputs[0])
    stored = outcome.logits("teacher", "test")[0]
    answers = outcome.model("teacher")(inputs[:1])
    np.testing.assert_allclose(np.asarray(answers)[0], stored, atol=1e-4)
    for bad, message in [("  ", "an empty one"), ("a" * 200_000, "at most 100,000 characters")]:
        with pytest.raises(ConfigError, match=message):
            from_text(vocabulary_of(store, key), [bad])


def test_hidden_labels_are_seen_by_nobody_but_the_teacher(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(alpha=1.0)
    first = run(settings, store=store, progress=False)
    dataset = datasets.load(settings)
    known = datasets.labelled_rows(dataset, settings.labels, settings.seed)
    wrong = (dataset.train.labels + 1) % 15
    wrong[known] = dataset.train.labels[known]
    original = dataset.train.labels.copy()
    dataset.train.labels[:] = wrong
    try:
        monkeypatch.setattr(datasets, "labelled_rows", lambda *_: known)
        second = run(settings, store=store, progress=False)
    finally:
        dataset.train.labels[:] = original
    for one, two in zip(
        first.model("baseline").get_weights(), second.model("baseline").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    assert first.accuracies("teacher") != second.accuracies("teacher")


def test_a_stopped_training_goes_on_to_the_bit(store: Store, tmp_path: Any) -> None:
    whole = run(config(), store=store, progress=False)
    other = Store(f"sqlite:///{tmp_path}/other.db")
    roles = ("teacher", "student", "baseline")
    assert_goes_on_to_the_bit(store, whole.experiment_id, other, roles)


def test_networks_of_other_data_and_mixtures_are_refused_in_words() -> None:
    for changed, message in [
        ({"student": "conv-8-16"}, "student must be a network for texts, such as transformer-2-64"),
        ({"student": "mlp-16"}, "student must be a network for texts"),
        ({"mixing": "mixup"}, "mixing must be none"),
        ({"augmentation": "flips"}, "augmentation must be none"),
        (
            {"dataset": "digits", "labels": 50, "training_examples": None},
            "teacher must be a network for images",
        ),
    ]:
        with pytest.raises(ConfigError, match=message):
            config(**changed)


def test_the_vocabulary_in_the_store_is_that_of_the_data(store: Store) -> None:
    outcome = run(config(teacher_epochs=1, epochs=1), store=store, progress=False)
    stored = store.artifact(f"examples/{outcome.results.experiment.dataset_key}/vocabulary")
    assert stored is not None
    assert Vocabulary(stored.decode()) == datasets.load(config()).vocabulary


def test_a_worker_trains_on_vocabularies_of_different_sizes_one_after_the_other(
    store: Store,
) -> None:
    sizes = []
    for examples in (600, 200):
        settings = config(training_examples=examples, labels=100, teacher_epochs=1, epochs=1)
        outcome = run(settings, store=store, progress=False)
        sizes.append(outcome.model("student").get_layer("token_embedding").input_dim)
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize("method", ["hints", "similarity"])
def test_methods_on_features_compare_what_texts_come_to(store: Store, method: str) -> None:
    settings = config(
        method=method,
        training_examples=300,
        teacher="transformer-2-32",
        student="transformer-1-16",
        teacher_epochs=1,
        epochs=1,
    )
    outcome = run(settings, store=store, progress=False)
    assert len(outcome.accuracies("student")) == 1
    curves = outcome.curves()
    assert np.isfinite(curves[curves["role"] == "student"]["loss"]).any()
    with pytest.raises(
        ConfigError, match="method must be another for languages, which is not images"
    ):
        config(method="attention")


def test_a_model_trained_here_teaches_texts_of_its_own_vocabulary_alone(store: Store) -> None:
    outcome = run(config(teacher="bag-32", teacher_epochs=2, epochs=1), store=store, progress=False)
    (teacher,) = outcome.results.runs("teacher")
    payload = user_models.payload_of_run(store, teacher, "mine")
    job = store.add_job("model", payload)
    assert run_job(store.url, job) == "finished", store.job(job).error
    taught = run(config(teacher="mine", epochs=1), store=store, progress=False)
    np.testing.assert_allclose(
        taught.logits("teacher", "test"), outcome.logits("teacher", "test"), atol=1e-4
    )
    others = config(teacher="mine", training_examples=700, epochs=1)
    with pytest.raises(TrainingError, match="another vocabulary"):
        run(others.replace(teacher_inputs="as added"), store=store, progress=False)


def test_the_first_examples_of_each_part_have_all_languages() -> None:
    dataset = datasets.load_named("languages")
    for part in (dataset.train, dataset.validation, dataset.test):
        assert set(part.labels[:100]) == set(range(15))
