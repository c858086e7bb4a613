"""Adding data: upload, check, report, store.

All state is in the address and in the store's jobs.
"""

from __future__ import annotations

from typing import Any, Literal

import streamlit as st

from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import starting_config
from kdcore.data.check import check_name
from kdcore.data.ingest import data_payload, get_report
from kdcore.data.readers.opening import check_file_name
from kdcore.errors import ConfigError, StoreError
from kdcore.storage import user_data
from kdcore.storage.schema import Job, JobStatus, UserDataset
from kdcore.storage.store import Store, new_id
from kdcore.tasks import TASKS
from kdcore.tasks.report import DataOptions, Report
from kdcore.words import ago, in_bytes
from pages.data.models import after_model_job, draw_models
from pages.data.options import draw_options, options_now
from pages.data.report import show_report
from pages.shared.following import follow
from pages.shared.forms import prefill
from pages.shared.session import as_text, engine, show_error

SECONDS_BETWEEN_POLLS = 0.4


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
        options = draw_options(store, job, before, report)
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
        options = options_now(store, job, report)
    except ConfigError:  # the page says what is wrong with them
        return
    _start_check(store, job.payload["upload"], job.payload["file_name"], options)


def _keep(store: Store, job: Job, report: Report) -> None:
    try:
        options = options_now(store, job, report)
        name = check_name(st.session_state[f"data_name_{job.id}"])
    except ConfigError:  # the page says what is wrong with them
        return
    upload, file_name = job.payload["upload"], job.payload["file_name"]
    if options != DataOptions(**job.payload["options"]):  # changed since: not what was checked
        _start_check(store, upload, file_name, options)
        return
    _submit(store, data_payload(upload, file_name, options, name))


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
