"""What distilling with cached teacher logits saves: ``python -m benchmarks.distillation``.

MNIST (``KD_DATA_DIR`` with mnist.npz, or a download), a convolutional teacher of 256 and 512
filters that is given, a student of 16 and 32, batch 64. Every contestant starts from the same
student weights of each seed and ends with its accuracy on all test images. Contestants take turns,
so that a slow minute of the machine hits all of them.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import statistics as averages
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import click
import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from benchmarks.common import present, student_run
from kdcore import models
from kdcore.analysis.metrics import accuracy
from kdcore.analysis.statistics import paired_gain
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.data.datasets import Dataset
from kdcore.models.precision import policy_scope, resolve_precision
from kdcore.storage.store import Store
from kdcore.training.callbacks import MetricStream
from kdcore.training.distiller import Distiller
from kdcore.training.evaluation import model_from_bytes, model_to_bytes
from kdcore.training.loop import Learner, Loop, Network, student_order, train_together
from kdcore.training.teacher_logits import training_logits
from kdcore.training.trainer import DistillationTrainer

ALPHA, TEMPERATURE, BATCH_SIZE, LEARNING_RATE = 0.1, 10.0, 64, 1e-3
Contestant = Callable[[keras.Model, keras.Model, Dataset, int, int], None]


def keras_distiller(
    student: keras.Model, teacher: keras.Model, dataset: Dataset, seed: int, epochs: int
) -> None:
    """Distil with Keras' own class and a live teacher, as its documentation shows."""
    distiller = keras.distillation.Distiller(
        teacher=teacher,
        student=student,
        distillation_losses=keras.distillation.LogitsDistillation(
            TEMPERATURE, keras.losses.KLDivergence()
        ),
        student_loss_weight=ALPHA,
    )
    distiller.compile(
        optimizer=keras.optimizers.Adam(LEARNING_RATE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy()],
    )
    distiller.fit(
        _floats(dataset), dataset.train.labels, batch_size=BATCH_SIZE, epochs=epochs, verbose=0
    )


class _ExamplesDistiller(keras.Model):
    """The train step of the Keras distillation example (2020), with its live teacher."""

    def __init__(self, student: keras.Model, teacher: keras.Model) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        teacher_predictions = self.teacher(x, training=False)
        with tf.GradientTape() as tape:
            student_predictions = self.student(x, training=True)
            student_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(
                y, student_predictions
            )
            softened = [
                tf.nn.softmax(z / TEMPERATURE, axis=1)
                for z in (teacher_predictions, student_predictions)
            ]
            distillation_loss = keras.losses.KLDivergence()(*softened) * TEMPERATURE**2
            loss = ALPHA * student_loss + (1 - ALPHA) * distillation_loss
        gradients = tape.gradient(loss, self.student.trainable_variables)
        self.optimizer.apply_gradients(
            zip(gradients, self.student.trainable_variables, strict=True)
        )
        return {"loss": loss}


def live_teacher_step(
    student: keras.Model, teacher: keras.Model, dataset: Dataset, seed: int, epochs: int
) -> None:
    """Distil as the Keras example does: the teacher answers every batch anew."""
    distiller = _ExamplesDistiller(student, teacher)
    distiller.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE))
    distiller.fit(
        _floats(dataset), dataset.train.labels, batch_size=BATCH_SIZE, epochs=epochs, verbose=0
    )


