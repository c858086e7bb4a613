"""A run in progress: twice two charts that grow some times a second, and what was clicked."""

from __future__ import annotations

import time

import streamlit as st
from made_up import metrics

from kdcore.charts.curves import learning_curves
from pages.shared.live_chart import live_chart

EPOCHS = 40
started = st.session_state.setdefault("started", time.monotonic())


@st.fragment(run_every=0.2)
def live() -> None:
    """Draw what there is by now."""
    ticks = st.session_state["ticks"] = st.session_state.get("ticks", -1) + 1
    table = metrics(min(1 + ticks // 2, EPOCHS))
    for column, measure in zip(st.columns(2), ("accuracy", "loss"), strict=True):
        with column:
            figure = learning_curves(
                table, measure=measure, teacher=0.976 if measure == "accuracy" else None, end=EPOCHS
            )
            clicked = live_chart(
                figure, key=f"live_{measure}", description=f"{measure} of student and baseline"
            )
            if clicked:
                st.session_state["clicked"] = clicked
    st.markdown(f"tick {ticks}")
    st.json(st.session_state.get("clicked", {}))


live()
