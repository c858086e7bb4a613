"""What all open tabs of one experiment share: one poll of the store and one drawing of a chart,
however many watch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import plotly.graph_objects as go
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from kdcore.analysis.curves import Curves
from kdcore.analysis.results import Results, load_results
from kdcore.storage.store import Store
from pages.shared.live_chart import Drawing, drawing

# A little less than the time between two polls of one tab: alone, it always sees what is new.
SECONDS_FRESH = 0.25
SECONDS_BETWEEN_POLLS = 0.3
# What one process can draw beside other work; where more tabs watch, each polls less often.
MOST_POLLS_A_SECOND = 33
SECONDS_UNTIL_GONE = 3.0
MOST_THINGS_KEPT = 64

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Look:
    """An experiment at one moment.

    What was made of it is kept for as long as nothing has changed.
    """

    results: Results
    curves: Curves
    _kept: dict[Hashable, Any] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def once(self, name: Hashable, make: Callable[[], Thing]) -> Thing:
        """Return what ``make`` makes of results and curves, at most once for each ``name``."""
        with self._lock:
            if name not in self._kept:
                if len(self._kept) >= MOST_THINGS_KEPT:
                    self._kept.clear()
                self._kept[name] = make()
            return self._kept[name]

    def draw(self, name: Hashable, figure: Callable[[], go.Figure]) -> Drawing:
        """Return the chart called ``name``, drawn at most once."""
        return self.once(("chart", name), lambda: drawing(figure()))


@dataclass
class LiveView:
    """An experiment that is being watched; safe to use from many sessions at once."""

    store: Store
    experiment_id: str
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _read_on: Curves = field(default_factory=Curves)
    _read_at: float = float("-inf")
    _latest: Look | None = None
    _watchers: dict[str, float] = field(default_factory=dict)

    def look(self, *, at_once: bool = False) -> Look:
        """Return the experiment and its curves, a quarter of a second old at most, or ``at_once``
        as they are now.

        Raises StoreError where the store is out of reach or the experiment deleted.
        """
        with self._lock:
            self._count_watcher()
            if at_once or self._latest is None or time.monotonic() - self._read_at > SECONDS_FRESH:
                results = load_results(self.store, self.experiment_id)
                changed = self._read_on.read_on(self.store, results)
                latest = self._latest
                if latest is None or changed or _state(results) != _state(latest.results):
                    # A copy: whoever draws it is not to see it change.
                    self._latest = Look(results, self._read_on.copy())
                else:
                    self._latest = Look(results, latest.curves, latest._kept, latest._lock)
                self._read_at = time.monotonic()
            assert self._latest is not None
            return self._latest

    def seconds_between_polls(self) -> float:
        """Return how long a tab should wait for its next poll: the longer, the more tabs are
        watching.
        """
        return max(SECONDS_BETWEEN_POLLS, len(self._watchers) / MOST_POLLS_A_SECOND)

    def _count_watcher(self) -> None:
        context, now = get_script_run_ctx(suppress_warning=True), time.monotonic()
        if context is not None:
            self._watchers[context.session_id] = now
        gone = max(SECONDS_UNTIL_GONE, 3 * self.seconds_between_polls())
        self._watchers = {
            session: seen for session, seen in self._watchers.items() if now - seen < gone
        }


def _state(results: Results) -> tuple[object, ...]:
    """What may be shown of an experiment besides its curves."""
    return results.status, [(run.id, run.parameters, run.finished_at) for _, run in results.links]


@st.cache_resource(max_entries=32, show_spinner=False)
def view_of(_store: Store, store_url: str, experiment_id: str) -> LiveView:
    """Return the view that the whole server has of an experiment."""
    return LiveView(_store, experiment_id)
