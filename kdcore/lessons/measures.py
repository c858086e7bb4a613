"""What lessons measure, by name: numbers of finished experiments, one experiment a case.

Each is worked out from the answers that the runs stored, by the functions that the pages and the
command line use. A new one is a function with ``@measures(unit)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from kdcore.analysis.logits import IntArray
from kdcore.analysis.omitted_classes import Errors, errors
from kdcore.analysis.results import (
    Results,
    examples,
    gain,
    gain_between,
    language_losses,
    lineage,
    logits,
)
from kdcore.analysis.statistics import mean_interval, paired_gain
from kdcore.analysis.temperature import (
    calibrate,
    gradient_norms,
    label_gradient_norm,
    top_probability,
)
from kdcore.config.catalog import dataset_card
from kdcore.errors import require
from kdcore.lessons.lesson import Lesson
from kdcore.lessons.measured import Measured
from kdcore.storage.schema import Run
from kdcore.storage.store import Store

Measure: TypeAlias = Callable[..., Measured]
MEASURES: dict[str, Measure] = {}
UNITS: dict[str, str] = {}
TEST, VALIDATION = "test data", "validation data"


def measures(unit: str) -> Callable[[Measure], Measure]:
    """Make a function known to lessons by its name, with the unit of what it measures."""

    def known(function: Measure) -> Measure:
        MEASURES[function.__name__], UNITS[function.__name__] = function, unit
        return function

    return known


def unit_of(name: str) -> str:
    """Return the unit of what a measure measures; raises ConfigError for an unknown one."""
    require(name in UNITS, "measure", f"one of {', '.join(MEASURES)}", name)
    return UNITS[name]


def measure(
    name: str,
    store: Store,
    lesson: Lesson,
    results: Sequence[Results],
    arguments: Mapping[str, Any],
) -> Measured:
    """Return what the measure called ``name`` says; raises ConfigError for an unknown one."""
    require(name in MEASURES, "measure", f"one of {', '.join(MEASURES)}", name)
    return MEASURES[name](store, lesson, results, **arguments)


# --- What a teacher answers ---


@measures("%")
def runner_up(store: Store, _lesson: Lesson, results: Sequence[Results], *, of: int) -> Measured:
    """Return for each other class in how many of the test examples of class ``of`` the teacher
    finds it likeliest after the true one, in percent.
    """
    names = dataset_card(results[0].config.dataset).class_names
    shares = 100 * _runners_up(store, results[0])[of]
    others = [number for number in range(len(names)) if number != of]
    best = max(others, key=lambda number: shares[number])
    return Measured(
        tuple(float(shares[number]) for number in others),
        tuple(names[number] for number in others),
        "%",
        f"of the examples of class {names[of]}, {TEST}, 1 teacher",
        best=names[best],
    )


@measures("classes")
def mutual_runners_up(store: Store, _lesson: Lesson, results: Sequence[Results]) -> Measured:
    """Return how many classes are the runner-up of their own runner-up."""
    second = _runners_up(store, results[0]).argmax(axis=1)
    mutual = sum(int(second[second[number]] == number) for number in range(len(second)))
    return _number(mutual, "classes", f"of {len(second)}, {TEST}, 1 teacher", decimals=0)


@measures("%")
def sureness(
    store: Store, _lesson: Lesson, results: Sequence[Results], *, temperatures: Sequence[float]
) -> Measured:
    """Return the teacher's mean probability of its favourite over T, in percent."""
    answers = logits(store, _teacher(results[0]), "test")
    values = [100 * float(np.mean(top_probability(answers, t))) for t in temperatures]
    return Measured(
        tuple(values),
        tuple(f"T = {t:g}" for t in temperatures),
        "%",
        f"mean of all examples, {TEST}, 1 teacher",
        x=tuple(map(float, temperatures)),
        axis="temperature T",
        log=True,
    )


@measures("")
def calibrated_at(store: Store, _lesson: Lesson, results: Sequence[Results]) -> Measured:
    """Return the T at which the teacher's probabilities are nearest to how often it is right."""
    teacher = _teacher(results[0])
    truth = _labels(store, results[0], "validation")
    found = calibrate(logits(store, teacher, "validation"), truth)
    return _number(found.temperature, "", f"{VALIDATION}, 1 teacher", decimals=2)


# --- What pulls at a student ---


