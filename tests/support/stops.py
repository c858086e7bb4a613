"""An experiment that is stopped in the middle and resumed, beside one that was never stopped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from kdcore.analysis.results import load_results, logits
from kdcore.errors import StopRequested
from kdcore.storage.store import Store
from kdcore.work.experiment import run_experiment

LOOKS_BEFORE_THE_STOP = 12


def train_until_stopped(store: Store, experiment: str) -> None:
    """Train an experiment until it is stopped on the way."""
    looks = 0

    def stop() -> None:
        nonlocal looks
        looks += 1
        if looks == LOOKS_BEFORE_THE_STOP:
            raise StopRequested

    with pytest.raises(StopRequested):
        run_experiment(store, experiment, check=stop)


def assert_goes_on_to_the_bit(store: Store, whole: str, other: Store, roles: Sequence[str]) -> None:
    """Train the experiment ``whole`` of a store anew in another one, with a stop on the way; its
    models must give the very same logits.
    """
    stopped = other.create(load_results(store, whole).config)
    train_until_stopped(other, stopped)
    run_experiment(other, stopped)
    for role in roles:
        one, two = (
            logits(each, load_results(each, number).runs(role)[0], "test")
            for each, number in ((store, whole), (other, stopped))
        )
        np.testing.assert_array_equal(one, two)
