"""The plain plan: a teacher, a student that it teaches, and the baseline."""

from __future__ import annotations

from typing import Any, ClassVar

from kdcore.errors import Problem
from kdcore.plans.base import PlanKind, learner_settings, teacher_step
from kdcore.plans.steps import Asked, Step
from kdcore.settings import setting


class Distil(PlanKind):
    """One teacher teaches one student."""

    name: ClassVar[str] = "distil"
    title: ClassVar[str] = "Teacher and student"
    summary: ClassVar[str] = "One teacher teaches one student; the [[baseline]] learns alone."
    paper: ClassVar[str] = "Hinton et al. 2015, arXiv:1503.02531"
    of_learners: ClassVar[tuple[str, ...]] = ("dropout", "stochastic_depth")

    dropout: float = setting(
        0.0,
        "Dropout",
        "The share of what enters the last layer of student and baseline that is left out at each step.",
        "rare",
        older=0.0,
        ge=0,
        le=0.9,
        step=0.1,
    )
    stochastic_depth: float = setting(
        0.0,
        "Stochastic depth",
        "How often the last block of student and baseline is left out, for each example; the blocks "
        "before it less often. For resnet-..., vit-... and deit-....",
        "rare",
        older=0.0,
        ge=0,
        le=0.9,
        step=0.1,
    )

    def steps(self, config: Asked) -> tuple[Step, ...]:
        """Return teacher, student and baseline."""
        noise = {"dropout": self.dropout, "stochastic_depth": self.stochastic_depth}
        learner = learner_settings(config) | noise
        return (
            teacher_step(config),
            Step("student", "student", taught_by=("teacher",), **learner),
            Step("baseline", "baseline", **learner),
        )

    def problems(self, config: Any) -> list[Problem]:
        """Return where the student has no blocks to leave out, and where the method would compare
        feature maps with some of them left out.
        """
        found = []
        if self.stochastic_depth and not config.can_skip_blocks(config.student):
            rule = "0, unless the student is a resnet-..., a vit-... or a deit-..."
            found.append(Problem("stochastic_depth", rule, self.stochastic_depth))
        if config.method.needs.teacher == "features":
            rule = "0 with a method that compares feature maps"
            noise = {name: getattr(self, name) for name in self.of_learners}
            found += [Problem(name, rule, value) for name, value in noise.items() if value]
        return found
