"""A lesson's runs while they are trained: how far they are, and live charts."""

from __future__ import annotations

import streamlit as st

from kdcore import lessons
from kdcore.lessons import LessonRuns, find_runs
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from pages.shared.experiment_charts import draw_curves, draw_distributions
from pages.shared.following import follow
from pages.shared.live_view import view_of
from pages.shared.session import engine


def draw_running(store: Store, runs: LessonRuns) -> None:
    """Draw how far the runs are, and the curves of the one that is being trained."""
    if runs.live:
        st.button(
            "Stop",
            key=f"lessons_stop_{bool(runs.option)}",
            icon=":material/stop:",
            on_click=lessons.stop,
            args=(engine(), runs),
        )
    shown = runs.shown
    assert shown is not None, "something was begun"
    pause = view_of(store, store.url, shown.experiment.id).seconds_between_polls
    follow(_live_part, pause if runs.live else None, key="lessons_follow")(store, runs)


def _live_part(store: Store, before: LessonRuns) -> None:
    if before.live:
        engine().tend()
    runs = find_runs(store, before.lesson, before.option)
    if before.live and not runs.live:
        st.rerun()
    shown = runs.shown
    assert shown is not None, "something was begun"
    if runs.live:
        _progress(store, runs)
    look = view_of(store, store.url, shown.experiment.id).look()
    left, right = st.columns([1.1, 1], gap="medium")
    with left:
        draw_curves(look)
    with right:
        draw_distributions(store, look)


def _progress(store: Store, runs: LessonRuns) -> None:
    shown = runs.shown
    assert shown is not None, "something was begun"
    share = sum(each.job.progress for each in runs.experiments if each is not None)
    several = len(runs.experiments) > 1
    phase = shown.job.phase
    if shown.status is JobStatus.QUEUED:
        ahead = store.queue_position(shown.job.id)
        phase = "waits for a worker" + (f", {ahead} more before it" if ahead else "")
    words = f"{runs.done} of {len(runs.experiments)} trained · {phase}" if several else phase
    st.progress(min(1.0, share / len(runs.experiments)), f"{words[:1].upper()}{words[1:]}")
