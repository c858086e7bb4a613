"""A link for the keyboard, seen only while it has the focus: past the navigation to the page."""

from __future__ import annotations

import streamlit as st

_CSS = """
a { position: fixed; left: 1rem; top: 0.5rem; z-index: 1000000; padding: 0.5rem 0.9rem; border-radius: var(--st-base-radius);
  background: var(--st-background-color); color: var(--st-text-color); border: 2px solid var(--st-primary-color); }
a:not(:focus) { width: 1px; height: 1px; padding: 0; border: 0; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
"""

_HTML = '<a href="#main">Skip to the main control</a>'

# The first button of the kind that a page is there for, else the first thing that can be set.
_JS = """
export default function ({ parentElement }) {
  parentElement.querySelector('a').onclick = (event) => {
    event.preventDefault();
    const main = document.querySelector('[data-testid="stMain"]');
    const usable = ':not([disabled]):not([tabindex="-1"])';
    const target = main?.querySelector(`button[kind="primary"]${usable}`)
      ?? main?.querySelector(`input${usable}, button${usable}, [role="slider"], [role="combobox"]`);
    target?.focus();
    target?.scrollIntoView({ block: 'center' });
  };
}
"""

_component = st.components.v2.component("kd_skip_link", html=_HTML, css=_CSS, js=_JS)


def skip_link() -> None:
    """Put the link at the top of a page."""
    _component(key="skip_link", height=1)
