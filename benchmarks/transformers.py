"""How fast a small transformer is trained: ``python -m benchmarks.transformers``.

A network on random images of 32 by 32 pixels (or, with ``--tokens 64``, on random texts of 4 to 64
tokens), cross-entropy and Adam: Keras' ``fit``, a bare ``tf.function`` loop, the same compiled with
XLA, KD Lab's loop with and without, the one with XLA once more with queries, keys and values apart,
and, of ``vit-...`` where PyTorch is installed, the network there. With ``--masked-words`` too,
what is learnt are masked words of the texts, and the loops alone take part. Contestants take turns,
several rounds of one epoch each, after a first epoch that counts for its compiling alone.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import importlib.util
import statistics as averages
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from unittest import mock

import click
import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from benchmarks.common import present
from benchmarks.pytorch_vit import epoch_of_pytorch
from kdcore import models
from kdcore.config.experiment import ExperimentConfig
from kdcore.models.language_model import build_head, encoder_of
from kdcore.plans.pretraining import Pretraining
from kdcore.tasks.values import InputValues
from kdcore.tasks.vocabulary import PADDING_ID, SPECIAL, TokenNumbers
from kdcore.training.language_model import LanguageModel, LanguageModelTrainer, mask_tokens
from kdcore.training.loop import (
    TOKENS_A_STEP,
    Learner,
    Loop,
    Network,
    by_length,
    student_order,
    text_lengths,
    train_together,
)
from kdcore.training.trainer import make_trainer

CLASSES, LEARNING_RATE, PIECES = 10, 1e-3, 4000
Epoch = Callable[[int], None]
LossOf = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Contest:
    """A network and what it learns: images [n, side, side, 3] of bytes, or tokens [n, length]."""

    network: str
    inputs: NDArray
    labels: NDArray
    batch_size: int
    masked_words: bool = False

    @property
    def of_texts(self) -> bool:
        """Whether its inputs are tokens."""
        return self.inputs.ndim == 2

    @property
    def scale(self) -> float:
        """What inputs are multiplied with before the network sees them."""
        return 1.0 if self.of_texts else 1 / 255

    @property
    def steps(self) -> int:
        """Full batches in an epoch."""
        return len(self.inputs) // self.batch_size

    def build(self) -> keras.Model:
        """Return a new network."""
        values = InputValues(tokens=PIECES) if self.of_texts else InputValues()
        return models.build(self.network, self.inputs.shape[1:], CLASSES, seed=0, values=values)

    def order(self, epoch: int) -> NDArray[np.int32]:
        """Return the rows of an epoch; texts of like length together."""
        plain = partial(student_order, len(self.inputs), 0)
        if not self.of_texts:
            return plain(epoch)
        return by_length(plain, text_lengths(self.inputs), self.batch_size)(epoch)


def fit(contest: Contest) -> Epoch:
    """Return an epoch as Keras has it; texts are as long as the longest of all."""
    model = contest.build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), loss, metrics=["accuracy"])
    inputs = contest.inputs.astype(np.float32) * np.float32(contest.scale)
    data = tf.data.Dataset.from_tensor_slices((inputs, contest.labels))
    batches = data.shuffle(len(inputs)).batch(contest.batch_size, drop_remainder=True).prefetch(2)
    return lambda number: model.fit(batches, verbose=0) and None


def classes_of(contest: Contest) -> tuple[LossOf, list[tf.Variable]]:
    """Return the loss of a new network that learns the labels, and its variables."""
    model = contest.build()

    def loss_of(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x, training=True))
        return tf.reduce_mean(losses)

    return loss_of, model.trainable_variables


def masked_words_of(contest: Contest) -> tuple[LossOf, list[tf.Variable]]:
    """Return the loss of a new encoder that guesses masked words, and its variables."""
    network = contest.build()
    encoder, head = encoder_of(network), build_head(network, seed=0)

    def loss_of(seen: tf.Tensor, guessed: tf.Tensor) -> tf.Tensor:
        real = tf.cast(seen != PADDING_ID, tf.int32)
        given = {"token_ids": seen, "segment_ids": tf.zeros_like(seen), "padding_mask": real}
        places = tf.broadcast_to(tf.range(tf.shape(seen)[1]), tf.shape(seen))
        logits = head(encoder(given), places)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(guessed, 0), logits)
        counted = tf.cast(guessed >= 0, tf.float32)
        return tf.reduce_sum(losses * counted) / tf.maximum(tf.reduce_sum(counted), 1.0)

    own = {id(variable) for variable in encoder.trainable_variables}
    of_head = [each for each in head.trainable_variables if id(each) not in own]
    return loss_of, [*encoder.trainable_variables, *of_head]


def masked(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return what is seen of tokens, and those that are to be guessed, -1 elsewhere."""
    tokens = tf.cast(x, tf.int32)
    how = tf.random.uniform(tf.concat([[2], tf.shape(tokens)], 0))
    others = tf.random.uniform(tf.shape(tokens), len(SPECIAL), PIECES, tf.int32)
    return mask_tokens(tokens, how, others, Pretraining().mask, TokenNumbers(PIECES))


