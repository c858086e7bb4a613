"""Which file ships: the exports of an experiment beside each other, and the smallest that fits a
budget.

Every number is of the file itself, by its own runtime: accuracy on test data, size on disk, the
median time of one answer on the machine that measured it. Test data only says what a file does; the
choice is by size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdcore.analysis.results import gain, load_results
from kdcore.errors import require
from kdcore.storage.store import Store
from kdcore.takeaway.downloads import FORMATS, exports


@dataclass(frozen=True)
class Budget:
    """What a device allows, None where it does not matter: a file's size in kB, one answer's time
    in milliseconds, percentage points that accuracy may lie under the teacher's.

    Raises ConfigError for a limit that nothing can keep.
    """

    kilobytes: float | None = None
    milliseconds: float | None = None
    points: float | None = None

    def __post_init__(self) -> None:
        for name in ("kilobytes", "milliseconds"):
            limit = getattr(self, name)
            require(limit is None or 0 < limit < np.inf, name, "above 0", limit)
        points = self.points
        require(points is None or 0 <= points <= 100, "points", "from 0 to 100", points)

    def allows(self, option: Option) -> bool:
        """Return whether a file keeps to all limits."""
        return (
            (self.kilobytes is None or option.kilobytes <= self.kilobytes)
            and (self.milliseconds is None or option.milliseconds <= self.milliseconds)
            and (self.points is None or option.points_under_teacher <= self.points)
        )


@dataclass(frozen=True)
class Option:
    """A file that may ship.

    ``accuracy`` is a fraction of test data, ``points_under_teacher`` in percentage points against
    the experiment's teacher in Keras. ``times_smaller`` and ``times_faster`` compare with the
    teacher's file of the same format, None where that is not made or was measured on another
    machine.
    """

    run_id: str
    role: str
    model: str
    seed: int
    format: str
    accuracy: float
    points_under_teacher: float
    kilobytes: float
    milliseconds: float
    machine: str
    times_smaller: float | None = None
    times_faster: float | None = None

    @property
    def title(self) -> str:
        """Its format and model in words."""
        return f"{FORMATS[self.format].title} of the {self.role} {self.model}, seed {self.seed}"


def options(store: Store, experiment_id: str) -> list[Option]:
    """Return the files of an experiment that passed, the smallest first; of teacher, student and
    baseline. Raises StoreError for an unknown id.
    """
    results = load_results(store, experiment_id)
    teachers = [run for run in results.runs("teacher") if run.finished_at is not None]
    if not teachers:
        return []
    reference = float(np.mean([run.summary["test_accuracy"] for run in teachers]))
    of_teacher = {
        export.format: export.report
        for export in exports(store, teachers[0].id)
        if export.report and export.report["passed"]
    }
    found = []
    for _, run in results.links:
        for export in exports(store, run.id):
            report = export.report
            if not report or not report["passed"]:
                continue
            other = of_teacher.get(export.format) if run.role != "teacher" else None
            here = other is not None and other["machine"] == report["machine"]
            found.append(
                Option(
                    run.id,
                    run.role,
                    run.model,
                    run.seed,
                    export.format,
                    report["accuracy"],
                    100 * (reference - report["accuracy"]),
                    report["size"] / 1000,
                    report["latency_ms"],
                    report["machine"],
                    other["size"] / report["size"] if other is not None else None,
                    other["latency_ms"] / report["latency_ms"] if other and here else None,
                )
            )
    return sorted(found, key=lambda each: (each.kilobytes, each.milliseconds))


def smallest(found: Sequence[Option], budget: Budget) -> Option | None:
    """Return the smallest file that keeps to a budget, None where none does."""
    return next((each for each in found if budget.allows(each)), None)


def in_words(store: Store, experiment_id: str, option: Option) -> str:
    """Say what shipping a file means, against the teacher and without distillation."""
    points = option.points_under_teacher
    against = f"{points:.1f} points under" if points >= 0 else f"{-points:.1f} points over"
    parts = [
        f"{option.title}: {100 * option.accuracy:.1f} % right on test data, {against} the teacher in Keras"
    ]
    if option.role != "teacher":
        parts.append(f"file {option.kilobytes:.1f} kB{_times(option.times_smaller, 'smaller')}")
        parts.append(
            f"one answer in {option.milliseconds:.3g} ms on {option.machine}"
            f"{_times(option.times_faster, 'faster')}"
        )
    sentence = ", ".join(parts) + "."
    if option.role == "student" and (won := gain(store, load_results(store, experiment_id))):
        known = np.isfinite(won.low)
        interval = f" (95 % CI {won.low:.1f} to {won.high:.1f})" if known else ""
        sentence += f" Over its seeds distillation gained {won.mean:+.1f} points{interval}."
    if option.role != "teacher" and option.times_smaller is None:
        sentence += " Make the teacher's files too, to compare size and time."
    return sentence


def _times(ratio: float | None, word: str) -> str:
    if ratio is None:
        return ""
    if abs(ratio - 1) < 0.05:
        return {"smaller": ", as large as the teacher's", "faster": ", as fast as the teacher's"}[
            word
        ]
    opposite = {"smaller": "larger", "faster": "slower"}
    shown, said = (ratio, word) if ratio >= 1 else (1 / ratio, opposite[word])
    return f", {shown:.1f} × {said} than the teacher's"
