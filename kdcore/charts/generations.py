"""Figures of plans with several steps: accuracy by step, and what pseudo-labels were like.

Pure functions, like the other charts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from kdcore.analysis.statistics import mean_interval
from kdcore.charts.layout import base_axis, base_layout
from kdcore.palette import MUTED, colour


def accuracy_by_step(
    steps: Sequence[tuple[str, str, Sequence[float]]],
    baseline: Sequence[float],
    split: str,
    beside: tuple[str, Mapping[str, Sequence[float]]] | None = None,
) -> go.Figure:
    """Draw accuracy from step to step: the mean with its 95 % interval, and a point a seed.

    Args:
        steps: name, role ("teacher" or "student") and accuracies (fractions) by seed of each.
        baseline: accuracies (fractions) of the baseline by seed, drawn as a line; may be empty.
        split: on which data, for title and axis.
        beside: what another experiment is called, and its accuracies by the same names.
    """
    names = [name for name, _, _ in steps]
    traces: list[dict[str, Any]] = []
    for name, role, accuracies in steps:
        if not accuracies:
            continue
        values = 100 * np.asarray(accuracies, dtype=np.float64)
        low, high = _interval(values)
        tone = colour(role)
        traces.append(
            dict(
                type="scatter",
                x=[name] * len(values),
                y=values.tolist(),
                mode="markers",
                marker=dict(color=tone, size=6, opacity=0.45),
                hovertemplate="one seed: %{y:.2f} %<extra></extra>",
                showlegend=False,
            )
        )
        traces.append(
            dict(
                type="scatter",
                x=[name],
                y=[float(values.mean())],
                mode="markers",
                marker=dict(color=tone, size=13),
                error_y=dict(
                    array=[high - float(values.mean())],
                    arrayminus=[float(values.mean()) - low],
                    color=tone,
                    thickness=2,
                ),
                hovertemplate=f"{name}: %{{y:.2f}} %<extra></extra>",
                showlegend=False,
            )
        )
    if beside is not None:
        traces.append(_beside(*beside))
    if baseline:
        mean = 100 * float(np.mean(baseline))
        traces.append(
            dict(
                type="scatter",
                x=names,
                y=[mean] * len(names),
                mode="lines",
                name="baseline",
                line=dict(color=colour("baseline"), dash="dash", width=2),
                hovertemplate=f"baseline: {mean:.2f} %<extra></extra>",
            )
        )
    layout = base_layout(f"Accuracy from step to step, {split} data", _about(steps), 300)
    across = base_axis(None, horizontal=True) | dict(
        type="category", categoryorder="array", categoryarray=names, range=[-0.5, len(names) - 0.5]
    )
    up = base_axis(f"accuracy (%), {split}", horizontal=False)
    return go.Figure(traces, layout | dict(xaxis=across, yaxis=up))


def _beside(title: str, accuracies: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return the means of another experiment with their intervals, as one dotted line."""
    values = {name: 100 * np.asarray(each, dtype=np.float64) for name, each in accuracies.items()}
    means = [float(each.mean()) for each in values.values()]
    intervals = [_interval(each) for each in values.values()]
    return dict(
        type="scatter",
        x=list(values),
        y=means,
        mode="lines+markers",
        name=title,
        line=dict(color=MUTED, dash="dot", width=2),
        marker=dict(color=MUTED, size=9, symbol="diamond-open"),
        error_y=dict(
            array=[high - mean for mean, (_, high) in zip(means, intervals, strict=True)],
            arrayminus=[mean - low for mean, (low, _) in zip(means, intervals, strict=True)],
            color=MUTED,
            thickness=1,
        ),
        hovertemplate=f"{title}, %{{x}}: %{{y:.2f}} %<extra></extra>",
    )


def pseudo_label_reliability(described: Mapping[str, Any]) -> go.Figure:
    """Draw how often pseudo-labels are right against how sure their teacher is.

    ``described`` is what :func:`kdcore.analysis.pseudo_labels.describe_selection` returned.
    """
    points = np.asarray(described["reliability"], dtype=np.float64).reshape(-1, 3)
    sizes = 6 + 22 * np.sqrt(points[:, 2] / points[:, 2].max(initial=1))
    traces = [
        dict(
            type="scatter",
            x=[0, 100],
            y=[0, 100],
            mode="lines",
            line=dict(color=MUTED, dash="dot", width=1),
            hoverinfo="skip",
            showlegend=False,
        ),
        dict(
            type="scatter",
            x=(100 * points[:, 0]).tolist(),
            y=(100 * points[:, 1]).tolist(),
            mode="markers",
            marker=dict(color=colour("teacher"), size=sizes.tolist()),
            customdata=points[:, 2].astype(int).tolist(),
            hovertemplate="%{x:.0f} % sure, %{y:.0f} % right, %{customdata:,} examples<extra></extra>",
            showlegend=False,
        ),
    ]
    judged = described.get("judged", described["examples"])
    right = "None of the examples has a label that they could be compared with"
    if judged:
        right = f"{100 * described['right']:.1f} % of {judged:,} are right"
    if 0 < judged < described["examples"]:
        right += f"; the other {described['examples'] - judged:,} have no label at all"
    layout = base_layout("How right pseudo-labels are", right, 280)
    axes = dict(
        xaxis=base_axis("how sure the teacher is (%)", horizontal=True) | dict(range=[0, 103]),
        yaxis=base_axis("pseudo-labels that are right (%)", horizontal=False)
        | dict(range=[0, 105]),
    )
    return go.Figure(traces, layout | axes)


def pseudo_labels_by_class(described: Mapping[str, Any], class_names: Sequence[str]) -> go.Figure:
    """Draw how many pseudo-labels of each class were kept, and how many a student learned from.

    ``described`` is what :func:`kdcore.analysis.pseudo_labels.describe_selection` returned.
    """
    names = list(class_names)
    bars = [
        dict(type="bar", name=title, x=names, y=described[key], marker=dict(color=colour(tone)))
        for key, title, tone in (
            ("kept_by_class", "kept", "teacher"),
            ("used_by_class", "learned from, repeats included", "student"),
        )
    ]
    kept = f"{described['kept']:,} of {described['examples']:,} examples without a label"
    layout = base_layout("Pseudo-labels of each class", kept, 280)
    axes = dict(
        xaxis=base_axis(None, horizontal=True) | dict(type="category"),
        yaxis=base_axis("examples", horizontal=False),
        barmode="group",
    )
    return go.Figure(bars, layout | axes)


def _interval(values: np.ndarray) -> tuple[float, float]:
    if len(values) < 3:
        return float(values.min()), float(values.max())
    low, high = mean_interval(values)
    return float(low), float(high)


def _about(steps: Sequence[tuple[str, str, Sequence[float]]]) -> str | None:
    seeds = max((len(accuracies) for _, _, accuracies in steps), default=0)
    if seeds < 2:
        return None
    bar = "95% interval of the mean" if seeds > 2 else "lowest to highest"
    return f"Large: mean of {seeds} seeds, bar: {bar}. Small: one seed each."
