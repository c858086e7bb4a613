"""The layers that a network consists of at all depths, and calls of them that another function
answers for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


def encoder_blocks(network: keras.Layer) -> list[keras.Layer]:
    """Return the encoder blocks of KerasHub's ViT or DeiT, from the input to the output; none for
    other networks.
    """
    encoders = (part for part in layers_within(network) if hasattr(part, "encoder_layers"))
    return list(getattr(next(encoders, None), "encoder_layers", ()))


@contextmanager
def called_as(layer: keras.Layer, call: Any) -> Iterator[None]:
    """Let ``call`` answer for a layer in this ``with`` block."""
    layer.call = call
    try:
        yield
    finally:
        del layer.call  # the class's own is seen again


@contextmanager
def watched(layer: keras.Layer, seen: Callable[[Any, Any], None]) -> Iterator[None]:
    """Show ``seen`` what a layer is given and what it answers, whenever it is called in this
    ``with`` block.
    """
    call = layer.call

    def shown(given: Any, *more: Any, **named: Any) -> Any:
        output = call(given, *more, **named)
        seen(given, output[0] if isinstance(output, tuple) else output)
        return output

    with called_as(layer, shown):
        yield
