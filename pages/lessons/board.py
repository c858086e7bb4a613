"""The board of a classroom: what everybody predicted, beside what the runs came to."""

from __future__ import annotations

import streamlit as st

from kdcore import lessons
from kdcore.charts.lessons import board_chart
from kdcore.errors import ConfigError
from kdcore.lessons import Lesson, Measured
from kdcore.storage import lesson_progress
from kdcore.storage.store import Store
from pages.shared.live_chart import live_chart


def draw(store: Store, lesson: Lesson, found: Measured) -> None:
    """Draw all predictions of a lesson; whoever looks has seen the truth."""
    predictions = lesson_progress.predictions_of(store, lesson.name)
    fitting = {}
    for name, prediction in predictions.items():
        try:
            fitting[name] = lessons.compare_with(found, prediction, lesson.predict.reach)
        except ConfigError:  # of an earlier version of the lesson
            continue
    if not fitting:
        return
    st.subheader("The class", anchor=False)
    near = sum(verdict.right for verdict in fitting.values())
    st.markdown(f"{len(fitting)} predictions, {near} of them right or close.")
    live_chart(
        board_chart(found, {name: predictions[name] for name in fitting}),
        key=f"lessons_board_{lesson.name}",
        description=f"Predictions of {len(fitting)} visitors and what was measured",
    )
