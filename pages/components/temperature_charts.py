"""The temperature page's figures: arrays in, Plotly figures out, in the look that all charts share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from kdcore.errors import require
from kdcore.statistics import FloatArray, Reliability
from kdcore.temperature import format_percent, softmax
from pages.components.charts import LOG_FLOOR, style
from pages.components.palette import GRID, INK, MUTED, colour

T_TICKS = (0.5, 1, 2, 5, 10, 20)
T_TITLE = "temperature T (logarithmic)"
PROBABILITY_TICKS = {1e-6: "0.0001%", 1e-4: "0.01%", 1e-2: "1%", 1.0: "100%"}
HEATMAP_FLOOR = 1e-5


class Line(NamedTuple):
    """A curve over T: its name, values [temperatures], colour and dash, and its value at the chosen T."""

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
    """Draw quantities over T, with the chosen T as a vertical line and the values there written at it.

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
    figure = go.Figure()
    for line in lines:
        figure.add_scatter(
            uid=line.name, name=line.name, x=temperatures, y=line.values, mode="lines", cliponaxis=False,
            line=dict(color=line.tone, width=2.6, dash=line.dash), legendgroup=line.name,
            hovertemplate=f"{line.name} <b>%{{y:{number}}}</b><extra></extra>",
        )  # fmt: skip
    for line in lines:
        figure.add_scatter(
            uid=f"{line.name}/now", x=[chosen], y=[line.now], mode="markers+text", legendgroup=line.name,
            marker=dict(color=line.tone, size=11, line=dict(color=GRID, width=2)), cliponaxis=False,
            texttemplate=f"<b>%{{y:{number}}}</b>", textfont=dict(color=line.tone, size=13),
            textposition="top left" if chosen > 4 else "top right", showlegend=False, hoverinfo="skip",
        )  # fmt: skip
    style(figure, title, T_TITLE, y, subtitle=subtitle, height=height)
    figure.update_layout(hovermode="x unified", showlegend=len(lines) > 1)
    _temperature_axis(figure)
    scale: dict[str, Any] = dict(tickformat=number)
    if log_y:
        scale |= dict(type="log", dtick=1, tickformat=".1~g")
    if y_range is not None:
        scale["range"] = [math.log10(end) for end in y_range] if log_y else list(y_range)
    figure.update_yaxes(**scale)
    figure.add_shape(**_vertical(chosen, INK, 1.2, "solid"))
    if ceiling is not None:
        value, name = ceiling
        figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=value, y1=value, layer="below",
                         line=dict(color=MUTED, width=1.4, dash="dot"))  # fmt: skip
        figure.add_annotation(text=name, x=0, xref="paper", xanchor="left", yanchor="bottom", showarrow=False,
                              y=math.log10(value) if log_y else value, font=dict(size=12, color=MUTED))  # fmt: skip
    if landmark is not None:
        where, name = landmark
        figure.add_shape(**_vertical(where, MUTED, 1.4, "dot"))
        left = where > 4
        figure.add_annotation(text=name, x=math.log10(where), y=0.99, yref="paper", yanchor="top", showarrow=False,
                              xanchor="right" if left else "left", xshift=-4 if left else 4,
                              font=dict(size=12, color=MUTED))  # fmt: skip
    return figure


def _temperature_axis(figure: go.Figure) -> None:
    figure.update_xaxes(
        type="log", range=[math.log10(T_TICKS[0]), math.log10(T_TICKS[-1])], tickvals=list(T_TICKS),
        ticktext=[f"{tick:g}" for tick in T_TICKS], unifiedhovertitle=dict(text="T = %{x:.3~g}"),
    )  # fmt: skip


