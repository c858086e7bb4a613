"""What an experiment has to show: the same figures for the pages, the command line and the library."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdcore.arrays import unpack, unpack_many
from kdcore.config import ExperimentConfig
from kdcore.schema import ROLES, Experiment, ExperimentRun, Job, JobStatus, Run
from kdcore.statistics import PairedGain, paired_gain
from kdcore.store import Store, current_points


@dataclass
class Results:
    """An experiment as it stands in the store, live or finished."""

    experiment: Experiment
    job: Job
    links: list[tuple[ExperimentRun, Run]]

    @property
    def config(self) -> ExperimentConfig:
        """What was asked for."""
        return ExperimentConfig(**self.experiment.config)

    @property
    def status(self) -> JobStatus:
        """Where the experiment is in its life."""
        return JobStatus(self.job.status)

    def runs(self, role: str) -> list[Run]:
        """Return the runs of a role, by seed."""
        return [run for link, run in self.links if link.role == role]

    def reused(self, role: str) -> bool:
        """Return whether the runs of a role were found already trained."""
        return any(link.reused for link, _ in self.links if link.role == role)

    def accuracies(self, role: str) -> list[float]:
        """Return test accuracies (fractions) of the finished runs of a role, by seed."""
        return [run.summary["test_accuracy"] for run in self.runs(role) if run.finished_at is not None]


def load_results(store: Store, experiment_id: str) -> Results:
    """Read an experiment; raises StoreError for an unknown id."""
    return Results(store.experiment(experiment_id), store.job(experiment_id), store.runs_of(experiment_id))


def gain(store: Store, results: Results) -> PairedGain | None:
    """Return the paired gain of student over baseline over the seeds that have both, None before there is one."""
    students = {run.seed: run for run in results.runs("student") if run.finished_at is not None}
    baselines = {run.seed: run for run in results.runs("baseline") if run.finished_at is not None}
    seeds = sorted(students.keys() & baselines.keys())
    if not seeds:
        return None
    pairs = [[run[seed].summary["test_accuracy"] for seed in seeds] for run in (students, baselines)]
    if len(seeds) > 1:
        return paired_gain(pairs[0], pairs[1])
    return paired_gain(
        pairs[0],
        pairs[1],
        student_correct=correct(store, students[seeds[0]]),
        baseline_correct=correct(store, baselines[seeds[0]]),
    )


def logits(store: Store, run: Run, split: str) -> NDArray[np.float32]:
    """Return a finished run's logits [examples, classes] of ``"validation"`` or ``"test"``."""
    data = store.artifact(f"logits/{run.id}/{split}")
    assert data is not None, f"run {run.id} is finished and so has {split} logits"
    return unpack(data)


def examples(store: Store, dataset_key: str, split: str) -> dict[str, NDArray]:
    """Return ``labels`` and, for "probe" and "test", ``images`` of a dataset that a worker has stored."""
    data = store.artifact(f"examples/{dataset_key}/{split}")
    return {} if data is None else unpack_many(data)


def correct(store: Store, run: Run) -> NDArray[np.bool_]:
    """Return which test examples a finished run gets right."""
    labels = examples(store, run.summary["dataset"], "test")["labels"]
    return logits(store, run, "test").argmax(axis=1) == labels


def summary(store: Store, experiment_id: str) -> dict[str, Any]:
    """Return an experiment's result as one JSON-able object; see the README for its keys."""
    results = load_results(store, experiment_id)
    seconds = {part: results.experiment.seconds.get(part, 0.0) for part in ("teacher", "teacher_logits", "students")}
    found = gain(store, results)
    answer: dict[str, Any] = {
        "experiment": experiment_id,
        "status": results.status.value,
        "error": results.job.error,
        "config": results.experiment.config,
    }
    for role in ROLES:
        runs = results.runs(role)
        accuracies = results.accuracies(role)
        if role == "teacher":  # one teacher serves all seeds
            accuracies = accuracies * results.config.seeds
        answer[role] = {
            "model": runs[0].model if runs else getattr(results.config, "student" if role == "baseline" else role),
            "accuracy": accuracies,
            "parameters": runs[0].parameters if runs else None,
            "reused": results.reused(role),
        }
    answer["gain"] = found.to_dict() if found else None
    answer["seconds"] = {**seconds, "total": sum(seconds.values())}
    return answer


@dataclass
class Curves:
    """The curves of an experiment's runs, read on from where the last look ended."""

    metrics: pd.DataFrame = field(default_factory=pd.DataFrame)
    probes: dict[tuple[str, int], dict[int, NDArray]] = field(default_factory=dict)
    _cursor: int = 0
    _probe_cursor: int = 0
    _run_ids: tuple[str, ...] = ()

    def read_on(self, store: Store, results: Results) -> bool:
        """Fetch what is new; returns whether there was anything. New runs are read from their beginning."""
        places = {run.id: (link.role, link.seed) for link, run in results.links}
        if set(places) != set(self._run_ids):
            self.metrics, self.probes, self._cursor, self._probe_cursor = pd.DataFrame(), {}, 0, 0
            self._run_ids = tuple(places)
        new = store.metrics(self._run_ids, after=self._cursor)
        snapshots, self._probe_cursor = store.probes(self._run_ids, after=self._probe_cursor)
        if len(new):
            self._cursor = int(new["id"].iloc[-1])
            new["role"] = [places[run_id][0] for run_id in new["run_id"]]
            new["seed"] = [places[run_id][1] for run_id in new["run_id"]]
            self.metrics = current_points(pd.concat([self.metrics, new], ignore_index=True) if len(self.metrics) else new)
        for run_id, epoch, snapshot in snapshots:
            self.probes.setdefault(places[run_id], {})[epoch] = snapshot
        return bool(len(new) or snapshots)
