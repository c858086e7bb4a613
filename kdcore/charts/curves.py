"""How accuracy, loss and speed went on, over epochs, steps or seconds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from kdcore.analysis.logits import FloatArray
from kdcore.analysis.statistics import t_half_width
from kdcore.charts.layout import SPIKE, as_label, base_axis, base_layout, notice, whole_ticks
from kdcore.errors import require
from kdcore.methods import METHODS
from kdcore.palette import MUTED, ROLE_STYLES, Style, colour

POINTS_PER_CURVE = 1000  # two a pixel on a wide screen


class Measure(NamedTuple):
    """How one measure is named and written: title of the chart, of its axis, number formats
    (d3's).
    """

    title: str
    axis: str
    ticks: str
    hover: str


MEASURES = {
    "accuracy": Measure("Accuracy: higher is better", "accuracy", ".4~%", ".2%"),
    "loss": Measure("Loss: lower is better", "loss (nats)", "", ".4f"),
    "hard_loss": Measure(
        "Loss against the true labels: lower is better", "cross-entropy (nats)", "", ".4f"
    ),
    "soft_loss": Measure(
        "Distance from the teacher: lower is closer", "T² × KL divergence (nats)", "", ".4f"
    ),
    "learning_rate": Measure("Learning rate", "learning rate", ".2~g", ".3~g"),
    "examples_per_second": Measure(
        "Training speed: higher is faster", "examples per second", ".3~s", ",.0f"
    ),
}
# These exist on training and on validation data: a chart of one says which.
OF_A_SPLIT = ("accuracy", "loss", "hard_loss", "soft_loss")
X_TITLES = {"epoch": "epoch", "step": "training step", "seconds": "time (s)"}
X_HOVER = {"epoch": "epoch %{x:.2~f}", "step": "step %{x:,.0f}", "seconds": "%{x:.1f} s"}


def downsample(
    x: FloatArray, y: FloatArray, limit: int = POINTS_PER_CURVE
) -> tuple[FloatArray, FloatArray]:
    """Thin a curve to at most ``limit`` points: the first, the last, and the lowest and highest of
    each bin between.

    Spikes survive, which plain striding loses. Curves that are short enough come back as they are.
    """
    require(limit >= 4, "limit", "at least 4", limit)
    if len(x) <= limit:
        return x, y
    edges = np.linspace(1, len(x) - 1, (limit - 2) // 2 + 1).astype(int)
    inner = [
        start + np.array([np.argmin(y[start:stop]), np.argmax(y[start:stop])])
        for start, stop in itertools.pairwise(edges)
    ]
    keep = np.unique(np.concatenate([[0], *inner, [len(x) - 1]]))
    return x[keep], y[keep]


def smooth(values: FloatArray, weight: float) -> FloatArray:
    """Return the running mean with exponential weights: 0 leaves ``values``, towards 1 only the
    trend stays.

    m_i = w·m_(i-1) + (1 - w)·v_i, divided by 1 - w^i, so that the start is not pulled towards zero.
    """
    require(0 <= weight < 1, "smoothing", "at least 0 and below 1", weight)
    if weight == 0 or len(values) == 0:
        return values
    return pd.Series(values).ewm(alpha=1 - weight, adjust=True).mean().to_numpy(dtype=np.float64)


def mean_and_band(
    curves: Sequence[tuple[FloatArray, FloatArray]],
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Average curves (x, y) that may differ in length; returns x, mean, lower, upper.

    At each x the mean is over the curves that have got there. The band is the 95 % t interval of
    the mean from three curves on, lowest to highest with two, and has no width with one.
    """
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    if len(grid) > POINTS_PER_CURVE:
        grid = grid[np.linspace(0, len(grid) - 1, POINTS_PER_CURVE).astype(int)]
    table = np.stack([np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in curves])
    present = ~np.isnan(table)
    count = present.sum(axis=0)
    mean = np.where(present, table, 0).sum(axis=0) / count
    squares = np.where(present, (table - mean) ** 2, 0).sum(axis=0)
    error = np.sqrt(squares / np.maximum(count - 1, 1) / count)
    half = t_half_width(error, np.maximum(count, 2))
    wide = count >= 3
    lower = np.where(wide, mean - half, np.where(present, table, np.inf).min(axis=0))
    upper = np.where(wide, mean + half, np.where(present, table, -np.inf).max(axis=0))
    return grid, mean, lower, upper


def learning_curves(
    metrics: pd.DataFrame,
    *,
    measure: str,
    x: str = "epoch",
    teacher: float | None = None,
    smoothing: float = 0.0,
    log_y: bool = False,
    show_seeds: bool = False,
    end: float | None = None,
    styles: Mapping[str, Style] = ROLE_STYLES,
    method: str = "logits",
    behind: pd.DataFrame | None = None,
) -> go.Figure:
    """Draw one measure over the course of training: a bold line a role on validation data, a faint
    one on training data.

    Args:
        metrics: one row a measurement, with columns role, seed, split ("train" or "validation"),
            step, epoch, seconds, and the measures; NaN where a measure was not taken.
        measure: a key of ``MEASURES``, or a curve of the method's own.
        x: "epoch", "step" or "seconds".
        teacher: the teacher's own value on validation data, drawn as a dashed line.
        smoothing: weight of the running mean over what is measured on training batches, from 0 to
            below 1. What is measured on validation data is always drawn as it is.
        log_y: logarithmic vertical axis.
        show_seeds: with several seeds, also draw each one's curve.
        end: where the x axis ends, for a live run whose length is known; the curves then grow into
            the chart.
        styles: how to draw each value of the column role, in the legend's order; for models of
            several experiments these are keys of letters, digits and dashes.
        method: the name of the students' distillation method, whose loss "soft_loss" is.
        behind: measurements of another experiment, drawn as thin dashed lines of the mean.

    With several seeds a line is their mean, with a band (see :func:`mean_and_band`). Raises
    ConfigError for an unknown measure or x.
    """
    known = _measures(method)
    require(measure in known, "measure", f"one of {', '.join(known)}", measure)
    require(x in X_TITLES, "x", f"one of {', '.join(X_TITLES)}", x)
    card = known[measure]
    if measure not in metrics:  # a method's own, of which no point has come yet
        metrics = metrics.assign(**{measure: np.nan})
    curves = _curves(metrics, measure, x, smoothing)
    traces: list[dict[str, Any]] = _lines_behind(behind, measure, x, styles, card)
    seeds: set[int] = set()
    for rank, (role, style) in reversed(list(enumerate(styles.items()))):
        validation, training = curves.get((role, "validation"), {}), curves.get((role, "train"), {})
        if validation and training:
            traces.append(_training_line(role, style, training, card))
        if validation or training:
            seeds.add(len(validation or training))
            traces += _bold_lines(role, style, rank, validation or training, card, show_seeds)
    if any(trace["legendgroup"] == "training" for trace in traces):
        traces.append(_training_legend(smoothing))
    if teacher is not None:
        traces.append(_teacher_line(teacher, *_extent(curves, end), card))

    title, axis = card.title, card.axis
    if measure in OF_A_SPLIT and curves:
        split = "validation" if any(split == "validation" for _, split in curves) else "training"
        what, colon, rest = card.title.partition(":")
        title, axis = f"{what} on {split} data{colon}{rest}", f"{card.axis}, {split}"
    layout = base_layout(title, _about_seeds(seeds)) | dict(hovermode="x unified", showlegend=True)
    across, up = base_axis(X_TITLES[x], horizontal=True), base_axis(axis, horizontal=False)
    across |= SPIKE | dict(unifiedhovertitle=dict(text=X_HOVER[x]))
    up["tickformat"] = card.ticks
    if log_y:
        up |= dict(type="log", dtick="D2", minorloglabels="complete")
    if x == "epoch":
        across |= whole_ticks(_extent(curves, end)[1])
    if end is not None:
        across["range"] = [0, end * 1.01]
    if not curves:
        layout["annotations"] = [notice("No measurements yet")]
        across["visible"] = up["visible"] = False
    return go.Figure(traces, layout | dict(xaxis=across, yaxis=up))


def _lines_behind(
    metrics: pd.DataFrame | None, measure: str, x: str, styles: Mapping[str, Style], card: Measure
) -> list[dict[str, Any]]:
    """Return the means of another experiment's validation curves, a line a role of ``styles``."""
    if metrics is None or measure not in metrics:
        return []
    curves = _curves(metrics, measure, x, 0.0)
    lines: list[dict[str, Any]] = []
    for role, style in styles.items():
        seeds = curves.get((role, "validation"), {})
        if role == "teacher" or not seeds:
            continue
        across, mean, *_ = mean_and_band(list(seeds.values()))
        name = f"{as_label(style.name)}, before"
        line = _line(f"{role}-before", across, mean, "before", colour(style.tone, alpha=0.8))
        line["line"]["dash"] = "dash"
        hover = f"{name} %{{y:{card.hover}}}<extra></extra>"
        lines.append(line | dict(name=name, hoverinfo="all", hovertemplate=hover))
    if lines:  # one entry of the legend for all of them
        lines[0] |= dict(showlegend=True, legendrank=900)
        lines[0]["name"] = "the experiment before"
    return lines


def _measures(method: str) -> dict[str, Measure]:
    """Return the measures of a method's runs: its loss is named after it, and it may have more."""
    if method == "logits" or method not in METHODS:
        return MEASURES
    card = METHODS[method]
    own = MEASURES["soft_loss"]._replace(title=f"{card.title}: its loss", axis="loss")
    curves = {
        curve.name: Measure(curve.title, curve.title.lower(), "", ".4f") for curve in card.curves
    }
    return {**MEASURES, "soft_loss": own, **curves}


def _about_seeds(counts: set[int]) -> str | None:
    if not counts or max(counts) == 1:
        return None
    fewest, most = min(counts), max(counts)
    band = "95% interval of the mean" if most > 2 else "lowest to highest"
    return f"Line: mean of {most if fewest == most else f'{fewest} to {most}'} seeds. Band: {band}."


def _curves(
    metrics: pd.DataFrame, measure: str, x: str, smoothing: float
) -> dict[tuple[str, str], dict[int, tuple[FloatArray, FloatArray]]]:
    """Sort the table into (role, split) -> seed -> (x, y), by rising x and without gaps."""
    curves: dict[tuple[str, str], dict[int, tuple[FloatArray, FloatArray]]] = {}
    if metrics.empty or measure not in metrics.columns:
        return curves
    table = metrics.loc[
        metrics[measure].notna() & metrics[x].notna(), ["role", "split", "seed", x, measure]
    ]
    for (role, split, seed), rows in table.groupby(
        ["role", "split", "seed"], sort=True, dropna=False
    ):
        rows = rows.sort_values(x, kind="stable")
        values = smooth(
            rows[measure].to_numpy(dtype=np.float64), smoothing if split == "train" else 0
        )
        curves.setdefault((role, split), {})[seed] = (rows[x].to_numpy(dtype=np.float64), values)
    return curves


def _extent(
    curves: dict[tuple[str, str], dict[int, tuple[FloatArray, FloatArray]]], end: float | None
) -> tuple[float, float]:
    every = [x for seeds in curves.values() for x, _ in seeds.values()]
    start = min((float(x[0]) for x in every), default=0.0)
    stop = max((float(x[-1]) for x in every), default=1.0)
    return (start, stop) if end is None else (0.0, end)


def _line(
    uid: str, x: FloatArray, y: FloatArray, group: str, tone: str, **extra: Any
) -> dict[str, Any]:
    x, y = downsample(x, y)
    # Half the bytes of float64, and more digits than a screen has pixels; x may be a large step
    # number.
    line = dict(
        type="scatter", mode="lines", uid=uid, x=x, y=y.astype(np.float32), legendgroup=group
    )
    return (
        line
        | dict(
            line=dict(color=tone, width=extra.pop("width", 1.2)), showlegend=False, hoverinfo="skip"
        )
        | extra
    )


def _bold_lines(
    role: str,
    style: Style,
    rank: int,
    seeds: dict[int, tuple[FloatArray, FloatArray]],
    card: Measure,
    show_seeds: bool,
) -> list[dict[str, Any]]:
    """The role's main line, with its band and single seeds beneath."""
    traces = []
    if len(seeds) == 1:
        ((x, y),) = seeds.values()
    else:
        x, y, lower, upper = mean_and_band(list(seeds.values()))
        if card is MEASURES["accuracy"]:  # an interval may reach past what an accuracy can be
            lower, upper = np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0)
        traces.append(_band(role, style, x, lower, upper))
        if show_seeds:
            tone = colour(style.tone, alpha=0.45)
            traces += [
                _line(f"{role}-seed-{seed}", *curve, role, tone) for seed, curve in seeds.items()
            ]
    main = _line(
        role, x, y, role, colour(style.tone), width=2.6, showlegend=True, name=as_label(style.name)
    )
    main["legendrank"] = rank
    main["line"]["dash"] = style.dash
    main |= dict(
        hoverinfo="all",
        hovertemplate=f"{as_label(style.name)} <b>%{{y:{card.hover}}}</b><extra></extra>",
    )
    if len(x) <= 60:
        marker = dict(size=6, symbol=style.symbol, color=colour(style.tone))
        main |= dict(mode="lines+markers", marker=marker, cliponaxis=False)
    return [*traces, main]


