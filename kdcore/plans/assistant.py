"""Teacher assistants: networks between the sizes of teacher and student."""

from __future__ import annotations

from typing import Any, ClassVar

from kdcore.errors import Problem
from kdcore.plans.base import PlanKind, learner_settings, teacher_step
from kdcore.plans.steps import Asked, Step
from kdcore.settings import Names, listed, setting


class Assistant(PlanKind):
    """The teacher teaches an assistant, which teaches the student."""

    name: ClassVar[str] = "assistant"
    title: ClassVar[str] = "With an assistant"
    summary: ClassVar[str] = (
        "Where the teacher is far larger than the student, an [[assistant]] between them learns first and "
        "then teaches. The same student is also taught by the teacher directly, to see whether the "
        "way round pays."
    )
    paper: ClassVar[str] = "Mirzadeh et al. 2020, arXiv:1902.03393"

    assistants: Names = setting(
        "conv-16-32",
        "Assistants",
        "One network or more between teacher and student, from large to small, with commas.",
        "plan",
    )

    def steps(self, config: Asked) -> tuple[Step, ...]:
        """Return the teacher, the chain of assistants, the student taught both ways, and the
        baseline.
        """
        learner = learner_settings(config)
        made = [teacher_step(config)]
        for number, network in enumerate(listed(self.assistants), 1):
            name = "assistant" if number == 1 else f"assistant {number}"
            own = {**learner, "network": network, "start": "fresh"}
            made.append(Step(name, "student", taught_by=(made[-1].name,), **own))
        last = made[-1].name
        return (
            *made,
            Step("direct", "student", taught_by=("teacher",), **learner),
            Step("student", "student", taught_by=(last,), **learner),
            Step("baseline", "baseline", **learner),
        )

    def problems(self, config: Any) -> list[Problem]:
        """Return that there must be an assistant, and not too many."""
        found = len(listed(self.assistants))
        if not 1 <= found <= 3:
            return [Problem("assistants", "one to three networks with commas", self.assistants)]
        return []

    def networks(self) -> dict[str, str]:
        """Return the assistants."""
        return {"assistants": self.assistants}
