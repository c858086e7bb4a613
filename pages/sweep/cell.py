"""One cell of a sweep: what it reached, its curves and softened distributions, and where to go on
with it.
"""

from __future__ import annotations

import math

import streamlit as st

from kdcore.config.experiment import ExperimentConfig
from kdcore.storage.store import Store
from kdcore.sweeps.results import Cell, SweepResults, experiment_config, settings_words
from pages.shared import experiment_charts
from pages.shared.live_view import view_of
from pages.shared.session import as_text, engine
from pages.shared.visitor import own_tags


def draw(store: Store, sweep: SweepResults, cell: Cell | None) -> None:
    """Draw a cell, or say what to do while there is none."""
    config = None if cell is None else experiment_config(store, cell.id)
    if cell is None or config is None or cell.values is None:
        st.info(
            "The best cell so far appears here as soon as one is trained; a click on the map chooses another.",
            icon=":material/ads_click:",
        )
        return
    best = sweep.best()
    star = " :material/star:" if best is not None and best.id == cell.id else ""
    st.markdown(f"##### {as_text(settings_words(cell.values))}{star}")
    st.markdown(as_text(_in_words(cell)))
    _go_on(store, cell, config)
    look = view_of(store, store.url, cell.id).look()
    if not len(look.curves.metrics):
        st.caption("Its curves appear here when it is trained.")
        return
    first, second = st.tabs(["Curves", "Softened answers"])
    with first:
        experiment_charts.draw_curves(look)
    with second:
        experiment_charts.draw_distributions(store, look)


def _in_words(cell: Cell) -> str:
    if cell.accuracy is None:
        return {"queued": "Waits for its turn.", "running": "Is being trained."}.get(
            cell.status, f"{cell.status}.".capitalize()
        )
    seeds = f"{cell.n} seed{'s' if cell.n > 1 else ''}"
    interval = (
        f" (95 % CI {100 * cell.interval[0]:.1f} to {100 * cell.interval[1]:.1f})"
        if cell.interval
        else ""
    )
    words = f"Validation accuracy {100 * cell.accuracy:.1f} %{interval}, {seeds}."
    if (gain := cell.gain) is not None:
        bounds = (
            f", 95 % CI {gain.low:+.1f} to {gain.high:+.1f}"
            if math.isfinite(gain.low)
            else ", one seed, no interval"
        )
        words += f" {gain.mean:+.1f} points over the baseline{bounds}."
    return words + (" Given up early." if cell.pruned else "")


def _go_on(store: Store, cell: Cell, config: ExperimentConfig) -> None:
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.page_link(
            "pages/views/train.py",
            label="Open in Train",
            icon=":material/model_training:",
            query_params={"experiment": cell.id},
        )
        if cell.student:
            st.page_link(
                "pages/views/compare.py",
                label="Open in Compare",
                icon=":material/compare_arrows:",
                query_params={"models": cell.id},
            )
        if cell.pruned or cell.finished:
            longer = "Train it to its end" if cell.pruned else f"Train {2 * config.epochs} epochs"
            about = (
                "Continues where it was given up."
                if cell.pruned
                else "The same settings, twice as long, as an experiment of its own."
            )
            if st.button(
                longer,
                icon=":material/fast_forward:",
                key="sweep_longer",
                type="tertiary",
                help=about,
            ):
                _train_longer(store, cell, config)


def _train_longer(store: Store, cell: Cell, config: ExperimentConfig) -> None:
    """Train a pruned cell to its end, any other for twice as many epochs.

    And show it on the Train page.
    """
    experiment_id = cell.id
    if cell.pruned:
        store.requeue(cell.id)
    else:
        experiment_id = store.create(config.replace(epochs=2 * config.epochs), tags=own_tags())
    engine().submit(experiment_id)
    st.switch_page("pages/views/train.py", query_params={"experiment": experiment_id})
