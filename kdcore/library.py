"""All that was trained, as a list, and its care: names, tags, stars, disk space, deletion, export.

Nothing here reads a point of a curve except :func:`metrics_table`, so that a list of a thousand runs opens as fast
after a million points as after none.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd
from sqlalchemy import delete as delete_from
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from kdcore.errors import StoreError, require
from kdcore.schema import (
    MEASURES,
    ROLES,
    Artifact,
    Experiment,
    ExperimentRun,
    Job,
    JobStatus,
    Metric,
    Probe,
    Run,
    Tag,
)
from kdcore.statistics import paired_gain
from kdcore.store import Store, current_points

LONGEST_NAME = 120
LONGEST_NOTE = 10_000
LONGEST_TAG = 40
MOST_TAGS = 20
NAMES_PER_STATEMENT = 5_000
ExportFormat = Literal["csv", "parquet"]


# --- What there is ---


@dataclass(frozen=True)
class RunInfo:
    """A run with what is known of the experiment that trains it. Times are Unix seconds."""

    id: str
    role: str
    seed: int
    model: str
    config: dict[str, Any] = field(hash=False)
    parameters: int
    summary: dict[str, Any] = field(hash=False)
    created_at: float
    finished_at: float | None
    experiment_id: str
    experiment_name: str
    dataset_key: str | None
    job_status: str
    job_error: str | None

    @property
    def status(self) -> JobStatus:
        """How far the run itself is: finished as soon as it is measured, else as its experiment's job stands."""
        if self.finished_at is not None:
            return JobStatus.FINISHED
        status = JobStatus(self.job_status)
        return JobStatus.INTERRUPTED if status is JobStatus.FINISHED else status


_RUN_COLUMNS = (
    Run.id, Run.role, Run.seed, Run.model, Run.config, Run.parameters, Run.summary, Run.created_at, Run.finished_at,
    Run.experiment_id, Experiment.name, Experiment.dataset_key, Job.status, Job.error,
)  # fmt: skip


def runs(store: Store, run_ids: Iterable[str] | None = None) -> list[RunInfo]:
    """Return the runs with these ids, in their order, or all runs, newest experiment first.

    Raises StoreError for an id that no run has.
    """
    query = select(*_RUN_COLUMNS).join(Experiment, Experiment.id == Run.experiment_id)
    query = query.join(Job, Job.id == Experiment.id)
    if run_ids is None:
        query = query.order_by(Experiment.created_at.desc(), Run.created_at, Run.id)
    else:
        run_ids = list(dict.fromkeys(run_ids))
        query = query.where(Run.id.in_(run_ids))
    with store._read() as session:
        found = {row[0]: RunInfo(*row) for row in session.execute(query)}
    if run_ids is None:
        return list(found.values())
    for run_id in run_ids:
        if run_id not in found:
            raise StoreError(f"there is no run {run_id!r} in {store.url}")
    return [found[run_id] for run_id in run_ids]


def resolve_ids(store: Store, ids: Iterable[str]) -> list[str]:
    """Return run ids for ids of runs and experiments; an experiment stands for all its runs, teacher first.

    Raises StoreError for an id that is neither, and ConfigError for an experiment that has no runs yet.
    """
    wanted = list(dict.fromkeys(ids))
    with store._read() as session:
        known = set(session.scalars(select(Run.id).where(Run.id.in_(wanted))))
        experiments = set(session.scalars(select(Experiment.id).where(Experiment.id.in_(wanted))))
    found: list[str] = []
    for each in wanted:
        if each in known:
            found.append(each)
        elif each in experiments:
            of_experiment = [run.id for _, run in store.runs_of(each)]
            require(bool(of_experiment), "experiment", "one that has begun to train a model", each)
            found += of_experiment
        else:
            raise StoreError(f"there is no run or experiment {each!r} in {store.url}")
    return list(dict.fromkeys(found))


def latest_experiment(store: Store) -> str | None:
    """Return the id of the newest experiment that has begun to train a model, None if there is none."""
    query = select(Experiment.id).join(ExperimentRun, ExperimentRun.experiment_id == Experiment.id)
    with store._read() as session:
        return session.scalar(query.order_by(Experiment.created_at.desc(), Experiment.id).limit(1))


EXPERIMENT_COLUMNS = (
    "id", "starred", "name", "status", "dataset", "teacher", "student", "labels", "alpha", "temperature", "seeds",
    "teacher_accuracy", "student_accuracy", "baseline_accuracy", "gain", "outcome", "tags", "note", "created_at",
    "seconds", "disk", "run_ids",
)  # fmt: skip


