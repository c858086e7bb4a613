"""A picture of which layers are paired: two columns of layers, joined by lines.

A pure function, like the other charts.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from kdcore.analysis.layer_pairs import LayerPairs, TappedLayer
from kdcore.charts.layout import as_label, base_layout
from kdcore.palette import MUTED, colour

PIXELS_A_LAYER = 38
SMALLEST = 200


def draw_layer_pairs(found: LayerPairs) -> go.Figure:
    """Draw the teacher's layers on the left and the student's on the right, the input at the top;
    those that are paired in their colour, with the adapter on the line.
    """
    rows = max(len(found.teacher), len(found.student))
    traces: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for pair in found.pairs:
        ends = [
            _height(pair.teacher, len(found.teacher)),
            _height(pair.student, len(found.student)),
        ]
        traces.append(
            dict(
                type="scatter",
                x=[0, 1],
                y=ends,
                mode="lines",
                line=dict(color=colour("student"), width=2),
                hoverinfo="skip",
                showlegend=False,
            )
        )
        if pair.adapter:
            annotations.append(
                dict(
                    x=0.5,
                    y=sum(ends) / 2,
                    text=as_label(pair.adapter).replace(" to ", "<br>to "),
                    showarrow=False,
                    yshift=15,
                    font=dict(size=10),
                )
            )
    for x, role, layers in ((0, "teacher", found.teacher), (1, "student", found.student)):
        paired = {getattr(pair, role) for pair in found.pairs}
        traces.append(_column(x, role, layers, paired))
    layout = base_layout(
        "Left the teacher, right the student",
        "From the input down; joined are the layers that are compared.",
        max(SMALLEST, 60 + PIXELS_A_LAYER * rows),
    )
    hidden = dict(visible=False, fixedrange=True)
    layout |= dict(
        xaxis=hidden | dict(range=[-1.05, 2.05]),
        yaxis=hidden | dict(range=[-1.1, 0.12]),
        annotations=annotations,
        showlegend=False,
    )
    return go.Figure(traces, layout)


def _height(place: int, count: int) -> float:
    return -place / max(1, count - 1)


def _column(x: int, role: str, layers: tuple[TappedLayer, ...], paired: set[int]) -> dict[str, Any]:
    tones = [colour(role) if place in paired else MUTED for place in range(len(layers))]
    return dict(
        type="scatter",
        x=[x] * len(layers),
        y=[_height(place, len(layers)) for place in range(len(layers))],
        mode="markers+text",
        name=role,
        uid=role,
        text=[as_label(each.words).replace(", ", "<br>") for each in layers],  # for narrow screens
        textposition="middle left" if x == 0 else "middle right",
        textfont=dict(color=tones, size=11),
        marker=dict(color=tones, size=9),
        hoverinfo="skip",
        showlegend=False,
    )
