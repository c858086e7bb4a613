"""A browser component: a slider with a logarithmic scale that answers while it is being dragged.

``st.slider`` is linear, shows its ends only, and waits for the hand to rest. Here what is chosen is
heard several times a second, the scale has ticks, and values worth a visit are a click away.
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
.box {
  display: grid; grid-template-columns: auto minmax(0, 1fr); column-gap: 1.25rem; align-items: center;
  font-family: var(--st-font); color: var(--st-text-color); background: var(--st-background-color); padding: 0.4rem 0 0.3rem;
}
.value { font-size: 1.75rem; font-weight: 650; min-width: 5.6rem; white-space: nowrap; font-variant-numeric: tabular-nums; }
.track { position: relative; padding: 0 11px; }
input {
  appearance: none; -webkit-appearance: none; width: calc(100% + 22px); margin: 0 -11px; height: 26px; background: none;
  cursor: pointer; display: block; position: relative;
}
input::-webkit-slider-runnable-track {
  height: 6px; border-radius: 3px; background: linear-gradient(to right,
    var(--st-primary-color) calc(11px + (100% - 22px) * var(--share)),
    var(--st-border-color) calc(11px + (100% - 22px) * var(--share)));
}
input::-moz-range-track { height: 6px; border-radius: 3px; background: var(--st-border-color); }
input::-moz-range-progress { height: 6px; border-radius: 3px; background: var(--st-primary-color); }
input::-webkit-slider-thumb {
  -webkit-appearance: none; width: 22px; height: 22px; margin-top: -8px; border-radius: 50%;
  background: var(--st-background-color); border: 5px solid var(--st-primary-color); box-shadow: 0 1px 4px rgb(0 0 0 / 25%);
}
input::-moz-range-thumb {
  box-sizing: border-box; width: 22px; height: 22px; border-radius: 50%; background: var(--st-background-color);
  border: 5px solid var(--st-primary-color);
}
input:focus { outline: none; }
input:focus-visible::-webkit-slider-thumb { box-shadow: 0 0 0 4px color-mix(in srgb, var(--st-primary-color) 35%, transparent); }
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
"""

_HTML = """
<div class="box">
  <output class="value"></output>
  <div class="track"><div class="pins"></div><input type="range" step="1"><div class="ticks"></div></div>
  <div class="landmarks"></div>
</div>
"""

_JS = r"""
const sliders = new WeakMap();
const MILLISECONDS_BETWEEN_ANSWERS = 120;

const written = (value) => String(Number(value.toPrecision(3)));

function dark(box) {
  const probe = document.createElement('span');
  probe.style.color = 'var(--st-background-color)';
  box.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return red * 0.2126 + green * 0.7152 + blue * 0.0722 < 128;
}

// Where a value lies among the steps, from 0 to their number less one; between two steps on the logarithmic scale.
function place(steps, value) {
  const above = steps.findIndex((step) => step >= value);
  if (above < 0) return steps.length - 1;
  if (above === 0 || steps[above] === value) return above;
  const share = Math.log(value / steps[above - 1]) / Math.log(steps[above] / steps[above - 1]);
  return above - 1 + share;
}

function show(slider, index) {
  const { input, output, data } = slider;
  input.value = index;
  input.style.setProperty('--share', index / (data.steps.length - 1));
  output.textContent = `${data.symbol} = ${written(data.steps[index])}`;
  input.setAttribute('aria-valuetext', output.textContent);
}

// The first movement is told at once, later ones at most so often, the last one always.
function tell(slider) {
  slider.touched = Date.now();
  if (slider.timer) return;
  const wait = Math.max(0, (slider.toldAt ?? 0) + MILLISECONDS_BETWEEN_ANSWERS - Date.now());
  slider.timer = setTimeout(() => {
    slider.timer = undefined;
    slider.toldAt = slider.touched = Date.now();
    slider.answer('value', slider.data.steps[Number(slider.input.value)]);
  }, wait);
}

function build(slider, data) {
  const { input, ticks, pins, landmarks, box } = slider;
  const { steps } = data;
  const isDark = dark(box);
  input.max = steps.length - 1;
  input.setAttribute('aria-label', data.label);
  input.title = data.help;
  const at = (value) => `${(100 * place(steps, value)) / (steps.length - 1)}%`;
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
    button.onclick = () => { show(slider, steps.indexOf(value)); tell(slider); };
    return [pin, button];
  });
  pins.replaceChildren(...pinned.map(([pin]) => pin));
  landmarks.replaceChildren(...pinned.map(([, button]) => button));
}

function create(box) {
  const find = (name) => box.querySelector(name);
  const slider = {
    box, input: find('input'), output: find('output'), ticks: find('.ticks'), pins: find('.pins'),
    landmarks: find('.landmarks'),
  };
  slider.input.addEventListener('input', () => { show(slider, Number(slider.input.value)); tell(slider); });
  return slider;
}

export default function ({ data, parentElement, setStateValue }) {
  const box = parentElement.querySelector('.box');
  const slider = sliders.get(box) ?? create(box);
  sliders.set(box, slider);
  slider.answer = setStateValue;
  const { value, ...scale } = data;
  const present = slider.data?.steps[Number(slider.input.value)] ?? value;
  slider.data = data;
  const contents = JSON.stringify([scale, dark(box)]);
  const changed = slider.contents !== contents;
  slider.contents = contents;
  if (changed) build(slider, data);
  // While a hand is on it the slider leads, and what comes back from Python is what it said a moment ago.
  const leads = slider.timer || Date.now() - (slider.touched ?? 0) < 1000;
  const shown = leads && data.steps.includes(present) ? present : value;
  show(slider, data.steps.indexOf(shown));
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
    """Draw a slider at ``value`` and call ``on_change`` with what the visitor chooses, before the
    script reruns.

    Args:
        label: what is chosen, for screen readers.
        steps: the values to choose from, rising, evenly spaced on a logarithmic scale (more or
            less).
        value: the present one, one of the steps; the caller keeps it.
        key: unique in the app.
        on_change: called with the chosen step.
        symbol: written before the value: "T" gives "T = 4".
        ticks: values to write below the scale.
        landmarks: steps worth a visit.
        help: one line, shown on hover.

    Raises ConfigError where the value or a landmark is not one of the steps, or the steps do not
    rise.
    """
    chosen = [float(step) for step in steps]
    require(
        len(chosen) >= 2 and sorted(set(chosen)) == chosen and chosen[0] > 0,
        "steps",
        "above 0 and rising",
        steps,
    )
    for each in (value, *(landmark.value for landmark in landmarks)):
        require(each in chosen, "value", "one of the steps", each)

    def changed() -> None:
        answer = st.session_state[key].get("value")
        if answer in chosen and math.isfinite(answer):
            on_change(float(answer))

    tones = [[TONES[landmark.tone].light, TONES[landmark.tone].dark] for landmark in landmarks]
    _component(
        key=key,
        data={
            "label": label,
            "symbol": symbol,
            "help": help,
            "steps": chosen,
            "value": float(value),
            "ticks": list(ticks),
            "landmarks": [
                {"value": landmark.value, "text": landmark.text, "tone": tone}
                for landmark, tone in zip(landmarks, tones, strict=True)
            ],
        },
        on_value_change=changed,
    )
