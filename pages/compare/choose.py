"""Choosing what to compare: a table of everything in the store, filtered, sorted and ticked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from kdcore.analysis.contenders import (
    MOST,
    MOST_RANKED,
    Contender,
    differing_settings,
    run_table,
    sweeps_of,
    sweeps_to_compare,
)
from kdcore.config.catalog import dataset_card, short_name
from kdcore.config.experiment import all_settings
from kdcore.errors import ConfigError
from kdcore.palette import ROLES, TONES, Style
from kdcore.storage.store import Store
from pages.compare.state import PageState
from pages.shared.session import as_text

ROWS_IN_SIGHT = 8
ROW_PIXELS = 35


def chips(
    store: Store, state: PageState, contenders: Sequence[Contender], named: Sequence[Style]
) -> None:
    """Show what is chosen, in its colour, each with a way out, and the button that opens the table.

    Where models are only ranked, those of one sweep are one group.
    """
    rules = []
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        groups = _groups(store, contenders)
        for sweep, (name, members) in groups.items():
            st.button(
                as_text(f"{name}: {len(members)} cells"),
                icon=":material/close:",
                icon_position="right",
                key=f"compare_group_{sweep}",
                on_click=_drop,
                args=(state, [each.id for each in contenders], *members),
                help="Take the whole sweep out of the comparison",
            )
        grouped = {each for _, members in groups.values() for each in members}
        for at, (contender, style) in enumerate(zip(contenders, named, strict=True)):
            if contender.id in grouped:
                continue
            st.button(
                as_text(style.name),
                icon=":material/close:",
                icon_position="right",
                key=f"compare_chip_{at}",
                on_click=_drop,
                args=(state, [each.id for each in contenders], contender.id),
                help="Take it out of the comparison",
            )
            tone = TONES[style.tone]
            rules.append(
                f".st-key-compare_chip_{at} button {{ border-left: 0.45rem {_border(style)} "
                f"light-dark({tone.light}, {tone.dark}); }}"
            )
        st.button(
            "Hide the table" if state.choosing else "Choose models",
            key="compare_choose",
            on_click=_toggle,
            args=(state,),
            icon=":material/expand_less:" if state.choosing else ":material/checklist:",
            type="tertiary",
            help=f"Any models that have the same test data: 2 to {MOST} side by side, up to {MOST_RANKED} ranked",
        )
    st.html(f"<style>{''.join(rules)}</style>")


def _border(style: Style) -> str:
    return "double" if style.dash != "solid" else "solid"


def _groups(store: Store, contenders: Sequence[Contender]) -> dict[str, tuple[str, list[str]]]:
    """Return the sweeps of which several models are chosen, where there are too many to stand side
    by side: name and contenders' ids of each.
    """
    if len(contenders) <= MOST:
        return {}
    sweeps = sweeps_of(store, [each.experiment.id for each in contenders])
    groups: dict[str, tuple[str, list[str]]] = {}
    for contender in contenders:
        if contender.experiment.id in sweeps:
            sweep, name = sweeps[contender.experiment.id]
            groups.setdefault(sweep, (name, []))[1].append(contender.id)
    return {sweep: group for sweep, group in groups.items() if len(group[1]) > 1}


def _drop(state: PageState, present: Sequence[str], *out: str) -> None:
    state.choose(tuple(each for each in present if each not in out))


def _toggle(state: PageState) -> None:
    state.choosing = not state.choosing


def choose(store: Store, state: PageState, chosen: Sequence[str]) -> None:
    """Draw the table with its filters; a tick adds a model to the comparison, at the end.

    ``chosen`` are the contenders' own ids: an experiment's id in an address stands for all its
    roles.
    """
    with st.container(border=True):
        _filters(state)
        _whole_sweep(store, state, chosen)
        table = run_table(store, by_seed=state.by_seed)
        shown = _filtered(table)
        if shown.empty:
            st.caption("No model fits these filters." if len(table) else "Nothing is trained yet.")
            return
        ids = shown["id"].tolist()
        st.session_state["compare_table"] = {
            "selection": {"rows": [ids.index(each) for each in chosen if each in ids]}
        }

        def ticked() -> None:
            rows = st.session_state["compare_table"]["selection"]["rows"]
            now = [ids[row] for row in rows if row < len(ids)]
            kept = [each for each in chosen if each not in ids or each in now]
            state.choose((*kept, *(each for each in now if each not in kept)))

        frame, columns = _presentable(shown)
        st.dataframe(
            frame,
            key="compare_table",
            on_select=ticked,
            selection_mode="multi-row",
            hide_index=True,
            column_config=columns,
            height=ROW_PIXELS * (min(len(frame), ROWS_IN_SIGHT) + 1) + 3,
            placeholder="–",
            alt="All models in the store; tick two or more to compare them",
        )
        st.caption(
            f"{_counted(shown, table)} Tick 2 to {MOST} of them to see them side by side, or up to {MOST_RANKED} for a ranking. Click a column's name to sort by it."
        )


def _whole_sweep(store: Store, state: PageState, chosen: Sequence[str]) -> None:
    """Offer to add the finished cells of a sweep at once."""
    sweeps = sweeps_to_compare(store)
    if not sweeps:
        return

    def add() -> None:
        sweep = st.session_state["compare_whole_sweep"]
        st.session_state["compare_whole_sweep"] = None
        if sweep is not None:
            state.choose((*chosen, sweep))

    st.selectbox(
        "Add a whole sweep",
        list(sweeps),
        index=None,
        key="compare_whole_sweep",
        format_func=lambda sweep: as_text(sweeps[sweep]),
        placeholder="the students of its finished cells",
        width=360,
        on_change=add,
    )


def _counted(shown: pd.DataFrame, table: pd.DataFrame) -> str:
    if len(shown) == len(table):
        return f"{len(table):,} models."
    return f"{len(shown):,} of {len(table):,} models."


def _filters(state: PageState) -> None:
    def one_by_one() -> None:
        state.by_seed = st.session_state["compare_by_seed"]

    st.session_state["compare_by_seed"] = state.by_seed
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Filter",
            key="compare_filter",
            placeholder="name, model, id, status …",
            width=260,
            persist_state="page",
            help="Shows rows that contain every word.",
        )
        st.pills(
            "Roles",
            ROLES,
            selection_mode="multi",
            key="compare_roles",
            persist_state="page",
            help="None chosen: all of them.",
        )
        st.toggle(
            "Starred only",
            key="compare_starred",
            persist_state="page",
            help="Those that you starred.",
        )
        st.toggle(
            "Each seed by itself",
            key="compare_by_seed",
            on_change=one_by_one,
            help="Off: a row stands for all seeds of an experiment's student or baseline.",
        )


def _filtered(table: pd.DataFrame) -> pd.DataFrame:
    keep = pd.Series(True, index=table.index)
    if roles := st.session_state.get("compare_roles"):
        keep &= table["role"].isin(roles)
    if st.session_state.get("compare_starred"):
        keep &= table["starred"].astype(bool)
    if words := str(st.session_state.get("compare_filter") or "").lower().split():
        texts = (
            table[["id", "name", "role", "model", "status", "dataset"]]
            .astype(str)
            .agg(" ".join, axis=1)
            .str.lower()
        )
        for word in words:
            keep &= texts.str.contains(word, regex=False)
    return table[keep]


def _presentable(shown: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the columns to show and how: what every model has, then the settings in which these
    rows differ.
    """
    frame = pd.DataFrame(
        {
            "Role": shown["role"],
            "Model": shown["model"],
            "Test accuracy": shown["accuracy"],
            "Seeds": shown["seeds"],
            "Parameters": shown["parameters"].where(shown["parameters"] > 0),
            "Status": shown["status"],
        }
    )
    if (shown["step"] != shown["role"]).any():  # "generation 1" beside "student"
        frame.insert(1, "Step", shown["step"])
    if (shown["name"] != "").any():
        frame.insert(0, "Name", shown["name"])
    if shown["starred"].any():
        frame.insert(0, "★", shown["starred"].map({True: "★", False: ""}))
    columns: dict[str, Any] = {
        "Test accuracy": st.column_config.NumberColumn(
            format="percent", help="Mean over seeds; none for cells of a sweep without a winner"
        ),
        "Parameters": st.column_config.NumberColumn(format="localized"),
    }
    for name in differing_settings(shown):
        title = all_settings()[name].title or name
        frame[title] = _setting(shown, name)
        columns[title] = st.column_config.Column(help=all_settings()[name].description)
    frame["Created"] = pd.to_datetime(shown["created_at"], unit="s", utc=True)
    columns["Created"] = st.column_config.DatetimeColumn(format="distance")
    frame["Experiment"] = shown["experiment"]
    return frame.reset_index(drop=True), columns


