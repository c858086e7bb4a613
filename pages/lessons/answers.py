"""How a reader answers: a number on a slider, one of several options, a curve drawn by hand."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from kdcore.lessons import Asked, Measured, as_prediction
from pages.lessons.curve_pad import curve_pad
from pages.shared.session import as_text


def answer_field(asked: Asked, points: tuple[str, ...], unit: str, *, key: str) -> Any:
    """Draw what the reader answers with; returns the answer, None while it is not whole."""
    if asked.answer == "choice":
        return st.pills("Your answer", asked.options, key=key, format_func=as_text)
    if asked.answer == "curve":
        drawn = curve_pad(
            f"Your prediction, {unit}",
            points,
            low=asked.low,
            high=asked.high,
            step=asked.step,
            unit=unit,
            key=key,
        )
        return None if None in drawn else drawn
    decimals = max(0, math.ceil(-math.log10(asked.step)))
    middle = asked.low + round((asked.high - asked.low) / 2 / asked.step) * asked.step
    return st.slider(
        f"Your answer, {unit}" if unit else "Your answer",
        float(asked.low),
        float(asked.high),
        float(middle),
        float(asked.step),
        key=key,
        format=f"%.{decimals}f",
    )


def kept(asked: Asked, value: Any, points: tuple[str, ...]) -> Any:
    """Return an answer as the store keeps it; raises ConfigError for what is none."""
    return as_prediction(asked.answer, value, len(points))


def said(asked: Asked, value: Any, points: tuple[str, ...], unit: str) -> str:
    """Return an answer in words."""
    if asked.answer == "choice":
        return str(value)
    numbers = value if isinstance(value, list) else [value]
    plain = Measured(tuple(numbers), points if len(numbers) > 1 else ("",), unit, "")
    if len(numbers) == 1:
        return plain.in_words(numbers[0])
    return ", ".join(
        f"{title}: {plain.in_words(number)}" for title, number in zip(points, numbers, strict=True)
    )
