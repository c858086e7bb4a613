"""Models side by side: every number of the Compare page and of ``kdcore compare``, from what the
store holds.

All accuracies, errors and answers are on the test data, which chose nothing. A contender's numbers
are means over its trained seeds; what needs one model (McNemar, the gallery) takes the runs of one
seed.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdcore.analysis import results
from kdcore.analysis.contenders import Contender, find_contenders, styles
from kdcore.analysis.logits import BoolArray, FloatArray, IntArray
from kdcore.analysis.metrics import agreement, confusion_matrix, mean_kl, per_class_accuracy
from kdcore.analysis.pareto import pareto_front
from kdcore.analysis.statistics import (
    PairedGain,
    finite_or_none,
    format_points,
    interval_of_accuracies,
    mcnemar_exact,
    paired_gain,
)
from kdcore.config.catalog import dataset_card, short_name
from kdcore.config.experiment import all_settings, taught_at
from kdcore.errors import ConfigError, Problem, StoreError, require
from kdcore.palette import Style
from kdcore.storage.schema import Run
from kdcore.storage.store import Store

# What accuracy is weighed against: the number's key, its title with unit.
COSTS = {
    "parameters": "parameters",
    "multiply_accumulates": "multiply-accumulates of one example",
    "file_bytes": "size of the model file (bytes)",
    "single_milliseconds": "time of a Keras call for one example (ms)",
    "batch_milliseconds": "time of a Keras call for a batch (ms)",
}


@dataclass(frozen=True, eq=False)
class Numbers:
    """What is known about one contender; None where it is not trained or not measured yet.

    ``accuracies`` are fractions by seed. ``interval`` is the 95 % interval of their mean: over
    seeds (t) or, for a single run, over test examples (Wilson), as ``interval_kind`` says.
    ``per_class`` is [classes], ``confusion`` counts [classes, classes] summed over seeds, row =
    true class. ``agreement`` and ``kl`` compare with the contender's own teacher, None for a
    teacher.
    """

    accuracies: tuple[float, ...]
    accuracy: float | None = None
    interval: tuple[float, float] | None = None
    interval_kind: str = ""
    negative_log_likelihood: float | None = None
    expected_calibration_error: float | None = None
    parameters: int | None = None
    multiply_accumulates: int | None = None
    file_bytes: int | None = None
    latency: dict[str, Any] | None = None
    agreement: float | None = None
    kl: float | None = None
    per_class: FloatArray | None = None
    confusion: IntArray | None = None

    def cost(self, name: str) -> float | None:
        """Return one of ``COSTS``, None where it is not known."""
        if name.endswith("_milliseconds"):
            return None if self.latency is None else float(self.latency[name])
        value = getattr(self, name)
        return None if value is None else float(value)


@dataclass(frozen=True)
class Answers:
    """Two models' right and wrong answers to the same test examples: McNemar's table and the exact
    p-value.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float


