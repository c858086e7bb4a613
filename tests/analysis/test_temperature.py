import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdcore.analysis import metrics
from kdcore.analysis.temperature import (
    ORDERS,
    calibrate,
    class_similarity,
    describe_soft_label,
    effective_classes,
    entropy,
    format_percent,
    gradient_norms,
    kd_gradient,
    kl_divergence,
    label_gradient_norm,
    large_temperature_gradient,
    log_softmax,
    margin,
    most_confused,
    order,
    soften_report,
    softmax,
    temperature_curves,
    temperature_grid,
    top_probability,
)
from kdcore.errors import ConfigError

properties = settings(deadline=None, max_examples=100, derandomize=True)
# Steps of a hundredth, so that the order of the logits is not a matter of rounding.
hundredths = st.integers(-3000, 3000).map(lambda value: value / 100)
logit_rows = arrays(np.float64, (4, 5), elements=hundredths)
temperatures = st.floats(0.05, 1000)
NAMES = ("T-shirt", "trouser", "sandal", "sneaker", "ankle boot")


def some_logits(
    examples: int = 200, classes: int = 5, seed: int = 0, sharpness: float = 1.0
) -> Any:
    """Logits from which labels were drawn at T = 1 / sharpness, and those labels: calibrated at T =
    sharpness.
    """
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (examples, classes))
    chances = scipy.special.softmax(logits, axis=1)
    labels = np.array([rng.choice(classes, p=row) for row in chances])
    return sharpness * logits, labels


# --- one example's distribution ---


