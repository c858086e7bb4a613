"""Tables of the store, and the life of a job.

Every table is append-only or has one writer at a time.
"""

from __future__ import annotations

import enum
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    exists,
    false,
    or_,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column


class JobStatus(enum.StrEnum):
    """Where a job is in its life.

    ``QUEUED``: accepted, waits for a worker. ``RUNNING``: one worker holds it and sends heartbeats.
    ``FINISHED``: done, all results stored. ``STOPPED``: its user ended it; what was trained is
    kept. ``FAILED``: it raised; ``error`` says why in words. ``INTERRUPTED``: its process died or
    fell silent. The last three can be queued again and go on from the last checkpoint.
    """

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def live(self) -> bool:
        """Whether something may still happen without the user asking for it."""
        return self in (JobStatus.QUEUED, JobStatus.RUNNING)

    @property
    def resumable(self) -> bool:
        """Whether the job can be queued again."""
        return JobStatus.QUEUED in TRANSITIONS[self]


TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.STOPPED}),
    JobStatus.RUNNING: frozenset(
        {
            JobStatus.FINISHED,
            JobStatus.STOPPED,
            JobStatus.FAILED,
            JobStatus.INTERRUPTED,
            JobStatus.QUEUED,
        }
    ),
    JobStatus.FINISHED: frozenset(),
    JobStatus.STOPPED: frozenset({JobStatus.QUEUED}),
    JobStatus.FAILED: frozenset({JobStatus.QUEUED}),
    JobStatus.INTERRUPTED: frozenset({JobStatus.QUEUED}),
}

ROLES = ("teacher", "student", "baseline")
MEASURES = ("loss", "hard_loss", "soft_loss", "accuracy", "learning_rate", "examples_per_second")

# SQLite only counts up an INTEGER primary key; PostgreSQL wants 64 bits.
Counter = BigInteger().with_variant(Integer, "sqlite")


class Pool(enum.StrEnum):
    """The kind of worker that a job wants.

    ``MACHINE``: one that computes with the whole machine. ``THREAD``: one of several side by side,
    each on a single thread. ``ANSWERS``: one that keeps trained models loaded and answers at once.
    """

    MACHINE = "machine"
    THREAD = "thread"
    ANSWERS = "answers"

    @property
    def threads(self) -> int:
        """On how many threads such a worker computes, 0 for as many as there are."""
        return {Pool.MACHINE: 0, Pool.THREAD: 1, Pool.ANSWERS: 2}[self]


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {dict[str, Any]: JSON}


class Meta(Base):
    """One row: the version of this schema, so that an older program refuses a newer store
    in words.
    """

    __tablename__ = "meta"
    key: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class Job(Base):
    """A piece of work for a worker, and all that is known of how it goes.

    Times are Unix seconds.
    """

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    status: Mapped[str] = mapped_column(String(20), default=JobStatus.QUEUED.value, index=True)
    phase: Mapped[str] = mapped_column(Text, default="waiting for a worker")
    progress: Mapped[float] = mapped_column(default=0.0)
    seconds_left: Mapped[float | None]
    error: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)
    worker_id: Mapped[str | None] = mapped_column(String(40))
    heartbeat_at: Mapped[float | None]
    stop_requested_at: Mapped[float | None]
    attempts: Mapped[int] = mapped_column(default=0)
    rank: Mapped[int] = mapped_column(default=0, server_default="0")
    held: Mapped[bool] = mapped_column(default=False, server_default=false())
    pool: Mapped[str] = mapped_column(
        String(20), default=Pool.MACHINE.value, server_default=Pool.MACHINE.value
    )
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]


class JobNeed(Base):
    """A job that must be finished before another one may start, or have failed where it is needed
    ``even_failed``.
    """

    __tablename__ = "job_needs"
    job_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    needs_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    even_failed: Mapped[bool] = mapped_column(default=False, server_default=false())


