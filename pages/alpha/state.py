"""What the Alpha page is set to, read from the address bar and written back to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import streamlit as st

from kdcore.analysis.temperature import Order
from kdcore.errors import Problem
from pages.shared.address import Readers, read_choice, read_index, read_number
from pages.shared.scene import SCENE_READERS, SceneState

EXAMPLE, LANDSCAPE, ACCURACY = "One example", "Landscape", "Accuracy over alpha"
SECTIONS = {"example": EXAMPLE, "landscape": LANDSCAPE, "accuracy": ACCURACY}
FIRST_ORDER: Order = "disagreement"  # where labels and teacher have most to say


@dataclass
class PageState(SceneState):
    """The choices of one visitor.

    ``other`` is the class beside the true one, ``series`` the key of the series of experiments, and
    ``live`` how many of them are still to be trained. None leaves the choice to the page.
    """

    alpha: float = 0.5
    order: Order = FIRST_ORDER
    section: str = EXAMPLE
    other: int | None = None
    series: str | None = None
    live: int = 0

    def another_teacher(self) -> None:
        """Forget what was chosen of the data of the teacher before."""
        super().another_teacher()
        self.other = None

    def read(self, parameters: Mapping[str, str]) -> None:
        """Apply what an address says, unless this page wrote it itself.

        What it cannot mean is a problem.
        """
        if self.take_over(parameters, _READERS):
            self.picked = self.example

    def fit(self, classes: int, pictures: int) -> None:
        """Drop an example or class that the teacher's data does not have, and say so."""
        super().fit(classes, pictures)
        if self.other is not None and self.other >= classes:
            self.problems.append(Problem("other", f"from 0 to {classes - 1}", self.other))
            self.other = None

    def write(self) -> dict[str, str]:
        """Return the address's parameters: the teacher, alpha and T always, the rest where it is
        not the default.
        """
        sections = {title: name for name, title in SECTIONS.items()}
        given = {
            "teacher": self.teacher,
            "student": self.student,
            "alpha": f"{self.alpha:g}",
            "T": f"{self.temperature:g}",
            "example": self.example,
            "order": None if self.order == FIRST_ORDER else self.order,
            "class": self.only,
            "other": self.other,
            "section": None if self.section == EXAMPLE else sections[self.section],
            "log": 1 if self.log else None,
            "series": self.series,
        }
        return self.as_parameters(given)


def page_state() -> PageState:
    """Return this visitor's state; it survives a visit to another page."""
    return cast(PageState, st.session_state.setdefault("alpha_state", PageState()))


_READERS: Readers = {
    **SCENE_READERS,
    "alpha": (
        "alpha",
        read_number("alpha", lambda value: 0 <= value <= 1, "a number from 0 to 1"),
    ),
    "other": ("other", read_index("other")),
    "section": ("section", read_choice("section", SECTIONS)),
    "series": ("series", str),
}
