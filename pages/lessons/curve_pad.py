"""A browser component to draw a curve by hand: one value over each of a few places.

By pointer across the chart, by arrow keys on a point, or as numbers in fields.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

_CSS = """
.pad { font-family: var(--st-font); color: var(--st-text-color); }
svg { display: block; width: 100%; height: 300px; touch-action: none; cursor: crosshair; user-select: none; }
.grid { stroke: var(--st-border-color); stroke-width: 1; }
.axis { fill: var(--st-text-color); opacity: 0.75; font-size: 12px; }
.hint { fill: var(--st-text-color); opacity: 0.6; font-size: 14px; }
.curve { fill: none; stroke: var(--st-primary-color); stroke-width: 3; stroke-linejoin: round; }
.point { fill: var(--st-background-color); stroke: var(--st-primary-color); stroke-width: 3; }
.point.unset { stroke: var(--st-border-color); stroke-dasharray: 3 3; }
.point:focus { outline: none; }
.point:focus-visible { fill: var(--st-primary-color); stroke: var(--st-text-color); }
.fields { display: flex; flex-wrap: wrap; gap: 0.4rem 0.75rem; margin-top: 0.5rem; }
.fields label { display: flex; flex-direction: column; font-size: 0.8rem; }
.fields input {
  width: 5.2rem; box-sizing: border-box; font: inherit; font-size: 1rem; padding: 0.25rem 0.4rem; color: inherit;
  background: var(--st-secondary-background-color); border: 1px solid var(--st-border-color);
  border-radius: var(--st-base-radius);
}
.fields input:focus-visible { outline: 2px solid var(--st-primary-color); }
"""

_HTML = '<div class="pad"><svg role="group"></svg><div class="fields"></div></div>'

_JS = r"""
const pads = new WeakMap();
const NS = 'http://www.w3.org/2000/svg';
const MARGIN = { left: 46, right: 26, top: 14, bottom: 34 };