def experiment_table(store: Store) -> pd.DataFrame:
    """Return one row an experiment, newest first, with columns ``EXPERIMENT_COLUMNS``.

    Accuracies are means over the finished seeds (fractions), ``gain`` is in percentage points over the seeds that have
    both student and baseline, ``outcome`` as in :class:`~kdcore.statistics.PairedGain`, ``disk`` in bytes.
    """
    linked: dict[str, list[tuple[str, int, Any]]] = {}
    links = select(
        ExperimentRun.experiment_id, ExperimentRun.role, ExperimentRun.seed, Run.id, Run.summary, Run.finished_at
    )
    columns = (
        Experiment.id, Experiment.starred, Experiment.name, Job.status, Experiment.config, Experiment.note,
        Experiment.created_at, Experiment.seconds,
    )  # fmt: skip
    everything = select(*columns).join(Job, Job.id == Experiment.id)
    with store._read() as session:
        for experiment_id, role, seed, *run in session.execute(links.join(Run, Run.id == ExperimentRun.run_id)):
            linked.setdefault(experiment_id, []).append((role, seed, run))
        rows = session.execute(everything.order_by(Experiment.created_at.desc(), Experiment.id)).all()
        tags = _tags(session)
    disk = disk_used(store)
    table = []
    for experiment_id, starred, name, status, config, note, created_at, seconds in rows:
        settings = ("dataset", "teacher", "student", "labels", "alpha", "temperature", "seeds")
        own = linked.get(experiment_id, [])
        table.append(
            {"id": experiment_id, "starred": starred, "name": name, "status": status, "note": note}
            | {"created_at": created_at, "seconds": sum(seconds.values()), "tags": tags.get(experiment_id, [])}
            | {name: config.get(name) for name in settings}
            | {"disk": disk.get(experiment_id, 0), "run_ids": [run[0] for _, _, run in own]}
            | _accuracies_and_gain(own)
        )
    return pd.DataFrame(table, columns=list(EXPERIMENT_COLUMNS))


def _accuracies_and_gain(own: list[tuple[str, int, Any]]) -> dict[str, Any]:
    by_role: dict[str, dict[int, dict[str, Any]]] = {role: {} for role in ROLES}
    for role, seed, (_, summary, finished_at) in own:
        if finished_at is not None:
            by_role[role][seed] = summary
    answer: dict[str, Any] = {}
    for role, found in by_role.items():
        measured = [summary["test_accuracy"] for summary in found.values()]
        answer[f"{role}_accuracy"] = sum(measured) / len(measured) if measured else None
    seeds = sorted(by_role["student"].keys() & by_role["baseline"].keys())
    if not seeds:
        return answer | {"gain": None, "outcome": None}
    pairs = [[by_role[role][seed]["test_accuracy"] for seed in seeds] for role in ("student", "baseline")]
    found_gain = paired_gain(*pairs, test_examples=by_role["student"][seeds[0]]["test_examples"])
    return answer | {"gain": found_gain.mean, "outcome": found_gain.outcome if len(seeds) > 1 else None}


# --- Names, tags, stars ---


def annotate(
    store: Store,
    experiment_id: str,
    *,
    name: str | None = None,
    note: str | None = None,
    starred: bool | None = None,
    tags: Sequence[str] | None = None,
) -> None:
    """Set what is given of an experiment's name, note, star and tags; raises ConfigError for text that is too long."""
    values: dict[str, Any] = {}
    if name is not None:
        values["name"] = name.strip()
        require(len(values["name"]) <= LONGEST_NAME, "name", f"at most {LONGEST_NAME} characters", len(values["name"]))
    if note is not None:
        values["note"] = note.strip()
        require(len(values["note"]) <= LONGEST_NOTE, "note", f"at most {LONGEST_NOTE} characters", len(values["note"]))
    if starred is not None:
        values["starred"] = starred
    cleaned = None if tags is None else sorted({tag.strip() for tag in tags} - {""})
    for tag in cleaned or []:
        require(len(tag) <= LONGEST_TAG, "tag", f"at most {LONGEST_TAG} characters", tag)
    require(len(cleaned or []) <= MOST_TAGS, "tags", f"at most {MOST_TAGS}", len(cleaned or []))
    store.experiment(experiment_id)
    with store._write() as session:
        if values:
            session.execute(update(Experiment).where(Experiment.id == experiment_id).values(**values))
        if cleaned is not None:
            session.execute(delete_from(Tag).where(Tag.experiment_id == experiment_id))
            if cleaned:
                session.execute(insert(Tag), [{"experiment_id": experiment_id, "tag": tag} for tag in cleaned])


