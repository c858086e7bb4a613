"""A browser component: a slider, logarithmic or even, that answers while it is being dragged.

``st.slider`` is even, shows its ends only, and waits for the hand to rest. Here what is chosen is
heard several times a second, the scale has ticks, values worth a visit are a click away, and any
other value can be typed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import streamlit as st

from kdcore.errors import require
from kdcore.palette import TONES


class Landmark(NamedTuple):
    """A value of interest: marked on the scale, with a button below it.

    The tone is a name in ``palette.TONES``.
    """

    value: float
    text: str
    tone: str = "teacher"


_CSS = """
.frame { container-type: inline-size; }
.box {
  display: grid; grid-template-columns: auto minmax(0, 1fr); column-gap: 1.25rem; align-items: center;
  font-family: var(--st-font); color: var(--st-text-color); background: var(--st-background-color); padding: 0.4rem 0 0.3rem;
}
.value {
  display: flex; align-items: baseline; gap: 0.25em; font-size: 1.75rem; font-weight: 650; min-width: 5.6rem;
  white-space: nowrap; font-variant-numeric: tabular-nums;
}
.number {
  all: unset; appearance: textfield; -moz-appearance: textfield; cursor: text; border-bottom: 1px dotted var(--st-border-color);
  min-width: 1ch; max-width: 8ch;
}
.number::-webkit-inner-spin-button, .number::-webkit-outer-spin-button { -webkit-appearance: none; margin: 0; }
.number:focus { border-bottom: 2px solid var(--st-primary-color); }
.track { position: relative; padding: 0 11px; }
.range {
  appearance: none; -webkit-appearance: none; width: calc(100% + 22px); margin: 0 -11px; height: 26px; background: none;
  cursor: pointer; display: block; position: relative;
}
.range::-webkit-slider-runnable-track {
  height: 6px; border-radius: 3px; background: linear-gradient(to right,
    var(--st-primary-color) calc(11px + (100% - 22px) * var(--share)),
    var(--st-border-color) calc(11px + (100% - 22px) * var(--share)));
}
.range::-moz-range-track { height: 6px; border-radius: 3px; background: var(--st-border-color); }
.range::-moz-range-progress { height: 6px; border-radius: 3px; background: var(--st-primary-color); }
.range::-webkit-slider-thumb {
  -webkit-appearance: none; width: 22px; height: 22px; margin-top: -8px; border-radius: 50%;
  background: var(--st-background-color); border: 5px solid var(--st-primary-color); box-shadow: 0 1px 4px rgb(0 0 0 / 25%);
}
.range::-moz-range-thumb {
  box-sizing: border-box; width: 22px; height: 22px; border-radius: 50%; background: var(--st-background-color);
  border: 5px solid var(--st-primary-color);
}
.range:focus { outline: none; }
.range:focus-visible::-webkit-slider-thumb { box-shadow: 0 0 0 4px color-mix(in srgb, var(--st-primary-color) 35%, transparent); }
.ticks { position: relative; height: 1.1rem; font-size: 0.75rem; opacity: 0.75; }
.ticks span { position: absolute; transform: translateX(-50%); }
.pins { position: absolute; inset: 0 11px auto; height: 26px; pointer-events: none; }
.pins span {
  position: absolute; top: 1px; width: 3px; height: 24px; margin-left: -1.5px; border-radius: 2px; background: var(--tone);
}
.landmarks { grid-column: 2; display: flex; flex-wrap: wrap; gap: 0.15rem 0.6rem; padding-left: 3px; }
.landmarks:empty { display: none; }
.landmarks button {
  all: unset; cursor: pointer; font-size: 0.8rem; line-height: 1.5; padding: 0.05rem 0.4rem; border-radius: 0.4rem;
}
.landmarks button::before {
  content: ''; display: inline-block; width: 3px; height: 0.8em; margin-right: 0.45em; border-radius: 2px; background: var(--tone);
  vertical-align: -0.08em;
}
.landmarks button:hover { background: var(--st-secondary-background-color); }
.landmarks button:focus-visible { outline: 2px solid var(--st-primary-color); }
@media (max-width: 480px) {
  .box { column-gap: 0.6rem; }
  .value { font-size: 1.25rem; min-width: 4.1rem; }
  .landmarks { grid-column: 1 / -1; padding-left: 0; }
}
@container (max-width: 300px) {
  .box { grid-template-columns: minmax(0, 1fr); row-gap: 0.2rem; }
  .value { font-size: 1.25rem; }
}
"""

_HTML = """
<div class="frame">
  <div class="box">
    <div class="value"><span></span><input class="number" type="number" step="any"></div>
    <div class="track"><div class="pins"></div><input class="range" type="range" step="1"><div class="ticks"></div></div>
    <div class="landmarks"></div>
  </div>
