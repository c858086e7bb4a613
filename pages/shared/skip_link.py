"""A link for the keyboard, seen only while it has the focus: past the navigation to the page."""

from __future__ import annotations

import streamlit as st

_CSS = """
a { position: fixed; left: 1rem; top: 0.5rem; z-index: 1000000; padding: 0.5rem 0.9rem; border-radius: var(--st-base-radius);
  background: var(--st-background-color); color: var(--st-text-color); border: 2px solid var(--st-primary-color); }
a:not(:focus) { width: 1px; height: 1px; padding: 0; border: 0; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
"""

_HTML = '<a href="#main">Skip to the main control</a>'

# The first button of the kind that a page is there for, else the first thing that can be set. Where
# the page is drawn anew just then, another button may take its place ("Stop" becomes "Resume"): the
# focus would be lost with the old one, so for some seconds it goes to what took its place.
_JS = """
export default function ({ parentElement }) {
  const usable = ':not([disabled]):not([tabindex="-1"])';
  const find = () => {
    const main = document.querySelector('[data-testid="stMain"]');
    return main?.querySelector(`button[kind="primary"]${usable}`)
      ?? main?.querySelector(`input${usable}, button${usable}, [role="slider"], [role="combobox"]`);
  };
  const focus = (target) => {
    target?.focus();
    target?.scrollIntoView({ block: 'center' });
    return target;
  };
  const link = parentElement.querySelector('a');
  const rest = () => clearInterval(link.waiting);
  link.onclick = (event) => {
    event.preventDefault();
    rest();
    let target = focus(find());
    let left = 50;
    link.waiting = setInterval(() => {
      const lost = document.activeElement === document.body;
      if (--left < 0 || (!lost && document.activeElement !== target)) rest();
      else if (lost && !target?.isConnected) target = focus(find());
    }, 100);
    document.addEventListener('pointerdown', rest, { once: true, capture: true });
  };
}
"""

_component = st.components.v2.component("kd_skip_link", html=_HTML, css=_CSS, js=_JS)


def skip_link() -> None:
    """Put the link at the top of a page."""
    _component(key="skip_link", height=1)
