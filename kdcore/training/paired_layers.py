"""Which layers of teacher and student belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import keras
from keras import layers

from kdcore.errors import ModelError
from kdcore.models.own import TO_GREY
from kdcore.training.taps import INSIDE, block_names, names_within

ACTIVATIONS = (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU)
# Their weights describe the data, and no features of it.
_OF_DATA = (layers.Normalization, layers.BatchNormalization)


@dataclass(frozen=True)
class Candidates:
    """The layers of a network that may be compared by default, from the input to the output.

    ``maps`` are the last activations at each size of feature map (height, width), ``blocks`` the
    encoder blocks of a vision transformer, ``vector`` the last hidden layer of a network without
    either.
    """

    maps: dict[tuple[int, ...], str] = field(default_factory=dict)
    blocks: tuple[str, ...] = ()
    vector: str = ""

    @property
    def kind(self) -> str:
        """What they are, in words."""
        return "encoder blocks" if self.blocks else "feature maps" if self.maps else "vectors"


def candidates(model: keras.Model) -> Candidates:
    """Return the layers to compare by default.

    What no weights have worked on is no feature: an image that is only resized or padded is none.
    Raises ModelError for a model without layers that can be tapped.
    """
    if getattr(model, "inputs", None) is None:
        raise ModelError(f"{model.name} cannot be tapped: it is no functional or sequential model")
    if blocks := block_names(model):
        return Candidates(blocks=tuple(blocks))
    features = _features(model, frozenset())
    maps: dict[tuple[int, ...], str] = {}
    for size in dict.fromkeys(size for _, _, size in features if size):
        there = [(name, layer) for name, layer, of in features if of == size]
        active = [(name, layer) for name, layer in there if isinstance(layer, ACTIVATIONS)]
        maps[size] = (active or there)[-1][0]
    if maps:
        return Candidates(maps=maps)
    inner = [layer for layer in model.layers if not isinstance(layer, layers.InputLayer)]
    vectors = (layers.Dense, layers.Identity)
    hidden = [layer.name for layer in inner[:-1] if isinstance(layer, vectors)]
    if not hidden:
        raise ModelError(f"{model.name} has no hidden layer to learn from or to teach")
    return Candidates(vector=hidden[-1])


def default_pairs(
    teacher: keras.Model, student: keras.Model, which: str = "all"
) -> list[tuple[str, str]]:
    """Return (teacher's layer, student's layer) that belong together: feature maps of the same
    size, or else the last of each; of transformers blocks at even distances, the last with the
    last; with ``which`` "last" the last pair alone.

    Raises ModelError where the two have layers of different kinds.
    """
    of_teacher, of_student = candidates(teacher), candidates(student)
    if of_teacher.kind != of_student.kind:
        raise ModelError(
            f"{teacher.name} and {student.name} have no layers that belong together: one has "
            f"{of_teacher.kind} and the other {of_student.kind}. A method on logits can teach, or a "
            "student of the teacher's kind can learn"
        )
    if of_teacher.blocks:
        pairs = _evenly_spaced(of_teacher.blocks, of_student.blocks)
    elif of_teacher.maps:
        maps, others = of_teacher.maps, of_student.maps
        pairs = [(maps[size], others[size]) for size in maps if size in others]
        pairs = pairs or [([*maps.values()][-1], [*others.values()][-1])]
    else:
        pairs = [(of_teacher.vector, of_student.vector)]
    return pairs if which == "all" else pairs[-1:]


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


def _evenly_spaced(teacher: Sequence[str], student: Sequence[str]) -> list[tuple[str, str]]:
    """Pair each layer of the shallower network with one of the other."""
    fewer = min(len(teacher), len(student))
    steps = range(1, fewer + 1)
    return [
        (teacher[step * len(teacher) // fewer - 1], student[step * len(student) // fewer - 1])
        for step in steps
    ]


def _features(
    model: keras.Model, learnt_before: frozenset[str], inside: str = ""
) -> list[tuple[str, keras.Layer, tuple[int, ...]]]:
    """Return (name, layer, size of its maps) of what weights have worked on, from the input on:
    with the layers of networks that are layers themselves.

    ``learnt_before`` names the network's inputs that are features already.
    """
    found: list[tuple[str, keras.Layer, tuple[int, ...]]] = []
    learnt = set(learnt_before)
    for layer in model.layers:
        if isinstance(layer, layers.InputLayer):
            continue
        before = any(name in learnt for name in _inputs_of(layer, model))
        if isinstance(layer, keras.Model):
            inputs = frozenset(tensor._keras_history.operation.name for tensor in layer.inputs)
            found += _features(
                layer, inputs if before else frozenset(), f"{inside}{layer.name}{INSIDE}"
            )
        if before or _has_kernel(layer):
            learnt.add(layer.name)
            found.append((inside + layer.name, layer, _size(layer)))
    return found


def _inputs_of(layer: keras.Layer, model: keras.Model) -> list[str]:
    """Return the names of the layers of a network whose outputs a layer takes."""
    own = {each.name for each in model.layers}
    return [
        tensor._keras_history.operation.name
        for node in layer._inbound_nodes
        for tensor in node.input_tensors
        if tensor._keras_history.operation.name in own
    ]


def _has_kernel(layer: keras.Layer) -> bool:
    if isinstance(layer, _OF_DATA) or layer.name == TO_GREY:
        return False
    return any(len(weight.shape) >= 2 for weight in layer.weights)


def _size(layer: keras.Layer) -> tuple[int, ...]:
    """Return (height, width) of a layer's feature maps, () where it has none."""
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):  # never called, or called several times
        return ()
    known = len(shape) == 4 and None not in shape[1:]
    return tuple(shape[1:3]) if known and shape[1] * shape[2] > 1 else ()
