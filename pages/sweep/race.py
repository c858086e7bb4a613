"""Starting a race on the Sweep page: every method teaches the same student, over the same seeds."""

from __future__ import annotations

import streamlit as st

from kdcore import sweeps
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import MOST_CELLS
from kdcore.errors import ConfigError
from kdcore.methods import METHODS
from kdcore.storage.store import Store
from kdcore.sweeps import race as races
from pages.shared.session import as_text, engine, show_error
from pages.shared.terms import prose
from pages.shared.visitor import own_tags

SETTINGS = {
    "papers": "The papers'",
    "defaults": "KD Lab's defaults",
    "tuned": "Tuned on validation data",
}


def draw(store: Store, base: ExperimentConfig | None) -> None:
    """Draw the section, folded until it is opened; ``base`` is what all cells share."""
    with st.expander("Or let the methods race", icon=":material/sports_score:"):
        prose(
            "Each method teaches the same student from the same teacher, over the same seeds, whatever method is chosen above. "
            "A league table on test data then says what each gained over the baseline and over plain distillation, "
            "[[paired by seed|paired seeds]], and what a step of it costs."
        )
        if base is None:
            st.caption("Some settings above are not valid; correct them first.")
            return
        _start(store, base)


def _start(store: Store, base: ExperimentConfig) -> None:
    fitting = races.entrants(base)
    known = [name for name in st.session_state.get("race_methods", fitting) if name in fitting]
    st.session_state["race_methods"] = known
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.multiselect(
            "Methods",
            fitting,
            key="race_methods",
            format_func=lambda name: METHODS[name].title,
            help="Those that fit the data and the student. Plain distillation always takes part.",
            width=640,
        )
        seeds = st.number_input(
            "Seeds",
            2,
            20,
            races.SEEDS,
            key="race_seeds",
            width=130,
            help="Paired: each seed is one start and one order of batches for all methods.",
        )
    settings, trials = _settings()
    try:
        raced = base.replace(seeds=int(seeds))
        entrants = races.entrants(raced, ",".join(st.session_state["race_methods"]) or "all")
        race = races.Race(raced, tuple(entrants), settings, trials)
    except ConfigError as error:
        show_error(error)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Start the race",
            icon=":material/sports_score:",
            key="race_start",
            on_click=_begin,
            args=(store, race),
        )
        estimate = race.estimate(store, engine().most_workers)
        st.caption(f":material/schedule: {as_text(str(estimate))}")


def _settings() -> tuple[races.Settings, int]:
    """Ask where each method's own settings come from, and how many trials tune them."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        settings = st.segmented_control(
            "Each method's own settings",
            races.SETTINGS,
            default="papers",
            required=True,
            key="race_settings",
            format_func=SETTINGS.__getitem__,
            help="Its paper's, where that names any; the defaults that the form has; or, for each method, the best of "
            "as many trials on validation data, on a seed that is not in the race.",
        )
        trials = races.TRIALS
        if settings == "tuned":
            trials = st.number_input(
                "Trials",
                2,
                MOST_CELLS,
                races.TRIALS,
                key="race_trials",
                width=130,
                help="Of each method.",
            )
    return settings or "papers", int(trials)


def _begin(store: Store, race: races.Race) -> None:
    sweep_id = races.create(store, race, tags=own_tags())
    sweeps.submit(store, engine(), sweep_id)
    st.query_params["sweep"] = sweep_id