class Experiment(Base):
    """What a user asked for. Its id is that of the job that carries it out.

    One with ``deleted_at`` is in the trash: hidden everywhere, and to be had back until it is
    purged.
    """

    __tablename__ = "experiments"
    id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, default="")
    note: Mapped[str] = mapped_column(Text, default="")
    starred: Mapped[bool] = mapped_column(default=False)
    fingerprint: Mapped[str] = mapped_column(String(64), index=True)
    config: Mapped[dict[str, Any]]
    dataset_key: Mapped[str | None] = mapped_column(String(64))
    seconds: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[float] = mapped_column(index=True)
    deleted_at: Mapped[float | None] = mapped_column(index=True)


class Tag(Base):
    """A word that a user filed an experiment under."""

    __tablename__ = "tags"
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(40), primary_key=True)


class Run(Base):
    """One model being trained or trained: a teacher, student or baseline.

    Several experiments may use it.
    """

    __tablename__ = "runs"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64), index=True)
    role: Mapped[str] = mapped_column(String(20))
    seed: Mapped[int]
    model: Mapped[str] = mapped_column(Text)
    config: Mapped[dict[str, Any]]
    parameters: Mapped[int] = mapped_column(default=0)
    summary: Mapped[dict[str, Any]] = mapped_column(default=dict)
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"))
    created_at: Mapped[float]
    finished_at: Mapped[float | None]


class ExperimentRun(Base):
    """Which runs an experiment consists of, and whether it found them already trained.

    ``step`` is the step of the experiment's plan that the run serves: "teacher", "student",
    "baseline" in the plain one, "student:2" for a second generation, for example.
    """

    __tablename__ = "experiment_runs"
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    step: Mapped[str] = mapped_column(String(40), primary_key=True)
    seed: Mapped[int] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(String(20))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), index=True)
    reused: Mapped[bool] = mapped_column(default=False)


class Metric(Base):
    """One point of a run's curves.

    ``more`` holds what a distillation method measures beyond the common columns, by name.

    Within a run, which has one writer, ``id`` grows in the order of commits: it is the cursor of
    that run. Between runs it does not: PostgreSQL gives numbers out before the commit, so a lower
    one may become visible later.
    """

    __tablename__ = "metrics"
    __table_args__ = (Index("metrics_of_run", "run_id", "id"),)
    id: Mapped[int] = mapped_column(Counter, primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    split: Mapped[str] = mapped_column(String(12))
    step: Mapped[int]
    epoch: Mapped[float]
    seconds: Mapped[float]
    loss: Mapped[float | None]
    hard_loss: Mapped[float | None]
    soft_loss: Mapped[float | None]
    accuracy: Mapped[float | None]
    learning_rate: Mapped[float | None]
    examples_per_second: Mapped[float | None]
    more: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class Probe(Base):
    """Logits of the fixed probe examples at the end of an epoch, as a NumPy array file of
    float32.
    """

    __tablename__ = "probes"
    __table_args__ = (Index("probes_of_run", "run_id", "id"),)
    id: Mapped[int] = mapped_column(Counter, primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    epoch: Mapped[int]
    logits: Mapped[bytes] = mapped_column(LargeBinary)


class Artifact(Base):
    """A named piece of binary data: weights, checkpoints, logits, example images."""

    __tablename__ = "artifacts"
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int]
    data: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    created_at: Mapped[float]


class ArtifactUse(Base):
    """Says that a run needs an artifact that does not carry its id, such as a teacher's cached
    logits.
    """

    __tablename__ = "artifact_uses"
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True, index=True)


class Export(Base):
    """A trained model in a format to leave with. ``report`` is empty until it is measured.

    The file is an artifact.
    """

    __tablename__ = "exports"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    format: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[float]


class Sweep(Base):
    """A set of experiments that differ in a few settings, asked for together.

    All of them get its ``tags``.
    """

    __tablename__ = "sweeps"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(Text, default="")
    config: Mapped[dict[str, Any]]
    paused: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[float] = mapped_column(index=True)
    tags: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")


