"""Where features are tapped: layers by name, and which of teacher and student belong together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from kdcore.errors import ModelError

ACTIVATIONS = (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU)

# Names a network's logits among what is tapped.
LOGITS = ""


def tap(model: keras.Model, names: Sequence[str]) -> Callable[..., dict[str, Any]]:
    """Return a function of inputs that gives the model's output, under ``LOGITS``, and the outputs
    of the layers called ``names``, all in one pass.

    Raises ModelError for a layer that is not there, and for a model without named layers.
    """
    if not names:

        def untapped(inputs: Any, training: bool = False) -> dict[str, Any]:
            return {LOGITS: model(inputs, training=training)}

        return untapped
    outputs = {name: output_of(model, name) for name in names}
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    viewed = keras.Model(inputs, [model.outputs[0], *outputs.values()])

    # A function and no attribute: Keras would take the view for a part of whatever holds it.
    def tapped(inputs: Any, training: bool = False) -> dict[str, Any]:
        return dict(zip((LOGITS, *outputs), viewed(inputs, training=training), strict=True))

    return tapped


def output_of(model: keras.Model, name: str) -> Any:
    """Return the symbolic output of the layer called ``name``; raises ModelError without it."""
    if getattr(model, "inputs", None) is None:
        raise ModelError(
            f"{model.name} cannot be tapped: its layers are known to its own code alone; use a "
            "functional or sequential model"
        )
    known = [layer.name for layer in model.layers]
    if name not in known:
        raise ModelError(f"layer must be one of {', '.join(known)} of {model.name}, got {name!r}")
    layer = model.get_layer(name)
    if len(layer._inbound_nodes) < 2:
        return layer.output
    # Several networks call it, as those with noise inside do: what it answers in this one.
    own = [tensor for tensor in _tensors_of(model) if tensor._keras_history.operation is layer]
    return min(own, key=lambda tensor: tensor._keras_history.node_index, default=layer.output)


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


def names_within(model: keras.Model) -> dict[str, str]:
    """Return the layers' names by names that do not change from process to process.

    Keras counts the layers without a name of their own over all models: conv2d_7 here is the
    model's second one, conv2d_1.
    """
    found: dict[str, str] = {}
    counts: dict[str, int] = {}
    for layer in model.layers:
        # Keras' own rule for the names that it gives.
        kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
        kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()
        if not re.fullmatch(rf"{kind}(_\d+)?", layer.name):
            found[layer.name] = layer.name
            continue
        count = counts[kind] = counts.get(kind, -1) + 1
        found[f"{kind}_{count}" if count else kind] = layer.name
    return found


def named_pairs(
    teacher: keras.Model, student: keras.Model, pairs: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return the layers that are named as :func:`names_within` does, under Keras' own names.

    Raises ModelError for a layer that is not there.
    """
    found = []
    for pair in pairs:
        own = []
        for model, name in zip((teacher, student), pair, strict=True):
            known = names_within(model)
            if name not in known:
                raise ModelError(
                    f"layer must be one of {', '.join(known)} of {model.name}, got {name!r}"
                )
            own.append(known[name])
        found.append((own[0], own[1]))
    return found


def candidates(model: keras.Model) -> dict[tuple[int, ...], str]:
    """Return the layers to tap by default: the last activation at each size of feature map, from
    the input to the output; without maps, the last hidden layer under the size ().

    Raises ModelError for a model without layers that can be tapped.
    """
    if getattr(model, "inputs", None) is None:
        raise ModelError(f"{model.name} cannot be tapped: it is no functional or sequential model")
    inner = [layer for layer in model.layers if not isinstance(layer, layers.InputLayer)]
    found: dict[tuple[int, ...], str] = {}
    sizes = {layer.name: _size(layer) for layer in inner}
    for size in dict.fromkeys(size for size in sizes.values() if size):
        there = [layer for layer in inner if sizes[layer.name] == size]
        active = [layer for layer in there if isinstance(layer, ACTIVATIONS)]
        found[size] = (active or there)[-1].name
    if found:
        return found
    vectors = (layers.Dense, layers.Identity)
    hidden = [layer.name for layer in inner[:-1] if isinstance(layer, vectors)]
    if not hidden:
        raise ModelError(f"{model.name} has no hidden layer to learn from or to teach")
    return {(): hidden[-1]}


def default_pairs(
    teacher: keras.Model, student: keras.Model, which: str = "all"
) -> list[tuple[str, str]]:
    """Return (teacher's layer, student's layer) that belong together: those of the same size, or
    else the last of each; with ``which`` "last" the last pair alone.

    Raises ModelError where one has feature maps and the other has none.
    """
    of_teacher, of_student = candidates(teacher), candidates(student)
    if ((),) in (tuple(of_teacher), tuple(of_student)) and set(of_teacher) != set(of_student):
        raise ModelError(
            f"{teacher.name} and {student.name} have no layers that belong together: one has "
            "feature maps and the other has none"
        )
    pairs = [(of_teacher[size], of_student[size]) for size in of_teacher if size in of_student]
    if not pairs:
        pairs = [([*of_teacher.values()][-1], [*of_student.values()][-1])]
    return pairs if which == "all" else pairs[-1:]


def make_adapter(
    teacher_shape: tuple[int | None, ...], student_shape: tuple[int | None, ...]
) -> keras.Layer | None:
    """Return a layer that brings a student's features to the teacher's shape, None where they have
    it.

    A 1×1 convolution, strided or transposed where sizes differ; a linear layer for vectors. Raises
    ModelError for shapes that no such layer joins.
    """
    if teacher_shape[1:] == student_shape[1:]:
        return None
    if len(teacher_shape) != len(student_shape) or None in (*teacher_shape[1:], *student_shape[1:]):
        raise ModelError(
            f"a pair must be two layers with places or two without, got {_in_words(teacher_shape)} of the teacher and "
            f"{_in_words(student_shape)} of the student"
        )
    channels = teacher_shape[-1]
    if len(teacher_shape) == 2:
        return layers.Dense(channels, use_bias=False)
    wanted, given = _sides(teacher_shape), _sides(student_shape)
    if all(a % b == 0 for a, b in zip(wanted, given, strict=True)) and wanted != given:
        grown = tuple(a // b for a, b in zip(wanted, given, strict=True))
        return layers.Conv2DTranspose(channels, grown, strides=grown, use_bias=False)
    if all(b % a == 0 for a, b in zip(wanted, given, strict=True)):
        shrunk = tuple(b // a for a, b in zip(wanted, given, strict=True))
        return layers.Conv2D(channels, shrunk, strides=shrunk, use_bias=False)
    resized = layers.Resizing(*wanted)
    return keras.Sequential([resized, layers.Conv2D(channels, 1, use_bias=False)])


def _in_words(shape: tuple[int | None, ...]) -> str:
    return " × ".join("any" if side is None else str(side) for side in shape[1:])


def _sides(shape: tuple[int | None, ...]) -> tuple[int, ...]:
    return tuple(int(side) for side in shape[1:-1] if side is not None)


def _size(layer: keras.Layer) -> tuple[int, ...]:
    """Return (height, width) of a layer's feature maps, () where it has none."""
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):  # never called, or called several times
        return ()
    known = len(shape) == 4 and None not in shape[1:]
    return tuple(shape[1:3]) if known and shape[1] * shape[2] > 1 else ()
