"""A classifier's logits and labels, checked, and what they are as probabilities.

Everything is NumPy in float64. :mod:`kdcore.analysis.temperature` builds on it, and offers softmax
and divergence too.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdcore.errors import require

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def as_logits(logits: ArrayLike, field: str = "logits") -> FloatArray:
    """Return logits [..., classes] as float64.

    Raises ConfigError unless all are finite, of two or more classes.
    """
    values = np.asarray(logits, dtype=np.float64)
    require(
        values.ndim >= 1 and values.shape[-1] >= 2,
        field,
        "an array [..., classes] of 2 or more",
        values.shape,
    )
    require(values.size > 0, field, "of at least one example", values.shape)
    require(bool(np.isfinite(values).all()), field, "finite", "nan or infinity")
    return values


def as_logit_pair(
    teacher_logits: ArrayLike, student_logits: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return both as float64.

    Raises ConfigError as :func:`as_logits` does, and for unequal shapes.
    """
    teacher, student = (
        as_logits(teacher_logits, "teacher_logits"),
        as_logits(student_logits, "student_logits"),
    )
    require(
        student.shape == teacher.shape,
        "student_logits",
        f"of the teacher's shape {teacher.shape}",
        student.shape,
    )
    return teacher, student


def as_labels(labels: ArrayLike, classes: int, field: str = "labels") -> IntArray:
    """Return class indices [n] as int64.

    Raises ConfigError unless they are whole numbers from 0 to classes - 1.
    """
    raw = np.asarray(labels)
    whole = raw.ndim == 1 and raw.dtype.kind in "iu"
    require(whole, field, "a list of whole numbers, one an example", f"{raw.dtype} {raw.shape}")
    values = raw.astype(np.int64)
    for extreme in (values.min(initial=0), values.max(initial=0)):
        require(0 <= extreme < classes, field, f"between 0 and {classes - 1}", int(extreme))
    return values


def as_examples(
    logits: ArrayLike, labels: ArrayLike, fields: tuple[str, str] = ("logits", "labels")
) -> tuple[FloatArray, IntArray]:
    """Return logits [n, classes] and labels [n], checked.

    Raises ConfigError if they do not belong together.
    """
    values = as_logits(logits, fields[0])
    require(values.ndim == 2, fields[0], "an array [examples, classes]", values.shape)
    truth = as_labels(labels, values.shape[1], fields[1])
    require(
        len(truth) == len(values), fields[1], f"{len(values)} values, one an example", len(truth)
    )
    return values, truth


def log_softmax(logits: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Return log p_T = z/T - log Σ exp(z/T) over the last axis (natural logarithm).

    Args:
        logits: [..., classes], any finite values: nothing is clipped and nothing overflows.
        temperature: T, above 0.

    Raises ConfigError for logits that are not finite or have fewer than two classes, and for T not
    above 0.
    """
    values = as_logits(logits)
    require(0 < temperature < math.inf, "temperature", "above 0", temperature)
    with np.errstate(over="ignore"):
        scaled = (values - values.max(axis=-1, keepdims=True)) / temperature
    return np.asarray(scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True)))


def softmax(logits: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Return the softened probabilities p_T = softmax(z/T) (Hinton, Vinyals, Dean 2015, equation
    1).

    Shapes, range of T and errors as for :func:`log_softmax`.
    """
    return np.exp(log_softmax(logits, temperature))


def kl_divergence(
    teacher_logits: ArrayLike, student_logits: ArrayLike, temperature: float = 1.0
) -> FloatArray:
    """Return KL(teacher ‖ student) = Σ_c p_T^t (log p_T^t - log p_T^s) of each example, in nats,
    without the factor T².

    Args:
        teacher_logits: [..., classes].
        student_logits: the same shape.
        temperature: T, above 0, for both.

    Returns:
        [...], never negative. Raises ConfigError for unequal shapes and as :func:`log_softmax`
        does.
    """
    teacher, student = as_logit_pair(teacher_logits, student_logits)
    teacher_log, student_log = log_softmax(teacher, temperature), log_softmax(student, temperature)
    probabilities = np.exp(teacher_log)
    with np.errstate(invalid="ignore"):
        terms = np.where(probabilities > 0, probabilities * (teacher_log - student_log), 0.0)
    return np.asarray(np.maximum(terms.sum(axis=-1), 0.0))
