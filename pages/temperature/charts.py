"""The temperature page's figures: arrays in, Plotly figures out, in the style of all charts.

Each is built as one dict and checked by Plotly once: a figure that is updated piece by piece takes
ten times as long, and these follow a slider.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from kdcore.analysis.logits import FloatArray
from kdcore.analysis.metrics import Reliability
from kdcore.analysis.temperature import format_percent, softmax
from kdcore.charts.layout import base_axis, base_layout
from kdcore.charts.softened import LOG_FLOOR
from kdcore.errors import require
from kdcore.palette import GRID, INK, MUTED, colour

T_TICKS = (0.5, 1, 2, 5, 10, 20)
T_TITLE = "temperature T (logarithmic)"
PROBABILITY_TICKS = {1e-6: "0.0001%", 1e-4: "0.01%", 1e-2: "1%", 1.0: "100%"}
HEATMAP_FLOOR = 1e-5


class Line(NamedTuple):
    """A curve over T: its name, values [temperatures], colour, its value at the chosen T, and its
    dash.
    """

    name: str
    values: FloatArray
    tone: str
    now: float
    dash: str = "solid"


def over_temperature(
    title: str,
    subtitle: str,
    temperatures: FloatArray,
    lines: Sequence[Line],
    chosen: float,
    *,
    y: str,
    number: str,
    ceiling: tuple[float, str] | None = None,
    landmark: tuple[float, str] | None = None,
    log_y: bool = False,
    y_range: tuple[float, float] | None = None,
    height: int = 320,
) -> go.Figure:
    """Draw quantities over T, with the chosen T as a vertical line and the values there written at
    it.

    Args:
        title: what the chart shows.
        subtitle: one sentence: what to look at.
        temperatures: [temperatures], rising.
        lines: the curves.
        chosen: the T of the slider.
        y: title of the vertical axis.
        number: d3 format of the values, for example ".1%".
        ceiling: a value to mark with a dotted line, and its name.
        landmark: another T to mark, and its name.
        log_y: logarithmic vertical axis.
        y_range: ends of the vertical axis.
        height: in pixels.
    """
    traces = [_curve(line, temperatures, number) for line in lines]
    traces += [_value_now(line, temperatures, chosen, number) for line in lines]
    layout = base_layout(title, subtitle, height)
    layout |= dict(
        hovermode="x unified",
        showlegend=len(lines) > 1,
        shapes=[_vertical(chosen, INK, 1.2, "solid")],
    )
    layout["xaxis"] = base_axis(T_TITLE, horizontal=True) | _temperature_scale()
    up = base_axis(y, horizontal=False) | dict(tickformat=".2~%" if number.endswith("%") else "~g")
    if log_y:
        up |= dict(type="log", dtick=1, tickformat=".1~g")
    if y_range is not None:
        up["range"] = [math.log10(end) for end in y_range] if log_y else list(y_range)
    layout["yaxis"], layout["annotations"] = up, []
    if ceiling is not None:
        value, name = ceiling
        line = dict(color=MUTED, width=1.4, dash="dot")
        layout["shapes"].append(
            dict(
                type="line", xref="paper", x0=0, x1=1, y0=value, y1=value, layer="below", line=line
            )
        )
        place: dict[str, Any] = dict(
            x=0,
            xref="paper",
            xanchor="left",
            y=math.log10(value) if log_y else value,
            yanchor="bottom",
        )
        layout["annotations"].append(_note(name, **place))
    if landmark is not None:
        where, name = landmark
        layout["shapes"].append(_vertical(where, MUTED, 1.4, "dot"))
        side: dict[str, Any] = (
            dict(xanchor="right", xshift=-4) if where > 4 else dict(xanchor="left", xshift=4)
        )
        layout["annotations"].append(
            _note(name, x=math.log10(where), y=0.99, yref="paper", yanchor="top", **side)
        )
    return go.Figure(traces, layout)


def _curve(line: Line, temperatures: FloatArray, number: str) -> dict[str, Any]:
    return dict(
        type="scatter",
        mode="lines",
        uid=_uid(line.name),
        name=line.name,
        legendgroup=line.name,
        x=temperatures,
        y=line.values,
        line=dict(color=line.tone, width=2.6, dash=line.dash),
        cliponaxis=False,
        hovertemplate=f"{line.name} <b>%{{y:{number}}}</b><extra></extra>",
    )


def _value_now(line: Line, temperatures: FloatArray, chosen: float, number: str) -> dict[str, Any]:
    """A dot where the curve meets the chosen T, with its value beside it."""
    return dict(
        type="scatter",
        mode="markers+text",
        uid=_uid(line.name, "now"),
        legendgroup=line.name,
        x=[chosen],
        y=[line.now],
        marker=dict(color=line.tone, size=11, line=dict(color=GRID, width=2)),
        texttemplate=f"<b>%{{y:{number}}}</b>",
        textfont=dict(color=line.tone, size=13),
        textposition=_clear_of(temperatures, line.values, chosen),
        cliponaxis=False,
        showlegend=False,
        hoverinfo="skip",
    )


def _uid(*names: str) -> str:
    """Return a trace's identity from its name: letters, digits and dashes."""
    return re.sub(r"[^\w²]+", "-", " ".join(names)).strip("-")


