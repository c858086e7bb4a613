"""Three ways to begin, for who has trained nothing yet."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st


def draw(try_it_now: Callable[[], None]) -> None:
    """Draw the three doors: learn it, try it on digits, use my data."""
    learn, try_it, data = st.columns(3, gap="small")
    with learn, st.container(border=True, height="stretch"):
        st.markdown("##### :material/school: Learn it")
        st.caption(
            "Ten lessons of five minutes: predict, train for real, see how far off you were."
        )
        if st.button("Open the lessons", key="train_door_lessons", width="stretch"):
            st.switch_page("pages/views/lessons.py")
    with try_it, st.container(border=True, height="stretch"):
        st.markdown("##### :material/play_arrow: Try it on digits")
        st.caption("One click: a teacher, a student and its baseline on digits that are built in.")
        if st.button("Try it now", key="train_door_digits", type="primary", width="stretch"):
            try_it_now()
    with data, st.container(border=True, height="stretch"):
        st.markdown("##### :material/database: Use my data")
        st.caption("Images, tables or texts as they are: checked, split, and ready to distil.")
        if st.button("Bring my data", key="train_door_data", width="stretch"):
            st.switch_page("pages/views/data.py")
