"""Asks trained models about test images that are made worse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kdcore.analysis.metrics import accuracy
from kdcore.analysis.robustness import Measured, keep
from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from kdcore.data.datasets import Dataset
from kdcore.errors import StoreError, require
from kdcore.storage.schema import Job
from kdcore.storage.store import Store
from kdcore.training.evaluation import model_from_bytes
from kdcore.training.loop import Network

MOST_EXAMPLES = 2_000


def robustness_job(store: Store, job: Job, check: Callable[[], None]) -> None:
    """Measure the payload's ``run_ids``, which have the same test data."""
    run_ids = list(dict.fromkeys(job.payload["run_ids"]))
    for number, run_id in enumerate(run_ids):
        check()
        store.report(job.id, f"asking model {number + 1} of {len(run_ids)}", number / len(run_ids))
        keep(store, run_id, measure(store, run_id, check))


def measure(store: Store, run_id: str, check: Callable[[], None] = lambda: None) -> Measured:
    """Return the accuracy of a trained run on the first 2,000 test images as they are, and made
    worse in each way; the same images for every run.

    Raises StoreError for a run without a model, ConfigError for data other than images.
    """
    run = store.run(run_id)
    data = store.artifact(f"model/{run_id}")
    if data is None:
        raise StoreError(f"run {run_id} has no model: it is not trained to the end")
    dataset = datasets.load(ExperimentConfig(**run.config))
    card = dataset_card(dataset.name)
    require(card.task.pictures, "dataset", "of images", dataset.name)
    network = Network(model_from_bytes(data), 1.0)
    images = _as_seen(dataset)
    labels = dataset.test.labels[: len(images)]
    corrupted = {}
    for name in CORRUPTIONS:
        values = []
        for severity in SEVERITIES:
            check()
            worse = corrupt(images, name, severity, card.value_range)
            values.append(accuracy(network.logits(worse), labels))
        corrupted[name] = tuple(values)
    return Measured(accuracy(network.logits(images), labels), corrupted, len(images))


def _as_seen(dataset: Dataset) -> NDArray[np.float32]:
    """Return test images as models see them."""
    inputs = dataset.test.inputs[:MOST_EXAMPLES]
    return inputs.astype(np.float32) * np.float32(dataset.scale)
