"""How pages about one trained teacher choose a test example, and show it large."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from kdcore.analysis.logits import IntArray
from kdcore.analysis.temperature import Order
from pages.shared import examples
from pages.shared.gallery import Mark, gallery
from pages.shared.scene import Scene, SceneState
from pages.shared.session import as_text

ORDER_TITLES: dict[Order, str] = {
    "entropy": "Least sure",
    "margin": "Closest call",
    "wrong but sure": "Wrong but sure",
    "disagreement": "Student disagrees",
}
PICTURE = 104
EVERY_CLASS = -1


def choose_example(
    scene: Scene, state: SceneState, first: Callable[[Scene], int], *, page: str
) -> int | None:
    """Draw a gallery to choose a test example from, and return its index.

    ``first`` tells the one to begin with; None where there is no example to choose.
    """
    orders = {
        name: title
        for name, title in ORDER_TITLES.items()
        if name != "disagreement" or scene.taught is not None
    }
    state.order = state.order if state.order in orders else "entropy"

    def reorder() -> None:
        state.order = st.session_state[f"{page}_order"]

    def refilter() -> None:
        chosen = st.session_state[f"{page}_class"]
        state.only = None if chosen == EVERY_CLASS else chosen

    st.session_state[f"{page}_order"] = state.order
    st.session_state[f"{page}_class"] = EVERY_CLASS if state.only is None else state.only
    st.segmented_control(
        "Show first",
        list(orders),
        format_func=lambda name: orders[name],
        key=f"{page}_order",
        required=True,
        on_change=reorder,
        width="stretch",
        help="Judged by the teacher's answers at T = 1.",
    )
    names = scene.class_names
    st.selectbox(
        "True class",
        [EVERY_CLASS, *range(len(names))],
        format_func=lambda at: "All classes" if at == EVERY_CLASS else f"Only {names[at]}",
        key=f"{page}_class",
        on_change=refilter,
        label_visibility="collapsed",
    )
    student = scene.run("student")
    ids = examples.ordered(
        scene.store, scene.teacher.id, student.id if student else None, scene.key, state.order
    )
    if state.only is not None:
        ids = ids[scene.truth[ids] == state.only]
    if state.example is None and state.only is None:
        state.example = state.picked = first(scene)
    if len(ids) and state.example not in ids:
        state.picked = int(ids[0])
    captions, marks = _captions(scene, ids)
    chosen = gallery(
        examples.images(scene.store, scene.key)[ids],
        captions=captions,
        marks=marks,
        ids=ids.tolist(),
        selected=state.picked,
        key=f"{page}_gallery",
        height=512,
        label="Test examples: choose one",
        empty="No test example of this class has a picture",
    )
    told = ":red[●] the teacher is wrong (true → its answer)"
    st.caption(told if student is None else f"{told} :blue[●] the student answers otherwise")
    state.example = chosen if chosen is not None else int(ids[0]) if len(ids) else None
    return state.example


def _captions(scene: Scene, ids: IntArray) -> tuple[list[str], list[Mark | None]]:
    """Say under each thumbnail what it is, and mark where the teacher errs or the student disagrees
    with it.
    """
    names, truth = scene.class_names, scene.truth
    answers, learnt = scene.answers("teacher"), scene.answers("student")
    assert answers is not None
    said = answers.argmax(axis=1)
    replied = said if learnt is None else learnt.argmax(axis=1)
    captions: list[str] = []
    marks: list[Mark | None] = []
    for at in ids:
        wrong = said[at] != truth[at]
        captions.append(f"{names[truth[at]]} → {names[said[at]]}" if wrong else names[truth[at]])
        if wrong:
            marks.append(Mark(f"the teacher says {names[said[at]]}", "wrong"))
        else:
            marks.append(
                Mark(f"the student says {names[replied[at]]}", "student")
                if replied[at] != said[at]
                else None
            )
    return captions, marks


def which_example(scene: Scene, state: SceneState, first: Callable[[Scene], int], said: str) -> int:
    """Show the chosen example small, with what is ``said`` of it; returns its index."""
    if state.example is None:
        state.example = first(scene)
    with st.container(horizontal=True, vertical_alignment="center"):
        image = examples.images(scene.store, scene.key)[state.example]
        st.html(picture_html(image, f"test example {state.example}", pixels=56), width="content")
        st.markdown(
            f"Below, **{as_text(scene.class_names[scene.truth[state.example]])}**, test example {state.example}{said}. "
            "Choose another under *One example*.",
            width="content",
        )
    return state.example


_PICTURE_CSS = """<style>
.kd-picture { flex: none; width: fit-content; border-radius: 0.5rem; border: 1px solid rgb(128 128 128 / 30%); padding: 6px; }
.kd-text { max-width: min(18rem, 45%); padding: 0.5rem 0.8rem; font-size: 1.1rem; overflow-wrap: break-word; }
.kd-picture > div { background-color: currentColor; }
</style>"""


def picture_html(image: Any, title: str, pixels: int = PICTURE) -> str:
    """Return the HTML of an enlarged picture [height, width, channels], or of a text.

    Ink of one colour is drawn in the page's text colour, light or dark.
    """
    if isinstance(image, str):
        words = html.escape(str(image))
        return f"{_PICTURE_CSS}<div class='kd-picture kd-text' dir='auto' title='{html.escape(title)}'>{words}</div>"
    height, width, channels = image.shape
    zoom = max(1, round(pixels / max(height, width)))
    ink_as_opacity = np.concatenate([np.zeros((height, width, 3), np.uint8), image], axis=2)
    shown = ink_as_opacity if channels == 1 else image
    file = io.BytesIO()
    Image.fromarray(shown.repeat(zoom, axis=0).repeat(zoom, axis=1)).save(file, "png")
    address = f"url(data:image/png;base64,{base64.b64encode(file.getvalue()).decode()})"
    drawn = (
        f"-webkit-mask-image:{address};mask-image:{address}"
        if channels == 1
        else f"background-image:{address}"
    )
    size = f"width:{width * zoom}px;height:{height * zoom}px"
    inner = f"<div style='{size};{drawn}'></div>"
    return f"{_PICTURE_CSS}<div class='kd-picture' role='img' aria-label='{html.escape(title)}'>{inner}</div>"


EXAMPLE_CARD_CSS = """<style>
.kd-card { display: flex; gap: 1.1rem; align-items: flex-start; min-height: 8.2rem; }
.kd-card p { margin: 0 0 0.35rem; line-height: 1.4; }
.kd-card em { font-style: normal; font-weight: 600; }
.kd-card .kd-large { font-size: 1.2rem; }
.kd-card .kd-small { font-size: 0.85rem; opacity: 0.75; }
</style>"""


def example_card(scene: Scene, index: int, words: str) -> None:
    """Draw an example large, with ``words`` (HTML) beside it."""
    picture = picture_html(examples.images(scene.store, scene.key)[index], f"test example {index}")
    st.html(
        f"{EXAMPLE_CARD_CSS}<div class='kd-card'>{picture}<div class='kd-words'>{words}</div></div>"
    )
