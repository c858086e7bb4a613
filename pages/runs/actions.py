"""What can be done with the chosen experiments: open, name, tag, compare, take away, delete and
undo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from kdcore.analysis import library
from kdcore.analysis.contenders import MOST
from kdcore.analysis.results import Results, gain, load_results
from kdcore.analysis.statistics import PairedGain
from kdcore.analysis.unsettled import WHY, is_unsettled
from kdcore.config.catalog import short_name
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import KDLabError
from kdcore.storage.disk import experiment_bytes
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.takeaway.metrics_table import FORMATS, as_csv, as_parquet, metrics_table
from kdcore.words import in_bytes
from pages.runs import table as runs_table
from pages.shared.downloads import report_button
from pages.shared.forms import prefill
from pages.shared.looked_at import look_at
from pages.shared.session import as_text, engine, show_error
from pages.shared.statuses import STATUS_COLOURS

OUTCOMES: dict[str, tuple[Callable[..., Any], str]] = {
    "helped": (st.success, ":material/trending_up:"),
    "hurt": (st.warning, ":material/trending_down:"),
    "no difference": (st.info, ":material/balance:"),
}


def draw(store: Store, rows: pd.DataFrame) -> None:
    """Draw what can be done with these rows of the listing."""
    if rows.empty:
        return
    with st.container(border=True):
        if len(rows) == 1:
            _one(store, str(rows["experiment"].iloc[0]))
        else:
            _several(store, rows)
        if problem := st.session_state.pop("runs_problem", None):
            show_error(problem)


def _attempt(action: Callable[..., None], *arguments: Any, **options: Any) -> None:
    """Carry out a change from a callback; a refusal is kept to be shown where the button is."""
    try:
        action(*arguments, **options)
    except KDLabError as error:
        st.session_state["runs_problem"] = error
    runs_table.changed()


def _refused() -> bool:
    return "runs_problem" in st.session_state


# --- One experiment ---


def _one(store: Store, experiment_id: str) -> None:
    try:
        results = load_results(store, experiment_id)
    except KDLabError as error:  # deleted or purged elsewhere, a moment ago
        show_error(error)
        return
    look_at(experiment_id)
    experiment, status = results.experiment, results.status
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    ):
        with st.container(
            horizontal=True, width="content", vertical_alignment="center", gap="small"
        ):
            _star(store, [experiment_id], starred=experiment.starred)
            st.subheader(
                as_text(experiment.name)
                or f"{short_name(experiment.config['teacher'])} teaches {short_name(experiment.config['student'])}",
                anchor=False,
            )
            st.badge(status.value, color=STATUS_COLOURS[status.value])
        _let_go(store, [experiment_id], live=status.live)
    st.caption(
        as_text(ExperimentConfig.unchecked(experiment.config).describe()) + f" · {experiment_id}"
    )
    _outcome(store, results)
    left, right = st.columns([1, 1], gap="medium")
    with left:
        _name_and_tags(store, results)
    with right:
        _note(store, results)
        _size(store, results)
    _ways_on(store, results)


def _outcome(store: Store, results: Results) -> None:
    finished = tuple(run.id for _, run in results.links if run.finished_at is not None)
    found = _gain(store, results.experiment.id, finished)
    if results.job.error:
        st.error(as_text(results.job.error), icon=":material/error:")
    shown = st.session_state.get("runs_test_of_cells", False)
    if found is not None and not shown and is_unsettled(store, results.experiment.id):
        st.info(WHY, icon=":material/visibility_off:")
        return
    if found is not None:
        show, icon = OUTCOMES[found.outcome]
        show(found.verdict, icon=icon)


@st.cache_data(show_spinner=False, max_entries=256)
def _gain(_store: Store, experiment_id: str, finished: tuple[str, ...]) -> PairedGain | None:
    return gain(_store, load_results(_store, experiment_id)) if finished else None


def _name_and_tags(store: Store, results: Results) -> None:
    experiment = results.experiment
    # The key changes with what is stored: a name given elsewhere takes the place of what stands in
    # the field.
    name_key = f"runs_name_{experiment.id}_{hash(experiment.name)}"
    st.text_input(
        "Name",
        experiment.name,
        key=name_key,
        max_chars=library.LONGEST_NAME,
        placeholder="none yet",
        help="How it is called in lists, charts and reports. Empty: by its models.",
        on_change=lambda: _attempt(
            library.edit, store, [experiment.id], name=st.session_state[name_key]
        ),
    )
    tags = library.tags_of(store, experiment.id)
    tags_key = f"runs_tags_{experiment.id}_{hash(tuple(tags))}"

    def retag() -> None:
        now = st.session_state[tags_key]
        _attempt(
            library.edit,
            store,
            [experiment.id],
            add_tags=set(now) - set(tags),
            remove_tags=set(tags) - set(now),
        )

    st.multiselect(
        "Tags",
        sorted({*tags, *_known_tags(store)}),
        tags,
        key=tags_key,
        accept_new_options=True,
        on_change=retag,
        placeholder="choose, or type a new one",
        help="Words to find it by; the table above can be filtered by them.",
    )


def _known_tags(store: Store) -> set[str]:
    return {tag for given in runs_table.listing(store)["tags"] for tag in given}


def _note(store: Store, results: Results) -> None:
    experiment = results.experiment
    key = f"runs_note_{experiment.id}_{hash(experiment.note)}"
    st.text_area(
        "Note",
        experiment.note,
        key=key,
        max_chars=library.LONGEST_NOTE,
        height=110,
        placeholder="what it was for, what you saw",
        help="Kept with the experiment, searched, and part of its report.",
        on_change=lambda: _attempt(
            library.edit, store, [experiment.id], note=st.session_state[key]
        ),
    )


def _size(store: Store, results: Results) -> None:
    own = experiment_bytes(store, [results.experiment.id])[results.experiment.id]
    shared = " Its teacher was trained by another experiment." if results.reused("teacher") else ""
    st.caption(
        f":material/hard_drive: {in_bytes(own)} on disk: weights, logits and curves of what it trained itself.{shared}"
    )


def _ways_on(store: Store, results: Results) -> None:
    experiment_id = results.experiment.id
    teacher = next((run for run in results.runs("teacher") if run.finished_at is not None), None)
    with st.container(horizontal=True, gap="small"):
        if st.button(
            "Open",
            key="runs_open",
            icon=":material/open_in_new:",
            type="primary",
            help="Curves and figures",
        ):
            st.switch_page("pages/views/train.py", query_params={"experiment": experiment_id})
        if st.button(
            "Temperature",
            key="runs_temperature",
            icon=":material/device_thermostat:",
            disabled=teacher is None,
            help="What T does to its teacher's answers"
            if teacher
            else "Its teacher is not trained yet.",
        ):
            st.switch_page("pages/views/temperature.py", query_params=_temperature_address(results))
        if st.button(
            "Compare",
            key="runs_compare",
            icon=":material/compare_arrows:",
            help="Its models side by side",
        ):
            st.switch_page("pages/views/compare.py", query_params={"models": experiment_id})
        if st.button(
            "Train again with changes",
            key="runs_again",
            icon=":material/tune:",
            help="Opens the Train page with these settings",
        ):
            _train_again(results)
        _files(store, [experiment_id])


def _temperature_address(results: Results) -> dict[str, str]:
    address = {"teacher": results.runs("teacher")[0].id}
    student = next((run for run in results.runs("student") if run.finished_at is not None), None)
    return address | ({"student": student.id} if student is not None else {})


def _train_again(results: Results) -> None:
    try:
        prefill(results.config)
    except KDLabError as error:  # its data or model has left the catalog
        show_error(error)
        return
    st.switch_page("pages/views/train.py")


# --- Several of them ---


def _several(store: Store, rows: pd.DataFrame) -> None:
    ids = rows["experiment"].to_list()
    live = bool(rows["status"].isin([JobStatus.QUEUED, JobStatus.RUNNING]).any())
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    ):
        with st.container(
            horizontal=True, width="content", vertical_alignment="center", gap="small"
        ):
            _star(store, ids, starred=bool(rows["starred"].all()))
            st.subheader(f"{len(ids):,} experiments", anchor=False)
        _let_go(store, ids, live=live)
    tags_key = f"runs_tag_all_{hash(tuple(ids))}"

    def tag_all() -> None:
        _attempt(library.edit, store, ids, add_tags=st.session_state[tags_key])
        if not _refused():
            st.session_state[tags_key] = []

    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        st.multiselect(
            "Add tags to all",
            sorted(_known_tags(store)),
            key=tags_key,
            accept_new_options=True,
            on_change=tag_all,
            width=260,
            placeholder="choose, or type a new one",
            help="Words to find them by.",
        )
        fits = len(ids) <= MOST
        if st.button(
            "Compare students",
            key="runs_compare",
            icon=":material/compare_arrows:",
            disabled=not fits,
            help="Side by side: curves, sizes, speed, and where they differ"
            if fits
            else f"At most {MOST} at a time.",
        ):
            models = ",".join(f"{each}:student" for each in ids)
            st.switch_page("pages/views/compare.py", query_params={"models": models})
        _files(store, ids)


# --- What both have ---


def _star(store: Store, ids: Sequence[str], *, starred: bool) -> None:
    st.button(
        "Unstar" if starred else "Star",
        key="runs_star",
        type="tertiary",
        icon=":material/star:" if starred else ":material/star_border:",
        help="Take the star away" if starred else "Give a star: the table can show those alone",
        on_click=_attempt,
        args=(library.edit, store, ids),
        kwargs={"starred": not starred},
    )


def _let_go(store: Store, ids: Sequence[str], *, live: bool) -> None:
    with st.container(horizontal=True, width="content", gap="small"):
        if live:
            st.button(
                "Stop",
                key="runs_stop",
                icon=":material/stop:",
                on_click=_stop,
                args=(ids,),
                help="Ends at the next batch; what was trained is kept",
            )
        st.button(
            "Delete",
            key="runs_delete",
            icon=":material/delete:",
            disabled=live,
            on_click=_delete,
            args=(store, ids),
            help="Stop it first." if live else "Into the trash, from where it can be had back",
        )
        st.button(
            "",
            key="runs_let_go",
            icon=":material/close:",
            type="tertiary",
            on_click=runs_table.choose,
            args=([],),
            help="Choose none",
        )


def _stop(ids: Sequence[str]) -> None:
    for experiment_id in ids:
        engine().cancel(experiment_id)
    runs_table.changed()


def _delete(store: Store, ids: Sequence[str]) -> None:
    _attempt(library.delete_experiments, store, ids)
    if not _refused():
        runs_table.choose([])
        st.session_state["runs_deleted"] = list(ids)
        st.session_state.pop("runs_said", None)


def restore(store: Store, ids: Sequence[str]) -> None:
    """Take experiments out of the trash, from a callback, and choose them."""
    try:
        library.restore_experiments(store, ids)
    except KDLabError as error:
        st.session_state["runs_trash_problem"] = error
        return
    runs_table.changed()
    runs_table.choose(ids)
    for name in ("runs_deleted", "runs_trash"):
        st.session_state.pop(name, None)
    st.session_state["runs_said"] = f"{len(ids)} restored" if len(ids) > 1 else "Restored"


def undo_bar(store: Store) -> None:
    """Say what was just done, with an undo for a deletion."""
    deleted = [
        each for each in st.session_state.get("runs_deleted", []) if each in library.trash(store)
    ]
    if deleted:
        with st.container(border=True, horizontal=True, vertical_alignment="center", gap="small"):
            what = "1 experiment is" if len(deleted) == 1 else f"{len(deleted):,} experiments are"
            st.markdown(f":material/delete: {what} in the trash.", width="content")
            st.button(
                "Undo",
                key="runs_undo",
                icon=":material/undo:",
                type="primary",
                on_click=restore,
                args=(store, deleted),
            )
    if said := st.session_state.pop("runs_said", None):
        st.toast(said, icon=":material/check:")


def _files(store: Store, ids: Sequence[str]) -> None:
    """Buttons that make a file when they are pressed, and not before."""
    name = ids[0] if len(ids) == 1 else f"{len(ids)}-experiments"
    report_button(store, ids, key="runs_report")
    for suffix, title, write in ((".csv", "CSV", as_csv), (".parquet", "Parquet", as_parquet)):
        st.download_button(
            title,
            lambda write=write: write(metrics_table(store, ids)),  # type: ignore[misc]
            f"curves-{name}{suffix}",
            FORMATS[suffix],
            key=f"runs_{title.lower()}",
            icon=":material/download:",
            on_click="ignore",
            help="Every point of the curves, one a row",
        )
