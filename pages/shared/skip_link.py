"""A link for the keyboard, seen only while it has the focus: past the navigation to the page."""

from __future__ import annotations

import streamlit as st

_CSS = """
a { position: fixed; left: 1rem; top: 0.5rem; z-index: 1000000; padding: 0.5rem 0.9rem; border-radius: var(--st-base-radius);
  background: var(--st-background-color); color: var(--st-text-color); border: 2px solid var(--st-primary-color); }
a:not(:focus) { width: 1px; height: 1px; padding: 0; border: 0; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
"""

# Hidden until its script is there: pressed before, it would lead nowhere.
_HTML = '<a href="#main" hidden>Skip to the main control</a>'

# The first button of the kind that a page is there for, else the first thing that can be set. Who
# is faster than the page waits for it: the focus goes there once the page is drawn. Where it is
# drawn anew just then, another button may take its place ("Stop" becomes "Resume"): the focus would
# be lost with the old one, so for some seconds it goes to what took its place.
_JS = """
const TENTHS_FOR_THE_PAGE = 300;
const TENTHS_FOR_ANOTHER = 100;
const TENTHS_UNTIL_SHOWN = 3;  // what a script has drawn is on the screen a moment after it is through

const usable = ':not([disabled]):not([tabindex="-1"])';
const isThrough = () => document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState === 'notRunning';
const find = () => {
  const main = document.querySelector('[data-testid="stMain"]');
  return main?.querySelector(`button[kind="primary"]${usable}`)
    ?? main?.querySelector(`input${usable}, button${usable}, [role="slider"], [role="combobox"]`);
};

function follow(link) {
  const from = document.activeElement;
  let target;
  let left = TENTHS_FOR_THE_PAGE;
  let through = 0;
  const look = () => {
    const active = document.activeElement;
    if (--left < 0 || ![target ?? from, document.body].includes(active)) return rest(link);
    if (target?.isConnected) return;
    through += isThrough() ? 1 : 0;
    const found = find();
    if (!found || (through <= TENTHS_UNTIL_SHOWN && found.getAttribute('kind') !== 'primary')) return;
    target = found;
    through = 0;
    left = Math.min(left, TENTHS_FOR_ANOTHER);
    target.focus();
    target.scrollIntoView({ block: 'center' });
  };
  link.waiting = setInterval(look, 100);
  look();
}

const rest = (link) => clearInterval(link.waiting);

export default function ({ parentElement }) {
  const link = parentElement.querySelector('a');
  link.onclick = (event) => {
    event.preventDefault();
    rest(link);
    follow(link);
    for (const hand of ['pointerdown', 'wheel']) document.addEventListener(hand, () => rest(link), { once: true, capture: true });
  };
  link.hidden = false;
}
"""

_component = st.components.v2.component("kd_skip_link", html=_HTML, css=_CSS, js=_JS)


def skip_link() -> None:
    """Put the link at the top of a page."""
    _component(key="skip_link", height=1)
