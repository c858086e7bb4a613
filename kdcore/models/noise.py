"""Noise inside a network while it is trained: dropout before its last layer, stochastic depth."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras

from kdcore.errors import ModelError
from kdcore.methods.distillation_token import TOKEN_HEADS
from kdcore.models.token_heads import has_token_heads


def with_noise(
    model: keras.Model, *, dropout: float, stochastic_depth: float, seed: int
) -> keras.Model:
    """Return ``model`` as it is trained: with :func:`with_dropout` and
    :func:`with_stochastic_depth`; the weights are the same objects.
    """
    return with_stochastic_depth(with_dropout(model, dropout, seed), stochastic_depth, seed)


def with_dropout(model: keras.Model, rate: float, seed: int) -> keras.Model:
    """Return ``model`` with dropout in front of its last layer, or of both heads of a transformer
    with a distillation token; the weights are the same objects.

    Answers are unchanged, since nothing is dropped outside of training; 0 leaves the model as it
    is. Raises ModelError for a model whose last layer cannot be found.
    """
    if rate == 0:
        return model
    if has_token_heads(model):
        heads = enumerate(TOKEN_HEADS.values())
        dropped = {name: _dropout(rate, seed + at, f"noise_{name}") for at, name in heads}
        return _called_otherwise(
            model, {name: _after(dropped[name], model.get_layer(name)) for name in dropped}
        )
    # A subclassed model has no graph to look at.
    ends = getattr(model, "outputs", None) or []
    last = next((layer for layer in reversed(model.layers) if ends and _ends_in(layer, ends)), None)
    nested = isinstance(last, keras.Model)
    if last is None or nested or not isinstance(last.input, keras.KerasTensor):
        raise ModelError(
            f"dropout needs a model that ends in a layer with one input, got {model.name}"
        )
    dropout = _dropout(rate, seed, "noise_dropout")
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return keras.Model(inputs, last(dropout(last.input)), name=model.name)


def with_stochastic_depth(model: keras.Model, rate: float, seed: int) -> keras.Model:
    """Return a network of blocks that are left out at random; the weights are the same objects.

    Of L blocks the l-th is left out for each example with the probability rate · l / L (Huang et
    al. 2016, arXiv:1603.09382, "linear decay"), and counts 1 / (1 - probability) times where it
    stays, so that answers outside of training are unchanged. A block is what is added to its
    shortcut: the first input of an Add layer, as :func:`~kdcore.models.build_resnet` has it, or
    what an encoder block of KerasHub's ViT or DeiT adds to the tokens. 0 leaves the model as it is.
    Raises ModelError for a model without such blocks.
    """
    if rate == 0:
        return model
    backbone = next((layer for layer in model.layers if _encoder(layer) is not None), None)
    if backbone is not None:
        encoder = _encoder(backbone)
        names = [block.name for block in encoder.encoder_layers]
        dropouts = list(_dropouts(names, rate, seed, (None, 1, 1)).values())
        before = keras.Model(backbone.inputs, encoder.input, name=backbone.name)
        noisy = _BlocksLeftOut(encoder, dropouts)
        return _called_otherwise(model, {backbone.name: lambda images: noisy(before(images))})
    blocks = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Add)]
    if not blocks:
        raise ModelError(f"stochastic depth needs a residual network, got {model.name}")
    dropped = _dropouts(blocks, rate, seed, (None, 1, 1, 1))
    return _called_otherwise(
        model,
        {name: functools.partial(_add, model.get_layer(name), dropped[name]) for name in blocks},
    )


def _dropouts(
    blocks: list[str], rate: float, seed: int, shape: tuple[int | None, ...]
) -> dict[str, keras.layers.Dropout]:
    """Return what leaves each block out, with one number of ``shape`` for each example."""
    return {
        name: keras.layers.Dropout(
            rate * place / len(blocks),
            noise_shape=shape,
            seed=seed + place,
            name=f"noise_depth_{place}",
        )
        for place, name in enumerate(blocks, 1)
    }


def _dropout(rate: float, seed: int, name: str) -> keras.layers.Dropout:
    return keras.layers.Dropout(rate, seed=seed, name=name)


def _called_otherwise(model: keras.Model, calls: Mapping[str, Callable[[Any], Any]]) -> keras.Model:
    """Return a model of the same layers, some of which are called in another way, by name."""

    def call(layer: keras.Layer, *given: Any, **named: Any) -> Any:
        return calls[layer.name](given[0]) if layer.name in calls else layer(*given, **named)

    return keras.models.clone_model(
        model,
        input_tensors=model.input,
        clone_function=lambda layer: layer,
        call_function=call,
    )


def _after(dropout: keras.Layer, layer: keras.Layer) -> Callable[[Any], Any]:
    return lambda x: layer(dropout(x))


def _add(layer: keras.Layer, dropout: keras.Layer, parts: Any) -> Any:
    block, shortcut = parts
    return layer([dropout(block), shortcut])


class _BlocksLeftOut(keras.layers.Layer):
    """The encoder of a vision transformer, its blocks left out at random in training."""

    def __init__(self, encoder: Any, dropouts: list[keras.layers.Dropout]) -> None:
        super().__init__(name="noise_encoder")
        self.encoder, self.dropouts = encoder, dropouts
        self.built = True

    def call(self, tokens: Any) -> Any:
        for block, dropout in zip(self.encoder.encoder_layers, self.dropouts, strict=True):
            after = block(tokens)
            after = after[0] if isinstance(after, tuple) else after  # DeiT's, with its attention
            tokens = tokens + dropout(after - tokens)
        return self.encoder.layer_norm(tokens)


def _encoder(layer: keras.Layer) -> Any:
    """Return the encoder of a backbone of KerasHub's; None for any other layer."""
    inside = getattr(layer, "layers", ())
    return next((part for part in inside if hasattr(part, "encoder_layers")), None)


def _ends_in(layer: keras.Layer, ends: list[keras.KerasTensor]) -> bool:
    return len(ends) == 1 and getattr(layer, "output", None) is ends[0]
