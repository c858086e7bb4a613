"""A button that copies the page's address: what is on screen travels with it."""

from __future__ import annotations

import streamlit as st

_CSS = """
button { all: unset; display: inline-flex; align-items: center; gap: 0.4rem; cursor: pointer; font-size: 0.875rem;
  line-height: 1.6; padding: 0.3rem 0.7rem; border-radius: var(--st-button-radius); border: 1px solid var(--st-border-color);
  color: var(--st-text-color); white-space: nowrap; }
button:hover { color: var(--st-primary-color); border-color: var(--st-primary-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
svg { width: 1rem; height: 1rem; fill: none; stroke: currentColor; stroke-width: 1.6; }
"""

_HTML = """
<button type="button" title="Copies the address of what is on screen">
  <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M6.5 9.5l3-3M7 4.5l1.6-1.6a2.8 2.8 0 0 1 4 4L11 8.5M9 11.5l-1.6 1.6a2.8 2.8 0 0 1-4-4L5 7.5"/></svg>
  <span aria-live="polite">Copy link</span>
</button>
"""

# Where a page is not served from this machine or by https, browsers have no clipboard for it.
_JS = """
export default function ({ parentElement }) {
  const button = parentElement.querySelector('button'), words = button.querySelector('span');
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(window.location.href);
      words.textContent = 'Copied';
    } catch {
      window.prompt('The address of what is on screen', window.location.href);
    }
    setTimeout(() => { words.textContent = 'Copy link'; }, 2000);
  };
}
"""

_component = st.components.v2.component("kd_copy_link", html=_HTML, css=_CSS, js=_JS)


def copy_link(key: str) -> None:
    """Draw the button."""
    _component(key=key, width="content", height="content")