def _clear_of(temperatures: FloatArray, values: FloatArray, chosen: float) -> str:
    """Where a number beside a curve crosses neither the curve nor the edge of the chart."""
    before, after = np.interp([chosen * 0.97, chosen * 1.03], temperatures, values)
    if chosen < 0.8:
        return "top right" if after <= before else "bottom right"
    if chosen > 12:
        return "top left" if after >= before else "bottom left"
    return "top left" if after >= before else "top right"


def _temperature_scale() -> dict[str, Any]:
    ends = [math.log10(T_TICKS[0]), math.log10(T_TICKS[-1])]
    ticks = dict(tickvals=list(T_TICKS), ticktext=[f"{tick:g}" for tick in T_TICKS])
    return ticks | dict(type="log", range=ends, unifiedhovertitle=dict(text="T = %{x:.3~g}"))


def _vertical(x: float, tone: str, width: float, dash: str) -> dict[str, Any]:
    """A line across the chart's height at temperature ``x``."""
    corners = dict(type="line", x0=x, x1=x, yref="paper", y0=0, y1=1, layer="below")
    return corners | dict(line=dict(color=tone, width=width, dash=dash))


def _note(text: str, *, tone: str = MUTED, size: int = 12, **place: Any) -> dict[str, Any]:
    return dict(text=text, showarrow=False, font=dict(size=size, color=tone)) | place


def small_multiples(
    class_names: Sequence[str],
    logits: FloatArray,
    temperatures: Sequence[float],
    chosen: float,
    *,
    label: int,
    log: bool = False,
    columns: int = 3,
) -> go.Figure:
    """Draw one example's distribution at each of several temperatures, side by side on one scale.

    Args:
        class_names: C names.
        logits: the example's [C].
        temperatures: what to show, rising.
        chosen: the slider's T; the panel nearest to it is emphasised.
        label: the true class; the other classes' bars are paler.
        log: logarithmic probabilities from ``LOG_FLOOR`` up.
        columns: panels a row.
    """
    classes, rows = len(class_names), math.ceil(len(temperatures) / columns)
    require(
        logits.shape == (classes,), "logits", f"{classes} values, one a class name", logits.shape
    )
    nearest = min(temperatures, key=lambda each: abs(math.log(each / chosen)))
    layout = base_layout(
        "The same answer at six temperatures",
        "As T rises the lead melts away, but no two classes ever change places.",
        height=70 + 150 * rows,
    )
    layout |= dict(showlegend=False, bargap=0, annotations=[])
    bars = []
    for index, temperature in enumerate(temperatures):
        row, column = divmod(index, columns)
        suffix = "" if index == 0 else str(index + 1)
        bold = temperature == nearest
        left, top = column / columns + (0.02 if column else 0), 1 - row / rows
        axes = dict(uid=f"panel-{index}", xaxis=f"x{suffix}", yaxis=f"y{suffix}")
        bars.append(
            _panel_bars(class_names, softmax(logits, temperature), temperature, label, bold, log)
            | axes
        )
        layout[f"xaxis{suffix}"] = base_axis(None, horizontal=True) | dict(
            domain=[left, (column + 1) / columns],
            anchor=f"y{suffix}",
            range=[-0.6, classes - 0.4],
            tickvals=list(range(classes)),
            ticktext=list(class_names),
            tickfont=dict(size=10, color=MUTED),
            showticklabels=max(map(len, class_names))
            <= 2,  # longer names are in the chart above, and on hover
            fixedrange=True,
        )
        layout[f"yaxis{suffix}"] = (
            base_axis(None, horizontal=False)
            | _probability_scale(log)
            | dict(
                domain=[max(0.0, top - 0.84 / rows), top - 0.16 / rows],
                anchor=f"x{suffix}",
                showticklabels=column == 0,
                fixedrange=True,
            )
        )
        place: dict[str, Any] = dict(
            x=left,
            xref="paper",
            xanchor="left",
            y=top - 0.15 / rows,
            yref="paper",
            yanchor="bottom",
        )
        text = f"<b>T = {temperature:g}</b>" if bold else f"T = {temperature:g}"
        layout["annotations"].append(
            _note(text, tone=colour("teacher") if bold else MUTED, size=13, **place)
        )
    return go.Figure(bars, layout)


