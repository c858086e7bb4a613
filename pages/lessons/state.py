"""Which lesson is open and at which step: the address says it, so that a link opens any of them."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from kdcore.errors import ConfigError, Problem
from kdcore.lessons import Lesson, find_lesson

# Name in the address -> title of the step.
STEPS = {
    "question": "Question",
    "predict": "Predict",
    "run": "Run",
    "see": "See",
    "why": "Why",
    "break": "Break it",
    "check": "Check",
}


@dataclass(frozen=True)
class Place:
    """Where the visitor is: a lesson and a step, or the list of lessons."""

    lesson: Lesson | None
    step: str
    problem: str = ""


def read_place() -> Place:
    """Return what the address says; what it cannot mean is said, and the nearest that it can."""
    name = st.query_params.get("lesson")
    if name is None:
        return Place(None, "question")
    try:
        lesson = find_lesson(name)
    except ConfigError as error:
        return Place(None, "question", str(error))
    step = st.query_params.get("step", "question")
    if step not in STEPS:
        return Place(lesson, "question", str(Problem("step", f"one of {', '.join(STEPS)}", step)))
    return Place(lesson, step)


def go_to(lesson: str | None, step: str = "question") -> None:
    """Open a lesson at a step, or the list; Back comes back."""
    if lesson is None:
        st.query_params.clear()
    else:
        st.query_params.from_dict({"lesson": lesson, "step": step})


def next_step(step: str) -> str | None:
    """Return the step after one, None after the last."""
    names = list(STEPS)
    at = names.index(step) + 1
    return names[at] if at < len(names) else None


def step_before(step: str) -> str | None:
    """Return the step before one, None before the first."""
    names = list(STEPS)
    at = names.index(step)
    return names[at - 1] if at else None
