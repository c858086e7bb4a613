"""A page that takes its time, for the browser tests: the link is there before what it leads to."""

from __future__ import annotations

import time

import streamlit as st

from pages.shared.skip_link import skip_link

skip_link()
st.text_input("Name")
time.sleep(2)
if st.button("Train", type="primary"):
    st.text("Trained")
