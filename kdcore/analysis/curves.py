"""Curves as a poll finds them: of one experiment, and of several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdcore.analysis.contenders import Contender
from kdcore.analysis.results import PRETRAINED, Results
from kdcore.storage.cursors import next_cursor
from kdcore.storage.store import Store, current_points

# Of each run's points on one split, and of its snapshots, Curves holds at most twice as many: a
# poll costs the same, and the dashboard's memory stays the same, after hours of training.
POINTS_KEPT = 2_000
SNAPSHOTS_KEPT = 250


@dataclass
class Curves:
    """The curves of an experiment's runs, read from where the last poll ended.

    ``metrics`` holds what a screen can show; long curves are thinned (see :func:`thin`), and the
    store has every point. ``probes`` holds logits [examples, classes] by role and seed, and then by
    epoch; of many epochs some. ``pretraining`` has the same of language models by their step:
    ``loss`` and ``accuracy`` are of masked tokens, probes the guesses of one token of each text.
    """

    metrics: pd.DataFrame = field(default_factory=pd.DataFrame)
    probes: dict[tuple[str, int], dict[int, NDArray]] = field(default_factory=dict)
    pretraining: Curves | None = None
    _cursor: dict[str, int] = field(default_factory=dict)
    _probe_cursor: dict[str, int] = field(default_factory=dict)

    def read_on(self, store: Store, results: Results) -> bool:
        """Fetch what is new; returns whether there was anything.

        New runs are read from their beginning.
        """
        before = {
            run.id: (link.step, link.seed) for link, run in results.links if link.role == PRETRAINED
        }
        changed = False
        if before:
            self.pretraining = self.pretraining or Curves()
            changed = self.pretraining._read(store, before)
        places = {run.id: (link.role, link.seed) for link, run in results.stand_ins()}
        return self._read(store, places) or changed

    def copy(self) -> Curves:
        """Return the same curves, which are not read on."""
        probes = {place: dict(taken) for place, taken in self.probes.items()}
        return Curves(self.metrics, probes, self.pretraining and self.pretraining.copy())

    def _read(self, store: Store, places: dict[str, tuple[str, int]]) -> bool:
        new = store.metrics(places, after=self._cursor)
        snapshots, self._probe_cursor = store.probes(places, after=self._probe_cursor)
        if len(new):
            self._cursor = next_cursor(new, self._cursor)
            new["role"] = [places[run_id][0] for run_id in new["run_id"]]
            new["seed"] = [places[run_id][1] for run_id in new["run_id"]]
            self.metrics = thin(
                current_points(
                    pd.concat([self.metrics, new], ignore_index=True) if len(self.metrics) else new
                )
            )
        for run_id, epoch, snapshot in snapshots:
            self.probes.setdefault(places[run_id], {})[epoch] = snapshot
        for place, taken in self.probes.items():
            if len(taken) > 2 * SNAPSHOTS_KEPT:
                epochs = sorted(taken)
                chosen = np.unique(np.linspace(0, len(epochs) - 1, SNAPSHOTS_KEPT).astype(int))
                self.probes[place] = {epochs[number]: taken[epochs[number]] for number in chosen}
        return bool(len(new) or snapshots)


def thin(metrics: pd.DataFrame, limit: int = POINTS_KEPT) -> pd.DataFrame:
    """Cut runs of more than twice ``limit`` points on a split down to ``limit``; shorter ones come
    back as they are.

    Of each stretch of a curve the points of lowest and highest loss stay, so that spikes do, and
    the first and last.
    """
    sizes = metrics.groupby(["run_id", "split"])["step"].transform("size")
    if sizes.max() <= 2 * limit:
        return metrics
    kept = [metrics.index[sizes <= 2 * limit]]
    for _, rows in metrics[sizes > 2 * limit].groupby(["run_id", "split"]):
        stretches = (
            rows["loss"].fillna(0.0).groupby(np.arange(len(rows)) * (limit // 2 - 1) // len(rows))
        )
        kept += [stretches.idxmin(), stretches.idxmax(), rows.index[[0, -1]]]
    return metrics.loc[np.unique(np.concatenate(kept))].reset_index(drop=True)


@dataclass
class RunCurves:
    """The measurements of runs, read from where the last poll ended.

    Finished ones are read once.
    """

    metrics: pd.DataFrame = field(default_factory=pd.DataFrame)
    _run_ids: tuple[str, ...] = ()
    _cursor: dict[str, int] = field(default_factory=dict)

    def read_on(self, store: Store, contenders: Sequence[Contender]) -> bool:
        """Fetch what is new; returns whether there was anything. With other runs it begins anew."""
        run_ids = tuple(dict.fromkeys(run.id for each in contenders for run in each.runs))
        if run_ids != self._run_ids:
            self.metrics, self._run_ids, self._cursor = pd.DataFrame(), run_ids, {}
        new = store.metrics(run_ids, after=self._cursor)
        if len(new):
            self._cursor = next_cursor(new, self._cursor)
            known = [self.metrics, new] if len(self.metrics) else [new]
            self.metrics = current_points(pd.concat(known, ignore_index=True))
        return bool(len(new))

    def table(self, contenders: Sequence[Contender]) -> pd.DataFrame:
        """Return the measurements with the columns role (the contender's trace name) and seed, for
        drawing.
        """
        if self.metrics.empty:
            return pd.DataFrame(columns=["role", "seed"])
        parts = []
        for contender in contenders:
            seeds = {run.id: run.seed for run in contender.runs}
            rows = self.metrics[self.metrics["run_id"].isin(list(seeds))]
            parts.append(rows.assign(role=trace_name(contender), seed=rows["run_id"].map(seeds)))
        return pd.concat(parts, ignore_index=True)


def trace_name(contender: Contender) -> str:
    """Return a contender's id as a trace's identity: letters, digits and dashes."""
    return contender.id.replace(":", "-")
