"""What a page about a trained teacher shows where there is none: a button that trains one, and how
far it is.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import Job, JobStatus
from kdcore.storage.store import Store
from pages.shared import examples
from pages.shared.following import follow
from pages.shared.scene import (
    Scene,
    SceneState,
    begin_with_what_was_looked_at,
    pick_student,
    pick_teacher,
    settle_teacher,
)
from pages.shared.session import as_text, engine
from pages.shared.visitor import own_tags

SECONDS_BETWEEN_POLLS = 0.6
SECONDS_WHEN_QUIET = 3.0
# One seed is enough to look at; the data, both models and all else are the Train page's defaults.
FIRST_EXPERIMENT = ExperimentConfig(seeds=1)


def choose_scene(
    store: Store, state: SceneState, title: Callable[[], None], *, page: str
) -> Scene | None:
    """Draw a page's title beside the choice of a teacher and its student; returns them.

    None where there is no teacher, which is then offered to be trained, or nothing to show.
    """
    teachers = {run.id: run for run in store.finished_runs("teacher")}
    if not teachers:
        without_teacher(store, state, title, page=page)
        return None
    begin_with_what_was_looked_at(store, state, teachers, page=page)
    settle_teacher(state, teachers)
    left, right = st.columns([1.25, 1], gap="large", vertical_alignment="center")
    with left:
        title()
    with right:
        teacher = teachers[pick_teacher(state, teachers, page=page)]
        taught = pick_student(store, state, teacher, page=page)
    scene = Scene(store, teacher, taught)
    if not examples.has_examples(store, scene.key):
        st.error(
            "The test examples of this teacher are no longer in the store.", icon=":material/error:"
        )
        return None
    state.fit(len(scene.class_names), len(examples.images(store, scene.key)))
    return scene


def without_teacher(
    store: Store, state: SceneState, title: Callable[[], None], *, page: str
) -> None:
    """Draw the page, whose ``title`` is drawn first, while there is no trained teacher."""
    title()
    if state.teacher is not None:
        st.warning(
            f"teacher must be the id of a trained teacher, got {as_text(repr(state.teacher))}: "
            "no teacher is trained yet.",
            icon=":material/link_off:",
        )
    live = bool(_live_experiments(store))
    # Somebody else may train one, in another tab or on the command line.
    pause = SECONDS_BETWEEN_POLLS if live else SECONDS_WHEN_QUIET
    follow(_first_teacher, pause, key=f"{page}_first_follow")(store, state, live, page)


def _first_teacher(store: Store, state: SceneState, was_live: bool, page: str) -> None:
    """Offer to train a first teacher.

    While one is being trained, show how far it is, then the page itself.
    """
    if was_live:
        engine().tend()
    jobs = _live_experiments(store)
    if bool(jobs) != was_live or (not jobs and store.finished_runs("teacher")):
        st.rerun()
    with st.container(border=True):
        if jobs:
            st.markdown("##### :material/school: A teacher is being trained")
            progress(jobs[0])
            st.caption("This page fills by itself as soon as it is done.")
            return
        st.markdown("##### :material/school: This page needs a trained teacher")
        st.markdown(
            f"None is trained yet. A small one, with a student and a baseline beside it, takes well under a minute: "
            f"{FIRST_EXPERIMENT.describe()}."
        )
        last = next((job for _, job in store.experiments(limit=1)), None)
        if last is not None and last.error:
            st.error(f"The last experiment ended: {as_text(last.error)}", icon=":material/error:")
        st.button(
            "Train a small teacher",
            type="primary",
            icon=":material/play_arrow:",
            key=f"{page}_first",
            on_click=_start_first,
            args=(store, state),
        )


def _start_first(store: Store, state: SceneState) -> None:
    state.teacher = None
    engine().submit(store.create(FIRST_EXPERIMENT, tags=own_tags()))


def _live_experiments(store: Store) -> list[Job]:
    return [
        job for job in store.jobs(JobStatus.RUNNING, JobStatus.QUEUED) if job.kind == "experiment"
    ]


def progress(job: Job) -> None:
    """Show how far a live experiment is."""
    left = (
        ""
        if job.seconds_left is None
        else f" · about {max(1, round(job.seconds_left))} s left in this phase"
    )
    st.progress(min(job.progress, 1.0), f"{job.phase[:1].upper()}{job.phase[1:]}{left}")
    st.page_link(
        "pages/views/train.py",
        label="Watch it learn on the Train page",
        icon=":material/model_training:",
        query_params={"experiment": job.id},
    )