def _panel_bars(
    class_names: Sequence[str],
    shown: FloatArray,
    temperature: float,
    label: int,
    bold: bool,
    log: bool,
) -> dict[str, Any]:
    strength = 1.0 if bold else 0.5
    return dict(
        type="bar",
        x=list(range(len(shown))),
        y=np.maximum(shown, LOG_FLOOR) if log else shown,
        width=0.78,
        marker=dict(
            color=[
                colour("teacher", alpha=strength * (1 if each == label else 0.6))
                for each in range(len(shown))
            ]
        ),
        customdata=[
            [name, format_percent(float(value))]
            for name, value in zip(class_names, shown, strict=True)
        ],
        hovertemplate=f"T = {temperature:g}: %{{customdata[0]}} <b>%{{customdata[1]}}</b><extra></extra>",
    )


def _probability_scale(log: bool) -> dict[str, Any]:
    if log:
        ticks = dict(tickvals=list(PROBABILITY_TICKS), ticktext=list(PROBABILITY_TICKS.values()))
        return ticks | dict(type="log", range=[math.log10(LOG_FLOOR), 0.1])
    return dict(range=[0, 1.05], tickvals=[0, 0.5, 1], ticktext=["0%", "50%", "100%"])


def similarity(
    matrix: FloatArray, class_names: Sequence[str], temperature: float, *, log: bool = False
) -> go.Figure:
    """Draw the mean soft label of each true class as a heatmap whose diagonal is left out of the
    colours.

    Args:
        matrix: [classes, classes], row = true class; a row of nan has no examples.
        class_names: a name a class.
        temperature: T at which it was taken, for the title.
        log: colour by the logarithm of the probability.
    """
    classes = len(class_names)
    require(matrix.shape == (classes, classes), "matrix", f"{classes} x {classes}", matrix.shape)
    others = np.where(np.eye(classes, dtype=bool), np.nan, matrix)
    highest = max(
        float(np.nanmax(others)) if np.isfinite(others).any() else 0.0, HEATMAP_FLOOR * 10
    )
    lowest = min(max(float(np.nanmin(others, initial=highest)), HEATMAP_FLOOR), highest / 10)
    low, high = (math.log10(lowest), math.log10(highest)) if log else (0.0, highest)
    bar: dict[str, Any] = dict(tickformat=".1~%", nticks=5)
    if log:
        decades = range(math.ceil(low), math.floor(high) + 1)
        bar = dict(
            tickvals=list(decades), ticktext=[format_percent(10.0**decade) for decade in decades]
        )
    # Positions, not names: digits as names would make a numeric axis.
    places = list(range(classes))
    heatmap = dict(
        type="heatmap",
        uid="similarity",
        z=np.log10(np.maximum(others, HEATMAP_FLOOR)) if log else others,
        x=places,
        y=places,
        zmin=low,
        zmax=high,
        xgap=2,
        ygap=2,
        text=_spoken_cells(matrix, class_names),
        colorscale=[
            [step / 4, colour("teacher", alpha=round(0.03 + 0.19 * step, 2))] for step in range(5)
        ],
        hovertemplate="%{text}<extra></extra>",
        hoverongaps=False,
        colorbar=dict(
            thickness=10, outlinewidth=0, len=0.9, tickfont=dict(size=11, color=MUTED), **bar
        ),
    )
    layout = base_layout(
        f"What each class looks like to the teacher at T = {temperature:g}",
        "Read along a row: the stronger a cell's colour, the more of that other class the teacher sees in it (in %).",
        height=520,
    )
    names = dict(
        tickvals=places, ticktext=list(class_names), tickfont=dict(size=12, color=INK), ticks=""
    )
    names |= dict(showgrid=False, showline=False, fixedrange=True)
    layout["xaxis"] = base_axis("probability given to", horizontal=True) | names
    layout["yaxis"] = base_axis("true class", horizontal=False) | names | dict(autorange="reversed")
    layout["annotations"] = _cell_texts(matrix)
    return go.Figure([heatmap], layout)


