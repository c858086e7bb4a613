"""Optimizers of student and baseline, with a learning rate that may change at every step.

All are Keras' own. What changes from one seed or sweep cell to the next (peak, warm-up, length)
lies in variables, so that a compiled loop may serve another run.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kdcore.config.experiment import ExperimentConfig

MOMENTUM = 0.9
# Decay draws weights to zero, where a bias and the scale of a normalised value do not belong.
NOT_DECAYED = ("bias", "gamma", "beta")


@keras.saving.register_keras_serializable(package="kdcore")
class WarmUpThenSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises evenly to its peak, then stays there or falls as a cosine to zero.

    At step s of S, of which w warm up: peak (s + 1) / w while s < w, then peak, or
    peak (1 + cos(π (s - w) / (S - w))) / 2 (Loshchilov and Hutter 2017, "SGDR").
    """

    def __init__(self, cosine: bool, peak: float, warm_up_steps: int, steps: int) -> None:
        self.cosine = cosine
        with tf.init_scope():
            self._now = [tf.Variable(0.0, dtype=tf.float32) for _ in range(3)]
        self.tune(peak, warm_up_steps, steps)

    def tune(self, peak: float, warm_up_steps: int, steps: int) -> None:
        """Set what may change without tracing anew."""
        for variable, value in zip(self._now, (peak, warm_up_steps, steps), strict=True):
            variable.assign(float(value))

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step, from 0."""
        peak, warm_up, steps = self._now
        step = ops.cast(step, "float32")
        later = ops.convert_to_tensor(peak)
        if self.cosine:
            gone = ops.clip((step - warm_up) / ops.maximum(steps - warm_up, 1.0), 0.0, 1.0)
            later = peak * (1.0 + ops.cos(math.pi * gone)) / 2.0
        rising = peak * (step + 1.0) / ops.maximum(warm_up, 1.0)
        return ops.where(step < warm_up, rising, later)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        peak, warm_up_steps, steps = (float(variable) for variable in self._now)
        return {
            "cosine": self.cosine,
            "peak": peak,
            "warm_up_steps": int(warm_up_steps),
            "steps": int(steps),
        }


def make_optimizer(
    role: str, config: ExperimentConfig, schedule: WarmUpThenSchedule | None = None
) -> keras.optimizers.Optimizer:
    """Return the optimizer of a role: "teacher", "student" or "baseline".

    A teacher has Adam with a constant learning rate; ``schedule`` stands in place of the constant
    one of the others.
    """
    if role == "teacher":
        return keras.optimizers.Adam(config.teacher_learning_rate)
    rate = config.learning_rate if schedule is None else schedule
    clip = {"global_clipnorm": config.clip_norm} if config.clip_norm else {}
    if config.optimizer == "adam":
        return keras.optimizers.Adam(rate, **clip)
    if config.optimizer == "adamw":
        made = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, **clip)
    else:
        decay = config.weight_decay or None
        made = keras.optimizers.SGD(
            rate, momentum=MOMENTUM, nesterov=True, weight_decay=decay, **clip
        )
    made.exclude_from_weight_decay(var_names=list(NOT_DECAYED))
    return made


def schedule_of(config: ExperimentConfig, steps: int) -> WarmUpThenSchedule | None:
    """Return the schedule of student and baseline, ``steps`` long; None where it is constant."""
    if not is_scheduled(config):
        return None
    cosine = config.learning_rate_schedule == "cosine"
    return WarmUpThenSchedule(cosine, *course(config, steps))


def course(config: ExperimentConfig, steps: int) -> tuple[float, int, int]:
    """Return peak, steps of warm-up and steps in all of a learning rate that changes."""
    warm_up = round(steps * config.learning_rate_warm_up / config.epochs)
    return config.learning_rate, warm_up, steps


def is_scheduled(config: ExperimentConfig) -> bool:
    """Return whether the learning rate changes during the training."""
    return config.learning_rate_schedule != "constant" or config.learning_rate_warm_up > 0


def optimizer_form(config: ExperimentConfig) -> tuple[object, ...]:
    """Return what of an optimizer a compiled step has fixed."""
    schedule = config.learning_rate_schedule if is_scheduled(config) else None
    return (config.optimizer, schedule, config.weight_decay, config.clip_norm)
