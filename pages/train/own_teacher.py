"""On the Train page: what a teacher of one's own answers on the labels of the data that was chosen,
before Train is pressed.
"""

from __future__ import annotations

import streamlit as st

from kdcore.analysis.brought_teacher import looks
from kdcore.config.catalog import dataset_key, own_model
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import Job, JobStatus
from kdcore.storage.store import Store
from pages.shared.following import follow
from pages.shared.forms import TRAIN_PREFIX, ConfigForm
from pages.shared.session import as_text, engine
from pages.train.asked import Question

ASKED = Question(
    "look", lambda config: {"model": config.teacher, "dataset": dataset_key(config.dataset)}
)


def draw(store: Store, config: ExperimentConfig | None) -> None:
    """Say what was seen of the teacher, or offer to look; nothing for networks of the catalog."""
    card = None if config is None else own_model(config.teacher)
    if config is None or card is None or card.kind != "file":
        return
    follow(_draw, lambda: ASKED.pause(store, config), key="train_look_follow")(
        store, config, card.key
    )


def _draw(store: Store, config: ExperimentConfig, model: str) -> None:
    job = ASKED.job(store, config)
    if job is not None and JobStatus(job.status).live:
        engine().tend()
        st.caption(":material/hourglass: A worker looks at its answers…")
        return
    found = looks(store, model).get(dataset_key(config.dataset))
    if found is None:
        _offer(store, job)
        return
    words = as_text(f"{found}")
    if not found.problem or config.teacher_inputs != "checked":
        st.caption(f":material/visibility: {words}")
        return
    st.markdown(f":orange[:material/warning: {words}]")
    for inputs in (*found.ways, "as added"):
        st.button(
            "Use it as it is" if inputs == "as added" else f"Use values {inputs}",
            key=f"train_look_{inputs}",
            type="tertiary",
            on_click=_use,
            args=(inputs,),
        )


def _offer(store: Store, job: Job | None) -> None:
    if job is not None and job.error:
        st.markdown(f":red[:material/error: {as_text(job.error)}]")
    st.button(
        "Look at its answers",
        key="train_look",
        icon=":material/visibility:",
        type="tertiary",
        on_click=ASKED.ask,
        args=(store,),
        help="A worker asks it about labelled validation examples. It is done before training, too.",
    )


def _use(inputs: str) -> None:
    ConfigForm(TRAIN_PREFIX, ExperimentConfig()).fill({"teacher_inputs": inputs})
