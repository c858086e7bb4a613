"""On the Train page: which layers a method on features compares, before Train is pressed."""

from __future__ import annotations

import streamlit as st

from kdcore.analysis.layer_pairs import get_layer_pairs
from kdcore.charts.layer_pairs import draw_layer_pairs
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import Job, JobStatus
from kdcore.storage.store import Store
from pages.shared.following import follow
from pages.shared.forms import TRAIN_PREFIX, ConfigForm
from pages.shared.live_chart import live_chart
from pages.shared.session import as_text, engine

SECONDS_BETWEEN_POLLS = 0.5
JOB = "train_layers_job"


def draw(store: Store, config: ExperimentConfig | None) -> None:
    """Draw the section for methods on features; nothing for others."""
    if config is None or config.method.needs.teacher != "features":
        return
    with st.expander("Which layers are compared?", icon=":material/polyline:", expanded=True):
        follow(_draw, lambda: _pause(store, config), key="train_layers_follow")(store, config)


def _job(store: Store, config: ExperimentConfig) -> Job | None:
    job_id = st.session_state.get(JOB)
    if job_id is None:
        return None
    job = store.job(job_id)
    return job if job.payload["config"] == config.model_dump(mode="json") else None


def _pause(store: Store, config: ExperimentConfig) -> float | None:
    job = _job(store, config)
    live = job is not None and JobStatus(job.status).live
    return SECONDS_BETWEEN_POLLS if live else None


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
    job = _job(store, config)
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
        on_click=_look,
        args=(store,),
        help="A worker builds both networks; nothing is trained.",
    )


def _look(store: Store) -> None:
    # What the form holds now may be newer than what was drawn.
    config = ConfigForm(TRAIN_PREFIX, ExperimentConfig()).config
    if config is None:
        return
    job_id = store.add_job("layer_pairs", {"config": config.model_dump(mode="json")})
    st.session_state[JOB] = job_id
    engine().submit(job_id)
