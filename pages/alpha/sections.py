"""What alpha does to one example: two pulls and their sum, and the loss as a landscape."""

from __future__ import annotations

import html
import math

import numpy as np
import streamlit as st

from kdcore.analysis import alpha as weighing
from kdcore.analysis.alpha import Landscape, Parts
from kdcore.analysis.logits import FloatArray, softmax
from kdcore.analysis.temperature import format_percent
from kdcore.charts import alpha as alpha_charts
from pages.alpha.state import PageState
from pages.shared import examples
from pages.shared.choose_example import choose_example, example_card, which_example
from pages.shared.live_chart import live_chart
from pages.shared.scene import Scene, no_student
from pages.shared.temperature import STEPS

PAGE = "alpha"


def first_example(scene: Scene) -> int:
    """Return the example to begin with: where the student is furthest from its teacher."""
    student = scene.run("student")
    if student is None:
        return examples.first_example(scene.store, scene.teacher.id, scene.key)
    found = examples.ordered(scene.store, scene.teacher.id, student.id, scene.key, "disagreement")
    return int(found[0])


# --- One example ---


def one_example(scene: Scene, state: PageState) -> None:
    """Draw a gallery to choose from, and how label and teacher pull at the chosen example."""
    if scene.taught is None:
        no_student()
        return
    left, right = st.columns([1, 1.45], gap="large")
    with left:
        index = choose_example(scene, state, first_example, page=PAGE)
    if index is None:
        return
    student, teacher, label = _logits(scene, index)
    pulled, whole = _steps(student, teacher, label, state)
    names = scene.class_names
    with right:
        example_card(scene, index, _in_words(scene, index, pulled, whole, state))
        other = _second_class(scene, state, label, teacher, "example")
        live_chart(
            alpha_charts.pulls(
                names,
                pulled,
                whole,
                label=label,
                other=other,
                reach=_reach(student, teacher, label, other),
            ),
            key="alpha_pulls",
            description=f"Pulls of true label and teacher at the logits of {names[label]} and {names[other]}, and their "
            f"sum, at alpha = {state.alpha:g} and T = {state.temperature:g}",
        )
    _log_switch(state)
    live_chart(
        alpha_charts.targets(
            names,
            weighing.mixed_target(teacher, label, state.alpha, state.temperature),
            softmax(teacher, state.temperature),
            (softmax(student), softmax(student, state.temperature)),
            label=label,
            temperature=state.temperature,
            log=state.log,
        ),
        key="alpha_targets",
        description="What the true label and the teacher ask for, both mixed by alpha, and the student's answer",
    )
    st.caption(
        "At T = 1 the mixture is the very answer at which the loss is least. At other temperatures label and teacher look "
        "at the student's answer at two temperatures, and the mixture shows their weights alone."
    )


def _logits(scene: Scene, index: int) -> tuple[FloatArray, FloatArray, int]:
    """Return an example's logits of student and teacher, and its true class."""
    student, teacher = scene.answers("student"), scene.answers("teacher")
    assert student is not None
    assert teacher is not None
    return (
        student[index].astype(np.float64),
        teacher[index].astype(np.float64),
        int(scene.truth[index]),
    )


def _steps(
    student: FloatArray, teacher: FloatArray, label: int, state: PageState
) -> tuple[Parts[FloatArray], Parts[FloatArray]]:
    """Return the weighted steps, and those of each loss alone."""
    alone = [
        weighing.steps(student, teacher, label, alpha, state.temperature) for alpha in (1.0, 0.0)
    ]
    pulled = weighing.steps(student, teacher, label, state.alpha, state.temperature)
    return pulled, Parts(alone[0].label, alone[1].teacher)


def _reach(student: FloatArray, teacher: FloatArray, label: int, other: int) -> FloatArray:
    """Return how far the teacher pulls at every T of the slider, so that the axes stay."""
    found = [weighing.steps(student, teacher, label, 0.0, each).teacher for each in STEPS]
    return np.array(found)[:, [label, other]]


