"""Figures of the lessons: what was measured beside what was predicted, and the picture that each
lesson begins with.

Pure functions, like the other charts. The pictures need no training run: they are arithmetic, and
say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from kdcore.analysis.layer_starts import LayerStarts
from kdcore.analysis.logits import softmax
from kdcore.analysis.statistics import t_half_width
from kdcore.analysis.temperature import gradient_norms
from kdcore.charts.layer_starts import draw_layer_starts
from kdcore.charts.layout import as_label, base_axis, base_layout, style
from kdcore.lessons import Measured
from kdcore.palette import GRID, MUTED, colour

PREDICTED = "your prediction"
TONES = ("student", "baseline", "teacher", "student-2", "baseline-2")
# Three logits that the arithmetic of a picture starts from, and another network's for the same.
LOGITS = (5.0, 3.0, 0.0)
OTHER_LOGITS = (1.0, 1.5, 0.5)
# A teacher for whom the second class is as likely as the first.
SIMILAR_LOGITS = (5.0, 5.0, 0.0)
TEMPERATURES = (1.0, 3.0, 10.0)

Series = Sequence[tuple[str, Measured]]


def measured_chart(
    series: Series,
    predicted: Any = None,
    *,
    scale: tuple[float, float] | None = None,
    height: int = 340,
) -> go.Figure:
    """Draw what was measured, the first series in front, and what was ``predicted`` dashed.

    A single number lies on a ``scale`` from lowest to highest that could be answered. Lines where
    the numbers lie on an axis, bars where they have names, dots on one scale where each series is a
    single number. Intervals of 95 % are bands or bars.
    """
    first = series[0][1]
    if first.best or (not first.x and len(first.values) > 1):
        return _bars(series, predicted, height)
    if len(first.values) == 1:
        return _dots(series, predicted, scale, height)
    return _lines(series, predicted, height)


def _lines(series: Series, predicted: Any, height: int) -> go.Figure:
    figure = go.Figure()
    for rank, (name, each) in enumerate(reversed(series)):
        place = len(series) - 1 - rank
        tone = colour(TONES[place % len(TONES)])
        if each.low:
            figure.add_scatter(
                x=[*each.x, *reversed(each.x)],
                y=[*each.high, *reversed(each.low)],
                fill="toself",
                fillcolor=tone,
                opacity=0.15,
                line=dict(width=0),
                mode="lines",
                hoverinfo="skip",
                showlegend=False,
                uid=f"band-{place}",
            )
        figure.add_scatter(
            x=each.x,
            y=each.values,
            mode="lines+markers",
            name=as_label(name),
            line=dict(color=tone, width=3 if place == 0 else 2),
            marker=dict(size=8, color=tone),
            customdata=each.titles,
            hovertemplate=f"%{{customdata}}: %{{y:.{each.decimals}f}} {each.unit}<extra></extra>",
            uid=f"line-{place}",
        )
    first = series[0][1]
    if predicted is not None and len(predicted) == len(first.x):
        figure.add_scatter(
            x=first.x,
            y=predicted,
            mode="lines+markers",
            name=PREDICTED,
            line=dict(color=MUTED, dash="dash", width=2),
            marker=dict(size=7, color=MUTED, symbol="circle-open"),
            hovertemplate=f"predicted: %{{y:.{first.decimals}f}} {first.unit}<extra></extra>",
            uid="predicted",
        )
    style(figure, as_label(_title(first)), first.axis, _axis(first), height=height)
    figure.update_xaxes(tickvals=list(first.x), tickformat="~g")
    spread = max(first.x) / max(min(first.x), 1e-9)
    if first.log or (min(first.x) > 0 and spread > 12):
        figure.update_xaxes(type="log")
    figure.update_layout(showlegend=len(series) > 1 or predicted is not None)
    return figure


def _bars(series: Series, predicted: Any, height: int) -> go.Figure:
    figure, first = go.Figure(), series[0][1]
    for place, (name, each) in enumerate(series):
        tone = TONES[place % len(TONES)]
        bounds = (
            dict(
                type="data",
                symmetric=False,
                array=[high - value for high, value in zip(each.high, each.values, strict=True)],
                arrayminus=[value - low for low, value in zip(each.low, each.values, strict=True)],
            )
            if each.low
            else None
        )
        figure.add_bar(
            x=[_tick(title, title == predicted) for title in each.titles],
            y=each.values,
            name=as_label(name),
            marker=dict(color=colour(tone), line=dict(width=0)),
            error_y=bounds,
            hovertemplate=f"%{{x}}: %{{y:.{each.decimals}f}} {each.unit}<extra></extra>",
            uid=f"bars-{place}",
        )
    style(figure, as_label(_title(first)), None, _axis(first), height=height)
    figure.update_xaxes(type="category", tickangle=0)
    figure.update_layout(barmode="group", showlegend=len(series) > 1)
    return figure


def _dots(
    series: Series, predicted: Any, scale: tuple[float, float] | None, height: int
) -> go.Figure:
    figure, first = go.Figure(), series[0][1]
    names = [as_label(name) for name, _ in series]
    for place, (name, each) in enumerate(series):
        tone = colour(TONES[place % len(TONES)])
        bounds = (
            dict(
                type="data",
                symmetric=False,
                array=[each.high[0] - each.value],
                arrayminus=[each.value - each.low[0]],
            )
            if each.low
            else None
        )
        figure.add_scatter(
            x=[each.value],
            y=[as_label(name)],
            mode="markers+text",
            text=[f"<b>{as_label(each.in_words(each.value))}</b>"],
            textposition="top center",
            error_x=bounds,
            marker=dict(size=14, color=tone),
            showlegend=False,
            cliponaxis=False,
            hovertemplate=f"%{{x:.{each.decimals}f}} {each.unit}<extra></extra>",
            uid=f"dot-{place}",
        )
    if isinstance(predicted, int | float):
        names.append(PREDICTED)
        figure.add_scatter(
            x=[predicted],
            y=[PREDICTED],
            mode="markers+text",
            text=[as_label(first.in_words(predicted))],
            textposition="top center",
            marker=dict(size=13, color=MUTED, symbol="diamond-open", line=dict(width=2)),
            showlegend=False,
            cliponaxis=False,
            hoverinfo="skip",
            uid="predicted",
        )
    shown = min(height, 140 + 55 * len(names))
    style(figure, as_label(_title(first)), _axis(first), None, height=shown)
    figure.update_yaxes(
        categoryorder="array", categoryarray=names[::-1], range=[-0.6, len(names) - 0.2]
    )
    figure.update_xaxes(showgrid=True, gridcolor=GRID)
    if scale is not None:
        known = [
            *scale,
            *(value for _, each in series for value in (*each.values, *each.low, *each.high)),
        ]
        room = 0.03 * (max(known) - min(known))
        figure.update_xaxes(range=[min(known) - room, max(known) + room])
    return figure


def board_chart(found: Measured, predictions: Mapping[str, Any], height: int = 360) -> go.Figure:
    """Draw the predictions of a class, by name, and what was measured on top of them."""
    figure = go.Figure()
    if found.best:
        counts = {title: list(predictions.values()).count(title) for title in found.titles}
        figure.add_bar(
            x=[as_label(title) for title in found.titles],
            y=list(counts.values()),
            marker=dict(
                color=[colour("right") if title == found.best else MUTED for title in found.titles]
            ),
            hovertemplate="%{x}: %{y} predictions<extra></extra>",
            uid="counts",
        )
        style(figure, "Predictions of the class", None, "visitors", height=height)
        figure.update_xaxes(type="category")
        return figure
    single = len(found.values) == 1
    for number, (name, prediction) in enumerate(predictions.items()):
        figure.add_scatter(
            x=[prediction] if single else found.x,
            y=[as_label(name)] if single else prediction,
            mode="markers" if single else "lines",
            name=as_label(name),
            line=dict(color=MUTED, width=1),
            marker=dict(size=11, color=MUTED),
            opacity=0.6,
            showlegend=False,
            hovertemplate=f"{as_label(name)}<extra></extra>",
            uid=f"visitor-{number}",
        )
    if single:
        figure.add_vline(x=found.value, line=dict(color=colour("student"), width=3))
        style(figure, "Predictions of the class", _axis(found), None, height=height)
        return figure
    figure.add_scatter(
        x=found.x,
        y=found.values,
        mode="lines+markers",
        name="measured",
        line=dict(color=colour("student"), width=4),
        uid="measured",
    )
    style(figure, "Predictions of the class", found.axis, _axis(found), height=height)
    if found.log:
        figure.update_xaxes(type="log", tickvals=list(found.x), tickformat="~g")
    return figure


def _title(measured: Measured) -> str:
    return measured.about[:1].upper() + measured.about[1:]


def _axis(measured: Measured) -> str:
    return measured.unit if measured.unit != "%" else "percent"


def _tick(title: str, predicted: bool) -> str:
    return f"{as_label(title)}<br>{PREDICTED}" if predicted else as_label(title)


# --- Pictures ---


def softmax_at_three_temperatures() -> go.Figure:
    """Draw the softmax of three logits at three temperatures."""
    figure = make_subplots(
        1, 3, shared_yaxes=True, subplot_titles=[f"T = {t:g}" for t in TEMPERATURES]
    )
    for column, temperature in enumerate(TEMPERATURES, start=1):
        shares = softmax(np.array([LOGITS]), temperature)[0]
        figure.add_bar(
            x=[f"z = {value:g}" for value in LOGITS],
            y=100 * shares,
            text=[f"{100 * share:.0f} %" for share in shares],
            textposition="outside",
            cliponaxis=False,
            marker=dict(color=colour("teacher")),
            showlegend=False,
            uid=f"softmax-{column}",
            row=1,
            col=column,
        )
    figure.update_layout(
        base_layout("Probabilities of three classes", "The same logits, divided by T.", 300)
    )
    figure.update_xaxes(base_axis(None, horizontal=True))
    figure.update_yaxes(
        base_axis(None, horizontal=False) | dict(range=[0, 112], showticklabels=False)
    )
    return figure


def two_pulls() -> go.Figure:
    """Draw where the true label and the teacher pull a student's answer, and their sum, for the
    first two of three classes.
    """
    student, teacher = np.array([OTHER_LOGITS]), np.array([SIMILAR_LOGITS])
    temperature, alpha = 4.0, 0.5
    label = -(softmax(student)[0] - np.eye(3)[0])
    taught = -temperature * (softmax(student, temperature) - softmax(teacher, temperature))[0]
    pulls = (
        ("true label, times alpha", alpha * label, "right"),
        ("teacher, times 1 − alpha", (1 - alpha) * taught, "teacher"),
        ("the step: their sum", alpha * label + (1 - alpha) * taught, "student"),
    )
    figure = go.Figure()
    for name, pull, tone in pulls:
        figure.add_scatter(
            x=[0, pull[0]],
            y=[0, pull[1]],
            mode="lines",
            name=name,
            line=dict(color=colour(tone), width=3),
            hovertemplate="%{x:+.2f}, %{y:+.2f}<extra></extra>",
            uid=tone,
        )
        figure.add_annotation(
            x=pull[0],
            y=pull[1],
            ax=0,
            ay=0,
            axref="x",
            ayref="y",
            text="",
            showarrow=True,
            arrowhead=2,
            arrowwidth=3,
            arrowcolor=colour(tone),
        )
    style(
        figure,
        "Two pulls and their sum",
        "change of the logit of the true class",
        "of a wrong class",
        subtitle="One example, alpha 0.5, T = 4.",
        height=340,
    )
    figure.update_xaxes(zeroline=True, zerolinecolor=GRID, range=[-0.05, 0.95])
    figure.update_yaxes(zeroline=True, zerolinecolor=GRID, range=[-0.45, 0.25])
    return figure


def label_budgets() -> go.Figure:
    """Draw how many of 1,080 examples come with a label at each budget: a square is ten."""
    budgets = {"30 labels": 3, "100 labels": 10, "300 labels": 30, "all": 108}
    figure = make_subplots(1, len(budgets), subplot_titles=list(budgets))
    for column, filled in enumerate(budgets.values(), start=1):
        places = np.arange(108)
        figure.add_scatter(
            x=places % 9,
            y=-(places // 9),
            mode="markers",
            marker=dict(
                symbol="square",
                size=9,
                color=[colour("student") if place < filled else GRID for place in places],
            ),
            hoverinfo="skip",
            showlegend=False,
            uid=f"budget-{column}",
            row=1,
            col=column,
        )
    figure.update_layout(
        base_layout("What comes with a true label", "A square is ten of 1,078 examples.", 300)
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def gradient_by_temperature() -> go.Figure:
    """Draw how long the gradient of the teacher's part is over T for one example of arithmetic."""
    grid = np.geomspace(1, 30, 40)
    norms = gradient_norms(np.array([LOGITS]), np.array([OTHER_LOGITS]), grid)
    figure = go.Figure()
    for name, key, tone in (
        ("with T²", "with_t_squared", "student"),
        ("without", "without_t_squared", "baseline"),
    ):
        figure.add_scatter(
            x=grid,
            y=norms[key],
            mode="lines",
            name=name,
            line=dict(color=colour(tone), width=3),
            hovertemplate="T = %{x:.1f}: %{y:.3f}<extra></extra>",
            uid=key,
        )
    style(
        figure,
        "How hard a teacher pulls",
        "temperature T",
        "length of the gradient",
        subtitle="One example of three classes, logits 5, 3, 0 and 1, 1.5, 0.5.",
    )
    figure.update_xaxes(type="log", tickvals=[1, 2, 5, 10, 20])
    figure.update_yaxes(type="log")
    return figure


