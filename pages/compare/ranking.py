"""More models than fit side by side: a chart and a table, the best first."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from kdcore import charts
from kdcore.analysis.ranking import Ranking
from kdcore.config.catalog import short_name
from kdcore.palette import TONES, style
from pages.shared.live_chart import live_chart
from pages.shared.session import as_text
from pages.shared.terms import with_terms

PIXELS_A_MODEL = 24
MOST_LETTERS = 60


def draw(ranked: Ranking) -> None:
    """Draw a ranking, and what may honestly be said of its first place."""
    st.info(as_text(ranked.words), icon=":material/leaderboard:")
    if not ranked.standings:
        return
    live_chart(
        chart(ranked),
        key="compare_ranking",
        description=f"Test accuracy of {len(ranked.standings)} models with 95 % intervals, the best first",
    )
    st.dataframe(
        pd.DataFrame([_row(place, ranked) for place in range(len(ranked.standings))]),
        hide_index=True,
        width="stretch",
        placeholder="–",
        column_config={
            "Accuracy on test (%)": st.column_config.NumberColumn(format="%.2f"),
            "Behind the best (points)": st.column_config.NumberColumn(
                format="%.1f", help="Over the seeds that both have."
            ),
            "Parameters": st.column_config.NumberColumn(format="localized"),
        },
    )
    st.caption(
        with_terms(
            "[[Intervals|interval]] are of 95 %: over seeds (t), of a single run over test examples (Wilson). Models are told apart by [[paired seeds]], or where they "
            "share none by intervals that do not touch. Tick at most six models to see "
            "them side by side, with curves, speed and where they differ."
        )
    )
    if ranked.untrained:
        st.caption(f"{len(ranked.untrained)} more are not trained yet.")


def chart(ranked: Ranking) -> go.Figure:
    """Draw each model's test accuracy with its interval, the best at the top."""
    figure = go.Figure()
    for place, each in enumerate(ranked.standings):
        tone = TONES[style(each.contender.role, each.name, 0).tone].light
        low, high = each.interval
        figure.add_scatter(
            x=[each.accuracy],
            y=[place],
            error_x=dict(
                type="data",
                symmetric=False,
                array=[high - each.accuracy],
                arrayminus=[each.accuracy - low],
                thickness=1.5,
                width=3,
            ),
            mode="markers",
            marker=dict(
                color=tone,
                size=10,
                symbol="star" if place == 0 else "circle",
                opacity=0.45 if each.told_from_best else 1,
            ),
            uid=each.contender.id,
            showlegend=False,
            hovertemplate=f"{charts.as_label(each.name)}: %{{x:.2%}}<extra></extra>",
        )
    charts.style(
        figure,
        "Accuracy on test data, the best first",
        x="accuracy, test",
        y=None,
        subtitle="Star: the best. Pale: it can be told from the best.",
        height=150 + PIXELS_A_MODEL * len(ranked.standings),
    )
    names = [charts.as_label(_shortened(each.name)) for each in ranked.standings]
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, autorange="reversed", showgrid=False
    )
    figure.update_xaxes(tickformat=".0%")
    return figure


def _row(place: int, ranked: Ranking) -> dict[str, object]:
    each = ranked.standings[place]
    low, high = each.interval
    return {
        "Place": place + 1,
        "Model": each.name,
        "Network": short_name(each.contender.model),
        "Seeds": each.seeds,
        "Accuracy on test (%)": 100 * each.accuracy,
        "95 % interval": f"{100 * low:.1f} to {100 * high:.1f}",
        "Behind the best (points)": None if each.behind is None else each.behind.mean,
        "Told from the best": "best" if place == 0 else "yes" if each.told_from_best else "no",
        "Parameters": each.parameters,
    }


def _shortened(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "…"
