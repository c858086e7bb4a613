"""The steps of a lesson, each drawn only while it is open."""

from __future__ import annotations

from typing import Any

import streamlit as st

from kdcore import lessons
from kdcore.charts.lessons import measured_chart
from kdcore.errors import ConfigError
from kdcore.installation import in_classroom
from kdcore.lessons import Asked, Lesson, LessonRuns, Measured, find_runs
from kdcore.lessons.measures import unit_of
from kdcore.storage import lesson_progress
from kdcore.storage.store import Store
from kdcore.words import duration
from pages.lessons import board
from pages.lessons.answers import answer_field, kept, said
from pages.lessons.pictures import draw_picture
from pages.lessons.running import draw_running
from pages.lessons.state import go_to
from pages.shared.live_chart import live_chart
from pages.shared.session import as_text, engine, show_error
from pages.shared.terms import prose
from pages.shared.visitor import own_tags, visitor


def draw(store: Store, lesson: Lesson, step: str) -> None:
    """Draw a step of a lesson."""
    drawing = {
        "question": _question,
        "predict": _predict,
        "run": _run,
        "see": _see,
        "why": _why,
        "break": _break,
        "check": _check,
    }
    drawing[step](store, lesson)


def _prose(lesson: Lesson, section: str) -> None:
    prose(lesson.prose[section])


def _question(_store: Store, lesson: Lesson) -> None:
    _prose(lesson, "picture")
    draw_picture(lesson)


# --- Predict ---


def _predict(store: Store, lesson: Lesson) -> None:
    _prose(lesson, "predict")
    known = lesson_progress.progress_in(store, lesson.name, visitor()).prediction
    unit = unit_of(lesson.predict.measure)
    if known is not None:
        words = said(lesson.predict, known, lesson.points, unit)
        st.info(f"You predicted: {as_text(words)}.", icon=":material/edit:")
        st.button(
            "Predict anew",
            key="lessons_anew",
            icon=":material/restart_alt:",
            on_click=_forget,
            args=(store, lesson),
        )
        return
    key = f"lessons_prediction_{lesson.name}"
    value = answer_field(lesson.predict, lesson.points, unit, key=key)
    st.button(
        "This is my prediction",
        key="lessons_predict",
        type="primary",
        icon=":material/check:",
        disabled=value is None,
        help="Answer first." if value is None else None,
        on_click=_keep_prediction,
        args=(store, lesson, value),
    )


def _keep_prediction(store: Store, lesson: Lesson, value: Any) -> None:
    try:
        prediction = kept(lesson.predict, value, lesson.points)
    except ConfigError as error:
        show_error(error)
        return
    lesson_progress.note(store, lesson.name, visitor(), prediction=prediction)
    go_to(lesson.name, "see" if find_runs(store, lesson).finished else "run")


def _forget(store: Store, lesson: Lesson) -> None:
    st.session_state.pop(f"lessons_prediction_{lesson.name}", None)
    lesson_progress.forget(store, lesson.name, visitor())


# --- Run ---


def _run(store: Store, lesson: Lesson) -> None:
    _prose(lesson, "run")
    _train(store, lesson)


def _train(store: Store, lesson: Lesson, option: str = "") -> LessonRuns:
    """Draw the runs of a lesson or of its change: the button, how far they are, their charts."""
    runs = find_runs(store, lesson, option)
    if runs.live:
        draw_running(store, runs)
    elif runs.finished:
        where = "Its numbers are at See." if not option else ""
        st.success(f"Trained. {where}", icon=":material/check_circle:")
        if not option:
            draw_running(store, runs)
    else:
        failed = [each for each in runs.experiments if each is not None and each.job.error]
        if failed:
            st.error(as_text(str(failed[-1].job.error)), icon=":material/error:")
        elif runs.done or any(runs.experiments):
            st.info(
                f"Stopped: {runs.done} of {len(runs.experiments)} are trained. Go on from there.",
                icon=":material/stop_circle:",
            )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                "Run",
                key=f"lessons_run_{bool(option)}",
                type="primary",
                icon=":material/play_arrow:",
                on_click=lessons.start,
                args=(store, engine(), lesson, option, own_tags()),
            )
            seconds = lessons.seconds_to_train(store, runs)
            count = len(runs.experiments) - runs.done
            what = f"{count} experiment{'s' if count > 1 else ''} to train"
            about = "" if seconds is None else f", about {duration(seconds)} on this machine"
            st.caption(f":material/schedule: {what}{about}")
    return runs


# --- See ---