def tags(store: Store) -> dict[str, list[str]]:
    """Return each experiment's tags, in alphabetical order; experiments without any are left out."""
    with store._read() as session:
        return _tags(session)


def _tags(session: Session) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for experiment_id, tag in session.execute(select(Tag.experiment_id, Tag.tag).order_by(Tag.tag)):
        found.setdefault(experiment_id, []).append(tag)
    return found


# --- Disk space and deletion ---


@dataclass(frozen=True)
class Deletion:
    """What deleting experiments means: what goes, which of their runs stay because others use them, bytes freed."""

    experiment_ids: tuple[str, ...]
    run_ids: tuple[str, ...]
    kept: dict[str, str]
    artifacts: tuple[str, ...]
    bytes_freed: int


def disk_used(store: Store) -> dict[str, int]:
    """Return the bytes of models, logits and checkpoints of each experiment's own runs; a reused run counts once."""
    with store._read() as session:
        owners = dict(session.execute(select(Run.id, Run.experiment_id)).tuples())
        stored = session.execute(select(Artifact.key, Artifact.size)).all()
    used: dict[str, int] = {}
    for key, size in stored:
        owner = owners.get(_second_part(key))
        if owner is not None:
            used[owner] = used.get(owner, 0) + size
    return used


def total_disk(store: Store) -> int:
    """Return the bytes of everything stored beside the curves: models, logits, checkpoints, images."""
    with store._read() as session:
        return int(session.scalar(select(func.coalesce(func.sum(Artifact.size), 0))) or 0)


def file_sizes(store: Store, run_ids: Iterable[str]) -> dict[str, int]:
    """Return the bytes of the .keras files of those runs that have one."""
    keys = {f"model/{run_id}": run_id for run_id in run_ids}
    with store._read() as session:
        rows = session.execute(select(Artifact.key, Artifact.size).where(Artifact.key.in_(list(keys))))
        return {keys[key]: size for key, size in rows}


def plan_deletion(store: Store, experiment_ids: Sequence[str]) -> Deletion:
    """Return what :func:`delete` would do. Raises StoreError for an unknown experiment and for one that is live."""
    with store._read() as session:
        return _plan(session, store, experiment_ids)


def delete(store: Store, experiment_ids: Sequence[str]) -> Deletion:
    """Delete experiments with all runs that no other experiment uses, in one commit; returns what was done.

    Raises StoreError for an unknown experiment and for one that is live.
    """
    with store._write() as session:
        plan = _plan(session, store, experiment_ids)
        for run_id, user in plan.kept.items():
            session.execute(
                update(Run)
                .where(Run.id == run_id, Run.experiment_id.in_(plan.experiment_ids))
                .values(experiment_id=user)
            )
        session.execute(delete_from(ExperimentRun).where(ExperimentRun.experiment_id.in_(plan.experiment_ids)))
        for table in (Metric, Probe):
            session.execute(delete_from(table).where(table.run_id.in_(plan.run_ids)))
        for start in range(0, len(plan.artifacts), NAMES_PER_STATEMENT):
            some = plan.artifacts[start : start + NAMES_PER_STATEMENT]
            session.execute(delete_from(Artifact).where(Artifact.key.in_(some)))
        session.execute(delete_from(Run).where(Run.id.in_(plan.run_ids)))
        session.execute(delete_from(Tag).where(Tag.experiment_id.in_(plan.experiment_ids)))
        session.execute(delete_from(Experiment).where(Experiment.id.in_(plan.experiment_ids)))
        session.execute(delete_from(Job).where(Job.id.in_(plan.experiment_ids)))
    return plan


