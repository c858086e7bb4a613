"""What "auto" precision gives the teacher: ``python -m benchmarks.teacher_precision``.

The convolutional teacher of 256 and 512 filters on MNIST, batch 64, trained by KD Lab's own loop
from the same start on the same batches in float32 and in what "auto" resolves to, in turns; then
one pass over the training images in each.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import statistics as averages
import time
from functools import partial

import click
import keras
import numpy as np

from benchmarks.common import present
from kdcore import models
from kdcore.analysis.metrics import accuracy
from kdcore.analysis.statistics import paired_gain
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.fields import Precision
from kdcore.data import datasets
from kdcore.data.datasets import Dataset
from kdcore.models.precision import policy_scope, resolve_precision
from kdcore.training.loop import Learner, Loop, Network, student_order, train_together
from kdcore.training.trainer import Trainer

BATCH_SIZE, LEARNING_RATE = 64, 1e-3


def trained_teacher(
    dataset: Dataset, precision: Precision, seed: int, epochs: int
) -> tuple[Network, float]:
    """Train a teacher; returns it and the seconds that it took, tracing included."""
    with policy_scope(resolve_precision(precision).policy):
        model = models.build("conv-256-512", dataset.input_shape, dataset.classes, seed=seed)
        model.compile(
            keras.optimizers.Adam(LEARNING_RATE),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        network = Network(model, dataset.scale)
        order = partial(student_order, len(dataset.train), seed)
        steps_per_epoch = -(-len(dataset.train) // BATCH_SIZE)
        began = time.perf_counter()
        learner = Learner(
            "teacher",
            Loop(Trainer(model), network.scale),
            network,
            dataset.train.inputs,
            dataset.train.labels,
            order,
            BATCH_SIZE,
            steps_per_epoch,
        )
        train_together([learner], epochs)
        return network, time.perf_counter() - began


@click.command()
@click.option("--epochs", default=1, show_default=True, help="Epochs of the teacher.")
@click.option(
    "--seeds", default=3, show_default=True, help="Pairs of trainings, each from its own start."
)
@click.option("--examples", type=int, default=None, help="Training images to use. [default: all]")
def main(epochs: int, seeds: int, examples: int | None) -> None:
    """Time the teacher's training and its answers in both precisions."""
    dataset = datasets.load(
        ExperimentConfig(dataset="mnist", labels=None, training_examples=examples)
    )
    settings: tuple[Precision, Precision] = ("float32", "auto")
    training: dict[str, list[float]] = {setting: [] for setting in settings}
    answering: dict[str, list[float]] = {setting: [] for setting in settings}
    accuracies: dict[str, list[float]] = {setting: [] for setting in settings}
    for seed in range(seeds):
        for setting in settings:
            network, seconds = trained_teacher(dataset, setting, seed, epochs)
            training[setting].append(epochs * len(dataset.train) / seconds)
            accuracies[setting].append(
                accuracy(network.logits(dataset.test.inputs), dataset.test.labels)
            )
            began = time.perf_counter()
            network.logits(dataset.train.inputs)
            answering[setting].append(len(dataset.train) / (time.perf_counter() - began))
    rows = [
        {
            "precision": setting,
            "training, images/s": averages.median(training[setting]),
            "× float32": averages.median(
                fast / slow
                for fast, slow in zip(training[setting], training["float32"], strict=True)
            ),
            "answering, images/s": averages.median(answering[setting]),
            "× float32 ": averages.median(
                fast / slow
                for fast, slow in zip(answering[setting], answering["float32"], strict=True)
            ),
            "test accuracy": f"{np.mean(accuracies[setting]):.2%}",
        }
        for setting in settings
    ]
    gain = paired_gain(accuracies["auto"], accuracies["float32"], test_examples=len(dataset.test))
    present(
        f"Teacher precision on {len(dataset.train):,} MNIST images, {epochs} epochs, {seeds} pairs",
        rows,
        auto=resolve_precision("auto").reason,
        auto_minus_float32=gain.to_dict(),
        training=training,
        answering=answering,
    )


if __name__ == "__main__":
    main()
