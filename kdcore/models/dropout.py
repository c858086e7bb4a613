"""Dropout before the last layer, as a noise of training that any classifier can be given."""

from __future__ import annotations

import keras

from kdcore.errors import ModelError


def with_dropout(model: keras.Model, rate: float, seed: int) -> keras.Model:
    """Return ``model`` with dropout in front of its last layer; the weights are the same objects.

    Answers are unchanged, since nothing is dropped outside of training; 0 leaves the model as it
    is. Raises ModelError for a model whose last layer cannot be found.
    """
    if rate == 0:
        return model
    # A subclassed model has no graph to look at.
    ends = getattr(model, "outputs", None) or []
    last = next((layer for layer in reversed(model.layers) if ends and _ends_in(layer, ends)), None)
    if last is None or not isinstance(last.input, keras.KerasTensor):
        raise ModelError(
            f"dropout needs a model that ends in a layer with one input, got {model.name}"
        )
    dropout = keras.layers.Dropout(rate, seed=seed, name="noise_dropout")
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return keras.Model(inputs, last(dropout(last.input)), name=model.name)


def _ends_in(layer: keras.Layer, ends: list[keras.KerasTensor]) -> bool:
    return len(ends) == 1 and getattr(layer, "output", None) is ends[0]
