import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from kdcore.analysis.logits import kl_divergence
from kdcore.analysis.metrics import (
    accuracy,
    agreement,
    confusion_matrix,
    expected_calibration_error,
    mean_kl,
    negative_log_likelihood,
    per_class_accuracy,
    reliability,
)
from kdcore.analysis.pareto import pareto_front
from kdcore.analysis.statistics import (
    PairedGain,
    accuracy_interval,
    mcnemar_exact,
    mean_interval,
    paired_gain,
)
from kdcore.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
properties = settings(deadline=None, max_examples=100, derandomize=True)
shares = st.integers(0, 449).map(lambda right: right / 449)
pairs = st.lists(st.tuples(shares, shares), min_size=2, max_size=12)


def some_logits(
    examples: int = 300, classes: int = 5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right about two times in three, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, examples)
    logits = rng.normal(0, 1.5, (examples, classes)) + 2.5 * np.eye(classes)[labels]
    return logits, labels


# --- paired_gain over seeds ---


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.998])
def test_the_interval_has_the_confidence_that_is_asked_for(confidence: float) -> None:
    student, baseline = [0.91, 0.93, 0.92, 0.95], [0.90, 0.89, 0.91, 0.92]
    gain = paired_gain(student, baseline, confidence=confidence)
    oracle = scipy.stats.ttest_rel(student, baseline).confidence_interval(confidence)
    assert (gain.low, gain.high) == pytest.approx((100 * oracle.low, 100 * oracle.high))
    assert f"{100 * confidence:g} % CI" in gain.verdict


@pytest.mark.parametrize("confidence", [0, 1, -0.5, float("nan")])
def test_a_confidence_out_of_range_is_refused(confidence: float) -> None:
    with pytest.raises(ConfigError, match="confidence must be between 0 and 1, got"):
        paired_gain([0.9, 0.8], [0.8, 0.7], confidence=confidence)


def test_paired_t_equals_scipy() -> None:
    rng = np.random.default_rng(1)
    for n in (2, 3, 5, 10, 40):
        student, baseline = rng.uniform(0.8, 0.99, n), rng.uniform(0.8, 0.99, n)
        gain = paired_gain(student, baseline)
        oracle = scipy.stats.ttest_rel(student, baseline)
        interval = oracle.confidence_interval(0.95)
        assert gain.mean == pytest.approx(100 * np.mean(student - baseline))
        assert (gain.low, gain.high) == pytest.approx((100 * interval.low, 100 * interval.high))
        assert gain.p_value == pytest.approx(oracle.pvalue)
        assert (gain.n, gain.test) == (n, f"paired t over {n} seeds")


def test_pairing_matters() -> None:
    baseline = np.array([0.80, 0.85, 0.90, 0.95, 0.88])
    student = baseline + np.array([0.010, 0.012, 0.011, 0.009, 0.010])
    assert paired_gain(student, baseline).outcome == "helped"
    assert paired_gain(student[::-1], baseline).outcome == "no difference"


@pytest.mark.parametrize(
    ("differences", "outcome", "verdict"),
    [
        (
            (0.012, 0.025, 0.021, 0.028, 0.019),
            "helped",
            "Distillation gained 2.1 points (95 % CI 1.3 to 2.9, 5 seeds)",
        ),
        (
            (-0.0086, -0.008, -0.009, -0.007, -0.006),
            "hurt",
            "Distillation hurt: it lost 0.77 points (95 % CI 0.62 to 0.92, 5 seeds)",
        ),
        (
            (0.01, -0.01, 0.02, 0.03, -0.01),
            "no difference",
            "No difference that 5 seeds can show (+0.80 points, 95 % CI -1.42 to 3.02)",
        ),
        (
            (0.01, -0.03, 0.02, -0.05, -0.01),
            "no difference",
            "No difference that 5 seeds can show (-1.2 points, 95 % CI -4.8 to 2.4)",
        ),
    ],
)
def test_verdicts(differences: tuple[float, ...], outcome: str, verdict: str) -> None:
    gain = paired_gain(0.9 + np.array(differences), np.full(5, 0.9))
    assert gain.outcome == outcome
    assert gain.verdict == verdict


