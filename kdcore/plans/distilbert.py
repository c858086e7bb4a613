"""DistilBERT: a language model is distilled into half its layers, then learns the labels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from kdcore.errors import Problem
from kdcore.plans.base import PlanKind, learner_settings, of_which_unlabelled, teacher_step
from kdcore.plans.pretraining import Pretraining
from kdcore.plans.steps import Asked, Step
from kdcore.settings import listed, setting

Switch = Literal["on", "off"]


def _check_numbers(text: str) -> str:
    """Return the text if it is empty or whole numbers with commas. Which of them the teacher has
    is checked with its network.
    """
    if not all(re.fullmatch("[0-9]{1,4}", each) for each in listed(text)):
        rule = "empty, or numbers of layers with commas, such as 1,3"
        raise PydanticCustomError("rule", "{rule}", {"rule": rule})
    return text


class DistilBert(PlanKind):
    """Pre-train a teacher, distil it into half its layers, then fine-tune both."""

    name: ClassVar[str] = "distilbert"
    title: ClassVar[str] = "DistilBERT"
    summary: ClassVar[str] = (
        "A transformer learns to guess [[masked words]] in all texts, labelled or not. A student of half "
        "its layers starts from every second one of them and learns the same with three losses. Then "
        "both learn the labels. Beside it: the same student [[pre-trained|pre-training]] alone, and from scratch. "
        "Within two minutes pre-training alone does not help few labels: what it gives shows in the "
        "masked words."
    )
    paper: ClassVar[str] = "Sanh et al. 2019, arXiv:1910.01108"

    pretraining_epochs: int = setting(
        10,
        "Epochs of masked words",
        "Passes over all texts for each language model.",
        "plan",
        ge=1,
        le=10_000,
    )
    mask: float = setting(
        0.15,
        "Share masked",
        "Of the tokens of a text, how many are guessed at each step.",
        "plan",
        gt=0,
        lt=1,
        step=0.05,
    )
    token_weight: float = setting(
        5,
        "Weight of the teacher's guesses",
        "Distance of the student's distribution of each token from its teacher's. 0: without.",
        "plan",
        ge=0,
        le=1000,
        step=1,
    )
    masked_weight: float = setting(
        2,
        "Weight of the masked words",
        "Cross-entropy of the words themselves. 0: without.",
        "plan",
        ge=0,
        le=1000,
        step=1,
    )
    hidden_weight: float = setting(
        1,
        "Weight of the hidden states",
        "Angle between the last hidden states of both. 0: without.",
        "plan",
        ge=0,
        le=1000,
        step=1,
    )
    token_temperature: float = setting(
        2,
        "T of the teacher's guesses",
        "Temperature of the distributions of tokens.",
        "plan",
        gt=0,
        le=1000,
        step=1,
    )
    layer_start: Switch = setting(
        "on",
        "Start from the teacher's layers",
        "off: the student begins fresh.",
        "plan",
    )
    layers: Annotated[str, AfterValidator(_check_numbers)] = setting(
        "",
        "Layers to start from",
        "Of the teacher, counted from 1, with commas. Empty: every second one.",
        "plan",
    )

    def steps(self, config: Asked) -> tuple[Step, ...]:
        """Return both language models, the teacher and the student that start from them, the
        student pre-trained alone, and the baseline from scratch.
        """
        words, learner = Pretraining(self.pretraining_epochs, self.mask), learner_settings(config)
        seed = config.teacher_seed
        taught = Pretraining(
            self.pretraining_epochs,
            self.mask,
            self.token_weight,
            self.masked_weight,
            self.hidden_weight,
            self.token_temperature,
            self.layers_of(config) if self.layer_start == "on" else (),
        )
        own = {name: value for name, value in learner.items() if name != "start"}
        model, distilled, alone = "language model", "distilled language model", "own language model"
        teacher = teacher_step(config)
        return (
            Step(model, "pretrained", config.teacher, seed=seed, pretraining=words),
            Step(
                "teacher",
                "teacher",
                config.teacher,
                seed=teacher.seed,
                labels=teacher.labels,
                start=model,
            ),
            Step(
                distilled,
                "pretrained",
                config.student,
                seed=seed,
                taught_by=(model,),
                pretraining=taught,
            ),
            Step(alone, "pretrained", config.student, seed=seed, pretraining=words),
            Step("pre-trained alone", "baseline", start=alone, **own),
            Step("student", "student", taught_by=("teacher",), start=distilled, **own),
            Step("baseline", "baseline", **learner),
        )

    def layers_of(self, config: Asked) -> tuple[int, ...]:
        """Return the teacher's layers that the student starts from, counted from 0."""
        named = [int(each) - 1 for each in listed(self.layers)]
        teacher, student = _form(config.teacher), _form(config.student)
        if named or teacher is None or student is None:
            return tuple(named)
        return _every_second(teacher.layers, student.layers)

    def with_layers(self, teacher: int | None, student: int | None) -> Self:
        """Return it with the layers that a student of a pretrained teacher starts from."""
        if self.layers or self.layer_start == "off":
            return self
        named = [str(at + 1) for at in _every_second(teacher, student)]
        return self.model_copy(update={"layers": ",".join(named)})

    def who_saw_what(self, config: Any, teacher: str, without: int) -> str:
        """Say what language models and learners of labels learn from."""
        few = "all" if config.labels is None else f"the same {config.labels:,}"
        texts, unlabelled = config.labelled + config.unlabelled, config.unlabelled
        return (
            f"Language models guess masked words in all {texts:,} training texts"
            f"{of_which_unlabelled(unlabelled)}, without labels. {teacher} "
            f"Student and both baselines learn from {few} labels, the student also from the teacher's answers."
        )

    def problems(self, config: Any) -> list[Problem]:
        """Return that both must be transformers, of one form where the one starts from the other or
        is compared with it, and that something must be learnt.
        """
        teacher, student = _form(config.teacher), _form(config.student)
        if teacher is None:
            rule = "a transformer of texts, such as transformer-4-64 or a hub-bert_..., with DistilBERT"
            return [Problem("teacher", rule, config.teacher)]
        if teacher.layers is None:
            teacher = replace(teacher, layers=config.pretrained_layers(config.teacher))
        alike = self.layer_start == "on" or self.hidden_weight > 0
        if student is None or not student.fits(teacher, alike=alike):
            return [Problem("student", teacher.rule_for_students, config.student)]
        found = []
        if config.label_budget_for != "student":
            found.append(
                Problem("label_budget_for", "student, with DistilBERT", config.label_budget_for)
            )
        if not (self.token_weight or self.masked_weight or self.hidden_weight):
            found.append(Problem("masked_weight", "above 0 where the other two are 0", 0))
        if self.layer_start == "on":
            found += self._layer_problems(self.layers_of(config), teacher, student)
        return found

    def _layer_problems(
        self, layers: tuple[int, ...], teacher: _Form, student: _Form
    ) -> list[Problem]:
        most = math.inf if teacher.layers is None else teacher.layers
        if len(layers) == student.layers and all(0 <= at < most for at in layers):
            return []
        rule = f"empty, or {student.layers} numbers from 1 to {most}"
        if teacher.layers is None:
            rule = f"{student.layers} numbers of the teacher's layers, counted from 1"
        return [Problem("layers", rule, self.layers)]

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a teacher of four layers and a student of two."""
        return {"teacher": "transformer-4-64", "student": "transformer-2-64"}


@dataclass(frozen=True)
class _Form:
    """What a network's name says of it: what another must be like to start from its layers, and how
    many layers it has, None where the name does not say it.
    """

    like: str
    layers: int | None
    rule_for_students: str

    def fits(self, teacher: _Form, *, alike: bool) -> bool:
        """Return whether its layers are known and surely no more than its teacher's, and of the
        same form where they have to be ``alike``.
        """
        if self.layers is None or (teacher.layers is not None and self.layers > teacher.layers):
            return False
        return not alike or self.like == teacher.like


def _form(network: str) -> _Form | None:
    """Return the form of a transformer of texts; None for any other network."""
    own = re.fullmatch(r"transformer-(\d+)-(\d+)", network)
    if own is not None:
        rule = f"a transformer of width {own[2]} and at most {own[1]} layers, as its teacher"
        return _Form(f"transformer of width {own[2]}", int(own[1]), rule)
    pretrained = re.fullmatch(r"(hub-bert_[^-@]+)(?:-(\d+))?(@.*)?", network)
    if pretrained is None:
        return None
    name, layers, content = pretrained.groups()
    most = f", and with at most {layers}" if layers else ""
    rule = f"{name} with its number of layers, such as {name}-1{most}, as its teacher"
    return _Form(f"{name}{content or ''}", int(layers) if layers else None, rule)


def _every_second(teacher: int | None, student: int | None) -> tuple[int, ...]:
    """Return the layers that a student of half its teacher's layers starts from, or as evenly
    spaced ones for another number; none where a number is not known.
    """
    if not (teacher and student):
        return ()
    return tuple(at * teacher // student for at in range(student))
