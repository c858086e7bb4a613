"""The methods' losses against the authors' values, float64 NumPy, and what must not matter."""

import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from numpy.typing import NDArray

from kdcore import losses
from kdcore.errors import ConfigError, ModelError

STUDENT = np.array(
    [
        [1.0, -0.5, 0.3, 2.0, 0.1],
        [0.2, 1.5, -1.0, 0.4, 0.7],
        [-0.3, 0.8, 2.2, -1.1, 0.0],
        [0.6, 0.1, -0.2, 0.9, -1.4],
    ]
)
TEACHER = np.array(
    [
        [3.0, -1.0, 0.5, 1.5, -0.2],
        [-0.5, 4.0, -2.0, 1.0, 0.3],
        [0.1, 1.9, 2.5, -0.7, -1.2],
        [1.2, -0.4, 0.8, 2.7, -2.0],
    ]
)
SECOND_TEACHER = np.array(
    [
        [0.5, 0.4, 1.5, -0.5, 0.0],
        [0.3, 2.0, 0.6, -1.0, -0.4],
        [-1.0, 3.0, 0.2, 0.5, -0.3],
        [2.2, 0.0, -0.6, 1.1, 0.7],
    ]
)
seeds = st.integers(0, 2**32 - 1)


def number(value: Any) -> float:
    return float(ops.convert_to_numpy(value))


def wide(value: Any) -> Any:
    return ops.cast(value, "float64")


def gradient(loss: Any, *inputs: NDArray) -> list[NDArray]:
    tensors = [tf.constant(value) for value in inputs]
    with tf.GradientTape() as tape:
        for tensor in tensors:
            tape.watch(tensor)
        value = loss(*tensors)
    return [np.asarray(part) for part in tape.gradient(value, tensors)]


def softmax(logits: NDArray) -> NDArray:
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def random(seed: int, *shape: int) -> NDArray:
    return np.random.default_rng(seed).normal(size=shape)


# --- The authors' values ---


def calls(entry: dict[str, Any]) -> Any:
    """An oracle's loss as a function of its student's inputs, by name; None: not ours."""
    given, parameters, name = entry["inputs"], entry["parameters"], entry["id"]
    array = {key: np.asarray(value, np.float64) for key, value in given.items() if key != "labels"}
    labels = np.asarray(given.get("labels", []), np.int32)
    teacher = array.get("teacher_logits", array.get("teacher_features_nhwc"))
    temperature = parameters.get("temperature")
    if "TRAP" in name or "BUG" in name:
        return None
    if name.startswith("kd_"):
        return lambda student_logits: losses.kd_loss(teacher, student_logits, temperature)
    if name.startswith("deit_hard"):
        smoothing = parameters.get("label_smoothing", 0.0)
        return lambda class_logits, distillation_logits: losses.distillation_token_loss(
            class_logits, distillation_logits, teacher, labels, 0.5, smoothing
        )
    if name == "hard_label_single_head":
        return lambda student_logits: losses.distillation_loss(
            wide(losses.smoothed_cross_entropy(labels, student_logits, 0.0)),
            wide(losses.hard_label_loss(teacher, student_logits)),
            parameters["alpha"],
        )
    if name.startswith("label_smoothing"):
        return lambda student_logits: losses.smoothed_cross_entropy(
            labels, student_logits, parameters["smoothing"]
        )
    if name.startswith("dkd"):
        weights = parameters["alpha"], parameters["beta"]
        return lambda student_logits: losses.decoupled_kd_loss(
            teacher, student_logits, labels, temperature, *weights
        )
    if name.startswith("logit_std"):
        return lambda student_logits: losses.kd_loss(
            losses.standardize_logits(teacher),
            losses.standardize_logits(student_logits),
            temperature,
        )
    if name.startswith("dist_"):
        return lambda student_logits: losses.dist_loss(
            teacher, student_logits, parameters["tau"], parameters["beta"], parameters["gamma"]
        )
    if name.startswith("fitnet"):
        kernel, bias = array["regressor_kernel"], array["regressor_bias"]
        return lambda student_features_nhwc: losses.hint_loss(
            teacher, ops.matmul(student_features_nhwc, kernel) + bias
        )
    if name.startswith("at_"):
        return lambda student_features_nhwc: losses.attention_transfer_loss(
            teacher, student_features_nhwc, parameters["p"]
        )
    if name.startswith("sp_"):
        return lambda student_features: losses.similarity_preserving_loss(
            array["teacher_features"], student_features
        )
    if name.startswith("rkd"):
        weights = parameters["distance_weight"], parameters["angle_weight"]
        return lambda student_features: losses.relational_loss(
            array["teacher_features"], student_features, *weights
        )
    if name == "teachers_average_of_losses":
        return lambda student_logits: (
            sum(losses.kd_loss(one, student_logits, temperature) for one in teacher) / len(teacher)
        )
    if name.startswith("teachers_average_probs"):
        return lambda student_logits: losses.kd_loss(
            losses.mean_teacher_logits(list(teacher), temperature), student_logits, temperature
        )
    if name == "distilbert_total":
        mask = np.asarray(given["attention_mask"])
        masked = np.asarray(given["lm_labels"])
        return lambda student_logits, student_hidden: (
            parameters["ce"] * losses.token_kd_loss(teacher, student_logits, mask, temperature)
            + parameters["mlm"] * wide(losses.masked_language_model_loss(masked, student_logits))
            + parameters["cos"]
            * losses.hidden_cosine_loss(array["teacher_hidden"], student_hidden, mask)
        )
    if name == "noisy_student_total":
        return lambda labelled_student_logits, unlabelled_student_logits: losses.noisy_student_loss(
            labels,
            labelled_student_logits,
            array["unlabelled_teacher_logits"],
            unlabelled_student_logits,
            parameters["unlabel_ratio"],
            parameters["label_smoothing"],
        )
    raise AssertionError(f"no loss is known for {name}")


