"""On the Train page: which students the chosen teacher could have, and "try these three" as one
button.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kdcore.analysis.candidates import Candidate, Candidates, get_candidates, try_three
from kdcore.config.catalog import short_name
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from pages.shared.following import follow
from pages.shared.session import as_text, engine
from pages.train.asked import Question

ASKED = Question("candidates")


def draw(store: Store, config: ExperimentConfig | None) -> None:
    """Draw the section, folded until it is opened."""
    with st.expander("Understand before shrinking: which student?", icon=":material/compress:"):
        if config is None:
            st.caption("Some settings above are not valid; correct them first.")
            return
        found = get_candidates(store, config)
        if found is not None:
            _table(found)
            _three(store, config, found)
            return
        follow(_wait, lambda: ASKED.pause(store, config), key="train_candidates_follow")(
            store, config
        )


def _wait(store: Store, config: ExperimentConfig) -> None:
    job = ASKED.job(store, config)
    if job is not None and JobStatus(job.status).live:
        engine().tend()
        waits = "Waiting for a worker" if job.status == JobStatus.QUEUED.value else job.phase
        st.progress(job.progress, as_text(f"{waits[:1].upper()}{waits[1:]}"))
        return
    if get_candidates(store, config) is not None:
        st.rerun()  # the table takes the place of this part
    if job is not None and job.error:
        st.error(as_text(job.error), icon=":material/error:")
    st.markdown(
        f"A worker builds the students that **{as_text(short_name(config.teacher))}** could have on this data, counts "
        "their work and takes their time. It takes some seconds; nothing is trained."
    )
    st.button(
        "Look at candidates",
        icon=":material/search:",
        key="train_candidates",
        on_click=ASKED.ask,
        args=(store,),
    )


def _table(found: Candidates) -> None:
    rows = [
        _row(found.teacher, found, "teacher"),
        *(_row(each, found, "") for each in found.students),
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        key="train_candidates_table",
        column_config={
            "parameters": st.column_config.NumberColumn("Parameters", format="localized"),
            "work": st.column_config.NumberColumn(
                "Multiply-accumulates", format="localized", help="Of one example."
            ),
            "share": st.column_config.NumberColumn("Work, of the teacher's", format="percent"),
            "milliseconds": st.column_config.NumberColumn(
                "Keras call, one example (ms)",
                format="%.2f",
                help=f"Median, measured on {found.machine}, with fresh weights.",
            ),
            "model": "Model",
            "about": "",
        },
    )
    st.caption(as_text(f"Times are measured, on {found.machine}. {found.why}"))


def _row(each: Candidate, found: Candidates, about: str) -> dict[str, object]:
    if each.name == found.suggestion:
        about = "suggested"
    elif each.name in found.three:
        about = "to try"
    return {
        "model": short_name(each.name),
        "parameters": each.parameters,
        "work": each.multiply_accumulates,
        "share": each.multiply_accumulates / max(found.teacher.multiply_accumulates, 1),
        "milliseconds": each.milliseconds,
        "about": about,
    }


def _three(store: Store, config: ExperimentConfig, found: Candidates) -> None:
    if not found.three:
        return
    names = ", ".join(map(short_name, found.three))
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            "Try these three",
            type="primary",
            icon=":material/compare_arrows:",
            key="train_try_three",
            help="Three experiments with the settings above, beside each other on the Compare page.",
        )
        st.caption(as_text(names))
    if pressed:
        ids = try_three(store, config, found.three)
        for experiment_id in ids:
            engine().submit(experiment_id)
        st.switch_page(
            "pages/views/compare.py",
            query_params={"models": ",".join(f"{each}:student" for each in ids)},
        )