def interval_by_seeds() -> go.Figure:
    """Draw how wide a 95 % interval of a mean is by the number of seeds, in standard deviations."""
    seeds = np.arange(2, 17)
    width = 2 * t_half_width(1 / np.sqrt(seeds), seeds)
    figure = go.Figure()
    figure.add_scatter(
        x=seeds,
        y=width,
        mode="lines+markers",
        line=dict(color=colour("student"), width=3),
        marker=dict(size=8, color=colour("student")),
        hovertemplate="%{x} seeds: %{y:.1f} standard deviations<extra></extra>",
        uid="width",
    )
    style(
        figure,
        "Width of a 95 % interval",
        "seeds",
        "standard deviations of one difference",
        subtitle="Student's t, arithmetic.",
    )
    figure.update_xaxes(dtick=2)
    return figure


def generations() -> go.Figure:
    """Draw teacher and three generations, each of which labels for the next."""
    titles = ["teacher", "generation 1", "generation 2", "generation 3"]
    return _chain(
        titles, ["teacher", "student", "student", "student"], "labels what nobody labelled"
    )


def _chain(titles: Sequence[str], tones: Sequence[str], between: str) -> go.Figure:
    figure = go.Figure()
    figure.add_scatter(
        x=list(range(len(titles))),
        y=[0] * len(titles),
        mode="lines+markers+text",
        text=list(titles),
        textposition="bottom center",
        line=dict(color=GRID, width=3),
        marker=dict(size=30, color=[colour(tone) for tone in tones]),
        cliponaxis=False,
        hoverinfo="skip",
        uid="chain",
    )
    style(figure, "Rounds of teaching", None, None, subtitle=f"Each {between}.", height=220)
    figure.update_xaxes(visible=False, range=[-0.4, len(titles) - 0.6])
    figure.update_yaxes(visible=False, range=[-1, 0.6])
    return figure


