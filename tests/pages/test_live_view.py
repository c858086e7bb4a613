"""Tabs on one experiment share their polls of the store and their drawings, and never see an old
one.
"""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import plotly.graph_objects as go
import pytest

from benchmarks.common import student_run
from kdcore.config.experiment import ExperimentConfig
from kdcore.errors import StoreError
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from pages.shared import live_view
from pages.shared.live_view import LiveView

CONFIG = ExperimentConfig(seeds=1)


@pytest.fixture
def view(store: Store) -> LiveView:
    return LiveView(store, student_run(store, CONFIG).experiment_id)


def add(view: LiveView, step: int) -> None:
    (_, run) = view.store.runs_of(view.experiment_id)[0]
    view.store.append_metrics(
        [
            {
                "run_id": run.id,
                "split": "train",
                "step": step,
                "epoch": step / 10,
                "seconds": 0.0,
                "loss": 1.0,
            }
        ]
    )


def test_many_looks_in_a_moment_are_one_at_the_store(
    view: LiveView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_view, "SECONDS_FRESH", 60.0)
    looks: list[int] = []
    load = live_view.load_results
    monkeypatch.setattr(live_view, "load_results", lambda *given: looks.append(1) or load(*given))
    tabs = [threading.Thread(target=view.look) for _ in range(8)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert len(looks) == 1
    add(view, 1)
    assert len(view.look().curves.metrics) == 0
    assert len(view.look(at_once=True).curves.metrics) == 1


def test_a_chart_is_drawn_once_until_there_is_something_new(view: LiveView) -> None:
    drawn: list[int] = []

    def figure() -> go.Figure:
        drawn.append(1)
        return go.Figure(layout={"height": 100 + len(drawn)})

    before = view.look(at_once=True)
    assert before.draw("accuracy", figure) == before.draw("accuracy", figure)
    same = view.look(at_once=True)
    assert same.draw("accuracy", figure).height == 101
    add(view, 1)
    after = view.look(at_once=True)
    assert after.draw("accuracy", figure).height == 102
    # A tab that looked before has its own chart still, and leaves nothing old to the others.
    assert before.draw("accuracy", figure).height == 101
    assert view.look(at_once=True).draw("accuracy", figure).height == 102
    view.store.finish(view.experiment_id, JobStatus.STOPPED)
    assert view.look(at_once=True).draw("accuracy", figure).height == 103


def test_a_look_tells_how_the_experiment_stands_now_though_no_curve_has_grown(
    view: LiveView,
) -> None:
    view.look(at_once=True)
    view.store.wait_for("waiting for a worker")
    assert view.look(at_once=True).results.job.phase == "waiting for a worker"


def test_the_more_tabs_watch_the_less_often_each_looks(
    view: LiveView, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch(tabs: int) -> float:
        for tab in range(tabs):
            context = SimpleNamespace(session_id=str(tab))
            monkeypatch.setattr(
                live_view, "get_script_run_ctx", lambda context=context, **_: context
            )
            view.look()
        return view.seconds_between_polls()

    assert watch(1) == watch(9) == live_view.SECONDS_BETWEEN_POLLS
    assert watch(99) == pytest.approx(3.0)
    later = time.monotonic() + 60
    monkeypatch.setattr(live_view.time, "monotonic", lambda: later)
    assert watch(1) == live_view.SECONDS_BETWEEN_POLLS  # the others have left


def test_what_a_tab_draws_does_not_change_under_its_hands(view: LiveView) -> None:
    add(view, 1)
    before = view.look(at_once=True)
    add(view, 2)
    view.look(at_once=True)
    assert len(before.curves.metrics) == 1


def test_a_deleted_experiment_is_said_to_be_gone(view: LiveView) -> None:
    view.look(at_once=True)
    gone = LiveView(view.store, "nothing")
    with pytest.raises(StoreError, match="nothing"):
        gone.look()
