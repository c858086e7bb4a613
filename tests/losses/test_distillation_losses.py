"""The losses, held against an oracle in extended precision that shares no code with them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kdcore.errors import ConfigError, ModelError
from kdcore.losses import distillation_loss, kd_loss, kd_loss_per_example, soften

temperatures = st.floats(0.5, 100)


@st.composite
def logit_pairs(draw: st.DrawFn, largest: float = 1000.0) -> tuple[NDArray, NDArray]:
    """Teacher and student logits as float32 [batch, classes], each of a size from thousandths to
    ``largest``.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 8)), draw(st.integers(2, 20)))
    sizes = [10.0 ** draw(st.floats(-3, np.log10(largest))) for _ in range(2)]
    teacher, student = (np.clip(rng.normal(size=shape) * size, -largest, largest) for size in sizes)
    return teacher.astype(np.float32), student.astype(np.float32)


def log_softmax(logits: NDArray) -> NDArray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def oracle(teacher_logits: NDArray, student_logits: NDArray, temperature: float) -> NDArray:
    """T² Σ p_t (log p_t - log p_s) of each row, in NumPy's widest float."""
    teacher = log_softmax(teacher_logits.astype(np.longdouble) / np.longdouble(temperature))
    student = log_softmax(student_logits.astype(np.longdouble) / np.longdouble(temperature))
    return np.longdouble(temperature) ** 2 * (np.exp(teacher) * (teacher - student)).sum(axis=-1)


def gradient(teacher_logits: NDArray, student_logits: NDArray, temperature: float) -> NDArray:
    """The gradient of kd_loss with respect to the student's logits."""
    student = tf.constant(student_logits)
    with tf.GradientTape() as tape:
        tape.watch(student)
        loss = kd_loss(teacher_logits, student, temperature)
    return tape.gradient(loss, student).numpy()


def random_logits(
    size: float = 1.0, rows: int = 5, classes: int = 10, seed: int = 0
) -> tuple[NDArray, NDArray]:
    pair = np.random.default_rng(seed).normal(size=(2, rows, classes)) * size
    return pair[0].astype(np.float32), pair[1].astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(logit_pairs(), temperatures)
