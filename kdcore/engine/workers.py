"""Who works, who fell silent, and what becomes of the jobs of those that are gone."""

from __future__ import annotations

import socket
import time

import psutil

from kdcore.engine.jobs import terminate_group
from kdcore.errors import ClaimLost
from kdcore.storage.schema import JobStatus, Worker
from kdcore.storage.store import Store

# A pulse beats once a second at least; a worker silent for this long is dead or cut off.
SECONDS_UNTIL_STALE = 15.0
# How long a running job may take to notice Stop before its worker is killed.
SECONDS_OF_GRACE = 10.0


def is_alive(worker: Worker, reachable_since: float = 0.0) -> bool:
    """Return whether a worker's process exists (on this machine), or its heartbeat is fresh (on
    another).

    Nobody can write a heartbeat while the store is down: silence counts from ``reachable_since`` at
    the earliest.
    """
    if worker.host != socket.gethostname():
        return time.time() - max(worker.heartbeat_at, reachable_since) < SECONDS_UNTIL_STALE
    try:
        process = psutil.Process(worker.pid)
        same = abs(process.create_time() - worker.process_started) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def mark_interrupted(store: Store, job_id: str | None = None) -> list[str]:
    """Find running jobs whose worker is gone, or the one that is named where it is such a job, and
    make them resumable; returns their ids.

    On this machine a worker is gone when its process is: one that is merely silent, because the
    disk is full, the database locked or the clock was set, goes on later, or is ended by Stop. One
    that says that it lives, but has long said nothing of the job, does not have it any more. On
    another machine silence has to do.
    """
    workers = {worker.id: worker for worker in store.workers()}
    found = []
    reachable_since = store.reachable_since()
    # Asked once: a worker that dies meanwhile keeps its row, by which the next poll finds its job
    # at once.
    alive = {worker.id for worker in workers.values() if is_alive(worker, reachable_since)}
    for job in store.jobs(JobStatus.RUNNING):
        if job_id not in (None, job.id):
            continue
        worker = workers.get(job.worker_id or "")
        silent = time.time() - max(job.heartbeat_at or 0.0, reachable_since) > SECONDS_UNTIL_STALE
        if worker is not None and worker.id in alive:
            here = worker.host == socket.gethostname()
            has_it = worker.heartbeat_at - (job.heartbeat_at or 0.0) < SECONDS_UNTIL_STALE
            if has_it and (here or not silent):
                continue
        if (
            worker is None and not silent
        ):  # it may just have left properly; its last heartbeat is fresh
            continue
        status = JobStatus.STOPPED if job.stop_requested_at else JobStatus.INTERRUPTED
        why = (
            "its worker process fell silent"
            if silent
            else "its worker process ended without a word (killed, or out of memory)"
        )
        try:
            store.finish(
                job.id,
                status,
                worker_id=job.worker_id,
                error=f"{why}; Resume goes on from the last checkpoint",
            )
            found.append(job.id)
        except ClaimLost:
            continue
    for worker in workers.values():
        if worker.id not in alive and job_id is None:  # else others' jobs were not looked at
            store.remove_worker(worker.id)
    return found


def kill_overdue(store: Store) -> None:
    """Kill workers of this machine that have ignored a stop for longer than the grace period."""
    workers = {worker.id: worker for worker in store.workers()}
    for job in store.jobs(JobStatus.RUNNING):
        worker = workers.get(job.worker_id or "")
        overdue = (
            job.stop_requested_at is not None
            and time.time() - job.stop_requested_at > SECONDS_OF_GRACE
        )
        if (
            overdue
            and worker is not None
            and worker.host == socket.gethostname()
            and is_alive(worker)
        ):
            terminate_group(worker.pid)
