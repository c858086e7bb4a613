"""What temperature does to a classifier's logits: every number of the temperature page and of
``kdcore soften``.

For logits z and temperature T the softened probabilities are p_T = softmax(z/T) (Hinton, Vinyals,
Dean 2015). All functions are NumPy in float64; entropies and divergences are in nats. They raise
:class:`~kdcore.errors.ConfigError` for logits that are not finite, for labels that do not fit them
and for T not above 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from kdcore.analysis.logits import (
    FloatArray,
    IntArray,
    as_examples,
    as_logit_pair,
    as_logits,
    kl_divergence,
    log_softmax,
    softmax,
)
from kdcore.analysis.metrics import (
    accuracy,
    agreement,
    expected_calibration_error,
    mean_kl,
    negative_log_likelihood,
)
from kdcore.analysis.statistics import finite_or_none
from kdcore.errors import require

__all__ = [
    "ORDERS",
    "Calibration",
    "Order",
    "calibrate",
    "class_similarity",
    "describe_soft_label",
    "effective_classes",
    "entropy",
    "format_percent",
    "gradient_norms",
    "kd_gradient",
    "kl_divergence",
    "label_gradient_norm",
    "large_temperature_gradient",
    "log_softmax",
    "margin",
    "most_confused",
    "order",
    "soften_report",
    "softmax",
    "temperature_curves",
    "temperature_grid",
    "top_probability",
]

Order = Literal["entropy", "margin", "wrong but sure", "disagreement"]
ORDERS: tuple[Order, ...] = get_args(Order)

LOWEST_CALIBRATION = 0.05
HIGHEST_CALIBRATION = 100.0


# --- One example's distribution ---


def entropy(logits: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Return H = -Σ p_T log p_T in nats, from 0 to log(classes).

    Logits [..., classes], result [...].
    """
    log_probabilities = log_softmax(logits, temperature)
    probabilities = np.exp(log_probabilities)
    with np.errstate(invalid="ignore"):
        terms = np.where(probabilities > 0, probabilities * log_probabilities, 0.0)
    return np.asarray(-terms.sum(axis=-1) + 0.0)


