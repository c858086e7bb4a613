"""Setting a sweep up: what all cells share on the left, what varies on the right, what it costs
below.
"""

from __future__ import annotations

import streamlit as st

from kdcore import sweeps
from kdcore.config.experiment import ExperimentConfig, all_settings
from kdcore.config.sweep import Axis, SweepConfig, title_of, value_text, variable_fields
from kdcore.errors import ConfigError, Problem
from kdcore.storage.store import Store
from kdcore.sweeps import results as sweep_results
from kdcore.sweeps import speed as sweep_speed
from kdcore.words import ago
from pages.shared.following import follow
from pages.shared.forms import ConfigForm
from pages.shared.session import as_text, engine
from pages.shared.statuses import STATUS_COLOURS
from pages.shared.terms import prose
from pages.shared.visitor import own_tags
from pages.sweep import race as sweep_race

PREFIX = "sweep"
STRATEGY_WORDS = {
    "grid": "Grid: every combination",
    "tpe": "TPE: Optuna searches where results are good",
}
AXES = {"alpha": "0.1:0.9:5", "temperature": "1,2,4,8,16"}
MOST_AXES = 4
HOW_TO_WRITE = "Values such as 1,2,4, or low:high:count such as 0.1:0.9:5 (1:16:5:log spaces by ratio). For TPE also low:high."


def draw(store: Store) -> None:
    """Draw the form, what the sweep would cost, Start, and the sweeps that there are."""
    st.title("Find the alpha and temperature that pay", anchor=False)
    prose(
        "Each [[cell]] of the map is an experiment of its own. Teacher and baselines are trained **once for all cells**, the "
        "cells side by side on all cores. The best one is chosen on [[validation data]]; [[test data]] is used for it alone."
    )
    form = ConfigForm(PREFIX, ExperimentConfig())
    varied = _varied_fields()
    shared, vary, how = st.columns([1.15, 1.35, 1], gap="small")
    with shared, st.container(border=True, height="stretch"):
        _heading(":material/dataset:", "All cells share")
        left, right = st.columns(2, gap="small")
        for place, name in enumerate(
            name
            for name in ("dataset", "teacher", "student", "labels", "teacher_epochs", "epochs")
            if name not in varied
        ):
            with left if place % 2 == 0 else right:
                form.draw(name)
    with vary, st.container(border=True, height="stretch"):
        _heading(":material/grid_on:", "What varies")
        axes, problems = _axes(varied)
    with how, st.container(border=True, height="stretch"):
        _heading(":material/route:", "How")
        form.draw("seeds")
        strategy, trials, prune = _strategy()
    rare = [*form.group("training"), *form.group("rare")]
    rare = [name for name in rare if name not in ("seeds", *varied)]
    with st.expander(
        "More settings: batch size, learning rate, precision",
        expanded=any(name in form.problems for name in rare),
    ):
        columns = st.columns(4, gap="small")
        for place, name in enumerate(rare):
            with columns[place % 4]:
                form.draw(name)
    config: SweepConfig | None = None
    if form.config is not None and not problems:
        try:
            config = SweepConfig(form.config, tuple(axes), strategy, trials, prune)  # type: ignore[arg-type]
        except ConfigError as error:
            problems = list(error.problems)
    for problem in problems:
        st.markdown(f":red[:material/error: {as_text(problem.on_a_page)}]")
    _start(store, config)
    sweep_race.draw(store, form.config)
    _list(store)


def _heading(icon: str, text: str) -> None:
    st.markdown(f"##### {icon} {text}")


def _varied_fields() -> list[str]:
    """Return the settings that vary as the visitor has chosen them."""
    return list(st.session_state.setdefault("sweep_varied", list(AXES)))


