"""What accuracies prove and what they do not: gains, their intervals, and both in words.

Everything is NumPy in float64. SciPy is imported where it is used, so that ``import
kdcore.analysis.statistics`` stays cheap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from kdcore.analysis.logits import BoolArray, FloatArray
from kdcore.errors import require

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
