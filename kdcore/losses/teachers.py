"""Several teachers at once: how their answers become one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from kdcore.errors import ModelError
from kdcore.losses.arguments import (
    as_class_numbers,
    at_least_float32,
    check_same_shape,
    check_temperature,
    result_dtype,
)


def mean_teacher_logits(
    teacher_logits: Sequence[Any], temperature: Any, weights: Any | None = None
) -> Any:
    """Return logits whose softened distribution is the mean of the teachers' softened ones.

    ``T · log Σ_k w_k softmax(z_k / T)``, shape [batch, classes]: a mean of probabilities, not of
    logits (Hinton, Vinyals, Dean 2015, §2; You 2017).

    Args:
        teacher_logits: of each teacher, shape [batch, classes].
        temperature: above 0.
        weights: shape [teachers] or [teachers, batch], at least 0, summing to 1 over the teachers;
            None for equal ones.

    Raises:
        ConfigError: for a temperature out of range.
        ModelError: for no teacher, or where shapes differ.
    """
    check_temperature(temperature)
    stacked, dtype = _stacked(teacher_logits)
    temperature = ops.cast(temperature, "float64")
    logs = ops.log_softmax(stacked / temperature, axis=-1)
    count = len(teacher_logits)
    if weights is None:
        logs = logs - ops.log(ops.cast(count, "float64"))
    else:
        if isinstance(weights, list | tuple | np.ndarray) and np.min(np.asarray(weights)) < 0:
            smallest = float(np.min(np.asarray(weights)))
            raise ModelError(f"weights of teachers must be at least 0, got {smallest:g}")
        weights = ops.cast(ops.convert_to_tensor(weights), "float64")
        if weights.shape[0] != count:
            raise ModelError(
                f"there must be a weight for each of {count} teachers, got {weights.shape[0]}"
            )
        if len(weights.shape) == 1:
            weights = ops.expand_dims(weights, -1)
        logs = logs + ops.expand_dims(ops.log(weights), -1)
    return ops.cast(temperature * ops.logsumexp(logs, axis=0), dtype)


def confidence_weights(teacher_logits: Sequence[Any], labels: Any | None = None) -> Any:
    """Return how much each teacher counts for each example, [teachers, batch], summing to 1.

    ``w_k = (1 - softmax_k(L)) / (K - 1)`` with L_k the teacher's cross-entropy with the true label
    (CA-MKD: Zhang 2022, eq. 3). Where there is no label, L_k is the entropy of its answer: the
    surer teacher counts more.

    Args:
        teacher_logits: of each teacher, shape [batch, classes].
        labels: class numbers [batch] or [batch, 1], or one-hot; below 0: no label. None: no labels.

    Raises:
        ModelError: for no teacher, or where shapes differ.
    """
    stacked, dtype = _stacked(teacher_logits)
    count, classes = len(teacher_logits), stacked.shape[-1]
    logs = ops.log_softmax(stacked, axis=-1)
    losses = -ops.sum(ops.exp(logs) * logs, axis=-1)
    if labels is not None:
        numbers = as_class_numbers(labels, classes)
        chosen = ops.one_hot(numbers, classes, dtype="float64")
        losses = ops.where(numbers >= 0, -ops.sum(logs * chosen, axis=-1), losses)
    if count == 1:
        return ops.cast(ops.ones_like(losses), dtype)
    return ops.cast((1 - ops.softmax(losses, axis=0)) / (count - 1), dtype)


def _stacked(teacher_logits: Sequence[Any]) -> tuple[Any, str]:
    """Return the teachers' logits in float64 without gradient, and the format of a result."""
    if not teacher_logits:
        raise ModelError("there must be at least one teacher, got none")
    given = [at_least_float32(logits) for logits in teacher_logits]
    for other in given[1:]:
        check_same_shape(given[0], other)
    dtype = result_dtype(*given)
    return ops.stop_gradient(ops.stack([ops.cast(logits, "float64") for logits in given])), dtype
