"""Where they differ: the test examples on which two models, or any, name another class."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import streamlit as st

from kdcore import charts
from kdcore.analysis.comparison import Comparison
from kdcore.analysis.disagreement import Disagreement, disagreement
from kdcore.analysis.logits import IntArray, softmax
from kdcore.analysis.temperature import format_percent
from kdcore.config.catalog import dataset_card
from kdcore.palette import Style
from kdcore.storage.store import Store
from pages.compare.sections import choose_pair
from pages.compare.state import PageState
from pages.compare.tables import CSS, NONE, named, table
from pages.shared import examples
from pages.shared.gallery import Mark, gallery
from pages.shared.live_chart import live_chart
from pages.shared.session import as_text
from pages.shared.terms import prose, with_terms

NAMED = 3  # a model's most probable classes that are said in words


def where_they_differ(store: Store, state: PageState, found: Comparison) -> None:
    """Draw the gallery of disagreements, and for the chosen example what each model makes of it."""
    pair = choose_pair(state, found, "differ")
    if pair is None:
        return
    kinds = found.disagreements(*pair)
    if sum(each is not None for each in found.predictions) > 2:
        kinds = {"any": found.any_disagreement(), **kinds}
    _in_words(found, pair, kinds)
    _choose_kind(state, found, pair, kinds)
    left, right = st.columns([1, 1.35], gap="large")
    with left:
        index = _choose_example(store, state, found, pair, kinds[state.kind])
    if index is not None:
        with right:
            _answers(store, found, index)
    _how_often(store, found)


def _how_often(store: Store, found: Comparison) -> None:
    """Draw how often any two decide differently as a matrix, from three models on."""
    finished = tuple(run.id for each in found.contenders for run in each.trained)
    names = tuple(style.name for style in found.styles)
    apart = _apart(store, found, finished, names)
    if len(apart.names) < 3:
        return
    seeds = int(apart.seeds.max())
    over = f", mean over {seeds} seeds" if seeds > 1 else ""
    st.markdown(f"**How often any two decide differently{over}**")
    most = float(np.nanmax(apart.shares)) or 1.0
    head = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in apart.names)
    rows = []
    for row, name in enumerate(apart.names):
        cells = "".join(_share(apart, row, column, most) for column in range(len(apart.names)))
        rows.append(f"<tr><th scope='row'>{html.escape(name)}</th>{cells}</tr>")
    table(
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody>",
        "Share of test examples that two models decide differently",
        "kd-apart",
    )
    st.caption(
        with_terms(
            "Shares of all test examples for which the two name different classes, where there are several seeds the mean "
            "over them, with its interval when pointed at; the gallery above is of one seed. "
            "Of a transformer with a [[distillation token]] each head decides for itself as well."
        )
    )


@st.cache_data(show_spinner=False, max_entries=32)
def _apart(
    _store: Store, _found: Comparison, finished: tuple[str, ...], names: tuple[str, ...]
) -> Disagreement:
    """Count once for each set of finished runs, which never change."""
    return disagreement(_store, _found)


def _share(apart: Disagreement, row: int, column: int, most: float) -> str:
    if row == column or not apart.seeds[row, column]:
        return f"<td>{NONE}</td>"
    share = float(apart.shares[row, column])
    shade = f"rgb(128 128 128 / {0.35 * share / most:.3f})"
    if (seeds := int(apart.seeds[row, column])) < 2:
        return f"<td style='background: {shade}'>{share:.1%}</td>"
    low, high = np.clip(100 * apart.intervals[row, column], 0, 100)
    said = f"mean over {seeds} seeds, 95 % CI {low:.1f} to {high:.1f}"
    return f"<td style='background: {shade}' title='{said}'>{share:.1%}</td>"


def _dataset_key(found: Comparison) -> str:
    return str(
        next(each.trained[0].summary["dataset"] for each in found.contenders if each.trained)
    )


def _in_words(found: Comparison, pair: tuple[int, int], kinds: dict[str, IntArray]) -> None:
    """McNemar's table as a sentence, in the same numbers as the filter below."""
    first, second = (as_text(found.styles[at].name) for at in pair)
    both = int(np.sum(found.right(pair[0]) & found.right(pair[1])))
    neither = int(np.sum(~found.right(pair[0]) & ~found.right(pair[1])))
    p_value = next(
        each.answers.p_value for each in found.pairs if {each.first, each.second} == set(pair)
    )
    prose(
        f"Of {found.examples:,} test examples both get **{both:,}** right and **{neither:,}** wrong; only **{first}** is right "
        f"on **{len(kinds['only first']):,}**, only **{second}** on **{len(kinds['only second']):,}** "
        f"([[McNemar's exact test|McNemar's test]]: p = {p_value:.2g}). Seed {found.seed}."
    )


