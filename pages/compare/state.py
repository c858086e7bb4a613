"""What the Compare page is set to, read from the address bar and written back to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import streamlit as st

from kdcore.analysis.comparison import COSTS
from kdcore.charts.curves import X_TITLES
from pages.shared.address import AddressState, Readers, read_choice, read_index, read_number

CURVES, COST, CLASSES, DIFFER, WORSE, SETTINGS = (
    "Curves",
    "Accuracy against cost",
    "Class by class",
    "Where they differ",
    "Images made worse",
    "What changed",
)
SECTIONS = {
    "curves": CURVES,
    "cost": COST,
    "classes": CLASSES,
    "differ": DIFFER,
    "worse": WORSE,
    "settings": SETTINGS,
}
KINDS = {
    "any": "any",
    "all": "all",
    "only-first": "only first",
    "only-second": "only second",
    "both-wrong": "both wrong",
}
CURVE_MEASURES = ("accuracy", "loss", "hard_loss", "soft_loss")


@dataclass
class PageState(AddressState):
    """The choices of one visitor.

    ``models`` are ids of contenders; ``fresh`` says that nobody has chosen yet, ``choosing`` that
    the table is open. ``first`` and ``second`` are the ids of the pair looked at, ``kind`` which of
    its disagreements, ``example`` one of them. ``live`` says whether something on screen is being
    trained or measured.
    """

    models: tuple[str, ...] = ()
    fresh: bool = True
    choosing: bool = False
    by_seed: bool = False
    section: str = CURVES
    measure: str = "accuracy"
    x: str = "epoch"
    smoothing: float = 0.6
    log: bool = False
    seeds: bool = False
    training: bool = False
    temperature: float | None = None
    seed: int | None = None
    cost: str = "parameters"
    first: str | None = None
    second: str | None = None
    kind: str = "any"
    example: int | None = None
    live: bool = False

    def read(self, parameters: Mapping[str, str]) -> None:
        """Apply what an address says, unless this page wrote it itself.

        What it cannot mean is a problem.
        """
        if not self.take_over(parameters, _READERS):
            return
        if self.models:
            self.fresh = False

    def choose(self, models: tuple[str, ...]) -> None:
        """Compare other models; what was chosen for the present ones is dropped."""
        self.models, self.fresh, self.problems = models, False, []
        self.first = self.second = self.example = self.seed = None

    def write(self) -> dict[str, str]:
        """Return the address's parameters: the models, and the rest where it is not the default."""
        sections = {title: name for name, title in SECTIONS.items()}
        kinds = {kind: name for name, kind in KINDS.items()}
        default = PageState()
        given: dict[str, Any] = {
            "models": ",".join(self.models) or None,
            "section": sections[self.section] if self.section != default.section else None,
            "curve": self.measure if self.measure != default.measure else None,
            "x": self.x if self.x != default.x else None,
            "smooth": f"{self.smoothing:g}" if self.smoothing != default.smoothing else None,
            "log": 1 if self.log else None,
            "seeds": 1 if self.seeds else None,
            "training": 1 if self.training else None,
            "T": None if self.temperature is None else f"{self.temperature:g}",
            "seed": self.seed,
            "cost": self.cost if self.cost != default.cost else None,
            "first": self.first,
            "second": self.second,
            "show": kinds[self.kind] if self.kind != default.kind else None,
            "example": self.example,
        }
        return self.as_parameters(given)


def page_state() -> PageState:
    """Return this visitor's state; it survives a visit to another page."""
    return cast(PageState, st.session_state.setdefault("compare_state", PageState()))


def _models(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


_SWITCH = {"0": False, "1": True}
_READERS: Readers = {
    "models": ("models", _models),
    "section": ("section", read_choice("section", SECTIONS)),
    "curve": ("measure", read_choice("curve", CURVE_MEASURES)),
    "x": ("x", read_choice("x", tuple(X_TITLES))),
    "smooth": (
        "smoothing",
        read_number("smooth", lambda value: 0 <= value < 1, "at least 0 and below 1"),
    ),
    "log": ("log", read_choice("log", _SWITCH)),
    "seeds": ("seeds", read_choice("seeds", _SWITCH)),
    "training": ("training", read_choice("training", _SWITCH)),
    "T": (
        "temperature",
        read_number("T", lambda value: 0 < value <= 1000, "a temperature above 0, at most 1000"),
    ),
    "seed": ("seed", read_index("seed")),
    "cost": ("cost", read_choice("cost", tuple(COSTS))),
    "first": ("first", str),
    "second": ("second", str),
    "show": ("kind", read_choice("show", KINDS)),
    "example": ("example", read_index("example")),
}
