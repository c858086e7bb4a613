"""What a step costs with each distillation method: ``python -m benchmarks.methods``.

The student of 16 and 32 filters on images of MNIST's size, batch 64; the teacher has 32 and 64
filters. Methods take turns, several rounds each, after a first one that is not counted; each is
told by its time against plain distillation's in the same round. Methods on logits learn from given
answers, those on features ask the teacher at every step.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import statistics as averages
import time
from functools import partial

import click
import numpy as np
import tensorflow as tf

from benchmarks.common import present
from kdcore import models
from kdcore.config.experiment import ExperimentConfig
from kdcore.methods import METHODS
from kdcore.training.loop import Learner, Loop, Network, student_order
from kdcore.training.trainer import make_targets, make_trainer

SHAPE, CLASSES, BATCH, SCALE = (28, 28, 1), 10, 64, 1 / 255


def learner(method: str, examples: int) -> Learner:
    """Return a student that is about to learn by a method."""
    random = np.random.default_rng(0)
    inputs = random.integers(0, 256, (examples, *SHAPE)).astype(np.uint8)
    labels = random.integers(0, CLASSES, examples).astype(np.int32)
    answers = random.normal(0, 5, (examples, CLASSES)).astype(np.float32)
    config = ExperimentConfig(dataset="mnist", labels=None, method=method)
    student = models.build("conv-16-32", SHAPE, CLASSES, seed=0)
    asked = METHODS[method].needs.teacher
    teacher = models.build("conv-32-64", SHAPE, CLASSES, seed=1) if asked == "features" else None
    targets = make_targets(
        "student", labels, np.arange(examples), answers if asked == "logits" else None
    )
    return Learner(
        method,
        Loop(make_trainer("student", config, student, teacher), SCALE),
        Network(student, SCALE),
        inputs,
        targets,
        partial(student_order, examples, 0),
        BATCH,
        examples // BATCH,
    )


@click.command()
@click.option("--rounds", default=15, show_default=True, help="Rounds that count.")
@click.option("--steps", default=60, show_default=True, help="Steps of each method in a round.")
@click.option("--threads", default=1, show_default=True, help="Threads of TensorFlow; 0: its own.")
def main(rounds: int, steps: int, threads: int) -> None:
    """Time the steps of all methods in turn."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    learners = {name: learner(name, BATCH * steps) for name in METHODS}
    seconds: dict[str, list[float]] = {name: [] for name in learners}
    for number in range(rounds + 1):
        for name, each in learners.items():
            began = time.perf_counter()
            each.advance(each.next_batches(steps))
            if number > 0:  # the first one traces
                seconds[name].append(time.perf_counter() - began)
    plain = seconds["logits"]
    rows = [
        {
            "method": name,
            "asks the teacher": METHODS[name].needs.teacher,
            "ms a step": 1000 * averages.median(times) / steps,
            "against plain distillation": averages.median(
                own / base for own, base in zip(times, plain, strict=True)
            ),
            # Other work on the machine lengthens rounds and never shortens one.
            "fastest round against its": min(times) / min(plain),
        }
        for name, times in seconds.items()
    ]
    present(
        f"Methods, batch {BATCH}, {threads} threads, median of {rounds} rounds of {steps} steps",
        rows,
        seconds=seconds,
    )


if __name__ == "__main__":
    main()