@properties
@given(logit_rows, temperatures)
def test_distributions_equal_scipy(logits: np.ndarray, temperature: float) -> None:
    expected = scipy.special.softmax(logits / temperature, axis=1)
    np.testing.assert_allclose(softmax(logits, temperature), expected, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(
        log_softmax(logits, temperature),
        scipy.special.log_softmax(logits / temperature, axis=1),
        rtol=1e-9,
        atol=1e-12,
    )
    np.testing.assert_allclose(
        entropy(logits, temperature), scipy.stats.entropy(expected, axis=1), atol=1e-12
    )
    np.testing.assert_allclose(
        effective_classes(logits, temperature),
        np.exp(scipy.stats.entropy(expected, axis=1)),
        atol=1e-11,
    )
    np.testing.assert_allclose(
        top_probability(logits, temperature), expected.max(axis=1), rtol=1e-9
    )
    ranked = np.sort(expected, axis=1)
    np.testing.assert_allclose(
        margin(logits, temperature), ranked[:, -1] - ranked[:, -2], atol=1e-12
    )


@properties
@given(logit_rows, logit_rows, temperatures)
def test_divergence_equals_scipy(
    teacher: np.ndarray, student: np.ndarray, temperature: float
) -> None:
    p, q = (scipy.special.softmax(logits / temperature, axis=1) for logits in (teacher, student))
    if (q > 0).all():  # SciPy works from probabilities, which underflow
        expected = scipy.special.rel_entr(p, q).sum(axis=1)
        np.testing.assert_allclose(
            kl_divergence(teacher, student, temperature), expected, rtol=1e-7, atol=1e-12
        )


@properties
@given(logit_rows, temperatures, temperatures)
def test_entropy_never_falls_as_temperature_rises(
    logits: np.ndarray, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert (entropy(logits, high) >= entropy(logits, low) - 1e-12).all()
    assert (top_probability(logits, high) <= top_probability(logits, low) + 1e-12).all()


def test_entropy_rises_strictly_where_classes_differ() -> None:
    values = [
        float(entropy([1.0, 2.0, 4.0], temperature)) for temperature in (0.2, 0.5, 1, 2, 5, 20)
    ]
    assert values == sorted(set(values))


@properties
@given(logit_rows, temperatures)
def test_the_order_of_classes_never_changes(logits: np.ndarray, temperature: float) -> None:
    probabilities = softmax(logits, temperature)
    by_logit = np.argsort(logits, axis=1)
    steps = np.diff(np.take_along_axis(probabilities, by_logit, axis=1), axis=1)
    assert (steps >= 0).all()
    apart = np.diff(np.take_along_axis(logits, by_logit, axis=1), axis=1) > 0
    visible = np.take_along_axis(probabilities, by_logit, axis=1)[:, 1:] > 1e-300
    assert (steps[apart & visible] > 0).all()


@properties
@given(logit_rows, temperatures)
def test_temperature_leaves_accuracy_untouched(logits: np.ndarray, temperature: float) -> None:
    labels = np.array([0, 1, 2, 3])
    softened = log_softmax(logits, temperature)
    assert metrics.accuracy(softened, labels) == metrics.accuracy(logits, labels)


@properties
@given(logit_rows)
def test_high_temperature_is_uniform_and_low_is_sure(logits: np.ndarray) -> None:
    np.testing.assert_allclose(softmax(logits, 1e9), 0.2, atol=1e-7)
    np.testing.assert_allclose(effective_classes(logits, 1e9), 5)
    ranked = np.sort(logits, axis=1)
    clear = ranked[:, -1] > ranked[:, -2]
    np.testing.assert_allclose(top_probability(logits, 1e-4)[clear], 1)


@properties
@given(logit_rows, logit_rows, temperatures, st.floats(-100, 100))
def test_divergence_is_zero_at_equality_and_blind_to_shifts(
    teacher: np.ndarray, student: np.ndarray, temperature: float, shift: float
) -> None:
    divergence = kl_divergence(teacher, student, temperature)
    assert (divergence >= 0).all()
    assert (kl_divergence(teacher, teacher, temperature) == 0).all()
    np.testing.assert_allclose(kl_divergence(teacher, teacher + shift, temperature), 0, atol=1e-9)
    np.testing.assert_allclose(
        kl_divergence(teacher + shift, student - shift, temperature),
        divergence,
        rtol=1e-6,
        atol=1e-9,
    )
    distance = np.abs(softmax(teacher, temperature) - softmax(student, temperature)).sum(axis=1)
    assert (divergence >= distance**2 / 2 - 1e-12).all(), "Pinsker's inequality"


@pytest.mark.parametrize("temperature", [1e-308, 0.05, 1.0, 1000.0, 1e300])
def test_enormous_logits(temperature: float) -> None:
    logits = np.array([[1000.0, -1000.0, 0.0], [-1000.0, 1000.0, 999.0]])
    for function in (softmax, entropy, top_probability, effective_classes, margin):
        assert np.isfinite(function(logits, temperature)).all()
    assert not np.isnan(kl_divergence(logits, logits[::-1], temperature)).any()


def test_divergence_of_a_confidently_wrong_student_is_its_gap() -> None:
    assert kl_divergence([1000.0, -1000.0], [-1000.0, 1000.0]) == pytest.approx(2000)
    assert kl_divergence([1000.0, -1000.0], [-1000.0, 1000.0], 4.0) == pytest.approx(500)


def test_shapes_follow_the_examples() -> None:
    logits = np.arange(24.0).reshape(2, 3, 4)
    assert softmax(logits, 2).shape == (2, 3, 4)
    assert entropy(logits).shape == margin(logits).shape == (2, 3)
    assert entropy([0.0, 0.0]) == pytest.approx(math.log(2))
    np.testing.assert_array_equal(softmax(logits.astype(np.float32)), softmax(logits))


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf])
def test_refused_temperatures(temperature: float) -> None:
    for call in (softmax, log_softmax, entropy, margin):
        with pytest.raises(ConfigError, match=f"temperature must be above 0, got {temperature}"):
            call([1.0, 2.0], temperature)
    with pytest.raises(ConfigError, match="temperature must be above 0"):
        temperature_curves([[1.0, 2.0]], [0], [1.0, temperature])


# --- in words ---


