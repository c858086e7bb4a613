"""A link for the keyboard, seen only while it has the focus: past the navigation to the page."""

from __future__ import annotations

import streamlit as st

_CSS = """
a { position: fixed; left: 1rem; top: 0.5rem; z-index: 1000000; padding: 0.5rem 0.9rem; border-radius: var(--st-base-radius);
  background: var(--st-background-color); color: var(--st-text-color); border: 2px solid var(--st-primary-color); }
a:not(:focus) { width: 1px; height: 1px; padding: 0; border: 0; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
"""

# Hidden until there is somebody to follow it: pressed before, it would lead nowhere.
_HTML = '<a href="#main" hidden>Skip to the main control</a>'

# The first button of the kind that a page is there for, else the first thing that can be set. Who
# is faster than the page waits for it: the focus goes there once the page is drawn. Where it is
# drawn anew just then, another button may take its place ("Stop" becomes "Resume"): the focus would
# be lost with the old one, so for half a minute it goes to what took its place.
_JS = """
const TENTHS_OF_PATIENCE = 300;
const TENTHS_UNTIL_SHOWN = 3;  // what a script has drawn is on the screen a moment after it is through

const usable = ':not([disabled]):not([tabindex="-1"])';
const isThrough = () => document.querySelector('[data-testid="stApp"]')?.dataset.testScriptState === 'notRunning';
const find = () => {
  const main = document.querySelector('[data-testid="stMain"]');
  return main?.querySelector(`button[kind="primary"]${usable}`)
    ?? main?.querySelector(`input${usable}, button${usable}, [role="slider"], [role="combobox"]`);
};

function focus(target) {
  target?.focus();
  target?.scrollIntoView({ block: 'center' });
  return target;
}

export default function ({ parentElement }) {
  const link = parentElement.querySelector('a');
  const rest = () => clearInterval(link.waiting);
  link.onclick = (event) => {
    event.preventDefault();
    rest();
    const from = document.activeElement;
    let target;
    let left = TENTHS_OF_PATIENCE;
    let through = 0;
    link.waiting = setInterval(() => {
      const elsewhere = ![from, target, document.body].includes(document.activeElement);
      if (isThrough()) ++through;
      if (--left < 0 || elsewhere) rest();
      else if (!target?.isConnected && (through > TENTHS_UNTIL_SHOWN || find()?.getAttribute('kind') === 'primary')) target = focus(find());
    }, 100);
    document.addEventListener('pointerdown', rest, { once: true, capture: true });
  };
  link.hidden = false;
}
"""

_component = st.components.v2.component("kd_skip_link", html=_HTML, css=_CSS, js=_JS)


def skip_link() -> None:
    """Put the link at the top of a page."""
    _component(key="skip_link", height=1)
