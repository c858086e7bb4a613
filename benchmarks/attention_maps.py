"""What it costs to keep where a network looks: the time for the maps of all probe examples against
that of an epoch of the same experiment.

    .venv/bin/python -m benchmarks.attention_maps
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import click

import kdcore
from benchmarks.common import present
from kdcore import ExperimentConfig, Store
from kdcore.analysis.attention import MOST_MOMENTS
from kdcore.analysis.results import load_results
from kdcore.data import datasets
from kdcore.training.attention_maps import attention_maps
from kdcore.training.evaluation import model_from_bytes
from kdcore.training.loop import Network

EPOCHS = 10
STUDENTS = ("deit-2-32", "deit-4-64", "vit-4-64", "conv-16-32", "resnet-8-16")


@click.command()
@click.option("--times", default=9, show_default=True, help="Readings of the maps; their median.")
def main(times: int) -> None:
    """Train each student on digits, then read its maps."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder) / 'store.db'}")
        for student in STUDENTS:
            config = ExperimentConfig(student=student, epochs=EPOCHS, seeds=1, labels=100)
            experiment = kdcore.run(config, store=store).experiment_id
            (run,) = load_results(store, experiment).runs("student")
            dataset = datasets.load(config)
            data = store.artifact(f"model/{run.id}")
            assert data is not None
            network, seconds = Network(model_from_bytes(data), dataset.scale), []
            for _ in range(times):
                began = time.perf_counter()
                attention_maps(network, dataset.probe.inputs)
                seconds.append(time.perf_counter() - began)
            epoch, maps = run.summary["seconds"] / EPOCHS, statistics.median(seconds)
            rows.append(
                {
                    "student": student,
                    "epoch, ms": round(1000 * epoch),
                    "maps, ms": round(1000 * maps),
                    "share of 60 epochs, %": round(100 * MOST_MOMENTS * maps / (60 * epoch), 1),
                }
            )
    present("Maps of 64 examples against an epoch of 1,149 digits", rows)


if __name__ == "__main__":
    main()