def _axes(varied: list[str]) -> tuple[list[Axis], list[Problem]]:
    """Draw one line of values for each varied setting.

    Returns what could be read, and what could not.
    """
    st.multiselect(
        "Settings to vary",
        variable_fields(),
        key="sweep_varied",
        format_func=title_of,
        max_selections=MOST_AXES,
        persist_state="session",
        help="Two make a map. With more, the map shows a slice, and parallel coordinates show all.",
    )
    axes: list[Axis] = []
    problems: list[Problem] = []
    for name in varied:
        key = f"sweep_axis_{name}"
        st.session_state.setdefault(key, AXES.get(name) or value_text(all_settings()[name].default))
        text = st.text_input(title_of(name), key=key, help=HOW_TO_WRITE, persist_state="session")
        try:
            axis = Axis.parse(name, text)
            axes.append(axis)
            values = (
                " · ".join(map(value_text, axis.values[:12])) or f"{axis.low:g} to {axis.high:g}"
            )
            st.caption(as_text(values) + (" …" if len(axis.values) > 12 else ""))
        except ConfigError as error:
            for problem in error.problems:
                st.markdown(f":red[:material/error: {as_text(problem.on_a_page)}]")
            problems += error.problems
    return axes, problems if not problems else [
        Problem("values", "readable for each setting that varies", "see above")
    ]


def _strategy() -> tuple[str, int, bool]:
    st.session_state.setdefault("sweep_strategy", "grid")
    st.session_state.setdefault("sweep_trials", 25)
    st.session_state.setdefault("sweep_prune", False)
    strategy = st.radio(
        "Strategy",
        list(STRATEGY_WORDS),
        format_func=STRATEGY_WORDS.__getitem__,
        key="sweep_strategy",
        persist_state="session",
        help="A grid shows everything; the tree-structured Parzen estimator finds a good cell with fewer.",
    )
    if strategy == "tpe":
        st.number_input(
            "Trials",
            2,
            1000,
            key="sweep_trials",
            help="How many cells it may train.",
            persist_state="session",
        )
    st.toggle(
        "Give bad cells up early",
        key="sweep_prune",
        persist_state="session",
        help="Successive halving: after a quarter and after half of its epochs, a cell must be in the better half of those "
        "that got as far. It is judged by its first seed.",
    )
    return (
        str(strategy),
        int(st.session_state["sweep_trials"]),
        bool(st.session_state["sweep_prune"]),
    )


def _start(store: Store, config: SweepConfig | None) -> None:
    """Say what the sweep would cost, measuring the speed first where nothing like it has been
    trained, and start it.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button(
            "Start sweep",
            type="primary",
            icon=":material/play_arrow:",
            disabled=config is None,
            key="sweep_start",
            help="Some settings above are refused." if config is None else None,
        )
        if config is not None:
            estimate = sweep_speed.estimate(store, config, workers=engine().most_workers)
            measuring = bool(estimate.unknown)
            if measuring:
                for job_id in sweep_speed.measure(store, estimate.unknown):
                    engine().submit(job_id)
            follow(_cost, 1.0 if measuring else None, key="sweep_cost")(store, config, measuring)
    if pressed and config is not None:
        sweep_id = sweeps.create(store, config, tags=own_tags())
        sweeps.submit(store, engine(), sweep_id)
        st.query_params["sweep"] = sweep_id
        st.rerun()


def _cost(store: Store, config: SweepConfig, was_measuring: bool) -> None:
    engine().tend()
    estimate = sweep_speed.estimate(store, config, workers=engine().most_workers)
    cores = engine().most_workers
    words = f"{estimate}" + ("" if estimate.seconds is None else f" with {cores} workers")
    if estimate.unknown:
        words += ". Measuring how fast these networks train here…"
    st.caption(f":material/schedule: {as_text(words)}")
    if was_measuring and not estimate.unknown:
        st.rerun()


def _list(store: Store) -> None:
    found = sweeps.sweeps(store, limit=10)
    if not found:
        st.caption("No sweeps yet. The settings above are a good first one.")
        return
    st.subheader("Sweeps", anchor=False)
    for sweep in found:
        loaded = sweep_results.load(store, sweep.id)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(loaded.status, color=STATUS_COLOURS[loaded.status])
            title = sweep.name or loaded.config.describe()
            if st.button(as_text(title), key=f"sweep_open_{sweep.id}", type="tertiary"):
                st.query_params["sweep"] = sweep.id
                st.rerun()
            st.caption(
                f"{loaded.done} of {len(loaded.cells)} cells · {ago(sweep.created_at)}",
                width="content",
            )
