"""What the student saw: two students that differ in T alone, side by side, and the missing one a
button away.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from kdcore import charts
from kdcore.analysis.logits import softmax
from kdcore.analysis.metrics import agreement
from kdcore.analysis.statistics import paired_gain
from kdcore.analysis.students import Taught, taught_by
from kdcore.config.experiment import ExperimentConfig
from kdcore.glossary import find
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store, current_points
from pages.shared import examples
from pages.shared.choose_example import which_example
from pages.shared.first_teacher import progress
from pages.shared.live_chart import live_chart
from pages.shared.scene import Scene, no_student
from pages.shared.session import engine
from pages.shared.tiles import Tile, draw_tiles
from pages.shared.visitor import own_tags
from pages.temperature import charts as temperature_charts
from pages.temperature import data
from pages.temperature.sections import first_example, log_switch, nats
from pages.temperature.state import PageState

SUGGESTED = (1.0, 4.0, 10.0, 20.0)


def what_the_student_saw(scene: Scene, state: PageState) -> bool:
    """Draw the chosen student beside one that was taught at another temperature and is otherwise
    equal.

    Returns whether the other one is being trained, so that it is worth looking again.
    """
    if scene.taught is None:
        no_student()
        return False
    mine, every = scene.taught, taught_by(scene.store, scene.teacher.id)
    twins = {each.temperature: each for each in reversed(every) if each.recipe() == mine.recipe()}
    others = sorted(
        {*twins, *SUGGESTED, *([state.against] if state.against else [])} - {mine.temperature}
    )
    if state.against not in others:
        trained = [value for value in others if value in twins]
        state.against = min(trained or others, key=lambda value: abs(np.log(value)))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _choose_other(state, others, twins)
        st.caption(
            "Two students that are equal in all but the T they were taught at: same start, same batches, same labels.",
            width="content",
        )
    twin = twins.get(state.against)
    if twin is None:
        return _offer(scene.store, mine, state.against)
    st.markdown(f"**{verdict(mine, twin, every)}**")
    pair = sorted((mine, twin), key=lambda each: each.temperature)
    which_example(scene, state, first_example, ", softened as the training examples were")
    log_switch(state, "seen")
    figures = [_curves(scene.store, each) for each in pair]
    temperature_charts.same_height(figures)
    for column, each, figure, side in zip(
        st.columns(2, gap="large"), pair, figures, ("left", "right"), strict=True
    ):
        with column:
            _side(scene, state, each, figure, side)
    return False


def _choose_other(state: PageState, others: list[float], twins: dict[float, Taught]) -> None:
    def choose() -> None:
        state.against = st.session_state["temperature_against"]

    st.session_state["temperature_against"] = state.against
    st.selectbox(
        "Beside it, a student taught at",
        others,
        key="temperature_against",
        on_change=choose,
        width=280,
        format_func=lambda value: (
            f"T = {value:g}" + ("" if value in twins else " (not trained yet)")
        ),
    )


def verdict(one: Taught, other: Taught, every: list[Taught]) -> str:
    """Say which temperature taught better, over the seeds that both have."""
    low, high = sorted((one, other), key=lambda each: each.temperature)
    scores = [
        {
            each.seed: each.student.summary["test_accuracy"]
            for each in reversed(every)
            if _same_but_seed(each, chosen)
        }
        for chosen in (low, high)
    ]
    seeds = sorted(scores[0].keys() & scores[1].keys())
    lower, higher = ([score[seed] for seed in seeds] for score in scores)
    examples = low.student.summary["test_examples"]
    points = 100 * float(np.mean(higher) - np.mean(lower))
    names = f"T = {high.temperature:g}", f"T = {low.temperature:g}"
    gained = f"{names[0]} taught {abs(points):.1f} points {'better' if points >= 0 else 'worse'} than {names[1]}"
    if len(seeds) == 1:
        return f"{gained} with this one seed, which cannot tell luck from merit."
    found = paired_gain(higher, lower, test_examples=examples)
    interval = f"95 % CI {found.low:+.1f} to {found.high:+.1f}"
    if found.outcome == "no difference":
        shown = f"{len(seeds)} seeds can show ({points:+.1f} points, {interval})"
        return f"No difference between {names[0]} and {names[1]} that {shown}."
    return f"{gained} ({interval}, {len(seeds)} seeds)."


def _same_but_seed(one: Taught, other: Taught) -> bool:
    return one.temperature == other.temperature and one.recipe(with_seed=False) == other.recipe(
        with_seed=False
    )


def _side(scene: Scene, state: PageState, taught: Taught, figure: go.Figure, side: str) -> None:
    temperature, run = taught.temperature, taught.student
    teacher, learnt = (
        examples.run_logits(scene.store, run_id) for run_id in (scene.teacher.id, run.id)
    )
    st.subheader(f"Taught at T = {temperature:g}", anchor=False)
    distance = data.distance(scene.store, scene.teacher.id, run.id, state.temperature)
    draw_tiles(
        [
            Tile(
                "Accuracy",
                f"{run.summary['test_accuracy']:.1%}",
                "test data",
                find("accuracy").says,
            ),
            Tile(
                "Same answer as teacher",
                f"{agreement(teacher, learnt):.1%}",
                "test data",
                "On how many examples both name the same class.",
            ),
            Tile(
                f"Distance at T = {state.temperature:g}",
                nats(distance),
                "test data",
                "Mean KL divergence of the student's answers from the teacher's, both softened with "
                "the slider's T.",
            ),
        ]
    )
    index = state.example or 0
    saw = softmax(teacher[index], temperature)
    rows: list[charts.Distribution] = [
        (f"what it learnt from: the teacher at T = {temperature:g}", "teacher", saw, None),
        (
            f"what it answers at T = {temperature:g}",
            "student",
            softmax(learnt[index], temperature),
            saw,
        ),
        (
            f"what it answers at the slider's T = {state.temperature:g}",
            "student",
            softmax(learnt[index], state.temperature),
            softmax(teacher[index], state.temperature),
        ),
    ]
    live_chart(
        charts.distributions(scene.class_names, rows, label=int(scene.truth[index]), log=state.log),
        key=f"temperature_saw_{side}",
        description=f"What the student taught at T = {temperature:g} was shown for the example, and what it answers",
    )
    live_chart(
        figure,
        key=f"temperature_curves_{side}",
        description=f"Validation accuracy, taught at T = {temperature:g}",
    )


def _curves(store: Store, taught: Taught) -> go.Figure:
    runs = {taught.student.id: "student"} | (
        {taught.baseline.id: "baseline"} if taught.baseline else {}
    )
    metrics = _metrics(store, tuple(runs))
    metrics = metrics[metrics["split"] == "validation"]
    metrics = metrics.assign(role=[runs[run_id] for run_id in metrics["run_id"]], seed=taught.seed)
    return charts.learning_curves(metrics, measure="accuracy")


@examples.remember_few
def _metrics(_store: Store, run_ids: tuple[str, ...]) -> pd.DataFrame:
    return current_points(_store.metrics(run_ids))


# --- Training the missing one ---


def _offer(store: Store, mine: Taught, temperature: float) -> bool:
    """Offer to train the missing student, or show how far it is.

    Returns whether it is being trained.
    """
    wanted = ExperimentConfig(**store.experiment(mine.experiment_id).config).replace(
        temperature=temperature
    )
    job = next((job for _, job in store.experiments_like(wanted)), None)
    if job is not None and JobStatus(job.status).live:
        progress(job)
        return True
    if job is not None and job.error:
        st.error(f"The last attempt ended: {job.error}", icon=":material/error:")
    with st.container(border=True):
        again = "" if wanted.seeds == 1 else f", {wanted.seeds} seeds"
        st.markdown(
            f"No student was taught at **T = {temperature:g}** yet with these settings: {wanted.describe()}{again}. "
            "Teacher and baseline are there already; only the student is trained."
        )
        st.button(
            f"Train it at T = {temperature:g}",
            icon=":material/play_arrow:",
            type="primary",
            key="temperature_train_twin",
            on_click=_start,
            args=(store, wanted),
        )
    return False


def _start(store: Store, config: ExperimentConfig) -> None:
    engine().submit(store.create(config, reuse="all", tags=own_tags()))
