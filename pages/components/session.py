"""What all pages share: the store, the engine, and how errors are shown."""

from __future__ import annotations

import gc
import re

import streamlit as st

from kdcore.engine import Engine, make_engine
from kdcore.errors import KDLabError
from kdcore.store import Store


@st.cache_resource(show_spinner=False)
def store() -> Store:
    """Return the store that the whole server uses."""
    return Store()


@st.cache_resource(show_spinner=False)
def engine() -> Engine:
    """Return the engine that the whole server uses, with one worker warming up."""
    started = make_engine(store())
    started.warm()
    gc.collect()
    gc.freeze()  # what start-up made stays; later collections need not walk it
    return started


def show_error(error: KDLabError) -> None:
    """Show an error in words where it happened."""
    st.error(as_text(str(error)), icon=":material/error:")


def as_text(text: str) -> str:
    """Escape what Markdown would read as markup: names, notes and addresses are data."""
    # Streamlit makes icons and emojis of :names: after Markdown has taken the escapes away: a joiner that nobody sees
    # keeps colon and name apart.
    apart = re.sub(r":(?=\w)", ":\u2060", text)
    return "".join(f"\\{sign}" if sign in r"\`*_{}[]()#+-.!<>|~$:" else sign for sign in apart)
