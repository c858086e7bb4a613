"""The only meeting place of dashboard and workers: one database, addressed by URL.

SQLite in a local file by default (write-ahead log, so readers never wait for the writer),
PostgreSQL by URL for a team or a cluster. What a method here has returned from is committed:
killing any process afterwards loses nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from kdcore import plans
from kdcore.config import catalog, sources
from kdcore.config.cards import DatasetCard, ModelCard
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import StoreError
from kdcore.installation import data_folder
from kdcore.settings import listed
from kdcore.storage import user_data, user_models
from kdcore.storage.arrays import unpack
from kdcore.storage.cursors import Cursor, newer
from kdcore.storage.cursors import current_points as current_points
from kdcore.storage.database import (
    SCHEMA_LOCK,
    lock_until_commit,
    ride_out_outages,
)
from kdcore.storage.jobs import JobStore
from kdcore.storage.jobs import new_id as new_id
from kdcore.storage.schema import (
    MEASURES,
    Experiment,
    ExperimentRun,
    Job,
    JobStatus,
    Metric,
    Probe,
    Run,
    SweepCell,
    Tag,
    is_deleted,
    run_is_kept,
)

PLACE_COLUMNS = ("id", "run_id", "split", "step", "epoch", "seconds")
METRIC_COLUMNS = (*PLACE_COLUMNS, *MEASURES)
LEARNERS = ("student", "baseline")  # who are compared with each other
LOCK_OF_WHAT_RUNS_SAY = SCHEMA_LOCK + 2


def default_url() -> str:
    """Return ``KD_STORE``, or the SQLite file store.db in KD Lab's own folder."""
    if url := os.environ.get("KD_STORE"):
        return url
    return f"sqlite:///{data_folder() / 'store.db'}"


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
class Store(JobStore):
    """A connection to the database at ``url``; cheap to make, safe to share between threads.

    While a database server is out of reach, every method tries again for ``patience`` seconds:
    workers wait and lose nothing, a page says at once what is wrong. Raises
    :class:`~kdcore.errors.StoreError` where the database cannot be opened,
    :class:`~kdcore.errors.StoreUnreachable` where it does not answer.
    """

    def __init__(self, url: str | None = None, *, patience: float = 0.0) -> None:
        super().__init__(url or default_url(), patience=patience)
        sources.add_source(self)

    def close(self) -> None:
        """Release the connections.

        The store can be used again afterwards, its users' datasets are no longer known.
        """
        sources.remove_source(self)
        super().close()

    # Users' own data and models, for the catalog

    def user_dataset(self, name: str) -> DatasetCard | None:
        """Return the card of a user's dataset, by key or by name.

        See :class:`kdcore.config.sources.Source`.
        """
        row = user_data.find(self, name)
        return None if row is None else user_data.to_card(row)

    def user_datasets(self) -> dict[str, DatasetCard]:
        """Return the cards of the latest versions of the users' datasets, by key."""
        return {row.key: user_data.to_card(row) for row in user_data.latest(self)}

    def user_model(self, name: str) -> ModelCard | None:
        """Return the card of a user's model, by key or by name."""
        row = user_models.find(self, name)
        return None if row is None else user_models.to_card(row)

    def user_models(self) -> dict[str, ModelCard]:
        """Return the cards of the latest versions of the users' models, by key."""
        return {row.key: user_models.to_card(row) for row in user_models.latest(self)}

    def refuse_foreign(self, config: ExperimentConfig) -> None:
        """Raise StoreError where a config names data or a model that is in another store."""
        data = catalog.dataset_card(config.dataset)
        named: list[tuple[str, object]] = []
        if not data.builder:
            named.append(("dataset", self.user_dataset(data.key)))
        networks = {"teacher": config.teacher, "student": config.student, **config.plan.networks()}
        for setting, names in networks.items():
            for name in listed(names):
                own = catalog.own_model(name)
                if own is not None and own.kind == "file":
                    named.append((setting, self.user_model(own.key)))
        for setting, card in named:
            if not card:
                raise StoreError(
                    f"{setting} must be in the store {self.name}, got {config.get(setting)}, "
                    "which is in another one: add the file to this one too"
                )

    # Experiments and runs

    def create(
        self,
        config: ExperimentConfig,
        *,
        name: str = "",
        reuse: str = "teacher",
        tags: Sequence[str] = (),
    ) -> str:
        """Accept an experiment and queue its job; returns the id of both.

        ``reuse`` says which already trained runs may serve again: "none", "teacher", or "all".
        Raises StoreError where the data or a model is in another store, as no worker would find it.
        """
        self.refuse_foreign(config)
        user_models.remember_functions(self, config.teacher, config.student)
        with self.writing() as session:
            job = Job(
                id=new_id(), kind="experiment", payload={"reuse": reuse}, created_at=time.time()
            )
            session.add(job)
            add_experiment(session, config, job.id, name=name, tags=tags)
            return job.id

    def experiment(self, experiment_id: str) -> Experiment:
        """Return an experiment; raises StoreError for an unknown id, and for one in the trash."""
        with self.reading() as session:
            experiment = session.get(Experiment, experiment_id)
        if experiment is None:
            raise StoreError(f"there is no experiment {experiment_id!r} in {self.name}")
        self.refuse_deleted(experiment_id)
        return experiment

    def experiments_like(self, config: ExperimentConfig) -> list[tuple[Experiment, Job]]:
        """Return the experiments with these very settings, with their jobs, newest first, not those
        in the trash.
        """
        query = (
            select(Experiment, Job)
            .join(Job, Job.id == Experiment.id)
            .where(Experiment.fingerprint == config.fingerprint(), ~is_deleted(Experiment.id))
        )
        with self.reading() as session:
            rows = session.execute(query.order_by(Experiment.created_at.desc())).all()
        return [(row[0], row[1]) for row in rows]

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
            if found is not None and found.fingerprint != run.fingerprint:
                found = (
                    None  # its settings mean another training by now, as of a network's revision
                )
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
            reused = found is not None and found.finished_at is not None
            if link is not None and link.run_id != chosen.id:
                link.run_id, link.reused = chosen.id, reused
            if link is None:
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

    def said_alike(self, run: Run, experiment_id: str, name: str) -> Any:
        """Return what the summary of a run that is compared with ``run`` says under ``name``, None
        if none says anything: of one of the same network in the experiment, or in its sweep.

        A teacher is compared with teachers alone.
        """
        with self.reading() as session:
            return _said_alike(session, run, experiment_id, name)

    def say_alike(self, run: Run, experiment_id: str, name: str, value: Any) -> Any:
        """Let a run's summary say under ``name`` what those say that it is compared with (see
        ``said_alike``), or ``value`` where it is the first; returns it.

        Runs that ask at once get the same.
        """
        with self.writing() as session:
            # The name's first user decides: one at a time.
            lock_until_commit(session, LOCK_OF_WHAT_RUNS_SAY)
            found = _said_alike(session, run, experiment_id, name)
            said = value if found is None else found
            stored = session.get_one(Run, run.id)
            stored.summary = {**stored.summary, name: said}
            return said

    def add_to_summary(self, run_id: str, **values: Any) -> None:
        """Add to what is said of a run."""
        with self.writing() as session:
            run = session.get_one(Run, run_id)
            run.summary = {**run.summary, **values}

    # Metrics and probes

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


def _said_alike(session: Session, run: Run, experiment_id: str, name: str) -> Any:
    of_sweep = select(SweepCell.sweep_id).where(SweepCell.job_id == experiment_id)
    in_sweep = select(SweepCell.job_id).where(SweepCell.sweep_id.in_(of_sweep))
    own = ExperimentRun.experiment_id == experiment_id
    roles = LEARNERS if run.role in LEARNERS else (run.role,)
    query = (
        select(Run.summary)
        .join(ExperimentRun, ExperimentRun.run_id == Run.id)
        .where(own | ExperimentRun.experiment_id.in_(in_sweep))
        .where(Run.role.in_(roles), Run.model == run.model)
        .where(Run.summary[name].as_string().is_not(None))
        .order_by(own.desc(), Run.created_at)
    )
    found = session.scalar(query.limit(1))
    return None if found is None else found[name]
