"""What a sweep has to show, live or finished: its cells, the best of them, and what may honestly be
said of it.

Cells are compared on validation data. Test data is used for the winner alone, once it is
chosen.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from sqlalchemy import select

from kdcore.analysis import results
from kdcore.analysis.statistics import PairedGain, finite_or_none, mean_interval, paired_gain
from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import SweepConfig, key_of, short_title_of, value_text
from kdcore.storage.schema import Experiment, ExperimentRun, Job, JobStatus, Run, Sweep, SweepCell
from kdcore.storage.store import Store
from kdcore.sweeps.planning import cells_of, get

SweepStatus = Literal["running", "paused", "finished", "stopped", "failed", "interrupted"]


@dataclass(frozen=True)
class Cell:
    """One cell: its varied settings, its experiment's id and job, and accuracies on validation data
    by seed.
    """

    number: int
    values: dict[str, Any] | None
    job: Job
    pruned: bool
    student: dict[int, float]
    baseline: dict[int, float]
    validation_examples: int
    trained_here: bool = True

    @property
    def id(self) -> str:
        """The id of the cell's experiment."""
        return self.job.id

    @property
    def status(self) -> str:
        """Where the cell is in its life: a job's status, or "pruned"."""
        return "pruned" if self.pruned else self.job.status

    @property
    def finished(self) -> bool:
        """Whether all seeds are trained."""
        return self.job.status == JobStatus.FINISHED.value

    @property
    def n(self) -> int:
        """How many seeds are trained."""
        return len(self.student)

    @property
    def accuracy(self) -> float | None:
        """The mean accuracy over the seeds, a fraction."""
        return float(np.mean(list(self.student.values()))) if self.student else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean accuracy, within 0 to 1; None below two seeds."""
        if self.n < 2:
            return None
        low, high = mean_interval(list(self.student.values()))
        return max(0.0, low), min(1.0, high)

    @property
    def gain(self) -> PairedGain | None:
        """The gain over the baseline, paired over the seeds that have both."""
        seeds = sorted(self.student.keys() & self.baseline.keys())
        if not seeds:
            return None
        pairs = [[part[seed] for seed in seeds] for part in (self.student, self.baseline)]
        return paired_gain(pairs[0], pairs[1], test_examples=self.validation_examples)

    @property
    def proven(self) -> bool:
        """Whether the interval of the gain leaves no gain out."""
        return self.gain is not None and self.gain.outcome == "helped"


@dataclass(frozen=True)
class Winner:
    """The cell chosen on validation data, and what test data says of it.

    ``corrected`` is the interval of the gain in points by Bonferroni's correction for all cells
    that were compared, None with a single seed. ``lines`` says all of it: what was chosen, what
    test data says, how sure that is.
    """

    cell: Cell
    compared: int
    test_accuracy: float
    gain: PairedGain | None
    corrected: tuple[float, float] | None
    lines: tuple[str, ...]

    @property
    def words(self) -> str:
        """All lines as one text."""
        return " ".join(self.lines)


@dataclass
class SweepResults:
    """A sweep as it stands in the store."""

    sweep: Sweep
    config: SweepConfig
    cells: list[Cell]
    shared: list[tuple[SweepCell, Job]]
    confirmations: list[tuple[SweepCell, Job]]
    trained: dict[str, int] = field(default_factory=dict)
    # Of a race with tuned settings: the trials of each method.
    tuning: dict[str, list[Job]] = field(default_factory=dict)

    @property
    def jobs(self) -> list[Job]:
        """The jobs that the sweep consists of, those that confirm its winner left out."""
        return [job for job, _ in self._with_pruned()]

    @property
    def trials_each(self) -> int:
        """How many trials the settings of each method are tuned with, 0 for any other sweep."""
        return max(map(len, self.tuning.values()), default=0)

    @property
    def trials(self) -> list[Job]:
        """The trials in which the settings of a race are tuned."""
        return [job for jobs in self.tuning.values() for job in jobs]

    @property
    def status(self) -> SweepStatus:
        """Where the sweep is in its life."""
        statuses = {job.status for job, pruned in self._with_pruned() if not pruned}
        if JobStatus.RUNNING.value in statuses:
            return "running"
        # Cells wait in vain for a teacher that does not come.
        needed = [job for cell, job in self.shared if cell.part == "teacher"] + self._trials_to_come
        in_vain = any(JobStatus(job.status).resumable for job in needed)
        if JobStatus.QUEUED.value in statuses and not in_vain:
            return "paused" if self.sweep.paused else "running"
        for status in (JobStatus.FAILED, JobStatus.INTERRUPTED, JobStatus.STOPPED):
            if status.value in statuses:
                return status.value  # type: ignore[return-value]
        return "finished"

    @property
    def _trials_to_come(self) -> list[Job]:
        """A trial that failed is only one that did not do best."""
        return [job for job in self.trials if job.status != JobStatus.FAILED.value]

    def _with_pruned(self) -> list[tuple[Job, bool]]:
        before = [job for _, job in self.shared] + self._trials_to_come
        return [(job, False) for job in before] + [(cell.job, cell.pruned) for cell in self.cells]

    @property
    def live(self) -> bool:
        """Whether something may still happen without anybody asking for it."""
        return self.status == "running" or any(
            JobStatus(job.status).live for _, job in self.confirmations
        )

    @property
    def done(self) -> int:
        """How many cells have come to their end, the pruned ones too."""
        return sum(cell.finished or cell.pruned for cell in self.cells)

    @property
    def counted(self) -> str:
        """How much of the sweep is done, in words."""
        cells = f"{self.done} of {len(self.cells)} cells"
        ended = sum(not JobStatus(job.status).live for job in self.trials)
        if ended == len(self.trials):
            return cells
        return f"settings are tuned: {ended} of {len(self.trials)} trials · {cells}"

    @property
    def progress(self) -> float:
        """How much of the sweep is done, 0 to 1: by the time that it takes, as far as that is
        known.
        """
        parts = [
            1.0 if job.status == JobStatus.FINISHED.value or pruned else job.progress
            for job, pruned in self._with_pruned()
        ]
        return float(np.mean(parts)) if parts else 0.0

    @property
    def seconds_a_cell(self) -> float | None:
        """The mean seconds that cells trained here took, None before the first."""
        took = [
            cell.job.finished_at - cell.job.started_at
            for cell in self.cells
            if cell.finished
            and cell.trained_here
            and cell.job.finished_at
            and cell.job.started_at
            and cell.job.attempts == 1
        ]
        return float(np.mean(took)) if took else None

    @property
    def seconds_left(self) -> float | None:
        """The seconds until all cells are done, from those that are; None before the first is."""
        each = self.seconds_a_cell
        if each is None:
            return None
        at_work = sum(cell.job.status == JobStatus.RUNNING.value for cell in self.cells)
        left = sum(
            1 - cell.job.progress for cell in self.cells if not cell.finished and not cell.pruned
        )
        return left * each / max(1, at_work or os.cpu_count() or 1)

    @property
    def examples_per_second(self) -> float | None:
        """Training examples a second, of all workers together, over the latest cells.

        None before there are any.
        """
        done = [
            cell
            for cell in self.cells
            if cell.finished and cell.trained_here and cell.values is not None
        ]
        done = sorted(done, key=lambda cell: cell.job.finished_at or 0.0)[-8:]
        if not done:
            return None
        began = min(cell.job.started_at or 0.0 for cell in done)
        ended = max(cell.job.finished_at or 0.0 for cell in done)
        seen = 0
        for cell in done:
            config = self.config.cell(cell.values or {})
            examples = config.labelled + config.unlabelled
            seen += examples * config.epochs * cell.n
        return seen / (ended - began) if ended > began else None

    def best(self) -> Cell | None:
        """Return the finished cell with the highest mean accuracy on validation data."""
        finished = [cell for cell in self.cells if cell.finished and cell.accuracy is not None]
        return max(finished, key=lambda cell: (cell.accuracy or 0.0, -cell.number), default=None)

    def by_values(self) -> dict[str, Cell]:
        """Return the cells by ``key_of`` their values."""
        return {key_of(cell.values): cell for cell in self.cells if cell.values is not None}


def load(store: Store, sweep_id: str) -> SweepResults:
    """Read a sweep; raises StoreError for an unknown id."""
    sweep = get(store, sweep_id)
    config = SweepConfig.from_dict(sweep.config)
    rows = cells_of(store, sweep_id)
    accuracies, trained = _accuracies(
        store, [cell.job_id for cell, _ in rows if cell.part != "confirmation"]
    )
    examples = dataset_card(config.base.dataset).validation_examples
    cells = [
        Cell(
            cell.number,
            cell.values,
            job,
            cell.pruned,
            accuracies.get((job.id, "student"), {}),
            accuracies.get((job.id, "baseline"), {}),
            examples,
            (job.id, "student") in trained,
        )
        for cell, job in rows
        if cell.part == "cell"
    ]
    return SweepResults(
        sweep,
        config,
        cells,
        [(cell, job) for cell, job in rows if cell.part in ("teacher", "baseline")],
        [(cell, job) for cell, job in rows if cell.part == "confirmation"],
        {
            role: len({run for (_, of), runs in trained.items() if of == role for run in runs})
            for role in ("teacher", "baseline", "student")
        },
        _trials(store, config),
    )


def _trials(store: Store, config: SweepConfig) -> dict[str, list[Job]]:
    """Return the trials that tune each method of a race, by method."""
    methods = {search: method for method, search in config.searches.items()}
    found: dict[str, list[Job]] = {method: [] for method in config.searches}
    for cell, job in cells_of(store, *methods) if methods else ():
        if cell.part == "cell":
            found[methods[cell.sweep_id]].append(job)
    return found


def _accuracies(
    store: Store, experiment_ids: list[str]
) -> tuple[dict[tuple[str, str], dict[int, float]], dict[tuple[str, str], set[str]]]:
    """Return accuracies on validation data by (experiment, role) and seed, and which runs each
    trained itself.
    """
    query = (
        select(
            ExperimentRun.experiment_id,
            ExperimentRun.role,
            ExperimentRun.seed,
            ExperimentRun.reused,
            Run.id,
            Run.summary["validation_accuracy"].as_float(),
        )
        .join(Run, Run.id == ExperimentRun.run_id)
        .where(Run.finished_at.is_not(None))
    )
    accuracies: dict[tuple[str, str], dict[int, float]] = {}
    trained: dict[tuple[str, str], set[str]] = {}
    with store.reading() as session:
        for start in range(0, len(experiment_ids), 500):
            some = query.where(ExperimentRun.experiment_id.in_(experiment_ids[start : start + 500]))
            for experiment_id, role, seed, reused, run_id, accuracy in session.execute(some):
                accuracies.setdefault((experiment_id, role), {})[seed] = accuracy
                if not reused:
                    trained.setdefault((experiment_id, role), set()).add(run_id)
    return accuracies, trained


def winner(store: Store, sweep: SweepResults) -> Winner | None:
    """Choose the best cell on validation data and use test data for it alone.

    None before a cell is finished.
    """
    cell = sweep.best()
    if cell is None:
        return None
    found = results.load_results(store, cell.id)
    compared = sweep.done  # the pruned ones were compared as well
    gain = results.gain(store, found)
    # Bonferroni: for all cells to be right at once, each interval has to be this sure.
    surer = results.gain(store, found, confidence=1 - 0.05 / max(1, compared))
    corrected = (surer.low, surer.high) if surer is not None and surer.n > 1 else None
    accuracy = float(np.mean(found.accuracies("student")))
    return Winner(
        cell,
        compared,
        accuracy,
        gain,
        corrected,
        _winner_lines(cell, compared, accuracy, gain, corrected),
    )


def settings_words(values: dict[str, Any]) -> str:
    """Return a cell's varied settings in words."""
    return ", ".join(
        f"{short_title_of(name)} {value_text(value)}" for name, value in values.items()
    )