def _setting(shown: pd.DataFrame, name: str) -> pd.Series:
    """A setting's column.

    Where "all" is meant, the number of examples that this is, so that the column sorts.
    """
    if name == "dataset":
        return shown[name].map(short_name)
    if name not in ("labels", "training_examples"):
        return shown[name]
    available = shown["dataset"].map(
        {key: _training_examples(key) for key in shown["dataset"].unique()}
    )
    given = pd.to_numeric(shown["training_examples"]).fillna(available)
    if name == "labels":
        given = pd.to_numeric(shown["labels"]).fillna(given).where(shown["role"] != "teacher")
    return given


def _training_examples(dataset: str) -> int | None:
    try:
        return dataset_card(dataset).training_examples
    except ConfigError:  # it has left the catalog since
        return None


def newest(store: Store, rather: str | None = None) -> tuple[str, ...]:
    """Return what to compare before anybody has chosen: the roles of the experiment that one would
    ``rather`` see, or of the newest, that share its test data.
    """
    table = run_table(store)
    trained = table[table["accuracy"].notna()]
    trained = trained.sort_values("experiment", key=lambda ids: ids != rather, kind="stable")
    for _, rows in trained.groupby("experiment", sort=False):
        if {"student", "baseline"} <= set(rows["role"]):
            first = rows.iloc[0]
            return tuple(f"{first['experiment']}:{role}" for role in ROLES)
    return ()
