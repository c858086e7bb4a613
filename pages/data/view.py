"""Adding data: upload, check, report, store.

All state is in the address and in the store's jobs.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

import pandas as pd
import streamlit as st

from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import starting_config
from kdcore.data.check import check_name
from kdcore.data.ingest import data_payload, get_peek, get_report
from kdcore.data.readers.opening import TABLES, check_file_name
from kdcore.errors import ConfigError, StoreError
from kdcore.storage import user_data
from kdcore.storage.schema import Job, JobStatus, UserDataset
from kdcore.storage.store import Store, new_id
from kdcore.tasks import TASKS, find
from kdcore.tasks.columns import MISSING_WAYS, TEXT_WAYS
from kdcore.tasks.report import COLOURS, SCALING_WORDS, UNLABELLED_WAYS, DataOptions, Report
from kdcore.tasks.vocabulary import (
    LARGEST_LENGTH,
    LARGEST_VOCABULARY,
    LEAST_LENGTH,
    LEAST_VOCABULARY,
    PIECES,
)
from kdcore.words import ago, in_bytes
from pages.data.models import after_model_job, draw_models
from pages.data.report import show_report
from pages.shared.following import follow
from pages.shared.forms import prefill
from pages.shared.session import as_text, engine, show_error

SECONDS_BETWEEN_POLLS = 0.4
UNLABELLED_NAMES = {
    "named": "as named",
    "test": "also a test part without classes",
    "no": "nothing",
}


def draw(store: Store) -> None:
    """Draw what the address asks for: a check, a stored dataset, or how to begin."""
    st.title("Bring your own data and models", anchor=False)
    job_id, key = st.query_params.get("job"), st.query_params.get("dataset")
    try:
        if job_id is not None:
            _show_job(store, store.job(job_id))
        elif key is not None:
            _show_dataset(store, key)
        else:
            data, models = st.tabs(["Data", "Models"])
            with data:
                _begin(store)
            with models:
                draw_models(store)
    except (StoreError, ConfigError) as error:
        show_error(error)
        st.button("Back to all data", icon=":material/arrow_back:", on_click=st.query_params.clear)


# --- The beginning: upload, and what there is ---


def _begin(store: Store) -> None:
    st.markdown(
        "Drop a file: everything in it is checked before anything is stored, and you see what was found. "
        "Once stored, it can be chosen on every page, on the command line, and by workers on other machines."
    )
    left, right = st.columns([1.3, 1], gap="large")
    with left:
        turn = st.session_state.setdefault("data_turn", 0)
        file = st.file_uploader(
            "A dataset: .npz, .zip, .csv, .tsv, .txt, .data, .jsonl, .parquet",
            key=f"data_file_{turn}",
            help="Larger files, and folders of images, go in by the command line: python -m kdcore data add NAME PATH",
        )
        if file is not None and _is_readable(file.name):
            with st.spinner(f"Handing {in_bytes(file.size)} to a worker"):
                upload = user_data.put_upload(store, new_id(), file)
            st.session_state["data_turn"] = (
                turn + 1
            )  # a fresh uploader: the file need not stay in this process
            _start_check(store, upload, file.name, DataOptions())
            st.rerun()
    with right, st.container(border=True):
        st.markdown(
            "- `.npz`: `x_train`, `y_train`, `x_test`, `y_test`, or `x`, `y`, which are then divided\n"
            "- `.zip` of images or of `.txt` files in `<class>/`, or in `train/<class>/` and `test/<class>/`\n"
            "- `.csv`, `.tsv`, `.txt`, `.data` or `.parquet`: features, and a column of classes\n"
            "- Without a label: a folder `unlabelled`, an array `x_unlabelled`, rows with an empty label, or -1"
        )
    rows = user_data.versions(store)
    st.subheader("In the store", anchor=False)
    if not rows:
        st.caption(
            "Nothing yet. The built-in datasets are on the Train page; what you add joins them there."
        )
    for row in rows:
        _row(store, row)


def _is_readable(file_name: str) -> bool:
    """Whether a file's name is that of a dataset; says what to do instead where it is not."""
    try:
        check_file_name(file_name)
    except ConfigError as error:
        show_error(error)
        return False
    return True