@dataclass(frozen=True)
class Pair:
    """How the contender at ``first`` does against the one at ``second``: over their paired seeds,
    and on one seed.
    """

    first: int
    second: int
    gain: PairedGain
    verdict: str
    answers: Answers


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two to six contenders with the same test data, and all that can be said of them."""

    contenders: tuple[Contender, ...]
    styles: tuple[Style, ...]
    numbers: tuple[Numbers, ...]
    pairs: tuple[Pair, ...]
    class_names: tuple[str, ...]
    labels: IntArray
    logits: tuple[NDArray[np.float32] | None, ...]
    temperature: float
    seed: int | None

    @property
    def examples(self) -> int:
        """How many test examples there are; none before a first model is trained."""
        return len(self.labels)

    @functools.cached_property
    def predictions(self) -> tuple[IntArray | None, ...]:
        """The class that each contender names for each example, at the seed shown.

        None for an untrained one.
        """
        return tuple(None if logits is None else logits.argmax(axis=1) for logits in self.logits)

    def right(self, index: int) -> BoolArray:
        """Return which examples the contender at ``index`` gets right at the seed shown."""
        predicted = self.predictions[index]
        assert predicted is not None
        return predicted == self.labels

    def front(self, cost: str) -> BoolArray:
        """Return the contenders that no other beats in both accuracy and ``cost`` (a key of
        ``COSTS``).
        """
        require(cost in COSTS, "cost", f"one of {', '.join(COSTS)}", cost)
        nan = float("nan")
        costs = [nan if (value := each.cost(cost)) is None else value for each in self.numbers]
        return pareto_front(
            costs, [nan if each.accuracy is None else each.accuracy for each in self.numbers]
        )

    def settings_that_differ(self) -> list[tuple[str, list[Any]]]:
        """Return (field, value of each contender) of the settings that differ where they matter.

        None stands for a contender whose role does not depend on the setting; a value of None is
        "all".
        """
        found = []
        for name in all_settings():
            values = [each.settings.get(name, _UNUSED) for each in self.contenders]
            if len({repr(value) for value in values if value is not _UNUSED}) > 1:
                found.append(
                    (name, [None if v is _UNUSED else "all" if v is None else v for v in values])
                )
        return found

    def disagreements(self, first: int, second: int) -> dict[str, IntArray]:
        """Return the examples on which two contenders differ at the seed shown, by kind.

        "only first" and "only second" right are the discordant cells of McNemar's table; with "both
        wrong", where they err differently, they make up "all". Indices [n] each, in the data's
        order.
        """
        one, two = self.predictions[first], self.predictions[second]
        if one is None or two is None:
            raise StoreError("only trained models have answers to compare")
        differ, first_right, second_right = one != two, one == self.labels, two == self.labels
        kinds = {
            "all": differ,
            "only first": differ & first_right,
            "only second": differ & second_right,
            "both wrong": differ & ~first_right & ~second_right,
        }
        return {name: np.flatnonzero(chosen) for name, chosen in kinds.items()}

    def any_disagreement(self) -> IntArray:
        """Return the examples on which not all trained contenders name the same class."""
        known = np.stack([each for each in self.predictions if each is not None])
        return np.flatnonzero((known != known[0]).any(axis=0))

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON; docs/command-line.md has its keys."""
        return {
            "models": [
                _contender_dict(contender, style, numbers)
                for contender, style, numbers in zip(
                    self.contenders, self.styles, self.numbers, strict=True
                )
            ],
            "pairs": [self._pair_dict(pair) for pair in self.pairs],
            "pareto": {
                cost: [
                    each.id
                    for each, kept in zip(self.contenders, self.front(cost), strict=True)
                    if kept
                ]
                for cost in COSTS
            },
            "settings_that_differ": {
                name: dict(zip([each.id for each in self.contenders], values, strict=True))
                for name, values in self.settings_that_differ()
            },
            "test_examples": self.examples,
            "classes": list(self.class_names),
            "temperature": self.temperature,
            "seed": self.seed,
        }

    def _pair_dict(self, pair: Pair) -> dict[str, Any]:
        answers = pair.answers
        kinds = self.disagreements(pair.first, pair.second)
        return {
            "first": self.contenders[pair.first].id,
            "second": self.contenders[pair.second].id,
            "gain": {**pair.gain.to_dict(), "verdict": pair.verdict},
            "mcnemar": {
                "both_right": answers.both,
                "only_first_right": answers.only_first,
                "only_second_right": answers.only_second,
                "both_wrong": answers.neither,
                "p_value": answers.p_value,
            },
            "disagreements": {name.replace(" ", "_"): len(found) for name, found in kinds.items()},
        }


_UNUSED = object()


def compare(
    store: Store, ids: Sequence[str], *, temperature: float | None = None, seed: int | None = None
) -> Comparison:
    """Compare 2 to 6 contenders; :func:`kdcore.analysis.contenders.find_contenders` explains ids.

    Args:
        store: where they are.
        ids: what to compare.
        temperature: T of the divergence from the teacher; by default that of the first contender's
            experiment.
        seed: whose runs stand for a contender where one model is needed; by default the first
            trained seed that all students and baselines share. One without a run of that seed takes
            its first.

    Raises ConfigError for a choice that cannot be compared, for a temperature not above 0 and for a
    seed that nobody has; StoreError for unknown ids.
    """
    return compare_contenders(
        store, find_contenders(store, ids), temperature=temperature, seed=seed
    )


def compare_contenders(
    store: Store,
    contenders: Sequence[Contender],
    *,
    temperature: float | None = None,
    seed: int | None = None,
) -> Comparison:
    """Compare contenders that were found already; arguments and errors as for :func:`compare`."""
    temperature = taught_at(contenders[0].config) if temperature is None else temperature
    require(temperature > 0, "temperature", "above 0", temperature)
    seed = _seed(contenders, seed)
    card = dataset_card(contenders[0].config["dataset"])
    labels = _labels(store, contenders)
    read = _Reader(store, labels)
    numbers = [_numbers(read, each, len(card.class_names), temperature) for each in contenders]
    shown = [each.run(seed) for each in contenders]
    named = styles(contenders)
    pairs = [
        _pair(read, contenders, named, shown, first, second)
        for first, second in itertools.combinations(range(len(contenders)), 2)
        if shown[first] is not None and shown[second] is not None
    ]
    logits = tuple(None if run is None else read.logits(run) for run in shown)
    return Comparison(
        tuple(contenders),
        tuple(named),
        tuple(numbers),
        tuple(pairs),
        card.class_names,
        labels,
        logits,
        temperature,
        seed,
    )


