"""What is typed on the Try it page, and which parts of it decided."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kdcore.analysis.occlusion import Part, drops
from kdcore.analysis.statistics import softmax
from kdcore.config.catalog import DatasetCard
from kdcore.palette import ROLE_NAMES
from pages.shared.gallery import gallery
from pages.try_it.text_pad import text_pad

TYPE, PICK = "Type", "Test examples"
ICONS = {TYPE: ":material/keyboard:", PICK: ":material/grid_view:"}

_CSS = """<style>
.kd-parts { margin: 0 0 0.7rem; line-height: 1.9; overflow-wrap: anywhere; }
.kd-parts b { font-weight: 600; font-size: 0.85rem; opacity: 0.8; display: block; line-height: 1.3; }
.kd-parts span { padding: 0.12em 0; border-radius: 0.2em; font-size: 1.1rem; }
</style>"""


def written_input(
    shown: Mapping[str, NDArray], card: DatasetCard, dataset_key: str
) -> tuple[str, int | None]:
    """Return the text that is asked about, and its true class where it is known."""
    way = st.segmented_control(
        "Ask about",
        [TYPE, PICK],
        default=TYPE,
        required=True,
        key="try_way_text",
        format_func=lambda name: f"{ICONS[name]} {name}",
        label_visibility="collapsed",
    )
    if way == TYPE:
        return text_pad(
            "Type a text", key="try_text", hint="Type here: the models answer as you type"
        ), None
    index = gallery(
        shown["images"],
        captions=[card.class_names[label] for label in shown["labels"]],
        key=f"try_examples_{dataset_key}",
        selected=0,
        height=300,
        label="Test examples: choose one",
    )
    if index is None:
        return "", None
    return str(shown["images"][index]), int(shown["labels"][index])


def show_parts(
    text: str,
    parts: Sequence[Part],
    logits: Mapping[str, NDArray[np.float32]],
    class_names: Sequence[str],
) -> None:
    """Show a text once for each role, its parts coloured by how much they spoke for the answer.

    ``logits`` [1 + parts, classes] are the answers to the text, and to it without each part.
    """
    lines = []
    for role, answers in logits.items():
        said = class_names[int(softmax(answers[0], 1.0).argmax())]
        title = html.escape(f"{ROLE_NAMES[role].capitalize()}: {said}")
        lines.append(
            f"<p class='kd-parts' dir='auto'><b>{title}</b>{_coloured(text, parts, drops(answers))}</p>"
        )
    st.html(_CSS + "".join(lines))
    st.caption(
        "Which parts decided: each is left out in turn. Blue: without it, its answer becomes less likely; orange: more."
    )


def _coloured(text: str, parts: Sequence[Part], fall: NDArray[np.float64]) -> str:
    """Return the text as HTML; nothing in it is taken for HTML."""
    written, at = [], 0
    for part, value in zip(parts, fall, strict=True):
        colour = "59 130 246" if value > 0 else "249 115 22"
        strength = min(abs(float(value)), 0.6)
        title = f"without it {-100 * value:+.0f} points"
        written.append(html.escape(text[at : part.begin]))
        written.append(
            f"<span style='background: rgb({colour} / {strength:.2f})' title='{title}'>"
            f"{html.escape(text[part.begin : part.end])}</span>"
        )
        at = part.end
    return "".join([*written, html.escape(text[at:])])
