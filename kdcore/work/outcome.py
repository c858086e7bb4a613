"""An experiment from a script or notebook: ``kdcore.run(config)`` trains in this process and
returns what came of it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from kdcore.analysis import results
from kdcore.analysis.curves import Curves
from kdcore.analysis.results import Results
from kdcore.analysis.statistics import PairedGain
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.jobs import run_job
from kdcore.engine.workers import mark_interrupted
from kdcore.errors import TrainingError
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.takeaway.downloads import find_run

SECONDS_BETWEEN_POLLS = 0.2


@dataclass(frozen=True)
class Outcome:
    """A trained experiment: its numbers, curves and models.

    Roles are "teacher", "student" and "baseline".
    """

    store: Store
    experiment_id: str

    @property
    def results(self) -> Results:
        """Everything that the store knows of it."""
        return results.load_results(self.store, self.experiment_id)

    @property
    def summary(self) -> dict[str, Any]:
        """All numbers as one JSON-able object: what ``python -m kdcore show ID --json`` prints."""
        return results.summary(self.store, self.experiment_id)

    @property
    def gain(self) -> PairedGain | None:
        """What distillation gained over the baseline on test data, over paired seeds."""
        return results.gain(self.store, self.results)

    def accuracies(self, role: str) -> list[float]:
        """Return accuracies on test data (fractions), one a seed; of the teacher there is one."""
        return self.results.accuracies(role)

    def curves(self) -> pd.DataFrame:
        """Return every point of every curve, with columns "role", "seed", "split", "epoch", "loss",
        "accuracy", ...
        """
        curves = Curves()
        curves.read_on(self.store, self.results)
        return curves.metrics

    def logits(
        self, role: str, split: str = "test", seed: int | None = None
    ) -> NDArray[np.float32]:
        """Return a model's logits [examples, classes] of ``"test"`` or ``"validation"``.

        The first seed by default.
        """
        return results.logits(
            self.store, find_run(self.store, self.experiment_id, role, seed), split
        )

    def model(self, role: str, seed: int | None = None) -> Any:
        """Return a trained Keras model that gives logits for inputs scaled as in training.

        The first seed by default.
        """
        from kdcore.training.evaluation import model_from_bytes

        data = self.store.artifact(
            f"model/{find_run(self.store, self.experiment_id, role, seed).id}"
        )
        assert data is not None, "a finished run has a model"
        return model_from_bytes(data)


def run(
    config: ExperimentConfig,
    *,
    store: Store | None = None,
    reuse: str = "none",
    progress: bool = True,
) -> Outcome:
    """Train what ``config`` asks for in this process, and return it: the same work as a worker's,
    with the same numbers.

    An idle worker of a store of one's own may be faster in taking it; then this waits for it.

    Args:
        config: the experiment.
        store: where it is kept and which datasets of one's own are known; without one, a temporary
            one that goes with the outcome.
        reuse: which trained models of the store may serve again: "none", "teacher" or "all".
        progress: show a bar on stderr.

    Raises TrainingError where it fails, in the words that the dashboard shows. Ctrl-C ends it; with
    a store of one's own, ``python -m kdcore resume`` goes on.
    """
    folder = tempfile.mkdtemp(prefix="kdlab-") if store is None else None
    store = store or Store(f"sqlite:///{folder}/store.db")
    experiment_id = store.create(config, reuse=reuse)
    outcome = Outcome(store, experiment_id)
    if folder is not None:
        weakref.finalize(outcome, _discard, store, folder)
    with _bar(store, experiment_id, progress):
        run_job(store.url, experiment_id)
        while (
            status := JobStatus(store.job(experiment_id).status)
        ).live:  # an idle worker of the store was faster
            mark_interrupted(store)
            time.sleep(SECONDS_BETWEEN_POLLS)
    if status == JobStatus.INTERRUPTED:
        raise KeyboardInterrupt
    if status != JobStatus.FINISHED:
        raise TrainingError(
            store.job(experiment_id).error or f"experiment {experiment_id} is {status}"
        )
    return outcome


def _discard(store: Store, folder: str) -> None:
    store.close()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _bar(store: Store, experiment_id: str, shown: bool) -> Iterator[None]:
    """Show how far the experiment is for the length of the block."""
    ended = threading.Event()
    bar = tqdm(
        total=100,
        file=sys.stderr,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}",
        disable=not shown,
    )

    def follow() -> None:
        while not ended.wait(SECONDS_BETWEEN_POLLS):
            job = store.job(experiment_id)
            bar.n = round(100 * job.progress)
            bar.set_description_str(job.phase)

    thread = threading.Thread(target=follow, name="bar", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        job = store.job(experiment_id)
        bar.n = round(100 * job.progress)
        bar.set_description_str(job.status)
        bar.close()
