"""Figures of language models: how well masked tokens are guessed.

Pure functions, like the other charts.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from kdcore.charts.layout import base_axis, base_layout, whole_ticks
from kdcore.palette import colour

# Of each language model: the role whose colour it has.
COLOURS = {
    "language model": "teacher",
    "distilled language model": "student",
    "own language model": "baseline",
}


def masked_loss(metrics: pd.DataFrame) -> go.Figure:
    """Draw the cross-entropy of masked tokens over epochs, a line each language model.

    ``metrics`` has the columns "role" (the step), "split", "epoch" and "loss".
    """
    traces: list[dict[str, Any]] = []
    for step, role in COLOURS.items():
        rows = metrics[(metrics["role"] == step) & (metrics["split"] == "validation")]
        if len(rows):
            traces.append(
                dict(
                    type="scatter",
                    x=rows["epoch"].tolist(),
                    y=rows["loss"].tolist(),
                    name=step,
                    mode="lines+markers",
                    line=dict(color=colour(role), width=2.5),
                    hovertemplate="epoch %{x:.0f}: %{y:.3f} nats<extra>" + step + "</extra>",
                )
            )
    title, about = "Guessing masked tokens: lower is better", "Validation texts, no labels."
    across = base_axis("epoch of masked words", horizontal=True)
    across |= whole_ticks(metrics["epoch"].max() if len(metrics) else 1)
    up = base_axis("loss (nats a token), validation", horizontal=False)
    return go.Figure(traces, base_layout(title, about, 300) | dict(xaxis=across, yaxis=up))
