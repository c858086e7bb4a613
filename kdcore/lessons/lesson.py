"""A lesson as its file describes it: settings and questions in TOML, then prose in Markdown."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from kdcore.config.experiment import ExperimentConfig, read_setting
from kdcore.config.presets import PRESETS
from kdcore.errors import ConfigError, Problem, require
from kdcore.settings import FROZEN

FENCE = "+++"
SECTIONS = ("picture", "predict", "run", "see", "why", "break it", "question")
MOST_WORDS_OF_WHY = 120


class Case(BaseModel):
    """One of the experiments that a lesson compares: what it is called, its place on the axis, and
    in which settings it differs from the others.
    """

    model_config = FROZEN

    title: str
    x: float | None = None
    settings: dict[str, Any] = {}


class Shown(BaseModel):
    """Something that is measured: by a measure's name, with what it takes, and its name in a
    legend.
    """

    model_config = FROZEN

    measure: str
    arguments: dict[str, Any] = {}
    title: str = ""


class Asked(Shown):
    """A question whose answer is measured, and how the reader answers.

    ``low``, ``high`` and ``step`` are in the measure's unit; ``options`` are those of a choice.
    """

    answer: Literal["number", "choice", "curve"] = "number"
    low: float = 0.0
    high: float = 100.0
    step: float = 1.0
    options: tuple[str, ...] = ()
    points: tuple[str, ...] = ()

    @property
    def reach(self) -> float:
        """Highest minus lowest value that can be answered."""
        return self.high - self.low


class Option(BaseModel):
    """One way to break it: settings that all cases get."""

    model_config = FROZEN

    title: str
    settings: dict[str, Any] = {}


class Change(BaseModel):
    """The one control of "break it", and what is measured then: what was before, unless ``shows``
    says otherwise.
    """

    model_config = FROZEN

    title: str
    options: tuple[Option, ...]
    shows: Shown | None = None


class Expected(BaseModel):
    """What a lesson expects its runs to show, and by which rule that is told from the numbers."""

    model_config = FROZEN

    words: str
    rule: Literal["rises", "falls", "above zero", "best", "at least", "less"]
    best: str = ""
    least: float = 0.0
    at: str = ""  # the option that "at least" is about; the largest where it is empty
    less: tuple[str, str] = ("", "")  # two options, the first of which is expected to have less


class Lesson(BaseModel):
    """One idea: a question, a picture, a prediction, real training runs, and why.

    ``also`` are measured and drawn beside what was predicted.
    """

    model_config = FROZEN

    name: str
    title: str
    question: str
    picture: str
    preset: str = ""
    settings: dict[str, Any] = {}
    cases: tuple[Case, ...] = (Case(title=""),)
    axis: str = ""
    predict: Asked
    expected: Expected
    also: tuple[Shown, ...] = ()
    change: Change
    check: Asked
    prose: dict[str, str] = {}

    @property
    def points(self) -> tuple[str, ...]:
        """What the numbers of a curve that is predicted stand for."""
        return self.predict.points or tuple(case.title for case in self.cases)

    @property
    def shown_when_changed(self) -> Shown:
        """What is measured on both, the lesson's runs and those of its change."""
        return self.change.shows or self.predict

    @property
    def base(self) -> ExperimentConfig:
        """What all cases have in common."""
        start = PRESETS[self.preset] if self.preset else ExperimentConfig()
        return start.replace(**_typed(self.settings))

    def configs(self, option: str = "") -> list[ExperimentConfig]:
        """Return the experiments of the lesson, one a case; with the ``option`` of its change.

        Raises ConfigError for an option that it does not have.
        """
        changed = self.option(option).settings if option else {}
        return [self.base.replace(**_typed(case.settings | changed)) for case in self.cases]

    def option(self, title: str) -> Option:
        """Return an option of the change by its title; raises ConfigError for another."""
        known = {option.title: option for option in self.change.options}
        require(title in known, "change", f"one of {', '.join(known)}", title)
        return known[title]


def read_lesson(name: str, text: str) -> Lesson:
    """Read a lesson from the text of its file.

    Raises ConfigError where a section is missing, empty or unknown, or a setting is refused.
    """
    require(text.startswith(FENCE), "lesson", f"TOML between two lines of {FENCE}", name)
    _, head, body = text.split(FENCE, 2)
    prose = _sections(body)
    require(tuple(prose) == SECTIONS, "sections", ", ".join(SECTIONS), ", ".join(prose))
    try:
        lesson = Lesson(name=name, prose=prose, **tomllib.loads(head))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(Problem("lesson", f"TOML: {error}", name)) from None
    except ValidationError as error:
        refused = [
            Problem(".".join(map(str, detail["loc"])), detail["msg"], detail.get("input"))
            for detail in error.errors()
        ]
        raise ConfigError(*refused) from None
    words = len(prose["why"].split())
    require(words <= MOST_WORDS_OF_WHY, "why", f"at most {MOST_WORDS_OF_WHY} words", words)
    return lesson


def _sections(body: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in f"\n{body}".split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        found[title.strip().lower()] = text.strip()
    return found


def _typed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read texts as the command line does: TOML has no word for "all"."""
    return {
        name: read_setting(name, value) if isinstance(value, str) else value
        for name, value in settings.items()
    }


def read_file(name: str) -> Lesson:
    """Read a lesson that comes with the program."""
    place = files("kdcore.lessons") / "content" / f"{name.replace('-', '_')}.md"
    return read_lesson(name, place.read_text("utf-8"))
