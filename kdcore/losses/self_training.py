"""The loss of a student that learns from labelled examples and from its teacher's pseudo-labels."""

from __future__ import annotations

from typing import Any

from keras import ops

from kdcore.losses.arguments import (
    as_class_numbers,
    at_least_float32,
    check_same_shape,
    check_weight,
    result_dtype,
)
from kdcore.losses.logits import smoothed_cross_entropy


def noisy_student_loss(
    labels: Any,
    labelled_student_logits: Any,
    unlabelled_teacher_logits: Any,
    unlabelled_student_logits: Any,
    unlabelled_ratio: Any = 1.0,
    smoothing: Any = 0.1,
    hard: bool = False,
) -> Any:
    """Return the loss of Noisy Student, a scalar (Xie 2020).

    ``CE(labelled, smoothed labels) + ratio · CE(unlabelled, pseudo-labels)``, a mean each. Soft
    pseudo-labels are the teacher's distribution and are not smoothed; hard ones are its top class,
    smoothed like the labels.

    Args:
        labels: class numbers of the labelled examples, [labelled].
        labelled_student_logits: shape [labelled, classes].
        unlabelled_teacher_logits: of the clean examples, shape [unlabelled, classes].
        unlabelled_student_logits: of the noised examples, the same shape.
        unlabelled_ratio: the weight of the second term, the ratio of batch sizes in the paper.
        smoothing: from 0 to 1.
        hard: top classes in place of distributions.
    """
    check_weight("unlabelled_ratio", unlabelled_ratio)
    teacher = ops.stop_gradient(at_least_float32(unlabelled_teacher_logits))
    student = at_least_float32(unlabelled_student_logits)
    check_same_shape(teacher, student)
    labelled = smoothed_cross_entropy(labels, labelled_student_logits, smoothing)
    if hard:
        unlabelled = smoothed_cross_entropy(ops.argmax(teacher, axis=-1), student, smoothing)
    else:
        target = ops.softmax(ops.cast(teacher, "float64"), axis=-1)
        logs = ops.log_softmax(ops.cast(student, "float64"), axis=-1)
        unlabelled = -ops.mean(ops.sum(target * logs, axis=-1))
    dtype = result_dtype(labelled, student)
    ratio = ops.cast(unlabelled_ratio, dtype)
    return ops.cast(labelled, dtype) + ratio * ops.cast(unlabelled, dtype)


def pseudo_label_loss(
    labels: Any,
    teacher_logits: Any,
    student_logits: Any,
    unlabelled_weight: Any = 1.0,
    smoothing: Any = 0.1,
    hard: bool = False,
) -> Any:
    """Return :func:`noisy_student_loss` of one batch of labelled and unlabelled rows, a scalar.

    Rows with a label learn from it alone, rows without from the teacher alone; each kind's mean
    counts by itself, and one that is missing in the batch counts nothing.

    Args:
        labels: class numbers [batch]; below 0: no label. None: no row has one.
        teacher_logits: shape [batch, classes].
        student_logits: the same shape.
        unlabelled_weight: of the second mean.
        smoothing: from 0 to 1.
        hard: top classes in place of distributions.
    """
    check_weight("unlabelled_weight", unlabelled_weight)
    teacher = ops.stop_gradient(at_least_float32(teacher_logits))
    student = at_least_float32(student_logits)
    check_same_shape(teacher, student)
    if labels is None:
        labels = -ops.ones_like(student[:, 0], dtype="int32")
    labelled = smoothed_cross_entropy(labels, student, smoothing)
    numbers = as_class_numbers(labels, student.shape[-1])
    if hard:
        top = ops.where(numbers < 0, ops.cast(ops.argmax(teacher, axis=-1), "int32"), -1)
        unlabelled = smoothed_cross_entropy(top, student, smoothing)
    else:
        target = ops.softmax(ops.cast(teacher, "float64"), axis=-1)
        rows = -ops.sum(target * ops.log_softmax(ops.cast(student, "float64"), axis=-1), axis=-1)
        without = ops.cast(numbers < 0, "float64")
        unlabelled = ops.divide_no_nan(ops.sum(rows * without), ops.sum(without))
    dtype = result_dtype(labelled, student)
    weight = ops.cast(unlabelled_weight, dtype)
    return ops.cast(labelled, dtype) + weight * ops.cast(unlabelled, dtype)
