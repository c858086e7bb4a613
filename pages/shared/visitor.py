"""Who looks at a page of a classroom: a name, no password.

On a machine of one's own there is one visitor without a name, to whom everything belongs. Where
``KD_CLASSROOM=1``, everybody gives a name, which the browser remembers; what one trains is tagged
with it, and only its owner may change it or take it away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import streamlit as st

from kdcore.analysis import library
from kdcore.errors import require
from kdcore.installation import in_classroom
from kdcore.storage.store import Store

LONGEST_NAME = 30
OWNER_TAG = "by "
KEY = "visitor_name"

_JS = """
// The browser keeps the name, so that a refresh does not ask for it again.
export default function ({ data, setStateValue }) {
  const kept = window.localStorage.getItem('kdLabVisitor') ?? '';
  if (data.name) window.localStorage.setItem('kdLabVisitor', data.name);
  else if (data.forget) window.localStorage.removeItem('kdLabVisitor');
  else if (kept) setStateValue('known', kept);
}
"""

_component = st.components.v2.component("kd_visitor", html="<span></span>", js=_JS)


def visitor() -> str:
    """Return the visitor's name; empty on a machine of one's own."""
    return str(st.session_state.get(KEY, "")) if in_classroom() else ""


def own_tags() -> tuple[str, ...]:
    """Return the tags that an experiment of this visitor gets."""
    return (f"{OWNER_TAG}{visitor()}",) if visitor() else ()


def may_change(store: Store, experiment_id: str) -> bool:
    """Return whether an experiment belongs to the visitor; everything does outside a classroom."""
    return owns(library.tags_of(store, experiment_id))


def owns(tags: Sequence[str]) -> bool:
    """Return whether what has these tags belongs to the visitor."""
    return not in_classroom() or set(own_tags()) <= set(tags)


def read_name(text: str) -> str:
    """Return a name without blanks around it; raises ConfigError for one that is none."""
    name = re.sub(r"\s+", " ", text).strip()
    fits = 0 < len(name) <= LONGEST_NAME and name.isprintable()
    require(fits, "name", f"1 to {LONGEST_NAME} signs", text[: LONGEST_NAME + 10])
    return name


def has_name() -> bool:
    """Return whether the page may be drawn; in a classroom, ask who is there first."""
    if not in_classroom():
        return True
    _component(
        key="visitor_memory",
        data={"name": visitor(), "forget": bool(st.session_state.pop("visitor_left", False))},
        on_known_change=_remember,
        height=1,
    )
    if visitor():
        with st.container(horizontal=True, horizontal_alignment="right"):
            st.button(
                visitor(),
                key="visitor_leave",
                icon=":material/person:",
                type="tertiary",
                help="Be somebody else",
                on_click=_leave,
            )
        return True
    _ask()
    return False


def _remember() -> None:
    state = st.session_state.get("visitor_memory")
    known = None if state is None else state.get("known")
    if isinstance(known, str) and re.sub(r"\s", "", known):
        st.session_state[KEY] = known.strip()[:LONGEST_NAME]


def _ask() -> None:
    st.title("Who are you?", anchor=False)
    st.markdown(
        "A name, no password: what you train and predict is kept under it, and your class sees your predictions."
    )
    with st.form("visitor_form", width=420):
        text = st.text_input("Name", key="visitor_typed", max_chars=LONGEST_NAME)
        if st.form_submit_button("Come in", type="primary", icon=":material/login:"):
            st.session_state[KEY] = read_name(text)
            st.rerun()


def _leave() -> None:
    st.session_state.pop(KEY, None)
    st.session_state["visitor_left"] = True
