"""Which queued job comes next: by rank, then by age.

Not while it is held, nor before what it needs is finished. Every worker and every dashboard asks
several times a second, so that queries are built once: that took ten times as long as to run them.
"""

from __future__ import annotations

import functools
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.orm import aliased

from kdcore.storage.schema import Job, JobNeed, JobStatus, Pool, is_deleted

# A person waits for a single experiment; what a sweep's cells share comes before the cells.
RANK_OF_SHARED, RANK_OF_CELLS = 1, 2


@functools.cache
def next_ready(pool: Pool | None = None, kinds: tuple[str, ...] | None = None) -> Select[Any]:
    """Return the query for the id of the job that a worker should take now.

    ``pool``: only jobs for that kind of worker; ``kinds``: only jobs of these kinds. None takes
    any.
    """
    query = _queued(Job.id).where(~_has_need((JobStatus.FINISHED,)))
    if kinds is not None:
        query = query.where(Job.kind.in_(kinds))
    if pool is not None:
        query = query.where(Job.pool == pool.value)
    return query.order_by(Job.rank, Job.created_at, Job.id).limit(1)


@functools.cache
def waiting(kinds: tuple[str, ...] | None = None) -> Select[Any]:
    """Return the query for (pool, number) of jobs, or of those ``kinds``, that are ready or will be
    by themselves.
    """
    hopeful = (JobStatus.FINISHED, JobStatus.QUEUED, JobStatus.RUNNING)
    query = _queued(Job.pool, func.count()).where(~_has_need(hopeful))
    if kinds is not None:
        query = query.where(Job.kind.in_(kinds))
    return query.group_by(Job.pool)


def _queued(*columns: Any) -> Select[Any]:
    query = select(*columns).select_from(Job)
    return query.where(
        Job.status == JobStatus.QUEUED.value, Job.held.is_(False), ~is_deleted(Job.id)
    )


def _has_need(satisfied: tuple[JobStatus, ...]) -> ColumnElement[bool]:
    """Whether a job needs another one that is in none of the given states.

    A need that was deleted counts as met, and so does one that failed where its end is enough.
    """
    needed = aliased(Job)
    met = JobNeed.even_failed & (needed.status == JobStatus.FAILED.value)
    query = exists().where(
        JobNeed.job_id == Job.id, JobNeed.needs_id == needed.id, ~is_deleted(needed.id)
    )
    unmet = needed.status.not_in([status.value for status in satisfied]) & ~met
    return query.where(unmet).correlate(Job)