def _row(store: Store, row: UserDataset) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if st.button(
            row.name, key=f"data_open_{row.key}", type="tertiary", icon=_icon(row.card["kind"])
        ):
            st.query_params["dataset"] = row.key
            st.rerun()
        sides = row.card["input_shape"]
        shape = f"{sides[0]} features" if len(sides) == 1 else "×".join(map(str, sides))
        without = row.card.get("unlabelled_examples", 0)
        unlabelled = f" and {without:,} without a label" if without else ""
        st.caption(
            f"{len(row.card['class_names'])} classes · {row.card['training_examples']:,} for training{unlabelled} · {shape} · "
            f"{in_bytes(row.size)} · {ago(row.created_at)}",
            width="content",
        )
        _train_button(row, f"data_train_{row.key}", "tertiary")
        st.button(
            "Remove",
            key=f"data_remove_{row.key}",
            icon=":material/delete:",
            type="tertiary",
            on_click=_remove,
            args=(store, row.key),
            help="Its data leaves the store. Experiments made with it stay, and can be opened.",
        )
    if st.session_state.pop("data_go", None) == row.key:
        st.switch_page("pages/views/train.py")


def _train_button(row: UserDataset, key: str, look: Literal["primary", "tertiary"]) -> None:
    known = row.card["kind"] in TASKS
    missing = "Its kind of data comes from a module that KD_PLUGINS names, which is not there."
    st.button(
        "Train on it",
        key=key,
        icon=":material/model_training:",
        type=look,
        on_click=_train_on,
        args=(row.key,),
        disabled=not known,
        help=None if known else missing,
    )


def _icon(kind: str) -> str:
    return TASKS[kind].icon if kind in TASKS else ":material/extension_off:"


def _remove(store: Store, key: str) -> None:
    user_data.remove(store, key)
    st.toast(f"{as_text(key)} is removed", icon=":material/delete:")


def _train_on(key: str) -> None:
    prefill(starting_config(key))
    st.session_state["data_go"] = key


# --- A check, or what came of storing ---


def _start_check(
    store: Store, upload: dict[str, Any], file_name: str, options: DataOptions
) -> None:
    _submit(store, data_payload(upload, file_name, options))


def _submit(store: Store, payload: dict[str, Any]) -> None:
    job_id = store.add_job("data", payload)
    engine().submit(job_id)
    st.query_params.from_dict({"job": job_id})


def _show_job(store: Store, job: Job) -> None:
    if job.kind not in ("data", "model"):
        raise StoreError(f"job {job.id} is not one of this page's")
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    ):
        st.subheader(as_text(job.payload["file_name"]), anchor=False)
        if JobStatus(job.status).live:
            st.button(
                "Stop",
                icon=":material/stop:",
                key="data_stop",
                on_click=engine().cancel,
                args=(job.id,),
            )
        else:
            done = job.kind == "model"
            st.button(
                "All models" if done else "Discard",
                icon=":material/arrow_back:" if done else ":material/close:",
                key="data_discard",
                on_click=_discard,
                args=(store, job),
                help="Forget this upload, and go back.",
            )
    live = JobStatus(job.status).live
    follow(_follow, SECONDS_BETWEEN_POLLS if live else None, key="data_follow")(store, job.id, live)
    if not live:
        (after_model_job if job.kind == "model" else _after)(store, job)


def _follow(store: Store, job_id: str, was_live: bool) -> None:
    if not was_live:
        return
    engine().tend()
    job = store.job(job_id)
    status = JobStatus(job.status)
    if not status.live:
        st.rerun()
    waits = (
        "Waiting for a worker"
        if status is JobStatus.QUEUED
        else f"{job.phase[:1].upper()}{job.phase[1:]}"
    )
    st.progress(job.progress, waits)


