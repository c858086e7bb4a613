"""On the Train page: what a teacher of one's own answers on the labels of the data that was chosen,
before Train is pressed.
"""

from __future__ import annotations

import streamlit as st

from kdcore.analysis.brought_teacher import looks
from kdcore.config.catalog import dataset_key, own_model
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from pages.shared.following import follow
from pages.shared.forms import TRAIN_PREFIX, ConfigForm
from pages.shared.session import as_text, engine

SECONDS_BETWEEN_POLLS = 0.5
JOB = "train_look_job"


def draw(store: Store, config: ExperimentConfig | None) -> None:
    """Say what was seen of the teacher, or offer to look; nothing for networks of the catalog."""
    card = None if config is None else own_model(config.teacher)
    if config is None or card is None or card.kind != "file":
        return
    follow(_draw, lambda: _pause(store), key="train_look_follow")(store, config, card.key)


def _live(store: Store) -> bool:
    job_id = st.session_state.get(JOB)
    return job_id is not None and JobStatus(store.job(job_id).status).live


def _pause(store: Store) -> float | None:
    return SECONDS_BETWEEN_POLLS if _live(store) else None


def _draw(store: Store, config: ExperimentConfig, model: str) -> None:
    if _live(store):
        engine().tend()
        st.caption(":material/hourglass: A worker looks at its answers…")
        return
    found = looks(store, model).get(dataset_key(config.dataset))
    if found is None:
        _offer(store)
        return
    words = as_text(f"{found}")
    if not found.problem or config.teacher_inputs != "checked":
        st.caption(f":material/visibility: {words}")
        return
    st.markdown(f":orange[:material/warning: {words}]")
    for inputs in filter(None, (found.better, "as added")):
        st.button(
            "Use it as it is" if inputs == "as added" else f"Use values {inputs}",
            key=f"train_look_{inputs}",
            type="tertiary",
            on_click=_use,
            args=(inputs,),
        )


def _offer(store: Store) -> None:
    job_id = st.session_state.get(JOB)
    if job_id is not None and (error := store.job(job_id).error):
        st.markdown(f":red[:material/error: {as_text(error)}]")
    st.button(
        "Look at its answers",
        key="train_look",
        icon=":material/visibility:",
        type="tertiary",
        on_click=_look,
        args=(store,),
        help="A worker asks it about labelled validation examples. It is done before training, too.",
    )


def _look(store: Store) -> None:
    # What the form holds now may be newer than what was drawn.
    config = ConfigForm(TRAIN_PREFIX, ExperimentConfig()).config
    if config is None:
        return
    payload = {"model": config.teacher, "dataset": dataset_key(config.dataset)}
    job_id = store.add_job("look", payload)
    st.session_state[JOB] = job_id
    engine().submit(job_id)


def _use(inputs: str) -> None:
    ConfigForm(TRAIN_PREFIX, ExperimentConfig()).fill({"teacher_inputs": inputs})
