"""What brings a student's features to the shape of its teacher's."""

from __future__ import annotations

import keras
from keras import layers

from kdcore.errors import ModelError


def make_adapter(
    teacher_shape: tuple[int | None, ...], student_shape: tuple[int | None, ...]
) -> keras.Layer | None:
    """Return a layer that brings a student's features to the teacher's shape, None where they have
    it.

    A 1×1 convolution, strided or transposed where sizes differ; a linear layer for vectors, and for
    each token where there are as many. Raises ModelError for shapes that no such layer joins.
    """
    if teacher_shape[1:] == student_shape[1:]:
        return None
    if len(teacher_shape) != len(student_shape) or None in (*teacher_shape[1:], *student_shape[1:]):
        raise ModelError(
            f"a pair must be two layers with places or two without, got {_in_words(teacher_shape)} of the teacher and "
            f"{_in_words(student_shape)} of the student"
        )
    channels = teacher_shape[-1]
    if len(teacher_shape) == 3 and teacher_shape[1] != student_shape[1]:
        raise ModelError(
            f"a pair must be two layers with as many tokens, got {teacher_shape[1]} of the teacher and "
            f"{student_shape[1]} of the student"
        )
    if len(teacher_shape) < 4:
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
