"""A browser component: a square to draw on with mouse, finger or pen, which tells what is on it
while one draws.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

SIDE = 112  # pixels of what is sent; the square on screen may be of any size
MILLISECONDS_BETWEEN_ANSWERS = 100

_CSS = """
.pad { display: flex; flex-direction: column; gap: 0.6rem; font-family: var(--st-font); max-width: 380px; }
.sheet { position: relative; width: 100%; aspect-ratio: 1; }
canvas {
  width: 100%; height: 100%; display: block; cursor: crosshair; touch-action: none; border-radius: var(--st-base-radius);
  border: 1px solid var(--st-border-color); background: var(--st-secondary-background-color);
}
canvas:focus-visible { outline: 2px solid var(--st-primary-color); }
.hint {
  position: absolute; inset: 0; display: grid; place-items: center; text-align: center; padding: 2rem; pointer-events: none;
  color: var(--st-text-color); opacity: 0.6;
}
.hint[hidden] { display: none; }
.buttons { display: flex; gap: 0.5rem; }
button {
  font: inherit; font-size: 0.9rem; padding: 0.4rem 0.9rem; cursor: pointer; color: var(--st-text-color); background: none;
  border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius);
}
button:hover:not(:disabled) { border-color: var(--st-primary-color); color: var(--st-primary-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); }
button:disabled { opacity: 0.45; cursor: default; }
"""

_HTML = """
<div class="pad">
  <div class="sheet"><canvas tabindex="0" role="img"></canvas><div class="hint" aria-hidden="true"></div></div>
  <div class="buttons">
    <button type="button" class="undo" title="Take back the last stroke">Undo</button>
    <button type="button" class="clear" title="Start with an empty sheet">Clear</button>
  </div>
</div>
"""

_JS = r"""
const pads = new WeakMap();
const PEN = 0.085;  // of the side: as thick as the strokes of the digits that models have seen

function ink(pad) {
  const probe = getComputedStyle(pad.root).getPropertyValue('--st-text-color');
  return probe.trim() || getComputedStyle(pad.root).color;
}

// Strokes are kept as shares of the side, so that they survive a change of size.
function paint(canvas, strokes, colour) {
  const side = canvas.width;
  const context = canvas.getContext('2d');
  context.clearRect(0, 0, side, side);
  Object.assign(context, { lineWidth: PEN * side, lineCap: 'round', lineJoin: 'round', strokeStyle: colour, fillStyle: colour });
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(points[0][0] * side, points[0][1] * side);
    for (const [x, y] of points) context.lineTo(x * side, y * side);
    if (points.length === 1) { context.arc(points[0][0] * side, points[0][1] * side, PEN * side / 2, 0, 2 * Math.PI); context.fill(); }
    else context.stroke();
  }
}

function show(pad) {
  const { canvas, strokes } = pad;
  const side = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
  if (side > 0 && canvas.width !== side) canvas.width = canvas.height = side;
  paint(canvas, strokes, ink(pad));
  const empty = strokes.length === 0;
  pad.hint.hidden = !empty;
  pad.undo.disabled = pad.clear.disabled = empty;
}

// What is sent: how much of each small pixel is covered, a byte each.
function picture(pad) {
  const side = pad.data.side;
  pad.small ??= document.createElement('canvas');
  pad.small.width = pad.small.height = side;
  paint(pad.small, pad.strokes, '#000');
  const { data } = pad.small.getContext('2d', { willReadFrequently: true }).getImageData(0, 0, side, side);
  let text = '';
  for (let place = 3; place < data.length; place += 4) text += String.fromCharCode(data[place]);
  return btoa(text);
}

// The first change is told at once, later ones at most so often and not before the page has seen the one before: on a
// busy machine drawings must not queue up. The last one is always told.
function tell(pad) {
  if (pad.timer) return;
  const waiting = pad.number !== undefined && pad.seen < pad.number && Date.now() - pad.toldAt < 2000;
  const wait = waiting ? 20 : Math.max(0, (pad.toldAt ?? 0) + pad.data.pause - Date.now());
  pad.timer = setTimeout(() => {
    pad.timer = undefined;
    if (waiting) return tell(pad);
    pad.toldAt = Date.now();
    pad.number = (pad.number ?? 0) + 1;
    pad.answer('drawing', { number: pad.number, pixels: pad.strokes.length ? picture(pad) : '' });
  }, wait);
}

function create(root) {
  const find = (name) => root.querySelector(name);
  const pad = { root, canvas: find('canvas'), hint: find('.hint'), undo: find('.undo'), clear: find('.clear'), strokes: [] };
  const place = (event) => {
    const box = pad.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const changed = () => { show(pad); tell(pad); };
  pad.canvas.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    pad.canvas.setPointerCapture(event.pointerId);
    pad.pointer = event.pointerId;
    pad.strokes.push([place(event)]);
    changed();
  });
  pad.canvas.addEventListener('pointermove', (event) => {
    if (event.pointerId !== pad.pointer) return;
    const last = pad.strokes.at(-1);
    for (const each of event.getCoalescedEvents?.() ?? [event]) last.push(place(each));
    if (last.length === 1) last.push(place(event));
    changed();
  });
  const lift = (event) => { if (event.pointerId === pad.pointer) { pad.pointer = undefined; changed(); } };
  for (const name of ['pointerup', 'pointercancel']) pad.canvas.addEventListener(name, lift);
  pad.undo.onclick = () => { pad.strokes.pop(); changed(); };
  pad.clear.onclick = () => { pad.strokes = []; changed(); };
  pad.observer = new ResizeObserver(() => show(pad));
  pad.observer.observe(pad.canvas);
  return pad;
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector('.pad');
  const pad = pads.get(root) ?? create(root);
  pads.set(root, pad);
  Object.assign(pad, { data, answer: setStateValue, seen: Math.max(pad.seen ?? 0, data.seen) });
  pad.hint.textContent = data.hint;
  pad.canvas.setAttribute('aria-label', data.label);
  show(pad);
  return () => setTimeout(() => { if (!root.isConnected) pad.observer.disconnect(); });
}
"""

_component = st.components.v2.component("kd_drawing_pad", html=_HTML, css=_CSS, js=_JS)


def drawing_pad(label: str, *, key: str, hint: str = "Draw here") -> NDArray[np.float32] | None:
    """Show a square to draw on; returns its ink [112, 112] from 0 to 1 as it is now, None while it
    is empty.

    The script reruns up to ten times a second while the visitor draws.
    """
    known = st.session_state.get(key)
    drawing = known.get("drawing") if known is not None else None
    number = drawing.get("number") if isinstance(drawing, dict) else None
    result = _component(
        key=key,
        data={
            "label": label,
            "hint": hint,
            "side": SIDE,
            "pause": MILLISECONDS_BETWEEN_ANSWERS,
            "seen": number if isinstance(number, int) else 0,
        },
        on_drawing_change=lambda: None,
    )
    return read(result.drawing)


def read(drawing: Any) -> NDArray[np.float32] | None:
    """Return what the browser sent as ink [112, 112], None where it is no drawing: a browser can
    send anything.
    """
    if (
        not isinstance(drawing, dict)
        or not isinstance(drawing.get("pixels"), str)
        or not drawing["pixels"]
    ):
        return None
    try:
        pixels = base64.b64decode(drawing["pixels"], validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(pixels) != SIDE * SIDE:
        return None
    ink = (np.frombuffer(pixels, np.uint8).reshape(SIDE, SIDE) / 255).astype(np.float32)
    return ink if ink.any() else None