@measures("×")
def pull_lost(
    store: Store, _lesson: Lesson, results: Sequence[Results], *, temperature: float
) -> Measured:
    """Return how many times weaker the teacher's pull on the baseline is at ``temperature`` than at
    1 without the factor T²: a ratio of mean gradient lengths.
    """
    norms = gradient_norms(*_teacher_and_baseline(store, results[0]), [1.0, temperature])
    plain = norms["without_t_squared"]
    return _number(float(plain[0] / plain[1]), "×", f"mean of all examples, {TEST}, 1 seed")


@measures("")
def pull_with_t_squared(
    store: Store, _lesson: Lesson, results: Sequence[Results], *, temperatures: Sequence[float]
) -> Measured:
    """Return the mean length of the teacher's gradient over T, with the factor T²."""
    return _pull(store, results[0], temperatures, "with_t_squared")


@measures("")
def pull_without(
    store: Store, _lesson: Lesson, results: Sequence[Results], *, temperatures: Sequence[float]
) -> Measured:
    """Return the mean length of the teacher's gradient over T, without the factor."""
    return _pull(store, results[0], temperatures, "without_t_squared")


@measures("×")
def pull_against_labels(
    store: Store, _lesson: Lesson, results: Sequence[Results], *, temperature: float
) -> Measured:
    """Return how long the teacher's gradient is, with T², against that of the true labels."""
    teacher, baseline = _teacher_and_baseline(store, results[0])
    norms = gradient_norms(teacher, baseline, [temperature])
    labels = label_gradient_norm(baseline, _labels(store, results[0], "test"))
    ratio = float(norms["with_t_squared"][0] / labels)
    return _number(ratio, "×", f"mean of all examples, {TEST}, 1 seed")


def _pull(store: Store, results: Results, temperatures: Sequence[float], which: str) -> Measured:
    norms = gradient_norms(*_teacher_and_baseline(store, results), temperatures)
    return Measured(
        tuple(float(value) for value in norms[which]),
        tuple(f"T = {t:g}" for t in temperatures),
        "",
        f"mean gradient of all examples, {TEST}, 1 seed",
        x=tuple(map(float, temperatures)),
        axis="temperature T",
        log=True,
        decimals=3,
    )


# --- How good students are ---


@measures("%")
def accuracy(
    store: Store, lesson: Lesson, results: Sequence[Results], *, role: str, case: str = ""
) -> Measured:
    """Return the test accuracy of a role in each case, in percent, with 95 % intervals over
    seeds; where a ``case`` is named, in that one alone.
    """
    chosen = [_case(lesson, results, case)] if case else results
    by_case = [[100 * value for value in each.accuracies(role)] for each in chosen]
    seeds = min(map(len, by_case))
    intervals = [mean_interval(values) if seeds > 1 else None for values in by_case]
    means = [float(np.mean(values)) for values in by_case]
    about = f"accuracy of the {role}, {TEST}, {_seeds(seeds)}"
    if case:
        return _number(means[0], "%", f"{case}, {about}", intervals[0])
    return _over_cases(lesson, means, "%", about, intervals)


@measures("points")
def gains(store: Store, lesson: Lesson, results: Sequence[Results]) -> Measured:
    """Return what the student gained over its baseline in each case, in points, with 95 %
    intervals over paired seeds.
    """
    found = [gain(store, each) for each in results]
    paired = [each for each in found if each is not None]
    require(len(paired) == len(results), "gain", "of finished seeds in every case", len(paired))
    several = min(each.n for each in paired) > 1
    values = [each.mean for each in paired]
    best = lesson.cases[int(np.argmax(values))].title if lesson.predict.answer == "choice" else ""
    return _over_cases(
        lesson,
        values,
        "points",
        f"student minus baseline, {TEST}, {_seeds(min(len(each.accuracies('student')) for each in results))}",
        [(each.low, each.high) if several else None for each in paired],
        best=best,
    )


@measures("")
def cases_that_gain(store: Store, lesson: Lesson, results: Sequence[Results]) -> Measured:
    """Return in how many cases the interval of the gain lies above zero."""
    found = [gain(store, each) for each in results]
    helped = sum(each is not None and each.outcome == "helped" for each in found)
    return _number(helped, "", f"of {len(results)}, {TEST}", decimals=0)


