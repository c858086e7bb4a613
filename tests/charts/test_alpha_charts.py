"""What the figures of alpha show, read back from the figures."""

import re

import numpy as np
import plotly.graph_objects as go
import pytest
from scipy.special import softmax

from kdcore.analysis.alpha import landscape, mixed_target, steps
from kdcore.analysis.alpha_series import Outcome, Point
from kdcore.charts.alpha import accuracy_over_alpha, loss_landscape, pulls, targets
from kdcore.errors import ConfigError

NAMES = ("cat", "<b>dog</b>", "ox")
STUDENT = np.array([0.2, 1.0, -0.5])
TEACHER = np.array([2.0, 1.5, -3.0])


def traces(figure: go.Figure) -> dict[str, go.Scatter]:
    found = {trace.uid: trace for trace in figure.data}
    assert len(found) == len(figure.data), "uids repeat"
    assert all(re.fullmatch(r"[\w-]+", uid) for uid in found), "Plotly cannot select these"
    return found


def drawn_pulls(alpha: float, reach: np.ndarray | None = None) -> go.Figure:
    whole = steps(STUDENT, TEACHER, 0, 1.0, 4.0), steps(STUDENT, TEACHER, 0, 0.0, 4.0)
    full = type(whole[0])(whole[0].label, whole[1].teacher)
    points = np.zeros((0, 2)) if reach is None else reach
    pulled = steps(STUDENT, TEACHER, 0, alpha, 4.0)
    return pulls(NAMES, pulled, full, label=0, other=1, reach=points)


def end(trace: go.Scatter) -> tuple[float, float]:
    return trace.x[-1], trace.y[-1]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_arrows_end_where_the_losses_pull_and_the_sum_on_the_line_between(
    alpha: float,
) -> None:
    found = traces(drawn_pulls(alpha))
    pulled = steps(STUDENT, TEACHER, 0, alpha, 4.0)
    assert end(found["label"]) == pytest.approx(tuple(pulled.label[:2]))
    assert end(found["teacher"]) == pytest.approx(tuple(pulled.teacher[:2]))
    assert end(found["sum"]) == pytest.approx(tuple(pulled.total[:2]))
    ends = np.stack([found["between"].x, found["between"].y], axis=1)
    assert alpha * ends[1] + (1 - alpha) * ends[0] == pytest.approx(end(found["sum"]))
    lengths = {name: found[name].marker.size[1] > 0 for name in ("label", "teacher")}
    assert lengths == {"label": alpha > 0, "teacher": alpha < 1}, "no head without an arrow"


def test_the_axes_stay_while_alpha_moves_and_keep_what_is_to_be_in_sight() -> None:
    first, second = drawn_pulls(0.1), drawn_pulls(0.9)
    assert first.layout.xaxis.range == second.layout.xaxis.range
    assert first.layout.yaxis.scaleanchor == "x", "angles are true"
    wide = drawn_pulls(0.1, np.array([[9.0, -7.0]]))
    assert wide.layout.xaxis.range[1] > 9
    assert wide.layout.yaxis.range[0] < -7
    assert "&lt;b&gt;dog" in first.layout.yaxis.title.text, "names are data"
    assert "true class" in first.layout.xaxis.title.text


@pytest.mark.parametrize("log", [False, True])
def test_the_mixture_is_the_teachers_part_with_the_labels_on_top(log: bool) -> None:
    target = mixed_target(TEACHER, 0, 0.25, 4.0)
    answers = softmax(STUDENT), softmax(STUDENT / 4)
    figure = targets(
        NAMES, target, softmax(TEACHER / 4), answers, label=0, temperature=4.0, log=log
    )
    found = traces(figure)
    np.testing.assert_array_equal(found["row-0"].y, [1, 1e-6, 1e-6] if log else [1, 0, 0])
    np.testing.assert_allclose(found["row-1"].y, softmax(TEACHER / 4))
    np.testing.assert_allclose(found["row-2"].y, target.total)
    added = found["mixed-label"]
    np.testing.assert_allclose(np.array(added.base, float) + np.array(added.y, float), target.total)
    assert added.yaxis == found["row-2"].yaxis
    np.testing.assert_allclose(found["row-3"].y, answers[0])
    np.testing.assert_allclose(found["row-4"].y, answers[1])


def test_the_landscape_marks_student_targets_and_the_least_place() -> None:
    found = landscape(STUDENT, TEACHER, 0, 1, 0.5, 4.0, points=9)
    step = steps(STUDENT, TEACHER, 0, 0.5, 4.0).total[:2]
    shown = traces(loss_landscape(NAMES, found, label=0, other=1, step=step))
    np.testing.assert_allclose(shown["loss"].z, found.loss, rtol=1e-6)
    np.testing.assert_array_equal(shown["loss"].x, found.label_axis)
    for uid, place in (
        ("student", found.student),
        ("teacher", found.teacher_target),
        ("label", found.label_target),
        ("least", found.least),
    ):
        assert end(shown[uid]) == pytest.approx(place)
    assert end(shown["step"]) == pytest.approx(tuple(np.array(found.student) + step))


def test_accuracy_over_alpha_stands_between_baseline_and_teacher() -> None:
    points = (
        Point(0.0, 0.9, (0.88, 0.92), "t over 2 seeds", (0.89, 0.91)),
        Point(1.0, 0.8, (0.7, 0.86), "t over 2 seeds", (0.78, 0.82)),
    )
    figure = accuracy_over_alpha(Outcome(points, 0.8, 0.97, 449), chosen=0.3)
    found = traces(figure)
    assert list(found["student"].x) == [0, 1]
    assert list(found["student"].y) == pytest.approx([90, 80])
    assert list(found["student"].error_y.array) == pytest.approx([2, 6])
    assert list(found["student"].error_y.arrayminus) == pytest.approx([2, 10])
    assert set(found["baseline"].y) == {80}
    assert set(found["teacher"].y) == {97}
    assert sorted(found["student-seeds"].y) == pytest.approx([78, 82, 89, 91])
    assert figure.layout.shapes[0].x0 == 0.3
    assert "test" in figure.layout.yaxis.title.text


def test_a_series_without_results_says_so() -> None:
    figure = accuracy_over_alpha(Outcome((), None, None, 0))
    assert len(figure.data) == 0
    assert "No student" in figure.layout.annotations[0].text


def test_a_class_beside_itself_is_refused() -> None:
    pulled = steps(STUDENT, TEACHER, 0, 0.5, 4.0)
    with pytest.raises(ConfigError, match="other must be from 0 to 2 but 0, the true class, got 0"):
        pulls(NAMES, pulled, pulled, label=0, other=0, reach=np.zeros((0, 2)))
