"""Noise inside a network while it is trained: dropout before its last layer, stochastic depth."""

from __future__ import annotations

import functools
from typing import Any

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


def with_stochastic_depth(model: keras.Model, rate: float, seed: int) -> keras.Model:
    """Return a residual network whose blocks are left out at random; the weights are the same
    objects.

    Of L blocks the l-th is left out for each example with the probability rate · l / L (Huang et
    al. 2016, arXiv:1603.09382, "linear decay"), and counts 1 / (1 - probability) times where it
    stays, so that answers outside of training are unchanged. A block is what is added to its
    shortcut: the first input of an Add layer, as :func:`~kdcore.models.build_resnet` has it. 0
    leaves the model as it is. Raises ModelError for a model without such blocks.
    """
    if rate == 0:
        return model
    blocks = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Add)]
    if not blocks:
        raise ModelError(f"stochastic depth needs a residual network, got {model.name}")
    dropped = {
        name: keras.layers.Dropout(
            rate * place / len(blocks),
            noise_shape=(None, 1, 1, 1),  # one number for each example
            seed=seed + place,
            name=f"noise_depth_{place}",
        )
        for place, name in enumerate(blocks, 1)
    }
    return keras.models.clone_model(
        model,
        input_tensors=model.input,
        clone_function=lambda layer: layer,
        call_function=functools.partial(_call, dropped),
    )


def _call(dropped: dict[str, keras.Layer], layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
    if layer.name not in dropped:
        return layer(*args, **kwargs)
    block, shortcut = args[0]
    return layer([dropped[layer.name](block), shortcut])


def _ends_in(layer: keras.Layer, ends: list[keras.KerasTensor]) -> bool:
    return len(ends) == 1 and getattr(layer, "output", None) is ends[0]
