"""Buttons that make a file when they are pressed, on more than one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from kdcore.storage.store import Store
from kdcore.takeaway.report import MOST_EXPERIMENTS, html_report
from kdcore.takeaway.tables import ENDINGS, FORMATS, Table


def table_buttons(made: Callable[[], Table], name: str, *, key: str) -> None:
    """Buttons that download a table for a spreadsheet or a paper, made when one is pressed."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("This table as", width="content")
        for form, title in (("csv", "CSV"), ("markdown", "Markdown"), ("latex", "LaTeX")):
            st.download_button(
                title,
                partial(_rendered, made, form),
                f"{name}.{ENDINGS[form]}",
                FORMATS[form],
                key=f"{key}_{form}",
                on_click="ignore",
                type="tertiary",
                icon=":material/download:",
            )


def _rendered(made: Callable[[], Table], form: str) -> str:
    return made().render(form)


def report_button(store: Store, ids: Sequence[str], *, key: str) -> None:
    """A button that downloads the HTML report of some experiments."""
    name = ids[0] if len(ids) == 1 else f"{len(ids)}-experiments"
    fits = len(ids) <= MOST_EXPERIMENTS
    st.download_button(
        "Report",
        lambda: html_report(store, ids),
        f"report-{name}.html",
        "text/html",
        key=key,
        on_click="ignore",
        icon=":material/summarize:",
        disabled=not fits,
        help="One HTML file with curves, results and settings; opens without a network"
        if fits
        else f"At most {MOST_EXPERIMENTS} at a time.",
    )
