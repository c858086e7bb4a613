"""The race: every method teaches the same student from the same teacher, over the same seeds.

A race is a sweep whose one varied setting is the method. Nothing is chosen by its test data: the
methods are given, and their settings are those of their papers, defaults, or tuned on validation
data before, on a seed that the race does not use.
"""

from __future__ import annotations

import csv
import io
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from kdcore.analysis import results
from kdcore.analysis.race import PLAIN, Standing, standings, verdict_in_words
from kdcore.analysis.statistics import format_points
from kdcore.config.experiment import ExperimentConfig, setting_of
from kdcore.config.sweep import MOST_CELLS, Axis, SweepConfig, is_log
from kdcore.errors import ConfigError, Problem, require
from kdcore.methods import METHODS, Method, find
from kdcore.settings import listed
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.sweeps import planning
from kdcore.sweeps import results as sweep_results
from kdcore.sweeps.results import SweepResults, settings_words
from kdcore.sweeps.speed import Estimate, estimate
from kdcore.words import sentences

SEEDS = 5
Settings = Literal["papers", "defaults", "tuned"]
SETTINGS = typing.get_args(Settings)
TRIALS = 8
# A weight without an upper end is searched around its default.
TIMES = 10.0


def entrants(base: ExperimentConfig, names: str = "all") -> list[str]:
    """Return the methods that race: those named, with commas, or "all" that fit the data and the
    student. Plain distillation is always the first.

    Raises ConfigError for an unknown method, or for a named one that does not fit.
    """
    if names.strip() == "all":
        wanted = [name for name in METHODS if _fits(base, name)]
    else:
        wanted = listed(names)
        require(bool(wanted), "methods", f"all, or some of {', '.join(METHODS)}", names)
    for name in wanted:
        base.replace(method=find(name).name)
    return list(dict.fromkeys([PLAIN, *wanted]))


def _fits(base: ExperimentConfig, name: str) -> bool:
    try:
        base.replace(method=name)
    except ConfigError:
        return False
    return True


@dataclass(frozen=True)
class Race:
    """What is to race: the settings that all methods share, the methods, and where each one's own
    settings come from.

    "papers": what its paper names, the others at their defaults; "defaults"; "tuned": the best of
    ``trials`` on validation data. Raises ConfigError for fewer than two seeds, for trials out of
    range, or where a method does not fit.
    """

    base: ExperimentConfig
    methods: tuple[str, ...]
    settings: Settings = "papers"
    trials: int = TRIALS

    def __post_init__(self) -> None:
        require(self.base.seeds >= 2, "seeds", "at least 2 for a race", self.base.seeds)
        require(
            self.settings in SETTINGS, "settings", f"one of {', '.join(SETTINGS)}", self.settings
        )
        within = 2 <= self.trials <= MOST_CELLS
        require(within, "trials", f"from 2 to {MOST_CELLS:,}", self.trials)

    def config(self, searches: Mapping[str, str] | None = None) -> SweepConfig:
        """Return the sweep in which the methods race; ``searches`` are the ids of the sweeps that
        tune them, by method.
        """
        return SweepConfig(
            self.base.replace(method=PLAIN, **METHODS[PLAIN]().values()),
            (Axis("method", self.methods),),
            method_settings=papers_of(self.methods) if self.settings == "papers" else {},
            searches=searches or {},
        )

    def searches(self) -> dict[str, SweepConfig]:
        """Return the searches that come first, by method: none for one without settings to tune."""
        if self.settings != "tuned":
            return {}
        found = {name: tuning_config(self.base, name, self.trials) for name in self.methods}
        return {name: search for name, search in found.items() if search is not None}

    def estimate(self, store: Store, workers: int | None = None) -> Estimate:
        """Return what the race costs, its searches included."""
        return estimate(store, *self.searches().values(), self.config(), workers=workers)


