"""The settings of an experiment, with range, default, label and help text, and what can be read off
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel
from pydantic_core import PydanticCustomError

from kdcore.config import pretrained
from kdcore.config.catalog import dataset_card, dataset_key, model_key, parse_model_name, short_name
from kdcore.config.families import brings_vocabulary
from kdcore.config.parts import PARTS
from kdcore.errors import ConfigError, require
from kdcore.methods import Method
from kdcore.methods.logits import Logits
from kdcore.plans import PlanKind
from kdcore.plans.distil import Distil
from kdcore.settings import FROZEN, listed, setting

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


class ExperimentFields(BaseModel):
    """The settings of an experiment, and what can be read off them."""

    model_config = FROZEN

    dataset: DatasetName = setting(
        "digits",
        "Dataset",
        "What is to be learnt. Digits and languages are built in; others are fetched once.",
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
        found = (class_number(name, names) for name in listed(self.omitted_classes))
        return tuple(dict.fromkeys(number for number in found if number is not None))

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

    def teaching(self) -> dict[str, Any]:
        """Return the method's name and its settings, by name."""
        return {"method": self.method.name, **self.method.values()}

    def describe(self) -> str:
        """Return one line that says what the experiment is."""
        labels = "all labels" if self.labels is None else f"{self.labels:,} labels"
        return (
            f"{short_name(self.dataset)} · {short_name(self.teacher)} → {short_name(self.student)} · {labels} · "
            f"{self.method.describe()} · {self.epochs} epochs"
            + (f" · {self.plan.describe()}" if self.plan.describe() else "")
        )


def class_number(name: str, class_names: Sequence[str]) -> int | None:
    """Return the number of a class by its name, or by the number itself."""
    if name in class_names:
        return list(class_names).index(name)
    return int(name) if name.isdecimal() and int(name) < len(class_names) else None
