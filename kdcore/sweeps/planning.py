"""Sweeps: many experiments that differ in a few settings, asked for together and worth more than
their sum.

A sweep is rows in the store and nothing else: each cell is an ordinary experiment with a job of its
own, so workers carry the sweep on whoever watches. What cells share is trained once, in jobs that
go before them: a teacher for all cells that learn from it, a baseline for each student, seed and
label budget.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from kdcore.config.experiment import (
    BASELINE_FIELDS,
    TEACHER_FIELDS,
    ExperimentConfig,
    all_settings,
    digest,
)
from kdcore.config.sweep import SweepConfig, key_of, value_text
from kdcore.engine.base import Engine
from kdcore.errors import ConfigError, Problem, StoreError, TransitionError, require
from kdcore.storage.queueing import RANK_OF_CELLS, RANK_OF_SHARED
from kdcore.storage.schema import (
    Experiment,
    Job,
    JobNeed,
    JobStatus,
    Pool,
    Sweep,
    SweepCell,
    is_deleted,
)
from kdcore.storage.store import Store, add_experiment, new_id

SEEDS_TO_CONFIRM = 5


def create(store: Store, config: SweepConfig, *, name: str = "", tags: Sequence[str] = ()) -> str:
    """Accept a sweep and queue its jobs; returns its id. Then ``submit`` it to an engine.

    Its experiments are filed under ``tags``, too.
    """
    from kdcore.sweeps.study import Study

    store.refuse_foreign(config.base)
    sweep_id, now = new_id(), time.time()
    Study(store.url, sweep_id, config)  # its tables must exist before several workers open it
    with store.writing() as session:
        sweep = Sweep(id=sweep_id, name=name, config=config.to_dict(), created_at=now)
        sweep.tags = list(tags)
        session.add(sweep)
        session.flush()
        _Planner(session, store, sweep_id, config).plan()
    return sweep_id


def extend(store: Store, sweep_id: str, config: SweepConfig) -> int:
    """Add the cells, seeds or trials that ``config`` has and the sweep does not; returns how many
    jobs that makes.

    Nothing is trained twice: cells that are there stay, and one that gets more seeds finds the
    earlier ones trained. Raises ConfigError where ``config`` is about other data, settings or
    another strategy: that is another sweep. So is a race whose settings were tuned, on a seed that
    it would be given then.
    """
    sweep = get(store, sweep_id)
    before = SweepConfig.from_dict(sweep.config)
    require(not before.searches, "sweep", "one whose settings were not tuned for it", sweep_id)
    require(
        config.fields == before.fields,
        "varied settings",
        f"those of the sweep, {', '.join(before.fields)}",
        ", ".join(config.fields),
    )
    require(
        config.strategy == before.strategy,
        "strategy",
        f"the sweep's, {before.strategy}",
        config.strategy,
    )
    require(
        config.base.seeds >= before.base.seeds,
        "seeds",
        f"at least the sweep's {before.base.seeds}",
        config.base.seeds,
    )
    varied = {*before.fields, "seeds"}
    changed = [
        Problem(name, f"the sweep's, {value_text(before.base.get(name))}", config.base.get(name))
        for name in all_settings()
        if name not in varied and config.base.get(name) != before.base.get(name)
    ]
    if changed:
        raise ConfigError(*changed)
    with store.writing() as session:
        session.execute(update(Sweep).where(Sweep.id == sweep_id).values(config=config.to_dict()))
        return _Planner(session, store, sweep_id, config).plan()


def get(store: Store, sweep_id: str) -> Sweep:
    """Return a sweep; raises StoreError for an unknown id."""
    with store.reading() as session:
        sweep = session.get(Sweep, sweep_id)
    if sweep is None:
        raise StoreError(f"there is no sweep {sweep_id!r} in {store.name}")
    return sweep


def sweeps(store: Store, limit: int = 100) -> list[Sweep]:
    """Return the newest sweeps, newest first."""
    with store.reading() as session:
        return list(
            session.scalars(select(Sweep).order_by(Sweep.created_at.desc(), Sweep.id).limit(limit))
        )


def cells_of(store: Store, *sweep_ids: str) -> list[tuple[SweepCell, Job]]:
    """Return the jobs of sweeps in the order in which they were queued; not those in the trash."""
    with store.reading() as session:
        rows = session.execute(_jobs_of(*sweep_ids)).all()
    return [(row[0], row[1]) for row in rows]


def _jobs_of(*sweep_ids: str) -> Select[SweepCell, Job]:
    query = select(SweepCell, Job).join(Job, Job.id == SweepCell.job_id)
    query = query.where(SweepCell.sweep_id.in_(sweep_ids), ~is_deleted(Job.id))
    return query.order_by(SweepCell.number, Job.created_at)


def _with_searches(store: Store, sweep_id: str) -> list[str]:
    """Return the ids of a sweep and of those that search the settings of its methods."""
    return [sweep_id, *SweepConfig.from_dict(get(store, sweep_id).config).searches.values()]


def submit(store: Store, engine: Engine, sweep_id: str) -> None:
    """See to it that the queued jobs of a sweep get workers."""
    for _, job in cells_of(store, *_with_searches(store, sweep_id)):
        if job.status == JobStatus.QUEUED.value:
            engine.submit(job.id)


def pause(store: Store, sweep_id: str) -> None:
    """Hold the cells back that have not begun; those in progress go on to their end."""
    _hold(store, _with_searches(store, sweep_id), True)


def resume(store: Store, engine: Engine, sweep_id: str) -> None:
    """Go on after a pause, a stop or a failure: every job that did not finish is queued again, from
    its checkpoint.
    """
    ids = _with_searches(store, sweep_id)
    _hold(store, ids, False)
    for cell, job in cells_of(store, *ids):
        if JobStatus(job.status).resumable and counts(cell) and not cell.pruned:
            store.requeue(job.id)
    submit(store, engine, sweep_id)


def stop(store: Store, engine: Engine, sweep_id: str) -> None:
    """Stop all jobs of a sweep: queued ones at once, running ones at their next batch.

    What is trained is kept.
    """
    ids = _with_searches(store, sweep_id)
    for _, job in cells_of(store, *ids):
        if JobStatus(job.status).live:
            engine.cancel(job.id)
    _hold(store, ids, False)


def tend(store: Store, engine: Engine, sweep_id: str, attempts: int = 3) -> list[str]:
    """Queue jobs again whose worker was lost, ``attempts`` times in all; returns their ids.

    Whoever watches calls it.
    """
    lost = [
        job.id
        for cell, job in cells_of(store, *_with_searches(store, sweep_id))
        if job.status == JobStatus.INTERRUPTED.value and job.attempts < attempts and counts(cell)
    ]
    for job_id in lost:
        with contextlib.suppress(TransitionError):  # somebody else watches as well, and was faster
            store.requeue(job_id)
        engine.submit(job_id)
    return lost


def tag_of(sweep_id: str) -> str:
    """Return the tag that a sweep's experiments are filed under."""
    return f"sweep {sweep_id}"


