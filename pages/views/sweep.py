"""The Sweep page: set a sweep up, watch its map fill.

``?sweep=<id>`` shows one, live or finished.
"""

import streamlit as st

from kdcore.errors import StoreError
from pages.shared.session import engine, show_error, store
from pages.sweep import setup as sweep_setup
from pages.sweep import view as sweep_view

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
