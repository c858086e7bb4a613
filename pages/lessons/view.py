"""The Lessons page: ten lessons, and one of them step by step."""

from __future__ import annotations

import streamlit as st

from kdcore.lessons import LESSONS, find_runs, number_of
from kdcore.storage import lesson_progress
from kdcore.storage.store import Store
from pages.lessons import steps
from pages.lessons.state import STEPS, Place, go_to, next_step, read_place, step_before
from pages.shared.copy_link import copy_link
from pages.shared.session import as_text
from pages.shared.visitor import visitor


def draw(store: Store) -> None:
    """Draw the list of lessons, or the one that the address names."""
    place = read_place()
    if place.problem:
        st.warning(
            f"The address asks for what this page cannot show: {as_text(place.problem)}. Here is what it can.",
            icon=":material/link_off:",
        )
    if place.lesson is None:
        _list(store)
    else:
        _lesson(store, place)


def _list(store: Store) -> None:
    st.title("Ten lessons in distillation", anchor=False)
    st.markdown(
        "Each is one idea: you **predict** what will happen, real networks are **trained** on the spot, and you **see** "
        "how far off you were. Five minutes a lesson; what was trained once opens at once."
    )
    begun = lesson_progress.begun(store, visitor())
    for number, (name, lesson) in enumerate(LESSONS.items(), start=1):
        progress = begun.get(name)
        with st.container(border=True):
            words, state, button = st.columns([4, 1.3, 1], vertical_alignment="center")
            with words:
                st.markdown(f"##### {number} · {lesson.title}")
                st.caption(lesson.question)
            with state, st.container(horizontal=True, gap="small"):
                if progress is not None and progress.answer is not None:
                    st.badge("done", icon=":material/check:", color="green")
                elif progress is not None:
                    st.badge("predicted", icon=":material/edit:", color="blue")
                if find_runs(store, lesson).finished:
                    st.badge("trained", icon=":material/model_training:", color="gray")
            with button:
                st.button(
                    "Open" if progress is None else "Go on",
                    key=f"lessons_open_{name}",
                    icon=":material/arrow_forward:",
                    type="primary"
                    if progress is None and not begun and number == 1
                    else "secondary",
                    on_click=go_to,
                    args=(name, "question" if progress is None else "see"),
                    width="stretch",
                )


def _lesson(store: Store, place: Place) -> None:
    lesson = place.lesson
    assert lesson is not None, "the list has no steps"
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    ):
        st.button(
            "All lessons",
            key="lessons_all",
            icon=":material/arrow_back:",
            type="tertiary",
            on_click=go_to,
            args=(None,),
        )
        copy_link("lessons_copy_link")
    st.caption(f"Lesson {number_of(lesson.name)} of {len(LESSONS)}")
    st.title(lesson.title, anchor=False)
    st.markdown(f"**{lesson.question}**")

    def open_step() -> None:
        go_to(lesson.name, st.session_state["lessons_step"])

    st.session_state["lessons_step"] = place.step
    st.segmented_control(
        "Step",
        list(STEPS),
        format_func=STEPS.__getitem__,
        key="lessons_step",
        required=True,
        on_change=open_step,
        label_visibility="collapsed",
    )
    steps.draw(store, lesson, place.step)
    _turn(place)


def _turn(place: Place) -> None:
    """Draw the buttons to the step before and after."""
    assert place.lesson is not None, "the list has no steps"
    name, before, after = place.lesson.name, step_before(place.step), next_step(place.step)
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        if before is not None:
            st.button(
                STEPS[before],
                key="lessons_before",
                icon=":material/arrow_back:",
                on_click=go_to,
                args=(name, before),
            )
        if after is not None:
            st.button(
                STEPS[after],
                key="lessons_after",
                icon=":material/arrow_forward:",
                icon_position="right",
                on_click=go_to,
                args=(name, after),
            )
        elif number_of(name) < len(LESSONS):
            following = list(LESSONS)[number_of(name)]
            st.button(
                f"Lesson {number_of(following)}: {LESSONS[following].title}",
                key="lessons_following",
                icon=":material/arrow_forward:",
                icon_position="right",
                on_click=go_to,
                args=(following,),
            )
