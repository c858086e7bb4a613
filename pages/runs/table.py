"""The table of experiments: filters above it, one row an experiment, and which rows are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from kdcore.analysis import library
from kdcore.config.catalog import short_name
from kdcore.installation import in_classroom
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from pages.shared.visitor import own_tags

CHOSEN = "runs_chosen"  # session state: ids of the chosen experiments
TO_OPEN = "runs_to_open"
ROWS_IN_SIGHT = 12
ROW_PIXELS = 35
FOLDED, CELLS, ALONE = "one row a sweep", "every cell", "without sweeps"
FILTERS = ("text", "datasets", "statuses", "tags", "sweep", "starred")


def listing(store: Store, *, deleted: bool = False) -> pd.DataFrame:
    """Return the listing, read once for what one click draws; see :func:`changed`.

    In a classroom it is the visitor's own.
    """
    test_of_cells = bool(st.session_state.get("runs_test_of_cells", False))
    table = _listing(store, deleted, test_of_cells, st.session_state.get("runs_edits", 0))
    if not in_classroom():
        return table
    own = set(own_tags())
    return table[[own <= set(tags) for tags in table["tags"]]]


@st.cache_data(show_spinner=False, ttl=1.0, max_entries=16)
def _listing(_store: Store, deleted: bool, test_of_cells: bool, edits: int) -> pd.DataFrame:
    return library.listing(_store, deleted=deleted, test_of_cells=test_of_cells)


def changed() -> None:
    """Say that this visitor changed something: the next listing is read anew."""
    st.session_state["runs_edits"] = st.session_state.get("runs_edits", 0) + 1


def chosen() -> list[str]:
    """Return the ids of the experiments that are ticked."""
    return list(st.session_state.get(CHOSEN, []))


def choose(ids: Sequence[str]) -> None:
    """Tick these experiments and no other."""
    st.session_state[CHOSEN] = list(ids)


def filters(table: pd.DataFrame) -> dict[str, Any]:
    """Draw the filters and return what they ask of :func:`kdcore.analysis.library.matching`."""
    datasets = sorted({short_name(name) for name in table["dataset"]})
    statuses = [status.value for status in JobStatus if status.value in set(table["status"])]
    tags = sorted(
        {tag for given in table["tags"] for tag in given if not tag.startswith(library.SWEEP_TAG)}
    )
    sweeps = {row.sweep: row.sweep_name for row in table[table["sweep"].notna()].itertuples()}
    wanted: dict[str, Any] = {}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        wanted["text"] = st.text_input(
            "Find",
            key="runs_text",
            placeholder="name, note, setting, id …",
            width=250,
            persist_state="session",
            icon=":material/search:",
            help="Shows the experiments that contain every word.",
        )
        for name, label, options, about in (
            ("datasets", "Dataset", datasets, "None chosen: all of them."),
            ("statuses", "Status", statuses, "None chosen: all of them."),
            ("tags", "Tags", tags, "Only those that have every tag chosen here."),
        ):
            if len(options) > (0 if name == "tags" else 1) or st.session_state.get(f"runs_{name}"):
                gone = [
                    each
                    for each in st.session_state.get(f"runs_{name}") or []
                    if each not in options
                ]
                wanted[name] = st.multiselect(
                    label,
                    [*options, *gone],
                    key=f"runs_{name}",
                    width=220,
                    placeholder="all",
                    persist_state="session",
                    help=about,
                )
        if sweeps:
            choices = [FOLDED, CELLS, ALONE, *sweeps]
            if st.session_state.get("runs_sweep") not in choices:
                st.session_state["runs_sweep"] = FOLDED
            wanted["sweep"] = st.selectbox(
                "Sweeps",
                choices,
                key="runs_sweep",
                width=220,
                persist_state="session",
                format_func=lambda sweep: (
                    sweep if sweep in choices[:3] else sweeps[sweep] or f"sweep {sweep}"
                ),
                help="Folded together, cell by cell, the cells of one alone, or only what was started by hand.",
            )
        wanted["starred"] = st.toggle(
            "Starred", key="runs_starred", persist_state="session", help="Those that you starred."
        )
        if st.session_state.get("runs_test_of_cells") or (table["split"] == "validation").any():
            st.toggle(
                "Test data of unfinished sweeps",
                key="runs_test_of_cells",
                persist_state="session",
                help="Cells show validation data until their sweep has a winner. Who looks at their test data "
                "and then chooses has chosen on test data: the winner's test accuracy is too good from then on.",
            )
    sweep = wanted.pop("sweep", CELLS)
    one_or_none = {FOLDED: None, CELLS: None, ALONE: ""}
    return wanted | {"sweep": one_or_none.get(sweep, sweep)}


def folded() -> bool:
    """Return whether the visitor sees one row for all cells of a sweep."""
    return st.session_state.get("runs_sweep") == FOLDED


def clear_filters() -> None:
    """Show everything again."""
    for name in FILTERS:
        st.session_state.pop(f"runs_{name}", None)


def draw(
    shown: pd.DataFrame, *, key: str = "runs_table", on_choice: Callable[[], None] = lambda: None
) -> None:
    """Draw the experiments as a table; ticking rows changes what :func:`chosen` returns, before the
    script reruns, and a click on a row anywhere else opens it: see :func:`to_open`.

    What is ticked stays ticked when the table is sorted, filtered or grows.
    """
    if folded():
        shown = library.fold_sweeps(shown)
    else:
        shown = shown.assign(members=[[each] for each in shown["experiment"]])
    ids, members = shown["experiment"].to_list(), shown["members"].to_list()
    ticked_now = set(chosen())
    rows = [row for row, of in enumerate(members) if ticked_now.issuperset(of)]
    st.session_state[key] = {"selection": {"rows": rows}}

    def selected() -> None:
        selection = st.session_state[key]["selection"]
        if selection["cells"]:
            row = selection["cells"][0][0]
            is_sweep = members[row] != [ids[row]]
            st.session_state[TO_OPEN] = ("sweep" if is_sweep else "experiment", ids[row])
        else:
            now = [each for row in selection["rows"] if row < len(ids) for each in members[row]]
            kept = [each for each in chosen() if each in now]
            choose([*kept, *(each for each in now if each not in kept)])
        on_choice()

    st.dataframe(
        presentable(shown),
        key=key,
        on_select=selected,
        selection_mode=["multi-row", "single-cell"],
        hide_index=True,
        placeholder="–",
        column_config=COLUMNS,
        height=ROW_PIXELS * (min(len(shown), ROWS_IN_SIGHT) + 1) + 3,
        alt="All experiments that fit the filters, one a row; click one to open it, tick rows to act on them",
    )


def to_open() -> tuple[str, str] | None:
    """Return what was clicked just now: "experiment" or "sweep", and its id."""
    return st.session_state.pop(TO_OPEN, None)


def presentable(shown: pd.DataFrame) -> pd.DataFrame:
    """Return a listing as it is shown: percentages, words for settings, tags, and times
    that sort.
    """
    teachers, students = (_names(shown[role]) for role in ("teacher", "student"))
    title = shown["name"].where(shown["name"] != "", teachers + " teaches " + students)
    return pd.DataFrame(
        {
            "star": shown["starred"].map({True: "★", False: ""}),
            "title": title,
            "status": [
                _status(status, progress)
                for status, progress in zip(shown["status"], shown["progress"], strict=True)
            ],
            "split": shown["split"],
            "gain": shown["gain"],
            "interval": [
                _interval(low, high) for low, high in zip(shown["low"], shown["high"], strict=True)
            ],
            "student_accuracy": 100 * shown["student_accuracy"],
            "baseline_accuracy": 100 * shown["baseline_accuracy"],
            "dataset": _names(shown["dataset"]),
            "models": teachers + " → " + students,
            "labels": shown["labels"],
            "alpha": shown["alpha"],
            "temperature": shown["temperature"],
            "epochs": shown["epochs"],
            "seeds": shown["seeds"],
            "when": pd.to_datetime(shown["created_at"], unit="s", utc=True),
            "bytes": shown["bytes"],
            "tags": shown["tags"],
            "id": shown["experiment"],
        }
    )


def _names(column: pd.Series) -> pd.Series:
    return column.map(lambda name: "several" if pd.isna(name) else short_name(name))


def _status(status: str, progress: float) -> str:
    return f"running, {progress:.0%}" if status == JobStatus.RUNNING else status


def _interval(low: float, high: float) -> str | None:
    return None if pd.isna(low) else f"{low:+.1f} to {high:+.1f}"


_number, _text = st.column_config.NumberColumn, st.column_config.TextColumn
COLUMNS: dict[str, Any] = {
    "star": _text("★", width=30, help="Starred"),
    "title": _text("Experiment", width=152, help="Its name, or who teaches whom"),
    "status": _text("Status", width=70),
    "split": _text(
        "On",
        width=46,
        help="The data that gain and accuracies are of; cells of a sweep without a winner: validation",
    ),
    "gain": _number(
        "Gain (points)",
        format="%+.1f",
        width=84,
        help="Student minus baseline, percentage points, on the data of the column before",
    ),
    "interval": _text(
        "95 % interval", width=92, help="Of the gain, over paired seeds; none with a single seed"
    ),
    "student_accuracy": _number(
        "Student", format="%.1f %%", width=65, help="Accuracy, mean over seeds"
    ),
    "baseline_accuracy": _number(
        "Baseline", format="%.1f %%", width=70, help="Accuracy, mean over seeds"
    ),
    "dataset": _text("Dataset", width=64),
    "models": _text("Teacher → student", width=158),
    "labels": _number(
        "Labels", width=52, help="How many true labels the student gets; – is all of them"
    ),
    "alpha": _number("α", format="%g", width=42, help="Weight of the true labels"),
    "temperature": _number("T", format="%g", width=40, help="Temperature"),
    "epochs": _number("Epochs", width=56, help="Of student and baseline"),
    "seeds": _number("Seeds", width=52, help="Paired repetitions"),
    "tags": st.column_config.ListColumn("Tags", width=110),
    "when": st.column_config.DatetimeColumn("When", format="distance", width=104),
    "bytes": _number(
        "Disk",
        format="bytes",
        width=66,
        help="Weights, logits and checkpoints of the models it trained itself",
    ),
    "id": _text("Id", width=95),
}
