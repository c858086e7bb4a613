"""Adding models: a ``.keras`` file goes to a worker, which finds out what it is.

What there is, is listed.
"""

from __future__ import annotations

import streamlit as st

from kdcore.analysis.brought_teacher import looks
from kdcore.config import pretrained
from kdcore.config.catalog import datasets, short_name
from kdcore.config.families import APPLICATIONS
from kdcore.errors import ConfigError, StoreError
from kdcore.storage import user_data, user_models
from kdcore.storage.schema import Job, JobStatus, UserModel
from kdcore.storage.store import Store, new_id
from kdcore.storage.user_models import INPUTS
from kdcore.words import ago, in_bytes
from pages.shared.session import as_text, engine, show_error


def draw_models(store: Store) -> None:
    """Draw the upload of a model, and the models in the store."""
    st.markdown(
        "A model that you trained can be the **teacher**, used as it is; or lend its architecture to the **student**. "
        "Save it with `model.save('name.keras')`, from any version of Keras 3. An **ONNX file**, from PyTorch, "
        "scikit-learn, XGBoost or others, can be a teacher; so can a **file of answers** to a dataset's examples (CSV, "
        "Parquet, npz), of a model behind an API say."
    )
    left, right = st.columns([1.3, 1], gap="large")
    with left:
        _upload(store)
    with right, st.container(border=True):
        names = ", ".join(f"`app-{slug}`" for slug in APPLICATIONS)
        st.markdown(
            "Networks of `keras.applications` need no file: on the Train page, type a name as teacher or student. "
            f"{names}; with `-imagenet` at the end they start from ImageNet weights, which are downloaded once."
        )
        here = ", ".join(f"`{name}`" for name in _pretrained_here())
        st.markdown(
            "So do networks that **KerasHub** has pretrained, for images and texts: `hub-` and the name there, such as "
            "`hub-distil_bert_base_en_uncased`. They are downloaded once; a folder of that name in `presets` in "
            f"`KD_DATA_DIR` comes first. On this machine: {here or 'none'}."
        )
    st.subheader("In the store", anchor=False)
    rows = user_data.versions(store, table=UserModel)
    if not rows:
        st.caption("No models yet. What you add can be chosen on the Train page.")
    for row in rows:
        _row(store, row)


def _pretrained_here() -> list[str]:
    return [*pretrained.at_hand(pretrained.IMAGES), *pretrained.at_hand(pretrained.TEXTS)]


def _upload(store: Store) -> None:
    turn = st.session_state.setdefault("data_model_turn", 0)
    file = st.file_uploader(
        f"A model: {', '.join(user_models.FILES)}",
        key=f"data_model_file_{turn}",
        help="Loaded in a worker only, in Keras' safe mode or by onnxruntime. Lambda layers, own classes and own "
        "operators are refused.",
    )
    if file is None:
        return
    try:
        user_models.check_file_name(file.name)
    except ConfigError as error:
        show_error(error)
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        asked = _ask_about(file.name)
        refused = _refusal(file.name, asked)
        pressed = st.button(
            "Take it in",
            type="primary",
            icon=":material/database:",
            key="data_model_add",
            disabled=bool(refused),
        )
    if refused:
        st.markdown(f":red[:material/error: {as_text(refused)}]")
    if pressed and not refused:
        with st.spinner(f"Handing {in_bytes(file.size)} to a worker"):
            upload = user_data.put_upload(store, new_id(), file)
        st.session_state["data_model_turn"] = turn + 1
        job_id = store.add_job("model", {"upload": upload, "file_name": file.name, **asked})
        engine().submit(job_id)
        st.query_params.from_dict({"job": job_id})
        st.rerun()


