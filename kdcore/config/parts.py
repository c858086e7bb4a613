"""The parts of a config that are of one kind each, with settings of its own: method and plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ValidationError

from kdcore import plans
from kdcore.config.refusals import problem_of
from kdcore.errors import Problem
from kdcore.methods import METHODS, Method, find
from kdcore.plans import PLANS, PlanKind
from kdcore.plans import find as find_plan
from kdcore.plans.distil import Distil
from kdcore.settings import Part


class UnknownMethod(Method):
    """Stands for the method of a stored config whose module is not loaded."""

    name: ClassVar[str] = "unknown"
    title: ClassVar[str] = "A method that is not loaded"
    summary: ClassVar[str] = "The module that registers it is not named in KD_PLUGINS."
    equation: ClassVar[str] = ""
    paper: ClassVar[str] = ""


class UnknownPlan(PlanKind):
    """Stands for the plan of a stored config whose module is not loaded."""

    name: ClassVar[str] = "unknown"
    title: ClassVar[str] = "A plan that is not loaded"
    summary: ClassVar[str] = "The module that registers it is not named in KD_PLUGINS."
    paper: ClassVar[str] = ""

    def steps(self, config: Any) -> tuple[plans.Step, ...]:
        """Return the steps of the plain plan: those of its own are not known."""
        return Distil().steps(config)


@dataclass(frozen=True)
class Kinds:
    """The kinds that a part of a config may be of.

    Args:
        known: by name.
        find: returns one by name, and raises ConfigError for an unknown one.
        plain: the name of the one that stands where none is given.
        unknown: stands for a stored one whose module is not loaded.
    """

    known: Mapping[str, type[Any]]
    find: Callable[[object], type[Any]]
    plain: str
    unknown: type[Any]

    def has(self, name: str) -> bool:
        """Return whether a kind has a setting of this name."""
        return any(name in kind.model_fields for kind in self.known.values())

    def wrong(self, name: str, value: Any) -> list[Problem]:
        """Return what is wrong with the value of a setting, whichever kind it is for."""
        kind = next(kind for kind in self.known.values() if name in kind.model_fields)
        return make_part(kind, None, {name: value})[1]


# It may say what the method is where nobody does.
FIRST_THE_PLAN = ("plan", "method")

# The parts of a config that are of one kind each, with settings of its own.
PARTS: dict[str, Kinds] = {
    "method": Kinds(METHODS, find, "logits", UnknownMethod),
    "plan": Kinds(PLANS, find_plan, "distil", UnknownPlan),
}


def kind_name(given: Any) -> Any:
    """Return the name in what was given as a part: a name, its settings, or itself."""
    if isinstance(given, Part):
        return given.name
    return given.get("name") if isinstance(given, Mapping) else given


def make_part(kind: type[Part], given: Any, own: dict[str, Any]) -> tuple[Part, list[Problem]]:
    """Return a part of a kind from what was given as the part and beside it, and what is wrong."""
    inside = given.values() if isinstance(given, Part) else {}
    if isinstance(given, Mapping):
        inside = {name: value for name, value in given.items() if name != "name"}
    try:
        return kind(**{**inside, **own}), []
    except ValidationError as error:
        return kind(), [problem_of(detail, kind.model_fields) for detail in error.errors()]