@measures("examples")
def apart(store: Store, lesson: Lesson, results: Sequence[Results], *, case: str) -> Measured:
    """Return by how many test examples student and baseline answer apart in a case."""
    each = _case(lesson, results, case)
    answers = [
        logits(store, each.runs(role)[0], "test").argmax(axis=1) for role in ("student", "baseline")
    ]
    different = int((answers[0] != answers[1]).sum())
    return _number(different, "examples", f"of {len(answers[0]):,}, {TEST}, 1 seed", decimals=0)


# --- Seeds ---


@measures("seeds")
def seeds_won(store: Store, _lesson: Lesson, results: Sequence[Results]) -> Measured:
    """Return in how many seeds the student is better than its baseline."""
    student, baseline = _pairs(results[0])
    won = sum(one > other for one, other in zip(student, baseline, strict=True))
    return _number(won, "seeds", f"of {len(student)}, {TEST}", decimals=0)


@measures("points")
def gain_after_seeds(store: Store, _lesson: Lesson, results: Sequence[Results]) -> Measured:
    """Return the gain as it stands after 2, 3, ... seeds, in points, with its 95 % interval."""
    student, baseline = _pairs(results[0])
    counts = range(2, len(student) + 1)
    tested = int(results[0].runs("student")[0].summary["test_examples"])
    found = [
        paired_gain(student[:count], baseline[:count], test_examples=tested) for count in counts
    ]
    return Measured(
        tuple(each.mean for each in found),
        tuple(_seeds(count) for count in counts),
        "points",
        f"student minus baseline, {TEST}, paired seeds",
        x=tuple(map(float, counts)),
        low=tuple(each.low for each in found),
        high=tuple(each.high for each in found),
        axis="seeds",
        decimals=2,
    )


@measures("points")
def interval_width(store: Store, lesson: Lesson, results: Sequence[Results]) -> Measured:
    """Return how wide the interval of the gain is with all seeds, in points."""
    found = gain_after_seeds(store, lesson, results)
    width = found.high[-1] - found.low[-1]
    return _number(width, "points", f"95 % interval, {TEST}, {found.titles[-1]}")


# --- A class that was never seen ---


@measures("%")
def unseen_right(
    store: Store, _lesson: Lesson, results: Sequence[Results], *, raised: bool = False
) -> Measured:
    """Return how many of the test examples of the omitted class the student gets right, in
    percent; with the bias of the class ``raised`` as validation data says.
    """
    found = _errors(store, results[0])
    wrong = found.omitted_raised if raised else found.omitted
    share = 100 * (1 - wrong / found.omitted_examples)
    seeds = len(results[0].accuracies("student"))
    about = f"of {found.omitted_examples} examples of the class left out, {TEST}, {_seeds(seeds)}"
    return _number(share, "%", about)


# --- Rounds ---


@measures("points")
def gained_by_rounds(store: Store, _lesson: Lesson, results: Sequence[Results]) -> Measured:
    """Return what the last generation gained over the first teacher, in points, with the interval
    over paired seeds.
    """
    last = lineage(store, results[0])[-1]
    found = last.gain_over_first
    assert found is not None, "each seed has its own first teacher"
    interval = [(found.low, found.high)] if found.n > 1 else [None]
    about = f"last generation minus first teacher, {TEST}, {_seeds(len(last.accuracies))}"
    return _number(found.mean, "points", about, interval[0])


@measures("%")
def accuracy_by_generation(store: Store, _lesson: Lesson, results: Sequence[Results]) -> Measured:
    """Return the test accuracy of teacher and generations, in percent."""
    steps = lineage(store, results[0])
    values = [[100 * value for value in each.accuracies] for each in steps]
    seeds = min(map(len, values))
    intervals = [mean_interval(each) if seeds > 1 else None for each in values]
    return Measured(
        tuple(float(np.mean(each)) for each in values),
        tuple("teacher" if not number else f"generation {number}" for number in range(len(steps))),
        "%",
        f"accuracy, {TEST}, {_seeds(seeds)}",
        x=tuple(map(float, range(len(steps)))),
        axis="generation (0: the first teacher)",
        **_bounds(intervals),
    )


@measures("%")
def pseudo_labels_right(store: Store, _lesson: Lesson, results: Sequence[Results]) -> Measured:
    """Return how many of the first generation's pseudo-labels are right, in percent."""
    found = next(each for each in lineage(store, results[0]) if each.pseudo_labels is not None)
    assert found.pseudo_labels is not None
    about = f"of {found.pseudo_labels['kept']:,} examples kept, training data, 1 seed"
    return _number(100 * found.pseudo_labels["right_of_kept"], "%", about)


