"""The students of a teacher, whichever experiments trained them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from kdcore.config.experiment import role_settings, stored_setting, taught_at
from kdcore.storage.schema import ExperimentRun, Run, is_deleted
from kdcore.storage.store import Store


@dataclass(frozen=True)
class Taught:
    """A trained student, the experiment that trained it, and its trained baseline from the same
    start, if there is one.
    """

    experiment_id: str
    student: Run
    baseline: Run | None

    @property
    def temperature(self) -> float:
        """The temperature at which the student was taught."""
        return taught_at(self.student.config)

    @property
    def seed(self) -> int:
        """The seed of student and baseline."""
        return self.student.seed

    def recipe(self, *, with_seed: bool = True) -> tuple[Any, ...]:
        """Return all that the student's training depends on but the temperature: equal recipes
        differ in T alone.
        """
        left_out = {"temperature"} if with_seed else {"temperature", "seed"}
        return tuple(
            stored_setting(self.student.config, name)
            for name in role_settings("student", self.student.config)
            if name not in left_out
        )


def taught_by(store: Store, teacher_id: str) -> list[Taught]:
    """Return the trained students of a teacher (by run id), the latest first.

    Each once, however often it was reused.
    """
    use = ExperimentRun
    experiments = select(use.experiment_id).where(
        use.run_id == teacher_id, ~is_deleted(use.experiment_id)
    )
    query = select(ExperimentRun, Run).join(Run, Run.id == ExperimentRun.run_id)
    query = query.where(ExperimentRun.experiment_id.in_(experiments), Run.finished_at.is_not(None))
    with store.reading() as session:
        rows = session.execute(query.order_by(Run.finished_at.desc(), Run.id)).all()
    baselines = {
        (link.experiment_id, run.seed): run for link, run in rows if run.role == "baseline"
    }
    taught = [
        Taught(link.experiment_id, run, baselines.get((link.experiment_id, run.seed)))
        for link, run in rows
        if run.role == "student"
    ]
    first: dict[str, Taught] = {}
    for each in sorted(taught, key=lambda each: each.experiment_id != each.student.experiment_id):
        first.setdefault(each.student.id, each)
    return [first[run_id] for run_id in dict.fromkeys(each.student.id for each in taught)]
