"""What accuracies prove and what they do not, and a classifier's metrics from its logits.

Everything is NumPy in float64. SciPy is imported where it is used, so that ``import
kdcore.analysis.statistics`` stays cheap. Softmax and the divergence of two softened distributions
live here because the metrics need them; :mod:`kdcore.analysis.temperature` builds on them and
offers them too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdcore.errors import require

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Outcome = Literal["helped", "hurt", "no difference"]

NORMAL_QUANTILE = 1.959963984540054  # leaves 2.5 % above it
BOOTSTRAP_DRAWS = 10_000
# Ten million test examples would be needed to tell accuracies this close apart; float32 rounding is
# not.
EQUAL_ACCURACIES = 1e-7


# --- Is the student better than its baseline? ---


@dataclass(frozen=True)
class PairedGain:
    """What distillation gained over the baseline, in percentage points, with the interval from low
    to high (95 % unless another confidence was asked for).

    ``outcome`` is "helped" or "hurt" only where the interval over seeds leaves zero out; "no
    difference" means none that these seeds can show, which is all that a single seed ever can.
    """

    mean: float
    low: float
    high: float
    p_value: float
    n: int
    test: str
    verdict: str
    outcome: Outcome

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON; an interval or p-value that does not exist is None."""
        return {name: finite_or_none(value) for name, value in asdict(self).items()}


def paired_gain(
    student_accuracies: ArrayLike,
    baseline_accuracies: ArrayLike,
    *,
    student_correct: ArrayLike | None = None,
    baseline_correct: ArrayLike | None = None,
    test_examples: int | None = None,
    confidence: float = 0.95,
) -> PairedGain:
    """Compare student and baseline over paired seeds.

    Args:
        student_accuracies: fractions from 0 to 1, [seeds]; entry i was trained from the same start
            as ``baseline_accuracies[i]``.
        baseline_accuracies: fractions from 0 to 1, [seeds].
        student_correct: for a single seed, which test examples the student got right, bool
            [examples].
        baseline_correct: the same for the baseline, in the same order.
        test_examples: how many examples the accuracies were measured on, if known. Then differences
            that agree more closely than accuracies on so few examples can be measured do not pass
            for certainty: two seeds that both gained one example prove nothing.
        confidence: of the interval, between 0 and 1. One of ``n`` intervals that are to hold all at
            once has 1 - 0.05 / n (Bonferroni).

    With two or more seeds the interval is Student's paired t. With one seed and the correct answers
    it is a bootstrap over the test examples (p-value: McNemar's exact test); this says how much the
    choice of test examples matters and nothing about training luck, so no outcome is claimed. With
    one seed alone there is no interval (nan).

    Raises ConfigError for accuracies outside 0 to 1, unequal lengths, a confidence that is not
    between 0 and 1, or answers that do not fit the accuracies.
    """
    require(0 < confidence < 1, "confidence", "between 0 and 1", confidence)
    student = _accuracies(student_accuracies, "student_accuracies")
    baseline = _accuracies(baseline_accuracies, "baseline_accuracies")
    require(
        len(student) == len(baseline),
        "baseline_accuracies",
        f"{len(student)} values, one a pair",
        len(baseline),
    )
    require(
        test_examples is None or test_examples >= 1, "test_examples", "at least 1", test_examples
    )
    given = (student_correct is not None, baseline_correct is not None)
    require(
        given[0] == given[1], "baseline_correct", "given exactly when student_correct is", given[1]
    )
    if student_correct is None or baseline_correct is None:
        if len(student) == 1:
            return _gain_of_one_pair(float(student[0] - baseline[0]))
        return _gain_over_seeds(student - baseline, test_examples, confidence)
    require(
        len(student) == 1,
        "student_correct",
        "left out with two or more seeds",
        f"{len(student)} seeds",
    )
    first, second = _answers(
        student_correct, baseline_correct, "student_correct", "baseline_correct"
    )
    for field, answers, accuracy_given in (
        ("student_correct", first, float(student[0])),
        ("baseline_correct", second, float(baseline[0])),
    ):
        share = float(answers.mean())
        require(
            abs(share - accuracy_given) < 1e-4,
            field,
            f"right as often as its accuracy, {accuracy_given:g}",
            share,
        )
    return _gain_over_examples(first, second, confidence)


def mcnemar_exact(first_correct: ArrayLike, second_correct: ArrayLike) -> tuple[int, int, float]:
    """Compare two models on the same test examples by those that only one of them gets right
    (McNemar 1947, exact).

    Args:
        first_correct: bool [examples].
        second_correct: bool [examples], the same examples in the same order.

    Returns:
        How many only the first got right, how many only the second, and the two-sided binomial
        p-value.

    Raises ConfigError for anything but two boolean arrays of one length.
    """
    from scipy.special import bdtr

    first, second = _answers(first_correct, second_correct, "first_correct", "second_correct")
    only_first = int(np.sum(first & ~second))
    only_second = int(np.sum(second & ~first))
    tail = float(bdtr(min(only_first, only_second), only_first + only_second, 0.5))
    return only_first, only_second, min(1.0, 2.0 * tail)


