"""What a batch of distillation holds: inputs, labels, teacher's answers, and which rows count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kdcore.errors import ModelError

TARGET_KEYS = {"labels", "teacher_logits"}
# May come with them: for each loss that taps a layer of the teacher what it compares of it.
FEATURES = "teacher_features"


def unpack_batch(data: Any) -> tuple[Any, Any, Any]:
    """Split a batch into inputs, targets and sample weights of shape [batch]."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if isinstance(
        sample_weight, Mapping
    ):  # fit and evaluate repeat the weights for each entry of the targets
        sample_weight = sample_weight["labels"]
    return x, y, sample_weight


def unpack_targets(y: Any) -> tuple[Any, Any]:
    """Split targets into labels and cached teacher logits.

    The latter are None where they are not given.
    """
    if isinstance(y, Mapping):
        if set(y) - {FEATURES} != TARGET_KEYS:
            raise ModelError(
                f'targets as a dict must have the keys "labels" and "teacher_logits", got {sorted(y)}'
            )
        return _numbers(y["labels"]), y["teacher_logits"]
    if y is None:
        raise ModelError("distillation needs labels: give -1 for each row that has no true label")
    return _numbers(y), None


def labels_of(targets: Any) -> Any:
    """Return the labels of targets that may be a dict with the teacher's answers beside them."""
    return targets.get("labels") if isinstance(targets, Mapping) else targets


def _numbers(labels: Any) -> Any:
    """Return labels as they are, truth values as the numbers 0 and 1."""
    is_truth = keras.backend.standardize_dtype(labels.dtype) == "bool"
    return ops.cast(labels, "int32") if is_truth else labels


def number_of_rows(logits: Any) -> Any:
    """Return how many rows of logits [..., classes] there are, positions of an example included."""
    return ops.prod(ops.shape(logits)[:-1]) if len(logits.shape) > 2 else ops.shape(logits)[0]


def with_mask(sample_weight: Any, mask: Any) -> Any:
    """Return weights that leave masked positions out of the mean, [batch, ...]."""
    if mask is None:
        return sample_weight
    mask = ops.cast(mask, keras.config.floatx())
    weights = mask * ops.divide_no_nan(ops.cast(ops.size(mask), mask.dtype), ops.sum(mask))
    return weights if sample_weight is None else weights * per_row(sample_weight, weights)


def labelled_rows(labels: Any, logits: Any) -> Any:
    """Return which rows have a true label, in the labels' shape.

    None where they are one-hot, so that all have.
    """
    one_hot = len(labels.shape) == len(logits.shape) and (
        labels.shape[-1] != 1 or logits.shape[-1] == 1
    )
    return None if one_hot else labels >= 0


def per_row(sample_weight: Any, rows: Any) -> Any:
    """Return weights in the shape of ``rows``, [batch] or [batch, ...]."""
    weights = ops.cast(sample_weight, rows.dtype)
    if len(rows.shape) > 1 and len(weights.shape) == 1:
        weights = ops.reshape(weights, (-1, *[1] * (len(rows.shape) - 1)))
        return ops.broadcast_to(weights, ops.shape(rows))
    return ops.reshape(weights, ops.shape(rows))


def weighted_mean(loss_fn: Any, field: str, targets: Any, outputs: Any, weights: Any) -> Any:
    """Return the weighted mean over the rows of a Keras loss or of a function that gives one value
    a row.
    """
    if isinstance(loss_fn, keras.losses.Loss):
        return ops.mean(loss_fn(targets, outputs, sample_weight=weights))
    values = loss_fn(targets, outputs)
    if weights is not None:
        if len(values.shape) == 0:
            raise ModelError(
                f"{field} must return one value a row, so that rows can be weighted or left out, "
                "but it returned a single number"
            )
        values = values * per_row(weights, values)
    return ops.mean(values)
