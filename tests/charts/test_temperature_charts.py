"""What the temperature page's figures show, read back from the figures."""

import re

import numpy as np
import plotly.graph_objects as go
import pytest
from scipy.special import softmax

from kdcore.analysis.logits import FloatArray
from kdcore.analysis.metrics import reliability
from kdcore.analysis.temperature import gradient_norms, temperature_grid
from kdcore.errors import ConfigError
from pages.temperature.charts import (
    Line,
    confusions,
    gradient_chart,
    over_temperature,
    reliability_diagrams,
    same_height,
    similarity,
    small_multiples,
)

NAMES = ("cat", "dog", "ox")
GRID = temperature_grid(n=9)


def traces(figure: go.Figure) -> dict[str, go.Scatter]:
    found = {trace.uid: trace for trace in figure.data}
    assert len(found) == len(figure.data), "uids repeat"
    assert all(re.fullmatch(r"[\w-]+", uid) for uid in found), "Plotly cannot select these"
    return found


def texts(figure: go.Figure) -> str:
    return " ".join(note.text for note in figure.layout.annotations)


def curve(values: FloatArray, chosen: float = 4.0, **extra: object) -> go.Figure:
    line = Line("mean entropy", values, "#b45f00", float(np.interp(chosen, GRID, values)))
    return over_temperature(
        "Title", "Look here.", GRID, [line], chosen, y="nats", number=".2f", **extra
    )  # type: ignore[arg-type]


def test_a_curve_over_temperature_marks_the_chosen_one() -> None:
    figure = curve(
        np.linspace(0, 2, 9), ceiling=(2.3, "a guess"), landmark=(1.5, "best"), y_range=(0.0, 3.0)
    )
    found = traces(figure)
    np.testing.assert_array_equal(found["mean-entropy"].x, GRID)
    now = found["mean-entropy-now"]
    assert (now.x[0], now.y[0]) == (4.0, pytest.approx(np.interp(4.0, GRID, np.linspace(0, 2, 9))))
    assert {shape.x0 for shape in figure.layout.shapes if shape.xref != "paper"} == {4.0, 1.5}
    assert [shape.y0 for shape in figure.layout.shapes if shape.xref == "paper"] == [2.3]
    assert "a guess" in texts(figure)
    assert "best" in texts(figure)
    assert figure.layout.xaxis.type == "log"
    np.testing.assert_allclose(10 ** np.array(figure.layout.xaxis.range), [0.5, 20])
    assert figure.layout.title.subtitle.text == "Look here."


@pytest.mark.parametrize(
    ("chosen", "rising", "place"),
    [
        (4, True, "top left"),
        (4, False, "top right"),
        (0.5, True, "bottom right"),
        (0.5, False, "top right"),
        (20, True, "top left"),
        (20, False, "bottom left"),
    ],
)
def test_the_number_keeps_clear_of_curve_and_edge(chosen: float, rising: bool, place: str) -> None:
    values = np.linspace(0, 1, 9) if rising else np.linspace(1, 0, 9)
    assert traces(curve(values, chosen))["mean-entropy-now"].textposition == place


def test_small_multiples_show_the_distribution_at_each_temperature() -> None:
    logits = np.array([3.0, 1.0, -4.0])
    figure = small_multiples(NAMES, logits, (0.5, 1.0, 20.0), 1.4, label=1)
    bars = traces(figure)
    for index, temperature in enumerate((0.5, 1.0, 20.0)):
        np.testing.assert_allclose(bars[f"panel-{index}"].y, softmax(logits / temperature))
    assert "<b>T = 1</b>" in texts(figure), "the nearest panel is emphasised"
    assert "<b>T = 20</b>" not in texts(figure)
    assert len({bar.xaxis for bar in figure.data}) == 3
    log = small_multiples(NAMES, np.array([300.0, 1.0, -300.0]), (1.0,), 1.0, label=0, log=True)
    assert log.layout.yaxis.type == "log"
    assert min(log.data[0].y) > 0, "a logarithmic axis cannot show 0"
    with pytest.raises(ConfigError, match="logits must be 3 values"):
        small_multiples(NAMES, np.zeros(4), (1.0,), 1.0, label=0)


