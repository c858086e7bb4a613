"""What all open tabs of one experiment share: one look at the store and one drawing of a chart, however many watch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import plotly.graph_objects as go
import streamlit as st

from kdcore.results import Curves, Results, load_results
from kdcore.store import Store
from pages.components.live_chart import Drawing, drawing

# A little less than the time between two looks of one tab: alone, it always sees what is new.
SECONDS_FRESH = 0.25
MOST_DRAWINGS = 64


@dataclass
class LiveView:
    """An experiment as it stood a moment ago; safe to be asked by many sessions at once."""

    store: Store
    experiment_id: str
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _read_on: Curves = field(default_factory=Curves)
    _read_at: float = float("-inf")
    _results: Results | None = None
    _curves: Curves = field(default_factory=Curves)
    _drawings: dict[Hashable, Drawing] = field(default_factory=dict)

    def look(self, *, at_once: bool = False) -> tuple[Results, Curves]:
        """Return the experiment and its curves, a quarter of a second old at most, or ``at_once`` as they are now.

        Raises StoreError where the store is out of reach or the experiment deleted.
        """
        with self._lock:
            if at_once or self._results is None or time.monotonic() - self._read_at > SECONDS_FRESH:
                results = load_results(self.store, self.experiment_id)
                changed = self._read_on.read_on(self.store, results)
                if changed or self._results is None or _state(results) != _state(self._results):
                    self._drawings.clear()
                    # A copy: whoever draws it is not to see it change.
                    probes = {place: dict(taken) for place, taken in self._read_on.probes.items()}
                    self._curves = Curves(self._read_on.metrics, probes)
                self._results, self._read_at = results, time.monotonic()
            return self._results, self._curves

    def draw(self, curves: Curves, name: Hashable, figure: Callable[[], go.Figure]) -> Drawing:
        """Return the chart called ``name`` of the curves of a look, drawn at most once for all who ask."""
        with self._lock:
            if curves is not self._curves:  # somebody has looked again in the meantime: kept are drawings of the latest
                return drawing(figure())
            if name not in self._drawings:
                if len(self._drawings) >= MOST_DRAWINGS:
                    self._drawings.clear()
                self._drawings[name] = drawing(figure())
            return self._drawings[name]


def _state(results: Results) -> tuple[object, ...]:
    """What a chart may show besides the curves."""
    return results.status, [(run.id, run.finished_at) for _, run in results.links]


@st.cache_resource(max_entries=32, show_spinner=False)
def view_of(_store: Store, store_url: str, experiment_id: str) -> LiveView:
    """Return the view that the whole server has of an experiment."""
    return LiveView(_store, experiment_id)