def test_a_bound_just_above_zero_is_not_printed_as_zero() -> None:
    gain = paired_gain(0.9 + np.array([0.00643, 0.01063, 0.01483]), [0.9] * 3)
    assert 0 < gain.low < 0.05
    assert gain.verdict == "Distillation gained 1.06 points (95 % CI 0.02 to 2.11, 3 seeds)"


@properties
@given(pairs)
def test_outcome_sign_interval_and_p_value_agree(accuracies: list[tuple[float, float]]) -> None:
    student, baseline = np.array(accuracies).T
    gain = paired_gain(student, baseline)
    assert gain.low <= gain.mean <= gain.high
    assert 0 <= gain.p_value <= 1
    assert (gain.outcome == "no difference") == (gain.low <= 0 <= gain.high)
    assert (gain.outcome == "helped") == (gain.low > 0)
    if abs(gain.p_value - 0.05) > 1e-6:
        assert (gain.outcome != "no difference") == (gain.p_value < 0.05)
    opening = {
        "helped": "Distillation gained",
        "hurt": "Distillation hurt",
        "no difference": "No difference",
    }
    assert gain.verdict.startswith(opening[gain.outcome])
    assert "nan" not in gain.verdict
    assert "-0.0 " not in gain.verdict


@properties
@given(pairs)
def test_swapping_student_and_baseline_mirrors_the_gain(
    accuracies: list[tuple[float, float]],
) -> None:
    student, baseline = np.array(accuracies).T
    gain, mirrored = paired_gain(student, baseline), paired_gain(baseline, student)
    assert (mirrored.mean, mirrored.low, mirrored.high) == pytest.approx(
        (-gain.mean, -gain.high, -gain.low)
    )
    opposite = {"helped": "hurt", "hurt": "helped", "no difference": "no difference"}
    assert mirrored.outcome == opposite[gain.outcome]


@pytest.mark.parametrize("n", [2, 3, 7, 100])
def test_seeds_that_all_differ_alike(n: int) -> None:
    rng = np.random.default_rng(n)
    baseline = rng.uniform(0.5, 0.9, n)
    same = paired_gain(baseline, baseline)
    assert (same.mean, same.low, same.high, same.p_value, same.outcome) == (
        0,
        0,
        0,
        1,
        "no difference",
    )
    assert same.verdict.startswith(f"No difference that {n} seeds can show")
    # 0.02 more than each: equal differences but for rounding
    better, worse = paired_gain(baseline + 0.02, baseline), paired_gain(baseline, baseline + 0.02)
    assert (better.low, better.mean, better.high) == pytest.approx((2, 2, 2))
    assert (better.outcome, worse.outcome) == ("helped", "hurt")
    assert better.p_value == worse.p_value == 0


def test_float32_rounding_is_no_gain() -> None:
    exact = np.full(5, 0.9)
    rounded = exact.astype(np.float32)
    assert (rounded != exact).all()
    assert (
        paired_gain(rounded, exact).outcome
        == paired_gain(exact, rounded).outcome
        == "no difference"
    )


def test_two_seeds_that_gain_one_example_each_prove_nothing_on_a_small_test_set() -> None:
    student, baseline = [401 / 449, 411 / 449], [400 / 449, 410 / 449]
    assert paired_gain(student, baseline, test_examples=449).outcome == "no difference"
    assert paired_gain([0.99, 0.98], [0.89, 0.88], test_examples=449).outcome == "helped"
    spread = paired_gain([0.95, 0.96, 0.99], [0.90, 0.92, 0.91], test_examples=449)
    assert spread == paired_gain([0.95, 0.96, 0.99], [0.90, 0.92, 0.91])


def test_few_seeds_on_a_small_test_set_seldom_claim_an_effect_that_is_not_there() -> None:
    rng = np.random.default_rng(3)
    right = 400 + np.rint(rng.normal(0, 1.2, (2000, 2, 2)))
    claimed = [
        paired_gain(run[0] / 449, run[1] / 449, test_examples=449).outcome != "no difference"
        for run in right
    ]
    assert np.mean(claimed) <= 0.06


