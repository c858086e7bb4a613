"""What the Temperature page is set to, read from the address bar and written back to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import streamlit as st

from pages.shared.address import Readers, read_choice, read_number
from pages.shared.scene import SCENE_READERS, SceneState

EXAMPLE, ALIKE, ALL, SQUARED, SEEN = (
    "One example",
    "Look-alikes",
    "All examples",
    "Why T²",
    "What the student saw",
)
SECTIONS = {"example": EXAMPLE, "alike": ALIKE, "all": ALL, "squared": SQUARED, "seen": SEEN}


@dataclass
class PageState(SceneState):
    """The choices of one visitor.

    ``pair`` are two classes to compare, ``opened`` the example opened from there, ``watching``
    whether an experiment is followed.
    """

    section: str = EXAMPLE
    against: float | None = None
    pair: tuple[int, int] | None = None
    opened: int | None = None
    watching: bool = False

    def another_teacher(self) -> None:
        """Forget what was chosen of the data of the teacher before."""
        super().another_teacher()
        self.against = self.pair = None

    def another_student(self) -> None:
        """Forget which temperature the student before was held against."""
        self.against = None

    def read(self, parameters: Mapping[str, str]) -> None:
        """Apply what an address says, unless this page wrote it itself.

        What it cannot mean is a problem.
        """
        if not self.take_over(parameters, _READERS):
            return
        self.picked = self.example

    def write(self) -> dict[str, str]:
        """Return the address's parameters: the teacher and T always, the rest where it is not the
        default.
        """
        sections = {title: name for name, title in SECTIONS.items()}
        given = {
            "teacher": self.teacher,
            "student": self.student,
            "T": f"{self.temperature:g}",
            "example": self.example,
            "order": None if self.order == "entropy" else self.order,
            "class": self.only,
            "section": None if self.section == EXAMPLE else sections[self.section],
            "log": 1 if self.log else None,
            "against": None if self.against is None else f"{self.against:g}",
        }
        return self.as_parameters(given)


def page_state() -> PageState:
    """Return this visitor's state; it survives a visit to another page."""
    return cast(PageState, st.session_state.setdefault("temperature_state", PageState()))


_READERS: Readers = {
    **SCENE_READERS,
    "section": ("section", read_choice("section", SECTIONS)),
    "against": (
        "against",
        read_number(
            "against", lambda value: 0 < value <= 1000, "a temperature above 0, at most 1000"
        ),
    ),
}


def in_digits(value: float) -> float:
    """Return ``value`` to three digits, as the text says it too."""
    return float(f"{value:.3g}")
