"""Tabs on one experiment share their look at the store and their drawings, and never see an old one."""

from __future__ import annotations

import threading

import plotly.graph_objects as go
import pytest

from benchmarks.common import student_run
from kdcore.config import ExperimentConfig
from kdcore.errors import StoreError
from kdcore.schema import JobStatus
from kdcore.store import Store
from pages.components import live_view
from pages.components.live_view import LiveView

CONFIG = ExperimentConfig(seeds=1)


@pytest.fixture
def view(store: Store) -> LiveView:
    return LiveView(store, student_run(store, CONFIG).experiment_id)


def add(view: LiveView, step: int) -> None:
    (_, run) = view.store.runs_of(view.experiment_id)[0]
    view.store.append_metrics(
        [{"run_id": run.id, "split": "train", "step": step, "epoch": step / 10, "seconds": 0.0, "loss": 1.0}]
    )


def test_many_looks_in_a_moment_are_one_at_the_store(view: LiveView, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert len(view.look()[1].metrics) == 0
    assert len(view.look(at_once=True)[1].metrics) == 1


def test_a_chart_is_drawn_once_until_there_is_something_new(view: LiveView) -> None:
    drawn: list[int] = []

    def figure() -> go.Figure:
        drawn.append(1)
        return go.Figure(layout={"height": 100 + len(drawn)})

    _, before = view.look(at_once=True)
    assert view.draw(before, "accuracy", figure) == view.draw(before, "accuracy", figure)
    _, same = view.look(at_once=True)
    assert same is before
    add(view, 1)
    _, after = view.look(at_once=True)
    assert view.draw(after, "accuracy", figure).height == 102
    # Who looked before the others drew must not leave an old chart to them.
    assert view.draw(before, "accuracy", figure).height == 103
    assert view.draw(after, "accuracy", figure).height == 102
    view.store.finish(view.experiment_id, JobStatus.STOPPED)
    _, stopped = view.look(at_once=True)
    assert view.draw(stopped, "accuracy", figure).height == 104


def test_what_a_tab_draws_does_not_change_under_its_hands(view: LiveView) -> None:
    add(view, 1)
    _, before = view.look(at_once=True)
    add(view, 2)
    view.look(at_once=True)
    assert len(before.metrics) == 1


def test_a_deleted_experiment_is_said_to_be_gone(view: LiveView) -> None:
    view.look(at_once=True)
    gone = LiveView(view.store, "nothing")
    with pytest.raises(StoreError, match="nothing"):
        gone.look()