def effective_classes(logits: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Return exp(entropy): how many equally likely classes would be as uncertain.

    Logits [..., classes].
    """
    return np.exp(entropy(logits, temperature))


def top_probability(logits: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Return the probability of the most probable class; logits [..., classes], result [...]."""
    return np.asarray(softmax(logits, temperature).max(axis=-1))


def margin(logits: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Return how far the most probable class leads the next, as a probability.

    Logits [..., classes].
    """
    ranked = np.partition(softmax(logits, temperature), -2, axis=-1)
    return np.asarray(ranked[..., -1] - ranked[..., -2])


def describe_soft_label(probabilities: ArrayLike, class_names: Sequence[str], label: int) -> str:
    """Say a soft label in words: "a 7 that is 3 % a 1 and 0.01 % an 8".

    Args:
        probabilities: [classes], summing to 1.
        class_names: a name a class.
        label: the class that the example is said to be; the two most probable others follow.

    Raises ConfigError for probabilities that are none or a label out of range.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    classes = len(class_names)
    require(
        values.shape == (classes,),
        "probabilities",
        f"{classes} values, one a class name",
        values.shape,
    )
    valid = bool((values >= 0).all()) and abs(values.sum() - 1) < 1e-3
    require(valid, "probabilities", "at least 0 and sum to 1", values.tolist())
    require(0 <= label < classes, "label", f"between 0 and {classes - 1}", label)
    ranked = [other for other in np.argsort(-values, kind="stable") if other != label][:2]
    others = [
        f"{format_percent(float(values[other]))} {_with_article(class_names[other])}"
        for other in ranked
    ]
    return f"{_with_article(class_names[label])} that is {' and '.join(others)}"


def format_percent(probability: float) -> str:
    """Format a probability so that small ones keep a digit: "34 %", "3 %", "0.01 %", "under
    0.000001 %".
    """
    percent = 100 * probability
    if percent <= 0:
        return "0 %"
    if percent < 1e-6:
        return "under 0.000001 %"
    if percent < 1:
        decimals = -math.floor(math.log10(percent))
        return f"{percent:.{decimals}f}".rstrip("0").rstrip(".") + " %"
    if 99.5 <= percent < 100:
        return f"{math.floor(percent * 10) / 10:.1f} %"
    return f"{percent:.0f} %"


def _with_article(name: str) -> str:
    """Put "a" or "an" before a class name by its sound: an 8, a 1, an ankle boot, a unicorn, an
    hour, an F.
    """
    spoken = name.strip().lower()
    if re.match(r"\d", spoken):
        vowel = re.match(r"8|(11|18)(\d{3})*(?!\d)", spoken)
    elif re.match(
        r"[a-z](?![a-z])", spoken
    ):  # a letter by itself is read out: an F, an X-ray, a T-shirt, a U
        vowel = re.match(r"[aefhilmnorsx]", spoken)
    else:
        vowel = re.match(
            r"(?!uni(?!n|m)|us[eu]|uti|eu|ewe|one(?![a-z])|once)[aeiou]|hour|honest|heir|honou?r",
            spoken,
        )
    return f"{'an' if vowel else 'a'} {name}"


# --- The whole test set ---


def temperature_grid(low: float = 0.5, high: float = 20.0, n: int = 40) -> FloatArray:
    """Return ``n`` temperatures from low to high, evenly spaced on a logarithmic scale."""
    require(low > 0, "low", "above 0", low)
    require(high > low, "high", f"above low, {low:g}", high)
    require(n >= 2, "n", "at least 2", n)
    return np.geomspace(low, high, n)


def temperature_curves(
    logits: ArrayLike, labels: ArrayLike, temperatures: ArrayLike
) -> dict[str, FloatArray]:
    """Return how the softened probabilities change with T, each an array [temperatures].

    Args:
        logits: [n, classes].
        labels: true classes [n].
        temperatures: [temperatures], each above 0.

    Returns:
        "temperature"; the means over the examples of "entropy" (nats), "top_probability" and
        "effective_classes"; "share_under_half", the share of examples whose top class carries under
        50 %; "negative_log_likelihood" (nats) and "expected_calibration_error".
    """
    values, truth = as_examples(logits, labels)
    grid = _temperatures(temperatures)
    rows = [_numbers(values, truth, temperature) for temperature in grid]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def class_similarity(
    logits: ArrayLike, labels: ArrayLike, classes: int, temperature: float = 1.0
) -> FloatArray:
    """Return the mean soft label of each true class, [classes, classes]: row = true class; nan
    without examples.

    Logits [n, classes], labels [n].
    """
    values, truth = as_examples(logits, labels)
    require(
        classes == values.shape[1],
        "classes",
        f"{values.shape[1]}, the width of the logits",
        classes,
    )
    totals = np.zeros((classes, classes))
    np.add.at(totals, truth, softmax(values, temperature))
    counts = np.bincount(truth, minlength=classes)[:, None]
    return np.divide(totals, counts, out=np.full_like(totals, np.nan), where=counts > 0)


def most_confused(
    matrix: ArrayLike, class_names: Sequence[str], k: int = 5
) -> list[tuple[str, str, float]]:
    """Return the ``k`` largest entries off the diagonal as (true class, other class, probability),
    largest first.

    Matrix [classes, classes] as from :func:`class_similarity`; rows of nan are left out.
    """
    values = np.array(matrix, dtype=np.float64)
    classes = len(class_names)
    require(
        values.shape == (classes, classes),
        "matrix",
        f"{classes} x {classes}, a row a class name",
        values.shape,
    )
    require(k >= 0, "k", "at least 0", k)
    np.fill_diagonal(values, np.nan)
    ranked = np.argsort(-values, axis=None, kind="stable")[: min(k, int(np.isfinite(values).sum()))]
    pairs = [divmod(int(place), classes) for place in ranked]
    return [
        (class_names[true], class_names[other], float(values[true, other])) for true, other in pairs
    ]


def order(
    logits: ArrayLike,
    labels: ArrayLike,
    by: Order = "entropy",
    *,
    student_logits: ArrayLike | None = None,
    temperature: float = 1.0,
) -> IntArray:
    """Return the indices [n] of the examples, the most telling first; ties keep the data's order.

    Args:
        logits: the teacher's, [n, classes].
        labels: true classes [n].
        by: "entropy" (most uncertain first), "margin" (closest call first), "wrong but sure"
            (mistakes by falling top probability, then right answers by rising), or "disagreement"
            (another top class than the student's first, then by falling KL(teacher ‖ student)).
        student_logits: [n, classes], needed for "disagreement".
        temperature: T at which all of these are taken.
    """
    values, truth = as_examples(logits, labels)
    require(by in ORDERS, "order", f"one of {', '.join(ORDERS)}", by)
    if by == "entropy":
        return np.argsort(-entropy(values, temperature), kind="stable")
    if by == "margin":
        return np.argsort(margin(values, temperature), kind="stable")
    if by == "wrong but sure":
        right = values.argmax(axis=1) == truth
        sureness = top_probability(values, temperature)
        return np.lexsort((np.where(right, sureness, -sureness), right))
    require(
        student_logits is not None,
        "student_logits",
        "given to order by disagreement",
        student_logits,
    )
    values, student = as_logit_pair(
        values, student_logits if student_logits is not None else values
    )
    same = values.argmax(axis=1) == student.argmax(axis=1)
    return np.lexsort((-kl_divergence(values, student, temperature), same))


# --- Calibration ---


@dataclass(frozen=True)
class Calibration:
    """The temperature at which the validation data is most likely, and what to make of it.

    ``at_bound`` is "lower" or "upper" where the search ended at its limit instead of at an optimum.
    ``loss_before`` and ``loss_after`` are the mean negative log-likelihoods at T = 1 and at
    ``temperature``, in nats.
    """

    temperature: float
    at_bound: Literal["lower", "upper"] | None
    loss_before: float
    loss_after: float
    sentence: str


def calibrate(validation_logits: ArrayLike, validation_labels: ArrayLike) -> Calibration:
    """Find the T in [0.05, 100] of least negative log-likelihood on validation data (Guo et al.
    2017, section 4.2).

    Logits [n, classes], labels [n]. The loss is convex in 1/T, so the optimum is the only one;
    where it lies outside the range, the bound is returned and said so. Where no T makes a
    difference, T = 1.
    """
    from scipy.optimize import minimize_scalar

    logits, labels = as_examples(
        validation_logits, validation_labels, ("validation_logits", "validation_labels")
    )
    if not np.ptp(logits, axis=1).any():
        return _calibration(
            logits, labels, 1.0, None, "The logits favour no class, so every T fits alike."
        )
    if _loss_slope(logits, labels, LOWEST_CALIBRATION) >= 0:
        reason = (
            "every validation example is right"
            if accuracy(logits, labels) == 1
            else "the logits are very small"
        )
        sentence = f"No optimum: {reason}, so a lower T always fits better; the search stopped at T = 0.05."
        return _calibration(logits, labels, LOWEST_CALIBRATION, "lower", sentence)
    if _loss_slope(logits, labels, HIGHEST_CALIBRATION) <= 0:
        sentence = "No optimum: a higher T always fits better; the search stopped at T = 100."
        return _calibration(logits, labels, HIGHEST_CALIBRATION, "upper", sentence)
    found = minimize_scalar(
        lambda log_temperature: negative_log_likelihood(logits, labels, math.exp(log_temperature)),
        bounds=(math.log(LOWEST_CALIBRATION), math.log(HIGHEST_CALIBRATION)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    temperature = math.exp(found.x)
    state = "over-confident" if temperature > 1 else "under-confident"
    if 0.95 < temperature < 1.05:
        state = "well calibrated already"
    sentence = f"Best calibrated at T = {temperature:.2f}: {state} at T = 1."
    return _calibration(logits, labels, temperature, None, sentence)


def _loss_slope(logits: FloatArray, labels: IntArray, temperature: float) -> float:
    """Return the slope of the mean negative log-likelihood over T, up to the positive
    factor 1/T².
    """
    shifted = logits - logits.max(
        axis=1, keepdims=True
    )  # so that a sure and right example adds exactly 0
    expected = np.sum(softmax(logits, temperature) * shifted, axis=1)
    return float(np.mean(shifted[np.arange(len(labels)), labels] - expected))


def _calibration(
    logits: FloatArray,
    labels: IntArray,
    temperature: float,
    at_bound: Literal["lower", "upper"] | None,
    sentence: str,
) -> Calibration:
    before, after = (negative_log_likelihood(logits, labels, value) for value in (1.0, temperature))
    return Calibration(temperature, at_bound, before, after, sentence)


# --- Why the loss carries T² ---


def kd_gradient(
    teacher_logits: ArrayLike, student_logits: ArrayLike, temperature: float
) -> FloatArray:
    """Return the gradient of each example's T² KL(teacher ‖ student) by the student's logits: T
    (p_T^s - p_T^t).

    Both [n, classes], and so the result (Hinton et al. 2015, equation 2, times T²).
    """
    teacher, student = as_logit_pair(teacher_logits, student_logits)
    return temperature * (softmax(student, temperature) - softmax(teacher, temperature))


def large_temperature_gradient(teacher_logits: ArrayLike, student_logits: ArrayLike) -> FloatArray:
    """Return what :func:`kd_gradient` tends to as T grows: (z_s - z_t) / classes, each row centred
    on its mean.

    Distillation then matches centred logits (Hinton et al. 2015, section 2.1, equation 4, times
    T²).
    """
    teacher, student = as_logit_pair(teacher_logits, student_logits)
    difference = student - teacher
    return np.asarray((difference - difference.mean(axis=-1, keepdims=True)) / teacher.shape[-1])


def gradient_norms(
    teacher_logits: ArrayLike, student_logits: ArrayLike, temperatures: ArrayLike
) -> dict[str, FloatArray]:
    """Return how long the loss gradient by the student's logits is at each T, with the factor T²
    and without.

    Args:
        teacher_logits: [n, classes].
        student_logits: [n, classes].
        temperatures: [temperatures], each above 0.

    Returns:
        Arrays [temperatures]: "temperature"; "with_t_squared" and "without_t_squared", the mean
        over the examples of the Euclidean norm of an example's gradient; "limit", what the former
        tends to as T grows (the same at every T).
    """
    grid = _temperatures(temperatures)
    scaled = np.array(
        [
            _mean_norm(kd_gradient(teacher_logits, student_logits, temperature))
            for temperature in grid
        ]
    )
    limit = _mean_norm(large_temperature_gradient(teacher_logits, student_logits))
    return {
        "temperature": grid,
        "with_t_squared": scaled,
        "without_t_squared": scaled / grid**2,
        "limit": np.full(len(grid), limit),
    }


def label_gradient_norm(student_logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean length of the gradient of the loss on true labels, p^s - one-hot(label): it
    does not depend on T.

    Student logits [n, classes], labels [n]. What the soft gradient is weighed against: alpha keeps
    its meaning over T only if the soft gradient keeps its length.
    """
    student, truth = as_examples(student_logits, labels, ("student_logits", "labels"))
    gradients = softmax(student)
    gradients[np.arange(len(truth)), truth] -= 1.0
    return _mean_norm(gradients)


def _mean_norm(gradients: FloatArray) -> float:
    return float(np.linalg.norm(gradients, axis=-1).mean())


# --- The page's numbers in one place ---


def soften_report(
    teacher_logits: ArrayLike,
    labels: ArrayLike,
    temperature: float,
    class_names: Sequence[str],
    student_logits: ArrayLike | None = None,
    baseline_logits: ArrayLike | None = None,
    validation_logits: ArrayLike | None = None,
    validation_labels: ArrayLike | None = None,
) -> dict[str, Any]:
    """Return the temperature page's numbers at T, ready for JSON.

    Args:
        teacher_logits: on the test data, [n, classes].
        labels: true classes [n].
        temperature: T.
        class_names: a name a class.
        student_logits: the distilled student's on the same data, if there is one.
        baseline_logits: the baseline's on the same data, if there is one.
        validation_logits: the teacher's on validation data, to calibrate with; test data never
            chooses T.
        validation_labels: their true classes; without both, "calibration" is None.

    Returns:
        "temperature", "examples", "classes"; the numbers of :func:`temperature_curves` at T;
        "accuracy" (of the teacher); "calibration" (the fields of :class:`Calibration` and the test
        data's calibration error at T = 1 and at the temperature found); "confusions" (true, other,
        probability at T); "student" and "baseline" (accuracy, top-1 agreement with the teacher,
        mean KL(teacher ‖ model) at T in nats), None where not given. A number beyond floating-point
        range is None.
    """
    teacher, truth = as_examples(teacher_logits, labels, ("teacher_logits", "labels"))
    similarity = class_similarity(teacher, truth, len(class_names), temperature)
    numbers = {
        name: finite_or_none(value) for name, value in _numbers(teacher, truth, temperature).items()
    }
    confusions = most_confused(similarity, class_names)
    return {
        "examples": len(truth),
        "classes": len(class_names),
        **numbers,
        "accuracy": accuracy(teacher, truth),
        "calibration": _calibration_report(teacher, truth, validation_logits, validation_labels),
        "confusions": [
            {"true": true, "other": other, "probability": share}
            for true, other, share in confusions
        ],
        "student": _report_of(teacher, truth, temperature, student_logits, "student_logits"),
        "baseline": _report_of(teacher, truth, temperature, baseline_logits, "baseline_logits"),
    }


def _numbers(logits: FloatArray, labels: IntArray, temperature: float) -> dict[str, float]:
    entropies, top = entropy(logits, temperature), top_probability(logits, temperature)
    return {
        "temperature": float(temperature),
        "entropy": float(entropies.mean()),
        "top_probability": float(top.mean()),
        "effective_classes": float(np.exp(entropies).mean()),
        "share_under_half": float(np.mean(top < 0.5)),
        "negative_log_likelihood": negative_log_likelihood(logits, labels, temperature),
        "expected_calibration_error": expected_calibration_error(logits, labels, temperature),
    }


def _calibration_report(
    logits: FloatArray,
    labels: IntArray,
    validation_logits: ArrayLike | None,
    validation_labels: ArrayLike | None,
) -> dict[str, Any] | None:
    if validation_logits is None or validation_labels is None:
        return None
    found = calibrate(validation_logits, validation_labels)
    return {
        **{name: finite_or_none(value) for name, value in asdict(found).items()},
        "error_before": expected_calibration_error(logits, labels),
        "error_after": expected_calibration_error(logits, labels, found.temperature),
    }


def _report_of(
    teacher: FloatArray, labels: IntArray, temperature: float, logits: ArrayLike | None, field: str
) -> dict[str, float | None] | None:
    if logits is None:
        return None
    answers = as_logits(logits, field)
    require(
        answers.shape == teacher.shape,
        field,
        f"of the teacher's shape {teacher.shape}",
        answers.shape,
    )
    return {
        "accuracy": accuracy(answers, labels),
        "agreement": agreement(teacher, answers),
        "mean_kl": finite_or_none(mean_kl(teacher, answers, temperature)),
    }


def _temperatures(temperatures: ArrayLike) -> FloatArray:
    grid = np.asarray(temperatures, dtype=np.float64)
    require(
        grid.ndim == 1 and grid.size > 0,
        "temperatures",
        "a list of one or more numbers",
        grid.shape,
    )
    require(
        bool((grid > 0).all() and np.isfinite(grid).all()),
        "temperature",
        "above 0",
        float(grid.min()),
    )
    return grid