@pytest.mark.parametrize(
    ("probabilities", "names", "label", "sentence"),
    [
        ([0.0301, 0.9698, 0.0001], "178", 1, "a 7 that is 3 % a 1 and 0.01 % an 8"),
        ([0.6, 0.35, 0.04, 0.01], "0123", 3, "a 3 that is 60 % a 0 and 35 % a 1"),
        (
            [0.001, 0.002, 0.03, 0.96, 0.007],
            NAMES,
            3,
            "a sneaker that is 3 % a sandal and 0.7 % an ankle boot",
        ),
        (
            [0.25, 0.05, 0.0, 0.0, 0.7],
            NAMES,
            4,
            "an ankle boot that is 25 % a T-shirt and 5 % a trouser",
        ),
        ([1.0, 0.0], ("cat", "dog"), 0, "a cat that is 0 % a dog"),
    ],
)
def test_soft_labels_in_words(
    probabilities: list[float], names: Any, label: int, sentence: str
) -> None:
    if names == "178":
        names = ("1", "7", "8")
    assert describe_soft_label(probabilities, names, label) == sentence


@pytest.mark.parametrize(
    "phrase",
    [
        *(
            "a 0",
            "a 1",
            "an 8",
            "an 80",
            "an 11",
            "an 18",
            "a 110",
            "a 180",
            "an 18000",
            "a 10",
            "a 21",
        ),
        *(
            "an airplane",
            "an automobile",
            "a bird",
            "an apple",
            "an orange",
            "an umbrella",
            "an untidy desk",
        ),
        *(
            "a unicorn",
            "a university",
            "a user",
            "a European hare",
            "a one",
            "an hour glass",
            "a horse",
        ),
        *("an F", "an f", "a B", "a U", "an X-ray", "a T-shirt", "an S", "a truck"),
    ],
)
def test_articles(phrase: str) -> None:
    name = phrase.split(" ", 1)[1]
    assert describe_soft_label([0.5, 0.5], (name, "dog"), 0) == f"{phrase} that is 50 % a dog"


@pytest.mark.parametrize(
    ("probability", "shown"),
    [
        *(
            (0.0, "0 %"),
            (1e-12, "under 0.000001 %"),
            (3.2e-8, "0.000003 %"),
            (0.00012, "0.01 %"),
            (0.0096, "1 %"),
        ),
        *(
            (0.0041, "0.4 %"),
            (0.034, "3 %"),
            (0.342, "34 %"),
            (0.99, "99 %"),
            (0.99999, "99.9 %"),
            (1.0, "100 %"),
        ),
    ],
)
def test_percentages(probability: float, shown: str) -> None:
    assert format_percent(probability) == shown


@properties
@given(st.floats(1e-8, 1))
def test_percentages_are_near_the_truth_and_plain(probability: float) -> None:
    shown = format_percent(probability)
    assert "e" not in shown
    assert float(shown.removesuffix(" %")) / 100 == pytest.approx(probability, rel=0.5)


def test_refused_soft_labels() -> None:
    with pytest.raises(ConfigError, match="probabilities must be at least 0 and sum to 1"):
        describe_soft_label([2.0, 3.0], ("a", "b"), 0)
    with pytest.raises(ConfigError, match="probabilities must be 3 values, one a class name"):
        describe_soft_label([0.5, 0.5], ("a", "b", "c"), 0)
    with pytest.raises(ConfigError, match="label must be between 0 and 1, got 2"):
        describe_soft_label([0.5, 0.5], ("a", "b"), 2)


# --- the whole test set ---


def test_grid_is_logarithmic() -> None:
    grid = temperature_grid(n=7)
    assert (grid[0], grid[-1], len(grid)) == (0.5, pytest.approx(20), 7)
    np.testing.assert_allclose(grid[1:] / grid[:-1], 40 ** (1 / 6))
    refused: list[dict[str, Any]] = [{"low": 0}, {"high": 0.5}, {"n": 1}]
    for bad in refused:
        with pytest.raises(ConfigError, match=f"{next(iter(bad))} must be "):
            temperature_grid(**bad)


def test_curves_equal_a_loop_over_scipy() -> None:
    logits, labels = some_logits()
    curves = temperature_curves(logits, labels, [0.5, 2, 9])
    assert curves["temperature"].tolist() == [0.5, 2, 9]
    for index, temperature in enumerate((0.5, 2, 9)):
        probabilities = scipy.special.softmax(logits / temperature, axis=1)
        entropies = scipy.stats.entropy(probabilities, axis=1)
        expected = {
            "entropy": entropies.mean(),
            "top_probability": probabilities.max(axis=1).mean(),
            "effective_classes": np.exp(entropies).mean(),
            "share_under_half": (probabilities.max(axis=1) < 0.5).mean(),
            "negative_log_likelihood": -np.log(probabilities[np.arange(200), labels]).mean(),
            "expected_calibration_error": metrics.expected_calibration_error(
                logits / temperature, labels
            ),
        }
        found = {name: curve[index] for name, curve in curves.items() if name != "temperature"}
        assert found == pytest.approx(expected)
    assert 0 < curves["share_under_half"][1] < curves["share_under_half"][2]