def test_the_interval_covers_and_false_claims_are_rare() -> None:
    """2,000 experiments of 5 seeds, with a true gain of 1.5 points and with none."""
    rng = np.random.default_rng(4)
    start = rng.normal(0.85, 0.02, (2000, 5))
    noise = rng.normal(0, 0.01, (2, 2000, 5))
    gains = [
        paired_gain(row + 0.015 + luck, row) for row, luck in zip(start, noise[0], strict=True)
    ]
    covered = np.mean([gain.low <= 1.5 <= gain.high for gain in gains])
    assert 0.93 <= covered <= 0.97
    assert np.mean([gain.outcome == "helped" for gain in gains]) > 0.5
    assert not any(gain.outcome == "hurt" for gain in gains)
    without = [paired_gain(row + luck, row) for row, luck in zip(start, noise[1], strict=True)]
    claimed = np.mean([gain.outcome != "no difference" for gain in without])
    assert 0.03 <= claimed <= 0.06


# --- paired_gain of a single seed ---


def test_the_recorded_pair_is_a_loss_and_no_proof() -> None:
    gain = paired_gain([0.9692], [0.9778])
    assert gain.mean == pytest.approx(-0.86)
    assert gain.outcome == "no difference"
    assert all(math.isnan(value) for value in (gain.low, gain.high, gain.p_value))
    assert (
        gain.verdict
        == "One seed cannot tell luck from merit: -0.86 points in this one pair, with no interval"
    )
    assert "helped" not in gain.verdict
    assert "gained" not in gain.verdict


def test_one_seed_with_answers_is_a_bootstrap_over_examples() -> None:
    rng = np.random.default_rng(5)
    student, baseline = rng.random(449) < 0.96, rng.random(449) < 0.89
    gain = paired_gain(
        [student.mean()], [baseline.mean()], student_correct=student, baseline_correct=baseline
    )
    oracle = scipy.stats.bootstrap(
        (student.astype(float) - baseline,), np.mean, n_resamples=4000, method="percentile", rng=rng
    ).confidence_interval
    assert gain.mean == pytest.approx(100 * (student.mean() - baseline.mean()))
    assert (gain.low, gain.high) == pytest.approx((100 * oracle.low, 100 * oracle.high), abs=0.3)
    assert gain.p_value == mcnemar_exact(student, baseline)[2]
    assert gain.test == "paired bootstrap over 449 test examples, one seed"
    assert gain.low > 0
    assert gain.outcome == "no difference", (
        "one seed shows nothing about training luck, however sure the examples"
    )
    assert "One seed cannot tell luck from merit" in gain.verdict
    assert "covers only the choice of test examples" in gain.verdict
    again = paired_gain(
        [student.mean()], [baseline.mean()], student_correct=student, baseline_correct=baseline
    )
    assert again == gain


def test_one_seed_without_any_disagreement() -> None:
    right = np.array([True, True, False])
    gain = paired_gain([2 / 3], [2 / 3], student_correct=right, baseline_correct=right)
    assert (gain.mean, gain.low, gain.high, gain.p_value) == (0, 0, 0, 1)