class SweepCell(Base):
    """A job of a sweep. Its ``part`` is "cell", or "teacher" or "baseline" (work that cells share),
    or "confirmation".

    ``values`` are the varied settings of a cell, None until a sampler has chosen them; ``trial_id``
    is its trial in the Optuna study. A cell that got more seeds has a later row of the same values,
    which then counts.
    """

    __tablename__ = "sweep_cells"
    job_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    sweep_id: Mapped[str] = mapped_column(String(40), index=True)
    number: Mapped[int]
    part: Mapped[str] = mapped_column(String(20))
    values: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    trial_id: Mapped[int | None]
    pruned: Mapped[bool] = mapped_column(default=False)


class ArtifactPart(Base):
    """A part of an artifact too large for one field; its ``data`` is empty then.

    Parts are numbered from 0.
    """

    __tablename__ = "artifact_parts"
    key: Mapped[str] = mapped_column(
        ForeignKey("artifacts.key", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class Prediction(Base):
    """A question to trained models, and their answers.

    Rows are short-lived: see :mod:`kdcore.engine.predictions`.
    """

    __tablename__ = "predictions"
    id: Mapped[int] = mapped_column(Counter, primary_key=True, autoincrement=True)
    run_ids: Mapped[dict[str, Any]]
    inputs: Mapped[bytes] = mapped_column(LargeBinary)
    logits: Mapped[bytes | None] = mapped_column(LargeBinary)
    milliseconds: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[str | None] = mapped_column(Text)
    asked_at: Mapped[float]
    answered_at: Mapped[float | None] = mapped_column(index=True)


class Worker(Base):
    """A process that runs jobs.

    ``process_started`` tells it from a later process with the same number.
    """

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int]
    process_started: Mapped[float]
    state: Mapped[str] = mapped_column(String(12), default="starting")
    pool: Mapped[str] = mapped_column(
        String(20), default=Pool.MACHINE.value, server_default=Pool.MACHINE.value
    )
    heartbeat_at: Mapped[float]
    created_at: Mapped[float]


def is_deleted(experiment_id: Any) -> ColumnElement[bool]:
    """Return the condition that an experiment, by a column of ids, is in the trash."""
    in_trash = aliased(Experiment)  # of its own, whatever else the query joins
    return exists().where(in_trash.id == experiment_id, in_trash.deleted_at.is_not(None))


def run_is_kept() -> ColumnElement[bool]:
    """Return the condition that a row of ``runs`` belongs to an experiment that is not in the
    trash.

    A run that several experiments use is kept as long as one of them is.
    """
    use = aliased(ExperimentRun)
    kept_use = exists().where(use.run_id == Run.id, ~is_deleted(use.experiment_id))
    return or_(~is_deleted(Run.experiment_id), kept_use)


class UserDataset(Base):
    """One version of a user's own dataset; ``key`` is ``name@digest`` and names its
    content.

    A removed one keeps its row, so that experiments made with it can still be shown; its data is
    gone.
    """

    __tablename__ = "user_datasets"
    key: Mapped[str] = mapped_column(String(80), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), index=True)
    digest: Mapped[str] = mapped_column(String(64), index=True)
    card: Mapped[dict[str, Any]]
    manifest: Mapped[dict[str, Any]]
    report: Mapped[dict[str, Any]]
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]
    removed_at: Mapped[float | None]


class UserModel(Base):
    """One version of a user's own model.

    As with datasets, ``key`` names its content.
    """

    __tablename__ = "user_models"
    key: Mapped[str] = mapped_column(String(80), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), index=True)
    digest: Mapped[str] = mapped_column(String(64), index=True)
    card: Mapped[dict[str, Any]]
    manifest: Mapped[dict[str, Any]]
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[float]
    removed_at: Mapped[float | None]


class LessonProgress(Base):
    """What one visitor has predicted and answered in a lesson; ``visitor`` is empty on a machine of
    one's own, and a name in a classroom.
    """

    __tablename__ = "lesson_progress"
    visitor: Mapped[str] = mapped_column(String(40), primary_key=True)
    lesson: Mapped[str] = mapped_column(String(40), primary_key=True)
    prediction: Mapped[Any | None] = mapped_column(JSON)
    change: Mapped[str] = mapped_column(String(100), default="")
    answer: Mapped[Any | None] = mapped_column(JSON)
    updated_at: Mapped[float]