def _after(store: Store, job: Job) -> None:
    status, stored = JobStatus(job.status), job.payload["name"] is not None
    if status is JobStatus.FINISHED and stored:
        key = store.artifact(f"data_report/{job.id}/key")
        assert key is not None, "a finished job has stored something"
        st.query_params.from_dict({"dataset": key.decode(), "new": "1"})
        st.rerun()
    report = get_report(store, job.id)
    if status is JobStatus.FAILED:
        st.error(as_text(job.error or "failed"), icon=":material/error:")
    elif status is not JobStatus.FINISHED:
        st.warning(f"The check was {status.value} before its end.", icon=":material/stop_circle:")
    _choices(store, job, report)
    if report is not None:
        show_report(store, report, f"data_report/{job.id}/preview")


def _choices(store: Store, job: Job, report: Report | None) -> None:
    """Draw how the data is to be read, and the button that goes on: check again, or store."""
    before = DataOptions(**job.payload["options"])
    with st.container(border=True):
        options = _options(store, job, before, report)
        if options is None:
            return
        if options != before or report is None:
            st.button(
                "Check again",
                type="primary",
                icon=":material/fact_check:",
                key="data_check",
                on_click=_check_again,
                args=(store, job, report),
            )
            return
        for what, rule, got in report.problems:
            st.markdown(f":red[:material/error: {as_text(f'{what} must be {rule}, got {got}')}]")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            suggestion = _suggest_name(job.payload["file_name"])
            name = st.text_input(
                "Name",
                suggestion,
                key=f"data_name_{job.id}",
                max_chars=40,
                width=320,
                help="By which it is chosen: lower-case letters, digits, _ . or -",
            )
            try:
                check_name(name)
                refused = None
            except ConfigError as error:
                refused = str(error)
            st.button(
                "Store",
                type="primary",
                icon=":material/database:",
                key="data_store",
                on_click=_keep,
                disabled=bool(report.problems or refused),
                args=(store, job, report),
            )
        if refused:
            st.markdown(f":red[:material/error: {as_text(refused)}]")
        elif user_data.find(store, name) is not None:
            st.caption(
                "There is data of this name: it becomes the older version, and experiments made with it keep it."
            )


# A click comes with what the button was drawn with, which may be older than what was typed just
# before it: these two read what stands in the fields when the click arrives.


def _check_again(store: Store, job: Job, report: Report | None) -> None:
    try:
        options = _options_now(store, job, report)
    except ConfigError:  # the page says what is wrong with them
        return
    _start_check(store, job.payload["upload"], job.payload["file_name"], options)


def _keep(store: Store, job: Job, report: Report) -> None:
    try:
        options = _options_now(store, job, report)
        name = check_name(st.session_state[f"data_name_{job.id}"])
    except ConfigError:  # the page says what is wrong with them
        return
    upload, file_name = job.payload["upload"], job.payload["file_name"]
    if options != DataOptions(**job.payload["options"]):  # changed since: not what was checked
        _start_check(store, upload, file_name, options)
        return
    _submit(store, data_payload(upload, file_name, options, name))