def bare_loop(contest: Contest, *, compiled: bool) -> Epoch:
    """Return an epoch as plain TensorFlow would have it; texts are as long as their batch needs."""
    loss_of, variables = masked_words_of(contest) if contest.masked_words else classes_of(contest)
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(variables)
    inputs, targets = map(tf.convert_to_tensor, (contest.inputs, contest.labels))

    @tf.function(autograph=False, jit_compile=compiled)
    def take(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = loss_of(x, y)
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def batch_of(rows: tf.Tensor) -> tf.Tensor:
        batch = tf.gather(inputs, rows)
        if contest.of_texts:
            longest = tf.reduce_max(tf.math.count_nonzero(batch, axis=1, dtype=tf.int32))
            batch = batch[:, : -(-longest // TOKENS_A_STEP) * TOKENS_A_STEP]
        return tf.cast(batch, tf.float32) * contest.scale

    @tf.function(autograph=False)
    def run(batches: tf.Tensor) -> tf.Tensor:
        def body(step: tf.Tensor) -> tf.Tensor:
            rows = batches[step]
            x, y = batch_of(rows), tf.gather(targets, rows)
            take(*(masked(x) if contest.masked_words else (x, y)))
            return step + 1

        steps = tf.shape(batches)[0]
        return tf.while_loop(
            lambda step: step < steps, body, [tf.constant(0)], parallel_iterations=1
        )

    def epoch(number: int) -> None:
        order = contest.order(number)[: contest.steps * contest.batch_size]
        run(tf.constant(order.reshape(contest.steps, contest.batch_size)))

    return epoch


def kd_lab_loop(contest: Contest, *, compiled: bool) -> Epoch:
    """Return an epoch as KD Lab's workers run it."""
    model = contest.build()
    trainer = make_trainer("baseline", ExperimentConfig(learning_rate=LEARNING_RATE), model)
    if contest.masked_words:
        head, numbers = build_head(model, seed=0), TokenNumbers(PIECES)
        words = LanguageModel(model, head, Pretraining(), numbers, seed=0)
        words.compile(keras.optimizers.Adam(LEARNING_RATE))
        trainer = LanguageModelTrainer(words)
    learner = Learner(
        "student",
        Loop(trainer, contest.scale, jit_compile=compiled),
        Network(model, contest.scale),
        contest.inputs,
        contest.labels,
        contest.order,
        contest.batch_size,
        contest.steps,
    )
    return lambda number: train_together([learner], number + 1)


def with_three_products(epoch: Epoch) -> Epoch:
    """Return an epoch whose attention layers project queries, keys and values one by one, as Keras
    has it: its loop must not have been traced before.
    """

    def run(number: int) -> None:
        with mock.patch("kdcore.training.loop.fused_attention", nullcontext):
            epoch(number)

    return run


def contestants_of(contest: Contest, threads: int) -> dict[str, Epoch]:
    """Return who takes part, by name."""
    found = {
        "a bare tf.function loop": bare_loop(contest, compiled=False),
        "the same, XLA": bare_loop(contest, compiled=True),
        "KD Lab's loop": kd_lab_loop(contest, compiled=False),
        "the same loop, XLA": kd_lab_loop(contest, compiled=True),
    }
    if contest.masked_words:
        return found
    found["with three products"] = with_three_products(kd_lab_loop(contest, compiled=True))
    found = {"Keras fit": fit(contest), **found}
    if contest.network.startswith("vit-") and importlib.util.find_spec("torch"):
        found["PyTorch, eager"] = epoch_of_pytorch(
            contest.build(),
            contest.inputs,
            contest.labels,
            contest.batch_size,
            LEARNING_RATE,
            threads,
        )
    return found


def random_inputs(examples: int, side: int, tokens: int) -> NDArray:
    """Return images of a side, or texts of up to so many tokens, padded with 0."""
    generator = np.random.default_rng(0)
    if not tokens:
        return generator.integers(0, 256, (examples, side, side, 3)).astype(np.uint8)
    texts = generator.integers(1, PIECES, (examples, tokens)).astype(np.int32)
    lengths = generator.integers(4, tokens + 1, (examples, 1))
    return np.where(np.arange(tokens) < lengths, texts, 0).astype(np.int32)


@click.command()
@click.option("--network", default="vit-4-64", show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Epochs that count.")
@click.option("--batch-size", default=64, show_default=True)
@click.option("--examples", default=2048, show_default=True)
@click.option("--side", default=32, show_default=True, help="Of the images, in pixels.")
@click.option("--tokens", default=0, show_default=True, help="Of the longest text; 0: images.")
@click.option("--masked-words", is_flag=True, help="Learn to guess words of the texts.")
@click.option("--threads", default=2, show_default=True, help="Threads of TensorFlow.")
@click.option("--bfloat16", is_flag=True, help="Compute in bfloat16, but for PyTorch.")
def main(
    network: str,
    rounds: int,
    batch_size: int,
    examples: int,
    side: int,
    tokens: int,
    masked_words: bool,
    threads: int,
    bfloat16: bool,
) -> None:
    """Time an epoch of a small transformer, with and without XLA."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if bfloat16:
        keras.config.set_dtype_policy("mixed_bfloat16")
    labels = np.random.default_rng(1).integers(0, CLASSES, examples).astype(np.int32)
    ops.convert_to_tensor(0.0)  # start TensorFlow outside the timing
    inputs = random_inputs(examples, side, tokens)
    contest = Contest(network, inputs, labels, batch_size, masked_words)
    contestants = contestants_of(contest, threads)
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
            "examples/s": examples / averages.median(times),
            "of the bare loop's speed": averages.median(
                b / own for b, own in zip(bare, times, strict=True)
            ),
            "seconds to compile": first[name] - averages.median(times),
        }
        for name, times in seconds.items()
    ]
    what = f"4 to {tokens} tokens" if tokens else f"{side}×{side}"
    what += ", masked words" if masked_words else ""
    precision = ", bfloat16" if bfloat16 else ""
    title = f"{network}, {what}, batch {batch_size}, {threads} threads{precision}, median of {rounds} epochs"
    present(title, rows, seconds=seconds)


if __name__ == "__main__":
    main()
