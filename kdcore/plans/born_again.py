"""Born-again networks: each generation teaches the next one of the same architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kdcore.errors import Problem
from kdcore.plans.base import PlanKind, learner_settings, teacher_step
from kdcore.plans.steps import Asked, Step
from kdcore.settings import setting


class BornAgain(PlanKind):
    """A student of its teacher's architecture teaches the next."""

    name: ClassVar[str] = "born-again"
    title: ClassVar[str] = "Born again"
    summary: ClassVar[str] = (
        "Each student has its teacher's architecture and teaches the next one. All start fresh; "
        "what they hand on is the [[softened distribution|soft target]]."
    )
    paper: ClassVar[str] = "Furlanello et al. 2018, arXiv:1805.04770"
    in_generations: ClassVar[bool] = True

    generations: int = setting(
        2, "Generations", "How many students follow one another.", "plan", ge=1, le=5
    )

    def steps(self, config: Asked) -> tuple[Step, ...]:
        """Return the teacher, one student a generation, and the baseline."""
        learner = learner_settings(config)
        made = [teacher_step(config)]
        for generation in range(1, self.generations + 1):
            name = "student" if generation == self.generations else f"generation {generation}"
            taught_by = (made[-1].name,)
            step = Step(name, "student", generation=generation, taught_by=taught_by, **learner)
            made.append(step)
        return (*made, Step("baseline", "baseline", **learner))

    def problems(self, config: Any) -> list[Problem]:
        """Return that student and teacher must be the same network."""
        if config.student != config.teacher:
            return [Problem("student", f"its teacher's network, {config.teacher}", config.student)]
        return []

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the teacher's network for the student."""
        return {"student": given["teacher"]} if "teacher" in given else {"student": "conv-64-128"}
