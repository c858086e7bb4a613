"""A look at the first examples of whatever data Keras takes, without losing any of it."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kdcore.errors import ModelError

FEW = 32
Examples = tuple[Any, Any]


def first_examples(x: Any, y: Any) -> tuple[Examples, Any]:
    """Return a few inputs with their targets, and the data to use in place of ``x``.

    Of a generator, which can be read only once, that is another one which begins with the batch
    that was taken. Inputs are None for data of a kind that is not known here.
    """
    if isinstance(x, types.GeneratorType):
        try:
            batch = next(x)
        except StopIteration:
            return (None, None), x
        return _few(*_unpacked(batch)), _again(batch, x)
    if isinstance(x, tf.data.Dataset):
        batch = next(iter(x.take(1)), None)
        return (None, None) if batch is None else _few(*_unpacked(batch)), x
    if isinstance(x, keras.utils.PyDataset):
        return _few(*_unpacked(x[0])), x
    leaves = keras.tree.flatten(x)
    if leaves and all(ops.is_tensor(leaf) or isinstance(leaf, np.ndarray) for leaf in leaves):
        return _few(x, y), x
    return (None, None), x


def check_no_probabilities(logits: Any) -> None:
    """Raise ModelError where what is given as a teacher's logits is probabilities."""
    values = np.asarray(ops.convert_to_numpy(logits), np.float64)
    many = values.ndim > 1 and values.shape[-1] > 1
    if many and values.min() >= 0 and np.allclose(values.sum(axis=-1), 1, atol=1e-3):
        raise ModelError(
            "teacher_logits must be logits, got probabilities (each row sums to 1): give their "
            "logarithm"
        )


def check_one_class_each(labels: Any, outputs: Any) -> None:
    """Raise ModelError where rows of labels [..., classes] name several classes or none: outputs
    that judge each class by itself are no choice among classes, and a softmax says nothing of them.
    """
    shape: Any = getattr(labels, "shape", ())
    given = outputs.shape
    if len(shape) != len(given) or shape[-1] != given[-1] or shape[-1] == 1:
        return
    sums = np.asarray(ops.convert_to_numpy(labels), np.float64).sum(axis=-1)
    if not np.allclose(sums, 1, atol=1e-3):
        raise ModelError(
            "labels must name one class a row, got rows that name "
            f"{sums.min():g} to {sums.max():g}: distil outputs that judge each class by itself as "
            "models of one output each"
        )


def check_class_numbers(labels: Any, outputs: Any) -> None:
    """Raise ModelError where labels [...] are no numbers of the classes of outputs [..., classes].

    TensorFlow stops at a number that is too high on a processor, and on a GPU makes the loss nan
    without a word. One-hot labels are left to :func:`check_one_class_each`.
    """
    shape: Any = getattr(labels, "shape", None)
    given = outputs.shape
    if shape is None or (len(shape) == len(given) and shape[-1] == given[-1] != 1):
        return
    values = np.asarray(ops.convert_to_numpy(labels), np.float64)
    classes = max(2, int(given[-1]))
    shares = given[-1] == 1  # one output may be taught how likely its class is
    wrong = values[(values >= classes) | (not shares and values % 1 != 0)]
    if wrong.size:
        raise ModelError(
            f"labels must be the numbers of {classes} classes, 0 to {classes - 1}, or -1 for rows "
            f"without a label, got {wrong.flat[0]:g}"
        )


def _unpacked(batch: Any) -> Examples:
    x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return x, y


def _few(x: Any, y: Any) -> Examples:
    def cut(part: Any) -> Any:
        return part[:FEW] if hasattr(part, "shape") and len(part.shape) else part

    inputs = keras.tree.map_structure(lambda part: ops.convert_to_tensor(part[:FEW]), x)
    return inputs, keras.tree.map_structure(cut, y)


def _again(batch: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield batch
    yield from rest
