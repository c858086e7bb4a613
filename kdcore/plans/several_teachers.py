"""Several teachers, whose softened distributions are mixed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

from kdcore.errors import Problem
from kdcore.plans.base import PlanKind, learner_settings, teacher_step
from kdcore.plans.steps import Asked, Step
from kdcore.settings import Names, listed, setting


class SeveralTeachers(PlanKind):
    """Two to five teachers teach one student together."""

    name: ClassVar[str] = "several-teachers"
    title: ClassVar[str] = "Several teachers"
    summary: ClassVar[str] = (
        "Each teacher is trained by itself; the student learns from the mean of their "
        "[[softened probabilities|soft target]]."
    )
    paper: ClassVar[str] = "Hinton et al. 2015, arXiv:1503.02531"

    more_teachers: Names = setting(
        "conv-32-64",
        "More teachers",
        "One to four networks beside the teacher, with commas; the same one twice is trained from "
        "two seeds.",
        "plan",
    )

    teacher_weights: Literal["equal", "confidence"] = setting(
        "equal",
        "Weights of the teachers",
        "equal, or by confidence: the teacher counts more that is surer of the true label; where "
        "there is no label, the one that is surer at all.",
        "plan",
    )

    def steps(self, config: Asked) -> tuple[Step, ...]:
        """Return the teachers, their student, and the baseline."""
        learner = learner_settings(config)
        teachers = [teacher_step(config)]
        for number, network in enumerate(listed(self.more_teachers), 2):
            step = teacher_step(config, f"teacher {number}", network)
            teachers.append(replace(step, seed=config.teacher_seed + number - 1))
        names = tuple(step.name for step in teachers)
        return (
            *teachers,
            Step("student", "student", taught_by=names, weights=self.teacher_weights, **learner),
            Step("baseline", "baseline", **learner),
        )

    def problems(self, config: Any) -> list[Problem]:
        """Return that there are two to five, whose answers can be mixed beforehand."""
        found = []
        if not 1 <= len(listed(self.more_teachers)) <= 4:
            rule = "one to four networks with commas"
            found.append(Problem("more_teachers", rule, self.more_teachers))
        if config.answers_live:
            rule = "none, where several teachers answer together"
            found.append(Problem("augmentation", rule, config.augmentation))
        if config.method.needs.teacher == "features":
            rule = "one that learns from answers alone, where there are several teachers"
            found.append(Problem("method", rule, config.method.name))
        if config.label_budget_for == "everyone":
            rule = "student, where there are several teachers"
            found.append(Problem("label_budget_for", rule, config.label_budget_for))
        return found

    def networks(self) -> dict[str, str]:
        """Return the further teachers."""
        return {"more_teachers": self.more_teachers}
