"""What a lesson's runs came to, and how far a prediction was from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from kdcore.errors import ConfigError, Problem, require
from kdcore.lessons.lesson import Expected

# Nearer than this share of the answer's range counts as very close, and this one as close.
VERY_CLOSE, CLOSE = 0.05, 0.15


@dataclass(frozen=True)
class Measured:
    """Numbers that were measured: one, several over an axis, or one for each option.

    ``about`` says on which split and over how many seeds; ``low`` and ``high`` are 95 % intervals
    where there are any. ``best`` is the option that the question is about.
    """

    values: tuple[float, ...]
    titles: tuple[str, ...]
    unit: str
    about: str
    x: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    axis: str = ""
    log: bool = False
    best: str = ""
    decimals: int = 1

    def __post_init__(self) -> None:
        require(len(self.values) > 0, "values", "one or more", 0)

    @property
    def value(self) -> float:
        """The number, where there is one only."""
        return self.values[0]

    def in_words(self, value: float) -> str:
        """Return a number of this kind with its unit."""
        return f"{value:.{self.decimals}f}{_unit(self.unit)}"

    def to_json(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {name: value for name, value in asdict(self).items() if value not in ((), "")}


@dataclass(frozen=True)
class Verdict:
    """How a prediction compares with what was measured: how far off, and said in a sentence."""

    right: bool
    off: float | None
    words: str


def compare_with(measured: Measured, predicted: Any, reach: float) -> Verdict:
    """Compare a prediction with what was measured.

    Args:
        measured: by the runs.
        predicted: a number, a list of as many numbers as were measured, or the name of an option.
        reach: highest minus lowest value that could be answered, in the measure's unit.

    Raises ConfigError for a prediction of another shape.
    """
    if measured.best:
        return _choice(measured, predicted)
    numbers = [predicted] if isinstance(predicted, int | float) else predicted
    wanted = len(measured.values)
    fits = isinstance(numbers, Sequence) and not isinstance(numbers, str) and len(numbers) == wanted
    require(fits, "prediction", "a number" if wanted == 1 else f"{wanted} numbers", predicted)
    off = np.abs(np.array(numbers, float) - np.array(measured.values, float))
    mean = float(off.mean())
    share = mean / reach if reach > 0 else 0.0
    kindly = (
        "Very close" if share <= VERY_CLOSE else "Close" if share <= CLOSE else "A useful surprise"
    )
    # Percentages are points apart.
    far = (
        replace(measured, unit="points").in_words(mean)
        if measured.unit == "%"
        else measured.in_words(mean)
    )
    if wanted == 1:
        words = (
            f"{kindly}: you said {measured.in_words(float(numbers[0]))}, the runs say "
            f"{measured.in_words(measured.value)}, {far} apart."
        )
    else:
        furthest = int(off.argmax())
        words = (
            f"{kindly}: your curve is {far} from the runs on average, furthest at "
            f"{measured.titles[furthest]} ({measured.in_words(float(numbers[furthest]))} against "
            f"{measured.in_words(measured.values[furthest])})."
        )
    return Verdict(share <= CLOSE, mean, words)


def _choice(measured: Measured, predicted: Any) -> Verdict:
    require(
        predicted in measured.titles,
        "prediction",
        f"one of {', '.join(measured.titles)}",
        predicted,
    )
    of = dict(zip(measured.titles, measured.values, strict=True))
    found = f"{measured.best} ({measured.in_words(of[measured.best])})"
    if predicted == measured.best:
        return Verdict(True, None, f"Right: it is {found}.")
    return Verdict(
        False,
        None,
        f"A useful surprise: you said {predicted} ({measured.in_words(of[predicted])}), the runs say {found}.",
    )


def expectation_in_words(expected: Expected, measured: Measured) -> tuple[bool, str]:
    """Return whether the runs show what a lesson expects, and say so from their numbers.

    Where there are intervals they decide: numbers whose intervals overlap show nothing.
    """
    first, last = measured.values[0], measured.values[-1]
    low, high = measured.low or measured.values, measured.high or measured.values
    of = dict(zip(measured.titles, measured.values, strict=True))
    told = of.get(expected.at, max(measured.values))
    shown = {
        "rises": low[-1] > high[0],
        "falls": low[0] > high[-1],
        "above zero": low[0] > 0,
        "best": measured.best == expected.best,
        "less": of.get(expected.less[0], 0.0) < of.get(expected.less[1], 0.0),
        "at least": told >= expected.least,
    }[expected.rule]
    if shown:
        return True, f"Expected: {expected.words}. These runs show it."
    if expected.rule in ("rises", "falls"):
        found = f"from {measured.in_words(first)} to {measured.in_words(last)}"
        why = f"the intervals overlap, {found}" if measured.low else f"it went {found}"
    elif expected.rule == "above zero" and measured.low:
        why = (
            f"the interval, {low[0]:.1f} to {measured.in_words(high[0])}, holds zero or lies below"
        )
    elif expected.rule == "less":
        one, other = (f"{measured.in_words(of[title])} ({title})" for title in expected.less)
        why = f"it is {one} against {other}"
    elif expected.rule == "best":
        why = f"it is {measured.best}"
    else:
        why = f"they measured {measured.in_words(told)}"
    return False, f"Expected: {expected.words}. These runs do not show it: {why}."


def as_prediction(asked: str, value: Any, count: int) -> Any:
    """Return a prediction as it is kept: a number, ``count`` numbers, or the name of an option.

    Raises ConfigError for anything else; a browser or an address can send anything.
    """
    if asked == "choice":
        require(isinstance(value, str) and len(value) <= 100, "prediction", "an option", value)
        return value
    numbers = value if isinstance(value, list | tuple) else [value]
    wanted = count if asked == "curve" else 1
    for number in numbers:
        if (
            isinstance(number, bool)
            or not isinstance(number, int | float)
            or not np.isfinite(number)
        ):
            raise ConfigError(Problem("prediction", "made of numbers", value))
    require(len(numbers) == wanted, "prediction", f"{wanted} numbers", value)
    return [float(number) for number in numbers] if asked == "curve" else float(numbers[0])


def _unit(unit: str) -> str:
    return f" {unit}" if unit and unit not in ("×",) else unit