def test_class_similarity_is_the_mean_soft_label_of_each_true_class() -> None:
    logits, labels = some_logits()
    labels[labels == 2] = 3
    matrix = class_similarity(logits, labels, 5, temperature=3)
    probabilities = scipy.special.softmax(logits / 3, axis=1)
    for true in (0, 1, 3, 4):
        np.testing.assert_allclose(matrix[true], probabilities[labels == true].mean(axis=0))
    assert np.isnan(matrix[2]).all()
    with pytest.raises(ConfigError, match="classes must be 5, the width of the logits, got 4"):
        class_similarity(logits, np.zeros(200, int), 4)


def test_most_confused_is_off_the_diagonal_and_falls() -> None:
    matrix = [[0.9, 0.08, 0.02], [math.nan] * 3, [0.3, 0.1, 0.6]]
    before = np.array(matrix)
    assert most_confused(before, ("a", "b", "c"), 3) == [
        ("c", "a", 0.3),
        ("c", "b", 0.1),
        ("a", "b", 0.08),
    ]
    assert len(most_confused(before, ("a", "b", "c"), 99)) == 4
    np.testing.assert_array_equal(before, matrix)


def test_orders() -> None:
    logits = np.log(
        [
            [0.90, 0.05, 0.05],
            [0.40, 0.35, 0.25],
            [0.49, 0.50, 0.01],
            [0.02, 0.97, 0.01],
            [0.6, 0.3, 0.1],
        ]
    )
    labels = np.array([0, 0, 0, 0, 2])
    student = logits.copy()
    student[0] = np.log([0.5, 0.25, 0.25])  # the same top class, much less sure
    student[1] = np.log([0.35, 0.40, 0.25])  # another top class, but hardly
    assert order(logits, labels, "entropy").tolist() == [1, 4, 2, 0, 3]
    assert order(logits, labels, "margin").tolist() == [2, 1, 4, 0, 3]
    assert order(logits, labels, "wrong but sure").tolist() == [3, 4, 2, 1, 0]
    assert order(logits, labels, "disagreement", student_logits=student).tolist() == [1, 0, 2, 3, 4]
    for by in ORDERS:
        found = order(logits, labels, by, student_logits=student, temperature=5)
        assert sorted(found) == [0, 1, 2, 3, 4]
    with pytest.raises(
        ConfigError,
        match="order must be one of entropy, margin, wrong but sure, disagreement, got 'x'",
    ):
        order(logits, labels, "x")  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match="student_logits must be given to order by disagreement, got None"
    ):
        order(logits, labels, "disagreement")


def test_ties_keep_the_order_of_the_data() -> None:
    logits = np.tile([2.0, 1.0, 0.0], (50, 1))
    for by in ORDERS:
        np.testing.assert_array_equal(
            order(logits, np.zeros(50, int), by, student_logits=logits), np.arange(50)
        )


# --- calibration ---


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 3.0])
def test_calibration_recovers_a_known_temperature(sharpness: float) -> None:
    logits, labels = some_logits(examples=4000, sharpness=sharpness)
    found = calibrate(logits, labels)
    assert found.temperature == pytest.approx(sharpness, rel=0.06)
    assert found.at_bound is None
    assert found.loss_after <= found.loss_before
    for near in (0.99, 1.01):
        worse = metrics.negative_log_likelihood(logits, labels, near * found.temperature)
        assert worse > found.loss_after
    words = {0.3: "under-confident", 1.0: "well calibrated", 3.0: "over-confident"}
    assert words[sharpness] in found.sentence
    assert f"T = {found.temperature:.2f}" in found.sentence


