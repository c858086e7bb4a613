"""The layers that a network consists of at all depths, and calls of them that another function
answers for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


def layers_within(layer: keras.Layer) -> list[keras.Layer]:
    """Return the layers that a network or a layer consists of, those of composite layers too."""
    return list(layer._flatten_layers(include_self=False))


def attention_layers(layer: keras.Layer) -> list[keras.layers.MultiHeadAttention]:
    """Return those of them that attend."""
    attention = keras.layers.MultiHeadAttention
    return [part for part in layers_within(layer) if isinstance(part, attention)]


@contextmanager
def called_as(layer: keras.Layer, call: Any) -> Iterator[None]:
    """Let ``call`` answer for a layer in this ``with`` block."""
    layer.call = call
    try:
        yield
    finally:
        del layer.call  # the class's own is seen again
