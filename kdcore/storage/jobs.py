"""Jobs and their life: accepted, claimed by one worker, finished or queued again; and workers."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from typing import Any

from sqlalchemy import delete, func, select, update

from kdcore.errors import ClaimLost, StoreError, TransitionError
from kdcore.storage import queueing
from kdcore.storage.artifacts import ArtifactStore
from kdcore.storage.database import ride_out_outages, upsert
from kdcore.storage.schema import TRANSITIONS, Experiment, Job, JobStatus, Pool, Worker


def new_id() -> str:
    """Return a fresh short id, safe in URLs and file names."""
    return secrets.token_hex(5)


@ride_out_outages
class JobStore(ArtifactStore):
    """The store's jobs and workers."""

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
        self,
        worker_id: str,
        job_id: str | None = None,
        *,
        pool: Pool | None = None,
        kinds: Collection[str] | None = None,
    ) -> Job | None:
        """Give the next ready job (or ``job_id``, if it is ready) to a worker: one atomic UPDATE.

        ``pool`` asks for jobs for that kind of worker alone, ``kinds`` for jobs that it knows: a
        newer program may have queued others.
        """
        oldest = queueing.next_ready(pool, None if kinds is None else tuple(kinds))
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

    def waiting(self, kinds: Collection[str] | None = None) -> dict[Pool, int]:
        """Return how many jobs, or jobs of these ``kinds``, wait for each kind of worker, held and
        hopeless ones left out.
        """
        query = queueing.waiting(None if kinds is None else tuple(kinds))
        with self.reading() as session:
            return {Pool(pool): count for pool, count in session.execute(query)}

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

    def refuse_deleted(self, experiment_id: str) -> None:
        """Raise StoreError if the experiment is in the trash."""
        with self.reading() as session:
            experiment = session.get(Experiment, experiment_id)
            if experiment is not None and experiment.deleted_at is not None:
                raise StoreError(
                    f"experiment {experiment_id} is in the trash: python -m kdcore restore {experiment_id} brings it back"
                )

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
