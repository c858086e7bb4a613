"""The mathematics of distillation: pure functions of logits, with nothing to configure and no
state.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kdcore.losses.arguments import (
    at_least_float32,
    check_alpha,
    check_same_shape,
    check_temperature,
    is_number,
)


def soften(logits: Any, temperature: Any) -> Any:
    """Return the softened distribution ``softmax(logits / temperature)`` over the last axis.

    Args:
        logits: shape [..., classes].
        temperature: above 0; 1 is plain softmax, and the higher it is, the closer to uniform.

    Raises:
        ConfigError: for a temperature that is not a finite number above 0.
    """
    check_temperature(temperature)
    logits = at_least_float32(logits)
    return ops.softmax(logits / ops.cast(temperature, logits.dtype), axis=-1)


def kd_loss(teacher_logits: Any, student_logits: Any, temperature: Any) -> Any:
    """Return the distillation loss of a batch, a scalar: the mean over its rows of
    :func:`kd_loss_per_example`.

    ``T² · mean over the batch of Σ_c p_t (log p_t - log p_s)`` with ``p = softmax(logits / T)``
    (Hinton, Vinyals, Dean 2015, §2.1). It is zero where teacher and student agree and never
    negative. Its gradient with respect to the student's logits is ``T (p_s - p_t) / batch``; none
    flows to the teacher.

    Args:
        teacher_logits: shape [batch, classes].
        student_logits: the same shape.
        temperature: above 0.

    Raises:
        ConfigError: for a temperature that is not a finite number above 0.
        ModelError: where the two shapes differ.
    """
    return ops.mean(kd_loss_per_example(teacher_logits, student_logits, temperature))


def kd_loss_per_example(teacher_logits: Any, student_logits: Any, temperature: Any) -> Any:
    """Return ``T² Σ_c p_t (log p_t - log p_s)`` for each row: shape [batch], float32 or wider.

    Arguments and errors are those of :func:`kd_loss`, which is its mean.
    """
    check_temperature(temperature)
    teacher_logits, student_logits = (
        at_least_float32(teacher_logits),
        at_least_float32(student_logits),
    )
    check_same_shape(teacher_logits, student_logits)
    dtype = keras.backend.result_type(teacher_logits.dtype, student_logits.dtype)
    # At a high temperature the divergence of two rows is a difference of nearly equal numbers, some
    # 1/T² of the logits' variance, and T² then magnifies its rounding: in float32 a loss at T = 100
    # can be wrong in its first digit. Hence float64 inside. A row of logits is short, so it costs
    # next to nothing beside the networks.
    temperature = ops.cast(temperature, "float64")
    teacher = ops.log_softmax(
        ops.cast(ops.stop_gradient(teacher_logits), "float64") / temperature, axis=-1
    )
    student = ops.log_softmax(ops.cast(student_logits, "float64") / temperature, axis=-1)
    divergence = ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)
    # Rounding can leave a row of equal distributions a hair below zero, which no divergence is.
    return ops.cast(temperature**2 * ops.maximum(divergence, 0.0), dtype)


def distillation_loss(hard_loss: Any, soft_loss: Any, alpha: Any) -> Any:
    """Return the total ``alpha · hard_loss + (1 - alpha) · soft_loss``: alpha weights the true
    labels.

    At the numbers 0 and 1 for alpha the other loss is left out altogether rather than multiplied by
    zero, so that it can neither add rounding nor, where it is not finite, spoil the sum. A scalar
    tensor is taken as it is.

    Raises:
        ConfigError: for an alpha outside 0 to 1.
    """
    check_alpha(alpha)
    if not is_number(alpha):
        alpha = ops.cast(
            alpha, "float64"
        )  # so that each weight is rounded once, as those of a Python number are
        return (
            ops.cast(alpha, hard_loss.dtype) * hard_loss
            + ops.cast(1 - alpha, soft_loss.dtype) * soft_loss
        )
    if alpha == 1:
        return hard_loss
    if alpha == 0:
        return soft_loss
    return alpha * hard_loss + (1 - alpha) * soft_loss