def test_similarity_leaves_the_diagonal_out_of_the_colours() -> None:
    matrix = np.array([[0.9, 0.08, 0.02], [0.3, 0.6, 0.1], [np.nan, np.nan, np.nan]])
    figure = similarity(matrix, NAMES, 2.0)
    heatmap = traces(figure)["similarity"]
    assert np.isnan(np.diag(heatmap.z)).all()
    assert heatmap.z[1][0] == 0.3
    assert heatmap.zmax == 0.3, "the strongest colour is the largest confusion, not the diagonal"
    assert "90" in texts(figure), "the diagonal is written instead"
    assert heatmap.text[2][0] == "no ox in the data"
    assert figure.layout.yaxis.autorange == "reversed"
    logged = traces(similarity(matrix, NAMES, 2.0, log=True))["similarity"]
    assert logged.z[1][0] == pytest.approx(np.log10(0.3))
    assert (logged.zmin, logged.zmax) == pytest.approx((np.log10(0.02), np.log10(0.3))), (
        "the colours use their range"
    )
    nothing = traces(similarity(np.full((3, 3), np.nan), NAMES, 2.0, log=True))["similarity"]
    assert nothing.zmin < nothing.zmax
    assert similarity(np.eye(3), NAMES, 1.0).data[0].zmax > 0, "nothing to confuse is no error"
    with pytest.raises(ConfigError, match="matrix must be 3 x 3"):
        similarity(np.eye(2), NAMES, 1.0)


def test_confusions_come_strongest_first() -> None:
    figure = confusions([("cat", "dog", 0.3), ("dog", "ox", 0.051)], 2.0)
    assert list(figure.layout.yaxis.ticktext) == ["cat → dog", "dog → ox"]
    assert figure.layout.yaxis.autorange == "reversed", "the first bar is on top"
    assert list(figure.data[0].x) == [0.3, 0.051]
    assert figure.layout.xaxis.range[1] > 0.3
    assert len(confusions([], 1.0).data[0].x) == 0


def test_reliability_shows_filled_bins_against_the_diagonal() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (200, 3)), rng.integers(0, 3, 200)
    diagram = reliability(logits, labels)
    figure = reliability_diagrams({"T = 1": (diagram, 0.123), "best": (diagram, 0.04)})
    bars = traces(figure)["panel-0"]
    filled = diagram.count > 0
    np.testing.assert_allclose(bars.y, diagram.accuracy[filled])
    np.testing.assert_allclose(bars.x, ((np.arange(15) + 0.5) / 15)[filled])
    assert "off by 12.3%" in texts(figure)
    assert list(traces(figure)["diagonal-1"].y) == [0, 1]


def test_the_gradient_chart_shows_both_factors_limit_and_labels() -> None:
    teacher, student = np.random.default_rng(0).normal(0, 4, (2, 30, 5))
    norms = gradient_norms(teacher, student, GRID)
    figure = gradient_chart(
        norms, 4.0, {"with_t_squared": 2.0, "without_t_squared": 0.125}, labels=0.9
    )
    found = traces(figure)
    np.testing.assert_array_equal(found["with-T²"].y, norms["with_t_squared"])
    np.testing.assert_array_equal(found["without"].y, norms["without_t_squared"])
    assert found["with-T²-now"].y[0] == 2.0
    assert set(found["true-labels-own-pull-does-not-depend-on-T"].y) == {0.9}
    assert [shape.y0 for shape in figure.layout.shapes if shape.xref == "paper"] == [
        norms["limit"][0]
    ]
    low, high = 10 ** np.array(figure.layout.yaxis.range)
    assert low < min(norms["without_t_squared"])
    assert high > max(norms["with_t_squared"])
    equal = gradient_norms(teacher, teacher, GRID)
    gradient_chart(equal, 4.0, {"with_t_squared": 0.0, "without_t_squared": 0.0}, labels=0.0)


def test_charts_side_by_side_share_their_scale() -> None:
    figures = [curve(np.linspace(0, 2, 9)), curve(np.linspace(1, 5, 9)), go.Figure()]
    same_height(figures)
    ranges = {tuple(figure.layout.yaxis.range) for figure in figures}
    assert len(ranges) == 1
    ((low, high),) = ranges
    assert low < 0
    assert high > 5
    same_height([go.Figure()])
