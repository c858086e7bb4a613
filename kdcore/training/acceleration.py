"""When XLA pays: measured for a network and the shape of its batches, and weighed against what
compiling takes.

On processors it makes a step of small transformers 1.2 to 2 times as fast, and takes seconds to
compile for every network, size of batch and length of texts (``benchmarks/transformers.py``).
Convolutions it makes slower, so only networks with attention are measured.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kdcore.models.precision import cpu_field, gpus
from kdcore.training.loop import TOKENS_A_STEP, Loop, text_lengths

# A training is measured that sees so many examples, or multiplies so many numbers in its forward
# passes, for each shape that is compiled: in less, what compiling takes is not won back.
EXAMPLES_TO_MEASURE = 100_000
TEXTS_TO_MEASURE = 50_000  # for each length
MULTIPLICATIONS_TO_MEASURE = 500_000_000_000
# So many times as much on a GPU, which takes less time for it.
ON_GPU = 10
# What is saved must be so many times what compiling takes, and a step so many times as fast: more
# than one measurement differs from the next.
MARGIN, LEAST_GAIN = 1.5, 1.05
ROUNDS, SECONDS_OF_A_ROUND, MOST_STEPS = 3, 0.2, 64
EPOCHS_LOOKED_AT = 3


@dataclass(frozen=True)
class StepTimes:
    """Seconds of a step without XLA and with it, and of compiling each of them, for one shape."""

    plain: float
    xla: float
    compiling_plain: float
    compiling_xla: float

    @property
    def gain(self) -> float:
        """How many times as fast a step is with XLA."""
        return self.plain / self.xla

    def pays(self, steps: int, shapes: int = 1) -> bool:
        """Return whether XLA saves more than it takes in a training of so many steps, whose batches
        have so many shapes.
        """
        saved = (self.plain - self.xla) * steps
        compiling = max(self.compiling_xla - self.compiling_plain, 0.0) * shapes
        return self.gain >= LEAST_GAIN and saved > MARGIN * compiling

    def to_bytes(self) -> bytes:
        """Return them as the store keeps them."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> StepTimes:
        """Read what ``to_bytes`` wrote."""
        return cls(**json.loads(data))


def is_long(examples: int, multiplications: int, longest: int | None = None) -> bool:
    """Return whether a training is long enough to be measured.

    Args:
        examples: that it sees, epoch for epoch.
        multiplications: in the forward pass of one of them.
        longest: the length of the longest text in tokens, None where the examples are no texts.
    """
    lengths = 1 if longest is None else -(-longest // TOKENS_A_STEP)
    each = examples / lengths / (ON_GPU if gpus() else 1)
    least = EXAMPLES_TO_MEASURE if longest is None else TEXTS_TO_MEASURE
    return each >= least or each * multiplications >= MULTIPLICATIONS_TO_MEASURE


def device() -> str:
    """Return what computes here: the GPUs, or the processor with the number of threads."""
    if found := gpus():
        return ", ".join(name for name, _ in found)
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return f"{cpu_field('model name') or platform.machine()}, {threads or os.cpu_count()} threads"


def shapes_of(
    order: Callable[[int], NDArray[np.int32]],
    epochs: int,
    batch_size: int,
    texts: NDArray | None,
) -> tuple[NDArray[np.int32], int]:
    """Return the rows of a typical batch, of median length where there are ``texts``, and how many
    shapes the batches have.

    ``texts`` are the tokens [n, length] of all examples.
    """
    batches = list(_batches(order, min(epochs, EPOCHS_LOOKED_AT), batch_size))
    lengths = [0] * len(batches)
    if texts is not None:
        of_texts = text_lengths(texts)
        lengths = [-(-int(of_texts[rows].max()) // TOKENS_A_STEP) for rows in batches]
    shapes = {(len(rows), length) for rows, length in zip(batches, lengths, strict=True)}
    full = [number for number, rows in enumerate(batches) if len(rows) == batch_size]
    by_length = sorted(full or range(len(batches)), key=lengths.__getitem__)
    return batches[by_length[len(by_length) // 2]], len(shapes)


def _batches(
    order: Callable[[int], NDArray[np.int32]], epochs: int, batch_size: int
) -> Iterable[NDArray[np.int32]]:
    for epoch in range(epochs):
        rows = order(epoch)
        yield from (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))


def measure(make: Callable[[bool], Loop], inputs: NDArray, targets: Any) -> StepTimes:
    """Time steps on one batch, without XLA and with it in turns.

    ``make`` returns a new loop, with XLA where it is given True; it is trained and thrown away.
    Random numbers that anybody else draws stay what they would have been.
    """
    with _unchanged_random_numbers():
        contestants = [_Contestant(make(compiled), inputs, targets) for compiled in (False, True)]
        for each in contestants:
            each.begin()
        for _ in range(ROUNDS):
            for each in contestants:
                each.take_turn()
    plain, xla = contestants
    return StepTimes(plain.step, xla.step, plain.compiling, xla.compiling)


class _Contestant:
    """A loop on one batch over and over, and how long it took."""

    def __init__(self, loop: Loop, inputs: NDArray, targets: Any) -> None:
        self._loop, self._size = loop, len(inputs)
        self._data = tf.nest.map_structure(tf.convert_to_tensor, (inputs, targets))
        self._first, self._steps, self._turns = 0.0, 1, list[float]()
        loop.build(*self._data)
        loop.trainer.at_epoch(1)

    def begin(self) -> None:
        self._first = self._seconds(1)
        self._steps = int(min(max(SECONDS_OF_A_ROUND / self._seconds(1), 1), MOST_STEPS))

    def take_turn(self) -> None:
        self._turns.append(self._seconds(self._steps) / self._steps)

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return statistics.median(self._turns)

    @property
    def compiling(self) -> float:
        """Seconds of the first step beyond those of another."""
        return max(self._first - self.step, 0.0)

    def _seconds(self, steps: int) -> float:
        began = time.perf_counter()
        self._loop(np.tile(np.arange(self._size, dtype=np.int32), (steps, 1)), *self._data)
        # A GPU answers before it has done: its last variable is waited for.
        np.asarray(self._loop.trainer.model.optimizer.iterations)
        return time.perf_counter() - began


@contextmanager
def _unchanged_random_numbers() -> Iterator[None]:
    """Put the generators that a process has in common back at the end of a ``with`` block."""
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