def shared_seeds(contenders: Sequence[Contender]) -> list[int]:
    """Return the seeds that have a trained run in every trained contender but teachers, whose seed
    is their own.
    """
    seeds = [
        {run.seed for run in each.trained}
        for each in contenders
        if each.role != "teacher" and each.trained
    ]
    return sorted(set.intersection(*seeds)) if seeds else []


def _seed(contenders: Sequence[Contender], seed: int | None) -> int | None:
    known = sorted(
        {run.seed for each in contenders if each.role != "teacher" for run in each.trained}
    )
    if seed is not None:
        require(
            seed in known,
            "seed",
            f"one of the trained ones, {', '.join(map(str, known)) or 'none yet'}",
            seed,
        )
        return seed
    return next(iter(shared_seeds(contenders) or known), None)


def _labels(store: Store, contenders: Sequence[Contender]) -> IntArray:
    """Return the true classes of the test examples.

    Raises ConfigError where two trained models have others.
    """
    found: IntArray | None = None
    for key in dict.fromkeys(run.summary["dataset"] for each in contenders for run in each.trained):
        stored = results.examples(store, key, "test")
        if not stored:
            raise StoreError(
                f"the test examples {key} are no longer in {store.name}: train one of the models again"
            )
        labels = stored["labels"].astype(np.int64)
        if found is not None and not np.array_equal(found, labels):
            raise ConfigError(
                Problem("models", "of the same test examples", "test examples that differ")
            )
        found = labels
    return np.zeros(0, np.int64) if found is None else found


@dataclass
class _Reader:
    """Reads each run's logits once."""

    store: Store
    labels: IntArray
    _kept: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def logits(self, run: Run) -> NDArray[np.float32]:
        if run.id not in self._kept:
            self._kept[run.id] = results.logits(self.store, run, "test")
        return self._kept[run.id]

    def right(self, run: Run) -> BoolArray:
        return self.logits(run).argmax(axis=1) == self.labels


def _numbers(read: _Reader, contender: Contender, classes: int, temperature: float) -> Numbers:
    runs = contender.trained
    if not runs:
        begun = contender.runs[0].parameters if contender.runs else 0
        return Numbers((), parameters=begun or None)
    accuracies = tuple(float(run.summary["test_accuracy"]) for run in runs)
    predicted = [read.logits(run).argmax(axis=1) for run in runs]
    interval, kind = _interval(runs, accuracies)
    taught: dict[str, float] = {}
    teacher = contender.teacher
    if contender.role != "teacher" and teacher is not None and teacher.finished_at is not None:
        pairs = [
            (read.logits(own), read.logits(run))
            for run in runs
            if (own := contender.teacher_of(run)) is not None and own.finished_at is not None
        ]
        taught["agreement"] = float(np.mean([agreement(*pair) for pair in pairs]))
        taught["kl"] = float(np.mean([mean_kl(*pair, temperature) for pair in pairs]))
    return Numbers(
        accuracies,
        accuracy=float(np.mean(accuracies)),
        interval=interval,
        interval_kind=kind,
        negative_log_likelihood=float(np.mean([run.summary["test_loss"] for run in runs])),
        expected_calibration_error=float(
            np.mean([run.summary["test_calibration_error"] for run in runs])
        ),
        parameters=runs[0].parameters,
        multiply_accumulates=runs[0].summary.get("multiply_accumulates"),
        file_bytes=read.store.artifact_size(f"model/{runs[0].id}"),
        latency=latency(read.store, runs),
        per_class=np.mean(
            [per_class_accuracy(read.labels, each, classes) for each in predicted], axis=0
        ),
        confusion=np.sum(
            [confusion_matrix(read.labels, each, classes) for each in predicted], axis=0
        ),
        **taught,
    )


def _interval(runs: Sequence[Run], accuracies: Sequence[float]) -> tuple[tuple[float, float], str]:
    return interval_of_accuracies(accuracies, int(runs[0].summary["test_examples"]))


def accuracy_with_interval(runs: Sequence[Run]) -> tuple[float, tuple[float, float], str]:
    """Return the mean test accuracy of trained runs, its 95 % interval and the interval's kind."""
    accuracies = [run.summary["test_accuracy"] for run in runs]
    interval, kind = _interval(runs, accuracies)
    return float(np.mean(accuracies)), interval, kind


def latency(store: Store, runs: Sequence[Run]) -> dict[str, Any] | None:
    """Return the latest measurement of one of ``runs``, models of one architecture; None where
    there is none.

    Its keys: "single_milliseconds" and "batch_milliseconds" (medians), "batch_size", "repeats",
    "machine" and more; see :mod:`kdcore.work.measure`.
    """
    stored = [
        json.loads(data)
        for run in runs
        if (data := store.artifact(latency_key(run.id))) is not None
    ]
    return max(stored, key=lambda measured: measured["measured_at"], default=None)