def papers_of(methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return by method which of its paper's settings are not its defaults, none for many."""
    return {name: dict(METHODS[name].papers) for name in methods}


def create(store: Store, race: Race, *, tags: Sequence[str] = ()) -> str:
    """Accept a race, and before it the searches for its settings; returns its sweep's id. Then
    ``submit`` it to an engine.
    """
    searches = {
        name: planning.create(store, search, name=f"Tuning of {METHODS[name].title}", tags=tags)
        for name, search in race.searches().items()
    }
    return planning.create(store, race.config(searches), tags=tags)


def after_search(store: Store, config: SweepConfig, values: Mapping[str, Any]) -> ExperimentConfig:
    """Return the experiment of a method that races with the settings that did best in its search;
    with its defaults where no trial came to its end.
    """
    best = sweep_results.load(store, config.searches[values["method"]]).best()
    found = best.values if best is not None else None
    return config.cell(values).replace(**(found or {}))


def widened(config: SweepConfig, seeds: int, axes: tuple[Axis, ...], trials: int) -> SweepConfig:
    """Return a sweep with more seeds, values or trials; methods that come to a race at the papers'
    settings have theirs, too.

    Raises ConfigError for values that are refused.
    """
    given = config.method_settings
    if given:
        wanted = next(axis.values for axis in axes if axis.field == "method")
        given = {**papers_of([find(name).name for name in wanted]), **given}
    base = config.base.replace(seeds=seeds)
    return replace(config, base=base, axes=axes, trials=trials, method_settings=given)


def tuning_config(base: ExperimentConfig, method: str, trials: int) -> SweepConfig | None:
    """Return the search for a method's settings on validation data, None where it has none to
    search.

    Each trial trains one seed, which the race does not use.
    """
    shared = base.replace(method=method, seed=base.seed + base.seeds, seeds=1)
    axes = []
    for name, value in shared.method.tunable().items():
        low, high = _range(name, method, value)
        axes.append(Axis(name, low=low, high=high))
    return SweepConfig(shared, tuple(axes), "tpe", trials) if axes else None


def _range(name: str, method: str, value: float) -> tuple[float, float]:
    """Return where a setting is searched: 0 to 1 for a share, else around its default."""
    rules = setting_of(name, {"method": method}).metadata
    ends = [getattr(rule, "le", getattr(rule, "lt", None)) for rule in rules]
    highest = min((end for end in ends if end is not None), default=None)
    if highest is not None and highest <= 1:
        # At 1 a method would not hear its teacher.
        return 0.0, 0.9
    if is_log(name) and value > 0:
        return value / TIMES, value * TIMES if name != "temperature" else max(20.0, value)
    return 0.0, max(1.0, 2 * value)


def is_race(sweep: SweepResults) -> bool:
    """Return whether a sweep is a race that has something to compare."""
    fair = sweep.config.base.seeds > 1 and not sweep.config.prune
    return sweep.config.fields == ("method",) and PLAIN in sweep.config.methods and fair


def experiments_of(sweep: SweepResults) -> dict[str, str]:
    """Return the finished experiments of a race by their method."""
    return {cell.values["method"]: cell.id for cell in sweep.cells if cell.finished and cell.values}


def failures_of(sweep: SweepResults) -> dict[str, str]:
    """Return why methods of a race did not come to its end, the first line of each error, by
    method.
    """
    return {
        cell.values["method"]: (cell.job.error or "").partition("\n")[0]
        for cell in sweep.cells
        if cell.status == JobStatus.FAILED.value and cell.values
    }


def has_result(sweep: SweepResults) -> bool:
    """Return whether methods can be compared: plain distillation and another one are trained, and
    nothing is to come but what failed.
    """
    trained = experiments_of(sweep)
    return sweep.status in ("finished", "failed") and PLAIN in trained and len(trained) > 1


@dataclass(frozen=True)
class Row:
    """One line of the league table: a method's standing on test data, what a step of it cost
    relative to plain distillation (None where that is not known), what it needs, its settings.
    """

    standing: Standing
    title: str
    cost: float | None
    needs: str
    settings: str


@dataclass(frozen=True)
class League:
    """The league table, the best first, what it says in words, how settings were found, and who
    did not come to the end.
    """

    rows: list[Row]
    words: str
    settings: str
    missing: str = ""

    @property
    def said(self) -> str:
        """All that is said beside the table."""
        return " ".join(filter(None, (self.words, self.settings, self.missing)))

    HEAD = (
        "method",
        "test accuracy",
        "gain over the baseline",
        "gain over plain",
        "verdict",
        "step",
        "needs",
        "settings",
    )

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table as text: accuracies in per cent, gains in points with 95 % intervals."""
        return [
            (
                row.title,
                f"{100 * row.standing.accuracy:.1f} %",
                _gain_text(row.standing.over_baseline),
                _gain_text(row.standing.over_plain),
                row.standing.verdict,
                "–" if row.cost is None else f"{row.cost:.2f} ×",
                row.needs,
                row.settings,
            )
            for row in self.rows
        ]

    def markdown(self) -> str:
        """Return the table and what it says, in Markdown."""
        lines = [self.HEAD, ("---",) * len(self.HEAD), *self.cells()]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"{table}\n\n{self.said}\n"

    def csv(self) -> str:
        """Return the table as CSV: accuracies as fractions, gains in percentage points."""
        text = io.StringIO()
        rows = [self._record(row) for row in self.rows]
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Return the table for JSON."""
        return {
            "methods": [self._record(row) for row in self.rows],
            "words": self.words,
            "settings": self.settings,
            "missing": self.missing,
        }

    @staticmethod
    def _record(row: Row) -> dict[str, Any]:
        standing = row.standing
        record: dict[str, Any] = {
            "method": standing.method,
            "seeds": len(standing.accuracies),
            "test_accuracy": standing.accuracy,
        }
        for name, gain in (
            ("over_baseline", standing.over_baseline),
            ("over_plain", standing.over_plain),
        ):
            given = gain.to_dict() if gain is not None else {}
            record |= {f"{name}_{key}": given.get(key) for key in ("mean", "low", "high")}
        return record | {
            "p_value_holm": standing.p_value,
            "verdict": standing.verdict,
            "step_cost": row.cost,
            "needs": row.needs,
            "settings": row.settings,
        }


def _gain_text(gain: Any) -> str:
    if gain is None:
        return "–"
    mean, low, high = format_points(gain.mean, gain.low, gain.high)
    return f"{'+' if gain.mean > 0 else ''}{mean} ({low} to {high})"


def league(store: Store, sweep: SweepResults) -> League:
    """Return the league table of a race's finished experiments, one a method, on test data.

    Raises ConfigError without plain distillation.
    """
    experiments = experiments_of(sweep)
    loaded = {name: results.load_results(store, each) for name, each in experiments.items()}
    seeds = set.intersection(
        *({run.seed for run in each.runs("student")} for each in loaded.values())
    )
    accuracies, baselines = (
        {
            name: [
                run.summary["test_accuracy"]
                for run in sorted(each.runs(role), key=lambda run: run.seed)
                if run.seed in seeds
            ]
            for name, each in loaded.items()
        }
        for role in ("student", "baseline")
    )
    plain = loaded.get(PLAIN)
    if plain is None:
        raise ConfigError(Problem("methods", f"with {PLAIN}", ", ".join(loaded)))
    examples = plain.runs("student")[0].summary["test_examples"]
    found = standings(accuracies, baselines, examples)
    seconds = {name: _seconds_a_step(store, each) for name, each in loaded.items()}
    rows = []
    for standing in found:
        config, own = loaded[standing.method].config, seconds[standing.method]
        cost = own / seconds[PLAIN] if own and seconds[PLAIN] else None  # type: ignore[operator]
        rows.append(
            Row(
                standing,
                METHODS[standing.method].title,
                cost,
                needs_in_words(loaded[standing.method]),
                settings_words(config.method.values()),
            )
        )
    titles = {name: METHODS[name].title for name in loaded}
    return League(
        rows,
        verdict_in_words(found, titles),
        _settings_said(sweep, {name: each.config for name, each in loaded.items()}),
        sentences(
            *(
                f"{METHODS[name].title} did not come to the end: {why}"
                for name, why in failures_of(sweep).items()
            )
        ),
    )


def _settings_said(sweep: SweepResults, configs: Mapping[str, ExperimentConfig]) -> str:
    """Return in words where the settings of the methods are from."""
    kinds = {name: METHODS[name] for name in configs}
    given = sweep.config.method_settings
    if sweep.tuning:
        return _tuning_said(sweep, kinds)
    if given:
        other = [
            f"{kind.title}: {kind.in_words(given[name])}"
            for name, kind in kinds.items()
            if given.get(name)
        ]
        unlike = [
            f"{kind.title}: {kind.unlike_paper}" for kind in kinds.values() if kind.unlike_paper
        ]
        return sentences(
            "Each method has its paper's settings, and its defaults where the paper names none",
            f"The paper's that are not also defaults: {'; '.join(other) or 'none'}",
            f"What no setting stands for: {'; '.join(unlike)}" if unlike else "",
        )
    changed = [
        kinds[name].title
        for name, config in configs.items()
        if config.method != type(config.method)()
    ]
    if changed:
        return f"Settings were chosen by hand for {', '.join(changed)}; others have their defaults."
    other = [f"{kind.title}: {said}" for kind in kinds.values() if (said := kind.departs())]
    but = f", but for these. {'; '.join(other)}." if other else "."
    return f"Each method has its default settings, its paper's where that names any{but}"


def _tuning_said(sweep: SweepResults, kinds: Mapping[str, type[Method]]) -> str:
    """Return in words how the settings of a race were tuned, and where they were not."""
    untuned = [kind.title for name, kind in kinds.items() if name not in sweep.tuning]
    lost = []
    for name, jobs in sweep.tuning.items():
        failed = [job.status for job in jobs].count(JobStatus.FAILED.value)
        if failed and name in kinds:
            count = f"{failed} of its {len(jobs)} trials failed"
            ends = ", so it has its defaults" if failed == len(jobs) else ""
            lost.append(f"{kinds[name].title}: {count}{ends}")
    return sentences(
        f"Settings were tuned on validation data, {sweep.trials_each} trials each, on a seed that is "
        "not in the race",
        f"Nothing to tune: {', '.join(untuned)}" if untuned else "",
        *lost,
    )


def needs_in_words(found: results.Results) -> str:
    """Return what an experiment's method needs: labels, what of the teacher, and whether it was
    asked at every step.
    """
    config, asked = found.config, found.config.method.needs.teacher
    # Without the setting alpha a method's own loss decides what labels are for.
    own = "alpha" not in config.method.values()
    words = ["labels"] if own or config.alpha > 0 else []
    if asked == "logits":
        words += ["logits, live teacher" if config.answers_live else "logits, computed once"]
    elif asked == "features":
        words += [f"logits and features, {found.teacher_features or 'live teacher'}"]
    return ", ".join(words)


def _seconds_a_step(store: Store, found: results.Results) -> float | None:
    """Return the seconds of a training step, the median over seeds, the first epoch left out: it
    compiles.
    """
    points = store.metrics([run.id for run in found.runs("student")])
    points = points[points["split"] == "validation"]
    each = []
    for _, own in points.groupby("run_id"):
        steps, seconds = (own[name].max() - own[name].min() for name in ("step", "seconds"))
        if steps > 0:
            each.append(seconds / steps)
    return float(pd.Series(each).median()) if each else None
