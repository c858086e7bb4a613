"""The training runs of a lesson: found where they are trained already, asked for where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdcore.analysis.results import Results, load_results
from kdcore.config.experiment import ExperimentConfig
from kdcore.engine.base import Engine
from kdcore.lessons.lesson import Lesson, Shown
from kdcore.lessons.measured import Measured
from kdcore.lessons.measures import measure
from kdcore.lessons.registry import number_of
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.sweeps.speed import training_time


@dataclass(frozen=True)
class LessonRuns:
    """The experiments of a lesson, one a case; None where one was never asked for."""

    lesson: Lesson
    option: str
    experiments: tuple[Results | None, ...]

    @property
    def finished(self) -> bool:
        """Whether all are trained."""
        return all(
            each is not None and each.status is JobStatus.FINISHED for each in self.experiments
        )

    @property
    def live(self) -> bool:
        """Whether one of them waits for a worker or has one."""
        return any(each is not None and each.status.live for each in self.experiments)

    @property
    def shown(self) -> Results | None:
        """The experiment to look at: the one that is being trained, else the last that began."""
        begun = [each for each in self.experiments if each is not None]
        running = [each for each in begun if each.status is JobStatus.RUNNING]
        ended = [each for each in begun if not each.status.live]
        return next(iter([*running, *reversed(ended), *begun]), None)

    @property
    def done(self) -> int:
        """How many are trained."""
        return sum(
            each is not None and each.status is JobStatus.FINISHED for each in self.experiments
        )

    def measured(self, store: Store, shown: Shown) -> Measured:
        """Return what is measured of the experiments, all of which are trained."""
        results = [each for each in self.experiments if each is not None]
        return measure(shown.measure, store, self.lesson, results, shown.arguments)


def find_runs(store: Store, lesson: Lesson, option: str = "") -> LessonRuns:
    """Return the experiments of a lesson, or of its change, as they stand in the store.

    An experiment with the same settings serves, whoever asked for it: a lesson that was run once
    opens at once.
    """
    found = [_latest(store, config) for config in lesson.configs(option)]
    return LessonRuns(lesson, option, tuple(found))


def start(
    store: Store,
    engine: Engine,
    lesson: Lesson,
    option: str = "",
    tags: Sequence[str] = (),
) -> None:
    """Queue what a lesson lacks: new experiments, and those that ended before they were trained."""
    runs = find_runs(store, lesson, option)
    cases = zip(lesson.configs(option), runs.experiments, lesson.cases, strict=True)
    for config, there, case in cases:
        if there is None:
            of = ", ".join(part for part in (case.title, option) if part)
            name = f"Lesson {number_of(lesson.name)}: {lesson.title}" + (f" ({of})" if of else "")
            engine.submit(store.create(config, name=name, tags=tags))
        elif there.status.resumable:
            store.requeue(there.experiment.id)
            engine.submit(there.experiment.id)


def stop(engine: Engine, runs: LessonRuns) -> None:
    """Stop what is being trained; what is trained stays, and running again goes on from there."""
    for each in runs.experiments:
        if each is not None and each.status.live:
            engine.cancel(each.experiment.id)


def seconds_to_train(store: Store, runs: LessonRuns) -> float | None:
    """Return about how long what is missing takes on this machine, None where nothing like it was
    trained here.
    """
    missing = [
        config
        for config, there in zip(runs.lesson.configs(runs.option), runs.experiments, strict=True)
        if there is None or there.status is not JobStatus.FINISHED
    ]
    times = [training_time(store, config).seconds for config in missing]
    known = [time for time in times if time is not None]
    return sum(known) if len(known) == len(times) else None


def _latest(store: Store, config: ExperimentConfig) -> Results | None:
    same = store.experiments_like(config)
    if not same:
        return None
    rank = {JobStatus.FINISHED: 0, JobStatus.RUNNING: 1, JobStatus.QUEUED: 2}
    best = min(same, key=lambda pair: rank.get(JobStatus(pair[1].status), 3))
    return load_results(store, best[0].id)