def _plan(session: Session, store: Store, experiment_ids: Sequence[str]) -> Deletion:
    going = tuple(dict.fromkeys(experiment_ids))
    jobs = dict(session.execute(select(Job.id, Job.status).join(Experiment, Experiment.id == Job.id)).tuples())
    for each in going:
        if each not in jobs:
            raise StoreError(f"there is no experiment {each!r} in {store.url}")
        if JobStatus(jobs[each]).live:
            raise StoreError(f"experiment {each} is {jobs[each]}: stop it first, then delete it")
    used = set(session.scalars(select(ExperimentRun.run_id).where(ExperimentRun.experiment_id.in_(going))))
    used |= set(session.scalars(select(Run.id).where(Run.experiment_id.in_(going))))
    elsewhere = select(ExperimentRun.run_id, ExperimentRun.experiment_id).where(ExperimentRun.run_id.in_(used))
    kept = dict(session.execute(elsewhere.where(ExperimentRun.experiment_id.not_in(going))).tuples())
    owned = select(Run.id, Run.experiment_id).where(Run.id.in_(used), Run.experiment_id.not_in(going))
    kept |= dict(session.execute(owned).tuples())
    run_ids = tuple(sorted(used - kept.keys()))
    stored = session.execute(select(Artifact.key, Artifact.size)).tuples()
    doomed = _doomed_artifacts(session, going, run_ids, dict(stored))
    return Deletion(going, run_ids, kept, tuple(doomed), sum(doomed.values()))


def _doomed_artifacts(
    session: Session, going: tuple[str, ...], run_ids: tuple[str, ...], stored: dict[str, int]
) -> dict[str, int]:
    """What is stored of these runs, and of data that only these experiments use.

    A deleted teacher's cached logits are named by its weights, not by its run: all teachers' caches on its data go,
    and the next experiment with one of the others asks it once more.
    """
    gone = {*run_ids, *_unused_data(session, going)}
    teachers = select(Experiment.dataset_key).join(Run, Run.experiment_id == Experiment.id)
    asked = set(session.scalars(teachers.where(Run.id.in_(run_ids), Run.role == "teacher")))

    def is_doomed(key: str) -> bool:
        kind, *parts = key.split("/")
        return bool(gone & set(parts)) or (kind == "teacher_logits" and bool(asked & set(parts)))

    return {key: size for key, size in stored.items() if is_doomed(key)}


def _unused_data(session: Session, going: tuple[str, ...]) -> set[str]:
    """Keys of datasets whose examples and cached teacher logits nobody needs once these experiments are gone."""
    with_data = select(Experiment.dataset_key).where(Experiment.dataset_key.is_not(None))
    before = set(session.scalars(with_data.where(Experiment.id.in_(going))))
    after = set(session.scalars(with_data.where(Experiment.id.not_in(going))))
    return {key for key in before - after if key is not None}


def _second_part(key: str) -> str:
    """The part of an artifact's key that says whose it is: "logits/<run id>/test"."""
    return key.split("/", 2)[1] if "/" in key else ""


# --- Export ---


def metrics_table(store: Store, run_ids: Sequence[str]) -> pd.DataFrame:
    """Return every point that still counts of these runs' curves, each with what it is a point of."""
    known = {run.id: run for run in runs(store, run_ids)}
    points = current_points(store.metrics(known))
    about = {name: [getattr(known[run_id], name) for run_id in points["run_id"]] for name in ("role", "model", "seed")}
    experiments = [known[run_id].experiment_id for run_id in points["run_id"]]
    table = pd.DataFrame({"experiment": experiments, "run": points["run_id"].to_numpy(), **about})
    for name in ("split", "step", "epoch", "seconds", *MEASURES):
        table[name] = points[name].to_numpy()
    return table


def export_metrics(store: Store, run_ids: Sequence[str], file_format: ExportFormat) -> bytes:
    """Return :func:`metrics_table` as the bytes of a CSV (UTF-8) or Parquet file; raises ConfigError for another."""
    require(file_format in ("csv", "parquet"), "format", "csv or parquet", file_format)
    table = metrics_table(store, run_ids)
    if file_format == "csv":
        return table.to_csv(index=False).encode()
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


# --- Measuring speed: a worker does it, see kdcore.profiling ---


def request_profile(store: Store, run_ids: Iterable[str]) -> str:
    """Queue a job that measures the latency of finished runs; returns its id, to be submitted to an engine."""
    wanted = list(run_ids)
    unfinished = [run.id for run in runs(store, wanted) if run.finished_at is None]
    if unfinished or not wanted:
        require(False, "run", "finished before its speed is measured", unfinished[0] if unfinished else "none")
    return store.add_job("profile", {"run_ids": wanted})


def live_profiles(store: Store) -> dict[str, Job]:
    """Return the queued or running profile job of each run that has one."""
    found: dict[str, Job] = {}
    for job in store.jobs(JobStatus.QUEUED, JobStatus.RUNNING):
        if job.kind == "profile":
            found |= {run_id: job for run_id in job.payload["run_ids"]}
    return found
