"""The Sweep page: set a sweep up, watch its map fill. ``?sweep=<id>`` shows one, live or finished."""

import streamlit as st

from kdcore.errors import StoreError
from pages.components import sweep_setup, sweep_view
from pages.components.session import engine, show_error, store

lab = store()
engine()
chosen = st.query_params.get("sweep")
if chosen is None:
    sweep_setup.draw(lab)
else:
    try:
        sweep_view.draw(lab, chosen)
    except StoreError as error:
        show_error(error)
        st.button("Set up a sweep", on_click=st.query_params.clear, icon=":material/add:")