def patches(image: NDArray[np.uint8], across: int = 4) -> go.Figure:
    """Draw an image [height, width, 1] whole, and cut into ``across`` × ``across`` patches in a
    row, as a transformer gets it.
    """
    grey = image[..., 0].astype(float)
    side = grey.shape[0] // across
    gap = max(1, side // 2)
    listed = np.full((side, across * across * (side + gap) - gap), np.nan)
    for number in range(across * across):
        row, column = divmod(number, across)
        at = number * (side + gap)
        listed[:, at : at + side] = grey[
            row * side : (row + 1) * side, column * side : (column + 1) * side
        ]
    figure = make_subplots(
        2,
        1,
        row_heights=[0.68, 0.32],
        vertical_spacing=0.12,
        subplot_titles=["the picture", f"{across * across} patches in a list"],
    )
    for place, values in enumerate((grey, listed), start=1):
        figure.add_heatmap(
            z=values[::-1],
            colorscale=[[0, GRID], [1, colour("student")]],
            showscale=False,
            hoverinfo="skip",
            uid=f"picture-{place}",
            row=place,
            col=1,
        )
    figure.update_layout(base_layout("What a transformer sees", None, 360))
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_yaxes(scaleanchor="x", row=1, col=1)
    figure.update_yaxes(scaleanchor="x2", row=2, col=1)
    return figure


def every_second_layer() -> go.Figure:
    """Draw a teacher of four layers, and a student that starts from the first and the third."""
    return draw_layer_starts(LayerStarts(4, (0, 2)))


PICTURES: dict[str, Callable[[], go.Figure]] = {
    picture.__name__: picture
    for picture in (
        softmax_at_three_temperatures,
        two_pulls,
        label_budgets,
        gradient_by_temperature,
        interval_by_seeds,
        generations,
        every_second_layer,
    )
}