def _options_now(store: Store, job: Job, report: Report | None) -> DataOptions:
    """Return what stands in the fields of :func:`_options`.

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


def _options(
    store: Store, job: Job, before: DataOptions, report: Report | None
) -> DataOptions | None:
    """Draw the widgets of :class:`DataOptions` that fit the file.

    None while one of them is refused.
    """
    table = job.payload["file_name"].lower().endswith(TABLES) or (
        report is not None and not find(report.kind).pictures
    )
    peek = get_peek(store, job.id)
    if peek is not None:
        _show_peek(peek, before)
    written = report is not None and find(report.kind).written
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        if peek is not None:
            _table_choices(job, before, peek, written)
        elif job.payload["file_name"].lower().endswith(TABLES):
            st.text_input(
                "Column of classes",
                before.label or "",
                key=f"data_label_{job.id}",
                width=220,
                placeholder="found by its name",
            )
        if not table:
            height, width = before.size or (report.shape[:2] if report else (None, None))
            st.number_input(
                "Height",
                4,
                512,
                height,
                key=f"data_height_{job.id}",
                width=150,
                placeholder="as it is",
            )
            st.number_input(
                "Width",
                4,
                512,
                width,
                key=f"data_width_{job.id}",
                width=150,
                placeholder="as it is",
            )
            st.selectbox(
                "Colour",
                COLOURS,
                COLOURS.index(before.colour),
                key=f"data_colour_{job.id}",
                width=150,
                help="grey: one channel; colour: three.",
            )
        if written:
            _token_choices(job, before)
        scalings = ["auto", *(("unit", "standard", "none") if table else ("unit", "none"))]
        names = {
            "auto": f"auto ({SCALING_WORDS['standard' if table else 'unit']})",
            **SCALING_WORDS,
        }
        if not written:
            st.selectbox(
                "Scaling",
                scalings,
                scalings.index(before.scaling),
                key=f"data_scaling_{job.id}",
                width=330,
                format_func=lambda name: names[name],
                help="What models see. What it learns, it learns from training data.",
            )
        if not table or written:
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
    if table and not written and (report is not None or peek is not None):
        _column_choices(job, before, report, peek)
    try:
        return _options_now(store, job, report)
    except ConfigError as error:
        show_error(error)
        return None


def _suggest_name(file_name: str) -> str:
    stem = file_name.rpartition("/")[2].rpartition(".")[0].lower()
    plain = "".join(
        sign if sign.isascii() and (sign.isalnum() or sign in "_-.") else "-" for sign in stem
    ).lstrip("_.-")
    name = plain[:40] or "mine"
    try:
        return check_name(name)
    except ConfigError:  # the name of a built-in dataset
        return f"my-{name}"[:40]


def _discard(store: Store, job: Job) -> None:
    user_data.drop_upload(store, job.payload["upload"]["upload"])
    st.query_params.clear()


# --- A stored dataset ---


def _show_dataset(store: Store, key: str) -> None:
    row = user_data.find(store, key)
    if row is None:
        raise StoreError(f"there is no dataset {key!r} in the store")
    if st.query_params.get("new"):
        st.success(
            f"Stored as **{as_text(row.key)}**. It can now be chosen on every page.",
            icon=":material/check_circle:",
        )
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    ):
        with st.container(width="content", gap=None):
            st.subheader(as_text(row.name), anchor=False)
            st.caption(f"{as_text(row.key)} · {in_bytes(row.size)} · added {ago(row.created_at)}")
        with st.container(horizontal=True, width="content", gap="small"):
            st.button(
                "All data",
                icon=":material/arrow_back:",
                key="data_back",
                on_click=st.query_params.clear,
            )
            if row.removed_at is None:
                _train_button(row, "data_train", "primary")
    if st.session_state.pop("data_go", None) == row.key:
        st.switch_page("pages/views/train.py")
    if row.removed_at is not None:
        st.warning(
            "Removed: experiments made with it can still be opened; to train on it, add it again.",
            icon=":material/delete:",
        )
    dataset_card(row.key)  # known from here on, whichever process added it
    show_report(store, Report(**row.report), f"{row.manifest['prefix']}/preview")


def _show_peek(peek: dict[str, Any], before: DataOptions) -> None:
    """Draw the first rows of a table, so that its columns can be told."""
    label = before.label or peek["label"]
    names = [
        f"{name} (classes)" if name == label else name if kind == "numbers" else f"{name} (text)"
        for name, kind in zip(peek["columns"], peek["kinds"], strict=True)
    ]
    st.caption("The first rows of the table, as they are read")
    st.dataframe(pd.DataFrame(peek["rows"], columns=names), hide_index=True, height="content")


def _token_choices(job: Job, before: DataOptions) -> None:
    """Draw how texts become tokens."""
    names = {"bpe": "parts of words", "characters": "characters"}
    st.selectbox(
        "Tokens",
        PIECES,
        PIECES.index(before.pieces),
        key=f"data_pieces_{job.id}",
        width=170,
        format_func=names.__getitem__,
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
        format_func=lambda way: "not allowed" if way == "refuse" else way,
        help="encode: a feature for each category. leave out: they are no features. not allowed: the check says where there are any.",
    )
    st.selectbox(
        "Missing values",
        MISSING_WAYS,
        MISSING_WAYS.index(before.missing),
        key=f"data_missing_{job.id}",
        width=210,
        format_func=lambda way: "not allowed" if way == "refuse" else way,
        help="What they are filled with, learnt from training data. own category: a feature says where one is missing, and numbers take the median.",
    )


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