def _spoken_cells(matrix: FloatArray, class_names: Sequence[str]) -> list[list[str]]:
    return [
        [
            f"{name}: <b>{format_percent(float(value))}</b> {other}"
            if np.isfinite(value)
            else f"no {name} in the data"
            for other, value in zip(class_names, row, strict=True)
        ]
        for name, row in zip(class_names, matrix, strict=True)
    ]


def _cell_texts(matrix: FloatArray) -> list[dict[str, Any]]:
    """The diagonal in words, quietly, and every cell from 1 % up.

    Many classes would be a wall of numbers.
    """
    found = []
    for row, column in np.argwhere(np.isfinite(matrix)) if len(matrix) <= 20 else ():
        value, diagonal = matrix[row, column], row == column
        if diagonal or value >= 0.01:
            text = f"{100 * value:.0f}" if diagonal or value >= 0.095 else f"{100 * value:.1f}"
            found.append(
                _note(text, tone=MUTED if diagonal else INK, size=11, x=int(column), y=int(row))
            )
    return found


def confusions(found: Sequence[tuple[str, str, float]], temperature: float) -> go.Figure:
    """Draw the most alike pairs (true class, other class, mean probability) as bars, the strongest
    first.
    """
    values = [value for *_, value in found]
    bars = dict(
        type="bar",
        uid="confusions",
        orientation="h",
        x=values,
        y=list(range(len(found))),
        width=0.66,
        marker=dict(color=colour("teacher", alpha=0.85)),
        text=[f"{value:.1%}" for value in values],
        textposition="outside",
        textfont=dict(color=colour("teacher"), size=12),
        cliponaxis=False,
        customdata=[[true, other] for true, other, _ in found],
        hovertemplate="%{customdata[0]}: <b>%{text}</b> %{customdata[1]}<extra></extra>",
    )
    layout = base_layout(
        "Most alike",
        "True class → what it resembles. No label says so: the teacher found it out, a student is given it.",
        height=520,
    )
    longest = max(values, default=0) or 1.0
    layout["xaxis"] = base_axis(f"mean probability at T = {temperature:g}", horizontal=True) | dict(
        tickformat=".1~%", range=[0, 1.28 * longest], nticks=5, fixedrange=True, showgrid=True
    )
    layout["yaxis"] = base_axis(None, horizontal=False) | dict(
        tickvals=list(range(len(found))),
        ticktext=[f"{true} → {other}" for true, other, _ in found],
        tickfont=dict(size=13, color=INK),
        ticklabelstandoff=6,
        autorange="reversed",
        fixedrange=True,
        showgrid=False,
    )
    return go.Figure([bars], layout)


def reliability_diagrams(panels: Mapping[str, tuple[Reliability, float]]) -> go.Figure:
    """Draw reliability diagrams side by side: accuracy over confidence, one bar a bin, against the
    diagonal.

    Args:
        panels: title -> (diagram, expected calibration error).
    """
    layout = base_layout(
        "Can its probabilities be believed?",
        "On the diagonal they can: of the answers given with 80 % confidence, 80 % are right. Below it the teacher is "
        "too sure, above it too modest; strong bars hold many examples.",
        height=330,
    )
    layout |= dict(showlegend=False, annotations=[])
    ticks = dict(range=[0, 1], tickvals=[0, 0.5, 1], ticktext=["0", "50", "100"], fixedrange=True)
    traces: list[dict[str, Any]] = []
    for index, (title, (diagram, error)) in enumerate(panels.items()):
        suffix = "" if index == 0 else str(index + 1)
        axes = dict(xaxis=f"x{suffix}", yaxis=f"y{suffix}")
        traces += [_reliability_bars(index, diagram) | axes, _diagonal(index) | axes]
        left = index / len(panels) + (0.05 if index else 0)
        layout[f"xaxis{suffix}"] = (
            base_axis("confidence (%)", horizontal=True)
            | ticks
            | dict(domain=[left, (index + 1) / len(panels)], anchor=f"y{suffix}")
        )
        layout[f"yaxis{suffix}"] = (
            base_axis(None if index else "share that is right (%)", horizontal=False)
            | ticks
            | dict(domain=[0, 0.8], anchor=f"x{suffix}", showticklabels=index == 0)
        )
        place: dict[str, Any] = dict(
            x=left,
            xref="paper",
            xanchor="left",
            y=0.83,
            yref="paper",
            yanchor="bottom",
            align="left",
        )
        layout["annotations"].append(
            _note(f"<b>{title}</b><br>off by {error:.1%}", tone=INK, **place)
        )
    return go.Figure(traces, layout)


