"""What is typed on the Try it page, and which parts of it decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st
from numpy.typing import NDArray

from kdcore.analysis.attention import ALL_TOKENS
from kdcore.analysis.occlusion import Part
from kdcore.config.cards import DatasetCard
from kdcore.engine.predictions import Answer
from kdcore.palette import ROLE_NAMES
from kdcore.storage.schema import Run
from kdcore.tasks.text import SHOWN_SIGNS
from kdcore.tasks.vocabulary import Vocabulary
from pages.shared.coloured_text import CSS, by_attention, by_drop, coloured_text
from pages.shared.gallery import gallery
from pages.shared.terms import with_terms
from pages.try_it.text_pad import MOST_SIGNS, text_pad

TYPE, PICK = "Type", "Test examples"
ICONS = {TYPE: ":material/keyboard:", PICK: ":material/grid_view:"}
LEFT_OUT, ATTENTION = "Left out in turn", "Attention"
# In the session: which of the two is shown.
HOW = "try_parts"
LEFT_OUT_SAYS = (
    "Which parts decided: each is left out in turn. Blue: without it, its answer becomes less likely; "
    "orange: more."
)
ATTENTION_SAYS = (
    "The more colour, the more a model reads there, from its least read part to its most read; the shares may lie close, "
    "and each part says its own. It is the [[attention]] through all layers, mean over all tokens: what was read, not "
    "whether it spoke for the answer or against it."
)


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
        typed = text_pad(
            "Type a text", key="try_text", hint="Type here: the models answer as you type"
        )
        if len(typed) == MOST_SIGNS:
            st.caption(f"The field holds {MOST_SIGNS:,} signs: what follows is cut.")
        return typed, None
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
    text = str(shown["images"][index])
    if len(text) == SHOWN_SIGNS and text.endswith("…"):
        st.caption(
            f"Asked about its first {SHOWN_SIGNS - 1} signs, which are kept to be shown: on all of it a model may "
            "have answered otherwise."
        )
    return text, int(shown["labels"][index])


def shows_attention() -> bool:
    """Return whether the visitor wants to see the attention, which takes most of an answer's time
    where it is asked for.
    """
    return bool(st.session_state.get(HOW) == ATTENTION)


def show_parts(
    text: str,
    parts: Sequence[Part],
    answer: Answer,
    runs: Mapping[str, Run],
    card: DatasetCard,
    vocabulary: Vocabulary,
) -> None:
    """Show a text once for each role, its parts coloured by how much they spoke for the answer, or
    by the attention they got.

    ``answer`` is to the text, and to it without each part.
    """
    how = st.segmented_control(
        "Parts of the text",
        [LEFT_OUT, ATTENTION],
        default=LEFT_OUT,
        required=True,
        key=HOW,
    )
    lines = []
    for role, run in runs.items():
        said = card.class_names[int(answer.logits[run.id][0].argmax())]
        if how == LEFT_OUT:
            coloured = by_drop(parts, answer.logits[run.id])
        elif run.id in answer.attention:
            attention = answer.attention[run.id].maps[ALL_TOKENS][0]
            coloured = by_attention(role, text, parts, vocabulary, attention)
        else:  # a bag of embeddings has none
            continue
        lines.append(coloured_text(f"{ROLE_NAMES[role].capitalize()}: {said}", text, coloured))
    if not lines:
        st.caption("These models have no attention: they know no order of the parts.")
        return
    st.html(CSS + "".join(lines))
    st.caption(LEFT_OUT_SAYS if how == LEFT_OUT else with_terms(ATTENTION_SAYS))
