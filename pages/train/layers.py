"""On the Train page, before Train is pressed: which layers a method on features compares, and which
of its teacher's layers a student starts from.
"""

from __future__ import annotations

import streamlit as st

from kdcore.analysis.layer_pairs import OF_NETWORKS, LayerPairs, get_layer_pairs
from kdcore.analysis.layer_starts import layer_starts
from kdcore.charts.layer_pairs import draw_layer_pairs
from kdcore.charts.layer_starts import draw_layer_starts
from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from pages.shared.following import follow
from pages.shared.forms import TRAIN_PREFIX, ConfigForm
from pages.shared.live_chart import live_chart
from pages.shared.session import as_text, engine
from pages.train.asked import Question

ASKED = Question("layer_pairs")
# In the session: the layers that were found last, and for which networks.
FOUND = "train_layers_found"
# There: whether pairs were chosen here, so that the form above has to be drawn anew.
CHANGED = "train_layers_changed"


def draw(store: Store, config: ExperimentConfig | None) -> None:
    """Draw the section for methods on features; nothing for others."""
    if config is None or config.method.needs.teacher != "features":
        return
    if get_layer_pairs(store, config) is None and not ASKED.has_come_to_something(store, config):
        ASKED.ask_about(store, config)  # what it costs is said before Train, unasked
    with st.expander("Which layers are compared?", icon=":material/polyline:", expanded=True):
        follow(_draw, lambda: ASKED.pause(store, config), key="train_layers_follow")(store, config)


def draw_starts(config: ExperimentConfig | None) -> None:
    """Draw which layers of its teacher the student starts from; nothing where from none."""
    found = None if config is None else layer_starts(config)
    if found is None:
        return
    with st.expander("Where does the student start?", icon=":material/move_down:", expanded=True):
        figure = draw_layer_starts(found)
        live_chart(figure, key="train_layer_starts", description=f"The student: {found.words}")
        st.caption("To start from others, write their numbers into Layers to start from.")


def _draw(store: Store, config: ExperimentConfig) -> None:
    if st.session_state.pop(CHANGED, False):
        st.rerun()
    found = get_layer_pairs(store, config)
    if found is not None:
        joined = "; ".join(
            f"{found.teacher[pair.teacher].words} with {found.student[pair.student].words}"
            for pair in found.pairs
        )
        live_chart(draw_layer_pairs(found), key="train_layer_pairs", description=f"Pairs: {joined}")
        st.caption(found.cost(config))
        st.session_state[FOUND] = (_networks(config), found)
        named = [
            (found.teacher[pair.teacher].name, found.student[pair.student].name)
            for pair in found.pairs
        ]
        _choose_pairs(store, found, named, automatic=not config.method.named_pairs())
        return
    job = ASKED.job(store, config)
    if job is not None and JobStatus(job.status).live:
        engine().tend()
        st.caption(":material/hourglass: A worker builds both networks…")
        return
    refused = job is not None and bool(job.error)
    if job is not None and refused:
        st.error(as_text(job.error or ""), icon=":material/error:")
    networks, known = st.session_state.get(FOUND, (None, None))
    if known is not None and networks == _networks(config) and config.method.named_pairs():
        _choose_pairs(store, known, config.method.named_pairs(), automatic=False)
    elif refused:
        st.button("Look again", key="train_layers_look", on_click=ASKED.ask, args=(store,))


def _networks(config: ExperimentConfig) -> tuple[str, ...]:
    return tuple(str(getattr(config, name)) for name in OF_NETWORKS)


def _choose_pairs(
    store: Store, found: LayerPairs, pairs: list[tuple[str, str]], *, automatic: bool
) -> None:
    """Let the layers of each pair be chosen; what is chosen stands in the form's field as well."""
    form = ConfigForm(TRAIN_PREFIX, ExperimentConfig())
    titles = {
        role: {each.name: each.words for each in getattr(found, role)}
        for role in ("teacher", "student")
    }

    def pair(chosen: list[tuple[str, str]]) -> None:
        form.fill({"layers": ",".join(":".join(each) for each in chosen) or "automatic"})
        st.session_state[CHANGED] = True
        ASKED.ask(store)

    def change(place: int, role: str, key: str) -> None:
        teacher, student = pairs[place]
        layer = st.session_state[key]
        pairs[place] = (layer, student) if role == "teacher" else (teacher, layer)
        pair(pairs)

    as_written = "_".join(":".join(each) for each in pairs)
    for place, names in enumerate(pairs):
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            for role, name in zip(("teacher", "student"), names, strict=True):
                options = list(titles[role])
                key = f"train_pair_{place}_{role}_{as_written}"
                st.selectbox(
                    f"Pair {place + 1}, {role}'s layer",
                    options,
                    options.index(name) if name in options else 0,
                    key=key,
                    format_func=titles[role].__getitem__,
                    on_change=change,
                    args=(place, role, key),
                )
            st.button(
                "Remove",
                key=f"train_pair_{place}_remove",
                icon=":material/close:",
                disabled=len(pairs) == 1,
                on_click=pair,
                args=([each for each in pairs if each is not pairs[place]],),
            )
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Add a pair",
            key="train_pair_add",
            icon=":material/add:",
            on_click=pair,
            args=([*pairs, _another(found, pairs)],),
        )
        st.button(
            "Back to automatic",
            key="train_pair_automatic",
            icon=":material/auto_awesome:",
            disabled=automatic,
            on_click=pair,
            args=([],),
        )


def _another(found: LayerPairs, pairs: list[tuple[str, str]]) -> tuple[str, str]:
    """Return two layers of one size that are no pair yet, of one name if there are such; the last
    pair once more where there are none.
    """
    fitting = [
        (one.name, other.name)
        for one in found.teacher
        for other in found.student
        if one.shape[:-1] == other.shape[:-1] and (one.name, other.name) not in pairs
    ]
    alike = [pair for pair in fitting if pair[0] == pair[1]]
    return next(iter([*alike, *fitting]), pairs[-1])
