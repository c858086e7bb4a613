"""Layers that cannot be paired are refused before a teacher is trained."""

from __future__ import annotations

import pytest

from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import ModelError
from kdcore.storage.store import Store
from kdcore.work.experiment import run_experiment


def test_a_pair_that_cannot_be_is_named_before_anything_is_trained(store: Store) -> None:
    config = ExperimentConfig(
        teacher="conv-8-8", student="conv-4-4", method="hints", layers="conv2d:logits", seeds=1
    )
    experiment = store.create(config)
    rule = (
        "conv2d.*:logits cannot be compared: a pair must be two layers with places or two without"
    )
    with pytest.raises(ModelError, match=rule):
        run_experiment(store, experiment)
    (teacher,) = (run for _, run in store.runs_of(experiment))
    assert teacher.finished_at is None
    assert not store.artifact_keys(f"checkpoint/{teacher.id}")
