"""What the Compare page is set to, read from the address bar and written back to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import streamlit as st

from kdcore.charts import X_TITLES
from kdcore.comparison import COSTS
from kdcore.errors import ConfigError, Problem, require

CURVES, COST, CLASSES, DIFFER, SETTINGS = (
    "Curves", "Accuracy against cost", "Class by class", "Where they differ", "What changed",
)  # fmt: skip
SECTIONS = {"curves": CURVES, "cost": COST, "classes": CLASSES, "differ": DIFFER, "settings": SETTINGS}
KINDS = {
    "any": "any", "all": "all", "only-first": "only first", "only-second": "only second", "both-wrong": "both wrong",
}  # fmt: skip
CURVE_MEASURES = ("accuracy", "loss", "hard_loss", "soft_loss")
MOST_REMEMBERED = 200  # addresses that this page wrote; the browser may report one a little late


@dataclass
class PageState:
    """The choices of one visitor.

    ``models`` are ids of contenders; ``fresh`` says that nobody has chosen yet, ``choosing`` that the table is open.
    ``first`` and ``second`` are the ids of the pair looked at, ``kind`` which of its disagreements, ``example`` one of
    them. ``live`` says whether something on screen is being trained or measured.
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
    problems: list[Problem] = field(default_factory=list)
    _seen: list[dict[str, str]] = field(default_factory=list)

    def read(self, parameters: Mapping[str, str]) -> None:
        """Take over what an address says that this page has not written itself; what it cannot mean is a problem."""
        given = dict(parameters)
        if not given or given in self._seen:
            return
        self._seen, self.problems = [given], []
        for name, text in given.items():
            if name in _READERS:
                attribute, reader = _READERS[name]
                try:
                    setattr(self, attribute, reader(text))
                except ConfigError as error:
                    self.problems += error.problems
        if self.models:
            self.fresh = False

    def choose(self, models: tuple[str, ...]) -> None:
        """Compare other models; what was chosen for the present ones is let go of."""
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
        parameters = {name: str(value) for name, value in given.items() if value is not None}
        if parameters not in self._seen:
            self._seen = [*self._seen[-MOST_REMEMBERED:], parameters]
        return parameters


def page_state() -> PageState:
    """Return this visitor's state; it outlives a visit to another page."""
    return cast(PageState, st.session_state.setdefault("compare_state", PageState()))


def _models(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _number(name: str, low: float, high: float, rule: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        require(low < value <= high, name, rule, text)
        return value

    return read


def _smoothing(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    require(0 <= value < 1, "smooth", "at least 0 and below 1", text)
    return value


def _index(name: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        require(text.isascii() and text.isdigit() and len(text) <= 10, name, "a whole number from 0", text)
        return int(text)

    return read


def _choice(name: str, choices: Mapping[str, Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        require(text in choices, name, f"one of {', '.join(choices)}", text)
        return choices[text]

    return read


def _same(names: Any) -> dict[str, str]:
    return {name: name for name in names}


_SWITCH = {"0": False, "1": True}
_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "models": ("models", _models),
    "section": ("section", _choice("section", SECTIONS)),
    "curve": ("measure", _choice("curve", _same(CURVE_MEASURES))),
    "x": ("x", _choice("x", _same(X_TITLES))),
    "smooth": ("smoothing", _smoothing),
    "log": ("log", _choice("log", _SWITCH)),
    "seeds": ("seeds", _choice("seeds", _SWITCH)),
    "training": ("training", _choice("training", _SWITCH)),
    "T": ("temperature", _number("T", 0, 1000, "a temperature above 0, at most 1000")),
    "seed": ("seed", _index("seed")),
    "cost": ("cost", _choice("cost", _same(COSTS))),
    "first": ("first", str),
    "second": ("second", str),
    "show": ("kind", _choice("show", KINDS)),
    "example": ("example", _index("example")),
}
