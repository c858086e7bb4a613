"""Losses of the teacher's and the student's logits beyond plain distillation.

Inside, all is computed in float64: rows of logits are short, and differences of nearly equal
distributions lose their digits in float32 (see :func:`kdcore.losses.kd_loss_per_example`).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kdcore.errors import ModelError
from kdcore.losses.arguments import (
    as_class_numbers,
    at_least_float32,
    check_same_shape,
    check_temperature,
    check_weight,
    result_dtype,
)
from kdcore.losses.distillation import kd_loss_per_example

# Stands for minus infinity where a class is left out of a softmax: exp of it is 0 without a nan.
LEFT_OUT = -1e300


def hard_label_loss(teacher_logits: Any, student_logits: Any) -> Any:
    """Return the mean cross-entropy of the student with the teacher's top class, a scalar.

    ``-log softmax(student)[argmax(teacher)]`` (DeiT: Touvron 2021, eq. 3).

    Args:
        teacher_logits: shape [batch, classes].
        student_logits: the same shape.

    Raises:
        ModelError: where the two shapes differ.
    """
    return ops.mean(hard_label_loss_per_example(teacher_logits, student_logits))


def hard_label_loss_per_example(teacher_logits: Any, student_logits: Any) -> Any:
    """Return the cross-entropy with the teacher's top class for each row: shape [batch]."""
    teacher, student, dtype = _both(teacher_logits, student_logits)
    top = ops.argmax(teacher, axis=-1)
    chosen = ops.one_hot(top, student.shape[-1], dtype="float64")
    return ops.cast(-ops.sum(chosen * ops.log_softmax(student, axis=-1), axis=-1), dtype)


def smoothed_cross_entropy(labels: Any, logits: Any, smoothing: Any = 0.1) -> Any:
    """Return the mean cross-entropy with smoothed labels over the labelled rows, a scalar.

    The target is ``(1 - smoothing) · one-hot + smoothing / classes`` (Szegedy 2016, as in Keras).

    Args:
        labels: class numbers [batch] or [batch, 1], or one-hot [batch, classes]; below 0: no label.
        logits: shape [batch, classes].
        smoothing: from 0 to 1.
    """
    check_weight("smoothing", smoothing)
    logits = at_least_float32(logits)
    dtype, classes = result_dtype(logits), logits.shape[-1]
    numbers = as_class_numbers(labels, classes)
    labelled = ops.cast(numbers >= 0, "float64")
    smoothing = ops.cast(smoothing, "float64")
    target = (1 - smoothing) * ops.one_hot(numbers, classes, dtype="float64") + smoothing / classes
    rows = -ops.sum(target * ops.log_softmax(ops.cast(logits, "float64"), axis=-1), axis=-1)
    return ops.cast(ops.divide_no_nan(ops.sum(rows * labelled), ops.sum(labelled)), dtype)


def decoupled_kd_loss(
    teacher_logits: Any,
    student_logits: Any,
    labels: Any,
    temperature: Any,
    target_weight: Any = 1.0,
    non_target_weight: Any = 8.0,
) -> Any:
    """Return decoupled distillation of a batch, a scalar.

    ``T² · mean(target_weight · TCKD + non_target_weight · NCKD)`` (Zhao 2022, eq. 7). TCKD is the
    divergence of (true class, all others), NCKD that of the other classes among themselves. Plain
    distillation is ``TCKD + (1 - p_y) NCKD`` with the teacher's p_y. Rows without a label (below
    0) count as in :func:`kdcore.losses.kd_loss`.

    Args:
        teacher_logits: shape [batch, classes], 3 classes or more.
        student_logits: the same shape.
        labels: class numbers [batch] or [batch, 1], or one-hot [batch, classes].
        temperature: above 0.
        target_weight: of TCKD, the authors' alpha.
        non_target_weight: of NCKD, the authors' beta.

    Raises:
        ConfigError: for a temperature or a weight out of range.
        ModelError: where the two shapes differ, or for fewer than 3 classes.
    """
    check_weight("target_weight", target_weight)
    check_weight("non_target_weight", non_target_weight)
    target, non_target = decoupled_kd_terms(teacher_logits, student_logits, labels, temperature)
    labelled = as_class_numbers(labels, student_logits.shape[-1]) >= 0
    return mean_of_decoupled(target, non_target, labelled, target_weight, non_target_weight)