def test_gains_are_ready_for_json() -> None:
    alone = paired_gain([0.9], [0.8]).to_dict()
    assert alone["low"] is None
    assert alone["p_value"] is None
    gain = paired_gain([0.9, 0.95], [0.8, 0.83])
    assert PairedGain(**json.loads(json.dumps(gain.to_dict(), allow_nan=False))) == gain


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([96.92], [97.78]), "student_accuracies must be fractions between 0 and 1, got 96.92"),
        (([0.9], [-0.1]), "baseline_accuracies must be fractions between 0 and 1, got -0.1"),
        (([0.9, 0.8], [0.9]), "baseline_accuracies must be 2 values, one a pair, got 1"),
        (([], []), "student_accuracies must be a list of one or more numbers"),
        (([0.9, math.nan], [0.9, 0.9]), "student_accuracies must be finite"),
    ],
)
def test_refused_accuracies(arguments: tuple[list[float], list[float]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        paired_gain(*arguments)


def test_refused_answers() -> None:
    right = np.array([True, False])
    with pytest.raises(
        ConfigError, match="baseline_correct must be given exactly when student_correct is"
    ):
        paired_gain([0.5], [0.5], student_correct=right)
    with pytest.raises(
        ConfigError, match="student_correct must be left out with two or more seeds"
    ):
        paired_gain([0.5, 0.5], [0.5, 0.5], student_correct=right, baseline_correct=right)
    with pytest.raises(
        ConfigError,
        match=r"student_correct must be right as often as its accuracy, 0\.75, got 0\.5",
    ):
        paired_gain([0.75], [0.5], student_correct=right, baseline_correct=right)
    with pytest.raises(ConfigError, match="student_correct must be true or false"):
        paired_gain([0.5], [0.5], student_correct=[1, 0], baseline_correct=right)
    with pytest.raises(ConfigError, match="test_examples must be at least 1, got 0"):
        paired_gain([0.5, 0.5], [0.5, 0.5], test_examples=0)


# --- intervals and McNemar ---


@properties
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 20))
def test_mcnemar_equals_the_binomial_test(only_first: int, only_second: int, both: int) -> None:
    first = np.array([True] * only_first + [False] * only_second + [True] * both + [False])
    second = np.array([False] * only_first + [True] * only_second + [True] * both + [False])
    discordant = only_first + only_second
    p_value = scipy.stats.binomtest(only_first, discordant, 0.5).pvalue if discordant else 1.0
    assert mcnemar_exact(first, second)[:2] == (only_first, only_second)
    assert mcnemar_exact(first, second)[2] == pytest.approx(p_value)


def test_mcnemar_refuses_other_examples() -> None:
    with pytest.raises(ConfigError, match="second_correct must be 2 answers, got 1"):
        mcnemar_exact([True, False], [True])


@properties
@given(st.integers(1, 10_000), st.data())
def test_wilson_interval_equals_scipy(n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, n))
    oracle = scipy.stats.binomtest(count, n).proportion_ci(0.95, method="wilson")
    assert accuracy_interval(count, n) == pytest.approx((oracle.low, oracle.high), abs=1e-12)
    assert 0 <= accuracy_interval(count, n)[0] <= count / n <= accuracy_interval(count, n)[1] <= 1


def test_mean_interval_equals_scipy() -> None:
    values = [0.2, 0.5, 0.9, 0.4]
    oracle = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((oracle.low, oracle.high))
    assert all(math.isnan(bound) for bound in mean_interval([0.3]))
    assert mean_interval([0.1] * 3) == pytest.approx((0.1, 0.1), abs=1e-15)


def test_refused_counts() -> None:
    with pytest.raises(ConfigError, match="correct_count must be between 0 and 5, got 6"):
        accuracy_interval(6, 5)
    with pytest.raises(ConfigError, match="n must be at least 1, got 0"):
        accuracy_interval(0, 0)


# --- metrics ---


@pytest.mark.parametrize("temperature", [0.5, 1.0, 7.0])
def test_metrics_equal_scikit_learn(temperature: float) -> None:
    logits, labels = some_logits()
    predictions = logits.argmax(axis=1)
    probabilities = scipy.special.softmax(logits / temperature, axis=1)
    assert accuracy(logits, labels) == pytest.approx(
        sklearn.metrics.accuracy_score(labels, predictions)
    )
    loss = sklearn.metrics.log_loss(labels, probabilities, labels=range(5))
    assert negative_log_likelihood(logits, labels, temperature) == pytest.approx(loss)
    matrix = confusion_matrix(labels, predictions, 5)
    np.testing.assert_array_equal(
        matrix, sklearn.metrics.confusion_matrix(labels, predictions, labels=range(5))
    )
    recall = sklearn.metrics.recall_score(labels, predictions, labels=range(5), average=None)
    np.testing.assert_allclose(per_class_accuracy(labels, predictions, 5), recall)


def test_classes_without_examples() -> None:
    assert confusion_matrix([0, 0, 2], [0, 2, 2], 4).tolist() == [
        [1, 0, 1, 0],
        [0] * 4,
        [0, 0, 1, 0],
        [0] * 4,
    ]
    np.testing.assert_array_equal(
        per_class_accuracy([0, 0, 2], [0, 2, 2], 4), [0.5, np.nan, 1.0, np.nan]
    )