def _ask_about(file_name: str) -> dict[str, str]:
    """Draw what is asked about a model's file; returns the answers as a job has them."""
    return {
        "name": st.text_input(
            "Name",
            user_models.suggest_name(file_name),
            key="data_model_name",
            max_chars=40,
            width=220,
            help="By which it is chosen: lower-case letters, digits, _ . or -",
        ),
        "inputs": st.selectbox(
            "Values that it expects",
            INPUTS,
            key="data_model_inputs",
            width=220,
            help="auto: told by its first layers, else pixels from 0 to 1, and tables as their data scales them.",
        ),
        "dataset": st.selectbox(
            "Its data",
            ["", *datasets()],
            format_func=lambda key: as_text(short_name(key)) if key else "what is at hand and fits",
            key="data_model_dataset",
            width=220,
            help="A worker asks it about labelled validation examples, with its inputs in each range. "
            "A file of answers belongs to one dataset.",
        ),
        "output": st.text_input(
            "Output",
            key="data_model_output",
            max_chars=80,
            width=160,
            placeholder="the only one",
            help="Which output is meant, of a model with several.",
        ).strip(),
    }


def _refusal(file_name: str, asked: dict[str, str]) -> str | None:
    """Return in words why a model cannot be taken in as it is described; None where it can."""
    try:
        user_models.check_name(asked["name"])
    except ConfigError as error:
        return str(error)
    if user_models.file_format(file_name) == "answers" and not asked["dataset"]:
        return "A file of answers belongs to one dataset: choose it."
    return None


def _row(store: Store, row: UserModel) -> None:
    card = user_models.to_card(row)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":material/network_node: **{as_text(row.name)}**", width="content")
        st.caption(_in_words(row), width="content")
        for dataset, found in looks(store, row.key).items():
            mark = ":orange[:material/warning:]" if found.problem else ":material/visibility:"
            words = as_text(f"on {short_name(dataset)}: {found}")
            st.caption(f"{mark} {words}", width="content")
        if card.kind == "file":
            st.button(
                "Remove",
                key=f"data_model_remove_{row.key}",
                icon=":material/delete:",
                type="tertiary",
                on_click=_remove,
                args=(store, row.key),
                help="Its file leaves the store. Experiments made with it stay.",
            )


def _remove(store: Store, key: str) -> None:
    user_data.remove(store, key, UserModel)


def _draw_looks(store: Store, row: UserModel) -> None:
    """Say what a model that was added answers on labelled data."""
    seen = looks(store, row.key)
    if not seen:
        st.caption(
            ":material/visibility_off: No data at hand has its shape and number of classes, so its "
            "answers were not looked at. They will be when it meets its data."
        )
    for dataset, found in seen.items():
        words = as_text(f"On {short_name(dataset)}: {found}.")
        if found.problem:
            st.warning(words, icon=":material/warning:")
        else:
            st.markdown(f":material/visibility: {words}")


def _roles(row: UserModel) -> str:
    return "teacher or student" if user_models.to_card(row).can_be_trained else "a teacher"


def _in_words(row: UserModel) -> str:
    card = user_models.to_card(row)
    if card.format == "answers":
        return (
            f"answers to {short_name(card.dataset)}, {card.classes} classes · {card.output} · "
            f"{in_bytes(row.size)} · {ago(row.created_at)}"
        )
    if card.kind == "function":
        return "a Python function, known where KD_PLUGINS names its module"
    shape = "×".join("any" if side is None else str(side) for side in card.input_shape or ())
    return (
        f"{shape} → {card.classes} classes · {card.parameters:,} parameters · {card.output} · "
        f"{user_models.values_in_words(card)} · {in_bytes(row.size)} · {ago(row.created_at)}"
    )


def after_model_job(store: Store, job: Job) -> None:
    """Say whether a model was added."""
    status = JobStatus(job.status)
    if status is JobStatus.FINISHED:
        row = user_models.find(store, (store.artifact(f"model_report/{job.id}") or b"").decode())
        if row is None:
            raise StoreError("the model is no longer in the store")
        st.success(
            f"Stored as **{as_text(row.key)}**. It can now be {_roles(row)}.",
            icon=":material/check_circle:",
        )
        st.markdown(as_text(_in_words(row)[:1].upper() + _in_words(row)[1:]))
        _draw_looks(store, row)
        if st.button("Train with it", icon=":material/play_arrow:", key="data_model_train"):
            st.session_state["train_teacher"] = row.key
            st.switch_page("pages/views/train.py")
    elif status is JobStatus.FAILED:
        st.error(as_text(job.error or "failed"), icon=":material/error:")
    else:
        st.warning(f"This was {status.value} before its end.", icon=":material/stop_circle:")
