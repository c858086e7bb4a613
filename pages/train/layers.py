"""On the Train page, before Train is pressed: which layers a method on features compares, and which
of its teacher's layers a student starts from.
"""

from __future__ import annotations

import streamlit as st

from kdcore.analysis.layer_pairs import get_layer_pairs
from kdcore.analysis.layer_starts import layer_starts
from kdcore.charts.layer_pairs import draw_layer_pairs
from kdcore.charts.layer_starts import draw_layer_starts
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from pages.shared.following import follow
from pages.shared.live_chart import live_chart
from pages.shared.session import as_text, engine
from pages.train.asked import Question

ASKED = Question("layer_pairs")


def draw(store: Store, config: ExperimentConfig | None) -> None:
    """Draw the section for methods on features; nothing for others."""
    if config is None or config.method.needs.teacher != "features":
        return
    with st.expander("Which layers are compared?", icon=":material/polyline:", expanded=True):
        follow(_draw, lambda: ASKED.pause(store, config), key="train_layers_follow")(store, config)


def draw_starts(config: ExperimentConfig | None) -> None:
    """Draw which layers of its teacher the student starts from; nothing where from none."""
    found = None if config is None else layer_starts(config)
    if found is None:
        return
    with st.expander("Where does the student start?", icon=":material/move_down:", expanded=True):
        figure = draw_layer_starts(found)
        live_chart(figure, key="train_layer_starts", description=f"The student: {found.words}")
        st.caption("To start from others, write their numbers into Layers to start from.")


def _draw(store: Store, config: ExperimentConfig) -> None:
    found = get_layer_pairs(store, config)
    if found is not None:
        joined = "; ".join(
            f"{found.teacher[pair.teacher].words} with {found.student[pair.student].words}"
            for pair in found.pairs
        )
        live_chart(draw_layer_pairs(found), key="train_layer_pairs", description=f"Pairs: {joined}")
        st.caption(
            f"{found.cost} To pair others, write their names into Layers: teacher_layer:student_layer, with commas."
        )
        return
    job = ASKED.job(store, config)
    if job is not None and JobStatus(job.status).live:
        engine().tend()
        st.caption(":material/hourglass: A worker builds both networks…")
        return
    if job is not None and job.error:
        st.error(as_text(job.error), icon=":material/error:")
    st.button(
        "Show the layers",
        key="train_layers_look",
        icon=":material/search:",
        on_click=ASKED.ask,
        args=(store,),
        help="A worker builds both networks; nothing is trained.",
    )
