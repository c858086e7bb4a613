"""The one description of an experiment: every setting's range, default, label and help text, and
nothing else.

Form, command line, URL and library all build an :class:`ExperimentConfig`; it checks itself, and
answers bad values with a :class:`~kdcore.errors.ConfigError` in one form: "temperature must be
above 0, got -1".
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import json
import math
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from kdcore import plans
from kdcore.config import pretrained
from kdcore.config.catalog import (
    OWN,
    DatasetCard,
    ModelCard,
    brings_vocabulary,
    dataset_card,
    dataset_key,
    model_key,
    own_model,
    parse_model_name,
    revision_of,
    short_name,
)
from kdcore.errors import ConfigError, Problem, Words, require
from kdcore.methods import METHODS, Method, find
from kdcore.methods.logits import Logits
from kdcore.plans import PLANS, PlanKind
from kdcore.plans import find as find_plan
from kdcore.plans.distil import Distil
from kdcore.settings import ALWAYS_THERE, FROZEN, Part, listed, setting, words_of

Augmentation = Literal["none", "flips", "shifts", "flips and shifts", "randaugment"]
StudentStart = Literal["fresh", "file"]
Mixing = Literal["none", "mixup", "cutmix"]
Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine"]
Precision = Literal["auto", "float32", "bfloat16"]
LabelBudgetFor = Literal["student", "everyone"]
TeacherInputs = Literal[
    "checked",
    "as added",
    "0 to 1",
    "0 to 255",
    "-1 to 1",
    "standardised",
    "as in the file",
]


def _known(check: Any) -> AfterValidator:
    """Make a catalog look-up a field's validator, so that its refusal is listed with all the
    others.

    A look-up that returns text gives the name that the config keeps: of a user's data, the one that
    names its content.
    """

    def validate(name: str) -> str:
        try:
            found = check(name)
        except ConfigError as error:
            raise PydanticCustomError("rule", "{rule}", {"rule": error.problems[0].rule}) from None
        return found if isinstance(found, str) else name

    return AfterValidator(validate)


DatasetName = Annotated[str, _known(dataset_key)]
ModelName = Annotated[str, _known(model_key)]


def _vocabulary_key(name: str) -> str:
    """Return the key of a pretrained network for texts, or nothing for none."""
    rule = "empty, or a pretrained network for texts, such as hub-bert_tiny_en_uncased"
    require(not name or brings_vocabulary(name), "vocabulary", rule, name)
    return pretrained.whole(model_key(name)) if name else ""


VocabularyName = Annotated[str, _known(_vocabulary_key)]

# Settings that pretrained networks fill in where they are empty.
FILLED = ("vocabulary", "layers")

# What each role's result depends on in the plain plan (kdcore.plans.steps works it out), for a
# student beside its method's settings: see role_settings.
TEACHER_FIELDS = (*plans.OF_DATA, *plans.OF_TEACHER)
BASELINE_FIELDS = (*plans.OF_DATA, *plans.OF_LEARNER)
STUDENT_FIELDS = tuple(dict.fromkeys((*TEACHER_FIELDS, *BASELINE_FIELDS)))


class ExperimentConfig(BaseModel):
    """One distillation experiment: data, teacher, student, and how the one teaches the other.

    Frozen, hashable and validated on construction. Raises :class:`~kdcore.errors.ConfigError` that
    names every refused field at once.
    """

    model_config = FROZEN

    dataset: DatasetName = setting(
        "digits",
        "Dataset",
        "The images to learn. Digits are built in; others are fetched once.",
        "data",
    )
    labels: int | None = setting(
        100,
        "Label budget",
        "How many training examples come with their true label. The teacher labels all of them; "
        "distillation pays when true labels are few. Empty: all that have one.",
        "data",
        step=10,
        ge=1,
    )
    teacher: ModelName = setting(
        "conv-64-128", "Teacher", "The large network, trained first on all true labels.", "teacher"
    )
    teacher_epochs: int = setting(
        20,
        "Teacher epochs",
        "Passes over the training data for the teacher.",
        "teacher",
        ge=1,
        le=10_000,
    )
    student: ModelName = setting(
        "conv-8-16",
        "Student",
        "The small network, trained twice: with the teacher, and without it as baseline.",
        "student",
    )
    epochs: int = setting(
        20,
        "Epochs",
        "Passes over the training data for student and baseline alike.",
        "student",
        ge=1,
        le=10_000,
    )
    method: Method = setting(
        Logits(),
        "Method",
        "How the teacher teaches; each method has settings of its own.",
        "method",
        older="logits",
    )
    plan: PlanKind = setting(
        Distil(),
        "Plan",
        "Who teaches whom; each plan has settings of its own.",
        "plan",
        older="distil",
    )
    label_budget_for: LabelBudgetFor = setting(
        "student",
        "Whose label budget",
        "student: the teacher knows all true labels. everyone: the teacher, too, knows no more "
        "than the budget.",
        "plan",
        older="student",
    )
    batch_size: int = setting(
        32, "Batch size", "Examples per training step.", "training", ge=1, le=65_536
    )
    learning_rate: float = setting(
        3e-3,
        "Learning rate",
        "Step size of student and baseline; the highest, where it changes.",
        "training",
        log=True,
        step=1e-3,
        gt=0,
        le=1,
    )
    optimizer: Optimizer = setting(
        "adam",
        "Optimizer",
        "How student and baseline take their steps: adam; adamw, with weight decay; sgd, with Nesterov momentum 0.9, "
        "whose learning rate is some ten times larger. The teacher has Adam.",
        "rare",
        older="adam",
    )
    learning_rate_schedule: Schedule = setting(
        "constant",
        "Learning rate schedule",
        "cosine: it falls to zero until the last step, for student and baseline.",
        "rare",
        short="schedule",
        older="constant",
    )
    learning_rate_warm_up: float = setting(
        0,
        "Epochs of warm-up",
        "The learning rate rises over so many epochs first. Transformers and large batches want some.",
        "rare",
        short="warm-up of the learning rate",
        step=1,
        older=0,
        ge=0,
        le=10_000,
    )
    weight_decay: float = setting(
        0,
        "Weight decay",
        "Draws the weights of student and baseline to zero at each step, but for biases and what scales normalised "
        "values. For adamw and sgd; 0: none.",
        "rare",
        step=0.01,
        older=0,
        ge=0,
        le=1,
    )
    clip_norm: float = setting(
        0,
        "Largest norm of gradients",
        "Gradients of student and baseline that are longer, all together, are shortened to it. 0: as they are.",
        "rare",
        short="clipped at norm",
        step=1,
        older=0,
        ge=0,
        le=1_000_000,
    )
    seed: int = setting(
        0,
        "Seed",
        "Fixes initial weights, batch order and which examples keep their label.",
        "training",
        ge=0,
        lt=2**31,
    )
    seeds: int = setting(
        3,
        "Seeds",
        "How many paired repetitions to run, each from its own start. Five or more make a firm interval.",
        "training",
        ge=1,
        le=100,
    )
    training_examples: int | None = setting(
        None,
        "Training examples",
        "Use only this many training examples, drawn per class, and the same share of those without a label. "
        "Empty: all.",
        "rare",
        ge=1,
    )
    vocabulary: VocabularyName = setting(
        "",
        "Vocabulary of texts",
        "The pretrained network whose tokens all networks read. Empty: that of a pretrained teacher "
        "or student, else one that is learnt from the training part.",
        "rare",
        older="",
    )
    split_seed: int = setting(
        0,
        "Split seed",
        "Fixes which examples are for training, validation and test.",
        "rare",
        ge=0,
        lt=2**31,
    )
    teacher_batch_size: int = setting(
        32,
        "Teacher batch size",
        "Examples per training step of the teacher.",
        "rare",
        ge=1,
        le=65_536,
    )
    teacher_learning_rate: float = setting(
        3e-3,
        "Teacher learning rate",
        "Adam's step size for the teacher.",
        "rare",
        log=True,
        step=1e-3,
        gt=0,
        le=1,
    )
    teacher_seed: int = setting(
        0,
        "Teacher seed",
        "The teacher's own seed: one teacher serves all seeds.",
        "rare",
        ge=0,
        lt=2**31,
    )
    teacher_inputs: TeacherInputs = setting(
        "checked",
        "Values that your own teacher sees",
        "checked: as it was added, and trained with only where no other range does much better on "
        "your labels. as added: without the check. Or the range that it expects; standardised and, in a table, 0 to 1 go by what the training part shows.",
        "rare",
        older="checked",
    )
    augmentation: Augmentation = setting(
        "none",
        "Augmentation",
        "Student and baseline see changed copies of the images. The teacher then answers for the very copy that the "
        "student sees. A flipped digit is no digit: choose what keeps the class.",
        "rare",
        older="none",
    )
    mixing: Mixing = setting(
        "none",
        "Mixing",
        "Student and baseline see mixtures of two examples: mixup adds them, cutmix lays a part of one over the other. "
        "The teacher answers for the very mixture; of the true labels one is drawn in the mixture's proportion.",
        "rare",
        older="none",
    )
    omitted_classes: str = setting(
        "",
        "Classes left out",
        "Of these classes student and baseline never see an example; the teacher does. By name or number, with commas. "
        "Examples without a label, which may be of any class, are then left out too. Empty: none.",
        "rare",
        older="",
    )
    student_start: StudentStart = setting(
        "fresh",
        "Start of your own student",
        "For a student of your own: fresh weights by seed, or those of its file. The baseline starts alike.",
        "rare",
        older="fresh",
    )
    precision: Precision = setting(
        "auto",
        "Teacher precision",
        "auto uses bfloat16 where the hardware is built for it, float32 elsewhere.",
        "rare",
    )

    if TYPE_CHECKING:
        # The settings of its method are given beside all others.
        def __init__(self, **values: Any) -> None: ...

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_in_one_form(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        problems: list[Problem] = []
        if isinstance(values, dict):
            # pydantic would read True as 1, and bytes as text
            odd = {name: value for name, value in values.items() if isinstance(value, bool | bytes)}
            kinds = {
                name: "a number" if isinstance(odd[name], bool) else "a number or text"
                for name in odd
            }
            known = all_settings()
            refused = [Problem(name, kinds[name], odd[name]) for name in odd if name in known]
            if refused:
                raise ConfigError(*refused)
            values, problems = lift(values)
            values = _with_vocabulary(_with_layers(_with_keys(_with_label_budget(values))))
        try:
            config = handler(values)
        except ValidationError as error:
            found = [_problem(detail) for detail in error.errors()]
            raise ConfigError(*found, *problems) from None
        problems += config._cross_field_problems()
        if problems:
            raise ConfigError(*problems)
        return config

    def _cross_field_problems(self) -> list[Problem]:
        problems: list[Problem] = []
        card = dataset_card(self.dataset)
        classes, available = len(card.class_names), card.training_examples
        if (
            self.training_examples is not None
            and not classes <= self.training_examples <= available
        ):
            rule = f"from {classes} (one a class) to {available:,}, the {_labelled(card)} of {short_name(self.dataset)}"
            problems.append(Problem("training_examples", rule, self.training_examples))
        most = min(available, self.training_examples or available)
        if self.labels is not None and not classes <= self.labels <= most:
            rule = f"from {classes} (one a class) to {most:,}, the {_labelled(card)} in use"
            problems.append(Problem("labels", rule, self.labels))
        for role in ("teacher", "student"):
            problems += [
                Problem(role, rule, received)
                for rule, received in _misfits(getattr(self, role), self.dataset)
            ]
        if self.augmentation != "none":
            broken = card.task.augmentation_rule(
                self.augmentation, card.input_shape, short_name(self.dataset)
            )
            if broken:
                problems.append(Problem("augmentation", broken, self.augmentation))
        if self.mixing != "none" and self.plan.clean_answers:
            rule = f"none with the plan {self.plan.name}, whose teachers answer for clean examples"
            problems.append(Problem("mixing", rule, self.mixing))
        if self.mixing != "none" and card.task.written:
            rule = f"none: {short_name(self.dataset)} is {card.task.title}"
            problems.append(Problem("mixing", rule, self.mixing))
        elif self.mixing == "cutmix" and not card.task.pictures:
            rule = f"none or mixup: {short_name(self.dataset)} is {card.task.title}, not images"
            problems.append(Problem("mixing", rule, self.mixing))
        problems += self._omitted_problems(card.class_names)
        problems += self._step_problems()
        problems += self._plan_problems()
        problems += self.method.problems(
            short_name(self.dataset),
            classes,
            card.task.pictures,
            self.batch_size,
            self.student,
        )
        return problems + self._own_model_problems()

    def _omitted_problems(self, class_names: Sequence[str]) -> list[Problem]:
        """Return what cannot be left out."""
        named = listed(self.omitted_classes)
        unknown = [name for name in named if _class_number(name, class_names) is None]
        rule = ""
        if unknown:
            rule = f"empty, or some of {', '.join(class_names[:20])}"
        elif named and len(set(self.omitted_numbers)) > len(class_names) - 2:
            rule = "so few that two classes are left"
        elif named and any(step.selection for step in plans.plan_of(self).steps):
            rule = f"empty with the plan {self.plan.name}, which chooses its examples itself"
        return [Problem("omitted_classes", rule, self.omitted_classes)] if rule else []

    @property
    def labelled(self) -> int:
        """How many training examples have a label, whether it is shown to anybody or not."""
        return self.training_examples or dataset_card(self.dataset).training_examples

    @property
    def unlabelled(self) -> int:
        """How many training examples have no label."""
        return dataset_card(self.dataset).unlabelled_among(self.training_examples)

    @property
    def omitted_numbers(self) -> tuple[int, ...]:
        """The numbers of the classes that are left out."""
        names = dataset_card(self.dataset).class_names
        found = (_class_number(name, names) for name in listed(self.omitted_classes))
        return tuple(dict.fromkeys(number for number in found if number is not None))

    def _answers_problems(self, teacher: ModelCard) -> list[Problem]:
        """Return what a file of answers cannot be asked for: it knows examples as they are."""
        problems = []
        if teacher.dataset != self.dataset:
            rule = f"made for {short_name(self.dataset)}: its answers are for examples of another"
            problems.append(Problem("teacher", rule, short_name(self.teacher)))
        for name in ("augmentation", "mixing"):
            if getattr(self, name) != "none":
                rule = "none with a file of answers, which knows nothing of changed examples"
                problems.append(Problem(name, rule, getattr(self, name)))
        return problems

    def _own_model_problems(self) -> list[Problem]:
        """Return what files of the user's own cannot be asked for."""
        problems: list[Problem] = []
        own = own_model(self.student)
        own_teacher = own_model(self.teacher)
        brought = own_teacher is not None and own_teacher.kind == "file"
        if self.teacher_inputs != "checked" and not brought:
            rule = "checked, unless the teacher is a file of your own"
            problems.append(Problem("teacher_inputs", rule, self.teacher_inputs))
        if own is not None and not own.can_be_trained:
            rule = "a network that can be trained, not a file that only answers"
            problems.append(Problem("student", rule, short_name(self.student)))
        only_answers = own_teacher is not None and not own_teacher.can_be_trained
        if only_answers and self.method.needs.teacher == "features":
            rule = "one that learns from answers alone: this teacher has no layers to look into"
            problems.append(Problem("method", rule, self.method.name))
        if own_teacher is not None and own_teacher.format == "answers":
            problems += self._answers_problems(own_teacher)
        if self.student_start == "file" and (own is None or own.kind != "file"):
            problems.append(
                Problem(
                    "student_start",
                    "fresh, unless the student is a file of your own",
                    self.student_start,
                )
            )
        return problems

    def _step_problems(self) -> list[Problem]:
        problems = []
        if self.weight_decay and self.optimizer == "adam":
            rule = "0 with the optimizer adam, which has none: take adamw or sgd"
            problems.append(Problem("weight_decay", rule, self.weight_decay))
        if self.learning_rate_warm_up >= self.epochs:
            rule = f"below {self.epochs}, the epochs"
            problems.append(Problem("learning_rate_warm_up", rule, self.learning_rate_warm_up))
        return problems

    def optimizer_in_words(self) -> str:
        """Return how student and baseline take their steps, in words."""
        name = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD with momentum"}[self.optimizer]
        words = [f"{name} with learning rate {self.learning_rate:g}"]
        if self.learning_rate_warm_up:
            words.append(f"{self.learning_rate_warm_up:g} epochs of warm-up")
        if self.learning_rate_schedule == "cosine":
            words.append("a cosine schedule")
        if self.weight_decay:
            words.append(f"weight decay {self.weight_decay:g}")
        if self.clip_norm:
            words.append(f"gradients clipped at norm {self.clip_norm:g}")
        return ", ".join(words)

    def _vocabulary_problems(self) -> list[Problem]:
        """Return that a vocabulary is not that of the pretrained networks for texts."""
        named = [network for text in self.plan.networks().values() for network in listed(text)]
        reading = dict.fromkeys(
            pretrained.whole(model_key(network))
            for network in (self.teacher, self.student, *named)
            if brings_vocabulary(network)
        )
        if not reading or self.vocabulary in reading:
            return []
        rule = f"empty, or {short_name(next(iter(reading)))}, whose tokens a network reads"
        return [Problem("vocabulary", rule, self.vocabulary)]

    def _plan_problems(self) -> list[Problem]:
        problems = self.plan.problems(self) + self._vocabulary_problems()
        for setting_name, text in self.plan.networks().items():
            for network in listed(text):
                try:
                    model_key(network)
                except ConfigError as error:
                    problems.append(Problem(setting_name, error.problems[0].rule, network))
                    continue
                problems += [
                    Problem(setting_name, rule, received)
                    for rule, received in _misfits(network, self.dataset)
                ]
        own = own_model(self.teacher)
        if self.label_budget_for == "everyone" and own is not None and own.kind == "file":
            rule = "student: nobody knows which labels a trained model of your own has seen"
            problems.append(Problem("label_budget_for", rule, self.label_budget_for))
        return problems

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write each part's kind and its settings beside all others, in the order of
        :func:`all_settings`.
        """
        flat: dict[str, Any] = {}
        for name, value in handler(self).items():
            part = getattr(self, name)
            flat |= {name: part.name, **part.values()} if name in PARTS else {name: value}
        return flat

    @property
    def alpha(self) -> float:
        """Weight of the true labels; 0 for a method that trains on its own loss alone."""
        return getattr(self.method, "alpha", 0.0)

    @property
    def temperature(self) -> float:
        """Temperature that the student is taught at; 1 for a method without one."""
        return getattr(self.method, "temperature", 1.0)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a setting by name, ``default`` for one that its method does not have."""
        if name in PARTS:
            return getattr(self, name).name
        if name in type(self).model_fields:
            return getattr(self, name)
        return {**self.plan.values(), **self.method.values()}.get(name, default)

    @property
    def tokens_in_words(self) -> str:
        """Whose tokens texts are in, where that is not the data's own vocabulary; else ""."""
        if not self.vocabulary:
            return ""
        return (
            f"All networks read the texts in tokens of {short_name(self.vocabulary)}, which was trained "
            "with them."
        )

    def pretrained_layers(self, network: str) -> int | None:
        """Return how many layers a pretrained network for texts has, None where it is not known."""
        return pretrained.layers_of(network)

    def is_residual(self, network: str) -> bool:
        """Return whether a network is a residual one of convolutions."""
        return parse_model_name(network)[0].residual

    def can_skip_blocks(self, network: str) -> bool:
        """Return whether a network consists of blocks that can be left out at random: a residual
        one, or a vision transformer.
        """
        return parse_model_name(network)[0].of_blocks

    @property
    def answers_live(self) -> bool:
        """Whether the teacher is asked at every step, because its answers cannot be computed
        beforehand: it must answer for the very copies of the images that the student sees.

        Features that are too large to be kept are asked for at every step, too; that only the
        networks tell.
        """
        changed = self.augmentation != "none" and not self.plan.clean_answers
        asked = self.method.needs.teacher != "nothing"
        return asked and (changed or self.mixing != "none")

    def asked(self) -> dict[str, Any]:
        """Return its settings, empty those that its networks fill in by themselves; all of them
        together give an equal config.
        """
        values = self.model_dump()
        for name in FILLED:
            if values.get(name):
                without = {**values, name: ""}
                # What networks say now may be less than what they said when they were filled in.
                with contextlib.suppress(ConfigError):
                    values = without if type(self)(**without) == self else values
        return values

    def replace(self, **changes: Any) -> Self:
        """Return a copy with ``changes``, checked like any other config.

        Another method or plan begins with its own settings where ``changes`` does not name them.
        """
        values = self.asked()
        for name in FIRST_THE_PLAN:
            part = getattr(self, name)
            other = kind_name(changes.get(name, part))
            if other != part.name:
                values = {each: values[each] for each in values if each not in part.values()}
                if name == "plan":
                    kept = {each: values[each] for each in values if each not in PARTS}
                    changes = {**PARTS[name].find(other).defaults({**kept, **changes}), **changes}
        return type(self)(**{**values, **changes})

    @classmethod
    def unchecked(cls, stored: Mapping[str, Any]) -> Self:
        """Read a stored config without checking it, whose data, model or method may be unknown by
        now.
        """
        values = {name: stored[name] for name in cls.model_fields if name in stored}
        for name, kinds in PARTS.items():
            kind = kinds.known.get(stored.get(name, kinds.plain), kinds.unknown)
            older = {each: words_of(field)["older"] for each, field in kind.model_fields.items()}
            own = {each: stored.get(each, older[each]) for each in older}
            own = {each: value for each, value in own.items() if value != ALWAYS_THERE}
            values[name] = kind.model_construct(**own)
        return cls.model_construct(**values)

    def to_json(self) -> str:
        """Return the config as JSON; ``from_json`` of it gives an equal config."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a config back.

        Raises ConfigError for text that is no JSON object of known settings.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ConfigError(Problem("config", f"valid JSON ({error})", text)) from None
        return cls.model_validate(values)

    def fingerprint(self, step: str = "experiment") -> str:
        """Return a hex digest of all that a step's result depends on, by the step's name in the
        experiment's plan, or of the whole experiment.

        Equal digests mean the same training. Raises ConfigError for a step that is not in the plan.
        """
        if step == "experiment":
            names = (name for name in type(self).model_fields if name not in PARTS)
            values = {name: getattr(self, name) for name in names}
            planned = {"plan": self.plan.name, **self.plan.values()}
            return self.digest_of(step, {**values, **planned, **self.teaching()})
        return plans.plan_of(self).fingerprint(self, step)

    def teaching(self) -> dict[str, Any]:
        """Return the method's name and its settings, by name."""
        return {"method": self.method.name, **self.method.values()}

    def digest_of(self, role: str, values: Mapping[str, Any]) -> str:
        """Return the digest of what a run of ``role`` depends on."""
        # A setting that came later, left at its default, is the experiment as it was before there
        # was the setting.
        counted = {name: value for name, value in values.items() if self._before(name) != value}
        return digest({"role": role, **counted, **self._revisions(values)})

    def _revisions(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the revisions of networks among the values that are not of the first one."""
        named = ("teacher", "student", *self.plan.networks())
        found = {
            network: revision_of(network)
            for name in named
            if name in values
            for network in listed(values[name])
        }
        later = {network: revision for network, revision in found.items() if revision > 1}
        return {"revisions": later} if later else {}

    def _before(self, name: str) -> Any:
        """Return what a setting was before it existed: in the chosen plan and method, which may
        have it for longer than others.
        """
        try:
            field = setting_of(name, {part: getattr(self, part).name for part in PARTS})
        except KeyError:
            return older_value(name, NEVER)
        older = words_of(field)["older"]
        return NEVER if older == ALWAYS_THERE else older

    def describe(self) -> str:
        """Return one line that says what the experiment is."""
        labels = "all labels" if self.labels is None else f"{self.labels:,} labels"
        return (
            f"{short_name(self.dataset)} · {short_name(self.teacher)} → {short_name(self.student)} · {labels} · "
            f"{self.method.describe()} · {self.epochs} epochs"
            + (f" · {self.plan.describe()}" if self.plan.describe() else "")
        )


NEVER = object()


def all_settings() -> dict[str, FieldInfo]:
    """Return every setting there is by name, those of all kinds of a part after the part.

    Where kinds share a name, as methods do in alpha, the first one's stands for it.
    """
    return _all_settings(tuple(kind for kinds in PARTS.values() for kind in kinds.known.values()))


@functools.lru_cache(maxsize=4)
def _all_settings(_known: tuple[type[Part], ...]) -> dict[str, FieldInfo]:
    found: dict[str, FieldInfo] = {}
    for name, field in ExperimentConfig.model_fields.items():
        found[name] = field
        if name in PARTS:
            for kind in PARTS[name].known.values():
                for own, of_kind in kind.model_fields.items():
                    found.setdefault(own, of_kind)
    return found


def setting_of(name: str, kinds: Mapping[str, str]) -> FieldInfo:
    """Return what is declared of a setting as the chosen ``kinds`` of the parts have it.

    Raises KeyError for one that they do not have.
    """
    if name in ExperimentConfig.model_fields:
        return ExperimentConfig.model_fields[name]
    for part, kind in kinds.items():
        if name in PARTS[part].known[kind].model_fields:
            return PARTS[part].known[kind].model_fields[name]
    raise KeyError(name)


def role_settings(role: str, stored: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Return the names of the settings that a role's result depends on.

    With those of its plan, and for a student of its method: of a stored config, or of all kinds.
    """
    fields = {"teacher": TEACHER_FIELDS, "baseline": BASELINE_FIELDS}.get(role, STUDENT_FIELDS)
    parts = ("method", "plan") if role == "student" else ("plan",)
    own = [setting for part in parts for setting in (part, *_settings_of(part, stored))]
    if role == "teacher" and stored is not None:
        plan = PARTS["plan"].known.get(stored_setting(stored, "plan"), PARTS["plan"].unknown)
        own = [name for name in own if name not in plan.of_learners]
    return tuple(dict.fromkeys((*fields, *own, "label_budget_for")))


def _settings_of(part: str, stored: Mapping[str, Any] | None) -> list[str]:
    """Return the names of a part's settings: of the kind in a stored config, or of all kinds."""
    kinds = PARTS[part]
    known: Iterable[type[Part]] = kinds.known.values()
    if stored is not None:
        known = [kinds.known.get(stored_setting(stored, part), kinds.unknown)]
    return [name for kind in known for name in kind.model_fields]


def kind_name(given: Any) -> Any:
    """Return the name in what was given as a part: a name, its settings, or itself."""
    if isinstance(given, Part):
        return given.name
    return given.get("name") if isinstance(given, Mapping) else given


def lift(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Read the settings of each part from beside all others, as older configs and commands have
    them.

    Returns the values with one object for each part in them, and what is wrong with its settings.
    """
    rest = {name: values[name] for name in values if name in ExperimentConfig.model_fields}
    beside = {name: values[name] for name in values if name not in rest}
    problems: list[Problem] = []
    for name in FIRST_THE_PLAN:
        try:
            kind = PARTS[name].find(kind_name(rest.get(name, PARTS[name].plain)))
        except ConfigError as error:
            problems += error.problems
            mine = {each: beside.pop(each) for each in list(beside) if PARTS[name].has(each)}
            problems += [wrong for each in mine for wrong in PARTS[name].wrong(each, mine[each])]
            rest[name] = PARTS[name].find(PARTS[name].plain)()
            continue
        rest = {**kind.defaults(rest), **rest}
        own = {each: beside.pop(each) for each in list(beside) if each in kind.model_fields}
        rest[name], found = _made(kind, rest.get(name), own)
        problems += found
    for name in [name for name in beside if name in all_settings()]:
        part = next(part for part, kinds in PARTS.items() if kinds.has(name))
        rule = f"left out: {rest[part].title} has no such setting"
        problems.append(Problem(name, rule, beside.pop(name)))
    return {**rest, **beside}, problems


def _made(kind: type[Part], given: Any, own: dict[str, Any]) -> tuple[Part, list[Problem]]:
    """Return a part of a kind from what was given as the part and beside it, and what is wrong."""
    inside = given.values() if isinstance(given, Part) else {}
    if isinstance(given, Mapping):
        inside = {name: value for name, value in given.items() if name != "name"}
    try:
        return kind(**{**inside, **own}), []
    except ValidationError as error:
        return kind(), [_problem(detail) for detail in error.errors()]


class UnknownMethod(Method):
    """Stands for the method of a stored config whose module is not loaded."""

    name: ClassVar[str] = "unknown"
    title: ClassVar[str] = "A method that is not loaded"
    summary: ClassVar[str] = "The module that registers it is not named in KD_PLUGINS."
    equation: ClassVar[str] = ""
    paper: ClassVar[str] = ""


class UnknownPlan(PlanKind):
    """Stands for the plan of a stored config whose module is not loaded."""

    name: ClassVar[str] = "unknown"
    title: ClassVar[str] = "A plan that is not loaded"
    summary: ClassVar[str] = "The module that registers it is not named in KD_PLUGINS."
    paper: ClassVar[str] = ""

    def steps(self, config: Any) -> tuple[plans.Step, ...]:
        """Return the steps of the plain plan: those of its own are not known."""
        return Distil().steps(config)


@dataclass(frozen=True)
class Kinds:
    """The kinds that a part of a config may be of.

    Args:
        known: by name.
        find: returns one by name, and raises ConfigError for an unknown one.
        plain: the name of the one that stands where none is given.
        unknown: stands for a stored one whose module is not loaded.
    """

    known: Mapping[str, type[Any]]
    find: Callable[[object], type[Any]]
    plain: str
    unknown: type[Any]

    def has(self, name: str) -> bool:
        """Return whether a kind has a setting of this name."""
        return any(name in kind.model_fields for kind in self.known.values())

    def wrong(self, name: str, value: Any) -> list[Problem]:
        """Return what is wrong with the value of a setting, whichever kind it is for."""
        kind = next(kind for kind in self.known.values() if name in kind.model_fields)
        return _made(kind, None, {name: value})[1]


# It may say what the method is where nobody does.
FIRST_THE_PLAN = ("plan", "method")

# The parts of a config that are of one kind each, with settings of its own.
PARTS: dict[str, Kinds] = {
    "method": Kinds(METHODS, find, "logits", UnknownMethod),
    "plan": Kinds(PLANS, find_plan, "distil", UnknownPlan),
}


def older_value(name: str, default: Any = None) -> Any:
    """Return what a setting was before it existed, ``default`` for one that was always there."""
    field = all_settings().get(name)
    older = ALWAYS_THERE if field is None else words_of(field)["older"]
    return default if older == ALWAYS_THERE else older


def stored_setting(stored: Mapping[str, Any], name: str) -> Any:
    """Return a setting of a stored config, which may be older than the setting; None for one that
    its method does not have.
    """
    return stored[name] if name in stored else older_value(name)


def taught_at(stored: Mapping[str, Any]) -> float:
    """Return the temperature that a stored config's student is taught at, 1 without one."""
    return float(stored_setting(stored, "temperature") or 1.0)


def _misfits(model: str, dataset: str) -> list[tuple[str, str]]:
    """Return why ``model`` does not fit ``dataset``, as far as can be said without loading either:
    (rule, received).
    """
    card, name = dataset_card(dataset), short_name(dataset)
    (family, numbers), own = parse_model_name(model), own_model(model)
    shape = card.input_shape
    if not family.fits(card.task) and not (family is OWN and card.task.written):
        return [(f"{card.task.networks}: {name} is {card.task.title}", model)]
    if rule := family.shape_rule(numbers, shape):
        return [(rule, model)]
    if family is not OWN or own is None or own.kind == "function":
        return []
    found = []
    title, classes = short_name(model), len(card.class_names)
    if own.classes != classes:
        found.append(
            (
                f"a model that answers for the {classes} classes of {name}",
                f"{title}, for {own.classes} classes",
            )
        )
    given = own.input_shape or ()
    flat = len(given) == 1 and given[0] in (None, math.prod(shape))
    without_channels = len(given) == 2 and len(shape) == 3 and shape[2] in (1, 3)
    if not (
        flat
        or without_channels
        or (len(given) == 3 and len(shape) == 3 and given[2] in (None, 1, 3) and shape[2] in (1, 3))
    ):
        words = " × ".join("any" if side is None else str(side) for side in given)
        found.append(
            (
                f"a model for examples of shape {' × '.join(map(str, shape))}, as {name} has",
                f"{title}, for {words}",
            )
        )
    return [(rule, Words(received)) for rule, received in found]


def _labelled(card: DatasetCard) -> str:
    return "labelled training examples" if card.unlabelled_examples else "training examples"


def label_budget(card: DatasetCard, training_examples: int | None = None) -> int | None:
    """Return how many labels to begin with on a dataset: some ten a class, a twentieth of many.

    None, for all, where others have none: then they are few by themselves.
    """
    if card.unlabelled_examples:
        return None
    examples = min(card.training_examples, training_examples or card.training_examples)
    return min(examples, max(10 * len(card.class_names), examples // 20))


def _with_label_budget(values: dict[str, Any]) -> dict[str, Any]:
    """Give settings without a label budget one that fits their data.

    The default of 100 is that of the digits; no message names a number that nobody typed.
    """
    if "labels" in values:
        return values
    examples = values.get("training_examples")
    known = examples if isinstance(examples, int) and examples > 0 else None
    dataset = values.get("dataset", "digits")
    if not isinstance(dataset, str):  # refused as what it is
        return values
    if dataset == "digits":
        return {**values, "labels": min(100, known or 100)}
    try:
        card = dataset_card(dataset)
    except ConfigError:  # refused as what it is
        return values
    return {**values, "labels": label_budget(card, known)}


def _with_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Give pretrained networks that a plan names the names of their content."""
    plan = values.get("plan")
    if not isinstance(plan, PlanKind):
        return values
    keyed = {
        name: ",".join(_pretrained_key(network) for network in listed(text))
        for name, text in plan.networks().items()
        if pretrained.HEAD in text
    }
    return {**values, "plan": plan.model_copy(update=keyed)} if keyed else values


def _pretrained_key(network: str) -> str:
    return pretrained.key(network) if network.startswith(pretrained.HEAD) else network


def _with_vocabulary(values: dict[str, Any]) -> dict[str, Any]:
    """Give settings the vocabulary of the pretrained network for texts among their networks."""
    given = values.get("vocabulary", "")
    if given != "" and not (isinstance(given, str) and brings_vocabulary(given)):
        return values  # refused by its own rule
    try:
        written = dataset_card(str(values.get("dataset", "digits"))).task.written
    except ConfigError:  # refused as what it is
        return values
    if not written:
        return {**values, "vocabulary": ""} if given else values
    if given:
        return values
    plan, fields = values.get("plan"), ExperimentConfig.model_fields
    planned = plan.networks().values() if isinstance(plan, PlanKind) else ()
    networks = [values.get(role, fields[role].default) for role in ("teacher", "student")]
    networks += [network for text in planned for network in listed(text)]
    for network in networks:
        if isinstance(network, str) and brings_vocabulary(network):
            return {**values, "vocabulary": pretrained.whole(network)}
    return values


def _with_layers(values: dict[str, Any]) -> dict[str, Any]:
    """Give a plan the layers that its student starts from, as far as its networks say them now."""
    plan, student, teacher = (values.get(name) for name in ("plan", "student", "teacher"))
    if not (isinstance(plan, PlanKind) and isinstance(student, str) and isinstance(teacher, str)):
        return values
    if not all(re.fullmatch(pretrained.TEXTS, name) for name in (teacher, student)):
        return values
    filled = plan.with_layers(pretrained.layers_of(teacher), pretrained.layers_of(student))
    return {**values, "plan": filled}


def read_setting(name: str, text: str) -> Any:
    """Read a setting's text as the number it looks like.

    What does not is left to the config to refuse.
    """
    annotation = all_settings()[name].annotation
    kinds = typing.get_args(annotation) or (annotation,)
    if type(None) in kinds and text.lower() in ("all", "none", ""):
        return None
    if int in kinds or float in kinds:
        for read in (int, float):
            with contextlib.suppress(ValueError):
                return read(text)
    return text


def _class_number(name: str, class_names: Sequence[str]) -> int | None:
    """Return the number of a class by its name, or by the number itself."""
    if name in class_names:
        return list(class_names).index(name)
    return int(name) if name.isdecimal() and int(name) < len(class_names) else None


def starting_config(dataset: str) -> ExperimentConfig:
    """Return settings to begin with on a dataset: a few labels of each class, networks that fit its
    kind.

    They are a start, not a recommendation. Raises ConfigError for an unknown dataset.
    """
    card = dataset_card(dataset)
    examples = card.training_examples
    teacher, student = card.task.starting_networks
    epochs = 20 if examples <= 5_000 else 5
    return ExperimentConfig(
        dataset=dataset,
        labels=label_budget(card),
        teacher=teacher,
        student=student,
        epochs=epochs,
        teacher_epochs=epochs,
        batch_size=32 if examples <= 5_000 else 64,
        teacher_batch_size=32 if examples <= 5_000 else 64,
    )


def digest(values: Mapping[str, Any]) -> str:
    """Return a short stable digest of JSON-able ``values``."""
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


_RULES = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "one of {expected}",
    "finite_number": "a finite number",
    "model_type": "a set of named values",
    "rule": "{rule}",
}


def _problem(detail: Any) -> Problem:
    """Translate one pydantic error into the one form."""
    field = str(detail["loc"][0]) if detail["loc"] else "config"
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        nearest = difflib.get_close_matches(field, all_settings(), n=1)
        hint = f" (did you mean {nearest[0]}?)" if nearest else ""
        return Problem("setting", f"one of the known settings{hint}", field)
    if kind in _RULES:
        numbers = {
            name: f"{value:g}" if isinstance(value, float) else value
            for name, value in context.items()
        }
        rule = _RULES[kind].format(**numbers)
    elif kind.startswith("int"):
        rule = "a whole number"
    elif kind.startswith("float"):
        rule = "a number"
    elif kind.startswith("string"):
        rule = "text"
    else:
        rule = detail["msg"]
    return Problem(field, rule, detail["input"])
