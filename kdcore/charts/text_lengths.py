"""How long texts are, as bars: those that lose their end in a colour of their own."""

from __future__ import annotations

import plotly.graph_objects as go

from kdcore.charts.layout import style
from kdcore.palette import colour
from kdcore.tasks.report import Lengths


def draw_text_lengths(found: Lengths) -> go.Figure:
    """Draw how many texts have how many tokens."""
    spans = list(zip(found.edges[:-1], found.edges[1:], strict=True))
    figure = go.Figure()
    for name, tone, is_cut in (("seen whole", "student", False), ("lose their end", "wrong", True)):
        chosen = [at for at, (begin, _) in enumerate(spans) if (begin > found.limit) == is_cut]
        if not chosen:
            continue
        figure.add_bar(
            x=[(spans[at][0] + spans[at][1] - 1) / 2 for at in chosen],
            y=[found.counts[at] for at in chosen],
            width=[spans[at][1] - spans[at][0] for at in chosen],
            name=name,
            uid="cut" if is_cut else "whole",
            marker=dict(color=colour(tone), line=dict(width=0)),
            customdata=[_span(*spans[at]) for at in chosen],
            hovertemplate="%{customdata} tokens: %{y:,} texts<extra>" + name + "</extra>",
        )
    longer = (
        f"{found.cut:,} of {found.texts:,} texts are longer" if found.cut else "no text is longer"
    )
    style(
        figure,
        "How long the texts are",
        x="tokens of a text",
        y="texts",
        subtitle=f"Models see {found.limit:,} tokens: {longer}.",
        height=260,
    )
    figure.update_layout(barmode="overlay", bargap=0.05, showlegend=bool(found.cut))
    figure.update_yaxes(rangemode="tozero")
    return figure


def _span(begin: int, end: int) -> str:
    return f"{begin:,}" if end == begin + 1 else f"{begin:,} to {end - 1:,}"
