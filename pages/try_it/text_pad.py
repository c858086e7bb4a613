"""A browser component: a field to write in, which tells what stands in it while one types."""

from __future__ import annotations

from typing import Any

import streamlit as st

MOST_SIGNS = 2_000
MILLISECONDS_BETWEEN_ANSWERS = 60

_CSS = """
textarea {
  box-sizing: border-box; width: 100%; min-height: 7.5rem; resize: vertical; padding: 0.7rem 0.9rem; font: inherit;
  font-family: var(--st-font); font-size: 1.15rem; line-height: 1.45; color: var(--st-text-color);
  background: var(--st-secondary-background-color); border: 1px solid var(--st-border-color);
  border-radius: var(--st-base-radius);
}
textarea:focus-visible { outline: 2px solid var(--st-primary-color); }
textarea::placeholder { color: var(--st-text-color); opacity: 0.6; }
"""

_HTML = '<textarea dir="auto" spellcheck="false"></textarea>'

_JS = r"""
const pads = new WeakMap();

function tell(pad) {
  // What stands there when the pause is over is told: answers come while one types.
  if (pad.timer) return;
  pad.timer = setTimeout(() => {
    pad.timer = 0;
    pad.number += 1;
    pad.answer('written', { text: pad.field.value, number: pad.number });
  }, pad.pause);
}

export default function ({ data, parentElement, setStateValue }) {
  const field = parentElement.querySelector('textarea');
  let pad = pads.get(field);
  if (!pad) {
    pad = { field, number: 0 };
    pads.set(field, pad);
    field.value = data.text;
    field.addEventListener('input', () => tell(pad));
  }
  pad.answer = setStateValue;
  pad.pause = data.pause;
  pad.number = Math.max(pad.number, data.seen);
  field.placeholder = data.hint;
  field.maxLength = data.most;
  field.setAttribute('aria-label', data.label);
}
"""

_component = st.components.v2.component("kd_text_pad", html=_HTML, css=_CSS, js=_JS)


def text_pad(label: str, *, key: str, hint: str = "", text: str = "") -> str:
    """Show a field to write in; returns what stands in it now, ``text`` at first.

    The script reruns some eight times a second while the visitor types.
    """
    known = read(_state(st.session_state.get(key)))
    result = _component(
        key=key,
        data={
            "label": label,
            "hint": hint,
            "text": text if known is None else known,
            "most": MOST_SIGNS,
            "pause": MILLISECONDS_BETWEEN_ANSWERS,
            "seen": _number(_state(st.session_state.get(key))),
        },
        on_written_change=lambda: None,
    )
    written = read(result.written)
    return text if written is None else written


def _state(known: Any) -> Any:
    return None if known is None else known.get("written")


def _number(written: Any) -> int:
    number = written.get("number") if isinstance(written, dict) else None
    return number if isinstance(number, int) else 0


def read(written: Any) -> str | None:
    """Return what the browser sent as text, None where it is none: a browser can send anything."""
    if not isinstance(written, dict) or not isinstance(written.get("text"), str):
        return None
    return str(written["text"])[:MOST_SIGNS]
