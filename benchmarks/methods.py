"""What a step costs with each distillation method: ``python -m benchmarks.methods``.

The student of 16 and 32 filters on images of MNIST's size, batch 64; the teacher has 32 and 64
filters. Methods take turns, another one first in each round, after a round that is not counted;
each is told by its time against plain distillation's in the same round. What is compared of the
teacher was computed beforehand; methods on features are there once more with a teacher that is
asked at every step. Where PyTorch is installed, the same losses run there too, eager, with a live
teacher.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import importlib.util
import statistics as averages
import time
from collections.abc import Callable
from functools import partial

import click
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from benchmarks.common import present
from benchmarks.pytorch_methods import steps_of_pytorch
from kdcore import models
from kdcore.config.experiment import ExperimentConfig
from kdcore.methods import METHODS
from kdcore.training.loop import Learner, Loop, Network, student_order
from kdcore.training.teacher_features import Features, compared_layers, compute_features
from kdcore.training.trainer import make_targets, make_trainer

SHAPE, CLASSES, BATCH, SCALE = (28, 28, 1), 10, 64, 1 / 255


FILTERS = {"teacher": (32, 64), "student": (16, 32)}
LIVE, PYTORCH = ", live teacher", ", PyTorch"


def examples(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return random images and labels."""
    random = np.random.default_rng(0)
    inputs = random.integers(0, 256, (count, *SHAPE)).astype(np.uint8)
    return inputs, random.integers(0, CLASSES, count).astype(np.int32)


def learner(method: str, count: int, *, live: bool = False) -> Learner:
    """Return a student that is about to learn by a method."""
    inputs, labels = examples(count)
    config = ExperimentConfig(dataset="mnist", labels=None, **_settings(method))
    student = models.build(config.student, SHAPE, CLASSES, seed=0)
    teacher = models.build(_name("teacher"), SHAPE, CLASSES, seed=1)
    answering = Network(teacher, SCALE)
    features: Features = ()
    needs = METHODS[method].needs.teacher
    if needs == "features" and not live:
        features = compute_features(
            answering, inputs, compared_layers(config.method, teacher, student)
        )
    answers = answering.logits(inputs) if needs != "nothing" and not live else None
    asked = teacher if needs == "features" or live else None
    return Learner(
        method,
        Loop(make_trainer("student", config, student, asked), SCALE),
        Network(student, SCALE),
        inputs,
        make_targets("student", labels, np.arange(count), answers, features),
        partial(student_order, count, 0),
        BATCH,
        count // BATCH,
    )


def _name(role: str) -> str:
    return "conv-{}-{}".format(*FILTERS[role])


def _settings(method: str) -> dict[str, str]:
    """Return the method with a student that it can teach."""
    return {"method": method, "student": METHODS[method].student_example or _name("student")}


def learners(count: int, threads: int) -> dict[str, Callable[[], None]]:
    """Return what trains a student on all examples once, by name."""

    def train(one: Learner) -> None:
        one.advance(one.next_batches(one.steps_per_epoch))

    found: dict[str, Callable[[], None]] = {}
    for name, method in METHODS.items():
        if method.student_example:
            continue  # its student is another network: its steps cannot be compared
        found[name] = partial(train, learner(name, count))
        if method.needs.teacher == "features":
            found[name + LIVE] = partial(train, learner(name, count, live=True))
    found["logits" + LIVE] = partial(train, learner("logits", count, live=True))
    if importlib.util.find_spec("torch") is None:
        return found
    of_pytorch = steps_of_pytorch(*examples(count), FILTERS, BATCH, threads)
    return found | {name + PYTORCH: step for name, step in of_pytorch.items()}


@click.command()
@click.option("--rounds", default=15, show_default=True, help="Rounds that count.")
@click.option("--steps", default=60, show_default=True, help="Steps of each method in a round.")
@click.option("--threads", default=1, show_default=True, help="Threads of TensorFlow; 0: its own.")
def main(rounds: int, steps: int, threads: int) -> None:
    """Time the steps of all methods in turn."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    epochs = learners(BATCH * steps, threads)
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for pytorch in (False, True):  # apart: whoever comes after the other finds no data in its cache
        names = [name for name in epochs if name.endswith(PYTORCH) == pytorch]
        for number in range(rounds + 1 if names else 0):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                began = time.perf_counter()
                epochs[name]()
                if number > 0:  # the first one traces
                    seconds[name].append(time.perf_counter() - began)
    rows = []
    for name, times in seconds.items():
        plain = seconds["logits" + (PYTORCH if name.endswith(PYTORCH) else "")]
        ratios = [own / base for own, base in zip(times, plain, strict=True)]
        rows.append(
            {
                "method": name,
                "ms a step": 1000 * averages.median(times) / steps,
                "against plain distillation": averages.median(ratios),
                # Other work on the machine lengthens rounds and never shortens one.
                "fastest round against its": min(times) / min(plain),
            }
        )
    present(
        f"Methods, batch {BATCH}, {threads} threads, median of {rounds} rounds of {steps} steps",
        rows,
        seconds=seconds,
    )


if __name__ == "__main__":
    main()
