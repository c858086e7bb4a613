"""A classifier's metrics, from its logits.

Everything is NumPy in float64; losses and divergences are in nats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kdcore.analysis.logits import (
    FloatArray,
    IntArray,
    as_examples,
    as_labels,
    as_logit_pair,
    kl_divergence,
    log_softmax,
    softmax,
)
from kdcore.errors import require


def accuracy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the fraction of examples whose largest logit is the label's.

    Logits [n, classes], labels [n].
    """
    values, truth = as_examples(logits, labels)
    return float(np.mean(values.argmax(axis=1) == truth))


def negative_log_likelihood(
    logits: ArrayLike, labels: ArrayLike, temperature: float = 1.0
) -> float:
    """Return the mean of -log p_T(label) in nats; logits [n, classes], labels [n]."""
    values, truth = as_examples(logits, labels)
    return -float(np.mean(log_softmax(values, temperature)[np.arange(len(truth)), truth]))


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram: one entry a bin of equal width, from confidence 0 to 1.

    Nan where the bin is empty.
    """

    confidence: FloatArray
    accuracy: FloatArray
    count: IntArray


def reliability(
    logits: ArrayLike, labels: ArrayLike, temperature: float = 1.0, bins: int = 15
) -> Reliability:
    """Return mean confidence, accuracy and count of the examples in each of ``bins`` bins of top
    probability.

    Logits [n, classes], labels [n]. A bin is open below and closed above, as in Guo et al. 2017.
    """
    values, truth = as_examples(logits, labels)
    require(bins >= 1, "bins", "at least 1", bins)
    confidence = softmax(values, temperature).max(axis=1)
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    correct = np.bincount(bin_of, weights=values.argmax(axis=1) == truth, minlength=bins)
    total = np.bincount(bin_of, weights=confidence, minlength=bins)
    return Reliability(_divide(total, count), _divide(correct, count), count)


def expected_calibration_error(
    logits: ArrayLike, labels: ArrayLike, temperature: float = 1.0, bins: int = 15
) -> float:
    """Return ECE = Σ_b n_b/n |accuracy_b - confidence_b| (Guo et al.

    2017, equation 3), a fraction from 0 to 1.
    """
    diagram = reliability(logits, labels, temperature, bins)
    gaps = np.nan_to_num(np.abs(diagram.accuracy - diagram.confidence))
    return float(np.average(gaps, weights=diagram.count))


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, classes: int) -> IntArray:
    """Return counts [classes, classes]: row = true class, column = predicted class.

    Labels and predictions [n].
    """
    truth, predicted = as_labels(labels, classes), as_labels(predictions, classes, "predictions")
    require(
        len(truth) == len(predicted),
        "predictions",
        f"{len(truth)} values, one a label",
        len(predicted),
    )
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(
        classes, classes
    )


def per_class_accuracy(labels: ArrayLike, predictions: ArrayLike, classes: int) -> FloatArray:
    """Return for each class the fraction of its examples predicted right, [classes].

    Nan for a class without any.
    """
    matrix = confusion_matrix(labels, predictions, classes)
    return _divide(matrix.diagonal(), matrix.sum(axis=1))


def agreement(teacher_logits: ArrayLike, student_logits: ArrayLike) -> float:
    """Return the fraction of examples on which both name the same top class; both [n, classes]."""
    teacher, student = as_logit_pair(teacher_logits, student_logits)
    return float(np.mean(teacher.argmax(axis=-1) == student.argmax(axis=-1)))


def mean_kl(
    teacher_logits: ArrayLike, student_logits: ArrayLike, temperature: float = 1.0
) -> float:
    """Return the mean of :func:`kl_divergence` over the examples, in nats, without the
    factor T².
    """
    return float(kl_divergence(teacher_logits, student_logits, temperature).mean())


def _divide(totals: ArrayLike, counts: IntArray) -> FloatArray:
    """Divide, with nan where the count is zero."""
    return np.asarray(np.divide(totals, counts, out=np.full(len(counts), np.nan), where=counts > 0))
