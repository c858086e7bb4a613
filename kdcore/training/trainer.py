"""What the training loop drives, and what the loop needs to know: its state, what may change in it
without tracing anew, and what its compiled form depends on.

Experiments, measurements of speed and benchmarks all make their trainers with :func:`make_trainer`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kdcore.config.experiment import ExperimentConfig
from kdcore.training.distiller import Distiller, compiled_form


class Trainer:
    """A compiled Keras model whose ``train_step`` a :class:`~kdcore.training.loop.Loop` runs.

    Args:
        model: has the training step, an optimizer and metrics.
        network: what is trained and kept of it; by default the model itself.
    """

    def __init__(self, model: keras.Model, network: keras.Model | None = None) -> None:
        self.model = model
        self.network = model if network is None else network

    @property
    def own_variables(self) -> list[Any]:
        """Variables of the training alone, which do not leave with the network."""
        return []

    @property
    def state(self) -> list[Any]:
        """All variables that a checkpoint holds, in an order that never changes."""
        return [
            *self.network.variables,
            *self.model.optimizer.variables,
            *self.model.metrics_variables,
            *self.own_variables,
        ]

    def build(self, batch: tuple[Any, Any]) -> None:
        """Create the variables of loss, optimizer and metrics, which must exist before the step is
        traced.
        """
        self.model.test_step(batch)
        self.model.optimizer.build(self.model.trainable_variables)
        self.model.reset_metrics()

    def restart(
        self, start: keras.Model, learning_rate: float, settings: Mapping[str, Any]
    ) -> None:
        """Begin another run of the same compiled form, exactly as a new trainer would.

        Args:
            start: the network at its start.
            learning_rate: of the other run.
            settings: those of the loss that may change without tracing anew, by name.
        """
        for variable, value in zip(self.network.variables, start.variables, strict=True):
            variable.assign(value)
        optimizer = self.model.optimizer  # Adam: all that it keeps begins at zero
        for variable in optimizer.variables:
            variable.assign(ops.zeros_like(variable))
        optimizer.learning_rate = learning_rate
        self.model.reset_metrics()
        self.tune(settings)

    def tune(self, settings: Mapping[str, Any]) -> None:
        """Set what may change without tracing anew; training on labels has nothing of the kind."""


class DistillationTrainer(Trainer):
    """A :class:`~kdcore.Distiller`, driven by the loop."""

    def __init__(self, distiller: Distiller) -> None:
        super().__init__(distiller, distiller.student)
        self.distiller = distiller

    @property
    def own_variables(self) -> list[Any]:
        """The variables of the loss's own layers."""
        return self.distiller.loss_variables

    def tune(self, settings: Mapping[str, Any]) -> None:
        """Set alpha and temperature; raises ModelError where that needs another compiled form."""
        for name, value in settings.items():
            setattr(self.distiller, name, value)


def make_trainer(
    role: str, config: ExperimentConfig, network: keras.Model, teacher: keras.Model | None = None
) -> Trainer:
    """Compile ``network`` for a role of an experiment: "teacher", "student" or "baseline".

    A ``teacher`` is given where the student asks it at every step; otherwise its answers come with
    the targets.
    """
    rate = config.teacher_learning_rate if role == "teacher" else config.learning_rate
    optimizer = keras.optimizers.Adam(rate)
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    if role != "student":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        network.compile(optimizer=optimizer, loss=loss, metrics=metrics)
        return Trainer(network)
    distiller = Distiller(student=network, teacher=teacher)
    distiller.compile(optimizer=optimizer, metrics=metrics, **loss_settings(role, config))
    return DistillationTrainer(distiller)


def loss_settings(role: str, config: ExperimentConfig) -> dict[str, Any]:
    """Return the settings of a role's loss, by name."""
    if role != "student":
        return {}
    return {"alpha": config.alpha, "temperature": config.temperature}


def loss_form(role: str, config: ExperimentConfig) -> Hashable:
    """Return what the compiled form of a role's training depends on besides the network and its
    data: trainers of one form differ in :func:`loss_settings` and the learning rate only.
    """
    return (role, compiled_form(config.alpha)) if role == "student" else (role,)


def make_targets(
    role: str, labels: NDArray[np.int32], labelled: NDArray, answers: NDArray[np.float32] | None
) -> Any:
    """Return what a role's trainer expects as y for all training examples.

    Args:
        role: "teacher", "student" or "baseline".
        labels: the true classes, shape [examples].
        labelled: the rows whose label a student may see.
        answers: the teacher's logits, shape [examples, classes]; None where it answers live.
    """
    if role != "student":
        return labels
    known = np.full(len(labels), -1, np.int32)  # -1: this example comes without its true label
    known[labelled] = labels[labelled]
    return known if answers is None else {"labels": known, "teacher_logits": answers}
