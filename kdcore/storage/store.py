"""The only meeting place of dashboard and workers: one database, addressed by URL.

SQLite in a local file by default (write-ahead log, so readers never wait for the writer),
PostgreSQL by URL for a team or a cluster. What a method here has returned from is committed:
killing any process afterwards loses nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from kdcore import plans
from kdcore.config import catalog
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import ClaimLost, StoreError, StoreUnreachable, TransitionError
from kdcore.installation import data_folder
from kdcore.storage import artifacts, migrations, queueing, user_data, user_models
from kdcore.storage.arrays import unpack
from kdcore.storage.cursors import Cursor, newer
from kdcore.storage.cursors import current_points as current_points
from kdcore.storage.database import (
    FILE_IS_GONE,
    SCHEMA_LOCK,
    database_words,
    inode,
    lock_until_commit,
    open_database,
    outage,
    ride_out_outages,
    riding_out,
    try_lock,
    upsert,
    without_password,
)
from kdcore.storage.schema import (
    MEASURES,
    TRANSITIONS,
    Artifact,
    ArtifactUse,
    Experiment,
    ExperimentRun,
    Job,
    JobStatus,
    Metric,
    Pool,
    Probe,
    Run,
    SweepCell,
    Tag,
    Worker,
    is_deleted,
    run_is_kept,
)

PLACE_COLUMNS = ("id", "run_id", "split", "step", "epoch", "seconds")
METRIC_COLUMNS = (*PLACE_COLUMNS, *MEASURES)


def default_url() -> str:
    """Return ``KD_STORE``, or the SQLite file store.db in KD Lab's own folder."""
    if url := os.environ.get("KD_STORE"):
        return url
    return f"sqlite:///{data_folder() / 'store.db'}"


def new_id() -> str:
    """Return a fresh short id, safe in URLs and file names."""
    return secrets.token_hex(5)


def add_experiment(
    session: Session,
    config: ExperimentConfig,
    job_id: str,
    *,
    name: str = "",
    tags: Sequence[str] = (),
    created_at: float | None = None,
) -> None:
    """Add the row of an experiment to a job that is there: the one place where one is made."""
    session.flush()
    session.add(
        Experiment(
            id=job_id,
            name=name,
            fingerprint=config.fingerprint(),
            config=config.model_dump(mode="json"),
            created_at=created_at or time.time(),
        )
    )
    session.flush()
    session.add_all(Tag(experiment_id=job_id, tag=tag) for tag in tags)


def _metric_row(point: Mapping[str, Any]) -> dict[str, Any]:
    more = {name: value for name, value in point.items() if name not in METRIC_COLUMNS}
    row = {name: point.get(name) for name in METRIC_COLUMNS if name != "id"}
    return {**row, "more": more or None}