def _vertical(x: float, tone: str, width: float, dash: str) -> dict[str, Any]:
    """A line across the chart's height at temperature ``x``."""
    corners = dict(type="line", x0=x, x1=x, yref="paper", y0=0, y1=1, layer="below")
    return corners | dict(line=dict(color=tone, width=width, dash=dash))


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
        label: the true class; its bar is filled, the others are lighter.
        log: logarithmic probabilities from ``LOG_FLOOR`` up.
        columns: panels a row.
    """
    classes, rows = len(class_names), math.ceil(len(temperatures) / columns)
    require(logits.shape == (classes,), "logits", f"{classes} values, one a class name", logits.shape)
    nearest = min(temperatures, key=lambda each: abs(math.log(each / chosen)))
    figure = go.Figure()
    panels: list[tuple[str, str]] = []
    for index, temperature in enumerate(temperatures):
        suffix = "" if index == 0 else str(index + 1)
        panels.append((f"x{suffix}", f"y{suffix}"))
        shown = softmax(logits, temperature)
        strong = 1.0 if temperature == nearest else 0.5
        tones = [colour("teacher", alpha=strong if each == label else 0.6 * strong) for each in range(classes)]
        figure.add_bar(
            uid=f"T {temperature:g}", x=list(range(classes)), y=np.maximum(shown, LOG_FLOOR) if log else shown,
            xaxis=panels[-1][0], yaxis=panels[-1][1], marker=dict(color=tones), width=0.78, showlegend=False,
            customdata=[[name, format_percent(float(value))] for name, value in zip(class_names, shown, strict=True)],
            hovertemplate=f"T = {temperature:g}: %{{customdata[0]}} <b>%{{customdata[1]}}</b><extra></extra>",
        )  # fmt: skip
    style(figure, "The same answer at six temperatures",
          subtitle="From left to right the lead melts away, but no two classes ever change places.",
          height=70 + 150 * rows)  # fmt: skip
    for index, (temperature, (x, y)) in enumerate(zip(temperatures, panels, strict=True)):
        row, column = divmod(index, columns)
        left, width = column / columns, 1 / columns
        top, height = 1 - row / rows, 1 / rows
        across = dict(domain=[left + (0.02 if column else 0), left + width], anchor=y, range=[-0.6, classes - 0.4],
                      tickvals=list(range(classes)), ticktext=list(class_names), tickfont=dict(size=10, color=MUTED),
                      showline=True, linecolor=GRID, showgrid=False, zeroline=False, fixedrange=True)  # fmt: skip
        if max(map(len, class_names)) > 2:
            across["showticklabels"] = False  # the chart above has the names, and so has the hover
        up = dict(domain=[max(0.0, top - height + 0.16 / rows), top - 0.16 / rows], anchor=x, fixedrange=True,
                  gridcolor=GRID, zeroline=False, showticklabels=column == 0, tickfont=dict(size=11, color=MUTED),
                  **_probability_scale(log))  # fmt: skip
        figure.update_layout({f"xaxis{x[1:]}": across, f"yaxis{y[1:]}": up})
        bold = temperature == nearest
        figure.add_annotation(
            text=f"<b>T = {temperature:g}</b>" if bold else f"T = {temperature:g}", x=left + (0.02 if column else 0),
            xref="paper", xanchor="left", y=top - 0.15 / rows, yref="paper", yanchor="bottom", showarrow=False,
            font=dict(size=13, color=colour("teacher") if bold else MUTED),
        )  # fmt: skip
    return figure


def _probability_scale(log: bool) -> dict[str, Any]:
    if log:
        ticks = dict(tickvals=list(PROBABILITY_TICKS), ticktext=list(PROBABILITY_TICKS.values()))
        return ticks | dict(type="log", range=[math.log10(LOG_FLOOR), 0.1])
    return dict(range=[0, 1.05], tickvals=[0, 0.5, 1], ticktext=["0%", "50%", "100%"])


def similarity(matrix: FloatArray, class_names: Sequence[str], temperature: float, *, log: bool = False) -> go.Figure:
    """Draw the mean soft label of each true class as a heatmap whose diagonal is left out of the colours.

    Args:
        matrix: [classes, classes], row = true class; a row of nan has no examples.
        class_names: a name a class.
        temperature: T at which it was taken, for the title.
        log: colour by the logarithm of the probability.
    """
    classes = len(class_names)
    require(matrix.shape == (classes, classes), "matrix", f"{classes} x {classes}", matrix.shape)
    others = np.where(np.eye(classes, dtype=bool), np.nan, matrix)
    highest = max(float(np.nanmax(others)) if np.isfinite(others).any() else 0.0, HEATMAP_FLOOR * 10)
    shades = np.log10(np.maximum(others, HEATMAP_FLOOR)) if log else others
    low, high = (math.log10(HEATMAP_FLOOR), math.log10(highest)) if log else (0.0, highest)
    if log:
        decades = range(math.ceil(low), math.floor(high) + 1)
        bar = dict(tickvals=list(decades), ticktext=[format_percent(10.0**decade) for decade in decades])
    else:
        bar = dict(tickformat=".1~%", nticks=5)
    spoken = [[f"{name} that is <b>{format_percent(float(matrix[row, column]))}</b> {class_names[column]}"
               if np.isfinite(matrix[row, column]) else "no examples" for column in range(classes)]
              for row, name in enumerate(class_names)]  # fmt: skip
    # Positions, not names: digits as names would make a numeric axis.
    places = list(range(classes))
    figure = go.Figure(
        go.Heatmap(
            uid="similarity",
            z=shades,
            x=places,
            y=places,
            zmin=low,
            zmax=high,
            xgap=2,
            ygap=2,
            text=spoken,
            colorscale=[[step / 4, colour("teacher", alpha=round(0.03 + 0.19 * step, 2))] for step in range(5)],
            hovertemplate="%{text}<extra></extra>",
            hoverongaps=False,
            colorbar=dict(thickness=10, outlinewidth=0, len=0.9, tickfont=dict(size=11, color=MUTED), **bar),
        )
    )
    style(figure, f"What each class looks like to the teacher at T = {temperature:g}", "probability given to", "true class",
          subtitle="Read along a row: the darker a cell, the more of that other class the teacher sees in it.",
          height=520)  # fmt: skip
    names = dict(tickvals=places, ticktext=list(class_names), showgrid=False, showline=False, fixedrange=True)
    figure.update_xaxes(**names, side="bottom", tickfont=dict(size=12, color=INK))
    figure.update_yaxes(**names, autorange="reversed", tickfont=dict(size=12, color=INK))
    figure.update_layout(annotations=_cell_texts(matrix))
    return figure


def _cell_texts(matrix: FloatArray) -> list[dict[str, Any]]:
    """The diagonal in words, quietly, and every cell from 1 % up; more would be a table."""
    found = []
    for row, column in np.argwhere(np.isfinite(matrix)):
        value = matrix[row, column]
        diagonal = row == column
        if diagonal or (value >= 0.01 and len(matrix) <= 20):
            font = dict(size=11, color=MUTED if diagonal else INK)
            text = f"{value:.0%}" if diagonal or value >= 0.095 else f"{value:.1%}"
            found.append(dict(x=int(column), y=int(row), text=text, showarrow=False, font=font))
    return found


def confusions(found: Sequence[tuple[str, str, float]], temperature: float) -> go.Figure:
    """Draw the most alike pairs (true class, other class, mean probability) as bars, the strongest first."""
    values = [value for *_, value in found]
    figure = go.Figure(
        go.Bar(
            uid="confusions",
            orientation="h",
            x=values,
            y=list(range(len(found))),
            width=0.66,
            marker=dict(color=colour("teacher", alpha=0.85)),
            text=[format_percent(value) for value in values],
            textposition="outside",
            textfont=dict(color=colour("teacher"), size=12),
            cliponaxis=False,
            customdata=[[true, other] for true, other, _ in found],
            hovertemplate="%{customdata[0]} that is %{text} %{customdata[1]}<extra></extra>",
        )
    )
    style(figure, "Most alike", f"mean probability at T = {temperature:g}", height=520,
          subtitle="True class → the class it is most taken for. Few teachers are told this; they find it out.")  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(found))), ticktext=[f"{true} → {other}" for true, other, _ in found],
        autorange="reversed", tickfont=dict(size=13, color=INK), fixedrange=True, showgrid=False,
    )  # fmt: skip
    longest = max(values, default=0) or 1.0
    figure.update_xaxes(tickformat=".1~%", range=[0, 1.28 * longest], nticks=5, fixedrange=True, showgrid=True)
    return figure


def reliability_diagrams(panels: Mapping[str, tuple[Reliability, float]]) -> go.Figure:
    """Draw reliability diagrams side by side: accuracy over confidence, one bar a bin, against the diagonal.

    Args:
        panels: title -> (diagram, expected calibration error).
    """
    figure, count = go.Figure(), len(panels)
    style(figure, "Can its probabilities be believed?",
          subtitle="Bars on the diagonal: of the answers given with 80 % confidence, 80 % are right. "
          "Below it the teacher is too sure, above it too modest; dark bars hold many examples.", height=330)  # fmt: skip
    for index, (title, (diagram, error)) in enumerate(panels.items()):
        suffix = "" if index == 0 else str(index + 1)
        bins = len(diagram.count)
        share = diagram.count / max(1, diagram.count.sum())
        filled = diagram.count > 0
        figure.add_bar(
            uid=f"panel {index}", x=((np.arange(bins) + 0.5) / bins)[filled], y=diagram.accuracy[filled], width=0.92 / bins,
            xaxis=f"x{suffix}", yaxis=f"y{suffix}", showlegend=False,
            marker=dict(color=[colour("teacher", alpha=round(0.25 + 0.7 * min(1.0, 2 * value), 3)) for value in share[filled]]),
            customdata=np.stack([diagram.confidence[filled], diagram.count[filled]], axis=1),
            hovertemplate="%{customdata[1]:,} examples, confidence %{customdata[0]:.1%}: <b>%{y:.1%}</b> right<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            uid=f"diagonal {index}", x=[0, 1], y=[0, 1], mode="lines", xaxis=f"x{suffix}", yaxis=f"y{suffix}",
            line=dict(color=MUTED, width=1.4, dash="dot"), hoverinfo="skip", showlegend=False,
        )  # fmt: skip
        left, right = index / count + (0.025 if index else 0), (index + 1) / count
        ticks = dict(range=[0, 1], tickvals=[0, 0.5, 1], ticktext=["0%", "50%", "100%"], fixedrange=True, zeroline=False,
                     gridcolor=GRID, linecolor=GRID, tickfont=dict(size=11, color=MUTED))  # fmt: skip
        across = ticks | dict(domain=[left, right], anchor=f"y{suffix}", showgrid=False, showline=True,
                              title=dict(text="confidence", font=dict(size=12, color=MUTED), standoff=6))  # fmt: skip
        up = ticks | dict(domain=[0, 0.8], anchor=f"x{suffix}", showticklabels=index == 0, automargin=True)
        if index == 0:
            up["title"] = dict(text="share that is right", font=dict(size=12, color=MUTED), standoff=6)
        figure.update_layout({f"xaxis{suffix}": across, f"yaxis{suffix}": up})
        figure.add_annotation(
            text=f"<b>{title}</b><br>off by {error:.1%}", x=left, xref="paper", xanchor="left", align="left",
            y=0.83, yref="paper", yanchor="bottom", showarrow=False, font=dict(size=12, color=INK),
        )  # fmt: skip
    return figure


def gradient_chart(
    norms: Mapping[str, FloatArray], chosen: float, now: Mapping[str, float], labels: float
) -> go.Figure:
    """Draw the length of the soft loss's gradient over T, with the factor T² and without, and what it tends to.

    Args:
        norms: as from :func:`kdcore.temperature.gradient_norms`.
        chosen: the slider's T.
        now: the same at the chosen T.
        labels: the length of the gradient of the loss on true labels, for comparison.
    """
    without = norms["without_t_squared"]
    lines = [
        Line("with T²", norms["with_t_squared"], colour("student"), now["with_t_squared"]),
        Line("without", without, MUTED, now["without_t_squared"], "dash"),
    ]
    limit = float(norms["limit"][0])
    everything = [value for value in (*without, *norms["with_t_squared"], limit, labels) if value > 0]
    ends = (min(everything, default=0.1) / 1.6, max(everything, default=1.0) * 1.9)
    figure = over_temperature(
        "How hard the teacher pulls at the student's logits",
        "Without T² the pull dies away like 1/T² while that of the true labels stays; with T² it settles at the dotted line.",
        norms["temperature"], lines, chosen, y="mean length of the gradient", number=".3~g", log_y=True, y_range=ends,
        ceiling=(limit, "limit: match centred logits, (z_s − z_t)/C") if limit > 0 else None, height=400,
    )  # fmt: skip
    if labels > 0:
        figure.add_scatter(
            uid="labels", name="loss on true labels (knows no T)", x=[T_TICKS[0], T_TICKS[-1]], y=[labels, labels],
            mode="lines", line=dict(color=colour("right"), width=2), hovertemplate="true labels <b>%{y:.3~g}</b><extra></extra>",
        )  # fmt: skip
    return figure


def same_height(figures: Sequence[go.Figure]) -> None:
    """Give charts that stand side by side one vertical scale, from their curves' lowest value to the highest."""
    values = np.concatenate(
        [np.asarray(trace.y, dtype=np.float64) for figure in figures for trace in figure.data if trace.y is not None]
        or [np.zeros(0)]
    )
    values = values[np.isfinite(values)]
    if len(values):
        margin = 0.04 * (float(np.ptp(values)) or 1.0)
        for figure in figures:
            figure.update_yaxes(range=[float(values.min()) - margin, float(values.max()) + margin])
