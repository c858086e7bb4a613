"""Compiled training loops that wait for the next student of the same kind.

To trace and compile a student's training step takes a second of processor time, which for a small
student is more than an epoch. Seeds, alpha, temperature and learning rate change none of it, so a
worker that trains the cells of a sweep one after the other compiles once. A kept loop starts
exactly like a new one: the same weights, the same numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import keras
from keras import ops

from kdcore.training.loop import Loop, Network

# Kinds kept at a time: student and baseline of a few architectures.
MOST_KEPT = 6


class Ready(NamedTuple):
    """A network, and the compiled loop that trains it."""

    network: Network
    loop: Loop


_kept: dict[Hashable, Ready] = {}


def take(kind: Hashable, start: keras.Model, learning_rate: float) -> Ready | None:
    """Return a kept loop with the weights of ``start`` and a new optimizer's state, None if there
    is none.

    Nobody else gets it until it is kept again.
    """
    ready = _kept.pop(kind, None)
    if ready is None:
        return None
    for variable, value in zip(ready.network.model.variables, start.variables, strict=True):
        variable.assign(value)
    optimizer = ready.loop.trainer.optimizer  # Adam: all that it keeps begins at zero
    for variable in optimizer.variables:
        variable.assign(ops.zeros_like(variable))
    optimizer.learning_rate = learning_rate
    ready.loop.trainer.reset_metrics()
    return ready


def keep(kind: Hashable, ready: Ready) -> None:
    """Keep a loop whose training has ended; of too many, the one that waited longest goes."""
    _kept[kind] = ready
    while len(_kept) > MOST_KEPT:
        _kept.pop(next(iter(_kept)), None)