# --- Language models ---


@measures("nats")
def masked_words(_store: Store, _lesson: Lesson, results: Sequence[Results]) -> Measured:
    """Return how well each language model guesses masked tokens that it never saw, in nats: the
    least is best.
    """
    found = language_losses(results[0])
    best = min(found, key=lambda step: found[step]) if found else ""
    return Measured(
        tuple(found.values()),
        tuple(found),
        "nats",
        f"cross-entropy of masked tokens, {VALIDATION}, 1 seed: lower is better",
        best=best,
        decimals=3,
    )


@measures("points")
def gain_over_scratch(store: Store, _lesson: Lesson, results: Sequence[Results]) -> Measured:
    """Return what the student gained over the same network from scratch, in points."""
    found = gain_between(
        store, results[0].runs_of_step("student"), results[0].runs_of_step("baseline")
    )
    assert found is not None, "a finished experiment has both"
    seeds = len(results[0].runs_of_step("student"))
    interval = (found.low, found.high) if found.n > 1 else None
    about = f"student minus the same network from scratch, {TEST}, {_seeds(seeds)}"
    return _number(found.mean, "points", about, interval)


# --- Helpers ---


def _number(
    value: float,
    unit: str,
    about: str,
    interval: tuple[float, float] | None = None,
    *,
    decimals: int = 1,
) -> Measured:
    bounds = _bounds([interval])
    return Measured((float(value),), ("",), unit, about, decimals=decimals, **bounds)


def _over_cases(
    lesson: Lesson,
    values: Sequence[float],
    unit: str,
    about: str,
    intervals: Sequence[tuple[float, float] | None],
    best: str = "",
) -> Measured:
    x = [case.x for case in lesson.cases]
    return Measured(
        tuple(values),
        tuple(case.title for case in lesson.cases),
        unit,
        about,
        x=tuple(value for value in x if value is not None) if None not in x else (),
        axis=lesson.axis,
        best=best,
        **_bounds(intervals),
    )


def _bounds(intervals: Sequence[tuple[float, float] | None]) -> dict[str, Any]:
    known = [each for each in intervals if each is not None]
    if len(known) < len(intervals):
        return {}
    return {"low": tuple(low for low, _ in known), "high": tuple(high for _, high in known)}


def _case(lesson: Lesson, results: Sequence[Results], case: str) -> Results:
    titles = [each.title for each in lesson.cases]
    require(case in titles, "case", f"one of {', '.join(titles)}", case)
    return results[titles.index(case)]


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count > 1 else ''}"


def _teacher(results: Results) -> Run:
    return results.runs("teacher")[0]


def _labels(store: Store, results: Results, split: str) -> IntArray:
    key = results.experiment.dataset_key
    assert key is not None, "a finished experiment has data"
    return examples(store, key, split)["labels"].astype(np.int64)


def _runners_up(store: Store, results: Results) -> np.ndarray:
    """Return [class, other class]: the share of its examples whose likeliest wrong class it is."""
    answers = np.array(logits(store, _teacher(results), "test"), np.float64)
    truth = _labels(store, results, "test")
    answers[np.arange(len(truth)), truth] = -np.inf
    second, classes = answers.argmax(axis=1), answers.shape[1]
    shares = np.zeros((classes, classes))
    for number in range(classes):
        of_class = second[truth == number]
        shares[number] = np.bincount(of_class, minlength=classes) / max(1, len(of_class))
    return shares


def _teacher_and_baseline(store: Store, results: Results) -> tuple[np.ndarray, np.ndarray]:
    teacher, baseline = _teacher(results), results.runs("baseline")[0]
    return logits(store, teacher, "test"), logits(store, baseline, "test")


def _pairs(results: Results) -> tuple[list[float], list[float]]:
    of = [{run.seed: run for run in results.runs(role)} for role in ("student", "baseline")]
    seeds = sorted(of[0].keys() & of[1].keys())
    student, baseline = ([runs[seed].summary["test_accuracy"] for seed in seeds] for runs in of)
    return student, baseline


def _errors(store: Store, results: Results) -> Errors:
    return errors(store, results)["student"]