def _band(
    role: str, style: Style, x: FloatArray, lower: FloatArray, upper: FloatArray
) -> dict[str, Any]:
    if len(x) > POINTS_PER_CURVE // 2:
        keep = np.linspace(0, len(x) - 1, POINTS_PER_CURVE // 2).astype(int)
        x, lower, upper = x[keep], lower[keep], upper[keep]
    there_and_back = np.concatenate([upper, lower[::-1]]).astype(np.float32)
    return dict(
        type="scatter",
        uid=f"{role}-band",
        x=np.concatenate([x, x[::-1]]),
        y=there_and_back,
        fill="toself",
        fillcolor=colour(style.tone, alpha=0.16),
        mode="lines",
        line=dict(width=0, color=colour(style.tone)),
        legendgroup=role,
        showlegend=False,
        hoverinfo="skip",
    )


def _training_line(
    role: str, style: Style, seeds: dict[int, tuple[FloatArray, FloatArray]], card: Measure
) -> dict[str, Any]:
    x, y = (
        next(iter(seeds.values())) if len(seeds) == 1 else mean_and_band(list(seeds.values()))[:2]
    )
    name = f"{as_label(style.name)}, training data"
    line = _line(
        f"{role}-train", x, y, "training", colour(style.tone, alpha=0.5), hoverinfo="all", name=name
    )
    return line | dict(hovertemplate=f"{name} %{{y:{card.hover}}}<extra></extra>")


def _training_legend(smoothing: float) -> dict[str, Any]:
    """One legend entry that shows and hides all faint lines."""
    nothing = np.array([np.nan])
    name = f"on training data, smoothed {smoothing:g}" if smoothing else "on training data"
    return _line("training", nothing, nothing, "training", MUTED, showlegend=True, name=name)


def _teacher_line(value: float, start: float, stop: float, card: Measure) -> dict[str, Any]:
    written = f"{value:.1%}" if card.hover.endswith("%") else f"{value:.4g}"
    return dict(
        type="scatter",
        uid="teacher-reference",
        name=f"teacher {written} (validation)",
        legendrank=len(ROLE_STYLES),
        x=[start, stop],
        y=[value, value],
        mode="lines",
        line=dict(color=colour("teacher"), width=2, dash="dash"),
        legendgroup="teacher-reference",
        hoverinfo="skip",  # the legend says it
    )
