"""The experiment before, kept in sight after "Change and train again": its curves stay as thin
dashed lines behind the new ones.
"""

from __future__ import annotations

import streamlit as st

from kdcore.analysis.results import Results
from kdcore.config.experiment import all_settings, stored_setting
from kdcore.config.sweep import value_text
from kdcore.errors import StoreError
from kdcore.storage.store import Store
from pages.shared.live_view import Look, view_of

KEPT = "train_changed_from"  # session state: what is being changed
PARAMETER = "previous"  # of the address: what the experiment on screen was made from
HELP = "Both on validation data of the same examples only where dataset and split are the same."


def remember(experiment_id: str) -> None:
    """Note which experiment is being changed."""
    st.session_state[KEPT] = experiment_id


def show_in_address() -> None:
    """Say in the address of a new experiment what it was made from, if it was."""
    kept = st.session_state.pop(KEPT, None)
    if kept is not None:
        st.query_params[PARAMETER] = kept


def of(store: Store, results: Results) -> Look | None:
    """Return what the experiment on screen was made from; None where it was not, or where the
    other is gone or has other validation data.
    """
    before = st.query_params.get(PARAMETER)
    if before is None or before == results.experiment.id:
        return None
    try:
        look = view_of(store, store.url, before).look()
    except StoreError:
        return None
    same = ("dataset", "split_seed", "training_examples")
    now, then = results.config, look.results.config
    return look if all(getattr(now, name) == getattr(then, name) for name in same) else None


def in_words(before: Look, results: Results) -> str:
    """Say what was changed: "Dashed, behind: the experiment before, with α 0.9 instead of 0.1"."""
    settings = all_settings()
    then, now = before.results.experiment.config, results.experiment.config
    changed = [
        f"{field.title or name} {value_text(stored_setting(then, name))} instead of "
        f"{value_text(stored_setting(now, name))}"
        for name, field in settings.items()
        if stored_setting(then, name) != stored_setting(now, name)
    ]
    what = before.results.experiment.name or "the experiment before"
    return f"Thin and dashed: {what}, with " + ("; ".join(changed) or "the same settings")
