"""A method's loss as a Keras object: for :class:`kdcore.Distiller` and for Keras' own."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kdcore import losses
from kdcore.errors import ModelError
from kdcore.methods import Batch, Method, find
from kdcore.training.adapters import make_adapter
from kdcore.training.paired_layers import default_pairs, named_pairs
from kdcore.training.taps import shape_of

# What a loss may need to be told besides the two outputs.
Outputs = Any


@keras.saving.register_keras_serializable(package="kdcore")
class MethodLoss(keras.layers.Layer, keras.distillation.DistillationLoss):
    """One part of a method's loss: on the logits, or on one pair of layers.

    A Keras layer too, so that layers of its own are trained and saved wherever it is used.

    Args:
        method: the method, or its serialised form.
        term: which part of it.
        teacher_layer_name: the layer of the teacher, None for its output.
        student_layer_name: the layer of the student, None for its output.
        seed: fixes the initial weights of layers of its own.
    """

    def __init__(
        self,
        method: Method | Mapping[str, Any],
        term: int = 0,
        teacher_layer_name: str | None = None,
        student_layer_name: str | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if not isinstance(method, Method):
            values = dict(method)
            method = find(values.pop("name"))(**values)
        self.method, self.term_number, self.seed = method, term, seed
        self.teacher_layer_name = teacher_layer_name
        self.student_layer_name = student_layer_name
        self.curves = tuple(curve.name for curve in method.curves)
        self.own_layers: dict[str, keras.Layer] = {}
        # What compiled training steps read, so that other settings take effect in them.
        with tf.init_scope():
            self._now = {
                name: tf.Variable(value, dtype=tf.float64)
                for name, value in method.tunable().items()
            }
            # Where nobody tells, any warm-up is over.
            self.epoch = tf.Variable(math.inf, dtype=tf.float64)

    @property
    def needs_teacher(self) -> bool:
        """Whether there must be a teacher, or its answers."""
        return self.method.needs.teacher != "nothing"

    def tune(self, settings: Mapping[str, float]) -> None:
        """Set settings that may change without tracing anew."""
        for name, variable in self._now.items():
            variable.assign(settings[name])

    def build(self, teacher_shape: Any, student_shape: Any) -> None:
        """Make the layers of its own for features of these shapes, the batch first."""
        self.built = True
        self._shapes = (tuple(teacher_shape), tuple(student_shape))
        with tf.init_scope(), _seeded(self.seed):
            # Initial weights are drawn from a seed that layers take when they are made.
            made = self.method.make_layers(*self._shapes) if self.term_number == 0 else {}
            if self.method.terms()[self.term_number].adapter:
                adapter = make_adapter(*self._shapes)
                made = {**made, **({"adapter": adapter} if adapter is not None else {})}
            if made:
                self.own_layers = made
                zeros = [tf.zeros([2, *shape[1:]]) for shape in self._shapes]
                self.compute_loss(*zeros, labels=tf.zeros([2], tf.int32))

    def restart(self, seed: int) -> None:
        """Give the layers of its own the initial weights of another seed."""
        self.seed = seed
        if self.own_layers:
            fresh = type(self).from_config(self.get_config())
            fresh.build(*self._shapes)
            for variable, value in zip(self.variables, fresh.variables, strict=True):
                variable.assign(value)

    def validate_model_compatibility(self, teacher: keras.Model, student: keras.Model) -> None:
        """Make its own layers to fit the models; raises ModelError where they do not fit."""
        if self.built:
            return
        shapes = [
            tuple(model.output_shape) if name is None else shape_of(model, name)
            for model, name in (
                (teacher, self.teacher_layer_name),
                (student, self.student_layer_name),
            )
        ]
        try:
            self.build(*shapes)
        except ModelError as error:
            pair = f"{self.teacher_layer_name}:{self.student_layer_name}"
            raise ModelError(f"{pair} cannot be compared: {error}") from error

    def validate_outputs(self, teacher_outputs: Outputs, student_outputs: Outputs) -> None:
        """Leave the check to the loss function, which says what does not fit."""

    def compute_loss(
        self, teacher_outputs: Outputs, student_outputs: Outputs, **kwargs: Any
    ) -> Any:
        """Return the loss of a batch, a scalar.

        Args:
            teacher_outputs: logits or features of the teacher.
            student_outputs: those of the student.
            **kwargs: ``labels``, class numbers [batch] with -1 for a row without one.
        """
        return self.loss_and_curves(teacher_outputs, student_outputs, kwargs.get("labels"))[0]

    def kept(self, teacher_features: Any, student_shape: Any) -> Any:
        """Return what of a teacher's features the loss compares: all that has to be kept of them,
        where they are computed beforehand.
        """
        made = self.method.terms()[self.term_number].kept
        return (
            teacher_features
            if made is None
            else made(teacher_features, tuple(student_shape), losses)
        )

    def loss_and_curves(
        self,
        teacher_outputs: Outputs,
        student_outputs: Outputs,
        labels: Any = None,
        *,
        kept: bool = False,
    ) -> tuple[Any, dict[str, Any]]:
        """Return the loss of a batch and the values of the method's curves that it knows.

        With ``kept`` the teacher's outputs are what :meth:`kept` made of them beforehand.
        """
        term = self.method.terms()[self.term_number]
        if not kept and teacher_outputs is not None:
            teacher_outputs = self.kept(teacher_outputs, student_outputs.shape)
        if term.adapter and "adapter" in self.own_layers:
            student_outputs = self.own_layers["adapter"](student_outputs)
        now = {**self.method.values(), **self._now}
        layers = {name: layer for name, layer in self.own_layers.items() if name != "adapter"}
        if teacher_outputs is not None:
            teacher_outputs = ops.stop_gradient(teacher_outputs)
        batch = Batch(
            teacher_outputs, student_outputs, labels, now, losses, ops, layers, self.epoch
        )
        found = term.compute(batch)
        loss, curves = found if isinstance(found, tuple) else (found, {})
        if len(loss.shape):
            raise ModelError(
                f"the loss of {self.method.name} must be one number, got shape {loss.shape}"
            )
        if term.weight is not None:
            loss = ops.cast(now[term.weight], loss.dtype) * loss
        return loss, curves

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, serialised."""
        return {
            **super().get_config(),
            "method": {"name": self.method.name, **self.method.values()},
            "term": self.term_number,
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
            "seed": self.seed,
        }

    def get_build_config(self) -> dict[str, Any]:
        """Return the shapes that it was built for."""
        return {"shapes": [list(shape) for shape in self._shapes]} if self.built else {}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build it for the shapes of :meth:`get_build_config`."""
        if config:
            self.build(*config["shapes"])

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make it anew from :meth:`get_config`."""
        return cls(**config)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Fix initial weights; what else of a program draws from Python's and NumPy's own generators
    goes on as if nothing had happened.
    """
    states = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def method_losses(
    method: Method, teacher: keras.Model | None, student: keras.Model, seed: int = 0
) -> list[MethodLoss]:
    """Return a method's loss for a teacher and a student: one object for the logits, and one for
    each pair of layers.

    Their sum is the method's loss, in :class:`kdcore.Distiller` as in
    ``keras.distillation.Distiller``. Raises ModelError where layers are to be paired and there is
    no teacher, or no layers that belong together.
    """
    made: list[MethodLoss] = []
    for number, term in enumerate(method.terms()):
        if term.on == "logits":
            layer = term.student_layer
            made.append(MethodLoss(method, number, student_layer_name=layer, seed=seed))
            continue
        if teacher is None:
            raise ModelError(f"{method.title} looks into the teacher's layers: there is none")
        named = named_pairs(teacher, student, method.named_pairs())
        pairs = named or default_pairs(teacher, student, method.pairs)
        for at, (of_teacher, of_student) in enumerate(pairs):
            made.append(MethodLoss(method, number, of_teacher, of_student, seed=seed + at))
    return made
