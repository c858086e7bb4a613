"""What a student's loss compares of its teacher's layers, computed once where it is small enough to
be kept: like the teacher's logits it is in the store, by teacher, data and layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from kdcore.config.experiment import digest
from kdcore.data.datasets import Dataset
from kdcore.methods import Method
from kdcore.storage.arrays import pack, unpack
from kdcore.storage.store import Store
from kdcore.training.loop import Network, takes_any_length
from kdcore.training.method_loss import method_losses
from kdcore.training.taps import names_within, shape_of, tap
from kdcore.training.teacher_logits import answering

Features = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class ComparedLayers:
    """A layer of a teacher and one of a student that a loss compares, by Keras' own names, with the
    shapes of their outputs, the batch first.

    ``keep`` makes of the teacher's output what is compared, and what is kept of it: of shape
    ``kept_shape`` for one example. ``key`` tells that from all else of the same teacher, in any
    process; ``form`` is what a compiled training step depends on.
    """

    teacher: str
    student: str
    teacher_shape: tuple[int | None, ...]
    student_shape: tuple[int | None, ...]
    kept_shape: tuple[int | None, ...]
    keep: Callable[[Any], Any]
    key: str
    form: tuple[Hashable, ...]


def compared_layers(
    method: Method, teacher: keras.Model, student: keras.Model
) -> tuple[ComparedLayers, ...]:
    """Return the layers that a method compares, in the order of its losses.

    Raises ModelError where teacher and student do not fit the method.
    """
    names = {
        role: {own: name for name, own in names_within(model).items()}
        for role, model in (("teacher", teacher), ("student", student))
    }
    found = []
    for loss in method_losses(method, teacher, student):
        one, other = loss.teacher_layer_name, loss.student_layer_name
        if one is None or other is None:
            continue
        loss.validate_model_compatibility(teacher, student)
        shapes = shape_of(teacher, one), shape_of(student, other)
        keep = partial(loss.kept, student_shape=shapes[1])
        as_it_is = method.terms()[loss.term_number].kept is None
        kept = shapes[0][1:]
        if not as_it_is and None not in kept:
            kept = tuple(keep(tf.zeros([1, *kept])).shape[1:])
        made = "as it is" if as_it_is else _making(method, loss.term_number, kept)
        key = digest({"layer": names["teacher"][one], "kept": made})
        form = (kept, names["student"][other], *shapes)
        found.append(ComparedLayers(one, other, *shapes, kept, keep, key, form))
    return tuple(found)


def kept_values(compared: Sequence[ComparedLayers]) -> int | None:
    """Return how many numbers are kept of an example; None where examples differ in that."""
    if any(None in layer.kept_shape for layer in compared):
        return None
    return sum(math.prod(side or 0 for side in layer.kept_shape) for layer in compared)


def training_features(
    store: Store,
    teacher: Network,
    dataset: Dataset,
    compared: Sequence[ComparedLayers],
    teacher_run_id: str | None = None,
) -> tuple[Features, bool]:
    """Return what is kept of a teacher's layers for all training examples, each of shape
    [examples, ...], and whether all of it was in the store.

    With the id of the teacher's run, a purge keeps it as long as that run is kept.
    """
    of_teacher = f"teacher_features/{answering(teacher, teacher_run_id)}/{dataset.fingerprint}"
    keys = [f"{of_teacher}/{layer.key}" for layer in compared]
    if teacher_run_id is not None:
        for key in dict.fromkeys(keys):
            store.use_artifact(key, teacher_run_id)
    stored = {key: store.artifact(key) for key in keys}
    missing = {key: layer for key, layer in zip(keys, compared, strict=True) if stored[key] is None}
    found = {key: unpack(data) for key, data in stored.items() if data is not None}
    if missing:
        computed = compute_features(teacher, dataset.train.inputs, list(missing.values()))
        for key, features in zip(missing, computed, strict=True):
            store.put_artifact(key, pack(features))
            found[key] = features
    return tuple(found[key] for key in keys), not missing


def compute_features(
    teacher: Network, inputs: NDArray, compared: Sequence[ComparedLayers]
) -> Features:
    """Return what is kept of a teacher's layers for stored inputs [examples, ...]."""
    view = tap(teacher.model, list(dict.fromkeys(layer.teacher for layer in compared)))
    shape = (None,) if takes_any_length(teacher.model) else inputs.shape[1:]
    signature = [tf.TensorSpec([None, *shape], str(inputs.dtype))]

    @tf.function(input_signature=signature, autograph=False)
    def forward(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        seen = view(tf.cast(rows, tf.float32) * teacher.scale, training=False)
        return tuple(tf.cast(layer.keep(seen[layer.teacher]), tf.float32) for layer in compared)

    found = no_features(compared, len(inputs))
    for rows, batch in teacher.batches(inputs):
        for features, some in zip(found, forward(batch), strict=True):
            features[rows] = some.numpy()
    return found


def no_features(compared: Sequence[ComparedLayers], examples: int) -> Features:
    """Return arrays of zeros in the shapes of what is kept."""
    shapes = [tuple(side or 0 for side in layer.kept_shape) for layer in compared]
    return tuple(np.zeros((examples, *shape), np.float32) for shape in shapes)


def _making(method: Method, term: int, shape: Sequence[int | None]) -> list[Any]:
    """Return what tells that which a method's term makes of a layer from all that others make."""
    beside = {"alpha", "temperature", "layers", *(each.weight for each in method.terms())}
    own = sorted([name, value] for name, value in method.values().items() if name not in beside)
    return [method.name, term, *own, list(shape)]
