"""Changed copies of training images, made anew at every step by Keras' own layers.

Teacher and student must look at the same copy: a teacher's cached answer is about the unchanged
image, so with augmentation it answers live ("consistent teaching", Beyer et al. 2022, "Knowledge
distillation: A good teacher is patient and consistent").
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from kdcore.errors import ModelError

LARGEST_SHIFT = 0.1  # of height and width


class Augmentation:
    """A chain of random layers, seeded: two of the same seed change the same batches in the same
    way.

    ``variables`` hold where the random numbers are, so that a resumed training goes on with the
    next ones.
    """

    def __init__(self, name: str, seed: int, value_range: tuple[float, float]) -> None:
        self.layers = _layers(name, seed, value_range)

    def __call__(self, images: Any) -> Any:
        """Return changed copies of a batch [n, height, width, channels]."""
        for layer in self.layers:
            images = layer(images, training=True)
        return images

    @property
    def variables(self) -> list[Any]:
        """The state of the random numbers."""
        return [variable for layer in self.layers for variable in layer.variables]


def augmentation(
    name: str, seed: int, input_shape: tuple[int, ...], value_range: tuple[float, float]
) -> Augmentation | None:
    """Return the augmentation of a config, None for "none".

    Raises ModelError for what is no images.
    """
    if name == "none":
        return None
    if len(input_shape) != 3:
        raise ModelError(f"augmentation needs images, but one example has shape {input_shape}")
    if name == "randaugment" and input_shape[2] != 3:
        raise ModelError(
            "RandAugment changes colours: it needs images of three channels; flips and shifts take any"
        )
    return Augmentation(name, seed, value_range)


def _layers(name: str, seed: int, value_range: tuple[float, float]) -> list[keras.Layer]:
    flip = layers.RandomFlip("horizontal", seed=seed)
    shift = layers.RandomTranslation(LARGEST_SHIFT, LARGEST_SHIFT, fill_mode="nearest", seed=seed)
    return {
        "flips": [flip],
        "shifts": [shift],
        "flips and shifts": [flip, shift],
        "randaugment": [layers.RandAugment(value_range=value_range, seed=seed)],
    }[name]