def oracles() -> list[dict[str, Any]]:
    folder = os.environ.get("KD_DATA_DIR")
    file = Path(folder, "..", "oracles.json") if folder else None
    return json.loads(file.read_text())["entries"] if file and file.exists() else []


@pytest.mark.parametrize("entry", oracles(), ids=lambda entry: entry["id"])
def test_a_loss_and_its_gradients_are_the_authors(entry: dict[str, Any]) -> None:
    loss = calls(entry)
    if loss is None:  # what must not come out
        given = {key: np.asarray(value) for key, value in entry["inputs"].items()}
        if "student_logits" in given:
            ours = losses.kd_loss(given["teacher_logits"], given["student_logits"], 4.0)
        else:
            ours = losses.similarity_preserving_loss(
                given["teacher_features_nhwc"], given["student_features_nhwc"]
            )
        assert abs(number(ours) - entry["value"]) > 1e-3
        return
    names = list(entry["gradient_of_student_inputs"])
    inputs = [np.asarray(entry["inputs"][name], np.float64) for name in names]
    narrow = [value.astype(np.float32) for value in inputs]
    assert number(loss(*narrow)) == pytest.approx(entry["value"], rel=1e-5)
    assert number(loss(*inputs)) == pytest.approx(entry["value"], rel=1e-8)
    for name, found in zip(names, gradient(loss, *inputs), strict=True):
        expected = np.asarray(entry["gradient_of_student_inputs"][name])
        np.testing.assert_allclose(found, expected, atol=2e-8)


HARD = float(-np.mean(np.log(softmax(STUDENT)[range(4), TEACHER.argmax(-1)])))


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        (lambda: losses.hard_label_loss(TEACHER, STUDENT), HARD),
        (lambda: losses.dist_loss(TEACHER, STUDENT), 0.6080944379),
        (
            lambda: losses.kd_loss(
                losses.standardize_logits(TEACHER), losses.standardize_logits(STUDENT), 2.0
            ),
            0.1275699429,
        ),
    ],
)
def test_losses_on_the_small_example(loss: Any, value: float) -> None:
    assert number(loss()) == pytest.approx(value, abs=1e-7)


# --- Float64 NumPy ---


