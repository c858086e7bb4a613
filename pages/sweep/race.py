"""Starting a race on the Sweep page: every method teaches the same student, over the same seeds."""

from __future__ import annotations

import streamlit as st

from kdcore import sweeps
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import SweepConfig
from kdcore.errors import ConfigError
from kdcore.methods import METHODS
from kdcore.storage.store import Store
from kdcore.sweeps import race as races
from kdcore.sweeps import speed as sweep_speed
from pages.shared.session import as_text, engine, show_error
from pages.shared.terms import prose
from pages.shared.visitor import own_tags


def draw(store: Store, base: ExperimentConfig | None) -> None:
    """Draw the section, folded until it is opened; ``base`` is what all cells share."""
    with st.expander("Or let the methods race", icon=":material/sports_score:"):
        prose(
            "Each method teaches the same student from the same teacher, over the same seeds, with its default settings. "
            "A league table on test data then says what each gained over the baseline and over plain distillation, "
            "[[paired by seed|paired seeds]], and what a step of it costs. With settings tuned on validation data: `python -m kdcore race --trials 8`."
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
    try:
        raced = base.replace(seeds=int(seeds))
        entrants = races.entrants(raced, ",".join(st.session_state["race_methods"]) or "all")
        config = races.race_config(raced, entrants)
    except ConfigError as error:
        show_error(error)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Start the race",
            icon=":material/sports_score:",
            key="race_start",
            on_click=_begin,
            args=(store, config),
        )
        estimate = sweep_speed.estimate(store, config, engine().most_workers)
        st.caption(f":material/schedule: {as_text(str(estimate))}")


def _begin(store: Store, config: SweepConfig) -> None:
    sweep_id = sweeps.create(store, config, tags=own_tags())
    sweeps.submit(store, engine(), sweep_id)
    st.query_params["sweep"] = sweep_id
