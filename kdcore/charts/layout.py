"""What all charts have in common: layout, axes, and texts of users in them."""

from __future__ import annotations

import html
from typing import Any

import plotly.graph_objects as go

from kdcore.palette import CLEAR, GRID, INK, MUTED, SURFACE

# With more of them Plotly's own ticks are whole numbers, too.
MOST_WHOLE_TICKS = 8
SPIKE = dict(
    showspikes=True,
    spikemode="across",
    spikesnap="cursor",
    spikethickness=1,
    spikedash="dot",
    spikecolor=MUTED,
)


def style(
    figure: go.Figure,
    title: str,
    x: str | None = None,
    y: str | None = None,
    *,
    subtitle: str | None = None,
    height: int = 320,
) -> go.Figure:
    """Give ``figure`` the style that all charts share, and return it: fonts, margins, grid, legend
    below the title.
    """
    figure.layout.template = go.layout.Template()
    figure.update_layout(base_layout(title, subtitle, height))
    figure.update_xaxes(base_axis(x, horizontal=True))
    figure.update_yaxes(base_axis(y, horizontal=False))
    return figure


def base_layout(title: str, subtitle: str | None = None, height: int = 320) -> dict[str, Any]:
    """Return the layout that all charts share: fonts, margins, legend below the title.

    Axes come on top.
    """
    return dict(
        template={},
        title=dict(
            text=title,
            subtitle=dict(text=subtitle, font=dict(size=13, color=MUTED)),
            x=0,
            xref="container",
            xanchor="left",
            pad=dict(l=4, t=4),
            font=dict(size=15, color=INK, weight=600),
        ),
        height=height,
        autosize=True,
        margin=dict(l=8, r=12, t=64, b=8),
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        font=dict(family="Source Sans, system-ui, sans-serif", size=13, color=INK),
        legend=dict(
            orientation="h",
            x=0,
            xanchor="left",
            y=1.02,
            yanchor="bottom",
            font=dict(size=13, color=INK),
        ),
        hoverlabel=dict(
            bgcolor=SURFACE, bordercolor=GRID, font=dict(size=13, color=INK), namelength=-1
        ),
        modebar=dict(bgcolor=CLEAR, color=MUTED, activecolor=INK),
    )


def base_axis(title: str | None, *, horizontal: bool) -> dict[str, Any]:
    """Return the axis that all charts share; ``title`` names the quantity and its unit."""
    return dict(
        title=dict(text=title, font=dict(size=12, color=MUTED), standoff=10),
        tickfont=dict(size=12, color=MUTED),
        gridcolor=GRID,
        linecolor=GRID,
        zeroline=False,
        automargin=True,
        showgrid=not horizontal,
        showline=horizontal,
    )


def whole_ticks(last: float) -> dict[str, Any]:
    """Return what keeps an axis that counts up to ``last`` from ticks between two whole numbers."""
    return dict(dtick=1) if last <= MOST_WHOLE_TICKS else {}


def as_label(text: str) -> str:
    """Return user text as a chart shows it literally: Plotly reads a little HTML, and fills in
    ``%{...}``.
    """
    return html.escape(text, quote=False).replace("%{", "%&#123;")


def notice(text: str) -> dict[str, Any]:
    """Return the annotation that stands in an empty chart."""
    return dict(
        text=text,
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        showarrow=False,
        font=dict(color=MUTED, size=14),
    )
