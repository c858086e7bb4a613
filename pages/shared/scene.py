"""A teacher with a student and a baseline beside it: how pages about one trained teacher choose
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kdcore.analysis.logits import IntArray
from kdcore.analysis.naming import run_titles
from kdcore.analysis.results import load_results
from kdcore.analysis.students import Taught, taught_by
from kdcore.analysis.temperature import ORDERS, Order
from kdcore.analysis.unsettled import unsettled_students
from kdcore.config.catalog import dataset_card
from kdcore.errors import Problem, StoreError
from kdcore.storage.schema import Run
from kdcore.storage.store import Store
from pages.shared import examples
from pages.shared.address import AddressState, Readers, read_choice, read_index, read_number
from pages.shared.looked_at import newly_looked_at
from pages.shared.session import as_text
from pages.shared.temperature import LEAST, MOST

# What addresses of these pages may say, beside what is a page's own.
SCENE_READERS: Readers = {
    "teacher": ("teacher", str),
    "student": ("student", str),
    "T": (
        "temperature",
        read_number(
            "T",
            lambda value: LEAST <= value <= MOST,
            f"a number from {LEAST:g} to {MOST:g}",
        ),
    ),
    "example": ("example", read_index("example")),
    "order": ("order", read_choice("order", ORDERS)),
    "class": ("only", read_index("class")),
    "log": ("log", read_choice("log", {"0": False, "1": True})),
}


@dataclass(kw_only=True)
class SceneState(AddressState):
    """Which teacher, student and example a page shows, and how. ``example`` and ``only`` (a class)
    are indices; None leaves the choice to the page.

    ``picked`` is the example that the page last chose for the visitor, ``log`` whether
    probabilities stand on a logarithmic axis.
    """

    teacher: str | None = None
    student: str | None = None
    example: int | None = None
    order: Order = "entropy"
    only: int | None = None
    picked: int | None = None
    temperature: float = 4.0
    log: bool = False

    def another_teacher(self) -> None:
        """Forget what was chosen of the data of the teacher before."""
        self.example = self.picked = self.only = None

    def another_student(self) -> None:
        """Forget what was chosen of the student before."""

    def fit(self, classes: int, pictures: int) -> None:
        """Drop an example or class that the teacher's data does not have, and say so."""
        for attribute, name, count in (
            ("example", "example", pictures),
            ("only", "class", classes),
        ):
            value = getattr(self, attribute)
            if value is not None and value >= count:
                self.problems.append(Problem(name, f"from 0 to {count - 1}", value))
                setattr(self, attribute, None)
                self.picked = self.example


@dataclass(frozen=True)
class Scene:
    """A teacher on the page, with the student and baseline chosen to stand beside it."""

    store: Store
    teacher: Run
    taught: Taught | None

    @property
    def key(self) -> str:
        """The key of the dataset's stored examples."""
        return str(self.teacher.summary["dataset"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return dataset_card(self.teacher.config["dataset"]).class_names

    @property
    def truth(self) -> IntArray:
        """The true classes of the test examples."""
        return examples.labels(self.store, self.key)

    def answers(self, role: str) -> NDArray[np.float32] | None:
        """Return the test logits of a role, None where it has no trained model."""
        run = self.run(role)
        return None if run is None else examples.run_logits(self.store, run.id)

    def run(self, role: str) -> Run | None:
        """Return the run of a role."""
        if role == "teacher":
            return self.teacher
        return None if self.taught is None else getattr(self.taught, role)


def begin_with_what_was_looked_at(
    store: Store, state: SceneState, teachers: Mapping[str, Run], *, page: str
) -> None:
    """Take teacher and student of the experiment that was on screen on another page, unless the
    address names a teacher.
    """
    experiment = newly_looked_at(page)
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
        state.another_teacher()


def settle_teacher(state: SceneState, teachers: Mapping[str, Run]) -> None:
    """Choose the newest teacher where none is chosen, or one that there is not."""
    if state.teacher not in teachers:
        if state.teacher is not None:
            state.problems.append(Problem("teacher", "the id of a trained teacher", state.teacher))
        state.teacher, state.student = next(iter(teachers)), None


def pick_teacher(state: SceneState, teachers: Mapping[str, Run], *, page: str) -> str:
    """Draw the choice of the teacher and return its id."""
    key = f"{page}_teacher"

    def choose() -> None:
        state.teacher, state.student = st.session_state[key], None
        state.another_teacher()
        state.problems = []

    st.session_state[key] = state.teacher
    titles = run_titles(list(teachers.values()))
    return st.selectbox(
        "Teacher",
        list(teachers),
        format_func=lambda run_id: titles.get(run_id, run_id),
        key=key,
        on_change=choose,
        help="Any trained teacher. What is shown are its real answers to the test examples.",
    )


def pick_student(store: Store, state: SceneState, teacher: Run, *, page: str) -> Taught | None:
    """Draw the choice of the student that stands beside the teacher, and return it."""
    taught = {each.student.id: each for each in _settled(store, taught_by(store, teacher.id), page)}
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
    key = f"{page}_student"

    def choose() -> None:
        state.student, state.problems = st.session_state[key], []
        state.another_student()

    st.session_state[key] = state.student
    titles = run_titles([each.student for each in taught.values()])
    chosen = st.selectbox(
        "Student and baseline",
        list(taught),
        format_func=lambda run_id: titles.get(run_id, run_id),
        key=key,
        on_change=choose,
        help="To stand beside the teacher: what a small network made of it.",
    )
    return taught[chosen]


def _settled(store: Store, taught: Sequence[Taught], page: str) -> list[Taught]:
    """Leave out students of sweeps without a winner, whose answers to test examples would choose
    it, unless they are asked for.
    """
    hidden = unsettled_students(store) & {each.student.id for each in taught}
    if not hidden:
        return list(taught)
    if st.toggle(
        f"Show {len(hidden)} students of sweeps without a winner",
        key=f"{page}_unsettled",
        help="What this page shows is test data. Who chooses by test data can no longer report it.",
    ):
        return list(taught)
    return [each for each in taught if each.student.id not in hidden]


def say_problems(state: AddressState) -> None:
    """Say what the address asks for that the page cannot show."""
    if state.problems:
        said = "; ".join(as_text(str(problem)) for problem in state.problems)
        st.warning(
            f"The address asks for what this page cannot show: {said}. Here is what it can.",
            icon=":material/link_off:",
        )


def no_student() -> None:
    """Say that the teacher has no students yet."""
    st.info(
        "No student of this teacher is trained yet: start an experiment with it on the Train page.",
        icon=":material/child_care:",
    )
