"""The one description of a sweep: the experiment that its cells share, what varies between them,
how they are chosen.
"""

from __future__ import annotations

import functools
import itertools
import json
import typing
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from kdcore.config import pretrained
from kdcore.config.experiment import ExperimentConfig, all_settings, digest, read_setting
from kdcore.config.parts import PARTS, kind_name
from kdcore.errors import ConfigError, Problem, require
from kdcore.settings import words_of

Strategy = Literal["grid", "tpe"]
STRATEGIES = typing.get_args(Strategy)
MOST_CELLS = 1000
# Cells are compared with each other: on the same validation data, over the same seeds.
NOT_VARIED = ("dataset", "split_seed", "seed", "seeds")


def variable_fields() -> tuple[str, ...]:
    """Return the settings that a sweep may vary, those of all methods included."""
    return tuple(name for name in all_settings() if name not in NOT_VARIED)


@dataclass(frozen=True)
class Axis:
    """One varied setting: either its ``values``, or for a sampler the range from ``low`` to
    ``high``.
    """

    field: str
    values: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None

    @classmethod
    def parse(cls, field: str, text: str) -> Axis:
        """Read ``"1,2,4"``, ``"0.1:0.9:5"`` (5 values, evenly spaced), ``"1:16:5:log"`` or the
        range ``"0.1:0.9"``.

        Raises ConfigError for anything else.
        """
        require(
            field in variable_fields(),
            "varied setting",
            f"one of {', '.join(variable_fields())}",
            field,
        )
        if ":" not in text:
            return cls(
                field,
                tuple(_read_value(field, part.strip()) for part in text.split(",") if part.strip()),
            )
        rule = (
            "values such as 1,2,4 or low:high:count such as 0.1:0.9:5 (or low:high, for a sampler)"
        )
        parts = text.split(":")
        try:
            low, high, count = (
                float(parts[0]),
                float(parts[1]),
                int(parts[2]) if len(parts) > 2 else 0,
            )
        except ValueError:
            raise ConfigError(Problem(field, rule, text)) from None
        log = parts[3:] == ["log"]
        require(len(parts) <= 3 or (log and len(parts) == 4), field, rule, text)
        require(is_number(field), field, "a list of names: ranges are for numbers", text)
        whole = is_whole(field)
        if len(parts) == 2:
            return cls(field, low=int(low) if whole else low, high=int(high) if whole else high)
        require(2 <= count <= MOST_CELLS, field, f"a range with 2 to {MOST_CELLS} values", text)
        require(not log or 0 < low <= high, field, "a range above 0, to be spaced by ratio", text)
        spaced = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
        values = [round(value) if whole else float(f"{value:.6g}") for value in spaced.tolist()]
        return cls(field, tuple(dict.fromkeys(values)))

    def __str__(self) -> str:
        """Return the text that ``parse`` reads."""
        if self.low is not None:
            return f"{self.low:g}:{self.high:g}"
        return ",".join(value_text(value) for value in self.values)


