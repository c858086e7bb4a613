"""Training loops over data that already lies on the device: several models advance together, batch
by batch.

Keras' ``fit`` reaches about half of a bare TensorFlow loop's speed with small students, and cannot
train two models in step. Here each model's own ``train_step`` runs inside one compiled loop over
many batches; the callbacks are Keras'.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kdcore.errors import StopRequested, StoreError
from kdcore.models.augmentation import Augmentation
from kdcore.models.fused_attention import fused_attention
from kdcore.models.mixing import Mixing
from kdcore.models.strided_gradients import strided_gradients
from kdcore.storage.arrays import pack_many, unpack_many
from kdcore.training.trainer import Trainer

# A chunk is one call into TensorFlow: long enough to amortise the call, short enough for Stop and
# for live curves, which get four points a second.
SECONDS_PER_CHUNK = 0.25
PREDICTION_BATCH = 1024
PIXELS_OF_A_BATCH = 96 * 96  # of each image, at most, in a batch of that size
# Texts are padded to the longest of a batch, in steps of so many tokens.
TOKENS_A_STEP = 8
TEXTS_A_BATCH = 256
BATCHES_SORTED = 16


def student_order(examples: int, seed: int, epoch: int) -> NDArray[np.int32]:
    """Return the order in which the examples are seen in ``epoch``: a function of seed and epoch
    alone.
    """
    return np.random.default_rng((seed, epoch)).permutation(examples).astype(np.int32)


def labelled_order(labelled: NDArray, seed: int, epoch: int) -> NDArray[np.int32]:
    """Return the rows of ``epoch`` for a teacher: a pass over the labelled examples alone."""
    return labelled[student_order(len(labelled), seed, epoch)].astype(np.int32)


def baseline_order(
    labelled: NDArray, examples: int, batch_size: int, seed: int, epoch: int
) -> NDArray[np.int32]:
    """Return the baseline's rows for ``epoch``: as many steps as the student's, each a full batch
    of labelled examples.

    Where every example is labelled, exactly the student's order.
    """
    if len(labelled) == examples:
        return student_order(examples, seed, epoch)
    return _endless(labelled, -(-examples // batch_size) * batch_size, seed, epoch)


def mixed_order(
    labelled: NDArray,
    unlabelled: NDArray,
    ratio: int,
    examples: int,
    batch_size: int,
    seed: int,
    epoch: int,
) -> NDArray[np.int32]:
    """Return rows for ``epoch`` whose every batch holds ``ratio`` unlabelled examples for each
    labelled one, as near as the batch size allows.

    As many steps as there are in a pass over all examples; each of both kinds comes round as often
    as the others of its kind.
    """
    steps = -(-examples // batch_size)
    of_labelled = min(max(round(batch_size / (1 + ratio)), 1), batch_size - 1)
    first = _endless(labelled, steps * of_labelled, seed, epoch)
    second = _endless(unlabelled, steps * (batch_size - of_labelled), seed, epoch)
    batches = [first.reshape(steps, -1), second.reshape(steps, -1)]
    return np.concatenate(batches, axis=1).ravel()


def by_length(
    order: Callable[[int], NDArray[np.int32]], lengths: NDArray, batch_size: int
) -> Callable[[int], NDArray[np.int32]]:
    """Return an order in which texts of like length stand in one batch, so that little is padded.

    Of every sixteen batches in ``order`` the rows are sorted by length, and the batches shuffled;
    an uneven last batch stays. A function of the epoch alone, as ``order`` is.
    """

    def ordered(epoch: int) -> NDArray[np.int32]:
        rows, generator = order(epoch).copy(), np.random.default_rng(epoch)
        full = len(rows) // batch_size * batch_size
        for start in range(0, full, BATCHES_SORTED * batch_size):
            window = rows[start : min(start + BATCHES_SORTED * batch_size, full)]
            window = window[np.argsort(lengths[window], kind="stable")]
            batches = window.reshape(-1, batch_size)
            rows[start : start + len(window)] = generator.permutation(batches).ravel()
        return rows

    return ordered


def _endless(rows: NDArray, needed: int, seed: int, epoch: int) -> NDArray[np.int32]:
    """Return the ``needed`` rows of an epoch from pass after pass over ``rows``."""
    first, last = epoch * needed, (epoch + 1) * needed
    passes = range(first // len(rows), -(-last // len(rows)))
    stream = np.concatenate([rows[student_order(len(rows), seed, number)] for number in passes])
    start = first - passes[0] * len(rows)
    return stream[start : start + needed].astype(np.int32)


class Network:
    """A Keras model with compiled inference over stored inputs: ``logits(inputs)`` = model(inputs *
    scale).
    """

    def __init__(self, model: keras.Model, scale: float) -> None:
        self.model = model
        self.scale = scale

        @functools.cache
        def compiled(shape: tuple[int, ...], dtype: str) -> Any:
            """Return the model's inference for batches of any size: it is traced once, not for
            every size anew.
            """

            @tf.function(input_signature=[tf.TensorSpec([None, *shape], dtype)], autograph=False)
            def forward(inputs: tf.Tensor) -> tf.Tensor:
                return tf.cast(
                    model(tf.cast(inputs, tf.float32) * scale, training=False), tf.float32
                )

            return forward

        self._compiled = compiled

    def logits(self, inputs: NDArray) -> NDArray[np.float32]:
        """Return logits [n, classes] of stored inputs [n, ...], in batches that fit in memory."""
        shape = (None,) if takes_any_length(self.model) else inputs.shape[1:]
        forward = self._compiled(shape, str(inputs.dtype))
        batches = ((rows, forward(batch).numpy()) for rows, batch in self.batches(inputs))
        order, answers = zip(*batches, strict=True)
        return np.concatenate(answers)[np.argsort(np.concatenate(order))]

    def batches(self, inputs: NDArray) -> Iterator[tuple[NDArray[np.intp], NDArray]]:
        """Yield all stored inputs [n, ...] in batches that fit in memory, each with its rows.

        Texts of like length are answered together, each batch padded to its longest.
        """
        if not takes_any_length(self.model):
            for start in range(0, len(inputs), self._batch_size):
                rows = np.arange(start, min(start + self._batch_size, len(inputs)))
                yield rows, inputs[start : start + self._batch_size]
            return
        lengths = text_lengths(inputs)
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), TEXTS_A_BATCH):
            rows = order[start : start + TEXTS_A_BATCH]
            longest = -(-max(int(lengths[rows].max()), 1) // TOKENS_A_STEP) * TOKENS_A_STEP
            yield rows, inputs[rows, :longest]

    @functools.cached_property
    def _batch_size(self) -> int:
        """How many examples are answered at a time: fewer where a network enlarges its images."""
        resized = (
            layer.height * layer.width
            for layer in getattr(self.model, "layers", ())
            if isinstance(layer, keras.layers.Resizing)
        )
        return max(PREDICTION_BATCH * PIXELS_OF_A_BATCH // max([*resized, PIXELS_OF_A_BATCH]), 8)


def takes_any_length(model: keras.Model) -> bool:
    """Return whether a model takes texts: tokens [n, length] of any length."""
    shapes = [tuple(each.shape) for each in getattr(model, "inputs", None) or ()]
    return shapes == [(None, None)]


def text_lengths(tokens: NDArray) -> NDArray[np.int64]:
    """Return how many tokens of each text [n, length] are not padding."""
    return np.count_nonzero(tokens, axis=1)


class Loop:
    """A trainer's own ``train_step`` over many batches in one call into TensorFlow; compiled at the
    first call.

    The data is an argument, so that one loop may serve one run after another. ``augment`` changes
    each batch before the trainer sees it, ``mix`` then mixes its examples with each other; a live
    teacher in the trainer sees the same copies. With ``jit_compile`` each step is one program of
    XLA, compiled once for every size of batch.
    """

    def __init__(
        self,
        trainer: Trainer,
        scale: float,
        augment: Augmentation | None = None,
        mix: Mixing | None = None,
        *,
        jit_compile: bool = False,
    ) -> None:
        self.trainer, self.scale, self.augment, self.mix = trainer, scale, augment, mix
        self.jit_compile = jit_compile
        step = trainer.step
        self._step = tf.function(step, autograph=False, jit_compile=True) if jit_compile else step
        self._built = False
        self._compiled: Any = None
        self._of_texts = takes_any_length(trainer.network)

    def build(self, inputs: tf.Tensor, targets: Any) -> None:
        """Create the trainer's variables: they must exist before the loop is traced."""
        if not self._built:
            # Two rows: what a batch of one cannot be asked for, such as correlations, is built too.
            self.trainer.build(self._batch(tf.constant([0, 0]), inputs, targets))
            self._built = True

    def __call__(self, batches: NDArray[np.int32], inputs: tf.Tensor, targets: Any) -> None:
        """Train on rows [steps, batch] of data that lies on the device."""
        if self._compiled is None:
            rows = tf.TensorSpec([None, None], tf.int32)
            data = tf.nest.map_structure(
                lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), (inputs, targets)
            )
            # Of what is trained: a teacher may be another loop's, too, which is traced now.
            rewritten = fused_attention if self.jit_compile else strided_gradients
            with rewritten(self.trainer.network):
                self._compiled = tf.function(self._run, autograph=False).get_concrete_function(
                    rows, *data
                )
        self._compiled(tf.convert_to_tensor(batches), inputs, targets)

    def _run(self, batches: tf.Tensor, inputs: tf.Tensor, targets: Any) -> tf.Tensor:
        def body(step: tf.Tensor) -> tf.Tensor:
            batch_inputs, batch_targets = self._batch(batches[step], inputs, targets)
            if self.augment:
                batch_inputs = self.augment(batch_inputs)
            if self.mix:
                batch_inputs, batch_targets = self.mix(batch_inputs, batch_targets)
            self._step(self.trainer.prepare((batch_inputs, batch_targets)))
            return step + 1

        steps = tf.shape(batches)[0]
        return tf.while_loop(
            lambda step: step < steps, body, [tf.constant(0)], parallel_iterations=1
        )

    def _batch(self, rows: tf.Tensor, inputs: tf.Tensor, targets: Any) -> tuple[tf.Tensor, Any]:
        chosen = tf.gather(inputs, rows)
        batch_inputs = tf.cast(chosen, tf.float32) * self.scale
        if self._of_texts:
            # What is padding in all of them is left out.
            longest = tf.reduce_max(tf.math.count_nonzero(chosen, axis=1, dtype=tf.int32))
            batch_inputs = batch_inputs[:, : -(-longest // TOKENS_A_STEP) * TOKENS_A_STEP]
        return batch_inputs, tf.nest.map_structure(lambda target: tf.gather(target, rows), targets)


@dataclass
class Learner:
    """One model in training: what it sees in which order, how far it is, and who listens.

    ``loop`` holds the trainer; ``targets`` is what that expects as y, arrays of one row an example;
    ``order(epoch)`` gives row numbers.
    """

    run_id: str
    loop: Loop
    network: Network
    inputs: NDArray | tf.Tensor
    targets: Any
    order: Callable[[int], NDArray[np.int32]]
    batch_size: int
    steps_per_epoch: int
    callbacks: Sequence[keras.callbacks.Callback] = ()
    step: int = 0
    _chunk_steps: int = field(default=1, init=False)
    _order: tuple[int, NDArray[np.int32]] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._data = tf.nest.map_structure(tf.convert_to_tensor, (self.inputs, self.targets))
        self.loop.build(*self._data)

    @property
    def model(self) -> keras.Model:
        """The Keras model whose training step is run, with its optimizer and metrics."""
        return self.loop.trainer.model

    @functools.cached_property
    def callback_list(self) -> keras.callbacks.CallbackList:
        """The callbacks as Keras calls them."""
        return keras.callbacks.CallbackList(list(self.callbacks), model=self.model)

    @property
    def epoch(self) -> int:
        """The epoch in progress, from 0."""
        return self.step // self.steps_per_epoch

    def next_batches(self, steps: int) -> NDArray[np.int32]:
        """Return row numbers [steps or fewer, batch] of the next batches.

        An uneven last batch comes alone.
        """
        if self._order is None or self._order[0] != self.epoch:
            self._order = (self.epoch, self.order(self.epoch))
        rows, batch = self._order[1], self.step % self.steps_per_epoch
        full = len(rows) // self.batch_size
        if batch >= full:
            return rows[full * self.batch_size :].reshape(1, -1)
        last = min(batch + steps, full)
        return rows[batch * self.batch_size : last * self.batch_size].reshape(
            last - batch, self.batch_size
        )

    def advance(self, batches: NDArray[np.int32]) -> None:
        """Train on ``batches`` in one call into TensorFlow."""
        self.loop.trainer.at_epoch(self.epoch + 1)
        self.loop(batches, *self._data)
        self.step += len(batches)

    def logs(self) -> dict[str, float]:
        """Return the epoch's metrics so far, as Keras names them."""
        return {name: float(value) for name, value in self.model.get_metrics_result().items()}

    def checkpoint(self) -> bytes:
        """Return all that is needed to go on exactly from here."""
        arrays = {
            f"v{number}": np.asarray(variable) for number, variable in enumerate(self._state())
        }
        return pack_many({**arrays, "step": np.asarray(self.step)})

    def restore(self, data: bytes) -> None:
        """Go back to where ``checkpoint`` was taken.

        Raises StoreError if it is of another model.
        """
        arrays = unpack_many(data)
        variables = self._state()
        if len(arrays) != len(variables) + 1:
            raise StoreError(f"the checkpoint of run {self.run_id} belongs to another model")
        for number, variable in enumerate(variables):
            variable.assign(arrays[f"v{number}"])
        self.step = int(arrays["step"])

    def _state(self) -> list[Any]:
        random = [each for each in (self.loop.augment, self.loop.mix) if each]
        return [
            *self.loop.trainer.state,
            *(variable for each in random for variable in each.variables),
        ]


def train_together(
    learners: Sequence[Learner],
    epochs: int,
    *,
    on_chunk: Callable[[], None] = lambda: None,
    save: Callable[[dict[str, bytes]], None] | None = None,
) -> None:
    """Train all learners for ``epochs``, side by side on threads of their own, in step with each
    other.

    ``on_chunk`` is called between chunks on this thread and may raise to stop; ``save`` receives
    checkpoints by run id, all of the same step, at the end of the training, at a stop, and often
    enough in between.
    """
    savings = _Savings(learners, save)
    for learner in learners:
        learner.callback_list.on_train_begin()
        if learner.step % learner.steps_per_epoch:  # resumed in mid-epoch
            learner.callback_list.on_epoch_begin(learner.epoch)
    with ThreadPoolExecutor(len(learners), thread_name_prefix="learner") as threads:
        try:
            while learners[0].epoch < epochs:
                _run_chunk(learners, threads)
                savings.save_if_due()
                on_chunk()
        except StopRequested:
            savings.save_now()
            raise
    savings.save_now()
    for learner in learners:
        learner.callback_list.on_train_end()


def _run_chunk(learners: Sequence[Learner], threads: ThreadPoolExecutor) -> None:
    epoch, steps_per_epoch = learners[0].epoch, learners[0].steps_per_epoch
    if learners[0].step % steps_per_epoch == 0:
        for learner in learners:
            learner.model.reset_metrics()
            learner.callback_list.on_epoch_begin(epoch)
    steps = min(learner._chunk_steps for learner in learners)
    batches = [learner.next_batches(steps) for learner in learners]
    # Learners whose last batches differ in size (full for one, uneven for the other) still take the
    # same steps.
    steps = min(map(len, batches))
    began = time.perf_counter()
    for done in [
        threads.submit(learner.advance, rows[:steps])
        for learner, rows in zip(learners, batches, strict=True)
    ]:
        done.result()
    seconds = time.perf_counter() - began
    for learner in learners:
        learner._chunk_steps = _next_chunk_steps(steps, seconds)
        batch = (learner.step - 1) % steps_per_epoch
        learner.callback_list.on_train_batch_end(batch, learner.logs())
        if learner.step % steps_per_epoch == 0:
            learner.callback_list.on_epoch_end(epoch, learner.logs())


def _next_chunk_steps(steps: int, seconds: float) -> int:
    """Return how many steps fit the time of a chunk, growing at most fourfold: one odd clock
    reading does no harm.
    """
    wanted = int(steps * SECONDS_PER_CHUNK / max(seconds, 1e-6))
    return max(1, min(wanted, 4 * steps + 4))


class _Savings:
    """Saves checkpoints so seldom that they cost at most a fiftieth of the time, but at least every
    minute.
    """

    def __init__(
        self, learners: Sequence[Learner], save: Callable[[dict[str, bytes]], None] | None
    ) -> None:
        self.learners, self.save = learners, save
        self.saved_step = learners[0].step
        self.due_at: float | None = None

    def save_if_due(self) -> None:
        if self.due_at is None:  # tracing the first chunk takes seconds, and says nothing yet
            self.due_at = time.perf_counter() + 1.0
        elif time.perf_counter() >= self.due_at:
            self.save_now()

    def save_now(self) -> None:
        step = self.learners[0].step
        if (
            self.save is None
            or step == self.saved_step
            or any(learner.step != step for learner in self.learners)
        ):
            return
        began = time.perf_counter()
        self.save({learner.run_id: learner.checkpoint() for learner in self.learners})
        cost = time.perf_counter() - began
        self.saved_step = step
        self.due_at = time.perf_counter() + min(max(1.0, 50 * cost), 60.0)
