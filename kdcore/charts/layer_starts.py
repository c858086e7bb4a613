"""A picture of where a student starts: its layers beside its teacher's, joined where weights are
copied.

A pure function, like the other charts.
"""

from __future__ import annotations

import itertools

import numpy as np
import plotly.graph_objects as go

from kdcore.analysis.layer_starts import LayerStarts
from kdcore.charts.layout import style
from kdcore.palette import MUTED, colour

PIXELS_A_LAYER = 34
AROUND = 110


def draw_layer_starts(found: LayerStarts) -> go.Figure:
    """Draw the layers of a teacher and of its student in two columns, the embeddings at the top,
    and which starts from which; grey are the teacher's layers that nothing starts from.
    """
    teacher = ["embeddings", *(f"layer {at + 1}" for at in range(found.teacher)), "head"]
    student = [own for own, _ in found.pairs]
    starts = [teacher.index(its) for _, its in found.pairs]
    # Side by side where that keeps the student's own order, evenly else.
    ordered = all(one < other for one, other in itertools.pairwise(starts))
    heights = starts if ordered else np.linspace(0, len(teacher) - 1, len(student)).tolist()
    figure = go.Figure()
    for number, (start, height) in enumerate(zip(starts, heights, strict=True)):
        figure.add_scatter(
            x=[0.08, 0.92],
            y=[start, height],
            mode="lines",
            line=dict(color=colour("student"), width=2, dash="dot"),
            hoverinfo="skip",
            showlegend=False,
            uid=f"start-{number}",
        )
    for role, x, titles, places in (
        ("teacher", 0.0, teacher, list(range(len(teacher)))),
        ("student", 1.0, student, heights),
    ):
        used = set(starts) if role == "teacher" else set(range(len(student)))
        tones = [colour(role) if place in used else MUTED for place in range(len(titles))]
        figure.add_scatter(
            x=[x] * len(titles),
            y=places,
            mode="markers+text",
            text=titles,
            textposition="middle left" if role == "teacher" else "middle right",
            textfont=dict(color=tones),
            marker=dict(symbol="square", size=16, color=tones),
            name=role,
            hoverinfo="skip",
            cliponaxis=False,
            showlegend=False,
            uid=role,
        )
    style(
        figure,
        "Left the teacher, right the student",
        None,
        None,
        subtitle="A dotted line copies the weights.",
        height=AROUND + PIXELS_A_LAYER * len(teacher),
    )
    figure.update_xaxes(visible=False, fixedrange=True, range=[-0.9, 1.9])
    figure.update_yaxes(visible=False, fixedrange=True, range=[len(teacher) - 0.5, -0.5])
    return figure