@dataclass(frozen=True)
class SweepConfig:
    """A sweep: the experiment that all cells have in common, which settings vary and how, and how
    cells are chosen.

    ``base.seeds`` are trained in each cell. Strategy "grid" trains every combination; "tpe" lets
    Optuna's tree-structured Parzen estimator choose ``trials`` cells, the later ones where the
    earlier did well. With ``prune``, successive halving ends cells early that do badly against the
    others after as many epochs.

    In a race, ``method_settings`` are by method the settings that its paper names, with an entry
    for each; ``searches`` are ids of sweeps by method, whose best cell on validation data gives
    them once it is known.

    Raises :class:`~kdcore.errors.ConfigError` that names every refused value.
    """

    base: ExperimentConfig
    axes: tuple[Axis, ...]
    strategy: Strategy = "grid"
    trials: int = 25
    prune: bool = False
    method_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    searches: Mapping[str, str] = field(default_factory=dict, hash=False)
    _cells: dict[str, ExperimentConfig] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require(
            self.strategy in STRATEGIES,
            "strategy",
            f"one of {', '.join(STRATEGIES)}",
            self.strategy,
        )
        require(len(self.axes) > 0, "varied settings", "at least one", 0)
        object.__setattr__(self, "axes", tuple(map(_with_keys, self.axes)))
        problems = [problem for axis in self.axes for problem in self._problems_of(axis)]
        fields = [axis.field for axis in self.axes]
        problems += [
            Problem(name, "varied once", name)
            for name in {name for name in fields if fields.count(name) > 1}
        ]
        if not problems and self.strategy == "grid":
            count = self.count
            if count > MOST_CELLS:
                problems.append(Problem("cells", f"at most {MOST_CELLS:,}", count))
        whole = isinstance(self.trials, int) and not isinstance(self.trials, bool)
        if self.strategy == "tpe" and not (whole and 2 <= self.trials <= MOST_CELLS):
            problems.append(
                Problem("trials", f"a whole number from 2 to {MOST_CELLS:,}", self.trials)
            )
        if problems:
            raise ConfigError(*problems)
        # What a value is refused for may depend on another one's. Each cell is checked here, once:
        # whoever asks for it later gets the config that passed.
        cells = {key_of(values): self._config_of(values) for values in self.combinations()}
        object.__setattr__(self, "_cells", cells)

    def _problems_of(self, axis: Axis) -> Iterator[Problem]:
        if axis.field not in variable_fields():
            yield Problem("varied setting", f"one of {', '.join(variable_fields())}", axis.field)
            return
        bounds = [] if axis.low is None else [axis.low, axis.high]
        if not bounds and not axis.values:
            yield Problem(axis.field, "at least one value", str(axis))
        if len(set(axis.values)) < len(axis.values):
            yield Problem(axis.field, "a list of different values", str(axis))
        if bounds and self.strategy == "grid":
            yield Problem(axis.field, f"values for a grid, such as {axis}:5", str(axis))
        if bounds and not bounds[0] < bounds[1]:  # type: ignore[operator]
            yield Problem(axis.field, "a range from low to high", str(axis))
        for value in [*axis.values, *bounds]:
            try:
                self.base.replace(**self._kinds_with(axis.field), **{axis.field: value})
            except ConfigError as error:
                yield from (problem for problem in error.problems if problem.field == axis.field)

    def _config_of(self, values: Mapping[str, Any]) -> ExperimentConfig:
        """Return the base with a cell's values, without settings that its own method or plan does
        not have: T has no effect on hard labels.
        """
        kinds = [
            kinds.find(kind_name(values.get(part, getattr(self.base, part))))
            for part, kinds in PARTS.items()
        ]
        known = {
            *ExperimentConfig.model_fields,
            *(name for kind in kinds for name in kind.model_fields),
        }
        own = self.method_settings.get(str(values.get("method", "")), {})
        varied = {name: each for name, each in values.items() if name in known}
        return self.base.replace(**{**own, **varied})

    def _kinds_with(self, name: str) -> dict[str, str]:
        """Return the first varied method or plan that has a setting which the base's does not
        have; nothing where the base's own has it, or none.
        """
        for part, kinds in PARTS.items():
            if not kinds.has(name) or name in type(getattr(self.base, part)).model_fields:
                continue
            varied = [axis.values for axis in self.axes if axis.field == part]
            for kind in itertools.chain.from_iterable(varied):
                if kind in kinds.known and name in kinds.find(kind).model_fields:
                    return {part: kind}
        return {}

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the varied settings."""
        return tuple(axis.field for axis in self.axes)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that vary, none where the method does not."""
        return next((axis.values for axis in self.axes if axis.field == "method"), ())

    @property
    def count(self) -> int:
        """How many cells there are."""
        if self.strategy == "tpe":
            return self.trials
        return int(np.prod([len(axis.values) for axis in self.axes]))

    def combinations(self) -> list[dict[str, Any]]:
        """Return the varied settings of every cell of a grid.

        For a sampler, of the corners that it may reach.
        """
        ends = [axis.values or (axis.low, axis.high) for axis in self.axes]
        combined = itertools.islice(itertools.product(*ends), MOST_CELLS)
        return [dict(zip(self.fields, values, strict=True)) for values in combined]

    def cell(self, values: Mapping[str, Any]) -> ExperimentConfig:
        """Return the experiment of a cell.

        Raises ConfigError where its values do not fit together.
        """
        found = self._cells.get(key_of(values))
        return found if found is not None else self._config_of(values)

    def to_dict(self) -> dict[str, Any]:
        """Return the config for JSON; ``from_dict`` of it gives an equal config."""
        of_a_race = {
            "method_settings": {name: dict(own) for name, own in self.method_settings.items()},
            "searches": dict(self.searches),
        }
        return {
            "base": self.base.model_dump(mode="json"),
            "axes": tuple(asdict(axis) for axis in self.axes),
            "strategy": self.strategy,
            "trials": self.trials,
            "prune": self.prune,
            **{name: value for name, value in of_a_race.items() if value},
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> SweepConfig:
        """Read a config back.

        It is checked once for each process: checking a thousand cells takes a tenth of a second,
        and whoever watches a sweep reads it at every poll. What it names never changes its meaning.
        """
        return _read(json.dumps(given, sort_keys=True))

    def describe(self) -> str:
        """Return one line that says what the sweep is."""
        varied = " × ".join(short_title_of(name) for name in self.fields)
        cells = (
            f"{self.count} cells"
            if self.strategy == "grid"
            else f"{self.trials} trials chosen by TPE"
        )
        seeds = "" if self.base.seeds == 1 else f" · {self.base.seeds} seeds each"
        pruned = " · bad ones pruned" if self.prune else ""
        return f"{self.base.dataset} · {varied} · {cells}{seeds}{pruned}"


@functools.lru_cache(maxsize=64)
def _read(text: str) -> SweepConfig:
    given = json.loads(text)
    axes = tuple(Axis(**{**axis, "values": tuple(axis["values"])}) for axis in given["axes"])
    return SweepConfig(**{**given, "base": ExperimentConfig(**given["base"]), "axes": axes})


def _with_keys(axis: Axis) -> Axis:
    """Return an axis whose pretrained networks are named by their content, as in any config."""

    def keyed(value: Any) -> Any:
        if not isinstance(value, str) or pretrained.HEAD not in value:
            return value
        names = [name.strip() for name in value.split(",")]
        return ",".join(pretrained.key(name) if pretrained.is_one(name) else name for name in names)

    return replace(axis, values=tuple(map(keyed, axis.values)))


def _read_value(field: str, text: str) -> Any:
    value = read_setting(field, text)
    return float(value) if float in _kinds(field) and isinstance(value, int) else value


def is_number(field: str) -> bool:
    """Return whether a setting is a number."""
    return bool({int, float} & set(_kinds(field)))


def is_whole(field: str) -> bool:
    """Return whether a setting is a whole number."""
    return int in _kinds(field)


def _kinds(field: str) -> tuple[Any, ...]:
    annotation = all_settings()[field].annotation
    return typing.get_args(annotation) or (annotation,)


def title_of(field: str) -> str:
    """Return the short name of a setting, for axes and tables."""
    # What follows a colon explains the name.
    return (all_settings()[field].title or field).partition(":")[0]


def short_title_of(field: str) -> str:
    """Return a setting's name as it stands in a sentence or beside its value."""
    return str(words_of(all_settings()[field])["short"])


def is_log(field: str) -> bool:
    """Return whether twice as much of a setting is a step like any other."""
    return bool(words_of(all_settings()[field])["log"])


def value_text(value: Any) -> str:
    """Return a setting's value as it is typed."""
    return "all" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def key_of(values: Mapping[str, Any]) -> str:
    """Return what tells cells with different values apart."""
    return digest(
        {name: float(value) if isinstance(value, int) else value for name, value in values.items()}
    )