@ride_out_outages
class Store:
    """A connection to the database at ``url``; cheap to make, safe to share between threads.

    While a database server is out of reach, every method tries again for ``patience`` seconds:
    workers wait and lose nothing, a page says at once what is wrong. Raises
    :class:`~kdcore.errors.StoreError` where the database cannot be opened,
    :class:`~kdcore.errors.StoreUnreachable` where it does not answer.
    """

    def __init__(self, url: str | None = None, *, patience: float = 0.0) -> None:
        self.url = url or default_url()
        self.name = without_password(self.url)
        self.patience = patience
        try:
            parsed = make_url(self.url)
            if parsed.get_backend_name() == "sqlite" and parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            self._url, self._inode = parsed, None
            self._engine, self._writing_engine = open_database(parsed)
            weakref.finalize(
                self, self._engine.dispose
            )  # a store that nobody holds any more leaves no connection open
            self._prepare()
            self._inode = inode(parsed)
        except (SQLAlchemyError, OSError) as error:
            raise StoreError(
                f"the store {self.name} cannot be opened: {database_words(error)}"
            ) from error
        catalog.add_source(self)

    @riding_out
    def _prepare(self) -> None:
        with self.writing() as session:
            lock_until_commit(session, SCHEMA_LOCK)  # several may find a new database at once
            migrations.prepare(session.connection(), self.name)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session whose queries all see one moment of the database."""
        with self._in_words(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a session that is committed whole at the end of the block, or not at all."""
        with (
            self._in_words(),
            Session(self._writing_engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        self._notice_another_file()
        try:
            yield
        except SQLAlchemyError as error:
            if (trouble := outage(error)) is None:
                raise
            raise StoreUnreachable(f"the store {self.name} cannot be reached: {trouble}") from error

    def _notice_another_file(self) -> None:
        """Follow the name of a SQLite file, not the file: what is written to a deleted one would be
        lost unheard.
        """
        if self._inode is None:
            return
        try:
            found = inode(self._url)
        except OSError as error:
            raise StoreUnreachable(
                f"the store {self.name} cannot be reached: {FILE_IS_GONE}"
            ) from error
        if found != self._inode:
            self._engine.dispose()
            self._inode = None  # until it has proved to be a store
            try:
                self._prepare()
            except BaseException:
                self._inode = -1
                raise
            self._inode = found

    @property
    def is_file(self) -> bool:
        """Whether the database is a SQLite file, not a server."""
        return self._engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def maintaining(self) -> Iterator[Any]:
        """Give a cursor outside of any transaction, for what a database does to its own file.

        The connection is not used again: settings made here end with the block.
        """
        connection = self._engine.raw_connection()
        try:
            yield connection.cursor()
        finally:
            connection.invalidate()

    def reachable_since(self) -> float:
        """Return when the database server was started, in Unix seconds; 0 for a file."""
        if self._engine.dialect.name != "postgresql":
            return 0.0
        with self.reading() as session:
            return float(
                session.scalar(select(func.extract("epoch", func.pg_postmaster_start_time())))
                or 0.0
            )

    @contextlib.contextmanager
    def alone(self, number: int) -> Iterator[bool]:
        """For the length of the block, let one process at a time have ``number``.

        Gives whether this one has it.
        """
        with self.writing() as session:
            yield try_lock(session, number)

    def close(self) -> None:
        """Release the connections.

        The store can be used again afterwards, its users' datasets are no longer known.
        """
        catalog.remove_source(self)
        self._engine.dispose()

    # Users' own data and models, for the catalog

    def user_dataset(self, name: str) -> catalog.DatasetCard | None:
        """Return the card of a user's dataset, by key or by name.

        See :class:`kdcore.config.catalog.Source`.
        """
        row = user_data.find(self, name)
        return None if row is None else user_data.to_card(row)

    def user_datasets(self) -> dict[str, catalog.DatasetCard]:
        """Return the cards of the latest versions of the users' datasets, by key."""
        return {row.key: user_data.to_card(row) for row in user_data.latest(self)}

    def user_model(self, name: str) -> catalog.ModelCard | None:
        """Return the card of a user's model, by key or by name."""
        row = user_models.find(self, name)
        return None if row is None else user_models.to_card(row)

    def user_models(self) -> dict[str, catalog.ModelCard]:
        """Return the cards of the latest versions of the users' models, by key."""
        return {row.key: user_models.to_card(row) for row in user_models.latest(self)}

    # Jobs and their life

    def add_job(self, kind: str, payload: dict[str, Any], job_id: str | None = None) -> str:
        """Accept a job of ``kind``; returns its id."""
        job_id = job_id or new_id()
        with self.writing() as session:
            session.add(Job(id=job_id, kind=kind, payload=payload, created_at=time.time()))
        return job_id

    def job(self, job_id: str) -> Job:
        """Return the job as it stands; raises StoreError for an unknown id."""
        with self.reading() as session:
            job = session.get(Job, job_id)
        if job is None:
            raise StoreError(f"there is no experiment or job {job_id!r} in {self.name}")
        return job

    def jobs(self, *statuses: JobStatus) -> list[Job]:
        """Return the jobs in any of ``statuses``, oldest first."""
        query = (
            select(Job)
            .where(Job.status.in_([status.value for status in statuses]))
            .order_by(Job.created_at, Job.id)
        )
        with self.reading() as session:
            return list(session.scalars(query))

    def queue_position(self, job_id: str) -> int:
        """Return how many queued jobs come before this one."""
        job = self.job(job_id)
        query = select(func.count()).where(
            Job.status == JobStatus.QUEUED.value, Job.created_at < job.created_at
        )
        with self.reading() as session:
            return session.scalar(query) or 0

    def claim(
        self, worker_id: str, job_id: str | None = None, *, pool: Pool | None = None
    ) -> Job | None:
        """Give the next ready job (or ``job_id``, if it is ready) to a worker: one atomic UPDATE.

        ``pool`` asks for jobs for that kind of worker alone.
        """
        oldest = queueing.next_ready(pool)
        # On PostgreSQL two workers may poll at the same moment: each takes the oldest that nobody
        # is taking.
        oldest = oldest.with_for_update(skip_locked=True, of=Job)
        if job_id is not None:
            oldest = oldest.where(Job.id == job_id)
        now = time.time()
        statement = (
            update(Job)
            .where(Job.id == oldest.scalar_subquery(), Job.status == JobStatus.QUEUED.value)
            .values(
                status=JobStatus.RUNNING.value,
                worker_id=worker_id,
                heartbeat_at=now,
                started_at=func.coalesce(Job.started_at, now),
                finished_at=None,
                stop_requested_at=None,
                error=None,
                traceback=None,
                phase="starting",
                attempts=Job.attempts + 1,
            )
            .returning(Job)
        )
        with self.writing() as session:
            return session.scalars(statement).one_or_none()

    def waiting(self) -> dict[Pool, int]:
        """Return how many jobs wait for each kind of worker, held and hopeless ones left out."""
        with self.reading() as session:
            return {Pool(pool): count for pool, count in session.execute(queueing.waiting())}

    def finish(
        self,
        job_id: str,
        status: JobStatus,
        *,
        worker_id: str | None = None,
        error: str | None = None,
        traceback: str | None = None,
    ) -> None:
        """Move a job to ``status``; raises TransitionError where its life does not allow that.

        With ``worker_id``, only while that worker still holds the job; raises ClaimLost otherwise.
        """
        allowed = [before.value for before, after in TRANSITIONS.items() if status in after]
        statement = update(Job).where(Job.id == job_id, Job.status.in_(allowed))
        if worker_id is not None:
            statement = statement.where(
                Job.worker_id == worker_id, Job.status == JobStatus.RUNNING.value
            )
        values: dict[str, Any] = {
            "status": status.value,
            "error": error,
            "traceback": traceback,
            "seconds_left": None,
        }
        if status is JobStatus.QUEUED:
            values |= {
                "worker_id": None,
                "stop_requested_at": None,
                "phase": "waiting for a worker",
            }
        else:
            values |= {"finished_at": time.time(), "phase": status.value}
        if status is JobStatus.FINISHED:
            values["progress"] = 1.0
        with self.writing() as session:
            moved = session.execute(statement.values(**values)).rowcount  # type: ignore[attr-defined]
        if not moved:
            if worker_id is not None:
                raise ClaimLost(f"job {job_id} is no longer this worker's")
            raise TransitionError(
                f"job {job_id} is {self.job(job_id).status} and cannot become {status}"
            )

    def requeue(self, job_id: str) -> None:
        """Queue a stopped, failed or interrupted job again; it goes on from its last checkpoint.

        Raises StoreError for an experiment in the trash.
        """
        self.refuse_deleted(job_id)
        self.finish(job_id, JobStatus.QUEUED)

    def request_stop(self, job_id: str) -> None:
        """Ask for a stop: a queued job stops here, a running one at its next batch; others stay as
        they are.

        Raises StoreError for an unknown id.
        """
        self.job(job_id)
        now, this = time.time(), update(Job).where(Job.id == job_id)
        stopped = {"status": JobStatus.STOPPED.value, "phase": "stopped", "finished_at": now}
        requested = {"stop_requested_at": func.coalesce(Job.stop_requested_at, now)}
        with self.writing() as session:
            session.execute(this.where(Job.status == JobStatus.QUEUED.value).values(**stopped))
            session.execute(this.where(Job.status == JobStatus.RUNNING.value).values(**requested))

    def heartbeat(self, job_id: str, worker_id: str) -> bool:
        """Say that the worker still has the job; returns whether a stop is asked for.

        Raises ClaimLost.
        """
        statement = (
            update(Job)
            .where(
                Job.id == job_id, Job.worker_id == worker_id, Job.status == JobStatus.RUNNING.value
            )
            .values(heartbeat_at=time.time())
            .returning(Job.id, Job.stop_requested_at)
        )
        with self.writing() as session:
            row = session.execute(statement).one_or_none()
        if row is None:
            raise ClaimLost(f"job {job_id} is no longer this worker's")
        return row[1] is not None

    def report(
        self, job_id: str, phase: str, progress: float, seconds_left: float | None = None
    ) -> None:
        """Say in words what a running job does, how far it is (0 to 1) and how long it will
        take.
        """
        values = {"phase": phase, "progress": progress, "seconds_left": seconds_left}
        with self.writing() as session:
            session.execute(
                update(Job)
                .where(Job.id == job_id, Job.status == JobStatus.RUNNING.value)
                .values(**values)
            )

    def wait_for(self, words: str) -> None:
        """Say in words what all queued jobs wait for."""
        waiting = update(Job).where(Job.status == JobStatus.QUEUED.value, Job.phase != words)
        with self.writing() as session:
            session.execute(waiting.values(phase=words))

    # Workers

    def put_worker(self, worker: Worker) -> None:
        """Add or refresh a worker's row."""
        row = {column.name: getattr(worker, column.name) for column in Worker.__table__.columns}
        with self.writing() as session:
            upsert(session, Worker, [row])

    def remove_worker(self, worker_id: str) -> None:
        """Forget a worker that left."""
        with self.writing() as session:
            session.execute(delete(Worker).where(Worker.id == worker_id))

    def workers(self) -> list[Worker]:
        """Return all workers that have not said goodbye, dead ones among them."""
        with self.reading() as session:
            return list(session.scalars(select(Worker).order_by(Worker.created_at)))

    # Experiments and runs

    def create(self, config: ExperimentConfig, *, name: str = "", reuse: str = "teacher") -> str:
        """Accept an experiment and queue its job; returns the id of both.

        ``reuse`` says which already trained runs may serve again: "none", "teacher", or "all".
        """
        user_models.remember_functions(self, config.teacher, config.student)
        with self.writing() as session:
            job = Job(
                id=new_id(), kind="experiment", payload={"reuse": reuse}, created_at=time.time()
            )
            session.add(job)
            add_experiment(session, config, job.id, name=name)
            return job.id

    def experiment(self, experiment_id: str) -> Experiment:
        """Return an experiment; raises StoreError for an unknown id, and for one in the trash."""
        with self.reading() as session:
            experiment = session.get(Experiment, experiment_id)
        if experiment is None:
            raise StoreError(f"there is no experiment {experiment_id!r} in {self.name}")
        self.refuse_deleted(experiment_id)
        return experiment

    def refuse_deleted(self, experiment_id: str) -> None:
        """Raise StoreError if the experiment is in the trash."""
        with self.reading() as session:
            experiment = session.get(Experiment, experiment_id)
            if experiment is not None and experiment.deleted_at is not None:
                raise StoreError(
                    f"experiment {experiment_id} is in the trash: python -m kdcore restore {experiment_id} brings it back"
                )

    def experiments(
        self, limit: int = 1000, *, of_sweeps: bool = True
    ) -> list[tuple[Experiment, Job]]:
        """Return the newest experiments with their jobs, newest first, not those in the trash.

        ``of_sweeps=False`` leaves out what belongs to sweeps, which are lists of their own.
        """
        query = (
            select(Experiment, Job)
            .join(Job, Job.id == Experiment.id)
            .where(~is_deleted(Experiment.id))
        )
        if not of_sweeps:
            query = query.where(Experiment.id.not_in(select(SweepCell.job_id)))
        with self.reading() as session:
            rows = session.execute(
                query.order_by(Experiment.created_at.desc(), Experiment.id).limit(limit)
            ).all()
        return [(row[0], row[1]) for row in rows]

    def update_experiment(self, experiment_id: str, **values: Any) -> None:
        """Set columns of an experiment, for example ``name``, ``note`` or ``starred``."""
        with self.writing() as session:
            session.execute(
                update(Experiment).where(Experiment.id == experiment_id).values(**values)
            )

    def add_seconds(self, experiment_id: str, part: str, seconds: float) -> None:
        """Add to the time that a part of the experiment took, over all its attempts."""
        with self.writing() as session:
            experiment = session.get_one(Experiment, experiment_id, with_for_update=True)
            experiment.seconds = {
                **experiment.seconds,
                part: experiment.seconds.get(part, 0.0) + seconds,
            }

    def claim_run(
        self, run: Run, experiment_id: str, *, share: bool, step: str | None = None
    ) -> tuple[Run, str | None]:
        """Find the run that serves ``experiment_id`` in the place of ``run``, or add ``run``
        itself.

        Returns it, and the id of the live experiment that is training it if that is another one:
        then wait and ask again. A run that an earlier attempt of the experiment began is its own;
        with ``share`` any run of the same fingerprint serves that is not in the trash, and one
        whose experiment is no longer running is taken over at its checkpoint. ``step`` is the step
        of the experiment's plan, by default the run's role.
        """
        step = step or run.role
        with self.writing() as session:
            # One claim a fingerprint at a time.
            lock_until_commit(session, int(run.fingerprint[:15], 16))
            link = session.get(ExperimentRun, (experiment_id, step, run.seed))
            found = session.get(Run, link.run_id) if link else None
            if found is None and share:
                same = select(Run).where(Run.fingerprint == run.fingerprint, run_is_kept())
                found = session.scalars(
                    same.order_by(Run.finished_at.is_(None), Run.created_at.desc())
                ).first()
            if found is None:
                session.add(run)
                session.flush()
            elif found.finished_at is None and found.experiment_id != experiment_id:
                owner = session.get_one(Job, found.experiment_id)
                if owner.status == JobStatus.RUNNING.value:
                    return found, owner.id
                found.experiment_id = experiment_id
            chosen = found or run
            if link is None:
                reused = found is not None and found.finished_at is not None
                place = {"experiment_id": experiment_id, "step": step, "seed": run.seed}
                session.add(ExperimentRun(**place, role=run.role, run_id=chosen.id, reused=reused))
            return chosen, None

    def run(self, run_id: str) -> Run:
        """Return a run; raises StoreError for an unknown id."""
        with self.reading() as session:
            run = session.get(Run, run_id)
        if run is None:
            raise StoreError(f"there is no run {run_id!r} in {self.name}")
        return run

    def runs_of(self, experiment_id: str) -> list[tuple[ExperimentRun, Run]]:
        """Return an experiment's runs with their links, in the order of its plan, then by seed."""
        query = select(ExperimentRun, Run).join(Run, Run.id == ExperimentRun.run_id)
        query = query.where(ExperimentRun.experiment_id == experiment_id)
        with self.reading() as session:
            rows = [(row[0], row[1]) for row in session.execute(query)]
            experiment = session.get(Experiment, experiment_id)
        if experiment is None:
            return []
        # Not checked again: its data or model may have left the catalog.
        plan = plans.plan_of(ExperimentConfig.unchecked(experiment.config))
        return sorted(rows, key=lambda row: (plan.place(row[0].step), row[0].step, row[0].seed))

    def finished_runs(self, role: str | None = None, fingerprint: str | None = None) -> list[Run]:
        """Return trained runs, newest first; not those in the trash."""
        query = (
            select(Run)
            .where(Run.finished_at.is_not(None), run_is_kept())
            .order_by(Run.finished_at.desc())
        )
        if role is not None:
            query = query.where(Run.role == role)
        if fingerprint is not None:
            query = query.where(Run.fingerprint == fingerprint)
        with self.reading() as session:
            return list(session.scalars(query))

    def update_run(self, run_id: str, **values: Any) -> None:
        """Set columns of a run, for example ``parameters``, ``summary`` or ``finished_at``."""
        with self.writing() as session:
            session.execute(update(Run).where(Run.id == run_id).values(**values))

    # Curves

    def append_metrics(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Append points of one or several runs in one commit.

        Keys are the columns of the metrics table; whatever else is measured keeps its name.
        """
        if points:
            with self.writing() as session:
                session.execute(insert(Metric), [_metric_row(point) for point in points])

    def metrics(self, run_ids: Iterable[str], after: Cursor | None = None) -> pd.DataFrame:
        """Return the points of ``run_ids`` in order of id: all, or those that are new since the
        cursor ``after``.

        :func:`kdcore.storage.cursors.next_cursor` makes the next one. The cost depends on how much
        is new, not on how much there is. What a distillation method measures beyond the common
        measures is a column of its own name.
        """
        query = select(*(Metric.__table__.c[name] for name in (*METRIC_COLUMNS, "more")))
        with self.reading() as session:
            rows = newer(session, query, Metric, run_ids, after).all()
        frame = pd.DataFrame(rows, columns=[*METRIC_COLUMNS, "more"])
        more = frame.pop("more")
        numbers = ["epoch", "seconds", *MEASURES]
        frame[numbers] = frame[numbers].astype(float)
        if more.notna().any():
            own = pd.DataFrame([row or {} for row in more], index=frame.index, dtype=float)
            frame = pd.concat([frame, own], axis=1)
        return frame

    def add_probe(self, run_id: str, epoch: int, logits: bytes) -> None:
        """Append a run's logits of the probe examples at the end of ``epoch`` (0: before
        training).
        """
        with self.writing() as session:
            session.execute(insert(Probe).values(run_id=run_id, epoch=epoch, logits=logits))

    def probes(
        self, run_ids: Iterable[str], after: Cursor | None = None
    ) -> tuple[list[tuple[str, int, NDArray]], dict[str, int]]:
        """Return (run id, epoch, logits [examples, classes]) new since the cursor ``after``, and
        the next cursor.
        """
        with self.reading() as session:
            rows = list(newer(session, select(Probe), Probe, run_ids, after).scalars())
        cursor = {**(after or {}), **{row.run_id: row.id for row in rows}}
        return [(row.run_id, row.epoch, unpack(row.logits)) for row in rows], cursor

    # Artifacts

    def put_artifacts(self, data: Mapping[str, bytes]) -> None:
        """Store named pieces of data in one commit, replacing what has the same name.

        Raises StoreError for one of 2 GiB or more.
        """
        with self.writing() as session:
            for key, piece in data.items():
                artifacts.write(session, key, piece)

    def put_artifact(self, key: str, data: bytes) -> None:
        """Store one named piece of data, replacing what has the same name."""
        self.put_artifacts({key: data})

    def use_artifact(self, key: str, run_id: str) -> None:
        """Say that a run needs the artifact ``key``: it is kept as long as one run that needs it
        is.
        """
        with self.writing() as session:
            upsert(session, ArtifactUse, [{"key": key, "run_id": run_id}])

    def artifact_used_by(self, run_id: str, prefix: str) -> str | None:
        """Return the key of an artifact that is there and that a run has said it needs, by the
        key's beginning.
        """
        query = select(ArtifactUse.key).join(Artifact, Artifact.key == ArtifactUse.key)
        with self.reading() as session:
            return session.scalar(
                query.where(ArtifactUse.run_id == run_id, ArtifactUse.key.startswith(prefix)).limit(
                    1
                )
            )

    def artifact(self, key: str) -> bytes | None:
        """Return the data stored under ``key``, None if there is none.

        Raises StoreError if it is damaged.
        """
        with self.reading() as session:
            return artifacts.read(session, key)

    def has_artifact(self, key: str) -> bool:
        """Return whether something is stored under ``key``, without reading it."""
        return self.artifact_size(key) is not None

    def artifact_size(self, key: str) -> int | None:
        """Return how many bytes are stored under ``key``, without reading them.

        None if there is nothing.
        """
        with self.reading() as session:
            return session.scalar(select(Artifact.size).where(Artifact.key == key))

    def delete_artifacts(self, *keys: str) -> None:
        """Forget the data stored under ``keys``."""
        with self.writing() as session:
            session.execute(delete(Artifact).where(Artifact.key.in_(keys)))