</div>
"""

_JS = r"""
const sliders = new WeakMap();
// What was said last, by key, until it comes back: while a page is being drawn anew an answer may be lost, with its slider.
const told = (window.kdLabTold ??= {});
const MILLISECONDS_BETWEEN_ANSWERS = 120;

const written = (value) => String(Number(value.toPrecision(6)));

function dark(box) {
  const probe = document.createElement('span');
  probe.style.color = 'var(--st-background-color)';
  box.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return red * 0.2126 + green * 0.7152 + blue * 0.0722 < 128;
}

// Where a value lies among the steps, from 0 to their number less one; between two steps on the scale.
function place(steps, value, even) {
  const above = steps.findIndex((step) => step >= value);
  if (above < 0) return steps.length - 1;
  if (above === 0 || steps[above] === value) return above;
  const share = even ? (value - steps[above - 1]) / (steps[above] - steps[above - 1])
    : Math.log(value / steps[above - 1]) / Math.log(steps[above] / steps[above - 1]);
  return above - 1 + share;
}

// A value that is no step, as one that is refused, stands as a number alone; a number being typed is left alone.
function show(slider, value) {
  const { input, number, data } = slider;
  const index = Math.max(0, data.steps.indexOf(value));
  input.value = index;
  input.style.setProperty('--share', index / (data.steps.length - 1));
  input.setAttribute('aria-valuetext', `${data.symbol} = ${written(value)}`);
  if (slider.typing) return;
  number.value = written(value);
  number.style.width = `${number.value.length + 0.3}ch`;
}

function say(slider, value) {
  told[slider.data.key] = { value, at: Date.now() };
  slider.answer('value', value);
}

function sayAgainWhatWasLost(slider, value) {
  const { key } = slider.data;
  const last = told[key];
  if (!last || last.value === value) delete told[key];
  else if (!last.again && Date.now() - last.at < 5000) {
    last.again = setTimeout(() => { if (told[key] === last) slider.answer('value', last.value); }, 150);
  }
}

function type(slider) {
  slider.typing = false;
  slider.touched = 0;
  const typed = slider.number.valueAsNumber;
  if (Number.isFinite(typed)) say(slider, typed);
  else show(slider, slider.data.value);
}

// The first movement is told at once, later ones at most so often, the last one always.
function tell(slider) {
  slider.touched = Date.now();
  if (slider.timer) return;
  const wait = Math.max(0, (slider.toldAt ?? 0) + MILLISECONDS_BETWEEN_ANSWERS - Date.now());
  slider.timer = setTimeout(() => {
    slider.timer = undefined;
    slider.toldAt = slider.touched = Date.now();
    say(slider, slider.data.steps[Number(slider.input.value)]);
  }, wait);
}

function build(slider, data) {
  const { input, ticks, pins, landmarks, box } = slider;
  const { steps } = data;
  const isDark = dark(box);
  input.max = steps.length - 1;
  input.setAttribute('aria-label', data.label);
  input.title = data.help;
  slider.symbol.textContent = data.symbol && `${data.symbol} =`;
  slider.number.setAttribute('aria-label', data.label);
  const at = (value) => `${(100 * place(steps, value, data.even)) / (steps.length - 1)}%`;
  ticks.replaceChildren(...data.ticks.map((value) => {
    const tick = document.createElement('span');
    tick.textContent = written(value);
    tick.style.left = at(value);
    return tick;
  }));
  const pinned = data.landmarks.map(({ value, text, tone }) => {
    const [pin, button] = [document.createElement('span'), document.createElement('button')];
    for (const element of [pin, button]) element.style.setProperty('--tone', tone[isDark ? 1 : 0]);
    pin.style.left = at(value);
    button.type = 'button';
    button.textContent = text;
    button.onclick = () => { show(slider, value); tell(slider); };
    return [pin, button];
  });
  pins.replaceChildren(...pinned.map(([pin]) => pin));
  landmarks.replaceChildren(...pinned.map(([, button]) => button));
}

function create(box) {
  const find = (name) => box.querySelector(name);
  const slider = {
    box, input: find('.range'), number: find('.number'), symbol: find('.value span'), ticks: find('.ticks'), pins: find('.pins'),
    landmarks: find('.landmarks'),
  };
  slider.input.addEventListener('input', () => { show(slider, slider.data.steps[slider.input.value]); tell(slider); });
  slider.number.addEventListener('input', () => { slider.typing = true; });
  slider.number.addEventListener('change', () => type(slider));
  slider.number.addEventListener('blur', () => { slider.typing = false; });
  return slider;
}