function element(name, attributes, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function tell(pad) {
  clearTimeout(pad.timer);
  pad.timer = setTimeout(() => {
    pad.said = Date.now();
    pad.answer('drawn', { values: pad.values, number: (pad.number += 1) });
  }, 200);
}

function clamp(pad, value) {
  const { low, high, step } = pad.data;
  const stepped = low + Math.round((value - low) / step) * step;
  return Number(Math.min(high, Math.max(low, stepped)).toFixed(6));
}

function set(pad, index, value) {
  pad.values[index] = clamp(pad, value);
  refresh(pad);
  tell(pad);
}

// Where the plot lies in the SVG, which is as wide as its column.
function frame(pad) {
  const width = Math.max(200, pad.svg.clientWidth);
  const height = pad.svg.clientHeight || 300;
  const last = Math.max(1, pad.data.points.length - 1);
  const { low, high } = pad.data;
  const inner = { width: width - MARGIN.left - MARGIN.right - 24, height: height - MARGIN.top - MARGIN.bottom };
  return {
    width, height,
    x: (index) => MARGIN.left + 12 + (inner.width * index) / last,
    y: (value) => MARGIN.top + inner.height * (1 - (value - low) / (high - low)),
    index: (x) => Math.min(last, Math.max(0, Math.round(((x - MARGIN.left - 12) / inner.width) * last))),
    value: (y) => low + (1 - (y - MARGIN.top) / inner.height) * (high - low),
  };
}

function build(pad) {
  const { data, svg } = pad;
  const at = frame(pad);
  svg.replaceChildren();
  svg.setAttribute('viewBox', `0 0 ${at.width} ${at.height}`);
  svg.setAttribute('aria-label', data.label);
  for (let part = 0; part <= 4; part += 1) {
    const value = data.low + ((data.high - data.low) * part) / 4;
    svg.append(element('line', { class: 'grid', x1: MARGIN.left, x2: at.width - MARGIN.right, y1: at.y(value), y2: at.y(value) }));
    svg.append(element('text', { class: 'axis', x: MARGIN.left - 6, y: at.y(value) + 4, 'text-anchor': 'end' }, String(Number(value.toFixed(2)))));
  }
  const narrow = at.width / data.points.length < 78;
  data.points.forEach((title, index) => {
    const shown = narrow ? title.replace(/^(T = |alpha )/, '') : title;
    svg.append(element('text', { class: 'axis', x: at.x(index), y: at.height - 10, 'text-anchor': 'middle' }, shown));
  });
  pad.hint = element('text', { class: 'hint', x: at.width / 2, y: at.y((data.low + data.high) / 2) - 18, 'text-anchor': 'middle' }, data.hint);
  pad.curve = element('polyline', { class: 'curve' });
  svg.append(pad.hint, pad.curve);
  pad.circles = data.points.map((title, index) => {
    const circle = element('circle', {
      class: 'point', r: 8, cx: at.x(index), tabindex: 0, role: 'slider', 'aria-label': `${title}, ${data.unit}`,
      'aria-valuemin': data.low, 'aria-valuemax': data.high, 'aria-orientation': 'vertical',
    });
    circle.addEventListener('keydown', (event) => press(pad, index, event));
    svg.append(circle);
    return circle;
  });
  pad.inputs = data.points.map((title, index) => {
    const label = document.createElement('label');
    label.textContent = title;
    const input = document.createElement('input');
    Object.assign(input, { type: 'number', min: data.low, max: data.high, step: data.step });
    input.addEventListener('change', () => {
      if (Number.isFinite(input.valueAsNumber)) set(pad, index, input.valueAsNumber);
    });
    label.append(input);
    return input;
  });
  pad.fields.replaceChildren(...pad.inputs.map((input) => input.parentElement));
  refresh(pad);
}

function refresh(pad) {
  const at = frame(pad);
  const middle = (pad.data.low + pad.data.high) / 2;
  const known = pad.values.map((value, index) => [index, value]).filter(([, value]) => value !== null);
  pad.curve.setAttribute('points', known.map(([index, value]) => `${at.x(index)},${at.y(value)}`).join(' '));
  pad.hint.style.display = known.length ? 'none' : '';
  pad.values.forEach((value, index) => {
    const circle = pad.circles[index];
    circle.setAttribute('cy', at.y(value ?? middle));
    circle.classList.toggle('unset', value === null);
    circle.setAttribute('aria-valuenow', value ?? middle);
    circle.setAttribute('aria-valuetext', value === null ? 'not drawn yet' : `${value} ${pad.data.unit}`);
    if (document.activeElement !== pad.inputs[index] && pad.root.getRootNode().activeElement !== pad.inputs[index])
      pad.inputs[index].value = value ?? '';
  });
}

function press(pad, index, event) {
  const { low, high, step, points } = pad.data;
  const now = pad.values[index] ?? (low + high) / 2;
  const large = Math.max(step, (high - low) / 10);
  const moves = { ArrowUp: step, ArrowDown: -step, PageUp: large, PageDown: -large };
  if (event.key in moves) set(pad, index, now + moves[event.key]);
  else if (event.key === 'Home') set(pad, index, low);
  else if (event.key === 'End') set(pad, index, high);
  else if (event.key === 'ArrowRight') pad.circles[Math.min(points.length - 1, index + 1)].focus();
  else if (event.key === 'ArrowLeft') pad.circles[Math.max(0, index - 1)].focus();
  else return;
  event.preventDefault();
}

function draw(pad, event) {
  const box = pad.svg.getBoundingClientRect();
  const at = frame(pad);
  const index = at.index(event.clientX - box.left);
  const value = clamp(pad, at.value(event.clientY - box.top));
  // A quick hand skips places: those between lie on the line to the last one.
  const from = pad.last;
  if (from && Math.abs(from.index - index) > 1) {
    const turn = Math.sign(index - from.index);
    for (let each = from.index + turn; each !== index; each += turn) {
      const share = (each - from.index) / (index - from.index);
      pad.values[each] = clamp(pad, from.value + share * (value - from.value));
    }
  }
  pad.last = { index, value };
  pad.values[index] = value;
  refresh(pad);
  tell(pad);
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector('.pad');
  let pad = pads.get(root);
  if (!pad) {
    pad = { root, svg: root.querySelector('svg'), fields: root.querySelector('.fields'), number: 0, said: 0 };
    pads.set(root, pad);
    pad.svg.addEventListener('pointerdown', (event) => {
      pad.drawing = true;
      pad.last = null;
      pad.svg.setPointerCapture(event.pointerId);
      draw(pad, event);
    });
    pad.svg.addEventListener('pointermove', (event) => pad.drawing && draw(pad, event));
    for (const end of ['pointerup', 'pointercancel']) pad.svg.addEventListener(end, () => { pad.drawing = false; });
    pad.watch = new ResizeObserver(() => pad.data && build(pad));
    pad.watch.observe(pad.svg);
  }
  pad.answer = setStateValue;
  const { values, seen, ...scale } = data;
  const changed = JSON.stringify(scale) !== pad.scale;
  pad.scale = JSON.stringify(scale);
  pad.data = data;
  // While a hand draws, what comes back is what it said a moment ago.
  if (changed || !pad.values || Date.now() - pad.said > 1500) pad.values = [...values];
  pad.number = Math.max(pad.number, seen);
  if (changed || !pad.circles) build(pad);
  else refresh(pad);
}
"""

_component = st.components.v2.component("kd_curve_pad", html=_HTML, css=_CSS, js=_JS)

Drawn = list[float | None]


def curve_pad(
    label: str,
    points: Sequence[str],
    *,
    low: float,
    high: float,
    step: float,
    unit: str,
    key: str,
) -> Drawn:
    """Let the visitor draw a value from ``low`` to ``high`` over each of ``points``.

    Returns the values, None for those that are not drawn yet.
    """
    drawn, seen = read(_drawn(key), len(points), low, high)
    result = _component(
        key=key,
        data={
            "label": label,
            "points": list(points),
            "low": low,
            "high": high,
            "step": step,
            "unit": unit,
            "hint": "Draw here",
            "values": drawn,
            "seen": seen,
        },
        on_drawn_change=lambda: None,
    )
    return read(result.drawn, len(points), low, high)[0]


def _drawn(key: str) -> Any:
    known = st.session_state.get(key)
    return None if known is None else known.get("drawn")


def read(drawn: Any, count: int, low: float, high: float) -> tuple[Drawn, int]:
    """Return what the browser sent as ``count`` values between ``low`` and ``high``, and its
    number; nothing is drawn where it is something else: a browser can send anything.
    """
    values = drawn.get("values") if isinstance(drawn, dict) else None
    number = drawn.get("number") if isinstance(drawn, dict) else None
    seen = number if isinstance(number, int) and not isinstance(number, bool) else 0
    if not isinstance(values, list) or len(values) != count:
        return [None] * count, seen
    return [_value(value, low, high) for value in values], seen


def _value(value: Any, low: float, high: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return min(high, max(low, float(value)))
