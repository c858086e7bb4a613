"""Softened distributions of several models as rows of bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from kdcore.analysis.logits import FloatArray
from kdcore.charts.layout import base_axis, base_layout
from kdcore.errors import require
from kdcore.palette import CLEAR, GRID, INK, colour

# One row of `distributions`: title, role, probabilities [classes], and the probabilities to outline
# behind them.
Distribution = tuple[str, str, Sequence[float] | FloatArray, Sequence[float] | FloatArray | None]
LOG_FLOOR = 1e-6


def distributions(
    class_names: Sequence[str],
    rows: Sequence[Distribution],
    *,
    label: int | None = None,
    log: bool = False,
) -> go.Figure:
    """Draw probability distributions over the classes, one above the other, with bars in their
    role's colour.

    Args:
        class_names: C names.
        rows: (title, role, probabilities [C], ghost [C] or None) each; the ghost, usually the
            teacher's softened distribution, is outlined behind the bars.
        label: index of the true class, which is marked in every row.
        log: logarithmic probabilities, from ``LOG_FLOOR`` up; shows the teacher's dark knowledge at
            low temperatures.

    Raises ConfigError where lengths or the label do not fit the classes.
    """
    count = len(class_names)
    require(len(rows) > 0, "rows", "at least one distribution", rows)
    for _, _, probabilities, ghost in rows:
        require(len(probabilities) == count, "probabilities", f"{count} long", len(probabilities))
        require(ghost is None or len(ghost) == count, "ghost", f"{count} long", ghost)
    require(label is None or 0 <= label < count, "label", f"from 0 to {count - 1}", label)

    names = [f"<b>{name}</b>" if index == label else name for index, name in enumerate(class_names)]
    outlined = any(ghost is not None for *_, ghost in rows)
    said = ["Outlined: the teacher's distribution."] * outlined + ["Shaded: the true class."] * (
        label is not None
    )
    layout = base_layout(
        "Probability of each class", " ".join(said) or None, height=110 + 112 * len(rows)
    )
    layout |= dict(
        barmode="overlay", bargap=0, showlegend=False, hovermode="x unified", hoversubplots="axis"
    )
    layout["xaxis"] = base_axis(None, horizontal=True) | dict(
        showspikes=False,
        tickvals=list(range(count)),
        ticktext=names,
        tickfont=dict(size=12, color=INK),
        autotickangles=[0, -45, -90],
        range=[-0.6, count - 0.4],
        fixedrange=True,
        anchor="y" if len(rows) == 1 else f"y{len(rows)}",
    )
    layout["annotations"], bars = [], []
    for index, row in enumerate(rows):
        top = 1 - index / len(rows)
        axis = "y" if index == 0 else f"y{index + 1}"
        layout[f"yaxis{axis[1:]}"] = _probability_axis(
            top - 1 / len(rows), top - 0.26 / len(rows), log
        )
        layout["annotations"].append(_row_title(row[0], row[1], top - 0.25 / len(rows)))
        bars += _bars(index, axis, row, log)
    if label is not None:
        layout["shapes"] = [_true_class_band(label)]
    return go.Figure(bars, layout)


def _bars(index: int, axis: str, row: Distribution, log: bool) -> list[dict[str, Any]]:
    """One row's bars, with the ghost's outline drawn around them."""
    title, role, probabilities, ghost = row
    shown = np.asarray(probabilities, dtype=np.float64)
    common = dict(type="bar", x=list(range(len(shown))), yaxis=axis)
    bars: list[dict[str, Any]] = [
        common
        | dict(
            uid=f"row-{index}",
            y=np.maximum(shown, LOG_FLOOR) if log else shown,
            width=0.62,
            marker=dict(color=colour(role, alpha=0.85)),
            customdata=shown,
            name=title,
            hovertemplate=f"{title} <b>%{{customdata:.3~%}}</b><extra></extra>",
        )
    ]
    highest = shown
    if ghost is not None:
        outline = np.asarray(ghost, dtype=np.float64)
        highest = np.maximum(shown, outline)
        bars.append(
            common
            | dict(
                uid=f"ghost-{index}",
                y=np.maximum(outline, LOG_FLOOR) if log else outline,
                width=0.84,
                marker=dict(color=CLEAR, line=dict(color=colour("teacher"), width=1.6)),
                customdata=outline,
                name="teacher (outline)",
                hovertemplate="teacher (outline) <b>%{customdata:.3~%}</b><extra></extra>",
            )
        )
    return [*bars, common | _numbers(index, role, shown, highest, log)]


def _numbers(
    index: int, role: str, shown: FloatArray, highest: FloatArray, log: bool
) -> dict[str, Any]:
    """Percentages from 1 % up, clear of both bar and outline."""
    return dict(
        type="scatter",
        mode="text",
        uid=f"numbers-{index}",
        y=np.maximum(highest, LOG_FLOOR) * 1.2 if log else highest + 0.03,
        text=[_percent(value) if value >= 0.01 else "" for value in shown],
        textposition="top center",
        textfont=dict(size=11, color=colour(role)),
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )


def _probability_axis(bottom: float, top: float, log: bool) -> dict[str, Any]:
    if log:
        scale = dict(
            type="log", range=[np.log10(LOG_FLOOR), 0.9], tickvals=[LOG_FLOOR, 1e-4, 1e-2, 1]
        )
        scale["ticktext"] = ["0.0001%", "0.01%", "1%", "100%"]
    else:
        scale = dict(range=[0, 1.25], tickvals=[0, 0.5, 1], ticktext=["0%", "50%", "100%"])
    return (
        base_axis(None, horizontal=False)
        | scale
        | dict(domain=[max(bottom, 0), top], anchor="x", fixedrange=True)
    )


def _row_title(title: str, role: str, y: float) -> dict[str, Any]:
    place = dict(
        x=0, xref="paper", xanchor="left", y=y, yref="paper", yanchor="bottom", showarrow=False
    )
    return place | dict(text=title, font=dict(size=13, color=colour(role), weight=600))


def _true_class_band(label: int) -> dict[str, Any]:
    """A quiet column behind the true class in every row; its name on the axis is bold as well."""
    corners = dict(xref="x", x0=label - 0.5, x1=label + 0.5, yref="paper", y0=0, y1=1)
    return corners | dict(
        type="rect", fillcolor=GRID, opacity=0.6, line=dict(width=0), layer="below"
    )


def _percent(value: float) -> str:
    return f"{value:.0%}" if value >= 0.1 else f"{value:.1%}"
