"""The plain plan: a teacher, a student that it teaches, and the baseline."""

from __future__ import annotations

from typing import ClassVar

from kdcore.plans.base import PlanKind, learner_settings, teacher_step
from kdcore.plans.steps import Asked, Step


class Distil(PlanKind):
    """One teacher teaches one student."""

    name: ClassVar[str] = "distil"
    title: ClassVar[str] = "Teacher and student"
    summary: ClassVar[str] = "One teacher teaches one student; the [[baseline]] learns alone."
    paper: ClassVar[str] = "Hinton et al. 2015, arXiv:1503.02531"

    def steps(self, config: Asked) -> tuple[Step, ...]:
        """Return teacher, student and baseline."""
        learner = learner_settings(config)
        return (
            teacher_step(config),
            Step("student", "student", taught_by=("teacher",), **learner),
            Step("baseline", "baseline", **learner),
        )
