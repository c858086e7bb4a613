"""A part of a page that follows: each drawing says its number, and which value the slider has."""

from __future__ import annotations

import streamlit as st

from pages.shared.following import follow

state = st.session_state
state.setdefault("drawings", 0)


def part() -> None:
    state["drawings"] += 1
    chosen = st.slider("Value", 0, 10, 0, key="value")
    st.text(f"drawing {state['drawings']}, value {chosen}")
    if state["drawings"] == 5:
        raise ValueError("the fifth drawing went wrong")


follow(part, lambda: 0.2 if state["drawings"] < 10 else 1.5, key="follow")()
follow(lambda: st.text("once"), None, key="still")()


def ending() -> None:
    """Read that something goes on, and draw it; meanwhile it ends."""
    st.text("it has ended" if "ended" in state else "it goes on")
    state["ended"] = True


follow(ending, lambda: None if "ended" in state else 0.2, key="ending")()
