"""Curves and results for the experiment trackers that people have: TensorBoard and MLflow.

Written from the store, so at any time and as often as one likes.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from kdcore.analysis.results import Results, load_results
from kdcore.errors import KDLabError, require
from kdcore.storage.schema import MEASURES, Run
from kdcore.storage.store import Store
from kdcore.takeaway.metrics_table import metrics_table

# What is written of a point of the curves, beside the measures of a method's own.
RESULTS = ("test_accuracy", "test_loss", "test_calibration_error", "parameters")
SPLITS = {"train": "train", "epoch": "train_epoch", "validation": "validation"}


def to_tensorboard(store: Store, experiment_ids: Sequence[str], folder: Path) -> list[Path]:
    """Write TensorBoard event files, a folder for each run; returns the folders.

    Scalars are named ``<split>/<measure>`` over training steps, at the times at which they were
    measured; the settings are a text. A folder that is there already is refused, as TensorBoard
    would draw both on top of each other. Raises StoreError for an unknown id.
    """
    from tensorboardX import SummaryWriter

    written = []
    for results, run, points in _runs(store, experiment_ids):
        place = folder / f"{results.experiment.id}-{_name(run)}"
        require(not place.exists(), "folder", "without the run already", str(place))
        with SummaryWriter(str(place)) as writer:
            writer.add_text("settings", _as_markdown(results.experiment.config), 0)
            for row in points.to_dict("records"):
                when = run.created_at + float(row["seconds"])
                for name, value in _measures(row):
                    writer.add_scalar(name, value, int(row["step"]), walltime=when)
            last = int(points["step"].max()) if len(points) else 0
            for name, value in _results(run):
                writer.add_scalar(name, value, last, walltime=run.finished_at)
        written.append(place)
    return written


def to_mlflow(store: Store, experiment_ids: Sequence[str], uri: str) -> list[str]:
    """Write MLflow runs to a tracking server or folder; returns their ids.

    Each experiment is one of MLflow's, its settings are parameters, the points of its curves
    metrics. Needs ``mlflow`` (or ``mlflow-skinny``), which is not among the requirements. Raises
    KDLabError where it is not installed, StoreError for an unknown id.
    """
    try:
        mlflow: Any = importlib.import_module("mlflow")
    except ImportError as error:
        raise KDLabError(
            "logging to MLflow needs mlflow, which is not installed: pip install mlflow-skinny"
        ) from error
    client = mlflow.MlflowClient(tracking_uri=uri)
    written = []
    for results, run, points in _runs(store, experiment_ids):
        name = f"kd-lab/{results.experiment.id}"
        known = client.get_experiment_by_name(name)
        place = known.experiment_id if known is not None else client.create_experiment(name)
        made = client.create_run(
            place, start_time=_milliseconds(run.created_at), run_name=_name(run), tags=_tags(run)
        )
        params = [
            mlflow.entities.Param(setting, str(value))
            for setting, value in results.experiment.config.items()
        ]
        metrics = [
            mlflow.entities.Metric(
                measure,
                value,
                _milliseconds(run.created_at + float(row["seconds"])),
                int(row["step"]),
            )
            for row in points.to_dict("records")
            for measure, value in _measures(row)
        ]
        last = int(points["step"].max()) if len(points) else 0
        ended = _milliseconds(run.finished_at or run.created_at)
        metrics += [
            mlflow.entities.Metric(name, value, ended, last) for name, value in _results(run)
        ]
        for start in range(0, max(len(params), 1), 100):  # servers take so many at once
            client.log_batch(made.info.run_id, params=params[start : start + 100])
        for start in range(0, len(metrics), 1000):
            client.log_batch(made.info.run_id, metrics=metrics[start : start + 1000])
        status = "FINISHED" if run.finished_at is not None else "KILLED"
        client.set_terminated(made.info.run_id, status, end_time=ended)
        written.append(made.info.run_id)
    return written


def _runs(
    store: Store, experiment_ids: Sequence[str]
) -> Iterator[tuple[Results, Run, pd.DataFrame]]:
    for experiment_id in dict.fromkeys(experiment_ids):
        results, table = load_results(store, experiment_id), metrics_table(store, [experiment_id])
        for _, run in results.links:
            yield results, run, table[table["run"] == run.id]


def _name(run: Run) -> str:
    return f"{run.role}-seed-{run.seed}-{run.id}"


def _tags(run: Run) -> dict[str, str]:
    return {"role": run.role, "seed": str(run.seed), "model": run.model, "kd_lab_run": run.id}


def _measures(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for measure in MEASURES:
        value = row.get(measure)
        if value is not None and math.isfinite(value):
            yield f"{SPLITS[row['split']]}/{measure}", float(value)


def _results(run: Run) -> Iterator[tuple[str, float]]:
    for name in RESULTS:
        if (value := run.summary.get(name)) is not None:
            yield f"result/{name}", float(value)


def _as_markdown(config: dict[str, Any]) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in config.items())
    return f"| setting | value |\n| --- | --- |\n{rows}"


def _milliseconds(seconds: float) -> int:
    return int(1000 * seconds)