@settings(deadline=None, max_examples=40)
@given(seeds, st.floats(0.5, 20), st.integers(3, 12))
def test_decoupled_terms_are_numpys_and_add_up_to_plain_distillation(
    seed: int, temperature: float, classes: int
) -> None:
    teacher, student = 3 * random(seed, 6, classes), 3 * random(seed + 1, 6, classes)
    labels = np.random.default_rng(seed).integers(0, classes, 6)
    target, non_target = losses.decoupled_kd_terms(teacher, student, labels, temperature)
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    for row, label in enumerate(labels):
        p_y, q_y = p[row, label], q[row, label]
        tckd = p_y * np.log(p_y / q_y) + (1 - p_y) * np.log((1 - p_y) / (1 - q_y))
        rest_p, rest_q = (np.delete(x[row], label) / (1 - x[row, label]) for x in (p, q))
        nckd = (rest_p * np.log(rest_p / rest_q)).sum()
        scale = temperature**2
        assert float(target[row]) == pytest.approx(scale * tckd, rel=1e-6, abs=1e-9)
        assert float(non_target[row]) == pytest.approx(scale * nckd, rel=1e-6, abs=1e-9)
        plain = losses.kd_loss(teacher[row : row + 1], student[row : row + 1], temperature)
        whole = float(target[row]) + (1 - p_y) * float(non_target[row])
        assert number(plain) == pytest.approx(whole, rel=1e-6, abs=1e-9)


def test_rows_without_a_label_are_plain_distillation_to_the_decoupled_loss() -> None:
    labels = np.array([0, -1, -1, 3])
    mixed = number(losses.decoupled_kd_loss(TEACHER, STUDENT, labels, 4.0))
    rows = [
        number(
            losses.decoupled_kd_loss(TEACHER[i : i + 1], STUDENT[i : i + 1], labels[i : i + 1], 4.0)
        )
        if labels[i] >= 0
        else number(losses.kd_loss(TEACHER[i : i + 1], STUDENT[i : i + 1], 4.0))
        for i in range(4)
    ]
    assert mixed == pytest.approx(np.mean(rows), rel=1e-6)


