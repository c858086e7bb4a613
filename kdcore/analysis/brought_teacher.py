"""Whether a teacher that was brought does what it should on the user's own labels, before a student
is trained on what it says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdcore.analysis.logits import log_softmax
from kdcore.analysis.metrics import accuracy, confusion_matrix, negative_log_likelihood
from kdcore.storage.artifacts import ArtifactStore

# What must be gained to call another range of values the better one.
ACCURACY_GAINED = 0.1
NATS_GAINED = 0.5
# Log losses closer than this many standard errors of their paired difference are not told apart.
STANDARD_ERRORS = 3.0
# How much more must be right with the classes in another order.
ORDER_GAINED = 0.3


@dataclass(frozen=True)
class Seen:
    """What a teacher answers with its inputs in one range: accuracy (a fraction) and mean log loss
    (nats) on labelled examples.
    """

    inputs: str
    accuracy: float
    log_loss: float


@dataclass(frozen=True)
class Examination:
    """What was seen of a brought teacher on ``examples`` labelled validation examples.

    ``seen`` holds the range that was assumed first. ``problem`` says in words what is wrong, empty
    where nothing is; ``better`` is the range that mends it, empty where none does, and ``alike``
    are those that these examples cannot tell from it.
    """

    seen: tuple[Seen, ...]
    examples: int
    problem: str
    better: str
    alike: tuple[str, ...] = ()

    @property
    def ways(self) -> tuple[str, ...]:
        """The ranges to choose from where the assumed one is not it, the best one first."""
        return (self.better, *self.alike) if self.better else ()

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Examination:
        """Return what :meth:`to_dict` gave."""
        seen = tuple(Seen(**each) for each in given["seen"])
        return cls(**{**given, "seen": seen, "alike": tuple(given.get("alike", ()))})

    def __str__(self) -> str:
        """Return it in words, with the split that the numbers are of."""
        on = f"{self.examples} validation examples"
        if self.problem:
            return f"{self.problem} ({on})"
        seen = self.seen[0]
        values = f" with values {seen.inputs}" if len(self.seen) > 1 else ""
        return f"{seen.accuracy:.0%} right{values}, log loss {seen.log_loss:.2f} ({on})"


def examine(answers: Mapping[str, ArrayLike], labels: NDArray) -> Examination:
    """Judge a teacher by its logits [examples, classes] for each range of values, the assumed one
    first, and the true labels [examples].
    """
    logits = {inputs: np.asarray(given, np.float64) for inputs, given in answers.items()}
    seen = tuple(
        Seen(inputs, accuracy(given, labels), float(negative_log_likelihood(given, labels)))
        for inputs, given in logits.items()
    )
    assumed = seen[0]
    best = max(seen, key=lambda each: (round(each.accuracy, 3), -each.log_loss))
    problem, better = "", ""
    alike: tuple[str, ...] = ()
    if _is_better(best, assumed):
        better = best.inputs
        others = [each.inputs for each in seen if each is not best and _is_better(each, assumed)]
        alike = tuple(
            each for each in others if _are_alike(logits[each], logits[best.inputs], labels)
        )
        problem = (
            f"{assumed.accuracy:.0%} right with values {assumed.inputs}, "
            f"{best.accuracy:.0%} with {' or '.join((better, *alike))}"
        )
        if round(best.accuracy, 2) == round(assumed.accuracy, 2):
            problem += f" (log loss {assumed.log_loss:.2f} and {best.log_loss:.2f})"
    elif (ordered := _in_best_order(logits[assumed.inputs], labels)) > (
        assumed.accuracy + ORDER_GAINED
    ):
        problem = (
            f"{assumed.accuracy:.0%} right, and {ordered:.0%} with its classes in another order: "
            "it seems to count them differently"
        )
    elif assumed.accuracy <= _chance(labels):
        problem = f"{assumed.accuracy:.0%} right, no better than chance, whatever values it sees"
        if len(seen) == 1:
            problem = f"{assumed.accuracy:.0%} right, no better than chance"
    return Examination(seen, len(labels), problem, better, alike)


def keep_look(store: ArtifactStore, model: str, dataset: str, found: Examination) -> None:
    """Keep what was seen of a model on a dataset, both by their keys."""
    store.put_artifact(f"{_looks(model)}{dataset}", json.dumps(found.to_dict()).encode())


def looks(store: ArtifactStore, model: str) -> dict[str, Examination]:
    """Return what was seen of a model, by its key, on each dataset that it was looked at on."""
    found = {}
    for key in store.artifact_keys(_looks(model)):
        data = store.artifact(key)
        if data is not None:
            found[key.removeprefix(_looks(model))] = Examination.from_dict(json.loads(data))
    return found


def _looks(model: str) -> str:
    return f"look/{model}/"


def _is_better(best: Seen, assumed: Seen) -> bool:
    if best.accuracy - assumed.accuracy >= ACCURACY_GAINED:
        return True
    as_right = best.accuracy >= assumed.accuracy
    return as_right and assumed.log_loss - best.log_loss >= NATS_GAINED


def _are_alike(first: NDArray, second: NDArray, labels: NDArray) -> bool:
    """Return whether the examples cannot tell the log losses of two kinds of logits apart."""
    losses = [-log_softmax(each)[np.arange(len(labels)), labels] for each in (first, second)]
    difference = losses[0] - losses[1]
    error = difference.std(ddof=1) / math.sqrt(len(labels)) if len(labels) > 1 else math.inf
    return bool(abs(difference.mean()) <= STANDARD_ERRORS * error)


def _in_best_order(logits: NDArray, labels: NDArray) -> float:
    """Return the accuracy (a fraction) with the classes in the order that fits best."""
    from scipy.optimize import linear_sum_assignment

    classes = logits.shape[1]
    counts = confusion_matrix(labels, logits.argmax(axis=1), classes)
    rows, columns = linear_sum_assignment(-counts)
    return float(counts[rows, columns].sum() / len(labels))


def _chance(labels: NDArray) -> float:
    """Return what is still within chance: always the most frequent class, and three standard
    errors.
    """
    share = float(np.bincount(labels).max() / len(labels))
    return share + 3 * math.sqrt(share * (1 - share) / len(labels))
