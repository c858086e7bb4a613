"""Before shrinking: which students a teacher could have, what they cost, and which three are worth
trying.

What a student costs is exact (parameters, multiply-accumulates) or measured (milliseconds, by the
worker that built it); how well it will do is not guessed: for that there is "try these three".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kdcore.analysis.library import edit
from kdcore.config.catalog import dataset_card, short_name
from kdcore.config.experiment import ExperimentConfig, digest
from kdcore.errors import require
from kdcore.storage.store import Store

# The teacher's share of work that the three to try should be left with, as far as there are
# candidates for it.
SHARES = (1 / 4, 1 / 16, 1 / 64)


@dataclass(frozen=True)
class Candidate:
    """A student that a teacher could have.

    ``milliseconds`` is the median time for one example, with fresh weights.
    """

    name: str
    parameters: int
    multiply_accumulates: int
    milliseconds: float


@dataclass(frozen=True)
class Candidates:
    """A teacher and its possible students, the costliest first, and three to try, the suggestion
    among them.

    ``machine`` says in words where the times were measured.
    """

    teacher: Candidate
    students: tuple[Candidate, ...]
    machine: str
    three: tuple[str, ...]
    suggestion: str | None
    why: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def candidate_names(config: ExperimentConfig) -> list[str]:
    """Return the names of possible students for a config's data: those suggested, and its own."""
    names = dataset_card(config.dataset).task.candidates
    return list(dict.fromkeys([*names, config.student]))


def candidates_key(config: ExperimentConfig) -> str:
    """Return where the answer for a config's data, teacher and student is kept in the store."""
    return f"candidates/{digest({name: getattr(config, name) for name in ('dataset', 'teacher', 'student')})}"


def choose_three(teacher: Candidate, measured: Sequence[Candidate], machine: str) -> Candidates:
    """Order candidates and choose three of them.

    Only what has both fewer parameters and fewer multiply-accumulates than the teacher is smaller.
    The three come nearest to a quarter, a sixteenth and a sixty-fourth of its multiply-accumulates;
    the one in the middle is suggested.
    """
    smaller = [
        each
        for each in measured
        if each.parameters < teacher.parameters
        and each.multiply_accumulates < teacher.multiply_accumulates
    ]
    smaller.sort(key=lambda each: (-each.multiply_accumulates, each.name))
    three: list[Candidate] = []
    for share in SHARES:
        left = [each for each in smaller if each not in three]
        if left:
            wanted = np.log(share)
            three.append(min(left, key=lambda each: abs(_log_share(each, teacher) - wanted)))
    three.sort(key=lambda each: -each.multiply_accumulates)
    suggestion = three[len(three) // 2] if three else None
    return Candidates(
        teacher,
        tuple(smaller),
        machine,
        tuple(each.name for each in three),
        suggestion.name if suggestion else None,
        _why(teacher, suggestion),
    )


def _log_share(each: Candidate, teacher: Candidate) -> float:
    return float(np.log(max(each.multiply_accumulates, 1) / max(teacher.multiply_accumulates, 1)))


def _why(teacher: Candidate, suggestion: Candidate | None) -> str:
    if suggestion is None:
        return f"No candidate is smaller than {short_name(teacher.name)}."
    times = teacher.multiply_accumulates / max(suggestion.multiply_accumulates, 1)
    return (
        f"{short_name(suggestion.name)} does {times:,.0f} times less work than {short_name(teacher.name)}: small enough to "
        "matter, the middle of the three. Only training tells how well each will do."
    )


def get_candidates(store: Store, config: ExperimentConfig) -> Candidates | None:
    """Return what a worker found for a config's data, teacher and student.

    None where none has looked yet.
    """
    data = store.artifact(candidates_key(config))
    if data is None:
        return None
    found = json.loads(data)
    students = tuple(Candidate(**each) for each in found["students"])
    return Candidates(
        **{
            **found,
            "teacher": Candidate(**found["teacher"]),
            "students": students,
            "three": tuple(found["three"]),
        }
    )


def try_three(store: Store, config: ExperimentConfig, names: Sequence[str]) -> list[str]:
    """Queue one experiment for each student name, all else as in ``config``; returns their ids, for
    a comparison.

    They share the teacher, and are tagged "candidates". Raises ConfigError where there are none.
    """
    require(bool(names), "students", "at least one that is smaller than the teacher", list(names))
    ids = [store.create(config.replace(student=name, student_start="fresh")) for name in names]
    edit(store, ids, add_tags=["candidates"])
    return ids
