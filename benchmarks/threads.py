"""How many workers of how many threads train small students fastest: ``python -m
benchmarks.threads``.

Each worker is a process of its own that trains the seed example's student (16 and 32 filters, batch
64) on MNIST (``KD_DATA_DIR`` with mnist.npz, or a download) from given logits; all measure over the
same seconds. What counts is the sum of their images a second: it decides how many threads a worker
for a sweep's cells gets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import click

from benchmarks.common import present

SECONDS_TO_START = 20.0


def train_for(threads: int, seconds: float, begin_at: float) -> float:
    """Train in this process on so many threads, from a moment on that all wait for.

    Returns images a second.
    """
    from functools import partial

    from kdcore.engine.jobs import limit_threads

    limit_threads(threads)  # before TensorFlow is imported
    import numpy as np

    from kdcore import models
    from kdcore.config.presets import PRESETS
    from kdcore.data import datasets
    from kdcore.training.loop import Learner, Loop, Network, student_order
    from kdcore.training.trainer import make_trainer

    config = PRESETS["The Keras example (MNIST)"]
    dataset = datasets.load(config)
    network = Network(
        models.build(config.student, dataset.input_shape, dataset.classes, seed=0), dataset.scale
    )
    count = len(dataset.train)
    logits = np.random.default_rng(0).normal(size=(count, dataset.classes)).astype(np.float32)
    targets = {"labels": dataset.train.labels, "teacher_logits": logits}
    learner = Learner(
        "",
        Loop(make_trainer("student", config, network.model), network.scale),
        network,
        dataset.train.inputs,
        targets,
        partial(student_order, count, 0),
        config.batch_size,
        -(-count // config.batch_size),
    )
    for _ in range(3):
        learner.advance(learner.next_batches(20))
    if time.time() > begin_at:
        raise click.ClickException(
            "the machine is too busy: a worker was not ready in time; try --start-seconds"
        )
    time.sleep(begin_at - time.time())
    began, seen = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        rows = learner.next_batches(50)
        learner.advance(rows)
        seen += rows.size
    return seen / (time.perf_counter() - began)


def together(workers: int, threads: int, seconds: float, start_seconds: float) -> list[float]:
    """Return the images a second of each of so many processes that train at the same time."""
    begin_at = time.time() + start_seconds
    command = [
        sys.executable,
        "-m",
        "benchmarks.threads",
        "--one",
        json.dumps([threads, seconds, begin_at]),
    ]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(workers)
    ]
    outputs = [process.communicate()[0] for process in processes]
    return [float(output.split()[-1]) for output in outputs]


@click.command()
@click.option(
    "--seconds", default=8.0, show_default=True, help="How long each combination is measured."
)
@click.option("--repetitions", default=3, show_default=True, help="How often; the best counts.")
@click.option(
    "--start-seconds",
    default=SECONDS_TO_START,
    show_default=True,
    help="Time for all workers to be ready.",
)
@click.option("--one", default=None, hidden=True, help="For the processes that it starts.")
def main(seconds: float, repetitions: int, start_seconds: float, one: str | None) -> None:
    """Measure 1, half and all cores' worth of workers with 1 and all threads each."""
    if one is not None:
        print(train_for(*json.loads(one)))
        return
    cores = os.cpu_count() or 1
    counts = sorted({1, max(1, cores // 2), cores})
    measured = {
        (workers, threads): [
            together(workers, threads, seconds, start_seconds) for _ in range(repetitions)
        ]
        for workers in counts
        for threads in sorted({1, cores})
    }
    best = {combination: max(map(sum, found)) for combination, found in measured.items()}
    rows = [
        {
            "workers": workers,
            "threads each": threads,
            "images/s together": total,
            "× one worker of one thread": total / best[1, 1],
        }
        for (workers, threads), total in best.items()
    ]
    chosen = max(best, key=lambda combination: best[combination])
    present(
        f"Students side by side, best of {repetitions}",
        rows,
        fastest={"workers": chosen[0], "threads": chosen[1]},
    )


if __name__ == "__main__":
    main()