export default function ({ data, parentElement, setStateValue }) {
  const box = parentElement.querySelector('.box');
  const slider = sliders.get(box) ?? create(box);
  sliders.set(box, slider);
  slider.answer = setStateValue;
  const { value, ...scale } = data;
  const present = slider.data?.steps[slider.input.value] ?? value;
  slider.data = data;
  const contents = JSON.stringify([scale, dark(box)]);
  const changed = slider.contents !== contents;
  slider.contents = contents;
  if (changed) build(slider, data);
  // While a hand is on it the slider leads, and what comes back from Python is what it said a moment ago.
  const leads = slider.timer || Date.now() - (slider.touched ?? 0) < 1000;
  const shown = leads && data.steps.includes(present) ? present : value;
  show(slider, shown);
  sayAgainWhatWasLost(slider, value);
}
"""

_component = st.components.v2.component("kd_log_slider", html=_HTML, css=_CSS, js=_JS)


def log_slider(
    label: str,
    steps: Sequence[float],
    value: float,
    *,
    key: str,
    on_change: Callable[[float], None],
    symbol: str = "",
    ticks: Sequence[float] = (),
    landmarks: Sequence[Landmark] = (),
    help: str = "",
) -> None:
    """Draw a slider at ``value`` and call ``on_change`` with what the visitor chooses or types,
    before the script reruns.

    Args:
        label: what is chosen, for screen readers.
        steps: the values to drag to, above 0, evenly spaced on a logarithmic scale (more or less).
        value: the present one, which the caller keeps: any number, a refused one too.
        key: unique in the app.
        on_change: called with any finite number, which need not be a step.
        symbol: written before the value: "T" gives "T = 4".
        ticks: values to write below the scale.
        landmarks: values worth a visit.
        help: one line, shown on hover.

    Raises ConfigError where steps are not above 0.
    """
    chosen = _scale(steps, [value] if value > 0 else [], landmarks)
    require(len(chosen) >= 2 and chosen[0] > 0, "steps", "two or more above 0", steps)
    _slider(
        label,
        chosen,
        value,
        even=False,
        key=key,
        on_change=on_change,
        symbol=symbol,
        ticks=ticks,
        landmarks=landmarks,
        help=help,
    )


def even_slider(
    label: str,
    steps: Sequence[float],
    value: float,
    *,
    key: str,
    on_change: Callable[[float], None],
    symbol: str = "",
    ticks: Sequence[float] = (),
    landmarks: Sequence[Landmark] = (),
    help: str = "",
) -> None:
    """Draw a slider like :func:`log_slider` whose steps, any numbers, are evenly spaced.

    Raises ConfigError where there are fewer than two steps.
    """
    require(len(steps) >= 2, "steps", "two or more", steps)
    inside = min(steps) <= value <= max(steps)
    chosen = _scale(steps, [value] if inside else [], landmarks)
    _slider(
        label,
        chosen,
        value,
        even=True,
        key=key,
        on_change=on_change,
        symbol=symbol,
        ticks=ticks,
        landmarks=landmarks,
        help=help,
    )


def _scale(
    steps: Sequence[float], own: Sequence[float], landmarks: Sequence[Landmark]
) -> list[float]:
    """Return where the slider may rest: at its steps, at landmarks, and where it is."""
    return sorted({float(step) for step in (*steps, *own, *(each.value for each in landmarks))})


def _slider(
    label: str,
    steps: Sequence[float],
    value: float,
    *,
    even: bool,
    key: str,
    on_change: Callable[[float], None],
    symbol: str,
    ticks: Sequence[float],
    landmarks: Sequence[Landmark],
    help: str,
) -> None:

    def changed() -> None:
        answer = st.session_state[key].get("value")
        if isinstance(answer, int | float) and math.isfinite(answer):
            on_change(float(answer))

    tones = [[TONES[landmark.tone].light, TONES[landmark.tone].dark] for landmark in landmarks]
    _component(
        key=key,
        data={
            "key": key,
            "label": label,
            "symbol": symbol,
            "help": help,
            "steps": list(steps),
            "even": even,
            "value": float(value),
            "ticks": list(ticks),
            "landmarks": [
                {"value": landmark.value, "text": landmark.text, "tone": tone}
                for landmark, tone in zip(landmarks, tones, strict=True)
            ],
        },
        on_value_change=changed,
    )