def _winner_lines(
    cell: Cell,
    compared: int,
    accuracy: float,
    gain: PairedGain | None,
    corrected: tuple[float, float] | None,
) -> tuple[str, ...]:
    seeds = f"{cell.n} seeds" if cell.n > 1 else "1 seed"
    settings, on_validation = settings_words(cell.values or {}), 100 * (cell.accuracy or 0)
    chosen = (
        f"Best of {compared} cells on validation data: {settings} ({on_validation:.2f} %, {seeds})."
    )
    verdict = "" if gain is None else f" {gain.verdict}."
    tested = f"On test data, used for this cell alone: {100 * accuracy:.2f} %.{verdict}"
    if compared < 2:
        return chosen, tested
    sure = "One seed a cell cannot tell luck from lead: confirm it on fresh seeds."
    if corrected is not None:
        low, high = corrected
        zero = "above zero" if low > 0 else "below zero" if high < 0 else "zero not ruled out"
        sure = (
            f"Part of its lead may be luck: corrected for {compared} comparisons (Bonferroni), it "
            f"gains {low:+.1f} to {high:+.1f} points, {zero}. Fresh seeds settle it."
        )
    return chosen, tested, sure


def confirmation(store: Store, sweep: SweepResults) -> dict[str, Any] | None:
    """Return how the latest confirmation of the present winner stands, None where there is none.

    One on seeds that the sweep has used since is no confirmation any more.
    """
    best = sweep.best()
    used = sweep.config.base.seed + sweep.config.base.seeds
    for cell, job in reversed(sweep.confirmations):
        if best is None or cell.values is None or key_of(cell.values) != key_of(best.values or {}):
            continue
        found = results.load_results(store, job.id)
        if found.config.seed < used:
            continue
        gain = results.gain(store, found) if job.status == JobStatus.FINISHED.value else None
        return {
            "experiment": job.id,
            "status": job.status,
            "progress": job.progress,
            "seeds": found.config.seeds,
            "accuracy": found.accuracies("student"),
            "gain": gain.to_dict() if gain else None,
            "words": f"On {found.config.seeds} fresh seeds: {gain.verdict}." if gain else None,
        }
    return None