def _see(store: Store, lesson: Lesson) -> None:
    _prose(lesson, "see")
    runs = find_runs(store, lesson)
    if not runs.finished:
        st.caption("This step shows the runs, which are not trained yet.")
        _train(store, lesson)
        return
    found = runs.measured(store, lesson.predict)
    prediction = _prediction(store, lesson, found)
    if prediction is None:
        st.caption("Nothing was predicted here: the numbers alone.")
    else:
        verdict = lessons.compare_with(found, prediction, lesson.predict.reach)
        show = st.success if verdict.right else st.info
        show(as_text(verdict.words), icon=":material/straighten:")
    live_chart(
        measured_chart(
            [("measured", found)], prediction, scale=(lesson.predict.low, lesson.predict.high)
        ),
        key=f"lessons_see_{lesson.name}",
        description=_described(found),
    )
    shown, words = lessons.expectation_in_words(lesson.expected, found)
    st.markdown(f"{':material/check:' if shown else ':material/help:'} {as_text(words)}")
    _also(store, lesson, runs)
    if in_classroom():
        board.draw(store, lesson, found)


def _prediction(store: Store, lesson: Lesson, found: Measured) -> Any:
    """Return what was predicted, None where nothing was or the lesson has changed since."""
    prediction = lesson_progress.progress_in(store, lesson.name, visitor()).prediction
    if prediction is None:
        return None
    try:
        lessons.compare_with(found, prediction, lesson.predict.reach)
    except ConfigError:  # an earlier version of the lesson asked for something else
        return None
    return prediction


def _also(store: Store, lesson: Lesson, runs: LessonRuns) -> None:
    """Draw what is measured beside: what has the same axis and unit in one chart."""
    groups: dict[tuple[object, ...], list[tuple[str, Measured]]] = {}
    for each in lesson.also:
        found = runs.measured(store, each)
        groups.setdefault((found.axis, found.unit, found.x), []).append(
            (each.title or "measured", found)
        )
    for number, series in enumerate(groups.values()):
        live_chart(
            measured_chart(series),
            key=f"lessons_also_{lesson.name}_{number}",
            description="; ".join(_described(found) for _, found in series),
        )


def _described(found: Measured) -> str:
    numbers = ", ".join(
        f"{title} {found.in_words(value)}".strip()
        for title, value in zip(found.titles, found.values, strict=True)
    )
    return f"{found.about}: {numbers}"


# --- Why ---


def _why(_store: Store, lesson: Lesson) -> None:
    with st.container(width=760):
        _prose(lesson, "why")


# --- Break it ---


def _break(store: Store, lesson: Lesson) -> None:
    _prose(lesson, "break it")
    titles = [option.title for option in lesson.change.options]
    known = lesson_progress.progress_in(store, lesson.name, visitor()).change
    key = f"lessons_change_{lesson.name}"
    st.session_state.setdefault(key, known if known in titles else titles[0])

    def choose() -> None:
        lesson_progress.note(store, lesson.name, visitor(), change=st.session_state[key] or "")

    option = st.segmented_control(
        lesson.change.title, titles, key=key, required=True, on_change=choose
    )
    if option is None:
        return
    if not find_runs(store, lesson).finished:
        st.caption("What it is compared with is not trained yet.")
        _train(store, lesson)
        return
    if not _train(store, lesson, option).finished:
        return
    shown = lesson.shown_when_changed
    series = [
        (title, find_runs(store, lesson, title).measured(store, shown))
        for title in sorted(titles, key=lambda title: title != option)
        if find_runs(store, lesson, title).finished
    ]
    series.append(("before", find_runs(store, lesson).measured(store, shown)))
    live_chart(
        measured_chart(series),
        key=f"lessons_changed_{lesson.name}",
        description="; ".join(f"{title}: {_described(found)}" for title, found in series),
    )


# --- Check ---


def _check(store: Store, lesson: Lesson) -> None:
    _prose(lesson, "question")
    progress = lesson_progress.progress_in(store, lesson.name, visitor())
    unit = unit_of(lesson.check.measure)
    if progress.answer is None:
        value = answer_field(lesson.check, (), unit, key=f"lessons_answer_{lesson.name}")
        st.button(
            "Answer",
            key="lessons_answer",
            type="primary",
            icon=":material/check:",
            disabled=value is None,
            on_click=_keep_answer,
            args=(store, lesson, value),
        )
        return
    runs = find_runs(store, lesson)
    if not runs.finished:
        words = said(lesson.check, progress.answer, (), unit)
        st.info(f"You answered {as_text(words)}. Your runs will say.", icon=":material/edit:")
        _train(store, lesson)
        return
    found = runs.measured(store, lesson.check)
    _say_answer(found, lesson.check, progress.answer)
    st.button(
        "Answer anew",
        key="lessons_answer_anew",
        icon=":material/restart_alt:",
        on_click=_forget_answer,
        args=(store, lesson),
    )


def _say_answer(found: Measured, asked: Asked, answer: Any) -> None:
    verdict = lessons.compare_with(found, answer, asked.reach)
    show = st.success if verdict.right else st.info
    show(as_text(verdict.words), icon=":material/straighten:")
    st.caption(as_text(found.about))


def _keep_answer(store: Store, lesson: Lesson, value: Any) -> None:
    lesson_progress.note(store, lesson.name, visitor(), answer=kept(lesson.check, value, ()))


def _forget_answer(store: Store, lesson: Lesson) -> None:
    st.session_state.pop(f"lessons_answer_{lesson.name}", None)
    lesson_progress.note(store, lesson.name, visitor(), answer=None)
