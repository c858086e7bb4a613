"""The Alpha page: a teacher, its student, and what weighs the one against the true labels."""

from __future__ import annotations

import streamlit as st

from kdcore.analysis.students import Taught
from kdcore.config.experiment import stored_setting
from kdcore.methods.logits import Logits
from kdcore.storage.store import Store
from pages.alpha.accuracy import accuracy_over_alpha
from pages.alpha.sections import PAGE, landscape, one_example
from pages.alpha.state import ACCURACY, EXAMPLE, LANDSCAPE, SECTIONS, PageState, page_state
from pages.shared import alpha
from pages.shared import temperature as warmth
from pages.shared.address import show_in_address
from pages.shared.first_teacher import SECONDS_BETWEEN_POLLS, choose_scene
from pages.shared.following import follow
from pages.shared.log_slider import Landmark
from pages.shared.scene import (
    Scene,
    say_problems,
)

# Between the two sliders the page would show through. The backgrounds are those of config.toml.
_CSS = """<style>
[data-testid="stLayoutWrapper"]:has(> .st-key-alpha_head) { position: sticky; top: 3.4rem; z-index: 90; }
.st-key-alpha_head { border-bottom: 1px solid rgb(128 128 128 / 20%); background: light-dark(#ffffff, #0f141c); }
.st-key-alpha_head [data-testid="stHorizontalBlock"] { row-gap: 0; }
</style>"""


def draw(store: Store) -> None:
    """Draw the page, or how to get the teacher that it needs."""
    state = page_state()
    state.read(st.query_params.to_dict())
    scene = choose_scene(store, state, _title, page=PAGE)
    if scene is None:
        return
    # In a fragment: what moves with alpha is redrawn, the page around it is not.
    follow(_explore, lambda: SECONDS_BETWEEN_POLLS if state.live else None, key="alpha_follow")(
        scene, state
    )


def _title() -> None:
    st.title("See what alpha does", anchor=False)
    st.markdown(
        "A student is told two things: the true label, and what its teacher thinks. **Alpha weights the true labels** "
        "(others define it the other way round): the loss is"
    )
    st.latex(Logits.equation)
    st.caption(
        "CE: cross-entropy of the student's answer with the true class y. KL: how far its answer is from the teacher's, both "
        "softened with T."
    )


def _explore(scene: Scene, state: PageState) -> None:
    st.html(_CSS)
    # There also when it is empty, so that nothing below it moves; filled last, as the open section
    # may find something, too.
    problems = st.container(key="alpha_problems")
    with st.container(key="alpha_head"):
        _sliders(scene.taught, state)

    def open_section() -> None:
        state.open(st.session_state["alpha_section"])

    st.session_state["alpha_section"] = state.section
    titles = [EXAMPLE, LANDSCAPE, ACCURACY]
    drawn = st.tabs(titles, key="alpha_section", on_change=open_section)
    state.live = 0
    with dict(zip(titles, drawn, strict=True))[state.section]:
        if state.section == EXAMPLE:
            one_example(scene, state)
        elif state.section == LANDSCAPE:
            landscape(scene, state)
        else:
            state.live = accuracy_over_alpha(scene, state)
    with problems:
        say_problems(state)
    show_in_address(state, state.write(), SECTIONS, page="/alpha", key="alpha_address")


def _sliders(taught: Taught | None, state: PageState) -> None:
    def weigh(value: float) -> None:
        state.alpha, state.problems = alpha.within(value), []

    def warm(value: float) -> None:
        state.temperature, state.problems = warmth.within(value), []

    landmarks: tuple[list[Landmark], list[Landmark]] = ([], [])
    if taught is not None:
        taught_with = stored_setting(taught.student.config, "alpha")
        if taught_with is not None:
            words = f"the student was taught with {taught_with:g}"
            landmarks[0].append(Landmark(float(taught_with), words, "student"))
        words = f"the student was taught at {taught.temperature:g}"
        landmarks[1].append(Landmark(taught.temperature, words, "student"))
    left, right = st.columns(2, gap="large")
    with left:
        alpha.alpha_control(
            state.alpha, key="alpha_weight", on_change=weigh, landmarks=landmarks[0]
        )
    with right:
        warmth.temperature_control(
            state.temperature, key="alpha_T", on_change=warm, landmarks=landmarks[1]
        )