@properties
@given(st.floats(0.2, 5))
def test_calibration_follows_the_scale_of_the_logits(factor: float) -> None:
    logits, labels = some_logits()
    expected = factor * calibrate(logits, labels).temperature
    assert calibrate(factor * logits, labels).temperature == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("scale", [1.0, 50.0, 1e6])
def test_calibration_of_a_faultless_model_stops_at_its_bound_and_says_so(scale: float) -> None:
    labels = np.arange(5)
    found = calibrate(scale * np.eye(5), labels)
    assert (found.temperature, found.at_bound) == (0.05, "lower")
    assert "every validation example is right" in found.sentence
    assert "T = 0.05" in found.sentence


def test_calibration_of_a_useless_model_stops_at_the_upper_bound() -> None:
    found = calibrate(np.eye(5), np.roll(np.arange(5), 1))
    assert (found.temperature, found.at_bound) == (100.0, "upper")
    assert "T = 100" in found.sentence


def test_calibration_without_any_preference() -> None:
    found = calibrate(np.ones((4, 3)), [0, 1, 2, 0])
    assert (found.temperature, found.at_bound) == (1.0, None)
    assert found.loss_after == pytest.approx(math.log(3))
    assert "every T fits alike" in found.sentence


def test_calibration_refuses_in_the_names_of_its_arguments() -> None:
    with pytest.raises(ConfigError, match="validation_labels must be between 0 and 1, got 3"):
        calibrate([[1.0, 2.0]], [3])


# --- why T squared ---


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_gradient_equals_automatic_differentiation(temperature: float) -> None:
    import tensorflow as tf

    rng = np.random.default_rng(7)
    teacher = tf.constant(rng.normal(0, 4, (6, 5)))
    student = tf.Variable(rng.normal(0, 4, (6, 5)))
    with tf.GradientTape() as tape:
        p = tf.nn.softmax(teacher / temperature)
        rows = tf.reduce_sum(
            p * (tf.math.log(p) - tf.nn.log_softmax(student / temperature)), axis=1
        )
        loss = temperature**2 * tf.reduce_sum(rows)
    expected = tape.gradient(loss, student).numpy()
    assert expected.dtype == np.float64
    np.testing.assert_allclose(
        kd_gradient(teacher.numpy(), student.numpy(), temperature), expected, atol=1e-12
    )


def test_gradient_equals_finite_differences() -> None:
    rng = np.random.default_rng(8)
    teacher, student = rng.normal(0, 3, (2, 1, 4))
    for temperature in (0.7, 3.0):
        for column in range(4):
            step = 1e-5 * np.eye(4)[column]
            above, below = (
                kl_divergence(teacher, moved, temperature)
                for moved in (student + step, student - step)
            )
            slope = temperature**2 * (above - below)[0] / 2e-5
            assert kd_gradient(teacher, student, temperature)[0, column] == pytest.approx(
                slope, abs=1e-7
            )


def test_gradient_tends_to_matching_centred_logits() -> None:
    rng = np.random.default_rng(9)
    teacher, student = rng.normal(0, 4, (2, 30, 6)) + rng.normal(0, 50, (2, 30, 1))
    centred = [logits - logits.mean(axis=1, keepdims=True) for logits in (teacher, student)]
    limit = (centred[1] - centred[0]) / 6
    np.testing.assert_allclose(large_temperature_gradient(teacher, student), limit, atol=1e-12)
    gaps = [
        np.abs(kd_gradient(teacher, student, temperature) - limit).max()
        for temperature in (10, 100, 1000, 1e4)
    ]
    for gap, closer in itertools.pairwise(gaps):
        assert closer < gap / 5, "the gap falls like 1/T"
    assert gaps[-1] < 1e-2


def test_gradient_norms_with_and_without_t_squared() -> None:
    rng = np.random.default_rng(10)
    teacher, student = rng.normal(0, 4, (2, 30, 6))
    norms = gradient_norms(teacher, student, [0.5, 4, 1e5])
    for index, temperature in enumerate((0.5, 4, 1e5)):
        p, q = (
            scipy.special.softmax(logits / temperature, axis=1) for logits in (teacher, student)
        )
        lengths = np.sqrt((((q - p) / temperature) ** 2).sum(axis=1))
        assert norms["without_t_squared"][index] == pytest.approx(lengths.mean())
        assert norms["with_t_squared"][index] == pytest.approx(temperature**2 * lengths.mean())
    assert norms["temperature"].tolist() == [0.5, 4, 1e5]
    assert norms["with_t_squared"][2] == pytest.approx(norms["limit"][2], rel=1e-3)
    assert norms["limit"].tolist() == [norms["limit"][0]] * 3