def mean_of_decoupled(
    target: Any, non_target: Any, labelled: Any, target_weight: Any, non_target_weight: Any
) -> Any:
    """Return the weighted mean, a scalar, of what :func:`decoupled_kd_terms` gave of each row.

    Rows that are not ``labelled`` count as in plain distillation.
    """
    of_target = ops.cast(target_weight, target.dtype)
    of_others = ops.where(labelled, ops.cast(non_target_weight, target.dtype), 1.0)
    return ops.mean(of_target * target + of_others * non_target)


def decoupled_kd_terms(
    teacher_logits: Any, student_logits: Any, labels: Any, temperature: Any
) -> tuple[Any, Any]:
    """Return T² · TCKD and T² · NCKD of each row, both [batch]; see :func:`decoupled_kd_loss`.

    For rows without a label (below 0) all classes are others: TCKD is 0, and NCKD is plain
    distillation's divergence.
    """
    check_temperature(temperature)
    teacher, student, dtype = _both(teacher_logits, student_logits)
    classes = student.shape[-1]
    if classes is not None and classes < 3:
        raise ModelError(
            f"decoupled distillation needs 3 classes or more, got {classes}: "
            "with 2 there is only one other class, and nothing to divide among the others"
        )
    temperature = ops.cast(temperature, "float64")
    teacher, student = teacher / temperature, student / temperature
    is_target = ops.one_hot(as_class_numbers(labels, classes), classes, dtype="float64")
    t_target, t_rest, t_others = _target_and_others(teacher, is_target)
    s_target, s_rest, s_others = _target_and_others(student, is_target)
    target = ops.exp(t_target) * (t_target - s_target) + ops.exp(t_rest) * (t_rest - s_rest)
    # At the target it is exp(LEFT_OUT) · 0.
    non_target = ops.sum(ops.exp(t_others) * (t_others - s_others), axis=-1)
    squared = temperature**2
    return (
        ops.cast(squared * ops.maximum(target, 0.0), dtype),
        ops.cast(squared * ops.maximum(non_target, 0.0), dtype),
    )


def standardize_logits(logits: Any) -> Any:
    """Return logits with mean 0 and standard deviation 1 in each row, shape as given.

    ``(z - mean) / (1e-7 + std)``, std over the classes with C - 1 (Sun 2024). In front of a loss,
    for teacher and student alike, it leaves the ranking of the classes and takes the logits' size.

    Args:
        logits: shape [batch, classes], 2 classes or more.
    """
    logits = at_least_float32(logits)
    wide = ops.cast(logits, "float64")
    classes = wide.shape[-1]
    if classes is not None and classes < 2:
        raise ModelError(f"standardized logits need 2 classes or more, got {classes}")
    centred = wide - ops.mean(wide, axis=-1, keepdims=True)
    variance = ops.sum(centred**2, axis=-1, keepdims=True) / (classes - 1)
    return ops.cast(centred / (1e-7 + _safe_sqrt(variance)), logits.dtype)


def dist_loss(
    teacher_logits: Any,
    student_logits: Any,
    temperature: Any = 1.0,
    inter_class_weight: Any = 1.0,
    intra_class_weight: Any = 1.0,
) -> Any:
    """Return distillation by correlation (DIST), a scalar.

    ``T² · [β (1 - mean Pearson over rows) + γ (1 - mean Pearson over columns)]`` of the softened
    distributions (Huang 2022, eq. 9): within an example over the classes, and within a class over
    the batch's examples.

    Args:
        teacher_logits: shape [batch, classes], 2 rows or more.
        student_logits: the same shape.
        temperature: above 0.
        inter_class_weight: β, of the rows.
        intra_class_weight: γ, of the columns.

    Raises:
        ConfigError: for a temperature or a weight out of range.
        ModelError: where the two shapes differ, or for a batch of one, which has no columns to
            correlate.
    """
    return dist_terms(
        teacher_logits, student_logits, temperature, inter_class_weight, intra_class_weight
    )[0]


