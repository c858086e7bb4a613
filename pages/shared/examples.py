"""Test examples and what finished runs answer to them, read from the store once.

A run's logits never change, so nothing here ever goes stale. The store is not part of a key: a
server has one.
"""

from __future__ import annotations

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kdcore.analysis import temperature as soft
from kdcore.analysis.logits import IntArray
from kdcore.analysis.results import example_in_words, examples, logits
from kdcore.storage.store import Store

remember = st.cache_data(show_spinner=False, max_entries=256)
remember_few = st.cache_data(show_spinner=False, max_entries=24)


@remember_few
def run_logits(_store: Store, run_id: str, split: str = "test") -> NDArray[np.float32]:
    """Return a finished run's logits [examples, classes] on a split."""
    return logits(_store, _store.run(run_id), split)


@remember_few
def labels(_store: Store, dataset_key: str, split: str = "test") -> IntArray:
    """Return the true classes [examples] of a split."""
    return examples(_store, dataset_key, split)["labels"].astype(np.int64)


@remember_few
def images(_store: Store, dataset_key: str) -> NDArray:
    """Return pictures [n, height, width, channels] or texts [n] of the first test examples."""
    return examples(_store, dataset_key, "test")["images"]


@remember
def ordered(
    _store: Store, teacher: str, student: str | None, dataset_key: str, by: soft.Order
) -> IntArray:
    """Return the indices of the test examples that have a picture, the most telling first, at T =
    1.
    """
    learner = run_logits(_store, student) if student is not None and by == "disagreement" else None
    found = soft.order(
        run_logits(_store, teacher), labels(_store, dataset_key), by, student_logits=learner
    )
    return found[found < len(images(_store, dataset_key))]


@remember
def first_example(_store: Store, teacher: str, dataset_key: str) -> int:
    """Return the example to begin with: right at T = 1 and at least 90 % sure, but the least sure
    of these.
    """
    shown = slice(len(images(_store, dataset_key)))
    answers, truth = run_logits(_store, teacher)[shown], labels(_store, dataset_key)[shown]
    sureness = soft.top_probability(answers)
    fit = (answers.argmax(axis=1) == truth) & (sureness >= 0.9)
    return int(np.argmin(np.where(fit, sureness, 2.0)))


@remember
def in_words(_store: Store, dataset_key: str, index: int, feature_names: tuple[str, ...]) -> str:
    """Say what a row of a table holds; nothing for an image."""
    return (
        example_in_words(examples(_store, dataset_key, "test"), index, feature_names)
        if feature_names
        else ""
    )


def has_examples(store: Store, dataset_key: str) -> bool:
    """Return whether the store still holds the dataset's test examples."""
    return store.has_artifact(f"examples/{dataset_key}/test")