def test_one_hot_labels_are_class_numbers() -> None:
    numbers = np.array([0, 1, 1, 3])
    ours = [
        number(losses.decoupled_kd_loss(TEACHER, STUDENT, labels, 4.0))
        for labels in (numbers, numbers[:, None], np.eye(5)[numbers])
    ]
    assert ours[0] == ours[1] == ours[2]


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_dist_is_numpys_and_blind_to_scale_and_shift_of_correlated_rows(seed: int) -> None:
    teacher, student = random(seed, 7, 5), random(seed + 1, 7, 5)
    p, q = softmax(teacher / 2), softmax(student / 2)
    rows = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p, q, strict=True)])
    columns = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, q.T, strict=True)])
    expected = 4 * (3 * (1 - rows) + 2 * (1 - columns))
    assert number(losses.dist_loss(teacher, student, 2.0, 3.0, 2.0)) == pytest.approx(
        expected, rel=1e-4
    )
    scales, shifts = np.exp(random(seed + 2, 7, 1)), random(seed + 3, 7, 1)
    of_rows = losses.pearson_correlation(p, q * scales + shifts)
    np.testing.assert_allclose(of_rows, losses.pearson_correlation(p, q), atol=1e-5)
    of_columns = losses.pearson_correlation(p.T, q.T * scales.T + shifts.T, axis=0)
    np.testing.assert_allclose(of_columns, of_rows, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(seeds, st.floats(0.1, 50), st.floats(-100, 100))
def test_standardized_logits_do_not_depend_on_an_affine_map(
    seed: int, scale: float, shift: float
) -> None:
    logits = random(seed, 4, 6)
    found = np.asarray(losses.standardize_logits(logits * scale + shift))
    np.testing.assert_allclose(found, np.asarray(losses.standardize_logits(logits)), atol=1e-4)
    np.testing.assert_allclose(found.mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(-1, ddof=1), 1, atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_attention_transfer_does_not_depend_on_the_order_of_channels(seed: int) -> None:
    teacher, student = random(seed, 3, 4, 4, 6), random(seed + 1, 3, 4, 4, 5)
    mixed = student[..., np.random.default_rng(seed).permutation(5)]
    plain = number(losses.attention_transfer_loss(teacher, student))
    assert number(losses.attention_transfer_loss(teacher, mixed)) == pytest.approx(plain, rel=1e-5)
    maps = [(f**2).mean(-1).reshape(3, -1) for f in (teacher, student)]
    maps = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in maps]
    assert plain == pytest.approx(((maps[0] - maps[1]) ** 2).mean(), rel=1e-5)


def test_the_larger_map_is_averaged_to_the_smaller_ones_size() -> None:
    teacher, student = random(0, 2, 6, 4, 3), random(1, 2, 3, 2, 5)
    pooled = teacher.reshape(2, 3, 2, 2, 2, 3).mean((2, 4))
    expected = number(losses.attention_transfer_loss(pooled, student))
    assert number(losses.attention_transfer_loss(teacher, student)) == pytest.approx(expected)
    other_way = number(losses.attention_transfer_loss(student, pooled))
    assert number(losses.attention_transfer_loss(student, teacher)) == pytest.approx(other_way)


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_similarity_does_not_depend_on_a_rotation_of_the_features(seed: int) -> None:
    teacher, student = random(seed, 6, 7), random(seed + 1, 6, 4)
    rotation = np.linalg.qr(random(seed + 2, 4, 4))[0]
    plain = number(losses.similarity_preserving_loss(teacher, student))
    rotated = number(losses.similarity_preserving_loss(teacher, student @ rotation))
    assert rotated == pytest.approx(plain, rel=1e-4)
    grams = [f @ f.T for f in (teacher, student)]
    grams = [g / np.linalg.norm(g, axis=1, keepdims=True) for g in grams]
    assert plain == pytest.approx(((grams[0] - grams[1]) ** 2).sum() / 36, rel=1e-5)


@settings(deadline=None, max_examples=15)
@given(seeds)
def test_relations_are_numpys_and_do_not_depend_on_size_place_or_rotation(seed: int) -> None:
    teacher, student = random(seed, 5, 6), random(seed + 1, 5, 3)
    plain = number(losses.relational_loss(teacher, student))
    rotation = np.linalg.qr(random(seed + 2, 3, 3))[0]
    moved = number(losses.relational_loss(teacher, 3 * student @ rotation + 1))
    assert moved == pytest.approx(plain, rel=1e-3)

    def relations(f: NDArray) -> tuple[NDArray, NDArray]:
        distances = np.linalg.norm(f[:, None] - f[None], axis=-1)
        angles = np.zeros((5, 5, 5))
        for i in range(5):
            for j in range(5):
                for k in range(5):
                    if i not in (j, k):
                        a, b = f[j] - f[i], f[k] - f[i]
                        angles[i, j, k] = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        return distances / (distances.sum() / 20), angles

    def huber(x: NDArray) -> float:
        return float(np.where(np.abs(x) <= 1, x**2 / 2, np.abs(x) - 0.5).mean())

    pairs = list(zip(relations(teacher), relations(student), strict=True))
    expected = 25 * huber(pairs[0][1] - pairs[0][0]) + 50 * huber(pairs[1][1] - pairs[1][0])
    assert plain == pytest.approx(expected, rel=1e-4)


@settings(deadline=None, max_examples=15)
@given(seeds)
def test_hints_are_numpys_mean_squared_difference(seed: int) -> None:
    teacher, student = random(seed, 3, 4, 2), random(seed + 1, 3, 4, 2)
    expected = np.mean((teacher - student) ** 2)
    assert number(losses.hint_loss(teacher, student)) == pytest.approx(expected, rel=1e-5)


def test_tokens_are_places_of_which_there_must_be_as_many() -> None:
    teacher, student = random(0, 2, 5, 3), random(1, 2, 5, 4)
    strengths = [(each**2).mean(-1) for each in (teacher, student)]
    one, other = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in strengths)
    found = number(losses.attention_transfer_loss(teacher, student))
    assert found == pytest.approx(np.mean((one - other) ** 2), rel=1e-5)
    with pytest.raises(ModelError, match="as many tokens of both, got 5 from the teacher and 4"):
        losses.attention_transfer_loss(teacher, student[:, :4])