def summary(store: Store, sweep_id: str) -> dict[str, Any]:
    """Return a sweep's result as one JSON-able object; docs/sweeps.md has its keys."""
    sweep = load(store, sweep_id)
    chosen = winner(store, sweep)
    return {
        "sweep": sweep_id,
        "status": sweep.status,
        "config": sweep.sweep.config,
        "cells": [cell_summary(cell) for cell in sweep.cells],
        "trained": sweep.trained,
        "winner": None if chosen is None else winner_summary(chosen),
        "confirmation": confirmation(store, sweep),
        "seconds": seconds_spent(sweep),
    }


def cell_summary(cell: Cell) -> dict[str, Any]:
    """Return a cell for JSON: accuracies are fractions on validation data, gains percentage
    points.
    """
    interval = cell.interval or (None, None)
    return {
        "experiment": cell.id,
        "values": cell.values,
        "status": cell.status,
        "error": cell.job.error,
        "n": cell.n,
        "validation_accuracy": cell.accuracy,
        "low": None if interval[0] is None else finite_or_none(interval[0]),
        "high": None if interval[1] is None else finite_or_none(interval[1]),
        "gain": cell.gain.to_dict() if cell.gain else None,
    }


def winner_summary(chosen: Winner) -> dict[str, Any]:
    """Return the winner for JSON."""
    return {
        **cell_summary(chosen.cell),
        "compared": chosen.compared,
        "test_accuracy": chosen.test_accuracy,
        "test_gain": chosen.gain.to_dict() if chosen.gain else None,
        "corrected_interval": list(chosen.corrected) if chosen.corrected else None,
        "words": chosen.words,
    }


def seconds_spent(sweep: SweepResults) -> float:
    """Return the seconds from the first job's start to the last one's end, or until now."""
    started = [job.started_at for job in sweep.jobs if job.started_at]
    if not started:
        return 0.0
    ended = (
        time.time()
        if sweep.status == "running"
        else max(job.finished_at or 0.0 for job in sweep.jobs)
    )
    return max(0.0, ended - min(started))


def experiment_config(store: Store, experiment_id: str) -> ExperimentConfig | None:
    """Return the config of a cell's experiment, None before a sampler has chosen it."""
    with store.reading() as session:
        experiment = session.get(Experiment, experiment_id)
    return None if experiment is None else ExperimentConfig(**experiment.config)
