"""What a trained network can teach with: its logits of all training examples, itself, or its
layers.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdcore.storage.schema import Run
from kdcore.training.loop import Network
from kdcore.training.teacher_features import Features


@dataclass(frozen=True)
class Tapped:
    """A trained network whose layers students are compared with; which of them, their networks
    tell.
    """

    run: Run
    network: Network


@dataclass(frozen=True)
class Kept:
    """What was computed beforehand of a teacher's logits and layers for all training examples.

    ``form`` is what a compiled training step depends on beside the student.
    """

    logits: NDArray[np.float32]
    features: Features
    teacher: Network
    form: tuple[Hashable, ...]


# What a trained network answers: its logits of all training examples, itself where it is asked at
# every step, or its layers.
Answers = NDArray[np.float32] | Network | Tapped
# What a student learns from.
Taught = NDArray[np.float32] | Network | Kept


@dataclass(frozen=True)
class Comparison:
    """What students of a teacher are compared with, and how it was come by, in words."""

    teacher_run_id: str
    taught: Taught
    said: str
