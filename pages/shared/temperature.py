"""The one control for the temperature T, on every page that has one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from pages.shared.log_slider import Landmark, log_slider

LOWEST, HIGHEST = 0.5, 20.0  # of the slider; what is typed may reach further
LEAST, MOST = 0.01, 1000.0
# Twelve steps a doubling, to two digits: 0.5, 0.53, ..., 1, 1.1, ..., 5, 5.3, ..., 20.
STEPS: tuple[float, ...] = tuple(
    sorted({float(f"{LOWEST * 2 ** (step / 12):.2g}") for step in range(65)})
)
TICKS = (0.5, 1, 2, 5, 10, 20)
HELP = "Divides the logits before the softmax. 1: as trained; higher: softer; lower: surer."


def temperature_slider(*, key: str, default: float, landmarks: Sequence[Landmark] = ()) -> float:
    """Draw the slider and return T; this session remembers it under ``key``."""
    kept = f"{key}_kept"
    value = float(st.session_state.get(kept, default))
    temperature_control(
        value,
        key=key,
        on_change=lambda chosen: st.session_state.update({kept: within(chosen)}),
        landmarks=landmarks,
    )
    return value


def temperature_control(
    value: float,
    *,
    key: str,
    on_change: Callable[[float], None],
    landmarks: Sequence[Landmark] = (),
    help: str = HELP,
) -> None:
    """Draw the slider at ``value``, which the caller keeps, and tell ``on_change`` what is chosen
    or typed: any number, also one that is to be refused.
    """
    log_slider(
        "Temperature T",
        STEPS,
        value,
        symbol="T",
        key=key,
        on_change=on_change,
        ticks=TICKS,
        landmarks=landmarks,
        help=help,
    )


def within(temperature: float) -> float:
    """Return the nearest temperature that a page can show."""
    return min(max(temperature, LEAST), MOST)