def latency_key(run_id: str) -> str:
    """Return the name under which a run's measurement is stored."""
    return f"latency/{run_id}"


# --- Pairs ---


def _pair(
    read: _Reader,
    contenders: Sequence[Contender],
    named: Sequence[Style],
    shown: Sequence[Run | None],
    first: int,
    second: int,
) -> Pair:
    if (contenders[first].role, contenders[second].role) == ("baseline", "student"):
        first, second = second, first  # a gain is what the student has over its baseline
    one, two = shown[first], shown[second]
    assert one is not None
    assert two is not None
    gain = _gain(read, contenders[first], contenders[second], (one, two))
    twins = (
        contenders[first].role == "student"
        and contenders[second].role == "baseline"
        and contenders[first].experiment.id == contenders[second].experiment.id
    )
    verdict = gain.verdict if twins else _verdict(gain, named[first].name, named[second].name)
    return Pair(first, second, gain, verdict, _answers(read.right(one), read.right(two)))


def _answers(first: BoolArray, second: BoolArray) -> Answers:
    only_first, only_second, p_value = mcnemar_exact(first, second)
    return Answers(
        int(np.sum(first & second)), only_first, only_second, int(np.sum(~first & ~second)), p_value
    )


def _gain(read: _Reader, first: Contender, second: Contender, shown: tuple[Run, Run]) -> PairedGain:
    """Pair by seed.

    A teacher has one run of a seed of its own, so that it is set against the model shown.
    """
    pairs = [shown]
    if "teacher" not in (first.role, second.role):
        others = {run.seed: run for run in second.trained}
        pairs = [(run, others[run.seed]) for run in first.trained if run.seed in others] or [shown]
    scores = [[run.summary["test_accuracy"] for run in side] for side in zip(*pairs, strict=True)]
    if len(pairs) > 1:
        return paired_gain(scores[0], scores[1], test_examples=len(read.labels))
    ((one, two),) = pairs
    return paired_gain(
        scores[0], scores[1], student_correct=read.right(one), baseline_correct=read.right(two)
    )


def _verdict(gain: PairedGain, first: str, second: str) -> str:
    """Say of any two models what :func:`kdcore.analysis.statistics.paired_gain` says of student and
    baseline.
    """
    if gain.n == 1:
        return f"{first} against {second}. {gain.verdict}"
    if gain.outcome == "no difference":
        return f"{first} against {second}: {gain.verdict[0].lower()}{gain.verdict[1:]}".replace(
            "student and baseline", "both"
        )
    ahead, behind = (first, second) if gain.outcome == "helped" else (second, first)
    bounds = (
        (gain.mean, gain.low, gain.high)
        if gain.outcome == "helped"
        else (-gain.mean, -gain.high, -gain.low)
    )
    lead, low, high = format_points(*bounds)
    return (
        f"{ahead} is ahead of {behind} by {lead} points (95 % CI {low} to {high}, {gain.n} seeds)"
    )


# --- For JSON ---


def _contender_dict(contender: Contender, style: Style, numbers: Numbers) -> dict[str, Any]:
    low, high = numbers.interval or (None, None)
    return {
        "id": contender.id,
        "name": style.name,
        "role": contender.role,
        "model": contender.model,
        "experiment": contender.experiment.id,
        "runs": [run.id for run in contender.runs],
        "status": contender.status.value,
        "state": contender.state,
        "accuracy": {
            "mean": numbers.accuracy,
            "low": low,
            "high": high,
            "interval": numbers.interval_kind,
            "by_seed": {str(run.seed): run.summary["test_accuracy"] for run in contender.trained},
        },
        "negative_log_likelihood": numbers.negative_log_likelihood,
        "expected_calibration_error": numbers.expected_calibration_error,
        "parameters": numbers.parameters,
        "multiply_accumulates": numbers.multiply_accumulates,
        "file_bytes": numbers.file_bytes,
        "latency": numbers.latency,
        "teacher": {
            "run": contender.teacher.id if contender.teacher is not None else None,
            "agreement": numbers.agreement,
            "kl": finite_or_none(numbers.kl),
        },
        "per_class_accuracy": None
        if numbers.per_class is None
        else [finite_or_none(float(value)) for value in numbers.per_class],
        "confusion": None if numbers.confusion is None else numbers.confusion.tolist(),
    }


def settings_in_words(found: Sequence[tuple[str, list[Any]]]) -> list[tuple[str, list[str]]]:
    """Return the settings that differ as (title, what to show for each contender)."""
    return [
        (
            all_settings()[name].title or name,
            [
                "–"
                if value is None
                else f"{value:g}"
                if isinstance(value, float)
                else short_name(str(value))
                for value in values
            ],
        )
        for name, values in found
    ]
