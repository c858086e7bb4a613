"""What values a model of a user's own expects, told by what it does to them before it learns.

Rescaling and Normalization layers, arithmetic (``x / 127.5 - 1``) and ``preprocess_input`` come
before the first layer with weights. What they make of a value is measured, so that it does not
matter how it is written.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from kdcore.models.families import all_layers

ASSUMED = ("0 to 1", "assumed: say otherwise when you add it")
AS_THEY_ARE = ("as they are", "a table is scaled as its dataset says")
# A span of 0 to 1 that comes out narrower than this was meant to be wider before.
NARROW = 0.1
# How far from 0 the values of a network's first layer lie at most, where nothing was wrong.
FAR_FROM_ZERO = 2.0


def expected_values(model: keras.Model) -> tuple[str, str]:
    """Return the range of values that a model expects, and how that is known.

    Of a flat model that does nothing to its inputs: as they are.
    """
    values = np.array([-1.0, 0.0, 1.0, 255.0])
    shape = [32 if side is None else side for side in model.inputs[0].shape[1:]]
    examples = np.broadcast_to(values.reshape(-1, *[1] * len(shape)), (4, *shape))
    seen = _before_weights(model, examples.astype(np.float32))
    if seen is None or np.allclose(seen.reshape(4, -1), values[:, np.newaxis]):
        return AS_THEY_ARE if len(shape) == 1 else ASSUMED
    low, zero, one, _ = (row.astype(np.float64).ravel() for row in seen)
    span, offset = np.abs(one - zero).max(), np.abs(zero).max()
    if span < NARROW or offset > max(FAR_FROM_ZERO, 2 * span):
        found = "0 to 255"
    elif np.abs(low).max() < 0.01 * span and np.abs(zero).min() > 0.1 * span:
        found = "-1 to 1"  # its lowest value is what becomes 0
    else:
        found = "0 to 1"
    return found, f"told by {_what(model)}"


def _before_weights(model: keras.Model, examples: NDArray[np.float32]) -> NDArray | None:
    """Return what reaches the first layer that has learnt something; None where that is not to be
    found.
    """
    first = next((layer for layer in model.layers if _has_learnt(layer)), None)
    try:
        if first is None:
            return np.asarray(model(examples, training=False))
        node = first._inbound_nodes[0]
        (tensor,) = node.input_tensors[:1]
        if tensor is not model.inputs[0]:
            part = keras.Model(model.inputs[0], tensor)
            examples = np.asarray(part(examples, training=False))
    except (ValueError, AttributeError, IndexError):  # a graph that cannot be cut there
        return None
    if isinstance(first, keras.Model) and getattr(first, "inputs", None):
        return _before_weights(first, examples)
    return examples


def _has_learnt(layer: keras.Layer) -> bool:
    """Return whether a layer has weights other than what it knows about its inputs' values."""
    if isinstance(layer, keras.Model):
        return any(_has_learnt(inner) for inner in layer.layers)
    return bool(layer.weights) and not isinstance(layer, layers.Normalization)


def _what(model: keras.Model) -> str:
    """Say what it was told by."""
    known = (layers.Rescaling, layers.Normalization)
    for layer in all_layers(model):
        if isinstance(layer, known):
            return f"its own {type(layer).__name__} layer"
        if _has_learnt(layer):
            break
    return "the operations at its beginning"


def keep_what_was_learnt_from_data(fresh: keras.Model, trained: keras.Model) -> None:
    """Give a fresh copy of a model what layers such as Normalization learnt from the data.

    Its frozen layers are trained like all others: with fresh weights they know nothing.
    """
    for ours, theirs in zip(all_layers(fresh), all_layers(trained), strict=True):
        if hasattr(theirs, "adapt") and theirs.weights:
            ours.set_weights(theirs.get_weights())
            finalize: Any = getattr(ours, "finalize_state", None)
            if finalize is not None:
                finalize()
        elif theirs.weights:
            ours.trainable = True
    fresh.trainable = True


def frozen_layers(model: keras.Model) -> int:
    """Return how many layers with weights are not trained, those that know values set apart."""
    return sum(
        not layer.trainable and bool(layer.weights) and not hasattr(layer, "adapt")
        for layer in all_layers(model)
    )
