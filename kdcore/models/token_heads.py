"""The two heads of a transformer with a distillation token, apart."""

from __future__ import annotations

import keras
from keras import ops

from kdcore.errors import ModelError
from kdcore.methods.distillation_token import TOKEN_HEADS


def has_token_heads(model: keras.Model) -> bool:
    """Return whether a model has a head for each of its two tokens."""
    known = {layer.name for layer in model.layers}
    return all(name in known for name in TOKEN_HEADS.values())


def both_heads(model: keras.Model) -> keras.Model:
    """Return a view of a model that answers with the logits of each head, [n, heads, classes] in
    the order of ``TOKEN_HEADS``.
    """
    heads = [model.get_layer(name).output for name in TOKEN_HEADS.values()]
    return keras.Model(model.inputs[0], ops.stack(heads, axis=1))


def with_head(model: keras.Model, head: str) -> keras.Model:
    """Return a model that answers with one head alone, a key of ``TOKEN_HEADS``.

    Raises ModelError for a model that has no such heads.
    """
    if head not in TOKEN_HEADS or not has_token_heads(model):
        raise ModelError(f"head must be one of the model's own, and {model.name} has no {head!r}")
    return keras.Model(model.inputs[0], model.get_layer(TOKEN_HEADS[head]).output, name=model.name)
