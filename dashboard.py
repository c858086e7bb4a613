"""KD Lab in the browser: ``streamlit run dashboard.py``."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from kdcore.errors import KDLabError
from pages.shared.session import is_new, show_error
from pages.shared.skip_link import skip_link
from pages.shared.terms import explain_terms
from pages.shared.visitor import has_name

LOGO = Path(__file__).parent / "pages" / "logo.svg"

# Charts need the room that Streamlit leaves free above a page. Its own Stop button, shown while a
# script runs, would stop the drawing of a page beside KD Lab's Stop, which stops the training.
STYLE = """<style>
.stMainBlockContainer { padding-top: 3.75rem; padding-bottom: 3rem; }
[data-testid="stStatusWidget"] button { display: none; }
.st-key-skip_link { position: absolute; height: 0; }
[data-testid="stTopNavLink"]:focus-visible, header a:focus-visible, header button:focus-visible {
  outline: 2px solid var(--st-primary-color, #2563eb); outline-offset: 1px; border-radius: 0.4rem;
}
</style>"""


def draw() -> None:
    """Draw the page that the visitor asks for."""
    st.set_page_config(page_title="KD Lab", page_icon=LOGO, layout="wide")
    st.html(STYLE)
    skip_link()
    explain_terms()
    lessons = st.Page("pages/views/lessons.py", title="Lessons", icon=":material/school:")
    train = st.Page(
        "pages/views/train.py", title="Train", icon=":material/model_training:", default=True
    )
    page = st.navigation(
        [
            # Who has trained nothing yet finds the lessons first.
            *((lessons, train) if is_new() else (train, lessons)),
            st.Page(
                "pages/views/temperature.py",
                title="Temperature",
                icon=":material/device_thermostat:",
            ),
            st.Page("pages/views/alpha.py", title="Alpha", icon=":material/balance:"),
            st.Page("pages/views/compare.py", title="Compare", icon=":material/compare_arrows:"),
            st.Page("pages/views/sweep.py", title="Sweep", icon=":material/grid_on:"),
            st.Page("pages/views/data.py", title="Data", icon=":material/database:"),
            st.Page("pages/views/try_it.py", title="Try it", icon=":material/draw:"),
            st.Page("pages/views/runs.py", title="Runs", icon=":material/format_list_bulleted:"),
            st.Page("pages/views/glossary.py", title="Glossary", icon=":material/menu_book:"),
        ],
        position="top",
    )
    try:
        if has_name():
            page.run()
    except KDLabError as error:
        show_error(error)


@contextlib.asynccontextmanager
async def _started(_app: Any) -> AsyncIterator[dict[str, Any]]:
    # A folder called pages means Streamlit's old navigation to it until a first script has run: the
    # first visitor of a fresh server was told "Page not found" on every page but the first.
    PagesManager.uses_pages_directory = False
    yield {}


if get_script_run_ctx(suppress_warning=True) is None:
    app = st.App(__file__, lifespan=_started)
else:
    draw()
