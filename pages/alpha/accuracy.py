"""Accuracy over alpha, from experiments that differ in alpha alone, or five small ones a button
away.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from kdcore.analysis.alpha_series import (
    Outcome,
    Series,
    alpha_series,
    describe_series,
    outcome,
    small_series,
    still_to_train,
)
from kdcore.analysis.unsettled import unsettled_among
from kdcore.charts import alpha as alpha_charts
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import Problem
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from pages.alpha.state import PageState
from pages.shared.live_chart import live_chart
from pages.shared.scene import Scene
from pages.shared.session import as_text, engine
from pages.shared.visitor import own_tags

COUNTS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}


def accuracy_over_alpha(scene: Scene, state: PageState) -> int:
    """Draw the students' accuracy over alpha, or offer to train five.

    Returns how many experiments of the series are still to be trained, so that it is worth looking
    again.
    """
    store = scene.store
    series = _settled(store)
    missing = still_to_train(store)
    if not series:
        _offer(store, missing)
        return 0
    chosen = _choose(scene, state, series)
    found = outcome(store, chosen)
    if chosen.live:
        _progress(chosen)
    live_chart(
        alpha_charts.accuracy_over_alpha(found, chosen=state.alpha),
        key="alpha_accuracy",
        description="Test accuracy over alpha: "
        + ", ".join(f"{point.mean:.1%} at alpha = {point.alpha:g}" for point in found.points),
    )
    _in_words(found, chosen)
    if missing and chosen.is_small:
        _offer(store, missing)
    return len(chosen.live)


def _settled(store: Store) -> list[Series]:
    """Leave out cells of sweeps without a winner, whose test accuracies would choose it, unless
    they are asked for.
    """
    every = alpha_series(store)
    hidden = unsettled_among(store, [each for series in every for each in series.experiments])
    if not hidden or st.toggle(
        f"Show {len(hidden)} experiments of sweeps without a winner",
        key="alpha_cells",
        help="What this page shows is test data. Who chooses by test data can no longer report it.",
    ):
        return every
    return alpha_series(store, leave_out=hidden)


def _choose(scene: Scene, state: PageState, series: Sequence[Series]) -> Series:
    """Draw the choice among several series; by default it is that of the student on the page."""
    known = {each.key: each for each in series}
    if state.series is not None and state.series not in known:
        state.problems.append(Problem("series", "the key of a series in this store", state.series))
        state.series = None
    mine = scene.taught.experiment_id if scene.taught is not None else None
    default = next((each for each in series if mine in each.experiments), series[0])
    if len(series) == 1:
        st.markdown(as_text(describe_series(default)))
        return default

    def choose() -> None:
        state.series = st.session_state["alpha_series"]

    st.session_state["alpha_series"] = state.series or default.key
    key = st.selectbox(
        "Experiments that differ in alpha alone",
        list(known),
        format_func=lambda key: describe_series(known[key]) if key in known else key,
        key="alpha_series",
        on_change=choose,
    )
    return known[key]


def _progress(series: Series) -> None:
    """Show how far a series is that is being trained."""
    engine().tend()
    running = {
        alpha: job for alpha, job in series.jobs.items() if job.status == JobStatus.RUNNING.value
    }
    share = (series.finished + sum(job.progress for job in series.live)) / len(series.jobs)
    alphas = " and ".join(f"{alpha:g}" for alpha in running)
    now = f"training at alpha = {alphas}" if running else "waiting for a worker"
    st.progress(min(share, 1.0), f"{series.finished} of {len(series.jobs)} are trained · {now}")


def _in_words(found: Outcome, series: Series) -> None:
    if not found.points:
        return
    words = [
        "At alpha = 0 the student never sees a true label; at alpha = 1 it ignores its teacher."
    ]
    words.append(
        "It then becomes its baseline, to the bit."
        if series.config.labels is None
        else "It then learns from the labels alone, as its baseline does, but meets them a few a batch, where the "
        "baseline's batches are full of them: the two need not be equal."
    )
    if max(len(point.seeds) for point in found.points) == 1:
        words.append(
            f"There is one seed each: two students whose bars overlap may differ by luck, on {found.test_examples:,} test "
            "examples and from one start."
        )
    words.append(
        "This is test data: look at it, but do not choose by it. The Sweep page chooses alpha on validation data."
    )
    st.markdown(" ".join(words))
    st.page_link("pages/views/sweep.py", label="Choose alpha by a sweep", icon=":material/grid_on:")


def _offer(store: Store, missing: Sequence[ExperimentConfig]) -> None:
    """Offer to train what is missing of the small series."""
    alphas = ", ".join(f"{config.alpha:g}" for config in missing)
    fresh = len(missing) == len(small_series())
    with st.container(border=True):
        if fresh:
            st.markdown("##### :material/balance: No experiments differ in alpha alone yet")
        st.markdown(
            f"Small ones on the digits, alpha = {alphas}, one seed, all else at its default: they share teacher and "
            "baseline, and take about a minute."
        )
        error = _latest_error(store, missing)
        if error:
            st.error(f"The last attempt ended: {as_text(error)}", icon=":material/error:")
        name = COUNTS.get(len(missing), str(len(missing)))
        noun = "experiment" if len(missing) == 1 else "experiments"
        st.button(
            f"Train {name} small {noun}" if fresh else f"Train the {name} still missing",
            type="primary",
            icon=":material/play_arrow:",
            key="alpha_train",
            on_click=_start,
            args=(store,),
        )


def _start(store: Store) -> None:
    for config in still_to_train(store):
        engine().submit(store.create(config, reuse="all", tags=own_tags()))


def _latest_error(store: Store, missing: Sequence[ExperimentConfig]) -> str | None:
    wanted = {config.fingerprint() for config in missing}
    failed = (job.error for each, job in store.experiments() if each.fingerprint in wanted)
    return next((error for error in failed if error), None)
