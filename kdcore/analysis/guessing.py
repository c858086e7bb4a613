"""Teachers that know no more than which class is the most frequent one."""

from __future__ import annotations

import numpy as np
from scipy import stats

from kdcore.analysis.results import Results, examples
from kdcore.config.catalog import dataset_card, short_name
from kdcore.storage.schema import Run
from kdcore.storage.store import Store

# How seldom a teacher that only guesses may pass for one that has learnt.
LEVEL = 0.01


def guessing_teachers(store: Store, results: Results) -> list[str]:
    """Return a sentence, with what to try, for each trained teacher that is not surely better on
    validation data than always answering the most frequent class there (one-sided binomial test).
    """
    return [
        said
        for run in results.runs("teacher")
        if run.finished_at is not None and (said := _guessing(store, results, run))
    ]


def _guessing(store: Store, results: Results, run: Run) -> str:
    labels = examples(store, run.summary["dataset"], "validation")["labels"]
    classes, counts = np.unique(labels, return_counts=True)
    most, accuracy = counts.argmax(), run.summary["validation_accuracy"]
    share = float(counts[most]) / len(labels)
    right = round(accuracy * len(labels))
    if share == 1 or stats.binomtest(right, len(labels), share, "greater").pvalue <= LEVEL:
        return ""
    name = dataset_card(results.config.dataset).class_names[int(classes[most])]
    return (
        f"The teacher {short_name(run.model)} has hardly anything to teach: it is right about {accuracy:.1%} of the "
        f"validation data, and always answering {name} would be right about {share:.1%}. A smaller teacher learning "
        f"rate than {results.config.teacher_learning_rate:g} may help, or more teacher epochs."
    )