def dist_terms(
    teacher_logits: Any,
    student_logits: Any,
    temperature: Any = 1.0,
    inter_class_weight: Any = 1.0,
    intra_class_weight: Any = 1.0,
) -> tuple[Any, Any, Any]:
    """Return :func:`dist_loss`, the mean correlation over rows and that over columns: scalars.

    Arguments and errors are those of :func:`dist_loss`.
    """
    check_temperature(temperature)
    check_weight("inter_class_weight", inter_class_weight)
    check_weight("intra_class_weight", intra_class_weight)
    teacher, student, dtype = _both(teacher_logits, student_logits)
    if student.shape[0] == 1:
        raise ModelError("DIST correlates the examples of a batch and needs 2 or more, got 1")
    temperature = ops.cast(temperature, "float64")
    teacher = ops.softmax(teacher / temperature, axis=-1)
    student = ops.softmax(student / temperature, axis=-1)
    inter = ops.mean(pearson_correlation(teacher, student))
    intra = ops.mean(pearson_correlation(teacher, student, axis=0))
    if student.shape[0] is None:  # a single last example disagrees with nobody
        intra = ops.where(ops.shape(student)[0] > 1, intra, ops.ones_like(intra))
    weighted = ops.cast(inter_class_weight, "float64") * (1 - inter)
    weighted = weighted + ops.cast(intra_class_weight, "float64") * (1 - intra)
    loss = ops.cast(temperature**2 * weighted, dtype)
    return loss, ops.cast(inter, dtype), ops.cast(intra, dtype)


def pearson_correlation(first: Any, second: Any, axis: int = -1) -> Any:
    """Return the correlation of two matrices along an axis: shape [rows], or [columns] for axis 0.

    What is constant correlates with nothing: 0.
    """
    first = first - ops.mean(first, axis=axis, keepdims=True)
    second = second - ops.mean(second, axis=axis, keepdims=True)
    lengths = _safe_sqrt(ops.sum(first**2, axis=axis)) * _safe_sqrt(ops.sum(second**2, axis=axis))
    return ops.sum(first * second, axis=axis) / (lengths + 1e-8)


def distillation_token_loss(
    class_logits: Any,
    distillation_logits: Any,
    teacher_logits: Any,
    labels: Any,
    teacher_weight: Any = 0.5,
    smoothing: Any = 0.0,
    temperature: Any | None = None,
) -> Any:
    """Return the loss of a student with a class token and a distillation token, a scalar.

    ``(1 - w) · CE(class head, labels) + w · CE(distillation head, teacher's top class)``, or with a
    temperature ``w · T² KL`` in place of the second (DeiT: Touvron 2021, eq. 2 and 3). The
    authors' soft variant divides by batch × classes; here it is the mean over the batch.

    Args:
        class_logits: of the class token's head, shape [batch, classes].
        distillation_logits: of the distillation token's head, the same shape.
        teacher_logits: the same shape.
        labels: class numbers [batch] or [batch, 1], or one-hot [batch, classes]; below 0: no label.
        teacher_weight: w, from 0 to 1.
        smoothing: of the labels, from 0 to 1.
        temperature: None for the teacher's top class; above 0 for its softened distribution.
    """
    check_weight("teacher_weight", teacher_weight)
    from_labels = smoothed_cross_entropy(labels, class_logits, smoothing)
    if temperature is None:
        from_teacher = hard_label_loss(teacher_logits, distillation_logits)
    else:
        from_teacher = ops.mean(
            kd_loss_per_example(teacher_logits, distillation_logits, temperature)
        )
    weight = ops.cast(teacher_weight, from_teacher.dtype)
    return (1 - weight) * ops.cast(from_labels, from_teacher.dtype) + weight * from_teacher


def _both(teacher_logits: Any, student_logits: Any) -> tuple[Any, Any, str]:
    """Return both in float64, the teacher's without gradient, and the number format of a result."""
    teacher, student = at_least_float32(teacher_logits), at_least_float32(student_logits)
    check_same_shape(teacher, student)
    dtype = keras.backend.result_type(teacher.dtype, student.dtype)
    wide = ops.cast(ops.stop_gradient(teacher), "float64"), ops.cast(student, "float64")
    return *wide, dtype


def _target_and_others(logits: Any, is_target: Any) -> tuple[Any, Any, Any]:
    """Return log-probabilities: of the target class [batch], of all others together [batch], and of
    each among the others alone [batch, classes].

    ``is_target`` is one-hot; in a row without a target the first two are 0.
    """
    among_all = ops.log_softmax(logits, axis=-1)
    among_others = ops.log_softmax(logits + is_target * LEFT_OUT, axis=-1)
    target = ops.sum(is_target * among_all, axis=-1)
    # log p(c) - log p(c | not the target) = log p(not the target) for each other class c. The mean
    # over c counts likely classes: the difference loses its digits where log p(c) is very low.
    likely = ops.stop_gradient(ops.exp(among_others))
    rest = ops.sum(likely * (among_all - among_others), axis=-1)
    return target, rest, among_others


def _safe_sqrt(squares: Any) -> Any:
    """Return the root, with gradient 0 where there is nothing to take the root of."""
    return ops.sqrt(ops.maximum(squares, 1e-24))
