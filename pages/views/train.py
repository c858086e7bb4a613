"""The Train page: set an experiment up, watch it learn.

``?experiment=<id>`` shows one, live or finished.
"""

import streamlit as st

from kdcore.errors import StoreError
from pages.shared.session import engine, show_error, store
from pages.train import experiment, setup

lab = store()
engine()
chosen = st.query_params.get("experiment")
if chosen is None:
    setup.draw(lab)
else:
    try:
        experiment.draw(lab, chosen)
    except StoreError as error:
        show_error(error)
        st.button("Set up an experiment", on_click=st.query_params.clear, icon=":material/add:")
