"""On an experiment: where its models look in the chosen example, epoch by epoch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from kdcore.analysis.attention import ALL_TOKENS, AttentionMaps, latest_attention
from kdcore.analysis.occlusion import parts_of
from kdcore.analysis.results import Results, examples
from kdcore.config.catalog import short_name
from kdcore.palette import ROLES
from kdcore.storage.store import Store
from kdcore.tasks.vocabulary import Vocabulary
from pages.shared.attention_tiles import AttentionTile, draw_attention, tiles_of
from pages.shared.coloured_text import CSS, by_attention, coloured_text
from pages.shared.experiment_charts import Replayed
from pages.shared.live_view import Look
from pages.shared.terms import with_terms

IN_PICTURES = (
    "The more colour, the more it looks there, each picture up to its own strongest place. Of a transformer it is the "
    "[[attention]] of its tokens through all layers (rollout), of a convolutional network its [[attention map]]. For "
    "the example chosen above, at the latest kept moment up to the chosen epoch."
)
IN_HEADS = (
    "The more colour, the more it looks there, each picture up to its own strongest place. The [[attention]] of each "
    "head of this layer alone; a convolutional network has none. For the example chosen above, at the latest kept "
    "moment up to the chosen epoch."
)
IN_PAIRS = (
    "The more colour, the stronger the feature maps are there (mean over channels of F²), each picture up to its own "
    "strongest place: these are the layers that the method compares; the baseline's is the student's, untaught. For the "
    "example chosen above, at the latest kept moment up to the chosen epoch."
)
IN_TEXTS = (
    "The more colour, the more a model reads there, from its least read part to its most read; the shares may lie close, "
    "and each part says its own. It is the [[attention]] through all layers, mean over all tokens. For the text chosen "
    "above, at the latest kept moment up to the chosen epoch."
)
ALL_LAYERS = "All layers together"
LAST_MAPS = "The last maps"


class _Looking(NamedTuple):
    role: str
    title: str
    maps: AttentionMaps


def draw(store: Store, look: Look, replayed: Replayed | None) -> None:
    """Draw the section, where maps of at least one model are kept."""
    if replayed is None:
        return
    found = look.once(
        ("attention", replayed.epoch), lambda: _looking(store, look.results, replayed)
    )
    if not found:
        return
    key = look.results.experiment.dataset_key or ""
    shown = examples(store, key, "probe")
    st.markdown("**Where they look**")
    if ALL_TOKENS in found[0].maps.maps:
        _in_text(store, look, key, str(shown["images"][replayed.example]), found, replayed.example)
        return
    if (pair := _pair(found)) is not None:
        tiles = [
            AttentionTile(each.role, each.title, name, each.maps.layers[title][replayed.example])
            for each in found
            for title, name in [_own_layer(each.role, pair)]
            if title in each.maps.layers
        ]
        draw_attention(shown["images"][replayed.example], tiles)
        st.caption(with_terms(IN_PAIRS))
        return
    layer = _layer(found)
    tiles = [
        tile
        for each in found
        for tile in tiles_of(each.role, each.title, each.maps, replayed.example, layer)
    ]
    draw_attention(shown["images"][replayed.example], tiles)
    if layer is not None and (
        without := {each.title for each in found} - {tile.title for tile in tiles}
    ):
        st.caption(f"No such layer: {', '.join(sorted(without))}.")
    st.caption(with_terms(IN_PICTURES if layer is None else IN_HEADS))
    _likeness(found)


def _looking(store: Store, results: Results, replayed: Replayed) -> list[_Looking]:
    """Return the maps of each role after the chosen epoch: the teacher's last, and those of student
    and baseline of the latest seed.
    """
    found = []
    seed = max((run.seed for run in results.runs("student")), default=results.config.seed)
    for role in ROLES:
        runs = results.runs(role)
        run = next((each for each in runs if each.seed == seed), runs[0] if runs else None)
        if run is None:
            continue
        latest = latest_attention(store, run.id, None if role == "teacher" else replayed.epoch)
        if latest is not None and latest[1].maps:
            after, maps = latest
            trained = role == "teacher" and run.finished_at is not None
            when = "" if trained else f", after epoch {after}"
            if role != "teacher" and results.config.seeds > 1:
                when = f", seed {run.seed}{when}"
            found.append(_Looking(role, f"{role.capitalize()} {short_name(run.model)}{when}", maps))
    return found


def _pair(found: list[_Looking]) -> str | None:
    """Choose a pair of layers that the method compares, "teacher's layer:student's"; None for the
    last maps, and where no pairs are kept.
    """
    pairs = list(next((each.maps.layers for each in found if each.role == "student"), {}))
    if not pairs:
        return None
    chosen = st.segmented_control(
        "Feature maps",
        [*pairs, LAST_MAPS],
        default=pairs[0],
        required=True,
        key=f"train_maps_{'_'.join(pairs)}",
        format_func=lambda name: name.replace(":", " with ") if name in pairs else name,
        label_visibility="collapsed",
    )
    return None if chosen == LAST_MAPS else chosen


def _own_layer(role: str, pair: str) -> tuple[str, str]:
    """Return under which name a role's map of a pair is kept, and its layer's."""
    of_teacher, _, of_student = pair.partition(":")
    return (of_teacher, of_teacher) if role == "teacher" else (pair, of_student)


def _layer(found: list[_Looking]) -> int | None:
    """Choose all layers together, or one, whose heads are shown each; None for all."""
    layers = max(
        (heads.shape[1] for each in found for heads in each.maps.heads.values()), default=0
    )
    if not layers:
        return None
    chosen = st.segmented_control(
        "Layers of transformers",
        [ALL_LAYERS, *(f"Layer {number + 1}" for number in range(layers))],
        default=ALL_LAYERS,
        required=True,
        key=f"train_layers_{layers}",
        label_visibility="collapsed",
    )
    return None if chosen == ALL_LAYERS else int(str(chosen).removeprefix("Layer ")) - 1


def _likeness(found: list[_Looking]) -> None:
    known = {each.role: each.maps.likeness for each in found if each.maps.likeness is not None}
    if not known:
        return
    lines = "; ".join(f"{role}: {_layer_by_layer(likeness)}" for role, likeness in known.items())
    examples_seen = len(next(iter(known.values())))
    st.caption(
        with_terms(
            "How alike [[class token]] and [[distillation token]] are, their [[cosine|cosine similarity]] (1: the same "
            f"direction), mean over {examples_seen} validation examples. {lines}. In DeiT's paper 0.06 at the input and "
            "0.93 at the end."
        )
    )


def _layer_by_layer(likeness: NDArray[np.float32]) -> str:
    first, *later = np.mean(likeness, axis=0)
    layers = ", ".join(f"{value:.2f}" for value in later)
    return f"{first:.2f} at the input, {layers} after each layer"


def _in_text(
    store: Store, look: Look, key: str, text: str, found: list[_Looking], index: int
) -> None:
    definition = look.once("vocabulary", lambda: store.artifact(f"examples/{key}/vocabulary"))
    if definition is None:
        return
    vocabulary = Vocabulary(definition.decode())
    parts = parts_of(text, vocabulary)
    lines = [
        coloured_text(
            each.title,
            text,
            by_attention(each.role, text, parts, vocabulary, each.maps.maps[ALL_TOKENS][index]),
        )
        for each in found
    ]
    st.html(CSS + "".join(lines))
    st.caption(with_terms(IN_TEXTS))