def _in_words(
    scene: Scene, index: int, pulled: Parts[FloatArray], whole: Parts[FloatArray], state: PageState
) -> str:
    names, label = scene.class_names, int(scene.truth[index])
    said = []
    for role in ("teacher", "student"):
        answers = scene.answers(role)
        assert answers is not None
        shares = softmax(answers[index])
        top = int(shares.argmax())
        said.append(
            f"the {role} says <em>{html.escape(names[top])}</em> ({format_percent(float(shares[top]))})"
        )
    lengths = [
        f"{float(np.linalg.norm(each)):.2f}"
        for each in (pulled.label, pulled.teacher, pulled.total)
    ]
    return (
        f"<p>True class <em>{html.escape(names[label])}</em>: {' and '.join(said)}.</p>"
        f"<p class='kd-large'>At α = {state.alpha:g} the label pulls with {lengths[0]}, the teacher with {lengths[1]}, both "
        f"together with <em>{lengths[2]}</em>.</p>"
        f"<p class='kd-small'>{_direction(whole)} These are lengths over all {len(names)} classes; the chart shows two of "
        "them.</p>"
    )


def _direction(whole: Parts[FloatArray]) -> str:
    """Say whether label and teacher want the same."""
    apart = weighing.angle(whole.label, whole.teacher)
    if math.isnan(apart):
        return "One of them does not pull at all."
    if apart < 60:
        wanted = "label and teacher want nearly the same"
    elif apart <= 120:
        wanted = "label and teacher want different things"
    else:
        wanted = "label and teacher pull against each other"
    return f"Their directions are {apart:.0f}° apart: {wanted}."


def _second_class(
    scene: Scene, state: PageState, label: int, teacher: FloatArray, where: str
) -> int:
    """Draw the choice of the class beside the true one, and return it.

    By default it is the likeliest other one to the teacher.
    """
    ranked = [int(at) for at in np.argsort(-teacher, kind="stable") if at != label]
    other = state.other if state.other in ranked else ranked[0]
    if len(ranked) == 1:
        return other
    key = f"alpha_other_{where}"

    def choose() -> None:
        state.other = st.session_state[key]

    names = scene.class_names
    st.session_state[key] = other
    st.selectbox(
        "Beside the true class",
        ranked,
        format_func=lambda at: names[at],
        key=key,
        on_change=choose,
        width=280,
        help="The class of the chart's vertical axis; the likeliest to the teacher first.",
    )
    return other


def _log_switch(state: PageState) -> None:
    def switch() -> None:
        state.log = st.session_state["alpha_log"]

    st.session_state["alpha_log"] = state.log
    st.toggle(
        "Logarithmic scale",
        key="alpha_log",
        on_change=switch,
        help="What the teacher knows of the other classes is in the small probabilities.",
    )


# --- Landscape ---


def landscape(scene: Scene, state: PageState) -> None:
    """Draw the loss of the chosen example over two of the student's logits."""
    if scene.taught is None:
        no_student()
        return
    index = which_example(scene, state, first_example, "")
    student, teacher, label = _logits(scene, index)
    names = scene.class_names
    left, right = st.columns([1.6, 1], gap="large")
    with right:
        other = _second_class(scene, state, label, teacher, "landscape")
        found = weighing.landscape(
            student, teacher, label, other, state.alpha, state.temperature, points=41
        )
        parts = weighing.losses(student, teacher, label, state.alpha, state.temperature)
        st.markdown(_landscape_in_words(found, parts, len(names)))
    step = weighing.steps(student, teacher, label, state.alpha, state.temperature).total
    with left:
        live_chart(
            alpha_charts.loss_landscape(
                names, found, label=label, other=other, step=step[[label, other]]
            ),
            key="alpha_landscape",
            description=f"The loss over the student's logits of {names[label]} and {names[other]} at "
            f"alpha = {state.alpha:g} and T = {state.temperature:g}: {parts.total:.3g} nats where the student is, "
            f"{found.least_loss:.3g} nats at the least",
        )


def _landscape_in_words(found: Landscape, parts: Parts[float], classes: int) -> str:
    where = (
        "inside of the square"
        if found.least_is == "inside"
        else "on the edge of the square, so the loss falls further beyond it"
    )
    line = (
        " With two classes only the difference of the logits counts, so a whole line is as good; marked is its nearest point."
        if classes == 2
        else ""
    )
    return (
        f"**Where the student is** the loss is **{parts.total:.3g} nats**: {parts.label:.3g} of the label and "
        f"{parts.teacher:.3g} of the teacher, both weighted.\n\n"
        f"**At its least** it is {found.least_loss:.3g} nats, {where}.\n\n"
        "**The true label is never content.** Its loss falls for ever, the surer of the true class the student is: its "
        "target lies at infinity, past the corner that is marked.\n\n"
        f"**The teacher is.** Its loss has a least place, where the student gives both classes the teacher's softened "
        f"probabilities.{line}\n\n"
        "Move α from 0 to 1, and the least place walks from the teacher's target towards that corner."
    )
