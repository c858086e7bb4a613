"""What the Temperature page reads from the store and computes once: arrays and figures, kept by run
id.

A run's logits never change, so nothing here ever goes stale. The store is not part of a key: a
server has one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdcore.analysis import temperature as soft
from kdcore.analysis.logits import FloatArray, IntArray
from kdcore.analysis.metrics import Reliability, mean_kl, reliability
from kdcore.storage.store import Store
from pages.shared.examples import images, labels, remember, remember_few, run_logits

GRID = soft.temperature_grid(0.5, 20.0, 41)


@remember
def alike_examples(
    _store: Store, teacher: str, dataset_key: str, true: int, other: int, most: int = 24
) -> IntArray:
    """Return the examples of class ``true`` that have a picture and most look like ``other``, the
    most alike first.
    """
    shown = slice(len(images(_store, dataset_key)))
    answers, truth = run_logits(_store, teacher)[shown], labels(_store, dataset_key)[shown]
    (members,) = np.nonzero(truth == true)
    return members[np.argsort(-soft.softmax(answers[members])[:, other], kind="stable")][:most]


@remember
def curves(_store: Store, teacher: str, dataset_key: str) -> dict[str, FloatArray]:
    """Return what temperature does to all test examples, over ``GRID``."""
    return soft.temperature_curves(run_logits(_store, teacher), labels(_store, dataset_key), GRID)


@remember
def figures(_store: Store, teacher: str, dataset_key: str, temperature: float) -> dict[str, float]:
    """Return the same at one temperature."""
    values = soft.temperature_curves(
        run_logits(_store, teacher), labels(_store, dataset_key), [temperature]
    )
    return {name: float(value[0]) for name, value in values.items()}


@remember
def calibration(_store: Store, teacher: str, dataset_key: str) -> soft.Calibration:
    """Return the temperature at which the teacher is best calibrated, found on validation data."""
    return soft.calibrate(
        run_logits(_store, teacher, "validation"), labels(_store, dataset_key, "validation")
    )


@remember
def diagram(_store: Store, teacher: str, dataset_key: str, temperature: float) -> Reliability:
    """Return the teacher's reliability diagram on test data."""
    return reliability(run_logits(_store, teacher), labels(_store, dataset_key), temperature)


@remember
def similarity(
    _store: Store, teacher: str, dataset_key: str, classes: int, temperature: float
) -> FloatArray:
    """Return the mean soft label of each true class [classes, classes] on test data."""
    return soft.class_similarity(
        run_logits(_store, teacher), labels(_store, dataset_key), classes, temperature
    )


@remember
def distance(_store: Store, teacher: str, learner: str, temperature: float) -> float:
    """Return the mean KL(teacher ‖ learner) on test data in nats."""
    return mean_kl(run_logits(_store, teacher), run_logits(_store, learner), temperature)


@remember
def gradients(
    _store: Store, teacher: str, learner: str, dataset_key: str, untrained: bool
) -> dict[str, Any]:
    """Return the gradient norms of a learner over ``GRID`` and of the loss on its true labels
    ("labels").

    On test data; with ``untrained`` on the probe examples, with the learner as it was before
    training.
    """
    taught, learnt, truth = _gradient_inputs(_store, teacher, learner, dataset_key, untrained)
    return {
        **soft.gradient_norms(taught, learnt, GRID),
        "labels": soft.label_gradient_norm(learnt, truth),
    }


@remember
def gradients_at(
    _store: Store, teacher: str, learner: str, dataset_key: str, untrained: bool, temperature: float
) -> dict[str, float]:
    """Return the gradient norms at one temperature."""
    taught, learnt, _ = _gradient_inputs(_store, teacher, learner, dataset_key, untrained)
    return {
        name: float(value[0])
        for name, value in soft.gradient_norms(taught, learnt, [temperature]).items()
    }


def _gradient_inputs(
    store: Store, teacher: str, learner: str, dataset_key: str, untrained: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], IntArray]:
    if not untrained:
        return run_logits(store, teacher), run_logits(store, learner), labels(store, dataset_key)
    return (
        _probe(store, teacher)[-1],
        _probe(store, learner)[0],
        labels(store, dataset_key, "probe"),
    )


@remember_few
def _probe(_store: Store, run_id: str) -> list[NDArray[np.float32]]:
    """Return a finished run's logits of the probe examples, before training first, after it
    last.
    """
    snapshots, _ = _store.probes([run_id])
    return [logits for _, _, logits in sorted(snapshots, key=lambda snapshot: snapshot[1])]
