"""How much room the store takes, what takes it, and how a file gets smaller again."""

from __future__ import annotations

from collections.abc import Container, Sequence

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from kdcore.storage.schema import Artifact, Base, JobStatus, Metric, Probe, Run
from kdcore.storage.store import Store

# What one point of a curve occupies with its place in the index, about: measured in a SQLite file.
METRIC_BYTES = 130


def artifact_sizes(session: Session, run_ids: Container[str]) -> dict[str, int]:
    """Return run id -> bytes of the artifacts whose key has the run's id among its parts."""
    sizes: dict[str, int] = {}
    for key, size in session.execute(select(Artifact.key, Artifact.size)):
        for part in key.split("/")[1:]:
            if part in run_ids:
                sizes[part] = sizes.get(part, 0) + size
    return sizes


def curve_bytes(session: Session, run_ids: list[str]) -> int:
    """Return about how many bytes the curves of some runs take, snapshots of their answers
    included.
    """
    points = session.scalar(select(func.count()).where(Metric.run_id.in_(run_ids))) or 0
    snapshots = (
        session.scalar(select(func.sum(func.length(Probe.logits))).where(Probe.run_id.in_(run_ids)))
        or 0
    )
    return int(points * METRIC_BYTES + snapshots)


def experiment_bytes(store: Store, experiment_ids: Sequence[str]) -> dict[str, int]:
    """Return, by experiment, what the runs that it trained itself take: weights, logits,
    checkpoints and curves.
    """
    sizes = dict.fromkeys(experiment_ids, 0)
    with store.reading() as session:
        owned = select(Run.id, Run.experiment_id).where(Run.experiment_id.in_(sizes))
        owners = {run_id: owner for run_id, owner in session.execute(owned)}
        artifacts = artifact_sizes(session, owners)
        for run_id, owner in owners.items():
            sizes[owner] += artifacts.get(run_id, 0) + curve_bytes(session, [run_id])
    return sizes


def store_bytes(store: Store) -> int:
    """Return how many bytes the whole store takes: of its file, or of its tables on a database
    server.
    """
    with store.reading() as session:
        if store.is_file:
            return _pragma(session, "page_count") * _pragma(session, "page_size")
        sizes = "SELECT sum(pg_total_relation_size(to_regclass(name))) FROM unnest(CAST(:names AS text[])) AS name"
        return int(session.scalar(text(sizes), {"names": list(Base.metadata.tables)}) or 0)


def shrink(store: Store) -> int:
    """Give the room that deletions left in a SQLite file back to the disk; returns the bytes given
    back.

    A file from before this could be done is written anew once, which keeps all others waiting: so
    only while nothing is being trained. A database server reuses the room itself.
    """
    if not store.is_file:
        return 0
    before = store_bytes(store)
    with store.maintaining() as cursor:
        if cursor.execute("PRAGMA auto_vacuum").fetchone()[0] != 2:
            if store.jobs(JobStatus.RUNNING):
                return 0
            cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
            cursor.execute("VACUUM")
        else:  # steps to its end, page by page, as execute() does not
            cursor.executescript("PRAGMA incremental_vacuum")
        # A reader may hold on to the log: the next checkpoint does the rest.
        cursor.execute("PRAGMA busy_timeout=1000")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return max(0, before - store_bytes(store))


def _pragma(session: Session, name: str) -> int:
    return int(session.scalar(text(f"PRAGMA {name}")) or 0)