def _reliability_bars(index: int, diagram: Reliability) -> dict[str, Any]:
    bins, filled = len(diagram.count), diagram.count > 0
    shares = diagram.count[filled] / max(1, diagram.count.sum())
    return dict(
        type="bar",
        uid=f"panel-{index}",
        x=((np.arange(bins) + 0.5) / bins)[filled],
        y=diagram.accuracy[filled],
        width=0.92 / bins,
        marker=dict(
            color=[
                colour("teacher", alpha=round(0.25 + 0.7 * min(1.0, 2 * share), 3))
                for share in shares
            ]
        ),
        customdata=np.stack([diagram.confidence[filled], diagram.count[filled]], axis=1),
        hovertemplate="%{customdata[1]:,} examples, confidence %{customdata[0]:.1%}: "
        "<b>%{y:.1%}</b> right<extra></extra>",
    )


def _diagonal(index: int) -> dict[str, Any]:
    line = dict(color=MUTED, width=1.4, dash="dot")
    return dict(
        type="scatter",
        mode="lines",
        uid=f"diagonal-{index}",
        x=[0, 1],
        y=[0, 1],
        line=line,
        hoverinfo="skip",
    )


def gradient_chart(
    norms: Mapping[str, FloatArray], chosen: float, now: Mapping[str, float], labels: float
) -> go.Figure:
    """Draw the length of the soft loss's gradient over T, with the factor T² and without, and what
    it tends to.

    Args:
        norms: as from :func:`kdcore.analysis.temperature.gradient_norms`.
        chosen: the slider's T.
        now: the same at the chosen T.
        labels: the length of the gradient of the loss on true labels, for comparison.
    """
    with_factor, without = norms["with_t_squared"], norms["without_t_squared"]
    known = np.full(len(with_factor), labels)
    lines = [
        Line("with T²", with_factor, colour("student"), now["with_t_squared"]),
        Line("without", without, MUTED, now["without_t_squared"], "dash"),
    ]
    limit = float(norms["limit"][0])
    everything = [value for value in (*without, *with_factor, limit, labels) if value > 0]
    figure = over_temperature(
        "How hard the teacher pulls at the student's logits",
        "Without T² the pull dies away like 1/T² while that of the true labels stays; with T² it settles at the dotted "
        "line.",
        norms["temperature"],
        lines,
        chosen,
        y="mean length of the gradient",
        number=".3~g",
        log_y=True,
        y_range=(min(everything, default=0.1) / 1.6, max(everything, default=1.0) * 1.9),
        ceiling=(limit, "limit: (z<sub>s</sub> − z<sub>t</sub>)/C, matching centred logits")
        if limit > 0
        else None,
        height=460,
    )
    if labels > 0:
        truth = Line("true labels' own pull (does not depend on T)", known, colour("right"), labels)
        figure.add_trace(
            _curve(truth, norms["temperature"], ".3~g") | dict(line=dict(color=truth.tone, width=2))
        )
    return figure


def same_height(figures: Sequence[go.Figure]) -> None:
    """Give charts that stand side by side one vertical scale, from their curves' lowest value to
    the highest.
    """
    curves = [
        np.asarray(trace.y, dtype=np.float64)
        for figure in figures
        for trace in figure.data
        if trace.y is not None
    ]
    values = np.concatenate(curves or [np.zeros(0)])
    values = values[np.isfinite(values)]
    if len(values):
        margin = 0.04 * (float(np.ptp(values)) or 1.0)
        for figure in figures:
            figure.update_yaxes(range=[float(values.min()) - margin, float(values.max()) + margin])
