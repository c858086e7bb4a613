"""The Runs page from top to bottom: what was just deleted, the table, what can be done with the
chosen, the trash.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from kdcore.analysis import library
from kdcore.errors import KDLabError
from kdcore.installation import in_classroom
from kdcore.storage.disk import store_bytes
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.words import in_bytes
from pages.runs import actions as runs_actions
from pages.runs import table as runs_table
from pages.shared.following import follow
from pages.shared.session import engine, show_error
from pages.shared.terms import with_terms

SECONDS_BETWEEN_POLLS = 2.0


def draw(store: Store) -> None:
    """Draw the page."""
    engine().tend()
    if (clicked := runs_table.to_open()) is not None:
        kind, name = clicked
        page = "sweep" if kind == "sweep" else "train"
        st.switch_page(f"pages/views/{page}.py", query_params={kind: name})
    table = runs_table.listing(store)
    st.title("Your experiments" if in_classroom() else "All experiments", anchor=False)
    runs_actions.undo_bar(store)
    if table.empty:
        _nothing_yet()
    else:
        live = int(table["status"].isin([JobStatus.QUEUED, JobStatus.RUNNING]).sum())
        moving = f" · {live:,} of them live" if live else ""
        st.caption(
            f"{len(table):,} experiment{'s' if len(table) > 1 else ''}{moving} · {in_bytes(store_bytes(store))} on disk with all that is in the store"
        )
        wanted = runs_table.filters(table)
        if live:
            follow(_table, SECONDS_BETWEEN_POLLS, key="runs_follow")(store, wanted, live)
        else:
            _table(store, wanted, live)
        # Only what the filters show is acted on: a panel of a row out of sight would surprise.
        known = set(library.matching(table, **wanted)["experiment"])
        runs_actions.draw(
            store,
            table[
                table["experiment"].isin([each for each in runs_table.chosen() if each in known])
            ],
        )
    _trash(store)


def _nothing_yet() -> None:
    st.info(
        "Nothing here yet: every experiment that you train appears in a table on this page.",
        icon=":material/science:",
    )
    if st.button(
        "Set up the first experiment",
        type="primary",
        icon=":material/model_training:",
        key="runs_first",
    ):
        st.switch_page("pages/views/train.py")


def _table(store: Store, wanted: dict[str, Any], live: int) -> None:
    """The table.

    While something is live, a fragment that follows it, and the rest of the page when that changes.
    """
    table = runs_table.listing(store)
    shown = library.matching(table, **wanted)
    if shown.empty:
        st.caption(f"None of {len(table):,} experiments fits these filters.")
        st.button(
            "Show all",
            key="runs_show_all",
            icon=":material/filter_alt_off:",
            on_click=runs_table.clear_filters,
        )
        return
    runs_table.draw(shown, on_choice=lambda: st.session_state.update(runs_clicked=True))
    counted = f"{len(shown):,} of {len(table):,} fit. " if len(shown) < len(table) else ""
    st.caption(
        f"{counted}Click a row to open it; tick rows to name, compare, export or delete them. Click a column's name to sort by it. "
        + with_terms(
            "[[Gain]]: the student's accuracy minus that of its [[baseline]], with a 95 % [[interval]]."
        )
    )
    clicked = st.session_state.pop("runs_clicked", False)
    if live and (
        clicked or live != int(table["status"].isin([JobStatus.QUEUED, JobStatus.RUNNING]).sum())
    ):
        st.rerun()


def _trash(store: Store) -> None:
    deleted = runs_table.listing(store, deleted=True)
    if deleted.empty:
        return
    with st.expander(f"Trash: {len(deleted):,} deleted", icon=":material/delete:"):
        shown = runs_table.presentable(deleted).drop(columns=["star", "status"])
        picked = st.dataframe(
            shown,
            key="runs_trash",
            on_select="rerun",
            selection_mode="multi-row",
            hide_index=True,
            placeholder="–",
            column_config=runs_table.COLUMNS,
            height=runs_table.ROW_PIXELS * (min(len(shown), 6) + 1) + 3,
            alt="Deleted experiments; tick rows to restore them or to delete them for good",
        )
        rows = [row for row in picked["selection"]["rows"] if row < len(deleted)]
        meant = (
            deleted["experiment"].to_list()
            if not rows
            else deleted["experiment"].iloc[rows].to_list()
        )
        words = "all" if not rows else f"{len(rows):,} ticked"
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                f"Restore {words}",
                key="runs_restore",
                icon=":material/restore_from_trash:",
                on_click=runs_actions.restore,
                args=(store, meant),
            )
            with st.popover(f"Delete {words} for good", icon=":material/delete_forever:"):
                st.markdown(
                    "Weights, logits and curves are destroyed and their disk space is freed. **This cannot be undone.** "
                    "Models that another experiment uses are kept."
                )
                if st.button(
                    "Destroy them",
                    type="primary",
                    key="runs_purge",
                    icon=":material/delete_forever:",
                ):
                    _purge(store, meant)
        if problem := st.session_state.pop("runs_trash_problem", None):
            show_error(problem)


def _purge(store: Store, experiment_ids: list[str]) -> None:
    try:
        with st.spinner("Freeing disk space"):
            purged = library.purge(store, experiment_ids)
    except KDLabError as error:
        show_error(error)
        return
    runs_table.changed()
    st.session_state.pop("runs_trash", None)
    count = f"{purged.experiments} experiment{'' if purged.experiments == 1 else 's'}"
    st.session_state["runs_said"] = (
        f"{count} and {purged.runs} models destroyed, {in_bytes(purged.bytes)} freed"
    )
    st.rerun()
