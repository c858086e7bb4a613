"""The Temperature page: a teacher, a slider, and everything that depends on the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from kdcore.analysis.naming import run_titles
from kdcore.analysis.results import Taught, load_results, taught_by
from kdcore.analysis.unsettled import unsettled_students
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import Problem, StoreError
from kdcore.storage.schema import Job, JobStatus, Run
from kdcore.storage.store import Store
from pages.shared import examples
from pages.shared.address import show_in_address
from pages.shared.following import follow
from pages.shared.log_slider import Landmark
from pages.shared.looked_at import newly_looked_at
from pages.shared.session import as_text, engine
from pages.shared.temperature import HIGHEST, LOWEST, temperature_control, within
from pages.shared.terms import prose
from pages.temperature import data
from pages.temperature.compare import progress, what_the_student_saw
from pages.temperature.sections import (
    Scene,
    all_examples,
    look_alikes,
    one_example,
    why_squared,
)
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

SECONDS_BETWEEN_POLLS = 0.6
SECONDS_WHEN_QUIET = 3.0
# One seed is enough to look at temperature; the data, both models and all else are the Train page's
# defaults.
FIRST_EXPERIMENT = ExperimentConfig(seeds=1)

_CSS = """<style>
[data-testid="stLayoutWrapper"]:has(> .st-key-temperature_head) { position: sticky; top: 3.4rem; z-index: 90; }
.st-key-temperature_head { border-bottom: 1px solid rgb(128 128 128 / 20%); }
</style>"""


def draw(store: Store) -> None:
    """Draw the page, or how to get the teacher that it needs."""
    state = page_state()
    state.read(st.query_params.to_dict())
    teachers = {run.id: run for run in store.finished_runs("teacher")}
    if not teachers:
        _without_teacher(store, state)
        return
    _begin_with_what_was_looked_at(store, state, teachers)
    if state.teacher not in teachers:
        if state.teacher is not None:
            state.problems.append(Problem("teacher", "the id of a trained teacher", state.teacher))
        state.teacher, state.student = next(iter(teachers)), None
    left, right = st.columns([1.25, 1], gap="large", vertical_alignment="center")
    with left:
        _title()
    with right:
        teacher = teachers[_pick_teacher(state, teachers)]
        taught = _pick_student(store, state, teacher)
    scene = Scene(store, teacher, taught)
    if not examples.has_examples(store, scene.key):
        st.error(
            "The test examples of this teacher are no longer in the store.", icon=":material/error:"
        )
        return
    state.fit(len(scene.class_names), len(examples.images(store, scene.key)))
    # In a fragment: what moves with T is redrawn, the page around it is not.
    follow(_explore, SECONDS_BETWEEN_POLLS if state.watching else None, key="temperature_follow")(
        scene, state
    )


def _begin_with_what_was_looked_at(
    store: Store, state: PageState, teachers: Mapping[str, Run]
) -> None:
    """Take teacher and student of the experiment that was on screen on another page, unless the
    address names a teacher.
    """
    experiment = newly_looked_at("temperature")
    if experiment is None or "teacher" in st.query_params:
        return
    try:
        results = load_results(store, experiment)
    except StoreError:  # deleted since
        return
    teacher, student = (
        next((run.id for run in results.runs(role) if run.finished_at is not None), None)
        for role in ("teacher", "student")
    )
    if teacher in teachers and (teacher, student) != (state.teacher, state.student):
        state.teacher, state.student = teacher, student
        state.example = state.picked = state.only = state.against = state.pair = None


def _title() -> None:
    st.title("See what temperature does", anchor=False)
    prose(
        "A network's answer is a number for each class, its [[logits]] *z*. Divided by a **[[temperature T|temperature]]** "
        "before the [[softmax]], they give softer probabilities: the favourite stays the favourite, but what the network "
        "thinks of the *other* classes, its [[dark knowledge]], comes into view. That is what a student learns from."
    )


def _say_problems(state: PageState) -> None:
    if state.problems:
        said = "; ".join(as_text(str(problem)) for problem in state.problems)
        st.warning(
            f"The address asks for what this page cannot show: {said}. Here is what it can.",
            icon=":material/link_off:",
        )


# --- Which teacher, which student ---


def _pick_teacher(state: PageState, teachers: dict[str, Run]) -> str:
    def choose() -> None:
        state.teacher, state.student = st.session_state["temperature_teacher"], None
        state.example = state.picked = state.only = state.against = state.pair = None
        state.problems = []

    st.session_state["temperature_teacher"] = state.teacher
    titles = run_titles(list(teachers.values()))
    return st.selectbox(
        "Teacher",
        list(teachers),
        format_func=lambda run_id: titles.get(run_id, run_id),
        key="temperature_teacher",
        on_change=choose,
        help="Any trained teacher. What is shown are its real answers to the test examples.",
    )


def _pick_student(store: Store, state: PageState, teacher: Run) -> Taught | None:
    taught = {each.student.id: each for each in _settled(store, taught_by(store, teacher.id))}
    if not taught:
        if state.student is not None:
            state.problems.append(
                Problem("student", "the id of a student of this teacher", state.student)
            )
            state.student = None
        st.caption("This teacher has no trained student to show.")
        return None
    if state.student not in taught:
        if state.student is not None:
            state.problems.append(
                Problem("student", "the id of a student of this teacher", state.student)
            )
        state.student = min(taught.values(), key=lambda each: each.seed).student.id

    def choose() -> None:
        state.student, state.against, state.problems = (
            st.session_state["temperature_student"],
            None,
            [],
        )

    st.session_state["temperature_student"] = state.student
    titles = run_titles([each.student for each in taught.values()])
    chosen = st.selectbox(
        "Student and baseline",
        list(taught),
        format_func=lambda run_id: titles.get(run_id, run_id),
        key="temperature_student",
        on_change=choose,
        help="To stand beside the teacher: what a small network made of it.",
    )
    return taught[chosen]


def _settled(store: Store, taught: Sequence[Taught]) -> list[Taught]:
    """Leave out students of sweeps without a winner, whose answers to test examples would choose
    it, unless they are asked for.
    """
    hidden = unsettled_students(store) & {each.student.id for each in taught}
    if not hidden:
        return list(taught)
    if st.toggle(
        f"Show {len(hidden)} students of sweeps without a winner",
        key="temperature_unsettled",
        help="What this page shows is test data. Who chooses by test data can no longer report it.",
    ):
        return list(taught)
    return [each for each in taught if each.student.id not in hidden]


# --- What follows from T ---


def _explore(scene: Scene, state: PageState) -> None:
    st.html(_CSS)
    with st.container(
        key="temperature_problems"
    ):  # there also when it is empty, so that nothing below it moves
        _say_problems(state)
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


# --- Without a teacher ---


def _without_teacher(store: Store, state: PageState) -> None:
    _title()
    if state.teacher is not None:
        st.warning(
            f"teacher must be the id of a trained teacher, got {as_text(repr(state.teacher))}: "
            "no teacher is trained yet.",
            icon=":material/link_off:",
        )
    live = bool(_live_experiments(store))
    # Somebody else may train one, in another tab or on the command line.
    pause = SECONDS_BETWEEN_POLLS if live else SECONDS_WHEN_QUIET
    follow(_first_teacher, pause, key="temperature_first_follow")(store, state, live)


def _first_teacher(store: Store, state: PageState, was_live: bool) -> None:
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
            key="temperature_first",
            on_click=_start_first,
            args=(store, state),
        )


def _start_first(store: Store, state: PageState) -> None:
    state.teacher = None
    engine().submit(store.create(FIRST_EXPERIMENT))


def _live_experiments(store: Store) -> list[Job]:
    return [
        job for job in store.jobs(JobStatus.RUNNING, JobStatus.QUEUED) if job.kind == "experiment"
    ]
