"""What the training loop drives, and what the loop needs to know: its state, what may change in it
without tracing anew, and what its compiled form depends on.

Experiments, measurements of speed and benchmarks all make their trainers with :func:`make_trainer`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from kdcore.config.experiment import ExperimentConfig
from kdcore.methods import Method
from kdcore.methods.logits import Logits
from kdcore.training.batches import FEATURES
from kdcore.training.distiller import Distiller
from kdcore.training.method_loss import MethodLoss, method_losses
from kdcore.training.optimizers import (
    WarmUpThenSchedule,
    course,
    make_optimizer,
    optimizer_form,
    schedule_of,
)


class Trainer:
    """A compiled Keras model whose ``train_step`` a :class:`~kdcore.training.loop.Loop` runs.

    Args:
        model: has the training step, an optimizer and metrics.
        network: what is trained and kept of it; by default the model itself.
        schedule: of a learning rate that changes; None where it is constant.
    """

    def __init__(
        self,
        model: keras.Model,
        network: keras.Model | None = None,
        schedule: WarmUpThenSchedule | None = None,
    ) -> None:
        self.model = model
        self.network = model if network is None else network
        self.schedule = schedule

    @property
    def own_variables(self) -> list[Any]:
        """Variables of the training alone, which do not leave with the network."""
        return []

    @property
    def trained_variables(self) -> list[Any]:
        """The variables that gradients change, in the optimizer's order."""
        return list(self.network.trainable_variables)

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
        self.model.optimizer.build(self.trained_variables)
        self.model.reset_metrics()

    def prepare(self, batch: tuple[Any, Any]) -> Any:
        """Return a batch as :meth:`step` takes it.

        Random numbers that must not depend on how the step is compiled are drawn here: XLA has a
        generator of its own.
        """
        return batch

    def step(self, prepared: Any) -> Any:
        """Take one step on what :meth:`prepare` returned."""
        return self.model.train_step(prepared)

    def restart(self, start: keras.Model, config: ExperimentConfig, *, steps: int = 1) -> None:
        """Begin another run of the same compiled form, exactly as a new trainer would.

        ``start`` is the network at its start, ``config`` that of the other run, ``steps`` those of
        its whole training.
        """
        for variable, value in zip(self.network.variables, start.variables, strict=True):
            variable.assign(value)
        optimizer = self.model.optimizer  # all that Keras' optimizers keep begins at zero
        for variable in optimizer.variables:
            variable.assign(ops.zeros_like(variable))
        if self.schedule is not None:
            self.schedule.tune(*course(config, steps))
        else:
            optimizer.learning_rate = config.learning_rate
        self.model.reset_metrics()

    def at_epoch(self, epoch: int) -> None:
        """Be told which epoch is in progress, from 1, before its next steps."""


class DistillationTrainer(Trainer):
    """A :class:`~kdcore.Distiller`, driven by the loop."""

    def __init__(self, distiller: Distiller, schedule: WarmUpThenSchedule | None = None) -> None:
        super().__init__(distiller, distiller.student, schedule)
        self.distiller = distiller

    @property
    def own_variables(self) -> list[Any]:
        """The variables of the losses' own layers."""
        return self.distiller.loss_variables

    @property
    def trained_variables(self) -> list[Any]:
        """The student's, then those of the losses' own layers."""
        return self.distiller.trained_variables

    def restart(self, start: keras.Model, config: ExperimentConfig, *, steps: int = 1) -> None:
        """Begin another run: also the losses' own layers and their settings are those of a new
        one.
        """
        super().restart(start, config, steps=steps)
        self.tune(config.method)
        first = self.losses[0].seed if self.losses else 0
        for loss in self.losses:  # each pair of layers has a seed of its own
            loss.restart(config.seed + loss.seed - first)

    def tune(self, method: Method) -> None:
        """Set what may change without tracing anew; raises ModelError where ``method`` needs
        another compiled form.
        """
        self.distiller.alpha = getattr(method, "alpha", 0.0)
        if not self.losses:
            self.distiller.temperature = method.tunable()["temperature"]
        for loss in self.losses:
            loss.tune(method.tunable())

    def at_epoch(self, epoch: int) -> None:
        """Tell losses that change over the epochs."""
        for loss in self.losses:
            loss.epoch.assign(epoch)

    @property
    def losses(self) -> list[MethodLoss]:
        """The parts of the method's loss; none for plain distillation, which is the Distiller's
        own.
        """
        return [each for each in self.distiller.distillation_losses if isinstance(each, MethodLoss)]


def make_trainer(
    role: str,
    config: ExperimentConfig,
    network: keras.Model,
    teacher: keras.Model | None = None,
    *,
    steps: int = 1,
) -> Trainer:
    """Compile ``network`` for a role of an experiment: "teacher", "student" or "baseline".

    A ``teacher`` is given where the student asks it at every step, and where the method taps its
    layers; otherwise its answers come with the targets. ``steps`` are those of the whole training:
    where the learning rate changes, it ends with them.
    """
    schedule = None if role == "teacher" else schedule_of(config, steps)
    optimizer = make_optimizer(role, config, schedule)
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    if role != "student":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        network.compile(optimizer=optimizer, loss=loss, metrics=metrics)
        return Trainer(network, schedule=schedule)
    distiller = Distiller(student=network, teacher=teacher)
    plain = isinstance(config.method, Logits)
    distiller.compile(
        optimizer=optimizer,
        metrics=metrics,
        alpha=config.alpha,
        temperature=config.temperature,
        # Plain distillation is what a distiller does by itself.
        distillation_loss=None
        if plain
        else method_losses(config.method, teacher, network, config.seed),
    )
    return DistillationTrainer(distiller, schedule)


def compiled_form(role: str, config: ExperimentConfig) -> Hashable:
    """Return what the compiled form of a role's training depends on besides the network and its
    data: a trainer may restart for any config of its form.
    """
    method = (config.method.form(),) if role == "student" else ()
    return (role, *method, *optimizer_form(config))


def make_targets(
    role: str,
    labels: NDArray[np.int32],
    labelled: NDArray,
    answers: NDArray[np.float32] | None,
    features: tuple[NDArray[np.float32], ...] = (),
) -> Any:
    """Return what a role's trainer expects as y for all training examples.

    Args:
        role: "teacher", "student" or "baseline".
        labels: the true classes, shape [examples].
        labelled: the rows whose label a student may see.
        answers: the teacher's logits, shape [examples, classes]; None where it answers live.
        features: what is kept of the teacher's layers, in the order of the losses that tap them;
            each of shape [examples, ...].
    """
    if role != "student":
        return labels
    known = np.full(len(labels), -1, np.int32)  # -1: this example comes without its true label
    known[labelled] = labels[labelled]
    if answers is None:
        return known
    kept = {FEATURES: features} if features else {}
    return {"labels": known, "teacher_logits": answers, **kept}
