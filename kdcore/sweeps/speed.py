"""How many models a sweep or an experiment trains and how long that takes, said before it starts:
from what was measured, not guessed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import select

from kdcore import plans
from kdcore.config.experiment import ExperimentConfig, digest, stored_setting
from kdcore.config.sweep import SweepConfig
from kdcore.storage.schema import ROLES, JobStatus, Run
from kdcore.storage.store import Store
from kdcore.words import duration

# Besides its steps a run is built, compiled, measured and stored.
SECONDS_BESIDES_TRAINING = 1.5


@dataclass(frozen=True)
class Estimate:
    """What a sweep costs: models to train by role, and seconds, None where no speed has been
    measured yet.

    ``trained`` of the models are there already; ``unknown`` holds a (role, config) for each speed
    to be measured.
    """

    cells: int
    models: dict[str, int]
    trained: int
    seconds: float | None
    unknown: list[tuple[str, ExperimentConfig]] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the estimate in words."""
        counted = [
            f"{count} {role}{'s' if count > 1 else ''}"
            for role, count in self.models.items()
            if count
        ]
        there = f" ({self.trained} more are trained already)" if self.trained else ""
        words = f"{self.cells} cells: {', '.join(counted) or 'no model'} to train{there}"
        return words if self.seconds is None else f"{words}, about {duration(self.seconds)}"


def estimate(store: Store, *sweeps: SweepConfig, workers: int | None = None) -> Estimate:
    """Return what sweeps would cost with so many workers (default: as many as there are cores).

    Seconds come from earlier runs of the same networks on the same data, or from ``measure``. For a
    sampler, whose cells are not known, the first corner of its space stands for all of them.
    """
    wanted: dict[str, dict[str, ExperimentConfig]] = {"teacher": {}, "baseline": {}, "student": {}}
    for sweep in sweeps:
        _add_models(wanted, sweep)
    finished = _finished(
        store, [fingerprint for of_role in wanted.values() for fingerprint in of_role]
    )
    to_train = {
        role: [one for key, one in of_role.items() if key not in finished]
        for role, of_role in wanted.items()
    }
    speeds = _Speeds(store)
    # Students before baselines: where one speed stands for both, the student's is measured.
    seconds = {
        role: [speeds.seconds(role, one) for one in to_train[role]]
        for role in ("teacher", "student", "baseline")
    }
    total: float | None = None
    if not speeds.unknown:
        side_by_side = sum(seconds["student"]) + sum(seconds["baseline"])
        total = sum(seconds["teacher"]) + side_by_side / (workers or os.cpu_count() or 1)
    return Estimate(
        sum(sweep.count for sweep in sweeps),
        {role: len(ones) for role, ones in to_train.items()},
        sum(map(len, wanted.values())) - sum(map(len, to_train.values())),
        total,
        list(speeds.unknown.values()),
    )


def _add_models(wanted: dict[str, dict[str, ExperimentConfig]], sweep: SweepConfig) -> None:
    """Add the models that a sweep trains to those that are wanted, by role and fingerprint."""
    configs = [sweep.cell(values) for values in sweep.combinations()]
    if sweep.strategy == "tpe":
        # None of them is trained yet.
        configs = [configs[0].replace(seed=number) for number in range(sweep.trials)]
    seeds = range(sweep.base.seed, sweep.base.seed + sweep.base.seeds)
    for cell in configs:
        wanted["teacher"].setdefault(cell.fingerprint("teacher"), cell)
        for seed in seeds if sweep.strategy == "grid" else range(cell.seed, cell.seed + len(seeds)):
            one = cell.model_copy(update={"seed": seed, "seeds": 1})
            wanted["student"].setdefault(one.fingerprint("student"), one)
            if sweep.strategy == "grid" or cell is configs[0]:
                wanted["baseline"].setdefault(one.fingerprint("baseline"), one)