def tags_of(sweep: Sweep) -> list[str]:
    """Return the tags that a sweep's experiments get."""
    return [tag_of(sweep.id), *sweep.tags]


def counts(cell: SweepCell) -> bool:
    """Return whether a job still matters: not one whose place another with more seeds has taken."""
    return cell.part != "superseded"


def confirm(
    store: Store,
    engine: Engine,
    sweep_id: str,
    values: Mapping[str, Any],
    seeds: int = SEEDS_TO_CONFIRM,
) -> str:
    """Train a cell again on seeds that no cell has had, and return the experiment's id.

    What was chosen as the best of many owes something to the luck of its seeds; fresh ones do not
    know of the choice.
    """
    require(2 <= seeds <= 100, "seeds", "from 2 to 100", seeds)
    config = SweepConfig.from_dict(get(store, sweep_id).config)
    fresh = config.base.seed + config.base.seeds
    confirmed = config.cell(values).replace(seed=fresh, seeds=seeds)
    with store.writing() as session:
        planner = _Planner(session, store, sweep_id, config)
        job_id = planner.experiment(
            "confirmation",
            confirmed,
            "experiment",
            {"reuse": "all"},
            rank=0,
            pool=Pool.MACHINE,
            values=dict(values),
            name=f"Confirmation of sweep {sweep_id}",
        )
    engine.submit(job_id)
    return job_id


