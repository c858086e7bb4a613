"""What a distillation method is: its settings, its words, what it needs from the teacher, and its
loss.

A method is one file here, or in a module of your own that ``KD_PLUGINS`` names, and one call of
:func:`kdcore.methods.register`. Its loss is written with what it is handed in a :class:`Batch`, so
that nothing here imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from kdcore.errors import Problem
from kdcore.settings import Part, words_of


@dataclass(frozen=True)
class Needs:
    """What a method asks for: "nothing" of the teacher, its "logits" (computed once), or its
    "features" too (computed once where they are small enough to be kept).

    ``labels`` says in words what labels are for and what happens to rows without one.
    """

    teacher: Literal["nothing", "logits", "features"] = "logits"
    labels: str = "Rows without a label learn from the teacher alone."
    classes: int = 2
    images: bool = False

    def __str__(self) -> str:
        """Return it in words."""
        from_teacher = {
            "nothing": "No teacher.",
            "logits": "The teacher's logits, computed once for all training examples.",
            "features": "The teacher's features: computed once where they are small enough to be "
            "kept, otherwise at every step, which takes time.",
        }[self.teacher]
        images = " Images." if self.images else ""
        return f"{from_teacher}{images} {self.labels}"


@dataclass(frozen=True)
class Curve:
    """A curve that a method adds: the key of its measure, and its name on screen.

    ``labelled``: it is a mean over the rows with a label alone.
    """

    name: str
    title: str
    labelled: bool = False


@dataclass
class Batch:
    """What a loss is computed from.

    ``teacher`` and ``student`` are logits [batch, classes], or the features of a pair of layers.
    ``labels`` are class numbers [batch], -1 for a row without, or None where there are none at all.
    ``now`` has the method's settings at this moment: numbers that may change without tracing anew
    are scalar tensors. ``functions`` is :mod:`kdcore.losses`, ``ops`` is ``keras.ops``, ``layers``
    what :meth:`Method.make_layers` made, ``epoch`` the one in progress, from 1, as a scalar
    tensor.
    """

    teacher: Any
    student: Any
    labels: Any
    now: Mapping[str, Any]
    functions: Any
    ops: Any
    layers: Mapping[str, Any] = field(default_factory=dict)
    epoch: Any = 0.0


# A scalar, or a scalar and the values of curves by name.
Loss = Any
LossFunction = Callable[[Batch], Loss]
# Of the teacher's features, the shape of the student's and :mod:`kdcore.losses`.
KeptFunction = Callable[[Any, tuple[int | None, ...], Any], Any]


@dataclass(frozen=True)
class Term:
    """A part of a method's loss: on the logits, or on each pair of layers.

    ``weight`` is the name of the setting that it is multiplied by; with ``adapter`` the student's
    features are brought to the teacher's shape first. ``student_layer`` is the layer whose output
    stands for the student's logits, such as one head of several. ``kept`` makes of the teacher's
    features what the loss compares, example by example: that alone is computed beforehand and kept;
    without it the features as they are.
    """

    compute: LossFunction
    on: Literal["logits", "features"] = "logits"
    weight: str | None = None
    adapter: bool = False
    student_layer: str | None = None
    kept: KeptFunction | None = None


class Method(Part):
    """How a teacher teaches; the fields of a subclass are its settings.

    ``total = α · cross_entropy + (1 - α) · loss``, with the setting ``alpha`` where there is one;
    a method without it trains on its own loss alone.
    """

    equation: ClassVar[str]
    paper: ClassVar[str]
    # The paper's values of settings whose defaults are others. Where it adds its loss to that of
    # the labels with weights of its own, alpha is the share of the labels' weight.
    papers: ClassVar[Mapping[str, float]] = {}
    # What its paper does otherwise that no setting stands for, as it ends a sentence.
    unlike_paper: ClassVar[str] = ""
    needs: ClassVar[Needs] = Needs()
    curves: ClassVar[tuple[Curve, ...]] = ()
    # Whether its loss is 0 where teacher and student agree.
    zero_at_agreement: ClassVar[bool] = True
    # The family that its student must be of, and a network of it; empty: any.
    student_family: ClassVar[tuple[str, ...]] = ("",)
    student_example: ClassVar[str] = ""
    # Which pairs of layers it takes where none are named.
    pairs: ClassVar[Literal["last", "all"]] = "last"

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of a batch, or the loss and the values of ``curves`` by name."""
        raise NotImplementedError

    def terms(self) -> tuple[Term, ...]:
        """Return the parts of the loss; one of the logits unless told otherwise."""
        return (Term(self.loss),)

    def make_layers(
        self, teacher_shape: tuple[int | None, ...], student_shape: tuple[int | None, ...]
    ) -> dict[str, Any]:
        """Return Keras layers of the loss's own, by name: trained, kept in checkpoints, and no
        part of the student.

        Shapes are those of the logits or layers, with the batch first.
        """
        return {}

    def compared_numbers(self, values: int, batch_size: int) -> int:
        """Return how many numbers a batch takes to compare, with so many ``values`` of features for
        each example.
        """
        return values * batch_size

    def named_pairs(self) -> list[tuple[str, str]]:
        """Return the pairs of layers that are named, (teacher's, student's); none: automatic."""
        return []

    @classmethod
    def defaults(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a student of the family that it needs, where it needs one."""
        return {"student": cls.student_example} if cls.student_example else {}

    @classmethod
    def departs(cls) -> str:
        """Return which of its defaults are not the paper's, "Weight of attention 10 (the paper's
        1,000)", and what else is otherwise; empty: nothing.
        """
        settings = [
            f"{_named(cls, name, cls.model_fields[name].default)} (the paper's {value:,g})"
            for name, value in cls.papers.items()
        ]
        return ", ".join(filter(None, (*settings, cls.unlike_paper)))

    @classmethod
    def in_words(cls, settings: Mapping[str, float]) -> str:
        """Return some of its settings in words: "Alpha 0.5, Weight of attention 1,000"."""
        return ", ".join(_named(cls, name, value) for name, value in settings.items())

    def problems(
        self, dataset: str, classes: int, images: bool, batch_size: int, student: str
    ) -> list[Problem]:
        """Return why the method does not fit the data or the student."""
        found = []
        if not student.startswith(self.student_family):
            rule = f"one such as {self.student_example}: {self.title} needs its layers"
            found.append(Problem("student", rule, student))
        if classes < self.needs.classes:
            rule = f"another for {classes} classes: {self.title} needs {self.needs.classes} or more"
            found.append(Problem("method", rule, self.name))
        if self.needs.images and not images:
            found.append(
                Problem("method", f"another for {dataset}, which is not images", self.name)
            )
        return found

    def remark(self, epochs: int) -> str:
        """Return what its settings come to in a training of so many epochs, where that may not be
        what was meant; empty: nothing.
        """
        return ""

    def tunable(self) -> dict[str, float]:
        """Return the settings that may change without tracing anew: the numbers that are no whole
        ones.
        """
        return {name: value for name, value in self.values().items() if isinstance(value, float)}

    def form(self) -> tuple[Any, ...]:
        """Return what the compiled form of its training step depends on."""
        fixed = {name: value for name, value in self.values().items() if name not in self.tunable()}
        # Where a weight is 0 or 1, a part of the loss may not be computed at all.
        alpha = getattr(self, "alpha", 0.0)
        return (self.name, *sorted(fixed.items()), alpha if alpha in (0.0, 1.0) else None)

    def describe(self) -> str:
        """Return its settings in short: "α 0.1 · T 10", with its title unless it is plain."""
        fields = type(self).model_fields
        shown = [
            f"{words_of(fields[name])['short']} {value:g}"
            for name, value in self.values().items()
            if isinstance(value, int | float)
        ]
        return " · ".join(([] if self.name == "logits" else [self.title.lower()]) + shown)


def _named(kind: type[Method], name: str, value: float) -> str:
    # What follows a colon explains the name.
    return f"{str(kind.model_fields[name].title).partition(':')[0]} {value:,g}"
