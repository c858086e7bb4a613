"""Which examples without a label a student learns from, by what its teacher takes them for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdcore.analysis.logits import softmax
from kdcore.errors import ConfigError, Problem
from kdcore.plans import Selection
from kdcore.storage.arrays import unpack_many
from kdcore.storage.schema import Run
from kdcore.storage.store import Store

BINS = 10
MOST_MISTAKES = 36  # a few dozen are looked at


def select_examples(
    logits: NDArray[np.float32], labelled: NDArray, selection: Selection
) -> NDArray[np.int32]:
    """Return the rows to learn from, some of them more than once (Xie 2020, 2.1).

    Those of at least the asked confidence; with balance, of each class that the teacher sees as
    many as of all on average: its surest, and where there are too few all of them, again and again.

    Args:
        logits: the teacher's for the unchanged examples, [examples, classes].
        labelled: the rows that have a label, which are never chosen.
        selection: what is asked for.

    Raises:
        ConfigError: where no example is left.
    """
    probabilities = softmax(logits, 1.0)
    confidence, top = probabilities.max(axis=1), logits.argmax(axis=1)
    kept = confidence >= selection.confidence
    kept[labelled] = False
    rows = np.flatnonzero(kept)
    if not len(rows):
        rule = f"at most {confidence.max():.2f}, what the teacher is surest of"
        raise ConfigError(Problem("confidence", rule, selection.confidence))
    if not selection.balance:
        return rows.astype(np.int32)
    classes = np.unique(top[rows])
    wanted = -(-len(rows) // len(classes))
    chosen = []
    for number in classes:
        mine = rows[top[rows] == number]
        surest = mine[np.argsort(-confidence[mine], kind="stable")]
        chosen.append(np.resize(surest, wanted))
    return np.concatenate(chosen).astype(np.int32)


def describe_selection(
    logits: NDArray[np.float32],
    labels: NDArray,
    labelled: NDArray,
    chosen: NDArray[np.int32],
) -> dict[str, Any]:
    """Return what is worth seeing of pseudo-labels, ready for JSON.

    "examples" without a label, how many were "kept", "kept_by_class" and "used_by_class" as the
    teacher sees them, and the share of pseudo-labels that is "right" among all and among those
    kept; "reliability" has (mean confidence, share right, examples) for each tenth of confidence.
    Where some have no label at all, -1, "judged" says how many have a hidden one: how right
    pseudo-labels are is said of these alone, None where there are none. The hidden labels are
    looked at for these numbers alone, after the choice.
    """
    probabilities = softmax(logits, 1.0)
    confidence, top = probabilities.max(axis=1), logits.argmax(axis=1)
    without = np.setdiff1d(np.arange(len(logits)), labelled)
    right, kept = top == labels, np.unique(chosen)
    judged = without[labels[without] >= 0]
    classes = logits.shape[1]
    tenth = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = [judged[tenth[judged] == number] for number in range(BINS)]
    some = {} if len(judged) == len(without) else {"judged": len(judged)}
    return {
        **some,
        "examples": len(without),
        "kept": len(kept),
        "kept_by_class": np.bincount(top[kept], minlength=classes).tolist(),
        "used_by_class": np.bincount(top[chosen], minlength=classes).tolist(),
        "right": _share(right[judged]),
        "right_of_kept": _share(right[np.intersect1d(kept, judged)]),
        "reliability": [
            [float(confidence[rows].mean()), float(right[rows].mean()), len(rows)]
            for rows in bins
            if len(rows)
        ],
    }


def _share(right: NDArray[np.bool_]) -> float | None:
    return float(right.mean()) if len(right) else None


def confident_mistakes(
    logits: NDArray[np.float32],
    labels: NDArray,
    chosen: NDArray[np.int32],
    most: int = MOST_MISTAKES,
) -> dict[str, NDArray]:
    """Return the ``chosen`` examples whose pseudo-label is wrong, those first of which the teacher
    was surest.

    ``rows`` [m], with the class "given", the true one ("labels") and the "confidence" of each. The
    hidden labels are looked at after the choice, as in :func:`describe_selection`; of an example
    that has none at all, -1, nobody knows.
    """
    rows = np.unique(chosen)
    rows = rows[(logits[rows].argmax(axis=1) != labels[rows]) & (labels[rows] >= 0)]
    confidence = softmax(logits[rows], 1.0).max(axis=1) if len(rows) else np.zeros(0)
    first = np.argsort(-confidence, kind="stable")[:most]
    rows = rows[first]
    return {
        "rows": rows.astype(np.int64),
        "given": logits[rows].argmax(axis=1).astype(np.int32),
        "labels": np.asarray(labels)[rows].astype(np.int32),
        "confidence": confidence[first].astype(np.float32),
    }


def mistakes_key(run_id: str) -> str:
    """Return where the store has what :func:`stored_mistakes` reads."""
    return f"pseudo_labels/{run_id}/mistakes"


def stored_mistakes(store: Store, run: Run) -> dict[str, NDArray] | None:
    """Return a run's most confident wrong pseudo-labels; None where it has none, or was trained
    before they were kept.

    What :func:`confident_mistakes` returned, with ``rows`` of the dataset, and what a page needs to
    show them: ``images``, and for a table ``features``, ``centre`` and ``spread``.
    """
    data = store.artifact(mistakes_key(run.id))
    return None if data is None else unpack_many(data)
