"""Noisy Student: rounds of self-training on examples without labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from kdcore.errors import Problem
from kdcore.plans.base import PlanKind, learner_settings, of_which_unlabelled
from kdcore.plans.steps import Asked, Selection, Step
from kdcore.settings import setting

Switch = Literal["on", "off"]


class NoisyStudent(PlanKind):
    """A teacher labels what has no label; a noised student learns it and is the next teacher."""

    name: ClassVar[str] = "noisy-student"
    title: ClassVar[str] = "Noisy Student"
    summary: ClassVar[str] = (
        "Nobody knows more labels than the [[budget|label budget]]. A teacher that learned from them, without noise "
        "while it answers, labels all other examples; the student learns both with noise, and "
        "teaches the next [[generation]]."
    )
    paper: ClassVar[str] = "Xie et al. 2020, arXiv:1911.04252"
    in_generations: ClassVar[bool] = True
    clean_answers: ClassVar[bool] = True

    generations: int = setting(
        3, "Generations", "How many students follow one another.", "plan", ge=1, le=5
    )
    noise: Switch = setting(
        "on",
        "Noise",
        "Students see changed copies (the augmentation) and learn with dropout and stochastic depth. "
        "Off: nothing of it, for anybody.",
        "plan",
    )
    dropout: float = setting(
        0.2,
        "Dropout",
        "The share of what enters the last layer that is left out at each step.",
        "plan",
        ge=0,
        le=0.9,
        step=0.1,
    )
    stochastic_depth: float = setting(
        0.2,
        "Stochastic depth",
        "How often the last block of a residual network (resnet-...) is left out, for each example; "
        "the blocks before it less often. Other networks are trained without.",
        "plan",
        older=0.0,
        ge=0,
        le=0.9,
        step=0.1,
    )
    confidence: float = setting(
        0.3,
        "Confidence",
        "Examples that the teacher is less sure of are left out.",
        "plan",
        ends=("0: all are kept", "only those it is sure of: 1"),
        ge=0,
        lt=1,
        step=0.1,
    )
    balance: Switch = setting(
        "on",
        "Balance",
        "As many examples of each class as the teacher sees it: its surest, repeated where few.",
        "plan",
    )
    unlabelled_ratio: int = setting(
        3,
        "Unlabelled for each labelled",
        "How many examples without a label a batch holds for each one with a label.",
        "plan",
        ge=1,
        le=28,
    )

    def steps(self, config: Asked) -> tuple[Step, ...]:
        """Return generation 0, which is the teacher, one student a generation, and a baseline
        with the student's noise.
        """
        learner = learner_settings(config)
        own = {name: value for name, value in learner.items() if name != "noise"}
        first = self._noise(config, config.teacher, learner["noise"])
        noise = self._noise(config, config.student, learner["noise"])
        made = [Step("teacher", "teacher", config.teacher, labels=config.labels, **first)]
        chosen = Selection(self.confidence, self.balance == "on", self.unlabelled_ratio)
        for generation in range(1, self.generations + 1):
            name = "student" if generation == self.generations else f"generation {generation}"
            made.append(
                Step(
                    name,
                    "student",
                    generation=generation,
                    taught_by=(made[-1].name,),
                    clean_answers=True,
                    selection=chosen,
                    **own,
                    **noise,
                )
            )
        return (*made, Step("baseline", "baseline", **own, **noise))

    def _noise(self, config: Asked, network: str, augmentation: str) -> dict[str, Any]:
        """Return the noise that a network is trained with."""
        if self.noise == "off":
            return {"noise": "none"}
        depth = self.stochastic_depth if config.is_residual(network) else 0.0
        return {"noise": augmentation, "dropout": self.dropout, "stochastic_depth": depth}

    def who_saw_what(self, config: Any, teacher: str, without: int) -> str:
        """Say what the generations learn from."""
        unlabelled = of_which_unlabelled(without)
        return (
            f"{teacher} Each generation learns from these and from what the generation before it takes "
            f"the other examples{unlabelled} for; the baseline sees the labelled ones alone, with "
            "the same noise."
        )

    def problems(self, config: Any) -> list[Problem]:
        """Return that there must be examples without a label, and a loss that learns from
        answers alone.
        """
        found = []
        if config.labels is None and not config.unlabelled:
            found.append(Problem("labels", "fewer than all: nothing is left to label", None))
        if config.label_budget_for != "everyone":
            rule = "everyone, with Noisy Student"
            found.append(Problem("label_budget_for", rule, config.label_budget_for))
        if config.batch_size < 2:
            rule = "at least 2, with Noisy Student: labelled and unlabelled together"
            found.append(Problem("batch_size", rule, config.batch_size))
        if config.method.needs.teacher != "logits":
            rule = "one that learns from the teacher's logits, with Noisy Student"
            found.append(Problem("method", rule, config.method.name))
        return found

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the budget for everyone, the paper's loss, and noise of the kind that fits."""
        return {"label_budget_for": "everyone", "method": "pseudo_labels"}
