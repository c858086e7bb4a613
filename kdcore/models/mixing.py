"""Mixtures of two examples, made anew at every step: mixup and CutMix.

The loss of a mixture is λ times that of the one label plus 1 - λ times that of the other. Here one
of the two labels is drawn with these chances: the mean is the same, and every method, metric and
example without a label is served as it is. A teacher answers for the very mixture that the student
sees (Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent").
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kdcore.errors import ModelError


class Mixing:
    """Mixes each example of a batch with another one of it; two of the same seed mix the same
    batches alike.

    λ is uniform between 0 and 1, another for each example. "mixup" takes λ x + (1 - λ) x'
    (Zhang et al. 2018), "cutmix" a rectangle of 1 - λ of the area from the other image (Yun et al.
    2019). ``variables`` hold where the random numbers are.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._numbers = keras.random.SeedGenerator(seed)

    def __call__(self, inputs: Any, labels: Any) -> tuple[Any, Any]:
        """Return mixed inputs [n, ...] and labels [n], -1 where the one drawn is not known."""
        count = ops.shape(inputs)[0]
        partner = ops.argsort(keras.random.uniform([count], seed=self._numbers))
        share = keras.random.uniform([count], seed=self._numbers)
        others = ops.take(inputs, partner, axis=0)
        if self.name == "mixup":
            kept = ops.reshape(share, [count, *([1] * (len(inputs.shape) - 1))])
            kept = ops.cast(kept, inputs.dtype)
            mixed = kept * inputs + (1 - kept) * others
        else:
            cut, share = self._rectangles(count, inputs.shape[1:3], share)
            mixed = ops.where(cut, others, inputs)
        drawn = keras.random.uniform([count], seed=self._numbers)
        return mixed, ops.where(drawn < share, labels, ops.take(labels, partner, axis=0))

    def _rectangles(self, count: Any, size: tuple[int, int], share: Any) -> tuple[Any, Any]:
        """Return where each image is another's, [n, height, width, 1], and the share that is not.

        A rectangle at the edge is cut off, so that the share is counted, not taken from λ.
        """
        inside = None
        for axis, length in enumerate(size):
            middle = length * keras.random.uniform([count], seed=self._numbers)
            half = length * ops.sqrt(1.0 - share) / 2.0
            places = ops.arange(length, dtype="float32") + 0.5
            near = ops.abs(places[None, :] - middle[:, None]) < half[:, None]
            near = near[:, :, None, None] if axis == 0 else near[:, None, :, None]
            inside = near if inside is None else ops.logical_and(inside, near)
        return inside, 1.0 - ops.mean(ops.cast(inside, "float32"), axis=(1, 2, 3))

    @property
    def variables(self) -> list[Any]:
        """The state of the random numbers."""
        return [self._numbers.state]


def mixing(name: str, seed: int, input_shape: tuple[int, ...]) -> Mixing | None:
    """Return the mixing of a config, None for "none".

    Raises ModelError for CutMix of what is no images.
    """
    if name == "none":
        return None
    if name == "cutmix" and len(input_shape) != 3:
        raise ModelError(f"cutmix needs images, but one example has shape {input_shape}")
    return Mixing(name, seed)
