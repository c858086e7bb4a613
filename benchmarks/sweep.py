"""What a sweep costs against the same runs one by one: ``python -m benchmarks.sweep``.

The seed example's networks on MNIST (``KD_DATA_DIR`` with mnist.npz, or a download): a teacher of
256 and 512 filters that is given, students of 16 and 32, batch 64. One by one means
``keras.distillation.Distiller`` with its live teacher; a few of those runs are measured and
multiplied. The sweep is KD Lab's own: worker processes, teacher logits computed once (in its time),
a baseline for each seed, everything streamed, measured and stored. Its time is given from the start
of the command to the last cell, with the start of the workers, and without.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import subprocess
import sys
import tempfile
import time
from typing import Any

import click
import numpy as np

from benchmarks.common import present
from kdcore import sweeps
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.presets import PRESETS
from kdcore.config.sweep import Axis, SweepConfig
from kdcore.engine.local import LocalEngine
from kdcore.storage.schema import JobStatus
from kdcore.storage.store import Store
from kdcore.sweeps import results as sweep_results

SECONDS_BETWEEN_POLLS = 0.5


def grid(base: ExperimentConfig, cells: int) -> SweepConfig:
    """Return a sweep over alpha and temperature of at least so many cells, five alphas or fewer
    across.
    """
    alphas = min(5, cells)
    temperatures = np.geomspace(1, 16, -(-cells // alphas)).round(3).tolist()
    return SweepConfig(
        base,
        (
            Axis("alpha", tuple(np.linspace(0.1, 0.9, alphas).round(3).tolist())),
            Axis("temperature", tuple(temperatures)),
        ),
    )


def run_sweep(store: Store, config: SweepConfig, workers: int) -> dict[str, Any]:
    """Run a sweep to its end with fresh workers.

    Returns its seconds, with and without their start.
    """
    engine = LocalEngine(store, workers=workers, idle_seconds=1.0)
    began = time.perf_counter()
    sweep_id = sweeps.create(store, config)
    sweeps.submit(store, engine, sweep_id)
    while (found := sweep_results.load(store, sweep_id)).status == "running":
        engine.tend()
        time.sleep(SECONDS_BETWEEN_POLLS)
    seconds = time.perf_counter() - began
    if found.status != "finished":
        raise click.ClickException(
            f"the sweep {found.status}: {[job.error for job in found.jobs if job.error][:1]}"
        )
    while store.workers():  # the next one starts its own
        engine.tend()
        time.sleep(SECONDS_BETWEEN_POLLS)
    cell = found.seconds_a_cell or float("nan")
    return {
        "seconds": seconds,
        "without start": sweep_results.seconds_spent(found),
        "seconds a cell": cell,
        "cells": len(found.cells),
        "workers": workers,
    }


def train_teacher(store: Store, base: ExperimentConfig) -> None:
    """Train the teacher that all are given, outside of the timing, and forget what it answered."""
    engine = LocalEngine(store, workers=1, idle_seconds=1.0)
    teacher_id = store.create(base)
    store.finish(teacher_id, JobStatus.STOPPED)
    with store.writing() as session:
        from kdcore.storage.schema import Job

        session.get_one(Job, teacher_id).payload = {"reuse": "all", "parts": ["teacher"]}
    store.requeue(teacher_id)
    engine.submit(teacher_id)
    while JobStatus(store.job(teacher_id).status).live:
        engine.tend()
        time.sleep(SECONDS_BETWEEN_POLLS)
    (run,) = store.finished_runs("teacher")
    key = store.artifact_used_by(run.id, "teacher_logits/")
    assert key is not None, "its logits were cached"
    store.delete_artifacts(key)
    while store.workers():
        engine.tend()
        time.sleep(SECONDS_BETWEEN_POLLS)


def time_keras(store_url: str, base: ExperimentConfig, runs: int) -> list[float]:
    """Return the seconds of single runs with Keras' own distiller and a live teacher, in a process
    of their own.
    """
    command = [
        sys.executable,
        "-m",
        "benchmarks.sweep",
        "--keras-runs",
        str(runs),
        "--store",
        store_url,
    ]
    command += ["--epochs", str(base.epochs)]
    if base.training_examples is not None:
        command += ["--examples", str(base.training_examples)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:])
    return [float(seconds) for seconds in done.stdout.split()[-runs:]]


def keras_runs(store: Store, base: ExperimentConfig, runs: int) -> None:
    """Print the seconds of each run.

    The teacher is the stored one, in float32 as plain Keras code would have it.
    """
    from benchmarks.distillation import in_float32, keras_distiller
    from kdcore import models
    from kdcore.data import datasets

    dataset = datasets.load(base)
    (run,) = store.finished_runs("teacher")
    data = store.artifact(f"model/{run.id}")
    assert data is not None
    teacher = in_float32(data)
    for seed in range(runs):
        student = models.build(base.student, dataset.input_shape, dataset.classes, seed=seed)
        began = time.perf_counter()
        keras_distiller(student, teacher, dataset, seed, base.epochs)
        print(time.perf_counter() - began)


@click.command()
@click.option("--epochs", default=3, show_default=True, help="Epochs of each student.")
@click.option("--examples", type=int, default=None, help="Training images to use. [default: all]")
@click.option(
    "--teacher-epochs",
    default=1,
    show_default=True,
    help="Epochs of the teacher, outside the timing.",
)
@click.option(
    "--size",
    default=25,
    show_default=True,
    help="Cells of the sweep that is set against single runs.",
)
@click.option(
    "--cells", default="5,100", show_default=True, help="Further sizes to time with all workers."
)
@click.option(
    "--references",
    default=2,
    show_default=True,
    help="Runs of keras.distillation.Distiller to measure.",
)
@click.option("--keras-runs", "single_runs", type=int, default=0, hidden=True)
@click.option("--store", "store_url", default=None, hidden=True)
def main(
    epochs: int,
    examples: int | None,
    teacher_epochs: int,
    size: int,
    cells: str,
    references: int,
    single_runs: int,
    store_url: str | None,
) -> None:
    """Time a sweep, by default 5 by 5, against single runs, from one worker to one a core, and from
    few cells to many.
    """
    base = PRESETS["The Keras example (MNIST)"].replace(
        epochs=epochs, teacher_epochs=teacher_epochs, seeds=1, training_examples=examples
    )
    if single_runs:
        assert store_url is not None
        keras_runs(Store(store_url), base, single_runs)
        return
    counts, cores = [int(count) for count in cells.split(",")], os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/store.db")
        train_teacher(store, base)
        one_by_one = time_keras(store.url, base, references)
        single = float(np.median(one_by_one))
        # A seed of its own for each sweep: nothing that an earlier one trained serves again, but
        # the teacher.
        seed, measured = 1, [run_sweep(store, grid(base, size), cores)]
        for count, workers in [(size, 1), (size, cores), *((count, cores) for count in counts)]:
            seed += 1
            measured.append(run_sweep(store, grid(base.replace(seed=seed), count), workers))
        store.close()
    rows = [
        {
            **found,
            "runs one by one": single * found["cells"],
            "× cheaper": single * found["cells"] / found["seconds"],
            "× without start": single * found["cells"] / found["without start"],
        }
        for found in measured
    ]
    present(
        f"Sweeps on {examples or 55_000:,} MNIST images, {epochs} epochs; one by one: {references} runs measured, the rest "
        "multiplied",
        rows,
        keras_seconds=one_by_one,
        speed_up_of_workers=measured[1]["without start"] / measured[2]["without start"],
    )


if __name__ == "__main__":
    main()
