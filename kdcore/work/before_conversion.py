"""Changes to a model that a converter needs and that change no answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from kdcore.models.families import all_layers
from kdcore.models.layers_within import layers_within
from kdcore.takeaway.limits import RECURRENT


def with_unrolled_loops(model: keras.Model) -> keras.Model:
    """Return a model whose recurrent layers are written out step by step: LiteRT's calibration for
    int8 cannot look into a loop, and crashes.
    """
    description = json.loads(model.to_json())
    unrolled = _unrolled(description)
    if unrolled == description:
        return model
    copy = keras.models.model_from_json(json.dumps(unrolled))
    copy.set_weights(model.get_weights())
    return copy


def _unrolled(part: Any) -> Any:
    if isinstance(part, list):
        return [_unrolled(each) for each in part]
    if not isinstance(part, dict):
        return part
    changed = {name: _unrolled(value) for name, value in part.items()}
    if changed.get("class_name") in RECURRENT and "unroll" in changed["config"]:
        changed["config"]["unroll"] = True
    return changed


def with_rescaling(model: keras.Model) -> keras.Model:
    """Return a model with a Rescaling in place of each Normalization of its last axis: what that
    learnt from data is no variable, and ONNX' converter loses it.
    """
    if not any(_is_rescaling(layer) for layer in all_layers(model)):
        return model
    copy = keras.models.clone_model(model, clone_function=_clone, recursive=True)
    for ours, theirs in zip(all_layers(copy), all_layers(model), strict=True):
        if not _is_rescaling(theirs):
            ours.set_weights(theirs.get_weights())
    return copy


@contextmanager
def with_constant_positions(model: keras.Model) -> Iterator[None]:
    """Let KerasHub's ViT, in this ``with`` block, know the numbers of its places as an array: ONNX'
    converter takes a tensor that was made beforehand for an input of the network.
    """
    holders = [part for part in layers_within(model) if tf.is_tensor(_positions(part))]
    tensors = [_positions(part) for part in holders]
    for part, tensor in zip(holders, tensors, strict=True):
        part.position_ids = np.asarray(tensor)
    try:
        yield
    finally:
        for part, tensor in zip(holders, tensors, strict=True):
            part.position_ids = tensor


def _positions(part: keras.Layer) -> Any:
    return getattr(part, "position_ids", None)


def _is_rescaling(layer: keras.Layer) -> bool:
    if not isinstance(layer, layers.Normalization):
        return False
    last = len(layer.input.shape) - 1
    return layer.axis in ((), (last,), (-1,))


def _clone(layer: keras.Layer) -> keras.Layer:
    if not _is_rescaling(layer):
        return layer.__class__.from_config(layer.get_config())
    mean, variance = (np.ravel(np.asarray(each)) for each in (layer.mean, layer.variance))
    scale = 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())
    offset = -mean * scale
    if layer.invert:
        scale, offset = 1 / scale, mean
    as_argument = (each.tolist() if len(each) > 1 else float(each[0]) for each in (scale, offset))
    return layers.Rescaling(*as_argument, name=layer.name)