def accuracy_interval(correct_count: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval (low, high) of an accuracy measured on ``n`` examples, as fractions
    (Wilson 1927).

    Raises ConfigError unless 0 <= correct_count <= n and n >= 1.
    """
    require(n >= 1, "n", "at least 1", n)
    require(0 <= correct_count <= n, "correct_count", f"between 0 and {n}", correct_count)
    share, squared = correct_count / n, NORMAL_QUANTILE**2
    centre = (share + squared / (2 * n)) / (1 + squared / n)
    half = (
        NORMAL_QUANTILE
        / (1 + squared / n)
        * math.sqrt(share * (1 - share) / n + squared / (4 * n * n))
    )
    low = 0.0 if correct_count == 0 else centre - half
    high = 1.0 if correct_count == n else centre + half
    return low, high


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """Return the 95 % t interval (low, high) of the mean of ``values`` [n]; (nan, nan) for a single
    value.

    Raises ConfigError for no values or values that are not finite.
    """
    numbers = _numbers(values, "values")
    if len(numbers) == 1:
        return math.nan, math.nan
    mean, half = float(numbers.mean()), float(t_half_width(_standard_error(numbers), len(numbers)))
    return mean - half, mean + half


def interval_of_accuracies(
    accuracies: ArrayLike, test_examples: int
) -> tuple[tuple[float, float], str]:
    """Return the 95 % interval of the mean of ``accuracies`` [seeds], as fractions, and its kind: t
    over the seeds, of a single one Wilson's over the test examples.
    """
    values = _accuracies(accuracies, "accuracies")
    if len(values) > 1:
        low, high = mean_interval(values)
        return (max(0.0, low), min(1.0, high)), f"t over {len(values)} seeds"
    right = round(float(values[0]) * test_examples)
    kind = f"Wilson, one run on {test_examples:,} test examples"
    return accuracy_interval(right, test_examples), kind


def _gain_over_seeds(
    differences: FloatArray, test_examples: int | None, confidence: float
) -> PairedGain:
    from scipy.special import stdtr

    n = len(differences)
    if np.ptp(differences) < EQUAL_ACCURACIES:
        differences = np.full(
            n, differences.mean() if abs(differences.mean()) >= EQUAL_ACCURACIES else 0.0
        )
    mean = float(differences.mean())
    error = _standard_error(differences)
    if test_examples is not None and mean != 0:
        # The standard deviation of rounding to whole examples: no spread below it can be seen.
        error = max(error, math.sqrt(1 / 12) / test_examples / math.sqrt(n))
    p_value = 0.0 if mean else 1.0
    if error > 0:
        p_value = 2 * float(stdtr(n - 1, -abs(mean) / error))
    half = float(t_half_width(error, n, confidence))
    mean, low, high = (100 * value for value in (mean, mean - half, mean + half))
    outcome: Outcome = "helped" if low > 0 else "hurt" if high < 0 else "no difference"
    verdict = _seeds_verdict(mean, low, high, n, outcome, confidence)
    return PairedGain(mean, low, high, p_value, n, f"paired t over {n} seeds", verdict, outcome)


def _seeds_verdict(
    mean: float, low: float, high: float, n: int, outcome: Outcome, confidence: float
) -> str:
    interval = f"{100 * confidence:.4g} % CI"
    if outcome == "helped":
        gained, bottom, top = format_points(mean, low, high)
        return f"Distillation gained {gained} points ({interval} {bottom} to {top}, {n} seeds)"
    if outcome == "hurt":
        lost, bottom, top = format_points(-mean, -high, -low)
        return f"Distillation hurt: it lost {lost} points ({interval} {bottom} to {top}, {n} seeds)"
    if low == high:
        return f"No difference that {n} seeds can show (student and baseline scored the same with every seed)"
    difference, bottom, top = format_points(mean, low, high)
    sign = "+" if mean > 0 else ""
    return f"No difference that {n} seeds can show ({sign}{difference} points, {interval} {bottom} to {top})"


def _gain_of_one_pair(difference: float) -> PairedGain:
    mean = 100 * difference
    verdict = f"One seed cannot tell luck from merit: {_signed(mean)} points in this one pair, with no interval"
    return PairedGain(
        mean, math.nan, math.nan, math.nan, 1, "none, one seed", verdict, "no difference"
    )


def _gain_over_examples(student: BoolArray, baseline: BoolArray, confidence: float) -> PairedGain:
    only_student, only_baseline, p_value = mcnemar_exact(student, baseline)
    examples = len(student)
    shares = [
        only_student / examples,
        only_baseline / examples,
        1 - (only_student + only_baseline) / examples,
    ]
    # Resampling examples changes nothing but how often each of these three cases is drawn.
    draws = np.random.default_rng(0).multinomial(
        examples, np.clip(shares, 0, 1), size=BOOTSTRAP_DRAWS
    )
    tail = (1 - confidence) / 2
    low, high = 100 * np.quantile((draws[:, 0] - draws[:, 1]) / examples, [tail, 1 - tail])
    mean = 100 * (only_student - only_baseline) / examples
    _, bottom, top = format_points(mean, low, high)
    verdict = (
        f"One seed cannot tell luck from merit: {_signed(mean)} points in this one pair "
        f"({100 * confidence:.4g} % CI {bottom} to {top}, which covers only the choice of test examples)"
    )
    test = f"paired bootstrap over {examples} test examples, one seed"
    return PairedGain(mean, float(low), float(high), p_value, 1, test, verdict, "no difference")


def format_points(mean: float, *bounds: float) -> list[str]:
    """Format percentage points: one decimal, below one point two, and more where a number would
    read as zero.
    """
    fewest = 1 if abs(mean) >= 1 else 2
    numbers = (mean, *bounds)
    legible = (
        n
        for n in range(fewest, 5)
        if all(number == 0 or round(number, n) != 0 for number in numbers)
    )
    decimals = next(legible, fewest)
    return [f"{round(number, decimals) + 0.0:.{decimals}f}" for number in numbers]


def gain_in_words(gain: Mapping[str, Any]) -> str:
    """Return a gain as :meth:`PairedGain.to_dict` has it, in short: "+1.2 points (95 % CI 0.3 to
    2.1, 5 seeds)".
    """
    if gain["low"] is None or gain["n"] < 2:
        return f"{_signed(gain['mean'])} points in one pair"
    _, bottom, top = format_points(gain["mean"], gain["low"], gain["high"])
    return f"{_signed(gain['mean'])} points (95 % CI {bottom} to {top}, {gain['n']} seeds)"


def _signed(points: float) -> str:
    return ("+" if round(points, 2) > 0 else "") + format_points(points)[0]


def _standard_error(values: FloatArray) -> float:
    if np.all(values == values[0]):
        return 0.0  # the deviations from a rounded mean are not exactly zero
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def t_half_width(standard_error: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> FloatArray:
    """Return half the width of Student's t interval of a mean over ``n`` values, at least 2."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(np.asarray(n) - 1, (1 + confidence) / 2) * standard_error)