@dataclass(frozen=True)
class TrainingTime:
    """What an experiment costs: models to train and those that are there already, and seconds, None
    where no speed has been measured yet; ``unknown`` as of :class:`Estimate`.
    """

    to_train: int
    trained: int
    seconds: float | None
    unknown: list[tuple[str, ExperimentConfig]] = field(default_factory=list)

    def __str__(self) -> str:
        """Return it in words."""
        there = f" ({self.trained} more are trained already)" if self.trained else ""
        words = f"{self.to_train} model{'s' if self.to_train > 1 else ''} to train{there}"
        return words if self.seconds is None else f"{words}, about {duration(self.seconds)}"


def training_time(store: Store, config: ExperimentConfig) -> TrainingTime:
    """Return what an experiment would cost on this machine, round by round of its plan.

    A teacher that is trained already serves again. Models of one round train side by side, as those
    did whose speed is known.
    """
    plan, speeds = plans.plan_of(config), _Speeds(store)
    once = [step for step in plan.steps if step.seed is not None]
    seeds = [
        config.model_copy(update={"seed": config.seed + n, "seeds": 1}) for n in range(config.seeds)
    ]
    asked: list[tuple[tuple[plans.Step, ...], ExperimentConfig]]
    asked = [((step,), config) for step in once]
    asked += [(steps, seed) for seed in seeds for steps in plan.rounds(plan.steps)]
    teachers = [
        plan.fingerprint(own, step.name)
        for steps, own in asked
        for step in steps
        if step.role == "teacher"
    ]
    finished = _finished(store, teachers)
    seconds, to_train, trained = 0.0, 0, 0
    for steps, own in asked:
        left = [step for step in steps if plan.fingerprint(own, step.name) not in finished]
        to_train, trained = to_train + len(left), trained + len(steps) - len(left)
        times = [speeds.seconds(*_measured_as(step, own)) * _longer(step, own) for step in left]
        seconds += max(times, default=0.0)
    unknown = list(speeds.unknown.values())
    return TrainingTime(to_train, trained, None if unknown else seconds, unknown)


def _measured_as(step: plans.Step, config: ExperimentConfig) -> tuple[str, ExperimentConfig]:
    """Return the role and the config whose speed a step of a plan has.

    A language model costs about what a teacher of its network does.
    """
    if step.pretraining is None:
        return step.role, config.model_copy(update=step.settings(config))
    as_teacher = {
        "teacher": step.network,
        "teacher_epochs": step.pretraining.epochs,
        "plan": plans.Distil(),  # whose settings fit any network
    }
    return "teacher", config.model_copy(update=as_teacher)


def _longer(step: plans.Step, config: ExperimentConfig) -> float:
    """Return how many times as many steps as the measured ones a step's epoch has.

    A teacher is measured on labelled examples. A language model reads all, and a teacher of each
    seed takes as many steps as its student.
    """
    if step.pretraining is None and (step.role != "teacher" or step.seed is not None):
        return 1.0
    return (config.labelled + config.unlabelled) / config.labelled


def measure(store: Store, needed: Iterable[tuple[str, ExperimentConfig]]) -> list[str]:
    """Queue short measurements of speed for what an estimate lacks.

    Returns their jobs' ids, none for those under way.
    """
    live, jobs = _live(store), []
    for role, config in needed:
        key = _key(role, config)
        if key in live:
            continue
        payload = {"speed": key, "role": role, "config": config.model_dump(mode="json")}
        job_id = store.add_job("speed", payload)
        jobs.append(job_id)
    return jobs


def is_measuring(store: Store, needed: Iterable[tuple[str, ExperimentConfig]]) -> bool:
    """Return whether any speed that an estimate lacks is being measured."""
    return bool(_live(store) & {_key(role, config) for role, config in needed})


def _live(store: Store) -> set[str]:
    """Return the keys of the speeds that are being measured."""
    jobs = store.jobs(JobStatus.QUEUED, JobStatus.RUNNING)
    return {job.payload["speed"] for job in jobs if job.kind == "speed"}


def put_speed(store: Store, config: ExperimentConfig, role: str, seconds: float) -> None:
    """Store how many seconds an epoch of a role takes."""
    store.put_artifact(_key(role, config), json.dumps({"seconds": seconds}).encode())


