"""The Temperature page: a teacher, a slider, and everything that depends on the two."""

from __future__ import annotations

import streamlit as st

from kdcore.storage.store import Store
from pages.shared.address import show_in_address
from pages.shared.first_teacher import SECONDS_BETWEEN_POLLS, choose_scene
from pages.shared.following import follow
from pages.shared.log_slider import Landmark
from pages.shared.scene import (
    Scene,
    say_problems,
)
from pages.shared.session import engine
from pages.shared.temperature import HIGHEST, LOWEST, temperature_control, within
from pages.shared.terms import prose
from pages.temperature import data
from pages.temperature.compare import what_the_student_saw
from pages.temperature.sections import all_examples, look_alikes, one_example, why_squared
from pages.temperature.state import (
    ALIKE,
    ALL,
    EXAMPLE,
    SECTIONS,
    SEEN,
    SQUARED,
    PageState,
    in_digits,
    page_state,
)

PAGE = "temperature"

_CSS = """<style>
[data-testid="stLayoutWrapper"]:has(> .st-key-temperature_head) { position: sticky; top: 3.4rem; z-index: 90; }
.st-key-temperature_head { border-bottom: 1px solid rgb(128 128 128 / 20%); }
</style>"""


def draw(store: Store) -> None:
    """Draw the page, or how to get the teacher that it needs."""
    state = page_state()
    state.read(st.query_params.to_dict())
    scene = choose_scene(store, state, _title, page=PAGE)
    if scene is None:
        return
    # In a fragment: what moves with T is redrawn, the page around it is not.
    follow(_explore, SECONDS_BETWEEN_POLLS if state.watching else None, key="temperature_follow")(
        scene, state
    )


def _title() -> None:
    st.title("See what temperature does", anchor=False)
    prose(
        "A network's answer is a number for each class, its [[logits]] *z*. Divided by a **[[temperature T|temperature]]** "
        "before the [[softmax]], they give softer probabilities: the favourite stays the favourite, but what the network "
        "thinks of the *other* classes, its [[dark knowledge]], comes into view. That is what a student learns from."
    )


# --- What follows from T ---


def _explore(scene: Scene, state: PageState) -> None:
    st.html(_CSS)
    with st.container(
        key="temperature_problems"
    ):  # there also when it is empty, so that nothing below it moves
        say_problems(state)
    with st.container(key="temperature_head"):
        _slider(scene, state)
    watching = False

    def open_section() -> None:
        state.open(st.session_state["temperature_section"])

    st.session_state["temperature_section"] = state.section
    tabs = dict(
        zip(
            (EXAMPLE, ALIKE, ALL, SQUARED, SEEN),
            st.tabs(
                [EXAMPLE, ALIKE, ALL, SQUARED, SEEN],
                key="temperature_section",
                on_change=open_section,
            ),
            strict=True,
        )
    )
    with tabs[state.section]:
        if state.section == EXAMPLE:
            one_example(scene, state)
        elif state.section == ALIKE:
            look_alikes(scene, state)
        elif state.section == ALL:
            all_examples(scene, state)
        elif state.section == SQUARED:
            why_squared(scene, state)
        else:
            watching = what_the_student_saw(scene, state)
    show_in_address(state, state.write(), SECTIONS, page="/temperature", key="temperature_address")
    if watching:
        engine().tend()
    if watching != state.watching:
        state.watching = watching
        st.rerun()


def _slider(scene: Scene, state: PageState) -> None:
    def move(value: float) -> None:
        state.temperature, state.problems = within(value), []

    best = in_digits(data.calibration(scene.store, scene.teacher.id, scene.key).temperature)
    on_the_scale = LOWEST <= best <= HIGHEST
    landmarks = [Landmark(best, f"best calibrated: {best:g}", "teacher")] if on_the_scale else []
    if scene.taught is not None:
        taught = scene.taught.temperature
        landmarks.append(Landmark(taught, f"the student was taught at {taught:g}", "student"))
    temperature_control(state.temperature, key="temperature_T", on_change=move, landmarks=landmarks)
