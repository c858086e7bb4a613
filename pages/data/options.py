"""How data is to be read: the widgets that fit a file, and what stands in them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd
import streamlit as st

from kdcore.data.ingest import get_peek
from kdcore.data.readers.opening import TABLES
from kdcore.errors import ConfigError
from kdcore.storage.schema import Job
from kdcore.storage.store import Store
from kdcore.tasks import find
from kdcore.tasks.columns import MISSING_WAYS, TEXT_WAYS
from kdcore.tasks.report import COLOURS, SCALING_WORDS, UNLABELLED_WAYS, DataOptions, Report
from kdcore.tasks.vocabulary import (
    LARGEST_LENGTH,
    LARGEST_VOCABULARY,
    LEAST_LENGTH,
    LEAST_VOCABULARY,
    PIECES,
)
from pages.shared.session import show_error

UNLABELLED_NAMES = {
    "named": "as named",
    "test": "also a test part without classes",
    "no": "nothing",
}


def options_now(store: Store, job: Job, report: Report | None) -> DataOptions:
    """Return what stands in the fields of :func:`draw_options`.

    Raises ConfigError where that is refused.
    """
    values = asdict(DataOptions(**job.payload["options"]))

    def field(name: str) -> Any:
        return st.session_state.get(f"data_{name}_{job.id}")

    if f"data_label_{job.id}" in st.session_state:
        chosen = field("label") or None
        told = values["label"] is None and chosen == (get_peek(store, job.id) or {}).get("label")
        values["label"] = None if told else chosen  # what its name tells need not be said
    for name in ("text", "missing", "text_column", "pieces", "vocabulary", "length", "unlabelled"):
        if f"data_{name}_{job.id}" in st.session_state:
            values[name] = field(name)
    for name in ("keep", "drop"):
        if f"data_columns_to_{name}_{job.id}" in st.session_state:
            values[name] = tuple(field(f"columns_to_{name}"))
    if f"data_height_{job.id}" in st.session_state:
        high, wide = field("height"), field("width")
        chosen = (int(high), int(wide)) if high and wide else None
        as_reported = (
            report is not None and chosen == tuple(report.shape[:2]) and values["size"] is None
        )
        values["size"] = None if as_reported else chosen
    for name, key in (
        ("colour", "colour"),
        ("scaling", "scaling"),
        ("skip_corrupt", "skip"),
        ("drop_duplicates", "drop"),
    ):
        if f"data_{key}_{job.id}" in st.session_state:
            values[name] = field(key)
    return DataOptions(**values)


def draw_options(
    store: Store, job: Job, before: DataOptions, report: Report | None
) -> DataOptions | None:
    """Draw the widgets of :class:`DataOptions` that fit the file.

    None while one of them is refused.
    """
    is_table = job.payload["file_name"].lower().endswith(TABLES)
    peek = get_peek(store, job.id)
    if peek is not None:
        _show_peek(peek, before)
    table = is_table or (report is not None and not find(report.kind).pictures)
    written = report is not None and find(report.kind).written
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        if peek is not None:
            _table_choices(job, before, peek, written)
        elif is_table:
            st.text_input(
                "Column of classes",
                before.label or "",
                key=f"data_label_{job.id}",
                width=220,
                placeholder="found by its name",
            )
        if not table:
            _image_choices(job, before, report)
        if written:
            _token_choices(job, before)
        else:
            _scaling_choice(job, before, table)
        _choices_of_examples(job, before, may_be_corrupt=not table or written)
    if table and not written and (report is not None or peek is not None):
        _column_choices(job, before, report, peek)
    try:
        return options_now(store, job, report)
    except ConfigError as error:
        show_error(error)
        return None


def _show_peek(peek: dict[str, Any], before: DataOptions) -> None:
    """Draw the first rows of a table, so that its columns can be told."""
    label = before.label or peek["label"]
    names = [
        f"{name} (classes)" if name == label else name if kind == "numbers" else f"{name} (text)"
        for name, kind in zip(peek["columns"], peek["kinds"], strict=True)
    ]
    st.caption("The first rows of the table, as they are read")
    st.dataframe(pd.DataFrame(peek["rows"], columns=names), hide_index=True, height="content")


def _table_choices(job: Job, before: DataOptions, peek: dict[str, Any], written: bool) -> None:
    """Draw which column holds the classes, and what becomes of text and of missing values."""
    columns = peek["columns"]
    label = before.label or peek["label"]
    st.selectbox(
        "Column of classes",
        columns,
        columns.index(label) if label in columns else None,
        key=f"data_label_{job.id}",
        width=220,
        placeholder="Pick it",
        help="What the models will learn to tell.",
    )
    st.selectbox(
        "Texts to learn",
        columns,
        columns.index(before.text_column) if before.text_column in columns else None,
        key=f"data_text_column_{job.id}",
        width=220,
        placeholder="found by what is in it",
        help="The column that holds texts, where the words themselves are to be learnt.",
    )
    if written:
        return
    st.selectbox(
        "Columns of text",
        TEXT_WAYS,
        TEXT_WAYS.index(before.text),
        key=f"data_text_{job.id}",
        width=210,
        format_func=_way_in_words,
        help="encode: a feature for each category. leave out: they are no features. not allowed: the check says where there are any.",
    )
    st.selectbox(
        "Missing values",
        MISSING_WAYS,
        MISSING_WAYS.index(before.missing),
        key=f"data_missing_{job.id}",
        width=210,
        format_func=_way_in_words,
        help="What they are filled with, learnt from training data. own category: a feature says where one is missing, and numbers take the median.",
    )


def _way_in_words(way: str) -> str:
    return "not allowed" if way == "refuse" else way


def _column_choices(
    job: Job, before: DataOptions, report: Report | None, peek: dict[str, Any] | None
) -> None:
    """Draw which columns of a table are features: those left out can be kept, others left out."""
    if report is not None:
        known = [column["name"] for column in report.columns] or report.feature_names
    else:
        label = before.label or (peek["label"] if peek else None)
        known = [name for name in peek["columns"] if name != label] if peek else []
    features = [name for name in known if name not in before.keep]
    left, right = st.columns(2)
    with left:
        st.multiselect(
            "Leave out columns",
            [*features, *(name for name in before.drop if name not in features)],
            list(before.drop),
            key=f"data_columns_to_drop_{job.id}",
            help="What is known only once the answer is known must not be a feature.",
        )
    ignored = report.ignored if report is not None else []
    doubtful = [*before.keep, *(name for name in ignored if name not in before.keep)]
    if doubtful:
        with right:
            st.multiselect(
                "Keep although they look like row numbers or the answer",
                doubtful,
                list(before.keep),
                key=f"data_columns_to_keep_{job.id}",
                help="They were left out; the report says why.",
            )


def _image_choices(job: Job, before: DataOptions, report: Report | None) -> None:
    """Draw how large images become, and in how many channels."""
    height, width = before.size or (report.shape[:2] if report else (None, None))
    for title, name, side in (("Height", "height", height), ("Width", "width", width)):
        st.number_input(
            title, 4, 512, side, key=f"data_{name}_{job.id}", width=150, placeholder="as it is"
        )
    st.selectbox(
        "Colour",
        COLOURS,
        COLOURS.index(before.colour),
        key=f"data_colour_{job.id}",
        width=150,
        help="grey: one channel; colour: three.",
    )


def _scaling_choice(job: Job, before: DataOptions, table: bool) -> None:
    ways = ["auto", *(("unit", "standard", "none") if table else ("unit", "none"))]
    names = {"auto": f"auto ({SCALING_WORDS['standard' if table else 'unit']})", **SCALING_WORDS}
    st.selectbox(
        "Scaling",
        ways,
        ways.index(before.scaling),
        key=f"data_scaling_{job.id}",
        width=330,
        format_func=lambda name: names[name],
        help="What models see. What it learns, it learns from training data.",
    )


def _choices_of_examples(job: Job, before: DataOptions, may_be_corrupt: bool) -> None:
    """Draw which examples are left out, and which have no label."""
    if may_be_corrupt:
        st.toggle(
            "Skip corrupt files",
            before.skip_corrupt,
            key=f"data_skip_{job.id}",
            help="Leave out what cannot be read.",
        )
    st.selectbox(
        "Without a label",
        UNLABELLED_WAYS,
        UNLABELLED_WAYS.index(before.unlabelled),
        key=f"data_unlabelled_{job.id}",
        width=230,
        format_func=UNLABELLED_NAMES.__getitem__,
        help="Such examples join the training part for teachers to answer. As named: a folder unlabelled, an array "
        "x_unlabelled, an empty label, and -1 beside 0, 1, ...",
    )
    st.toggle(
        "Drop duplicates",
        before.drop_duplicates,
        key=f"data_drop_{job.id}",
        help="Leave out training examples that are in the test part too, and repeats.",
    )


def _token_choices(job: Job, before: DataOptions) -> None:
    """Draw how texts become tokens."""
    st.selectbox(
        "Tokens",
        list(PIECES),
        list(PIECES).index(before.pieces),
        key=f"data_pieces_{job.id}",
        width=170,
        format_func=PIECES.__getitem__,
        help="What texts are cut into; which parts of words there are is learnt from training data.",
    )
    st.number_input(
        "Most different tokens",
        LEAST_VOCABULARY,
        LARGEST_VOCABULARY,
        before.vocabulary,
        key=f"data_vocabulary_{job.id}",
        width=190,
    )
    st.number_input(
        "Tokens of a text",
        LEAST_LENGTH,
        LARGEST_LENGTH,
        before.length,
        key=f"data_length_{job.id}",
        width=170,
        help="Longer texts lose their end.",
    )
