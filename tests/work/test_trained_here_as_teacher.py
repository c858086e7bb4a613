"""Any model that was trained here, a student too, can teach others."""

from __future__ import annotations

import numpy as np
import pytest

from kdcore.analysis.results import load_results, logits
from kdcore.config.catalog import own_model
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.jobs import run_job
from kdcore.errors import ConfigError, StoreError
from kdcore.storage import user_models
from kdcore.storage.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
TINY = {"epochs": 1, "teacher_epochs": 1, "seeds": 1}


@pytest.mark.parametrize("role", ["student", "baseline"])
def test_a_trained_student_teaches_with_the_answers_that_it_gave(store: Store, role: str) -> None:
    first = store.create(ExperimentConfig(teacher="mlp-32", student="conv-4-8", **TINY))
    assert run_job(store.url, first) == "finished"
    (run,) = load_results(store, first).runs(role)
    payload = user_models.payload_of_run(store, run, "assistant")
    job = store.add_job("model", payload)
    assert run_job(store.url, job) == "finished", store.job(job).error
    card = own_model("assistant")
    assert card is not None
    assert (card.inputs, card.inputs_known) == ("as they are", "as in its training")
    second = store.create(
        ExperimentConfig(teacher="assistant", student="mlp-4", teacher_inputs="as added", **TINY)
    )
    assert run_job(store.url, second) == "finished", store.job(second).error
    (teacher,) = load_results(store, second).runs("teacher")
    np.testing.assert_array_equal(logits(store, teacher, "test"), logits(store, run, "test"))
    assert teacher.summary["test_accuracy"] == run.summary["test_accuracy"]


def test_a_model_whose_weights_are_gone_cannot_teach(store: Store) -> None:
    first = store.create(ExperimentConfig(teacher="mlp-32", student="mlp-4", **TINY))
    run_job(store.url, first)
    (run,) = load_results(store, first).runs("student")
    store.delete_artifacts(f"model/{run.id}")
    with pytest.raises(StoreError, match="has no trained model to teach with"):
        user_models.payload_of_run(store, run, "assistant")


def test_the_name_is_checked_before_anything_is_handed_over(store: Store) -> None:
    first = store.create(ExperimentConfig(teacher="mlp-32", student="mlp-4", **TINY))
    run_job(store.url, first)
    (run,) = load_results(store, first).runs("student")
    with pytest.raises(ConfigError, match="other than those of the built-in models"):
        user_models.payload_of_run(store, run, "conv-1-2")
    assert not store.artifact_keys("upload/")