@pytest.mark.parametrize("name", ["dist", "relational"])
def test_a_single_last_example_has_no_others_and_costs_nothing(name: str) -> None:
    """As where the number of examples leaves one over: what is compiled does not know it before."""
    compare = losses.relational_loss if name == "relational" else losses.dist_loss

    @tf.function(input_signature=[tf.TensorSpec([None, 5], tf.float32)] * 2)
    def value_and_gradient(teacher: Any, student: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(student)
            value = compare(teacher, student)
        return value, tape.gradient(value, student)

    value, found = value_and_gradient(TEACHER[:1].astype("float32"), STUDENT[:1].astype("float32"))
    rows = 0.0
    if name == "dist":
        p, q = softmax(TEACHER[:1]), softmax(STUDENT[:1])
        rows = 1 - np.corrcoef(p[0], q[0])[0, 1]
    assert number(value) == pytest.approx(rows, abs=1e-5)
    assert np.isfinite(found).all()
    several, _ = value_and_gradient(TEACHER.astype("float32"), STUDENT.astype("float32"))
    assert number(several) == pytest.approx(number(compare(TEACHER, STUDENT)), rel=1e-4)


# --- Several teachers ---


def test_teachers_are_averaged_as_probabilities_not_as_logits() -> None:
    mixed = np.asarray(losses.mean_teacher_logits([TEACHER, SECOND_TEACHER], 4.0))
    expected = (softmax(TEACHER / 4) + softmax(SECOND_TEACHER / 4)) / 2
    np.testing.assert_allclose(softmax(mixed / 4), expected, rtol=1e-6)
    of_logits = softmax((TEACHER + SECOND_TEACHER) / 8)
    assert np.abs(softmax(mixed / 4) - of_logits).max() > 1e-3


def test_the_gradient_of_the_mean_teacher_is_that_of_the_mean_loss() -> None:
    mixed = losses.mean_teacher_logits([TEACHER, SECOND_TEACHER], 4.0)
    of_mean = gradient(lambda student: losses.kd_loss(mixed, student, 4.0), STUDENT)[0]
    mean = gradient(
        lambda student: (
            sum(losses.kd_loss(teacher, student, 4.0) for teacher in (TEACHER, SECOND_TEACHER)) / 2
        ),
        STUDENT,
    )[0]
    np.testing.assert_allclose(of_mean, mean, atol=1e-7)


@settings(deadline=None, max_examples=20)
@given(seeds, st.integers(2, 4))
def test_confidence_weights_are_numpys(seed: int, count: int) -> None:
    teachers = [2 * random(seed + k, 5, 4) for k in range(count)]
    labels = np.array([0, 1, 2, 3, -1])
    found = np.asarray(losses.confidence_weights(teachers, labels))
    probabilities = [softmax(logits) for logits in teachers]
    surprise = np.array(
        [
            [
                -np.log(p[i, labels[i]]) if labels[i] >= 0 else -(p[i] * np.log(p[i])).sum()
                for i in range(5)
            ]
            for p in probabilities
        ]
    )
    exponents = np.exp(surprise) / np.exp(surprise).sum(0)
    np.testing.assert_allclose(found, (1 - exponents) / (count - 1), rtol=1e-6)
    np.testing.assert_allclose(found.sum(0), 1, rtol=1e-6)


def test_weighted_teachers_are_mixed_by_example() -> None:
    weights = np.array([[0.2, 1.0, 0.5, 0.0], [0.8, 0.0, 0.5, 1.0]])
    mixed = np.asarray(losses.mean_teacher_logits([TEACHER, SECOND_TEACHER], 1.0, weights))
    expected = weights[0][:, None] * softmax(TEACHER) + weights[1][:, None] * softmax(
        SECOND_TEACHER
    )
    np.testing.assert_allclose(softmax(mixed), expected, rtol=1e-6)


# --- For every loss of teacher's and student's logits or features ---

OF_LOGITS = {
    "hard labels": losses.hard_label_loss,
    "decoupled": lambda t, s: losses.decoupled_kd_loss(t, s, np.zeros(t.shape[0], int), 4.0),
    "standardized": lambda t, s: losses.kd_loss(
        losses.standardize_logits(t), losses.standardize_logits(s), 2.0
    ),
    "dist": losses.dist_loss,
    "token": lambda t, s: losses.distillation_token_loss(s, s, t, np.zeros(t.shape[0], int)),
}
OF_FEATURES = {
    "hint": losses.hint_loss,
    "attention": losses.attention_transfer_loss,
    "similarity": losses.similarity_preserving_loss,
    "relational": losses.relational_loss,
}


@pytest.mark.parametrize("name", ["decoupled", "standardized", "dist"])
def test_a_loss_of_logits_is_zero_at_agreement(name: str) -> None:
    assert number(OF_LOGITS[name](TEACHER, TEACHER)) == pytest.approx(0, abs=2e-5)
    assert number(OF_LOGITS[name](TEACHER, STUDENT)) > 1e-3


@pytest.mark.parametrize("name", list(OF_FEATURES))
def test_a_loss_of_features_is_zero_at_agreement(name: str) -> None:
    features = random(3, 5, 4, 4, 3)
    assert number(OF_FEATURES[name](features, features)) == pytest.approx(0, abs=1e-6)
    assert number(OF_FEATURES[name](features, random(4, 5, 4, 4, 3))) > 1e-4


@pytest.mark.parametrize("name", list(OF_LOGITS))
@pytest.mark.parametrize("size", [0.0, 1000.0])
def test_gradients_are_finite_at_extreme_logits(name: str, size: float) -> None:
    teacher, student = (np.sign(random(seed, 6, 5)).astype(np.float32) * size for seed in (0, 1))
    found = gradient(lambda logits: OF_LOGITS[name](teacher, logits), student)[0]
    assert np.isfinite(found).all()
    assert np.isfinite(number(OF_LOGITS[name](teacher, student)))


@pytest.mark.parametrize("lowest", [-1e6, -1e9, -1e20, -3e38])
@pytest.mark.parametrize("at", [0, 1, 4])
def test_a_class_that_a_network_rules_out_changes_nothing(lowest: float, at: int) -> None:
    without = [random(seed, 4, 4).astype(np.float32) for seed in (0, 1)]
    teacher, student = (np.insert(logits, at, lowest, axis=1) for logits in without)
    kept = np.arange(4)  # the true class of each row, among those that are left
    labels = np.where(kept >= at, kept + 1, kept)

    def loss(of: list[np.ndarray], true: np.ndarray) -> float:
        return number(losses.decoupled_kd_loss(*of, true, 4.0))

    assert loss([teacher, student], labels) == pytest.approx(loss(without, kept), rel=1e-5)
    found = gradient(lambda z: losses.decoupled_kd_loss(teacher, z, labels, 4.0), student)[0]
    expected = gradient(lambda z: losses.decoupled_kd_loss(without[0], z, kept, 4.0), without[1])
    np.testing.assert_allclose(np.delete(found, at, axis=1), expected[0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", list(OF_FEATURES))
@pytest.mark.parametrize("size", [0.0, 1000.0])
def test_gradients_are_finite_at_extreme_features(name: str, size: float) -> None:
    teacher, student = (size * random(seed, 4, 3, 3, 2).astype(np.float32) for seed in (0, 1))
    found = gradient(lambda features: OF_FEATURES[name](teacher, features), student)[0]
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", [*OF_LOGITS, *OF_FEATURES])
def test_no_gradient_reaches_the_teacher_and_a_compiled_function_agrees(name: str) -> None:
    loss = {**OF_LOGITS, **OF_FEATURES}[name]
    shape = (4, 5) if name in OF_LOGITS else (4, 3, 3, 2)
    teacher, student = (tf.constant(random(seed, *shape).astype(np.float32)) for seed in (0, 1))
    with tf.GradientTape() as tape:
        tape.watch(teacher)
        value = loss(teacher, student)
    assert tape.gradient(value, teacher) is None
    compiled = tf.function(loss, autograph=False)(teacher, student)
    assert number(compiled) == pytest.approx(number(value), rel=1e-5)


def test_what_cannot_be_computed_is_refused_in_words() -> None:
    with pytest.raises(ModelError, match="3 classes or more, got 2"):
        losses.decoupled_kd_loss(TEACHER[:, :2], STUDENT[:, :2], [0, 1, 0, 1], 4.0)
    with pytest.raises(ModelError, match="needs 2 or more, got 1"):
        losses.dist_loss(TEACHER[:1], STUDENT[:1])
    with pytest.raises(ModelError, match="features of one shape"):
        losses.hint_loss(random(0, 2, 4), random(0, 2, 3))
    with pytest.raises(ModelError, match="feature maps"):
        losses.attention_transfer_loss(random(0, 2, 4), random(0, 2, 4))
    with pytest.raises(ConfigError, match="target_weight must be at least 0, got -1"):
        losses.decoupled_kd_loss(TEACHER, STUDENT, [0, 1, 1, 3], 4.0, target_weight=-1)
    with pytest.raises(ConfigError, match="temperature must be above 0, got 0"):
        losses.dist_loss(TEACHER, STUDENT, temperature=0)
    with pytest.raises(ModelError, match=r"weights of teachers must be at least 0, got -0\.5"):
        losses.mean_teacher_logits([TEACHER, SECOND_TEACHER], 4.0, weights=[-0.5, 1.5])
    with pytest.raises(ModelError, match="at least one teacher, got none"):
        losses.mean_teacher_logits([], 4.0)


def test_masked_tokens_alone_count() -> None:
    logits = random(0, 2, 3, 4)
    labels = np.array([[-100, 2, -100], [1, -100, -100]])
    logs = np.log(softmax(logits))
    expected = -(logs[0, 1, 2] + logs[1, 0, 1]) / 2
    assert number(losses.masked_language_model_loss(labels, logits)) == pytest.approx(expected)
    assert number(losses.masked_language_model_loss(np.full((2, 3), -100), logits)) == 0
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    changed = logits.copy()
    changed[0, 2] += 100
    both = [losses.token_kd_loss(random(1, 2, 3, 4), given, mask) for given in (logits, changed)]
    assert number(both[0]) == number(both[1])


def test_smoothing_leaves_out_rows_without_a_label() -> None:
    labels = np.array([0, -1, 1, -1])
    kept = losses.smoothed_cross_entropy(labels[[0, 2]], STUDENT[[0, 2]], 0.1)
    assert number(losses.smoothed_cross_entropy(labels, STUDENT, 0.1)) == pytest.approx(
        number(kept)
    )
    plain = keras.losses.sparse_categorical_crossentropy(
        labels[[0, 2]], STUDENT[[0, 2]], from_logits=True
    )
    assert number(losses.smoothed_cross_entropy(labels, STUDENT, 0.0)) == pytest.approx(
        float(np.mean(plain)), rel=1e-6
    )


@pytest.mark.parametrize("hard", [False, True])
def test_pseudo_labels_of_a_mixed_batch_are_noisy_students_loss(hard: bool) -> None:
    random = np.random.default_rng(3)
    teacher, student = random.normal(size=(2, 9, 5), scale=3)
    labels = np.array([2, -1, -1, 0, -1, 4, -1, -1, -1])
    rows, others = labels >= 0, labels < 0
    apart = losses.noisy_student_loss(
        labels[rows], student[rows], teacher[others], student[others], 3.0, 0.1, hard
    )
    together = losses.pseudo_label_loss(labels, teacher, student, 3.0, 0.1, hard)
    assert float(together) == pytest.approx(float(apart), rel=1e-9)
    # What the teacher says of labelled rows, and a hidden label, count for nothing.
    teacher[rows] = 0
    assert float(losses.pseudo_label_loss(labels, teacher, student, 3.0, 0.1, hard)) == float(
        together
    )
    none = losses.pseudo_label_loss(None, teacher, student, 1.0, 0.0, hard)
    all_hidden = losses.pseudo_label_loss(-np.ones(9, int), teacher, student, 1.0, 0.0, hard)
    assert float(none) == float(all_hidden)
