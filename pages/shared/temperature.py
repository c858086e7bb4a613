"""The one control for the temperature T, on every page that has one."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.shared.log_slider import Landmark, log_slider

LOWEST, HIGHEST = 0.5, 20.0
# Twelve steps a doubling, to two digits: 0.5, 0.53, ..., 1, 1.1, ..., 5, 5.3, ..., 20.
STEPS: tuple[float, ...] = tuple(
    sorted({float(f"{LOWEST * 2 ** (step / 12):.2g}") for step in range(65)})
)
TICKS = (0.5, 1, 2, 5, 10, 20)
HELP = "Divides the logits before the softmax. 1: as trained; higher: softer; lower: surer."


def temperature_slider(*, key: str, default: float, landmarks: Sequence[Landmark] = ()) -> float:
    """Draw the slider and return T; this session remembers it under ``key``."""
    kept = f"{key}_kept"
    marked = {landmark.value for landmark in landmarks}
    start = min(max(default, LOWEST), HIGHEST)
    steps = sorted({*STEPS, *marked, start})
    value = st.session_state.get(kept, start)
    if value not in steps:
        value = min(steps, key=lambda step: abs(step - value))
    log_slider(
        "Temperature T",
        steps,
        value,
        symbol="T",
        key=key,
        on_change=lambda chosen: st.session_state.update({kept: chosen}),
        ticks=TICKS,
        landmarks=landmarks,
        help=HELP,
    )
    return float(st.session_state.get(kept, value))
