"""Networks for texts: transformers of KerasHub, and bags of embeddings.

They take tokens [n, length] of any length; padding (token 0) never changes an answer.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from kdcore.errors import ModelError, require
from kdcore.models.transformers import heads_of
from kdcore.tasks.vocabulary import LARGEST_LENGTH, PADDING_ID

ENCODER, TEXT_VECTOR = "encoder", "text_vector"


def build_transformer(
    input_shape: tuple[int, ...], classes: int, tokens: int, depth: int, width: int
) -> keras.Model:
    """Build an encoder as BERT's of ``depth`` layers and ``width`` dimensions (Devlin 2019,
    arXiv:1810.04805), which answers from the mean over the real tokens.

    Args:
        input_shape: (length,), the longest text in tokens.
        classes: how many logits it gives.
        tokens: of the vocabulary.
        depth: number of layers.
        width: dimensions, a multiple of 16.

    Raises:
        ConfigError: for a width that is no multiple of 16.
        ModelError: where there is no vocabulary.
    """
    name = f"transformer-{depth}-{width}"
    _check_fit(name, input_shape, classes, tokens)
    encoder = build_encoder(tokens, input_shape[0], depth, width)
    return answer_from(encoder, classes, _layer_name(name))


def answer_from(encoder: keras.Model, classes: int, name: str) -> keras.Model:
    """Return a network of tokens [n, t] that answers from the mean of an encoder's hidden states
    over the real tokens.
    """
    inputs = keras.Input((None,), dtype="int32", name="tokens")
    real = ops.not_equal(inputs, PADDING_ID)
    given = {
        "token_ids": inputs,
        "segment_ids": ops.zeros_like(inputs),
        "padding_mask": ops.cast(real, "int32"),
    }
    hidden = encoder({each: given[each] for each in encoder.input})
    # A layer of that name is what methods on features compare.
    text = layers.Identity(name=TEXT_VECTOR)(_mean(hidden, real))
    return keras.Model(inputs, _logits(classes)(text), name=name)


def build_encoder(tokens: int, length: int, depth: int, width: int) -> keras.Model:
    """Build the encoder itself: from ``token_ids``, ``segment_ids`` and ``padding_mask`` [n, t] to
    hidden states [n, t, width].
    """
    from keras_hub.models import BertBackbone

    backbone = BertBackbone(
        vocabulary_size=tokens,
        num_layers=depth,
        num_heads=heads_of(width),
        hidden_dim=width,
        intermediate_dim=4 * width,
        dropout=0.0,
        max_sequence_length=length,
        num_segments=1,
    )
    # Without what BERT makes of its first token: nothing here would train it.
    return keras.Model(backbone.input, backbone.output["sequence_output"], name=ENCODER)


def build_bag(input_shape: tuple[int, ...], classes: int, tokens: int, width: int) -> keras.Model:
    """Build the mean of the real tokens' embeddings under a dense layer of ``width`` units.

    It knows which tokens there are, not their order.

    Raises:
        ModelError: where there is no vocabulary.
    """
    name = f"bag-{width}"
    _check_fit(name, input_shape, classes, tokens)
    inputs = keras.Input((None,), dtype="int32", name="tokens")
    real = ops.not_equal(inputs, PADDING_ID)
    embedded = layers.Embedding(tokens, width, name="token_embedding")(inputs)
    hidden = layers.Dense(width, activation="relu")(_mean(embedded, real))
    return keras.Model(inputs, _logits(classes)(hidden), name=_layer_name(name))


def _mean(hidden: Any, real: Any) -> Any:
    """Return the mean of hidden states [n, t, width] over the real tokens; 0 where there are
    none.
    """
    weights = ops.expand_dims(ops.cast(real, hidden.dtype), -1)
    count = ops.maximum(ops.sum(weights, axis=1), 1.0)
    return ops.sum(hidden * weights, axis=1) / count


def _logits(classes: int) -> keras.Layer:
    # float32 whatever the policy, as the other families' logits.
    return layers.Dense(classes, dtype="float32", name="logits")


def _check_fit(name: str, input_shape: tuple[int, ...], classes: int, tokens: int) -> None:
    require(classes >= 2, "classes", "at least 2", classes)
    if len(input_shape) != 1 or not tokens:
        raise ModelError(
            f"{name} needs texts as tokens of a vocabulary, but one example has shape {input_shape}; "
            "a model of dense layers such as mlp-64 takes numbers"
        )
    length = input_shape[0]
    require(1 <= length <= LARGEST_LENGTH, "length", f"at most {LARGEST_LENGTH:,}", length)


def _layer_name(name: str) -> str:
    return name.replace("-", "_")
