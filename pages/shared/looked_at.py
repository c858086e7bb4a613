"""What a visitor looked at last: pages begin with it unless the address asks for something."""

from __future__ import annotations

import streamlit as st

KEY = "looked_at"


def look_at(experiment_id: str) -> None:
    """Note that an experiment is on screen."""
    st.session_state[KEY] = experiment_id


def looked_at() -> str | None:
    """Return the experiment that was on screen last, on any page; None before there was one."""
    return st.session_state.get(KEY)


def newly_looked_at(page: str) -> str | None:
    """Return that experiment if ``page`` has not begun with it yet; None else."""
    known = st.session_state.setdefault(f"{KEY}_on", {})
    now = looked_at()
    if now is None or known.get(page) == now:
        return None
    known[page] = now
    return now