def test_no_gradient_where_student_equals_teacher() -> None:
    logits = np.random.default_rng(11).normal(0, 4, (5, 3))
    assert not kd_gradient(logits, logits, 3).any()
    assert not gradient_norms(logits, logits + 7, [3.0])["limit"].round(12).any()


@pytest.mark.parametrize("seed", range(3))
def test_label_gradient_equals_automatic_differentiation(seed: int) -> None:
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(seed)
    logits, labels = tf.Variable(rng.normal(0, 4, (6, 5))), rng.integers(0, 5, 6)
    with tf.GradientTape() as tape:
        rows = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_sum(rows)
    expected = np.linalg.norm(tape.gradient(loss, logits).numpy(), axis=1).mean()
    assert label_gradient_norm(logits.numpy(), labels) == pytest.approx(expected)


def test_label_gradient_vanishes_where_all_is_right_and_sure() -> None:
    assert label_gradient_norm(100 * np.eye(4), np.arange(4)) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ConfigError, match="labels must be"):
        label_gradient_norm(np.eye(4), [0, 1])


# --- the report ---


def test_report_holds_the_page_figures() -> None:
    teacher, labels = some_logits(sharpness=3.0)
    held_out, held_out_labels = some_logits(examples=500, seed=1, sharpness=3.0)
    student = teacher + np.random.default_rng(12).normal(0, 2, teacher.shape)
    baseline = np.random.default_rng(13).normal(0, 2, teacher.shape)
    report = soften_report(teacher, labels, 4, NAMES, student, baseline, held_out, held_out_labels)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    curves = temperature_curves(teacher, labels, [4])
    assert {name: report[name] for name in curves} == {
        name: curve[0] for name, curve in curves.items()
    }
    assert (report["examples"], report["classes"]) == (200, 5)
    assert report["accuracy"] == (teacher.argmax(axis=1) == labels).mean()
    for name, logits in (("student", student), ("baseline", baseline)):
        assert report[name]["accuracy"] == (logits.argmax(axis=1) == labels).mean()
        assert report[name]["agreement"] == (logits.argmax(axis=1) == teacher.argmax(axis=1)).mean()
        assert report[name]["mean_kl"] == pytest.approx(kl_divergence(teacher, logits, 4).mean())
    assert report["student"]["mean_kl"] < report["baseline"]["mean_kl"]
    calibration = report["calibration"]
    assert calibration["temperature"] == calibrate(held_out, held_out_labels).temperature
    assert calibration["error_before"] == metrics.expected_calibration_error(teacher, labels)
    after = metrics.expected_calibration_error(teacher, labels, calibration["temperature"])
    assert calibration["error_after"] == after < calibration["error_before"]
    matrix = class_similarity(teacher, labels, 5, 4)
    true, other, probability = most_confused(matrix, NAMES, 1)[0]
    assert report["confusions"][0] == {"true": true, "other": other, "probability": probability}


def test_report_of_a_teacher_alone() -> None:
    teacher, labels = some_logits()
    report = soften_report(teacher, labels, 2.0, NAMES)
    assert report["student"] is report["baseline"] is report["calibration"] is None
    tiny = soften_report(1000 * teacher, labels, 1e-308, NAMES, -1000 * teacher)
    assert tiny["negative_log_likelihood"] is None
    assert json.dumps(tiny, allow_nan=False)
    for field in ("student_logits", "baseline_logits"):
        with pytest.raises(ConfigError, match=f"{field} must be of the teacher's shape"):
            soften_report(teacher, labels, 2.0, NAMES, **{field: teacher[:5]})
    with pytest.raises(ConfigError, match="temperature must be above 0, got 0"):
        soften_report(teacher, labels, 0, NAMES)
