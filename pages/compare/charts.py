"""The Compare page's figures: models in, Plotly figures out, in the style that all charts share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from kdcore.analysis.comparison import COSTS, Comparison
from kdcore.analysis.curves import trace_name
from kdcore.analysis.logits import FloatArray, IntArray
from kdcore.charts.layout import as_label, base_axis, base_layout, notice
from kdcore.palette import GRID, INK, MUTED, Style, colour

MOST_WRITTEN = 20  # more classes than this would be a wall of numbers
_COST_FORMATS = {"single_milliseconds": ".3~g", "batch_milliseconds": ".3~g"}


def against_cost(found: Comparison, cost: str) -> go.Figure:
    """Draw accuracy, with its interval, against a cost (a key of ``COSTS``).

    A dotted line joins the Pareto front.
    """
    front = found.front(cost)
    known = [
        (at, price, numbers.accuracy)
        for at, numbers in enumerate(found.numbers)
        if (price := numbers.cost(cost)) is not None and numbers.accuracy is not None
    ]
    traces: list[dict[str, Any]] = [
        _front_line([(price, value) for at, price, value in known if front[at]])
    ]
    for at, price, value in known:
        low, high = found.numbers[at].interval or (value, value)
        name = as_label(found.styles[at].name)
        form = _COST_FORMATS.get(cost, ",.0f")
        traces.append(
            dict(
                type="scatter",
                mode="markers",
                uid=trace_name(found.contenders[at]),
                name=name + (" (on the front)" if front[at] else ""),
                x=[price],
                y=[value],
                error_y=dict(
                    type="data",
                    symmetric=False,
                    array=[high - value],
                    arrayminus=[value - low],
                    thickness=1.4,
                    width=5,
                    color=colour(found.styles[at].tone, alpha=0.6),
                ),
                marker=_marker(found.styles[at], 13)
                | (dict(line=dict(color=INK, width=2)) if front[at] else {}),
                hovertemplate=f"{name}: <b>%{{y:.2%}}</b> at %{{x:{form}}}<extra></extra>",
                cliponaxis=False,
            )
        )
    layout = base_layout(
        "Accuracy against cost: up and to the left is better",
        "Ringed and joined: the Pareto front, which no other model here beats in both. Bars: 95% interval.",
        height=430,
    )
    layout |= dict(showlegend=True, hovermode="closest")
    layout["xaxis"] = base_axis(f"{COSTS[cost]}, logarithmic", horizontal=True) | dict(
        type="log", showgrid=True
    )
    layout["xaxis"] |= dict(
        minorloglabels="complete", tickformat="~s" if cost not in _COST_FORMATS else "~g"
    )
    layout["yaxis"] = base_axis("test accuracy", horizontal=False) | dict(tickformat=".1~%")
    if not known:
        layout["annotations"] = [notice("Nothing to show yet: measure the models first")]
        layout["xaxis"]["visible"] = layout["yaxis"]["visible"] = False
    return go.Figure(traces, layout)


def _front_line(points: list[tuple[float, float]]) -> dict[str, Any]:
    points = sorted(points)
    return dict(
        type="scatter",
        mode="lines",
        uid="front",
        x=[x for x, _ in points],
        y=[y for _, y in points],
        hoverinfo="skip",
        line=dict(color=MUTED, width=1.6, dash="dot"),
        showlegend=False,
    )


def _marker(style: Style, pixels: int) -> dict[str, Any]:
    return dict(size=pixels, symbol=style.symbol, color=colour(style.tone))


def class_by_class(found: Comparison) -> go.Figure:
    """Draw each model's accuracy on each class.

    The classes that tell the models apart most come first.
    """
    known = [
        (at, each.per_class) for at, each in enumerate(found.numbers) if each.per_class is not None
    ]
    table = np.array([values for _, values in known]).reshape(len(known), -1)
    order = (
        np.argsort(-np.ptp(np.nan_to_num(table), axis=0), kind="stable")
        if len(known)
        else np.zeros(0, np.int64)
    )
    places = list(range(len(order)))
    traces: list[dict[str, Any]] = [
        dict(
            type="scatter",
            mode="lines",
            uid=f"span-{place}",
            x=[place, place],
            hoverinfo="skip",
            showlegend=False,
            y=[np.nanmin(table[:, at], initial=1.0), np.nanmax(table[:, at], initial=0.0)],
            line=dict(color=GRID, width=6),
        )
        for place, at in enumerate(order)
    ]
    for at, values in known:
        name = as_label(found.styles[at].name)
        traces.append(
            dict(
                type="scatter",
                mode="markers",
                uid=trace_name(found.contenders[at]),
                name=name,
                x=places,
                y=values[order],
                marker=_marker(found.styles[at], 11),
                cliponaxis=False,
                hovertemplate=f"{name} <b>%{{y:.1%}}</b><extra></extra>",
            )
        )
    layout = base_layout(
        "Accuracy on each class: the classes that tell the models apart most come first",
        "Mean over seeds, on test data.",
        height=360,
    )
    layout |= dict(showlegend=True, hovermode="x unified")
    layout["xaxis"] = (
        base_axis("true class", horizontal=True)
        | _names(found.class_names, order)
        | dict(fixedrange=True)
    )
    layout["yaxis"] = base_axis("share of its examples that is right", horizontal=False) | dict(
        tickformat=".0%"
    )
    return go.Figure(traces, layout)


def _names(class_names: Sequence[str], order: IntArray) -> dict[str, Any]:
    names = [as_label(class_names[at]) for at in order]
    return dict(tickvals=list(range(len(names))), ticktext=names, tickfont=dict(size=12, color=INK))


def confusion(matrix: IntArray, class_names: Sequence[str], style: Style) -> go.Figure:
    """Draw one model's confusion matrix as shares of each true class (%).

    The diagonal is left out of the colours.
    """
    shares = _shares(matrix)
    errors = np.where(np.eye(len(shares), dtype=bool), np.nan, shares)
    highest = float(np.nanmax(errors, initial=0.0)) or 0.01
    scale = [
        [step / 4, colour(style.tone, alpha=round(0.03 + 0.19 * step, 2))] for step in range(5)
    ]
    spoken = _spoken(shares, class_names, "{true}: <b>{value:.1%}</b> taken for {other}")
    figure = _heatmap(errors, class_names, scale, (0.0, highest), spoken, "confusion")
    figure["layout"] |= base_layout(
        as_label(style.name), "Rows: true class. Colour: how often it is taken for another.", 400
    )
    figure["layout"]["annotations"] = _cells(shares, signed=False)
    return go.Figure(figure["data"], figure["layout"])


def confusion_difference(
    first: IntArray, second: IntArray, class_names: Sequence[str], styles: tuple[Style, Style]
) -> go.Figure:
    """Draw how two confusion matrices differ: first minus second, in percentage points of each true
    class.
    """
    difference = _shares(first) - _shares(second)
    most = float(np.nanmax(np.abs(difference), initial=0.0)) or 0.01
    strong = [colour(style.tone, alpha=0.85) for style in styles]
    faint = [colour(style.tone, alpha=0.03) for style in styles]
    scale = [[0.0, strong[1]], [0.5, faint[1]], [0.5, faint[0]], [1.0, strong[0]]]
    spoken = _spoken(
        difference, class_names, "{true} taken for {other}: <b>{value:+.1%}</b> of its examples"
    )
    figure = _heatmap(difference, class_names, scale, (-most, most), spoken, "difference")
    figure["layout"] |= base_layout(
        "Difference: first minus second",
        "In points, in the colour of who says so more often.",
        400,
    )
    figure["layout"]["annotations"] = _cells(difference, signed=True)
    return go.Figure(figure["data"], figure["layout"])


def _shares(matrix: IntArray) -> FloatArray:
    totals = matrix.sum(axis=1, keepdims=True)
    return np.divide(matrix, totals, out=np.full(matrix.shape, np.nan), where=totals > 0)


def _heatmap(
    z: FloatArray,
    class_names: Sequence[str],
    scale: list[list[Any]],
    ends: tuple[float, float],
    spoken: list[list[str]],
    uid: str,
) -> dict[str, Any]:
    places = list(
        range(len(class_names))
    )  # positions, not names: digits as names would make a numeric axis
    names = _names(class_names, np.arange(len(class_names)))
    names |= dict(ticks="", showgrid=False, showline=False, fixedrange=True)
    heatmap = dict(
        type="heatmap",
        uid=uid,
        z=z,
        x=places,
        y=places,
        zmin=ends[0],
        zmax=ends[1],
        xgap=2,
        ygap=2,
        text=spoken,
        colorscale=scale,
        hovertemplate="%{text}<extra></extra>",
        hoverongaps=False,
        showscale=False,
    )
    layout = dict(
        xaxis=base_axis("named class", horizontal=True) | names,
        yaxis=base_axis("true class", horizontal=False) | names | dict(autorange="reversed"),
    )
    return {"data": [heatmap], "layout": layout}


def _spoken(values: FloatArray, class_names: Sequence[str], words: str) -> list[list[str]]:
    names = [as_label(name) for name in class_names]
    return [
        [
            words.format(true=true, other=other, value=value)
            if np.isfinite(value)
            else f"no {true} in the data"
            for other, value in zip(names, row, strict=True)
        ]
        for true, row in zip(names, values, strict=True)
    ]


def _cells(values: FloatArray, *, signed: bool) -> list[dict[str, Any]]:
    """Percentages in the cells from 1 % up, and always on the diagonal."""
    found = []
    for row, column in np.argwhere(np.isfinite(values)) if len(values) <= MOST_WRITTEN else ():
        value = float(values[row, column])
        if abs(value) >= 0.01 or (row == column and not signed):
            text = f"{100 * value:+.0f}" if signed else f"{100 * value:.0f}"
            tone = MUTED if row == column and not signed else INK
            font = dict(size=11, color=tone)
            found.append(dict(text=text, x=int(column), y=int(row), showarrow=False, font=font))
    return found
