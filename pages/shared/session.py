"""What all pages share: the store, the engine, and how errors are shown."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
import threading
import time

import pyarrow
import streamlit as st

from kdcore.config.catalog import load_plugins
from kdcore.engine.base import Engine
from kdcore.engine.choice import make_engine
from kdcore.errors import KDLabError
from kdcore.storage.store import Store


@st.cache_resource(show_spinner=False)
def store() -> Store:
    """Return the store that the whole server uses.

    What ``KD_PLUGINS`` names is known from then on: configs in the store may speak of it.
    """
    load_plugins()
    return Store()


@st.cache_resource(show_spinner=False)
def engine() -> Engine:
    """Return the engine that the whole server uses, with one worker warming up."""
    started = make_engine(store())
    started.warm()
    _hoard_no_memory()
    gc.collect()
    gc.freeze()  # what start-up made stays; later collections need not walk it
    return started


def is_new() -> bool:
    """Return whether nothing was ever trained here."""
    try:
        return not store().experiments(limit=1)
    except KDLabError:  # the page itself says what is wrong with the store
        return False


def _hoard_no_memory() -> None:
    """Make GNU's C library return free memory: one pool for all threads, large blocks at once, the
    rest every minute.

    Streamlit draws every poll in a thread of its own. With a pool for each of some threads, another
    in Arrow, and charts that are a little larger each time, most of what the server had gained was
    free and yet its own.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "gnu_get_libc_version"):
        return
    arena_max, mmap_threshold = -8, -3  # M_ARENA_MAX and M_MMAP_THRESHOLD of malloc.h
    library.mallopt(arena_max, 1)
    library.mallopt(mmap_threshold, 64 * 1024)
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())

    def give_back() -> None:
        while True:
            time.sleep(60)
            gc.collect()
            library.malloc_trim(0)

    threading.Thread(target=give_back, name="memory", daemon=True).start()


def show_error(error: KDLabError) -> None:
    """Show an error where it happened."""
    st.error(as_text(str(error)), icon=":material/error:")


def as_text(text: str) -> str:
    """Escape what Markdown would read as markup: names, notes and addresses are data."""
    # Streamlit makes icons and emojis of :names: after Markdown has taken the escapes away: a
    # joiner that nobody sees keeps colon and name apart.
    apart = re.sub(r":(?=\w)", ":\u2060", text)
    return "".join(f"\\{sign}" if sign in r"\`*_{}[]()#+-.!<>|~$:" else sign for sign in apart)