class KDLab:
    """KD Lab's way: the teacher's logits once, streamed training on them, everything stored."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __call__(
        self, student: keras.Model, teacher: keras.Model, dataset: Dataset, seed: int, epochs: int
    ) -> None:
        """Distil with what the store has of the teacher.

        Its first call for a teacher has to ask it.
        """
        logits, _ = training_logits(self.store, Network(teacher, dataset.scale), dataset)
        distiller = Distiller(student=student)
        distiller.compile(
            optimizer=keras.optimizers.Adam(LEARNING_RATE),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            alpha=ALPHA,
            temperature=TEMPERATURE,
        )
        steps_per_epoch = -(-len(dataset.train) // BATCH_SIZE)
        run_id = self._run(seed)
        learner = Learner(
            run_id,
            Loop(DistillationTrainer(distiller), dataset.scale),
            Network(student, dataset.scale),
            dataset.train.inputs,
            {"labels": dataset.train.labels, "teacher_logits": logits},
            partial(student_order, len(dataset.train), seed),
            BATCH_SIZE,
            steps_per_epoch,
            [
                MetricStream(
                    self.store, run_id, steps_per_epoch=steps_per_epoch, batch_size=BATCH_SIZE
                )
            ],
        )
        train_together([learner], epochs, save=lambda _checkpoints: None)

    def _run(self, seed: int) -> str:
        config = ExperimentConfig(
            dataset="mnist", labels=None, student="conv-16-32", seed=seed, seeds=1
        )
        return student_run(self.store, config).id


def pytorch_cached(
    student: keras.Model, logits: NDArray[np.float32], dataset: Dataset, seed: int, epochs: int
) -> float:
    """Distil in PyTorch from the same cached logits and the same start.

    Returns the test accuracy.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    first, second, last = (layer.get_weights() for layer in student.layers if layer.get_weights())
    size = -(-dataset.input_shape[0] // 4)

    class Student(nn.Module):
        """conv-16-32 with Keras' asymmetric "same" padding."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 16, 3, 2), nn.Conv2d(16, 32, 3, 2)
            self.last = nn.Linear(32 * size * size, 10)

        def forward(self, x: Any) -> Any:
            x = functional.leaky_relu(self.first(functional.pad(x, (0, 1, 0, 1))), 0.2)
            x = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), value=float("-inf")), 2, 1)
            return self.last(
                self.second(functional.pad(x, (0, 1, 0, 1))).permute(0, 2, 3, 1).flatten(1)
            )

    torch.manual_seed(seed)
    network = Student()
    start = {
        "first.weight": first[0].transpose(3, 2, 0, 1),
        "second.weight": second[0].transpose(3, 2, 0, 1),
    }
    start |= {
        "last.weight": last[0].T,
        "first.bias": first[1],
        "second.bias": second[1],
        "last.bias": last[1],
    }
    network.load_state_dict(
        {name: torch.from_numpy(weights.copy()) for name, weights in start.items()}
    )
    inputs = torch.from_numpy(_floats(dataset).transpose(0, 3, 1, 2).copy())
    labels, teacher = (
        torch.from_numpy(dataset.train.labels.astype(np.int64)),
        torch.from_numpy(logits),
    )
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, eps=1e-7)
    for epoch in range(epochs):
        order = torch.from_numpy(student_order(len(dataset.train), seed, epoch).astype(np.int64))
        for first_row in range(0, len(order), BATCH_SIZE):
            rows = order[first_row : first_row + BATCH_SIZE]
            outputs = network(inputs[rows])
            soft = functional.kl_div(
                functional.log_softmax(outputs / TEMPERATURE, 1),
                functional.log_softmax(teacher[rows] / TEMPERATURE, 1),
                reduction="batchmean",
                log_target=True,
            )
            loss = (
                ALPHA * functional.cross_entropy(outputs, labels[rows])
                + (1 - ALPHA) * TEMPERATURE**2 * soft
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    test = torch.from_numpy(
        (dataset.test.inputs.astype(np.float32) * dataset.scale).transpose(0, 3, 1, 2).copy()
    )
    with torch.no_grad():
        right = network(test).argmax(1).numpy() == dataset.test.labels
    return float(np.mean(right))


def _floats(dataset: Dataset) -> NDArray[np.float32]:
    return dataset.train.inputs.astype(np.float32) * np.float32(dataset.scale)


def given_teacher(dataset: Dataset, epochs: int) -> bytes:
    """Train the teacher that all contestants are given, in "auto" precision.

    Returns its .keras file.
    """
    with policy_scope(resolve_precision("auto").policy):
        teacher = models.build("conv-256-512", dataset.input_shape, dataset.classes, seed=0)
        teacher.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        teacher.fit(
            _floats(dataset), dataset.train.labels, batch_size=BATCH_SIZE, epochs=epochs, verbose=0
        )
    return model_to_bytes(teacher)


def in_float32(teacher_file: bytes) -> keras.Model:
    """Return the teacher as plain Keras code would have it: same weights, float32 throughout."""
    teacher = model_from_bytes(teacher_file)
    plain = models.build("conv-256-512", teacher.input_shape[1:], teacher.output_shape[-1])
    plain.set_weights(teacher.get_weights())
    return plain


@click.command()
@click.option("--epochs", default=3, show_default=True, help="Epochs of distillation.")
@click.option("--seeds", default=3, show_default=True, help="Repetitions, each from its own start.")
@click.option("--examples", type=int, default=None, help="Training images to use. [default: all]")
@click.option(
    "--teacher-epochs",
    default=1,
    show_default=True,
    help="Epochs of the teacher, outside the timing.",
)
@click.option(
    "--pytorch/--no-pytorch", default=True, help="Also PyTorch from cached logits (needs torch)."
)
def main(epochs: int, seeds: int, examples: int | None, teacher_epochs: int, pytorch: bool) -> None:
    """Time distillation with the teacher given against three other ways of doing it."""
    dataset = datasets.load(
        ExperimentConfig(dataset="mnist", labels=None, training_examples=examples)
    )
    teacher_file = given_teacher(dataset, teacher_epochs)
    names = [
        "KD Lab, first run on a teacher",
        "KD Lab, every later run",
        "keras.distillation.Distiller",
        "the Keras example's train step",
    ]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    accuracies: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            kd_lab = KDLab(Store(f"sqlite:///{folder}/store.db"))
            contestants: list[tuple[str, Contestant]] = list(
                zip(names, (kd_lab, kd_lab, keras_distiller, live_teacher_step), strict=True)
            )
            for name, contestant in contestants:
                teacher = (
                    model_from_bytes(teacher_file)
                    if contestant is kd_lab
                    else in_float32(teacher_file)
                )
                student = models.build(
                    "conv-16-32", dataset.input_shape, dataset.classes, seed=seed
                )
                began = time.perf_counter()
                contestant(student, teacher, dataset, seed, epochs)
                seconds[name].append(time.perf_counter() - began)
                test_logits = Network(student, dataset.scale).logits(dataset.test.inputs)
                accuracies[name].append(accuracy(test_logits, dataset.test.labels))
            if pytorch:
                logits, _ = training_logits(
                    kd_lab.store, Network(model_from_bytes(teacher_file), dataset.scale), dataset
                )
                student = models.build(
                    "conv-16-32", dataset.input_shape, dataset.classes, seed=seed
                )
                began = time.perf_counter()
                right = pytorch_cached(student, logits, dataset, seed, epochs)
                seconds.setdefault("PyTorch, cached logits", []).append(time.perf_counter() - began)
                accuracies.setdefault("PyTorch, cached logits", []).append(right)
    first, later = (averages.median(seconds[name]) for name in names[:2])
    rows = [
        {
            "": name,
            "seconds": averages.median(times),
            "images/s": epochs * len(dataset.train) / averages.median(times),
            "× KD Lab's first run": averages.median(times) / first,
            "× a later run": averages.median(times) / later,
            "test accuracy": f"{np.mean(accuracies[name]):.2%}",
        }
        for name, times in seconds.items()
    ]
    verdicts = {
        name: paired_gain(
            accuracies[names[1]], accuracies[name], test_examples=len(dataset.test)
        ).to_dict()
        for name in list(seconds)[2:]
    }
    present(
        f"Distillation on {len(dataset.train):,} MNIST images, {epochs} epochs, median of {seeds}",
        rows,
        seconds=seconds,
        accuracies=accuracies,
        accuracy_against_later_runs=verdicts,
    )


if __name__ == "__main__":
    main()