# --- A classifier's metrics, from its logits ---


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram: one entry a bin of equal width, from confidence 0 to 1.

    Nan where the bin is empty.
    """

    confidence: FloatArray
    accuracy: FloatArray
    count: IntArray


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


def pareto_front(costs: ArrayLike, values: ArrayLike) -> BoolArray:
    """Return which points no other point beats: none costs as little and is worth as much, one of
    them strictly better.

    Args:
        costs: [n], lower is better.
        values: [n], higher is better.

    Returns:
        bool [n]. Equal points stand or fall together; a point with a nan is not on the front.
    """
    cost, value = np.asarray(costs, dtype=np.float64), np.asarray(values, dtype=np.float64)
    require(
        cost.ndim == 1 and cost.shape == value.shape,
        "values",
        f"of the costs' shape {cost.shape}",
        value.shape,
    )
    known = ~(np.isnan(cost) | np.isnan(value))
    front = np.zeros(len(cost), dtype=bool)
    if known.any():
        prices, price_of = np.unique(cost[known], return_inverse=True)
        best = np.full(len(prices), -np.inf)
        np.maximum.at(best, price_of, value[known])
        best_so_far = np.maximum.accumulate(best)
        worth_it = np.concatenate([[True], best_so_far[1:] > best_so_far[:-1]])
        front[known] = (value[known] == best[price_of]) & worth_it[price_of]
    return front


# --- Checks that the metrics share ---


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


def finite_or_none(value: Any) -> Any:
    """Return None for nan and infinities, which JSON does not have, and anything else unchanged."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(values: ArrayLike, field: str) -> FloatArray:
    numbers = np.asarray(values, dtype=np.float64)
    require(
        numbers.ndim == 1 and numbers.size > 0,
        field,
        "a list of one or more numbers",
        numbers.shape,
    )
    require(bool(np.isfinite(numbers).all()), field, "finite", "nan or infinity")
    return numbers


def _accuracies(values: ArrayLike, field: str) -> FloatArray:
    numbers = _numbers(values, field)
    for extreme in (float(numbers.min()), float(numbers.max())):
        require(0 <= extreme <= 1, field, "fractions between 0 and 1", extreme)
    return numbers


def _answers(
    first: ArrayLike, second: ArrayLike, first_field: str, second_field: str
) -> tuple[BoolArray, BoolArray]:
    checked = []
    for field, values in ((first_field, first), (second_field, second)):
        answers = np.asarray(values)
        is_answers = answers.dtype == np.bool_ and answers.ndim == 1 and answers.size > 0
        require(
            is_answers,
            field,
            "true or false, one a test example",
            f"{answers.dtype} {answers.shape}",
        )
        checked.append(answers)
    require(
        len(checked[0]) == len(checked[1]),
        second_field,
        f"{len(checked[0])} answers",
        len(checked[1]),
    )
    return checked[0], checked[1]


def _divide(totals: ArrayLike, counts: IntArray) -> FloatArray:
    """Divide, with nan where the count is zero."""
    return np.asarray(np.divide(totals, counts, out=np.full(len(counts), np.nan), where=counts > 0))
