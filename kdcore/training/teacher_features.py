"""What a student's loss compares of its teacher's layers, computed once where it is small enough to
be kept: like the teacher's logits it is in the store, by teacher, data and layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
from kdcore.training.taps import names_within, output_of, tap
from kdcore.training.teacher_logits import answering

Features = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class TappedLayer:
    """A layer of a teacher, and what a student's loss compares of it.

    ``name`` is the layer's own; ``key`` tells the layer and what is made of it from all others of
    the same teacher in any process; ``shape`` is that of what is kept of one example, ``beside``
    names the student's layer and tells its shape.
    """

    name: str
    key: str
    shape: tuple[int | None, ...]
    beside: tuple[Any, ...]
    keep: Callable[[Any], Any]


def tapped_layers(
    method: Method, teacher: keras.Model, student: keras.Model
) -> tuple[TappedLayer, ...]:
    """Return what a method compares of a teacher's layers, in the order of its losses.

    Raises ModelError where teacher and student do not fit the method.
    """
    names = {
        role: {own: name for name, own in names_within(model).items()}
        for role, model in (("teacher", teacher), ("student", student))
    }
    found = []
    for loss in method_losses(method, teacher, student):
        if loss.teacher_layer_name is None or loss.student_layer_name is None:
            continue
        loss.validate_model_compatibility(teacher, student)
        output = output_of(teacher, loss.teacher_layer_name)
        of_student = tuple(output_of(student, loss.student_layer_name).shape)
        keep = partial(loss.kept, student_shape=of_student)
        as_it_is = method.terms()[loss.term_number].kept is None
        shape = tuple(output.shape[1:])
        if not as_it_is and None not in shape:
            shape = tuple(keep(tf.zeros([1, *shape])).shape[1:])
        made = "as it is" if as_it_is else _making(method, loss.term_number, shape)
        found.append(
            TappedLayer(
                loss.teacher_layer_name,
                digest({"layer": names["teacher"][loss.teacher_layer_name], "kept": made}),
                shape,
                (names["student"][loss.student_layer_name], of_student, tuple(output.shape)),
                keep,
            )
        )
    return tuple(found)


def kept_values(tapped: Sequence[TappedLayer]) -> int | None:
    """Return how many numbers are kept of an example; None where examples differ in that."""
    if any(None in layer.shape for layer in tapped):
        return None
    return sum(math.prod(side or 0 for side in layer.shape) for layer in tapped)


def training_features(
    store: Store,
    teacher: Network,
    dataset: Dataset,
    tapped: Sequence[TappedLayer],
    teacher_run_id: str | None = None,
) -> tuple[Features, bool]:
    """Return what is kept of a teacher's layers for all training examples, each of shape
    [examples, ...], and whether all of it was in the store.

    With the id of the teacher's run, a purge keeps it as long as that run is kept.
    """
    of_teacher = f"teacher_features/{answering(teacher, teacher_run_id)}/{dataset.fingerprint}"
    keys = [f"{of_teacher}/{layer.key}" for layer in tapped]
    if teacher_run_id is not None:
        for key in dict.fromkeys(keys):
            store.use_artifact(key, teacher_run_id)
    stored = {key: store.artifact(key) for key in keys}
    missing = {key: layer for key, layer in zip(keys, tapped, strict=True) if stored[key] is None}
    found = {key: unpack(data) for key, data in stored.items() if data is not None}
    if missing:
        computed = compute_features(teacher, dataset.train.inputs, list(missing.values()))
        for key, features in zip(missing, computed, strict=True):
            store.put_artifact(key, pack(features))
            found[key] = features
    return tuple(found[key] for key in keys), not missing


def compute_features(teacher: Network, inputs: NDArray, tapped: Sequence[TappedLayer]) -> Features:
    """Return what is kept of a teacher's layers for stored inputs [examples, ...]."""
    view = tap(teacher.model, list(dict.fromkeys(layer.name for layer in tapped)))
    shape = (None,) if takes_any_length(teacher.model) else inputs.shape[1:]
    signature = [tf.TensorSpec([None, *shape], str(inputs.dtype))]

    @tf.function(input_signature=signature, autograph=False)
    def forward(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        seen = view(tf.cast(rows, tf.float32) * teacher.scale, training=False)
        return tuple(tf.cast(layer.keep(seen[layer.name]), tf.float32) for layer in tapped)

    found = no_features(tapped, len(inputs))
    for rows, batch in teacher.batches(inputs):
        for features, some in zip(found, forward(batch), strict=True):
            features[rows] = some.numpy()
    return found


def no_features(tapped: Sequence[TappedLayer], examples: int) -> Features:
    """Return arrays of zeros in the shapes of what is kept."""
    shapes = [tuple(side or 0 for side in layer.shape) for layer in tapped]
    return tuple(np.zeros((examples, *shape), np.float32) for shape in shapes)


def _making(method: Method, term: int, shape: Sequence[int | None]) -> list[Any]:
    """Return what tells that which a method's term makes of a layer from all that others make."""
    beside = {"alpha", "temperature", "layers", *(each.weight for each in method.terms())}
    own = sorted([name, value] for name, value in method.values().items() if name not in beside)
    return [method.name, term, *own, list(shape)]
