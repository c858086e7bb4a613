"""What a plan is: its settings, its words, and the steps that an experiment has with it.

A plan is one file here, or in a module of your own that ``KD_PLUGINS`` names, and one call of
:func:`kdcore.plans.register`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from kdcore.errors import Problem
from kdcore.plans.steps import Asked, Step
from kdcore.settings import Part


class PlanKind(Part):
    """Who teaches whom; the fields of a subclass are its settings."""

    paper: ClassVar[str]
    # Whether students are the teachers of later ones: what several of them are called on screen.
    in_generations: ClassVar[bool] = False
    # Whether teachers answer for the unchanged examples, however the student's copies are changed.
    clean_answers: ClassVar[bool] = False
    # Which of its settings are of student and baseline alone.
    of_learners: ClassVar[tuple[str, ...]] = ()

    def steps(self, config: Asked) -> tuple[Step, ...]:
        """Return the steps of an experiment, each after those that it needs.

        The last one of the role "student" is the student that the experiment is about.
        """
        raise NotImplementedError

    def problems(self, config: Any) -> list[Problem]:
        """Return why it does not fit the other settings of an experiment."""
        return []

    def networks(self) -> dict[str, str]:
        """Return the networks that it names itself, by the setting that names them."""
        return {}

    def with_layers(self, teacher: int | None, student: int | None) -> Self:
        """Return it with what follows from how many layers two pretrained networks have; None where
        that is not known.
        """
        return self

    def who_saw_what(self, config: Any, teacher: str, without: int) -> str:
        """Say in a sentence or two what is learnt from what; nothing where a teacher teaches a
        student beside a baseline, and no more.

        ``teacher`` says it of the teacher; ``without`` is how many examples have no label.
        """
        return ""

    def describe(self) -> str:
        """Return it in short: "noisy student, generations 3"; nothing for the plain one."""
        shown = [
            f"{field.title or name} {getattr(self, name)}".lower()
            for name, field in type(self).model_fields.items()
            if getattr(self, name) != field.default
        ]
        return ", ".join([*([] if self.name == "distil" else [self.title.lower()]), *shown])


def of_which_unlabelled(without: int) -> str:
    """Say how many of some examples never had a label; nothing where all do."""
    return f" ({without:,} of them have no label at all)" if without else ""


def teacher_step(config: Asked, name: str = "teacher", network: str | None = None) -> Step:
    """Return the step of a teacher that is trained on true labels.

    On all of them and once; where the label budget is everyone's, on those of each seed.
    """
    network = config.teacher if network is None else network
    if config.label_budget_for == "everyone" and config.labels is not None:
        return Step(name, "teacher", network, labels=config.labels)
    return Step(name, "teacher", network, seed=config.teacher_seed)


def learner_settings(config: Asked) -> dict[str, Any]:
    """Return what student and baseline have in common."""
    return {
        "network": config.student,
        "start": config.student_start,
        "labels": config.labels,
        "noise": config.augmentation,
    }
