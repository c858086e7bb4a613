"""Transformers of texts as masked language models: the head, and a start from another's layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kdcore.errors import ModelError
from kdcore.models.text import ENCODER

HEAD_LAYERS = (
    "embeddings_layer_norm",
    "position_embedding",
    "segment_embedding",
    "token_embedding",
)


def encoder_of(network: keras.Model) -> keras.Model:
    """Return the encoder in a network of texts; raises ModelError for one without."""
    try:
        return network.get_layer(ENCODER)
    except ValueError:
        raise ModelError(
            f"{network.name} has no encoder: only transformers are language models, such as transformer-2-64"
        ) from None


def build_head(network: keras.Model, seed: int) -> keras.Layer:
    """Build the head that guesses tokens from an encoder's hidden states; it shares the embedding
    (``keras_hub.layers.MaskedLMHead``).
    """
    from keras_hub.layers import MaskedLMHead

    encoder = encoder_of(network)
    width = encoder.output.shape[-1]
    head = MaskedLMHead(
        token_embedding=encoder.get_layer("token_embedding"),
        intermediate_activation="gelu",
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02, seed=seed),
        name="language_model_head",
    )
    head.build((None, None, width), (None, None))
    return head


def depth_of(encoder: keras.Model) -> int:
    """Return how many layers an encoder has."""
    return sum(layer.name.startswith("transformer_layer_") for layer in encoder.layers)


def start_from_layers(
    student: tuple[keras.Model, keras.Layer],
    teacher: tuple[keras.Model, keras.Layer],
    layers: Sequence[int],
) -> None:
    """Give a student the embeddings, the head and some of the layers of its teacher, as DistilBERT
    starts (Sanh 2019, §3).

    Args:
        student: network and head; its encoder has as many layers as are named.
        teacher: network and head, of the same width and vocabulary.
        layers: of the teacher's encoder, counted from 0, the student's first layer first.

    Raises ModelError where the two do not fit.
    """
    ours, theirs = encoder_of(student[0]), encoder_of(teacher[0])
    if len(layers) != depth_of(ours) or not all(0 <= at < depth_of(theirs) for at in layers):
        raise ModelError(
            f"a student of {depth_of(ours)} layers starts from as many of its teacher's {depth_of(theirs)}, "
            f"got layers {tuple(layers)}"
        )
    pairs: list[tuple[Any, Any]] = [
        (ours.get_layer(name), theirs.get_layer(name)) for name in HEAD_LAYERS
    ]
    pairs += [
        (ours.get_layer(f"transformer_layer_{at}"), theirs.get_layer(f"transformer_layer_{of}"))
        for at, of in enumerate(layers)
    ]
    pairs.append((student[1], teacher[1]))
    for mine, given in pairs:
        for variable, value in zip(mine.variables, given.variables, strict=True):
            if tuple(variable.shape) != tuple(value.shape):
                raise ModelError(
                    f"a student that starts from its teacher's layers has its width, "
                    f"got {tuple(variable.shape)} for {tuple(value.shape)}"
                )
            variable.assign(value)
