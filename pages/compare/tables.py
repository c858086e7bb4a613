"""The Compare page's tables: models as columns, numbers as rows; and pair against pair."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import streamlit as st

from kdcore.analysis.comparison import Comparison, Numbers, Pair
from kdcore.analysis.contenders import Contender
from kdcore.analysis.statistics import format_points
from kdcore.glossary import find
from kdcore.palette import TONES, Style
from kdcore.storage.schema import JobStatus
from kdcore.words import in_bytes

CSS = """<style>
.kd-table-box { overflow-x: auto; }
.kd-table { border-collapse: collapse; width: 100%; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
.kd-table th, .kd-table td { padding: 0.4rem 0.75rem; text-align: left; vertical-align: top; border: none; }
.kd-table thead th { font-weight: 600; min-width: 8.5rem; padding-bottom: 0.6rem; }
.kd-table tbody tr { border-top: 1px solid rgb(128 128 128 / 22%); }
.kd-table tbody th { font-weight: 400; min-width: 11.5rem; opacity: 0.8; cursor: help; }
.kd-table tbody td b { font-weight: 600; font-size: 1rem; }
.kd-table small { display: block; opacity: 0.7; font-weight: 400; line-height: 1.35; }
.kd-swatch { display: block; height: 0.35rem; width: 2.2rem; border-radius: 0.2rem; margin-bottom: 0.35rem; }
.kd-table .kd-helped { color: light-dark(#15803d, #4ade80); }
.kd-table .kd-hurt { color: light-dark(#d0211c, #ff7b72); }
.kd-dot { display: inline-block; width: 0.6rem; height: 0.6rem; border-radius: 0.2rem; margin-right: 0.35rem; }
@media (max-width: 640px) {
  .kd-table thead th { min-width: 6.5rem; }
  .kd-table tbody th { min-width: 6.5rem; }
  .kd-table th, .kd-table td { padding: 0.4rem; }
}
.kd-small { opacity: 0.75; }
.kd-answers { list-style: none; padding: 0; margin: 0; font-size: 0.9rem; line-height: 1.6; }
.kd-answers li { margin: 0; padding: 0; }
</style>"""
NONE = "–"


def figures_table(found: Comparison) -> None:
    """Draw every number of every model."""
    head = "".join(
        f"<th scope='col'>{swatch(style)}{html.escape(style.name)}<small>{html.escape(contender.model)}{_state(contender)}"
        "</small></th>"
        for style, contender in zip(found.styles, found.contenders, strict=True)
    )
    rows = "".join(_row(title, about, cell, found.numbers) for title, about, cell in _rows(found))
    table(
        f"<thead><tr><td><small>On {found.examples:,} test examples</small></td>{head}</tr></thead><tbody>{rows}</tbody>",
        "Numbers of each model",
        "kd-numbers",
    )


def table(inner: str, label: str, name: str) -> None:
    """Draw the inside of a table in the page's style.

    It scrolls sideways where there is no room.
    """
    drawn = f"<table class='kd-table {name}' aria-label='{label}'>{inner}</table>"
    st.html(f"{CSS}<div class='kd-table-box'>{drawn}</div>")


def swatch(style: Style) -> str:
    """Return a bar in a model's colour, broken where its curve is dashed."""
    tone = TONES[style.tone]
    colour = f"light-dark({tone.light}, {tone.dark})"
    fill = f"repeating-linear-gradient(90deg, {colour} 0 0.5rem, transparent 0.5rem 0.7rem)"
    return f"<span class='kd-swatch' style='background: {fill if style.dash != 'solid' else colour}'></span>"


def _state(contender: Contender) -> str:
    return "" if contender.status is JobStatus.FINISHED else f" · {html.escape(contender.state)}"


def _row(
    title: str, about: str, cell: Callable[[Numbers], str | None], numbers: Sequence[Numbers]
) -> str:
    cells = "".join(
        f"<td>{NONE if (text := cell(each)) is None else text}</td>" for each in numbers
    )
    return f"<tr><th scope='row' title='{html.escape(about, quote=True)}'>{html.escape(title)}</th>{cells}</tr>"


def _rows(found: Comparison) -> list[tuple[str, str, Callable[[Numbers], str | None]]]:
    batch = next((each.latency["batch_size"] for each in found.numbers if each.latency), 64)
    return [
        ("Test accuracy", "Mean over seeds, with its 95 % interval", _accuracy),
        (
            "Log loss (NLL)",
            f"{find('cross entropy').says} In nats: lower is better",
            lambda each: number(each.negative_log_likelihood, "{:.4f} nats"),
        ),
        (
            "Calibration error (ECE)",
            f"{find('ECE').says} Lower is better",
            lambda each: number(each.expected_calibration_error, "{:.2%}"),
        ),
        (
            "Parameters",
            "Numbers that were learnt, and those of normalisation",
            lambda each: number(each.parameters, "{:,}"),
        ),
        (
            "Multiply-accumulates",
            "For one example: convolutions and dense layers",
            lambda each: number(each.multiply_accumulates, "{:,}"),
        ),
        (
            "Model file",
            "Size of the stored .keras file",
            lambda each: None if each.file_bytes is None else f"<b>{in_bytes(each.file_bytes)}</b>",
        ),
        (
            "Keras call, one example",
            "Median time for an answer, the call into TensorFlow included",
            lambda each: _time(each, "single"),
        ),
        (
            f"Keras call, batch of {batch}",
            "Median time for all of them, the call into TensorFlow included",
            lambda each: _time(each, "batch"),
        ),
        (
            "Names the teacher's class",
            "Share of test examples for which it and its teacher name the same class",
            lambda each: number(each.agreement, "{:.2%}"),
        ),
        (
            f"KL from the teacher, T = {found.temperature:g}",
            "Mean divergence of its answers from its teacher's, both at T",
            lambda each: number(each.kl, "{:.4f} nats"),
        ),
    ]


def _accuracy(each: Numbers) -> str | None:
    if each.accuracy is None or each.interval is None:
        return None
    low, high = each.interval
    return f"<b>{each.accuracy:.2%}</b><small>{low:.2%} to {high:.2%}, {html.escape(each.interval_kind)}</small>"


def number(value: float | None, pattern: str) -> str | None:
    """Return a number in bold, None where there is none."""
    return None if value is None else f"<b>{pattern.format(value)}</b>"


def _time(each: Numbers, name: str) -> str | None:
    if each.latency is None:
        return None
    low, high = each.latency[f"{name}_quartiles"]
    middle = each.latency[f"{name}_milliseconds"]
    return f"<b>{middle:.3g} ms</b><small>middle half: {low:.3g} to {high:.3g} ms</small>"


# --- Pairs ---


def pairs_table(found: Comparison) -> None:
    """Draw each pair's difference over paired seeds, and on the test examples of the seed shown."""
    heads = (
        "First",
        "Second",
        "First minus second",
        "95 % interval",
        "Only the first is right",
        "Only the second is right",
        "McNemar’s exact test",
    )
    head = "".join(f"<th scope='col'>{each}</th>" for each in heads)
    rows = "".join(_pair_row(found, pair) for pair in found.pairs)
    table(f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>", "Each pair of models", "kd-pairs")


def _pair_row(found: Comparison, pair: Pair) -> str:
    gain, answers = pair.gain, pair.answers
    points, *bounds = format_points(
        gain.mean, *([gain.low, gain.high] if gain.low == gain.low else [])
    )
    kind = {"helped": "kd-helped", "hurt": "kd-hurt"}.get(gain.outcome, "")
    sign = "+" if gain.mean > 0 else ""
    n = f"{gain.n} seeds" if gain.n > 1 else "one seed, no proof"
    cells = [
        named(found.styles[pair.first]),
        named(found.styles[pair.second]),
        f"<b class='{kind}'>{sign}{points} points</b><small>{n}</small>",
        " to ".join(bounds) if bounds else NONE,
        f"{answers.only_first:,}",
        f"{answers.only_second:,}",
        f"p = {answers.p_value:.2g}",
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def named(style: Style) -> str:
    """Return a model's name with a dot of its colour, as HTML."""
    tone = TONES[style.tone]
    dot = f"<span class='kd-dot' style='background: light-dark({tone.light}, {tone.dark})'></span>"
    return f"{dot}{html.escape(style.name)}"
