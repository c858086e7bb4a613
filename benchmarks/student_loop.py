"""What KD Lab's training loop costs over a bare one: ``python -m benchmarks.student_loop``.

The student of 16 and 32 filters on MNIST, batch 64, from given teacher logits. A bare
``tf.function`` that gathers a batch, takes the gradient of the distillation loss and applies Adam,
with no metrics, no callbacks and no Stop, is the yardstick; then the same through ``Distiller``,
silent, and streaming to a store while somebody polls it as a page does. Contestants take turns,
several rounds of one epoch each, after a first epoch that is not counted.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import contextlib
import statistics as averages
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial

import click
import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from benchmarks.common import present, student_run
from kdcore import models
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.data.datasets import Dataset
from kdcore.storage.store import Store
from kdcore.training.callbacks import MetricStream
from kdcore.training.loop import Learner, Loop, Network, student_order, train_together
from kdcore.training.trainer import make_trainer

ALPHA, TEMPERATURE, LEARNING_RATE = 0.1, 10.0, 1e-3
POLL = """
import sys, time
from kdcore.analysis.curves import Curves
from kdcore.analysis.results import load_results
from kdcore.storage.store import Store
store, curves = Store(sys.argv[1]), Curves()
while True:
    curves.read_on(store, load_results(store, sys.argv[2]))
    time.sleep(0.3)
"""


def bare_loop(
    dataset: Dataset, logits: NDArray[np.float32], batch_size: int
) -> Callable[[int], None]:
    """Return an epoch as plain TensorFlow would have it."""
    student = models.build("conv-16-32", dataset.input_shape, dataset.classes, seed=0)
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(student.trainable_variables)
    inputs, labels, teacher = map(
        tf.convert_to_tensor, (dataset.train.inputs, dataset.train.labels, logits)
    )

    @tf.function(autograph=False)
    def run(batches: tf.Tensor) -> tf.Tensor:
        def body(step: tf.Tensor) -> tf.Tensor:
            rows = batches[step]
            x = tf.cast(tf.gather(inputs, rows), tf.float32) * dataset.scale
            with tf.GradientTape() as tape:
                outputs = student(x, training=True)
                hard = tf.nn.sparse_softmax_cross_entropy_with_logits(
                    tf.gather(labels, rows), outputs
                )
                target = tf.nn.log_softmax(tf.gather(teacher, rows) / TEMPERATURE)
                soft = tf.reduce_sum(
                    tf.exp(target) * (target - tf.nn.log_softmax(outputs / TEMPERATURE)), axis=-1
                )
                loss = ALPHA * tf.reduce_mean(hard) + (1 - ALPHA) * TEMPERATURE**2 * tf.reduce_mean(
                    soft
                )
            gradients = tape.gradient(loss, student.trainable_variables)
            optimizer.apply_gradients(zip(gradients, student.trainable_variables, strict=True))
            return step + 1

        return tf.while_loop(
            lambda step: step < tf.shape(batches)[0], body, [tf.constant(0)], parallel_iterations=1
        )

    def epoch(number: int) -> None:
        full = len(dataset.train) // batch_size
        order = student_order(len(dataset.train), 0, number)[: full * batch_size]
        run(tf.constant(order.reshape(full, batch_size)))

    return epoch


def kd_lab_loop(
    dataset: Dataset,
    logits: NDArray[np.float32],
    batch_size: int,
    stream_to: tuple[Store, str] | None,
) -> Callable[[int], None]:
    """Return an epoch as KD Lab's workers run it."""
    student = models.build("conv-16-32", dataset.input_shape, dataset.classes, seed=0)
    config = ExperimentConfig(alpha=ALPHA, temperature=TEMPERATURE, learning_rate=LEARNING_RATE)
    trainer = make_trainer("student", config, student)
    steps_per_epoch = -(-len(dataset.train) // batch_size)
    callbacks: list[keras.callbacks.Callback] = []
    if stream_to is not None:
        store, run_id = stream_to
        callbacks.append(
            MetricStream(store, run_id, steps_per_epoch=steps_per_epoch, batch_size=batch_size)
        )
    learner = Learner(
        "student",
        Loop(trainer, dataset.scale),
        Network(student, dataset.scale),
        dataset.train.inputs,
        {"labels": dataset.train.labels, "teacher_logits": logits},
        partial(student_order, len(dataset.train), 0),
        batch_size,
        steps_per_epoch,
        callbacks,
    )
    return lambda number: train_together([learner], number + 1)


@contextlib.contextmanager
def watched_run(folder: str) -> Iterator[tuple[Store, str]]:
    """Give a store and a run to stream to, which another process polls as an open page does."""
    store = Store(f"sqlite:///{folder}/store.db")
    config = ExperimentConfig(dataset="mnist", labels=None, seeds=1)
    run = student_run(store, config)
    poll = subprocess.Popen([sys.executable, "-c", POLL, store.url, run.experiment_id])
    try:
        yield store, run.id
    finally:
        poll.kill()
        poll.wait()


@click.command()
@click.option(
    "--rounds", default=7, show_default=True, help="Epochs of each contestant that count."
)
@click.option("--batch-size", default=64, show_default=True)
@click.option(
    "--threads",
    default=1,
    show_default=True,
    help="Threads of TensorFlow; 0 leaves it to TensorFlow.",
)
@click.option("--examples", type=int, default=None, help="Training images to use. [default: all]")
def main(rounds: int, batch_size: int, threads: int, examples: int | None) -> None:
    """Time an epoch of a small student, bare, in KD Lab's loop, and streamed."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    dataset = datasets.load(
        ExperimentConfig(dataset="mnist", labels=None, training_examples=examples)
    )
    logits = (
        np.random.default_rng(0)
        .normal(0, 5, (len(dataset.train), dataset.classes))
        .astype(np.float32)
    )
    ops.convert_to_tensor(0.0)  # start TensorFlow outside the timing
    with tempfile.TemporaryDirectory() as folder, watched_run(folder) as stream_to:
        contestants = {
            "a bare tf.function loop": bare_loop(dataset, logits, batch_size),
            "Distiller in KD Lab's loop": kd_lab_loop(dataset, logits, batch_size, None),
            "the same, streaming, page open": kd_lab_loop(dataset, logits, batch_size, stream_to),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for number in range(rounds + 1):
            for name, epoch in contestants.items():
                began = time.perf_counter()
                epoch(number)
                if number > 0:  # the first epoch traces
                    seconds[name].append(time.perf_counter() - began)
    bare, silent, _ = seconds.values()
    rows = [
        {
            "loop": name,
            "images/s": len(dataset.train) / averages.median(times),
            "of the bare loop's speed": averages.median(
                b / own for b, own in zip(bare, times, strict=True)
            ),
            "time against silent": averages.median(
                own / s for s, own in zip(silent, times, strict=True)
            ),
        }
        for name, times in seconds.items()
    ]
    present(
        f"Student loop, batch {batch_size}, {threads} threads, median of {rounds} epochs",
        rows,
        seconds=seconds,
    )


if __name__ == "__main__":
    main()
