"""What XLA gives a small transformer in training: ``python -m benchmarks.transformers``.

KerasHub's vision transformer of 4 layers and width 64 on images of 32 by 32 pixels in patches of 4
(65 tokens), batch 64, cross-entropy and Adam: Keras' ``fit``, a bare ``tf.function`` loop, the same
compiled with XLA, and KD Lab's loop with and without. Contestants take turns, several rounds of one
epoch each, after a first epoch that counts for its compiling alone.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import statistics as averages
import time
from collections.abc import Callable
from functools import partial

import click
import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from benchmarks.common import present
from kdcore import models
from kdcore.config.experiment import ExperimentConfig
from kdcore.training.loop import Learner, Loop, Network, student_order, train_together
from kdcore.training.trainer import make_trainer

CLASSES, LEARNING_RATE = 10, 1e-3
Epoch = Callable[[int], None]


def fit(network: str, images: NDArray, labels: NDArray, batch_size: int) -> Epoch:
    """Return an epoch as Keras has it."""
    model = models.build(network, images.shape[1:], CLASSES, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), loss, metrics=["accuracy"])
    data = tf.data.Dataset.from_tensor_slices((images.astype(np.float32) / 255, labels))
    batches = data.shuffle(len(images)).batch(batch_size, drop_remainder=True).prefetch(2)
    return lambda number: model.fit(batches, verbose=0) and None


def bare_loop(
    network: str, images: NDArray, labels: NDArray, batch_size: int, compiled: bool
) -> Epoch:
    """Return an epoch as plain TensorFlow would have it."""
    model = models.build(network, images.shape[1:], CLASSES, seed=0)
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(model.trainable_variables)
    inputs, targets = map(tf.convert_to_tensor, (images, labels))

    @tf.function(autograph=False, jit_compile=compiled)
    def take(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x, training=True))
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    @tf.function(autograph=False)
    def run(batches: tf.Tensor) -> tf.Tensor:
        def body(step: tf.Tensor) -> tf.Tensor:
            rows = batches[step]
            take(tf.cast(tf.gather(inputs, rows), tf.float32) / 255, tf.gather(targets, rows))
            return step + 1

        steps = tf.shape(batches)[0]
        return tf.while_loop(
            lambda step: step < steps, body, [tf.constant(0)], parallel_iterations=1
        )

    def epoch(number: int) -> None:
        full = len(images) // batch_size
        order = student_order(len(images), 0, number)[: full * batch_size]
        run(tf.constant(order.reshape(full, batch_size)))

    return epoch


def kd_lab_loop(
    network: str, images: NDArray, labels: NDArray, batch_size: int, compiled: bool
) -> Epoch:
    """Return an epoch as KD Lab's workers run it."""
    model = models.build(network, images.shape[1:], CLASSES, seed=0)
    trainer = make_trainer("baseline", ExperimentConfig(learning_rate=LEARNING_RATE), model)
    learner = Learner(
        "student",
        Loop(trainer, 1 / 255, jit_compile=compiled),
        Network(model, 1 / 255),
        images,
        labels,
        partial(student_order, len(images), 0),
        batch_size,
        len(images) // batch_size,
    )
    return lambda number: train_together([learner], number + 1)


@click.command()
@click.option("--network", default="vit-4-64", show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Epochs that count.")
@click.option("--batch-size", default=64, show_default=True)
@click.option("--examples", default=2048, show_default=True)
@click.option("--side", default=32, show_default=True, help="Of the images, in pixels.")
@click.option("--threads", default=2, show_default=True, help="Threads of TensorFlow.")
def main(
    network: str, rounds: int, batch_size: int, examples: int, side: int, threads: int
) -> None:
    """Time an epoch of a small transformer, with and without XLA."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (examples, side, side, 3)).astype(np.uint8)
    labels = generator.integers(0, CLASSES, examples).astype(np.int32)
    ops.convert_to_tensor(0.0)  # start TensorFlow outside the timing
    data = (network, images, labels, batch_size)
    contestants = {
        "Keras fit": fit(*data),
        "a bare tf.function loop": bare_loop(*data, compiled=False),
        "the same, XLA": bare_loop(*data, compiled=True),
        "KD Lab's loop": kd_lab_loop(*data, compiled=False),
        "the same loop, XLA": kd_lab_loop(*data, compiled=True),
    }
    first, seconds = dict[str, float](), {name: list[float]() for name in contestants}
    for number in range(rounds + 1):
        for name, epoch in contestants.items():
            began = time.perf_counter()
            epoch(number)
            spent = time.perf_counter() - began
            if number == 0:
                first[name] = spent
            else:
                seconds[name].append(spent)
    bare = seconds["a bare tf.function loop"]
    rows = [
        {
            "loop": name,
            "images/s": examples / averages.median(times),
            "of the bare loop's speed": averages.median(
                b / own for b, own in zip(bare, times, strict=True)
            ),
            "seconds to compile": first[name] - averages.median(times),
        }
        for name, times in seconds.items()
    ]
    title = f"{network}, {side}×{side}, batch {batch_size}, {threads} threads, median of {rounds} epochs"
    present(title, rows, seconds=seconds)


if __name__ == "__main__":
    main()