def test_kd_loss_is_the_oracles(logits: tuple[NDArray, NDArray], temperature: float) -> None:
    rows = oracle(*logits, temperature)
    np.testing.assert_allclose(
        kd_loss_per_example(*logits, temperature), rows.astype(float), rtol=1e-5, atol=1e-9
    )
    np.testing.assert_allclose(
        kd_loss(*logits, temperature), float(rows.mean()), rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize("size", [0.01, 0.1, 1.0])
def test_small_logits_at_a_high_temperature_keep_their_digits(size: float) -> None:
    # The absolute tolerance of other tests would hide what T² = 10,000 makes of float32's rounding.
    teacher, student = random_logits(size)
    want = float(oracle(teacher, student, 100).mean())
    assert want > 0
    np.testing.assert_allclose(kd_loss(teacher, student, 100), want, rtol=1e-6)


@settings(deadline=None, max_examples=30)
@given(logit_pairs(), temperatures)
def test_kd_loss_is_zero_at_equality_and_never_negative(
    logits: tuple[NDArray, NDArray], temperature: float
) -> None:
    teacher, student = logits
    assert float(kd_loss(teacher, teacher, temperature)) == 0
    assert float(kd_loss(teacher, student, temperature)) >= 0
    nearly = np.nextafter(teacher, np.inf, dtype=np.float32)
    assert np.all(kd_loss_per_example(teacher, nearly, temperature) >= 0)


@settings(deadline=None, max_examples=30)
@given(logit_pairs(), temperatures, st.integers(-100, 100))
def test_a_constant_added_to_a_row_changes_nothing(
    logits: tuple[NDArray, NDArray], temperature: float, shift: int
) -> None:
    teacher, student = (pair.astype(np.float64) for pair in logits)
    want = kd_loss(teacher, student, temperature)
    np.testing.assert_allclose(
        kd_loss(teacher + shift, student, temperature), want, rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(
        kd_loss(teacher, student + shift, temperature), want, rtol=1e-6, atol=1e-6
    )


@settings(deadline=None, max_examples=40)
@given(logit_pairs(), temperatures)
def test_the_gradient_is_temperature_times_the_difference(
    logits: tuple[NDArray, NDArray], temperature: float
) -> None:
    teacher, student = logits
    found = gradient(teacher, student, temperature)
    assert np.all(np.isfinite(found))
    teacher_p, student_p = (
        np.exp(log_softmax(z.astype(np.longdouble) / np.longdouble(temperature))) for z in logits
    )
    want = temperature * (student_p - teacher_p) / len(teacher)
    np.testing.assert_allclose(found, want.astype(float), rtol=1e-5, atol=1e-7 * temperature)


@pytest.mark.parametrize("temperature", [0.5, 1, 10])
def test_a_confidently_wrong_student_is_pulled_back(temperature: float) -> None:
    teacher = np.array([[1000, -1000, -1000]], np.float32)
    student = np.array([[-1000, 1000, -1000]], np.float32)
    np.testing.assert_allclose(
        gradient(teacher, student, temperature), [[-temperature, temperature, 0]], atol=1e-6
    )


def test_moderate_logits_give_what_keras_gives_from_probabilities() -> None:
    teacher, student = random_logits(2.0)
    variable = tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        probabilities = (tf.nn.softmax(teacher / 4.0), tf.nn.softmax(variable / 4.0))
        keras_loss = keras.losses.KLDivergence()(*probabilities) * 4.0**2
    np.testing.assert_allclose(kd_loss(teacher, student, 4), keras_loss, rtol=1e-4)
    np.testing.assert_allclose(
        gradient(teacher, student, 4), tape.gradient(keras_loss, variable), rtol=1e-3, atol=1e-5
    )


def test_teacher_and_student_do_not_commute() -> None:
    teacher, student = random_logits(3.0)
    forward, backward = float(kd_loss(teacher, student, 2)), float(kd_loss(student, teacher, 2))
    assert abs(forward - backward) > 0.01 * forward


def test_no_gradient_flows_to_the_teacher() -> None:
    teacher, student = map(tf.constant, random_logits())
    with tf.GradientTape() as tape:
        tape.watch(teacher)
        loss = kd_loss(teacher, student, 2)
    assert tape.gradient(loss, teacher) is None


def test_the_mean_is_over_rows_not_elements() -> None:
    teacher, student = random_logits()
    np.testing.assert_allclose(
        kd_loss(np.tile(teacher, (3, 1)), np.tile(student, (3, 1)), 2), kd_loss(teacher, student, 2)
    )
    # Classes that neither model believes in leave the loss alone; a mean over elements would
    # shrink.
    padding = np.full((len(teacher), 10), -1000, np.float32)
    np.testing.assert_allclose(
        kd_loss(np.hstack([teacher, padding]), np.hstack([student, padding]), 2),
        kd_loss(teacher, student, 2),
        rtol=1e-6,
    )


def test_the_gradients_size_hardly_depends_on_a_high_temperature() -> None:
    teacher, student = random_logits()
    sizes = [
        np.linalg.norm(gradient(teacher, student, temperature)) for temperature in (20, 50, 100)
    ]
    assert sizes[0] > 0.01
    np.testing.assert_allclose(
        sizes, sizes[0], rtol=0.05
    )  # without T² the last would be a 25th of the first


def test_a_compiled_function_of_unknown_batch_size_agrees() -> None:
    teacher, student = random_logits()
    signature = [tf.TensorSpec([None, 10]), tf.TensorSpec([None, 10]), tf.TensorSpec([])]
    compiled = tf.function(kd_loss, input_signature=signature)
    np.testing.assert_allclose(
        compiled(teacher, student, 5.0), kd_loss(teacher, student, 5), rtol=1e-6
    )


def test_half_precision_logits_are_widened_and_double_ones_kept() -> None:
    teacher, student = (tf.cast(logits, tf.bfloat16) for logits in random_logits(3.0))
    loss = kd_loss(teacher, student, 10)
    assert loss.dtype == tf.float32
    want = oracle(
        tf.cast(teacher, tf.float32).numpy(), tf.cast(student, tf.float32).numpy(), 10
    ).mean()
    np.testing.assert_allclose(loss, float(want), rtol=1e-6)
    assert soften(teacher, 2).dtype == tf.float32
    doubles = [logits.astype(np.float64) for logits in random_logits(3.0)]
    np.testing.assert_allclose(
        kd_loss(*doubles, 10), float(oracle(*doubles, 10).mean()), rtol=1e-12
    )


@settings(deadline=None, max_examples=30)
@given(logit_pairs(), temperatures)
def test_soften_is_a_distribution_and_the_oracles(
    logits: tuple[NDArray, NDArray], temperature: float
) -> None:
    softened = np.asarray(soften(logits[0], temperature))
    want = np.exp(log_softmax(logits[0].astype(np.longdouble) / np.longdouble(temperature)))
    np.testing.assert_allclose(softened, want.astype(float), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(softened.sum(axis=-1), 1, rtol=1e-5)


def test_soften_goes_from_sharp_to_uniform() -> None:
    logits = [[3.0, 1.0, 0.0]]
    np.testing.assert_allclose(soften(logits, 0.01), [[1, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(soften(logits, 1000), np.full((1, 3), 1 / 3), atol=1e-3)


@pytest.mark.parametrize(
    ("temperature", "message"),
    [
        (-1, "temperature must be above 0, got -1"),
        (0, "temperature must be above 0, got 0"),
        (float("nan"), "temperature must be a finite number, got nan"),
        (float("inf"), "temperature must be a finite number, got inf"),
        ("3", "temperature must be a number, got '3'"),
        (True, "temperature must be a number, got True"),
        (None, "temperature must be a number, got None"),
    ],
)
def test_a_bad_temperature_is_refused_in_words(temperature: object, message: str) -> None:
    teacher, student = random_logits()
    for refused in (
        lambda: soften(teacher, temperature),
        lambda: kd_loss(teacher, student, temperature),
    ):
        with pytest.raises(ConfigError) as caught:
            refused()
        assert str(caught.value) == message


@pytest.mark.parametrize("shape", [(5, 9), (1, 10), (10,), (5, 10, 1)])
def test_shapes_that_differ_are_refused_not_broadcast(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError) as caught:
        kd_loss(np.zeros((5, 10), np.float32), np.zeros(shape, np.float32), 2)
    assert "[5, 10] from the teacher" in str(caught.value)
    assert f"{list(shape)} from the student" in str(caught.value)


def test_alpha_weights_the_true_labels() -> None:
    assert distillation_loss(10.0, 2.0, 0.25) == 4.0
    assert distillation_loss(10.0, float("nan"), 1) == 10.0
    assert distillation_loss(float("nan"), 2.0, 0) == 2.0


@pytest.mark.parametrize(
    ("alpha", "message"),
    [
        (-0.1, "alpha must be at least 0, got -0.1"),
        (1.5, "alpha must be at most 1, got 1.5"),
        (float("nan"), "alpha must be a finite number, got nan"),
    ],
)
def test_a_bad_alpha_is_refused_in_words(alpha: float, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        distillation_loss(1.0, 1.0, alpha)
    assert str(caught.value) == message
