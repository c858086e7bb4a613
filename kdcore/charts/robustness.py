"""A figure of how accuracy falls as images are made worse.

Pure functions, like the other charts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from kdcore.analysis.robustness import Robustness
from kdcore.charts.layout import as_label, base_axis, base_layout
from kdcore.data.corruptions import CORRUPTIONS, SEVERITIES
from kdcore.palette import Style, colour


def accuracy_by_severity(models: Sequence[tuple[Style, Robustness]]) -> go.Figure:
    """Draw accuracy on test images over severity, from 0 (as they are) to 3: a panel a corruption,
    a line a model.
    """
    names = list(CORRUPTIONS)
    figure = make_subplots(1, len(names), shared_yaxes=True, horizontal_spacing=0.02)
    across = [0, *SEVERITIES]
    for rank, (style, found) in enumerate(models):
        for at, name in enumerate(names, start=1):
            line: dict[str, Any] = dict(
                x=across,
                y=[100 * value for value in (found.clean, *found.corrupted[name])],
                mode="lines+markers",
                name=as_label(style.name),
                uid=f"{rank}-{name}",
                legendgroup=str(rank),
                showlegend=at == 1,
                line=dict(color=colour(style.tone), dash=style.dash, width=2),
                marker=dict(symbol=style.symbol, size=7, color=colour(style.tone)),
                hovertemplate=f"{as_label(style.name)}: %{{y:.1f}} %<extra></extra>",
            )
            figure.add_scatter(**line, row=1, col=at)
    figure.update_layout(
        base_layout(
            "Accuracy on test images made worse", "Over severity, from 0 (as they are) to 3.", 340
        )
        | dict(showlegend=True)
    )
    for at, name in enumerate(names, start=1):
        axis = base_axis(CORRUPTIONS[name].title, horizontal=True)
        figure.update_xaxes(axis | dict(tickvals=across, fixedrange=True), row=1, col=at)
    figure.update_yaxes(base_axis(None, horizontal=False) | dict(fixedrange=True))
    figure.update_yaxes(title_text="accuracy (%), test", col=1)
    return figure
