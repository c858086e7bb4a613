"""Where features are tapped: layers by name, at any depth of a network.

Keras knows the outputs of a network's own layers. Those of layers further inside, of a network that
is a layer of another one or of a transformer's encoder, are seen when they are called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import keras

from kdcore.errors import ModelError
from kdcore.models.layers_within import encoder_blocks, watched

# Names a network's logits among what is tapped.
LOGITS = ""
# Between the name of a network and that of a layer inside it.
INSIDE = "/"


def tap(model: keras.Model, names: Sequence[str]) -> Callable[..., dict[str, Any]]:
    """Return a function of inputs that gives the model's output, under ``LOGITS``, and the outputs
    of the layers called ``names``, all in one pass.

    Raises ModelError for a layer that is not there, and for a model without named layers.
    """
    if not names:

        def untapped(inputs: Any, training: bool = False) -> dict[str, Any]:
            return {LOGITS: model(inputs, training=training)}

        return untapped
    own = {layer.name for layer in _layers_of(model)}
    outputs = {name: _output_of(model, name) for name in names if name in own}
    within = {name: _layer_inside(model, name) for name in names if name not in own}
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    viewed = keras.Model(inputs, [model.outputs[0], *outputs.values()])

    # A function and no attribute: Keras would take the view for a part of whatever holds it.
    def tapped(inputs: Any, training: bool = False) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        with ExitStack() as watching:
            for name, layer in within.items():
                watching.enter_context(watched(layer, _keep_in(seen, name)))
            found = viewed(inputs, training=training)
        found = found if isinstance(found, list | tuple) else [found]
        return {**dict(zip((LOGITS, *outputs), found, strict=True)), **seen}

    return tapped


def shape_of(model: keras.Model, name: str) -> tuple[int | None, ...]:
    """Return the shape of what the layer called ``name`` answers, the batch first.

    Raises ModelError for a layer that is not there.
    """
    if name in {layer.name for layer in _layers_of(model)}:
        return tuple(_output_of(model, name).shape)
    layer = _layer_inside(model, name)
    if name in block_names(model):
        return tuple(_tokens(model).shape)
    return tuple(layer.output.shape)


def names_within(model: keras.Model) -> dict[str, str]:
    """Return the layers' names by names that do not change from process to process.

    Keras counts the layers without a name of their own over all models: conv2d_7 here is the
    model's second one, conv2d_1. A layer inside a network that is a layer itself is
    "network/layer", an encoder block "block_1", "block_2", ...
    """
    found: dict[str, str] = {}
    counts: dict[str, int] = {}
    for layer in model.layers:
        name = _without_count(layer, counts)
        found[name] = layer.name
        if _holds_blocks(layer):
            found |= {block: block for block in block_names(model) if block not in found}
        elif isinstance(layer, keras.Model):
            found |= {
                f"{name}{INSIDE}{key}": f"{layer.name}{INSIDE}{own}"
                for key, own in names_within(layer).items()
            }
    return found


def block_names(model: keras.Model) -> list[str]:
    """Return the names of a transformer's encoder blocks, from the input to the output."""
    return [f"block_{place}" for place, _ in enumerate(encoder_blocks(model), 1)]


def _without_count(layer: keras.Layer, counts: dict[str, int]) -> str:
    # Keras' own rule for the names that it gives.
    kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()
    if not re.fullmatch(rf"{kind}(_\d+)?", layer.name):
        return str(layer.name)
    count = counts[kind] = counts.get(kind, -1) + 1
    return f"{kind}_{count}" if count else kind


def _keep_in(seen: dict[str, Any], name: str) -> Callable[[Any, Any], None]:
    def keep(_given: Any, answered: Any) -> None:
        seen[name] = answered

    return keep


def _layers_of(model: keras.Model) -> list[keras.Layer]:
    if getattr(model, "inputs", None) is None:
        raise ModelError(
            f"{model.name} cannot be tapped: its layers are known to its own code alone; use a "
            "functional or sequential model"
        )
    return list(model.layers)


def _output_of(model: keras.Model, name: str) -> Any:
    """Return the symbolic output of a network's own layer."""
    layer = model.get_layer(name)
    if len(layer._inbound_nodes) < 2:
        return layer.output
    # Several networks call it, as those with noise inside do: what it answers in this one.
    own = [tensor for tensor in _tensors_of(model) if tensor._keras_history.operation is layer]
    return min(own, key=lambda tensor: tensor._keras_history.node_index, default=layer.output)


def _layer_inside(model: keras.Model, name: str) -> keras.Layer:
    blocks = dict(zip(block_names(model), encoder_blocks(model), strict=True))
    if name in blocks:
        return blocks[name]
    outer, _, inner = name.partition(INSIDE)
    networks = {layer.name: layer for layer in _layers_of(model) if isinstance(layer, keras.Model)}
    if outer in networks and inner:
        network = networks[outer]
        own = {layer.name: layer for layer in _layers_of(network)}
        return own[inner] if inner in own else _layer_inside(network, inner)
    known = [*(layer.name for layer in _layers_of(model)), *blocks]
    raise ModelError(f"layer must be one of {', '.join(known)} of {model.name}, got {name!r}")


def _holds_blocks(layer: keras.Layer) -> bool:
    return hasattr(layer, "encoder_layers") or bool(encoder_blocks(layer))


def _tokens(model: keras.Model) -> Any:
    """Return what a transformer's encoder answers: as many tokens as each of its blocks."""
    holder = next(layer for layer in model.layers if _holds_blocks(layer))
    if isinstance(holder, keras.Model):
        return _tokens(holder)
    return keras.tree.flatten(holder.output)[0]  # DeiT's comes with its attention


def _tensors_of(model: keras.Model) -> list[Any]:
    """Return all symbolic tensors between a model's inputs and its outputs."""
    found: dict[int, Any] = {}
    waiting = list(model.outputs)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) not in found:
            found[id(tensor)] = tensor
            made_by = tensor._keras_history
            waiting += made_by.operation._inbound_nodes[made_by.node_index].input_tensors
    return list(found.values())