def _hold(store: Store, sweep_ids: Sequence[str], held: bool) -> None:
    jobs = select(SweepCell.job_id).where(SweepCell.sweep_id.in_(sweep_ids))
    with store.writing() as session:
        session.execute(update(Sweep).where(Sweep.id.in_(sweep_ids)).values(paused=held))
        session.execute(update(Job).where(Job.id.in_(jobs)).values(held=held))


def _is_ready(store: Store, teacher: str) -> bool:
    """Return whether a teacher, by its fingerprint, is trained and has answered to all training
    examples.
    """
    runs = store.finished_runs("teacher", teacher)
    return any(store.artifact_used_by(run.id, "teacher_logits/") for run in runs)


class _Planner:
    """Adds to a sweep the jobs that it lacks, in one transaction."""

    def __init__(self, session: Session, store: Store, sweep_id: str, config: SweepConfig) -> None:
        self.session, self.store, self.sweep_id, self.config = session, store, sweep_id, config
        sweep = session.get_one(Sweep, sweep_id)
        self.held, self.tags = sweep.paused, tags_of(sweep)
        self.there = [(row[0], row[1]) for row in session.execute(_jobs_of(sweep_id))]
        self.next_number = max((cell.number for cell, _ in self.there), default=-1) + 1
        self.added = 0
        self._now = time.time()
        self._shared: dict[str, str | None] = {
            cell.values["fingerprint"]: job.id
            for cell, job in self.there
            if cell.part in ("teacher", "baseline") and cell.values
        }

    def plan(self) -> int:
        """Add all jobs that are missing; returns how many."""
        if self.config.strategy == "grid":
            self._plan_grid()
        else:
            self._plan_trials()
        return self.added

    def _plan_grid(self) -> None:
        there = {
            key_of(cell.values): (cell, job)
            for cell, job in self.there
            if cell.part == "cell" and cell.values
        }
        missing: list[tuple[dict[str, Any], ExperimentConfig, tuple[SweepCell, Job] | None]] = []
        for values in self.config.combinations():
            search = self.config.searches.get(str(values.get("method", "")))
            if search is not None:
                self._after_search(search, values)
                continue
            cell_config, earlier = self.config.cell(values), there.get(key_of(values))
            if earlier is not None:
                known = self.session.get_one(Experiment, earlier[0].job_id)
                if known.fingerprint == cell_config.fingerprint():
                    continue
            missing.append((values, cell_config, earlier))
        needs = [self.shared_jobs(cell_config) for _, cell_config, _ in missing]
        for (values, cell_config, earlier), needed in zip(missing, needs, strict=True):
            if earlier is not None:
                needed = [*needed, *self._supersede(*earlier)]
            self.experiment("cell", cell_config, "sweep_cell", {}, values=values, needs=needed)

    def _after_search(self, search: str, values: dict[str, Any]) -> None:
        """Add a cell whose settings are those of the best cell of a search, once that is over."""
        jobs = self.session.execute(_jobs_of(search))
        trials = [job.id for cell, job in jobs if cell.part == "cell"]
        needs = self.shared_jobs(self.config.cell(values))
        self.job("cell", "sweep_cell", {"values": values}, needs=needs, after=trials)

    def _supersede(self, cell: SweepCell, job: Job) -> list[str]:
        """Let a cell with more seeds take the place of one; returns what it must wait for."""
        cell.part = "superseded"
        if job.status == JobStatus.QUEUED.value:
            job.status, job.phase, job.finished_at = JobStatus.STOPPED.value, "stopped", self._now
        return [job.id] if job.status == JobStatus.RUNNING.value else []

    def _plan_trials(self) -> None:
        there = [(cell, job) for cell, job in self.there if cell.part == "cell"]
        fixed = set(all_settings()) - set(self.config.fields)
        common = self.config.cell(self.config.combinations()[0])
        needs = self.shared_jobs(common, fixed)
        for cell, job in there:  # chosen already; more seeds are trained for the same values
            if cell.values is not None and not cell.pruned:
                more = self.config.cell(cell.values)
                known = self.session.get(Experiment, cell.job_id)
                if known is not None and known.fingerprint != more.fingerprint():
                    needed = [*needs, *self._supersede(cell, job)]
                    self.experiment(
                        "cell", more, "sweep_cell", {}, values=cell.values, needs=needed
                    )
        for _ in range(self.config.trials - len(there)):
            self.job("cell", "sweep_cell", {}, needs=needs)

    def shared_jobs(self, cell: ExperimentConfig, fixed: set[str] | None = None) -> list[str]:
        """See to it that what a cell shares with others is trained; returns the jobs that the cell
        must wait for.

        ``fixed``: the settings known beforehand, where a sampler chooses the rest; what depends on
        others is left to the cells themselves.
        """
        known = fixed if fixed is not None else set(all_settings())
        needs = []
        if known >= set(TEACHER_FIELDS):
            teacher = self._share(
                "teacher", cell.fingerprint("teacher"), cell.replace(seeds=1), Pool.MACHINE
            )
            needs = [teacher] if teacher else []
        if known >= set(BASELINE_FIELDS):
            # Nobody waits for the baselines: they take their turn before the first cells, on the
            # same kind of worker.
            of_all_seeds = digest({"baseline": cell.fingerprint("baseline"), "seeds": cell.seeds})
            self._share("baseline", of_all_seeds, cell, Pool.THREAD)
        return needs

    def _share(
        self, part: str, fingerprint: str, config: ExperimentConfig, pool: Pool
    ) -> str | None:
        if fingerprint not in self._shared:
            trained = part == "teacher" and _is_ready(self.store, fingerprint)
            self._shared[fingerprint] = (
                None
                if trained
                else self.experiment(
                    part,
                    config,
                    "experiment",
                    {"reuse": "all", "parts": [part]},
                    rank=RANK_OF_SHARED,
                    pool=pool,
                    values={"fingerprint": fingerprint},
                    name=f"{part.capitalize()} of sweep {self.sweep_id}",
                )
            )
        return self._shared[fingerprint]

    def experiment(
        self,
        part: str,
        config: ExperimentConfig,
        kind: str,
        payload: dict[str, Any],
        *,
        rank: int = RANK_OF_CELLS,
        pool: Pool = Pool.THREAD,
        values: dict[str, Any],
        needs: Sequence[str] = (),
        name: str = "",
    ) -> str:
        """Add an experiment with its job; returns the id of both."""
        job_id = self.job(part, kind, payload, rank=rank, pool=pool, values=values, needs=needs)
        add_experiment(
            self.session, config, job_id, name=name, tags=self.tags, created_at=self._now
        )
        return job_id

    def job(
        self,
        part: str,
        kind: str,
        payload: dict[str, Any],
        *,
        rank: int = RANK_OF_CELLS,
        pool: Pool = Pool.THREAD,
        values: dict[str, Any] | None = None,
        needs: Sequence[str] = (),
        after: Sequence[str] = (),
    ) -> str:
        """Add a job to the sweep that ``needs`` others finished and comes ``after`` the end of
        others, even if they failed; returns its id.
        """
        job_id = new_id()
        self._now += 1e-5  # jobs are taken in the order in which they are added
        self.session.add(
            Job(
                id=job_id,
                kind=kind,
                payload=payload,
                rank=rank,
                pool=pool.value,
                held=self.held,
                created_at=self._now,
            )
        )
        self.session.flush()
        self.session.add_all(JobNeed(job_id=job_id, needs_id=needed) for needed in needs)
        self.session.add_all(
            JobNeed(job_id=job_id, needs_id=trial, even_failed=True) for trial in after
        )
        self.session.add(
            SweepCell(
                job_id=job_id,
                sweep_id=self.sweep_id,
                number=self.next_number,
                part=part,
                values=values,
            )
        )
        self.next_number += 1
        self.added += 1
        return job_id
