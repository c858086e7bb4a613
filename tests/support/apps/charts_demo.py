"""Charts and the gallery on made-up curves, for the browser tests: two pages, one of them live."""

from __future__ import annotations

import streamlit as st

st.set_page_config(page_title="Charts", layout="wide")
st.navigation(
    [
        st.Page("charts_live.py", title="Live", default=True),
        st.Page("charts_sub.py", title="Sub", url_path="sub"),
        st.Page("charts_gallery.py", title="Gallery", url_path="gallery"),
    ],
    position="top",
).run()
