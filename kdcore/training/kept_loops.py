"""Compiled training loops that wait for the next student of the same kind.

To trace and compile a student's training step takes a second of processor time, which for a small
student is more than an epoch. Seeds, alpha, temperature and learning rate change none of it, so a
worker that trains the cells of a sweep one after the other compiles once. A kept loop starts
exactly like a new one: the same weights, the same numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from kdcore.training.loop import Loop, Network

# Kinds kept at a time: student and baseline of a few architectures.
MOST_KEPT = 6


class Ready(NamedTuple):
    """A network, and the compiled loop that trains it."""

    network: Network
    loop: Loop


_kept: dict[Hashable, Ready] = {}


def take(kind: Hashable) -> Ready | None:
    """Return a kept loop of a kind, which is at the end of another run; None if there is none.

    Nobody else gets it until it is kept again.
    """
    return _kept.pop(kind, None)


def keep(kind: Hashable, ready: Ready) -> None:
    """Keep a loop whose training has ended; of too many, the one that waited longest goes."""
    _kept[kind] = ready
    while len(_kept) > MOST_KEPT:
        _kept.pop(next(iter(_kept)), None)