@pytest.mark.parametrize(("temperature", "bins"), [(1.0, 15), (0.3, 15), (4.0, 10), (1.0, 1)])
def test_calibration_error_equals_a_loop_over_the_bins(temperature: float, bins: int) -> None:
    logits, labels = some_logits()
    probabilities = scipy.special.softmax(logits / temperature, axis=1)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    diagram = reliability(logits, labels, temperature, bins)
    expected = 0.0
    for index, edge in enumerate(np.linspace(0, 1, bins + 1)[:-1]):
        inside = (confidence > edge) & (confidence <= edge + 1 / bins)
        assert diagram.count[index] == inside.sum()
        if inside.any():
            assert diagram.confidence[index] == pytest.approx(confidence[inside].mean())
            assert diagram.accuracy[index] == pytest.approx(right[inside].mean())
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
        else:
            assert math.isnan(diagram.accuracy[index])
            assert math.isnan(diagram.confidence[index])
    assert expected > 0
    assert expected_calibration_error(logits, labels, temperature, bins) == pytest.approx(expected)


def test_calibration_error_at_its_extremes() -> None:
    sure = 1000.0 * np.eye(3)
    assert expected_calibration_error(sure, [0, 1, 2]) == 0
    assert expected_calibration_error(sure, [1, 2, 0]) == 1
    assert reliability(sure, [0, 1, 2]).count.tolist() == [0] * 14 + [3]


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    assert reliability([[0.0, 0.0], [0.0, 5.0]], [0, 0], bins=2).count.tolist() == [1, 1]


def test_agreement_and_mean_divergence() -> None:
    teacher = np.log([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    student = np.log([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]])
    assert agreement(teacher, student) == pytest.approx(2 / 3)
    divergence = scipy.stats.entropy(np.exp(teacher), np.exp(student), axis=1)
    assert mean_kl(teacher, student) == pytest.approx(divergence.mean())
    assert mean_kl(student, teacher) != pytest.approx(divergence.mean())
    np.testing.assert_allclose(kl_divergence(teacher, student), divergence)


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        ([[1.0, 2.0]], [2], "labels must be between 0 and 1, got 2"),
        ([[1.0, 2.0]], [-1], "labels must be between 0 and 1, got -1"),
        ([[1.0, 2.0]], [0.0], "labels must be a list of whole numbers"),
        ([[1.0, 2.0]], [0, 1], "labels must be 1 values, one an example, got 2"),
        ([1.0, 2.0], [0], "logits must be an array"),
        ([[1.0, math.nan]], [0], "logits must be finite"),
        (np.zeros((0, 3)), np.zeros(0, int), "logits must be of at least one example"),
        ([[1.0]], [0], r"logits must be an array \[..., classes\] of 2 or more"),
    ],
)
def test_refused_examples(logits: list[list[float]], labels: list[int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        accuracy(logits, labels)


def test_refused_pairs_and_temperatures() -> None:
    with pytest.raises(ConfigError, match="student_logits must be of the teacher's shape"):
        mean_kl(np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(ConfigError, match="temperature must be above 0, got -1"):
        negative_log_likelihood([[1.0, 2.0]], [0], -1)
    with pytest.raises(ConfigError, match="predictions must be 2 values"):
        confusion_matrix([0, 1], [0], 2)


# --- Pareto front ---


@properties
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=15))
def test_pareto_front_by_its_definition(points: list[tuple[int, int]]) -> None:
    front = pareto_front([cost for cost, _ in points], [value for _, value in points])
    for kept, (cost, value) in zip(front, points, strict=True):
        beaten = any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)
        assert kept == (not beaten)


def test_pareto_front_leaves_out_the_unknown() -> None:
    assert pareto_front([1, 2, math.nan, 0], [5, 9, 99, math.nan]).tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert pareto_front([math.nan], [1]).tolist() == [False]


def test_importing_costs_no_scipy() -> None:
    program = "import sys, kdcore.analysis.statistics, kdcore.analysis.temperature; print([m for m in sys.modules if 'scipy' in m])"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert shown.stdout.strip() == "[]"