def speed_settings(role: str, config: ExperimentConfig) -> dict[str, object]:
    """Return what the time of a role's epoch depends on.

    A student's step costs what its baseline's does, unless it asks its teacher each time. The
    number of threads does not make enough of a difference to measure it twice.
    """
    data = {"dataset": config.dataset, "training_examples": config.training_examples}
    if config.vocabulary:
        data["vocabulary"] = config.vocabulary
    if role == "teacher":
        names = ("teacher", "teacher_batch_size", "precision")
        return {**data, **{name: getattr(config, name) for name in names}}
    # Augmentation and mixing are work by themselves, and make the teacher answer live.
    own = ["student", "batch_size", "augmentation", "mixing", "optimizer"]
    on_features = config.method.needs.teacher == "features"
    if role == "student" and (config.answers_live or on_features):
        own.append("teacher")
    if role == "student" and on_features:
        own.append("method")
        own += [name for name in config.method.values() if name in ("layers", "variant")]
    return {**data, **{name: config.get(name) for name in own}}


def _key(role: str, config: ExperimentConfig) -> str:
    kind = "teacher" if role == "teacher" else "student"
    settings = speed_settings(role, config)
    # Before features of a teacher were kept, these steps took longer.
    kept = {"teacher_features": "kept"} if _keeps_features(role, config) else {}
    return f"speed/{kind}/{digest({**settings, **kept})}"


def _keeps_features(role: str, config: ExperimentConfig) -> bool:
    on_features = config.method.needs.teacher == "features"
    return role == "student" and on_features and not config.answers_live


class _Speeds:
    """Looks the seconds of an epoch up, each kind once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.unknown: dict[str, tuple[str, ExperimentConfig]] = {}
        self._known: dict[str, float] = {}

    def seconds(self, role: str, config: ExperimentConfig) -> float:
        """Return how long a run will take, 0 where that is not known."""
        key = _key(role, config)
        if key not in self._known and key not in self.unknown:
            found = _from_runs(self.store, role, config)
            if found is None and (stored := self.store.artifact(key)) is not None:
                found = float(json.loads(stored)["seconds"])
            if found is None:
                self.unknown[key] = (role, config)
            else:
                self._known[key] = found
        epochs = config.teacher_epochs if role == "teacher" else config.epochs
        return self._known.get(key, 0.0) * epochs + SECONDS_BESIDES_TRAINING


def _from_runs(store: Store, role: str, config: ExperimentConfig) -> float | None:
    """Return the median seconds an epoch of the latest runs like this one, None if there
    are none.
    """
    wanted = speed_settings(role, config)
    alike_roles = [
        other for other in ROLES if (other == role) or _key(other, config) == _key(role, config)
    ]
    model = config.teacher if role == "teacher" else config.student
    query = select(Run.config, Run.summary).where(
        Run.role.in_(alike_roles), Run.model == model, Run.finished_at.is_not(None)
    )
    epochs = "teacher_epochs" if role == "teacher" else "epochs"
    with store.reading() as session:
        rows = session.execute(query.order_by(Run.finished_at.desc()).limit(50)).all()
    alike = [
        summary["seconds"] / trained[epochs]
        for trained, summary in rows
        if summary.get("seconds")
        and ("teacher_features" in summary) == _keeps_features(role, config)
        and stored_setting(trained, "vocabulary") == config.vocabulary
        and all(stored_setting(trained, name) == value for name, value in wanted.items())
    ]
    return float(np.median(alike[:9])) if alike else None


def _finished(store: Store, fingerprints: list[str]) -> set[str]:
    """Return those fingerprints of which a run is trained."""
    found: set[str] = set()
    with store.reading() as session:
        for start in range(0, len(fingerprints), 500):
            some = fingerprints[start : start + 500]
            query = select(Run.fingerprint).where(
                Run.fingerprint.in_(some), Run.finished_at.is_not(None)
            )
            found |= set(session.scalars(query))
    return found