def _choose_kind(
    state: PageState, found: Comparison, pair: tuple[int, int], kinds: dict[str, IntArray]
) -> None:
    first, second = (as_text(found.styles[at].name) for at in pair)
    titles = {
        "any": "Any two disagree",
        "all": "These two disagree",
        "only first": f"Only {first} right",
        "only second": f"Only {second} right",
        "both wrong": "Both wrong, differently",
    }
    if state.kind not in kinds:
        state.kind = "all"

    def choose() -> None:
        state.kind, state.example = st.session_state["compare_kind"], None

    st.session_state["compare_kind"] = state.kind
    st.pills(
        "Show",
        list(kinds),
        key="compare_kind",
        required=True,
        on_change=choose,
        format_func=lambda kind: f"{titles[kind]} ({len(kinds[kind]):,})",
        help="The three kinds of disagreement of two models add up to all of theirs.",
    )


def _choose_example(
    store: Store, state: PageState, found: Comparison, pair: tuple[int, int], ids: IntArray
) -> int | None:
    images = examples.images(store, _dataset_key(found))
    shown = ids[ids < len(images)]
    if state.example not in shown:
        state.example = int(shown[0]) if len(shown) else None
    chosen = gallery(
        images[shown],
        captions=[_caption(found, pair, at) for at in shown],
        marks=[_mark(found, pair, at) for at in shown],
        ids=shown.tolist(),
        selected=state.example,
        key="compare_gallery",
        height=520,
        label="Test examples on which the models disagree: choose one",
        empty="They agree on every example of this kind",
    )
    if len(shown) < len(ids):
        st.caption(
            f"{len(shown):,} of {len(ids):,}: only the first {len(images):,} test examples are kept to be shown."
        )
    dots = ", ".join(f"{named(found.styles[at])} alone is right" for at in pair)
    st.html(
        f"{CSS}<small class='kd-small'>Below each example: true class: the first model’s answer | the second’s. {dots}.</small>"
    )
    state.example = chosen if chosen is not None else state.example
    return state.example


def _said(found: Comparison, index: int, example: int) -> str:
    predicted = found.predictions[index]
    assert predicted is not None
    return found.class_names[int(predicted[example])]


def _caption(found: Comparison, pair: tuple[int, int], example: int) -> str:
    one, two = (_said(found, index, example) for index in pair)
    return f"{found.class_names[int(found.labels[example])]}: {one} | {two}"


def _mark(found: Comparison, pair: tuple[int, int], example: int) -> Mark | None:
    one, two = (bool(found.right(index)[example]) for index in pair)
    if one and not two:
        return Mark(f"only {found.styles[pair[0]].name} is right", found.styles[pair[0]].tone)
    if two and not one:
        return Mark(f"only {found.styles[pair[1]].name} is right", found.styles[pair[1]].tone)
    return None


def _answers(store: Store, found: Comparison, example: int) -> None:
    """Every model's distribution for one example, each with its most probable classes in words."""
    label = int(found.labels[example])
    names = found.class_names
    features = dataset_card(found.contenders[0].config["dataset"]).feature_names
    row = examples.in_words(store, _dataset_key(found), example, features)
    st.markdown(
        f"**Test example {example}: {as_text(names[label])}**" + (f" {as_text(row)}" if row else "")
    )
    rows: list[charts.Distribution] = []
    said: list[tuple[Style, str]] = []
    for style, logits in zip(found.styles, found.logits, strict=True):
        if logits is None:
            continue
        probabilities = softmax(logits[example])
        verdict = "right" if int(probabilities.argmax()) == label else "wrong"
        rows.append((charts.as_label(style.name), style.tone, probabilities, None))
        said.append((style, f"{verdict}: {top(names, probabilities)}"))
    lines = "".join(f"<li>{named(style)} is {html.escape(words)}</li>" for style, words in said)
    st.html(f"{CSS}<ul class='kd-answers'>{lines}</ul>")
    live_chart(
        charts.distributions(names, rows, label=label),
        key="compare_distributions",
        description="; ".join(f"{style.name} is {words}" for style, words in said),
    )


def top(class_names: Sequence[str], probabilities: np.ndarray) -> str:
    """Say the most probable classes: "7: 94 %, 1: 5 %, 9: 0.6 %"."""
    best = np.argsort(-probabilities, kind="stable")[:NAMED]
    return ", ".join(
        f"{class_names[at]}: {format_percent(float(probabilities[at]))}" for at in best
    )
