"""Which experiments are cells of a sweep that has no winner yet.

A sweep chooses on validation data. Whoever reads the test accuracies of its cells before that has
chosen on test data, and the winner's own test accuracy says too much. So until a sweep is trained
to its end, lists show validation data of its cells.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from kdcore.storage.schema import ExperimentRun, Job, JobStatus, SweepCell
from kdcore.storage.store import Store

WHY = (
    "A cell of a sweep without a winner yet: validation data until then. Who chooses by test data "
    "can no longer report it."
)


def unsettled_cells(session: Session) -> set[str]:
    """Return the ids of the cells of all sweeps in which a cell is still to be trained."""
    open_sweeps = (
        select(SweepCell.sweep_id)
        .join(Job, Job.id == SweepCell.job_id)
        .where(
            SweepCell.part == "cell",
            SweepCell.pruned.is_(False),
            Job.status != JobStatus.FINISHED.value,
        )
    )
    cells = select(SweepCell.job_id).where(
        SweepCell.part == "cell", SweepCell.sweep_id.in_(open_sweeps)
    )
    return set(session.scalars(cells))


def unsettled_among(store: Store, experiment_ids: Iterable[str]) -> set[str]:
    """Return those experiments that are cells of a sweep without a winner yet."""
    with store.reading() as session:
        return unsettled_cells(session) & set(experiment_ids)


def unsettled_students(store: Store) -> set[str]:
    """Return the ids of the students' runs that only cells of a sweep without a winner have."""
    with store.reading() as session:
        cells = unsettled_cells(session)
        query = select(ExperimentRun.experiment_id, ExperimentRun.run_id)
        uses = session.execute(query.where(ExperimentRun.role == "student")).all()
    elsewhere = {run for experiment, run in uses if experiment not in cells}
    return {run for experiment, run in uses if experiment in cells} - elsewhere


def is_unsettled(store: Store, experiment_id: str) -> bool:
    """Return whether an experiment is a cell of a sweep without a winner yet."""
    with store.reading() as session:
        return experiment_id in unsettled_cells(session)
