"""What a student makes of classes that it never saw an example of, and what raising their biases
does (Hinton, Vinyals, Dean 2015, section 3: a network that never saw a 3 knew most of them from its
teacher, once the bias of 3 was raised).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdcore.analysis.results import Results, examples, logits
from kdcore.storage.store import Store

HIGHEST_BIAS = 20.0
STEP = 0.1


@dataclass(frozen=True)
class Errors:
    """Errors on test data, all and those on examples of the omitted classes, as means over seeds:
    as the network is, and with the biases of the omitted classes raised by ``bias`` (in logits),
    which was chosen on validation data.
    """

    all: float
    omitted: float
    all_raised: float
    omitted_raised: float
    bias: float
    omitted_examples: int

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"{self.all:.0f} errors on test data, {self.omitted:.0f} of them on the "
            f"{self.omitted_examples:,} examples of classes left out; with the bias of these "
            f"raised by {self.bias:.1f} (chosen on validation data) {self.all_raised:.0f} and "
            f"{self.omitted_raised:.0f}"
        )


def best_bias(answers: NDArray, labels: NDArray, omitted: Sequence[int]) -> float:
    """Return by how much the logits [n, classes] of the omitted classes are to be raised for the
    fewest errors; the least raise of those that do as well.
    """
    biases = np.arange(0.0, HIGHEST_BIAS + STEP / 2, STEP)
    wrong = [np.sum(raised(answers, omitted, bias).argmax(axis=1) != labels) for bias in biases]
    return float(biases[int(np.argmin(wrong))])


def raised(answers: NDArray, omitted: Sequence[int], bias: float) -> NDArray:
    """Return logits with those of the omitted classes raised."""
    changed = np.array(answers, np.float64)
    changed[:, list(omitted)] += bias
    return changed


def count_errors(answers: NDArray, labels: NDArray, omitted: Sequence[int]) -> tuple[int, int]:
    """Return how many examples are wrong, and how many of those are of the omitted classes."""
    wrong = answers.argmax(axis=1) != labels
    return int(wrong.sum()), int((wrong & np.isin(labels, list(omitted))).sum())


def errors(store: Store, results: Results) -> dict[str, Errors]:
    """Return what student and baseline of an experiment make of the classes that they never saw, by
    role; nothing where no class is left out or nobody is trained.
    """
    omitted, key = results.config.omitted_numbers, results.experiment.dataset_key
    if not omitted or not key:
        return {}
    validation = examples(store, key, "validation")["labels"]
    test = examples(store, key, "test")["labels"]
    found = {}
    for role in ("student", "baseline"):
        rows = []
        for run in results.runs(role):
            if run.finished_at is None:
                continue
            bias = best_bias(logits(store, run, "validation"), validation, omitted)
            answers = logits(store, run, "test")
            as_it_is = count_errors(answers, test, omitted)
            rows.append(
                (*as_it_is, *count_errors(raised(answers, omitted, bias), test, omitted), bias)
            )
        if rows:
            every, of_omitted, every_raised, of_omitted_raised, bias = np.mean(
                rows, axis=0
            ).tolist()
            count = int(np.isin(test, omitted).sum())
            found[role] = Errors(every, of_omitted, every_raised, of_omitted_raised, bias, count)
    return found


def as_dict(found: dict[str, Errors]) -> dict[str, Any]:
    """Return it for JSON."""
    return {role: asdict(each) for role, each in found.items()}
