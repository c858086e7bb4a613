"""Accuracy over alpha: experiments in the store that differ in alpha alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kdcore.analysis.comparison import accuracy_with_interval
from kdcore.analysis.results import load_results
from kdcore.config.experiment import NEVER, ExperimentConfig, digest, older_value, stored_setting
from kdcore.storage.schema import Experiment, Job, JobStatus, Run
from kdcore.storage.store import Store

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
FEWEST = 2  # alphas that make a series


def small_series() -> list[ExperimentConfig]:
    """Return five small experiments that differ in alpha alone: one seed on the digits, all else
    at its default.
    """
    return [ExperimentConfig(seeds=1, alpha=alpha) for alpha in ALPHAS]


def still_to_train(store: Store) -> list[ExperimentConfig]:
    """Return those of the small series that are neither trained nor being trained."""
    there = {
        experiment.fingerprint for experiment, job in store.experiments() if _counts(job.status)
    }
    return [config for config in small_series() if config.fingerprint() not in there]


@dataclass(frozen=True)
class Series:
    """Experiments of several alphas and otherwise equal settings.

    Args:
        key: names the settings that they share.
        config: one of their configs, not checked again: its data or method may be gone.
        jobs: the newest experiment of each alpha, by rising alpha.
    """

    key: str
    config: ExperimentConfig
    jobs: dict[float, Job]

    @property
    def experiments(self) -> list[str]:
        """The ids of the experiments, by rising alpha."""
        return [job.id for job in self.jobs.values()]

    @property
    def live(self) -> list[Job]:
        """The jobs that are queued or running."""
        return [job for job in self.jobs.values() if _is_live(job)]

    @property
    def is_small(self) -> bool:
        """Whether these are the experiments of :func:`small_series`, and perhaps more."""
        return self.key == series_key(small_series()[0].model_dump(mode="json"))

    @property
    def finished(self) -> int:
        """How many experiments are trained to their end."""
        return sum(job.status == JobStatus.FINISHED.value for job in self.jobs.values())


@dataclass(frozen=True)
class Point:
    """Test accuracy at one alpha, as fractions: the mean over seeds, its 95 % interval, each seed.

    ``interval_is`` says what the interval is of; with one seed it is of the test examples.
    """

    alpha: float
    mean: float
    interval: tuple[float, float]
    interval_is: str
    seeds: tuple[float, ...]


@dataclass(frozen=True)
class Outcome:
    """What came out of a series so far, on test data: students by rising alpha, and the means of
    their baseline and teacher, None before there is one.
    """

    points: tuple[Point, ...]
    baseline: float | None
    teacher: float | None
    test_examples: int


def series_key(config: Mapping[str, Any]) -> str:
    """Return a digest of all that a stored config says but alpha."""
    counted = {
        name: value
        for name, value in config.items()
        if name != "alpha" and older_value(name, NEVER) != value
    }
    return digest(counted)


def describe_series(series: Series) -> str:
    """Return one line that says what the experiments of a series share, and their alphas."""
    said = [part for part in series.config.describe().split(" · ") if not part.startswith("α ")]
    seeds = series.config.seeds
    alphas = list(series.jobs)
    said.append("1 seed" if seeds == 1 else f"{seeds} seeds")
    return " · ".join([*said, f"{len(alphas)} alphas from {alphas[0]:g} to {alphas[-1]:g}"])


def alpha_series(store: Store, *, leave_out: Collection[str] = ()) -> list[Series]:
    """Return the series of two alphas or more, that of the newest experiment first.

    An experiment counts that is trained, being trained or waiting for it; ``leave_out`` names
    experiments that do not. Of several with one config the newest trained one stands.
    """
    found: dict[str, tuple[Experiment, dict[float, Job]]] = {}
    for experiment, job in store.experiments():  # the newest first
        alpha = stored_setting(experiment.config, "alpha")
        if alpha is None or not _counts(job.status) or experiment.id in leave_out:
            continue
        _, jobs = found.setdefault(series_key(experiment.config), (experiment, {}))
        before = jobs.get(float(alpha))
        if before is None or (_is_live(before) and not _is_live(job)):
            jobs[float(alpha)] = job
    return [
        Series(key, ExperimentConfig.unchecked(first.config), dict(sorted(jobs.items())))
        for key, (first, jobs) in found.items()
        if len(jobs) >= FEWEST
    ]


def outcome(store: Store, series: Series) -> Outcome:
    """Return what the finished experiments of a series came to."""
    points: list[Point] = []
    others: dict[str, list[Run]] = {"baseline": [], "teacher": []}
    examples = 0
    for alpha, job in series.jobs.items():
        if job.status != JobStatus.FINISHED.value:
            continue
        results = load_results(store, job.id)
        students = _finished(results.runs("student"))
        if not students:
            continue
        mean, interval, kind = accuracy_with_interval(students)
        seeds = tuple(float(run.summary["test_accuracy"]) for run in students)
        points.append(Point(alpha, mean, interval, kind, seeds))
        examples = int(students[0].summary["test_examples"])
        for role, runs in others.items():
            runs.extend(_finished(results.runs(role)))
    means = {
        role: accuracy_with_interval(_each_once(runs))[0] if runs else None
        for role, runs in others.items()
    }
    return Outcome(tuple(points), means["baseline"], means["teacher"], examples)


def _is_live(job: Job) -> bool:
    return JobStatus(job.status).live


def _counts(status: str) -> bool:
    return JobStatus(status).live or status == JobStatus.FINISHED.value


def _finished(runs: list[Run]) -> list[Run]:
    return [run for run in runs if run.finished_at is not None]


def _each_once(runs: list[Run]) -> list[Run]:
    """Return one run of each fingerprint and seed: the same training, however often it was done."""
    return list({(run.fingerprint, run.seed): run for run in runs}.values())
