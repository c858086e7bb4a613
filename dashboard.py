"""KD Lab in the browser: ``streamlit run dashboard.py``."""

import streamlit as st

st.set_page_config(page_title="KD Lab", page_icon="pages/logo.svg", layout="wide")
# Charts need the room that Streamlit leaves free above a page.
st.html("<style>.stMainBlockContainer { padding-top: 3.75rem; padding-bottom: 3rem; }</style>")
page = st.navigation(
    [
        st.Page("pages/views/train.py", title="Train", icon=":material/model_training:", default=True),
        st.Page("pages/views/temperature.py", title="Temperature", icon=":material/device_thermostat:"),
    ],
    position="top",
)
page.run()
