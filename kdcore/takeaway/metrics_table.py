"""Curves as one tidy table, for a spreadsheet or a data frame: CSV or Parquet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kdcore.analysis.results import load_results
from kdcore.errors import require
from kdcore.storage.schema import MEASURES
from kdcore.storage.store import Store, current_points

# experiment, run: ids. role: teacher, student or baseline. split: train (training data, mean over
# the steps since the last point), epoch (training data, mean over the epoch) or validation (all of
# it, at an epoch's end). step: training steps so far; epoch: the same in passes over the data.
# seconds: training time so far. Then one column a measure, empty where a point does not have it:
# loss, hard_loss (against the true labels) and soft_loss (T² · KL from the teacher) in nats,
# accuracy as a fraction, learning_rate, examples_per_second.
COLUMNS = ("experiment", "run", "role", "seed", "split", "step", "epoch", "seconds", *MEASURES)
FORMATS = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}


def metrics_table(store: Store, experiment_ids: Sequence[str]) -> pd.DataFrame:
    """Return every point of the curves of some experiments, one row each, with :data:`COLUMNS`.

    A run that several of them use stands under each, so that every experiment is complete. Points
    that a resumed run trained again are there once. Raises StoreError for an unknown id.
    """
    parts = []
    for experiment_id in dict.fromkeys(experiment_ids):
        places = {
            run.id: (link.role, link.seed) for link, run in load_results(store, experiment_id).links
        }
        points = current_points(store.metrics(places)).rename(columns={"run_id": "run"})
        points["experiment"] = experiment_id
        points["role"] = [places[run][0] for run in points["run"]]
        points["seed"] = [places[run][1] for run in points["run"]]
        parts.append(points.sort_values(["role", "seed", "split", "step"], kind="stable"))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    return table[list(COLUMNS)].astype({"seed": "int64", "step": "int64"})


def as_csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV in UTF-8.

    Floats keep every digit, so that reading gives the same numbers.
    """
    return table.to_csv(index=False).encode()


def as_parquet(table: pd.DataFrame) -> bytes:
    """Return a table as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def write_metrics(store: Store, experiment_ids: Sequence[str], file: Path) -> int:
    """Write the curves of some experiments to ``file``, as its suffix says; returns how many points
    that are.

    Raises ConfigError for a suffix that is neither .csv nor .parquet, StoreError for an unknown id.
    """
    require(
        file.suffix in FORMATS, "file", f"a name that ends in {' or '.join(FORMATS)}", str(file)
    )
    table = metrics_table(store, experiment_ids)
    file.write_bytes(as_csv(table) if file.suffix == ".csv" else as_parquet(table))
    return len(table)
