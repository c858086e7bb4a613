"""Alpha's numbers against independent ones: finite differences, brute force, and the library's own
loss.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from kdcore.analysis.alpha import angle, gradients, landscape, losses, mixed_target, steps
from kdcore.errors import ConfigError

QUICK = settings(deadline=None, max_examples=80, derandomize=True)
alphas = st.floats(0, 1)
temperatures = st.floats(0.3, 30)


@st.composite
def examples(draw: st.DrawFn, classes: tuple[int, int] = (2, 7)) -> tuple[np.ndarray, ...]:
    count = draw(st.integers(*classes))
    logits = st.lists(st.floats(-9, 9), min_size=count, max_size=count).map(np.array)
    return draw(logits), draw(logits), np.array(draw(st.integers(0, count - 1)))


def independent(
    z: np.ndarray, v: np.ndarray, y: int, alpha: float, temperature: float
) -> tuple[float, float]:
    """Both weighted losses, written down once more."""
    p, log_q = softmax(v / temperature), log_softmax(z / temperature)
    apart = float(np.sum(p * (log_softmax(v / temperature) - log_q)))
    return -alpha * float(log_softmax(z)[y]), (1 - alpha) * temperature**2 * apart


@QUICK
@given(examples(), alphas, temperatures)
def test_losses_are_those_of_an_independent_formula(
    example: tuple, alpha: float, temperature: float
) -> None:
    z, v, y = example
    found = losses(z, v, int(y), alpha, temperature)
    expected = independent(z, v, int(y), alpha, temperature)
    assert (found.label, found.teacher) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert found.total == found.label + found.teacher


@QUICK
@given(examples(), alphas, temperatures)
def test_gradients_are_the_losses_finite_differences_and_sum_to_zero(
    example: tuple, alpha: float, temperature: float
) -> None:
    z, v, y = example
    found, width = gradients(z, v, int(y), alpha, temperature), 1e-5
    for at in range(len(z)):
        aside = width * np.eye(len(z))[at]
        above, below = (
            independent(place, v, int(y), alpha, temperature) for place in (z + aside, z - aside)
        )
        for part, mine in enumerate((found.label, found.teacher)):
            slope = (above[part] - below[part]) / (2 * width)
            assert mine[at] == pytest.approx(slope, rel=1e-5, abs=1e-5 * temperature)
    assert found.label.sum() == pytest.approx(0, abs=1e-12)
    assert found.teacher.sum() == pytest.approx(0, abs=1e-11)
    pulled = steps(z, v, int(y), alpha, temperature)
    np.testing.assert_array_equal(pulled.total, pulled.label + pulled.teacher)
    np.testing.assert_allclose(pulled.total, -found.total, atol=1e-15)


@QUICK
@given(examples(), temperatures, temperatures)
def test_alpha_1_is_the_label_alone_at_every_temperature(
    example: tuple, one: float, other: float
) -> None:
    z, v, y = example
    first, second = (gradients(z, v, int(y), 1.0, each) for each in (one, other))
    np.testing.assert_array_equal(first.total, first.label)
    np.testing.assert_array_equal(first.total, second.total)
    assert losses(z, v, int(y), 1.0, one).total == losses(z, v, int(y), 1.0, other).total


@QUICK
@given(examples(), temperatures)
def test_alpha_0_never_asks_for_the_true_class(example: tuple, temperature: float) -> None:
    z, v, _ = example
    found = [gradients(z, v, label, 0.0, temperature).total for label in range(len(z))]
    for each in found:
        np.testing.assert_array_equal(each, found[0])
    every = {losses(z, v, label, 0.0, temperature).total for label in range(len(z))}
    assert len(every) == 1


@QUICK
@given(examples(), alphas, temperatures)
def test_the_sum_lies_between_the_whole_arrows(
    example: tuple, alpha: float, temperature: float
) -> None:
    z, v, y = example
    label = steps(z, v, int(y), 1.0, temperature).label
    teacher = steps(z, v, int(y), 0.0, temperature).teacher
    both = steps(z, v, int(y), alpha, temperature).total
    np.testing.assert_allclose(both, alpha * label + (1 - alpha) * teacher, atol=1e-12)


@QUICK
@given(examples(), alphas, temperatures)
def test_the_mixed_target_is_a_distribution_and_the_answer_of_no_gradient_at_t_1(
    example: tuple, alpha: float, temperature: float
) -> None:
    _, v, y = example
    target = mixed_target(v, int(y), alpha, temperature)
    assert target.total.sum() == pytest.approx(1)
    assert target.label.sum() == pytest.approx(alpha)
    wanted = mixed_target(v, int(y), alpha, 1.0).total
    if wanted.min() > 1e-9:
        left = gradients(np.log(wanted), v, int(y), alpha, 1.0).total
        np.testing.assert_allclose(left, 0, atol=1e-9)


def test_the_loss_is_the_librarys_own() -> None:
    from kdcore.losses import distillation_loss, kd_loss

    z, v = np.random.default_rng(3).normal(size=(2, 1, 4)) * 3
    for alpha, temperature in ((0.0, 4.0), (0.3, 1.0), (0.7, 9.0), (1.0, 2.0)):
        hard = np.float32(-log_softmax(z[0])[2])
        soft = kd_loss(v.astype("float32"), z.astype("float32"), temperature)
        mine = losses(z[0], v[0], 2, alpha, temperature).total
        assert float(distillation_loss(hard, soft, alpha)) == pytest.approx(mine, rel=1e-5)


# --- the landscape ---


@QUICK
@given(examples((2, 6)), alphas, temperatures)
def test_the_landscape_is_the_loss_at_each_place(
    example: tuple, alpha: float, temperature: float
) -> None:
    z, v, y = example
    label, other = int(y), (int(y) + 1) % len(z)
    found = landscape(z, v, label, other, alpha, temperature, points=5)
    for row, second in enumerate(found.other_axis):
        for column, first in enumerate(found.label_axis):
            place = z.copy()
            place[label], place[other] = first, second
            expected = sum(independent(place, v, label, alpha, temperature))
            assert found.loss[row, column] == pytest.approx(
                expected, rel=1e-7, abs=1e-9 * temperature**2
            )
    assert found.least_loss <= found.loss.min() + 1e-9
    assert found.student == (z[label], z[other])


@QUICK
@given(examples((3, 6)), temperatures)
def test_at_the_teachers_target_the_two_classes_have_its_probabilities(
    example: tuple, temperature: float
) -> None:
    z, v, y = example
    label, other = int(y), (int(y) + 1) % len(z)
    found = landscape(z, v, label, other, 0.0, temperature, points=3)
    place = z.copy()
    place[label], place[other] = found.teacher_target
    pair = [label, other]
    np.testing.assert_allclose(
        softmax(place / temperature)[pair], softmax(v / temperature)[pair], atol=1e-9
    )
    at_target = independent(place, v, label, 0.0, temperature)[1]
    assert at_target <= found.least_loss + 1e-7 * temperature**2


def test_with_two_classes_the_target_is_the_nearest_of_a_line() -> None:
    z, v = np.array([1.0, 0.0]), np.array([3.0, -2.0])
    found = landscape(z, v, 0, 1, 0.0, 2.0)
    first, second = found.teacher_target
    assert first - second == pytest.approx(5)
    assert first + second == pytest.approx(z.sum()), "across the line, not along it"
    assert found.least_loss == pytest.approx(0, abs=1e-9)
    assert found.least == found.teacher_target
    mixed = landscape(z, v, 0, 1, 0.5, 2.0)
    assert sum(mixed.least) == pytest.approx(z.sum()), "across the line here, too"
    assert mixed.least_is == "inside"


def test_true_labels_alone_are_least_at_the_edge_and_the_square_stays_where_it_is() -> None:
    z, v = np.array([1.0, 2.0, 0.0]), np.array([2.0, 3.5, -1.0])
    hard, soft, both = (landscape(z, v, 0, 1, alpha, 4.0) for alpha in (1.0, 0.0, 0.5))
    assert hard.least_is == "edge"
    assert hard.least == pytest.approx(hard.label_target)
    assert hard.label_target == (hard.label_axis[-1], hard.other_axis[0])
    assert soft.least_is == "inside"
    assert soft.least == pytest.approx(soft.teacher_target, abs=1e-4)
    for each in (soft, both):
        np.testing.assert_array_equal(each.label_axis, hard.label_axis)
        np.testing.assert_array_equal(each.other_axis, hard.other_axis)
    assert soft.least[0] < both.least[0], "the label draws the true class up"


def test_angles_in_degrees() -> None:
    assert angle([1, 0], [0, 2]) == pytest.approx(90)
    assert angle([1, 1], [-3, -3]) == pytest.approx(180)
    assert angle([1e-100, 0], [5, 0]) == pytest.approx(0)
    assert np.isnan(angle([0, 0], [1, 0]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 1.5}, "alpha must be from 0 to 1, got 1.5"),
        ({"alpha": float("nan")}, "alpha must be from 0 to 1, got nan"),
        ({"temperature": -1}, "temperature must be above 0, got -1"),
        ({"label": 3}, "label must be between 0 and 2, got 3"),
        ({"teacher_logits": [1.0, 2.0]}, "student_logits must be of the teacher's shape"),
        ({"student_logits": [np.nan, 1, 2]}, "student_logits must be finite"),
        ({"other": 0}, "other must be a class from 0 to 2 but 0, the true one, got 0"),
        ({"points": 1}, "points must be at least 2, got 1"),
    ],
)
def test_bad_input_is_refused_in_the_one_form(changes: dict, message: str) -> None:
    fine = dict(
        student_logits=[0.0, 1, 2],
        teacher_logits=[2.0, 1, 0],
        label=0,
        other=1,
        alpha=0.5,
        temperature=2.0,
    )
    with pytest.raises(ConfigError, match=message):
        landscape(**{**fine, **changes})
