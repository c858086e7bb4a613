"""What the losses ask of their arguments, and how logits are widened."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import keras
from keras import ops

from kdcore.errors import ModelError, require


def check_temperature(temperature: Any) -> None:
    """Raise ConfigError unless ``temperature`` is a finite number above 0.

    A tensor's value is not looked at.
    """
    if not is_number(temperature):
        return
    _check_number("temperature", temperature)
    require(temperature > 0, "temperature", "above 0", temperature)


def check_alpha(alpha: Any) -> None:
    """Raise ConfigError unless ``alpha`` is a number from 0 to 1.

    A tensor's value is not looked at.
    """
    if not is_number(alpha):
        return
    _check_number("alpha", alpha)
    require(alpha >= 0, "alpha", "at least 0", alpha)
    require(alpha <= 1, "alpha", "at most 1", alpha)


def is_number(value: Any) -> bool:
    """Return whether the value is there to be looked at, rather than known to TensorFlow alone."""
    return not (ops.is_tensor(value) or isinstance(value, keras.Variable | keras.KerasTensor))


def _check_number(field: str, value: Any) -> None:
    require(isinstance(value, Real) and not isinstance(value, bool), field, "a number", value)
    require(math.isfinite(value), field, "a finite number", value)


def at_least_float32(logits: Any) -> Any:
    """Return logits as a tensor of float32, or of float64 if they are that already."""
    logits = ops.convert_to_tensor(logits)
    return (
        logits
        if keras.backend.standardize_dtype(logits.dtype) == "float64"
        else ops.cast(logits, "float32")
    )


def check_same_shape(teacher_logits: Any, student_logits: Any, of: str = "logits") -> None:
    """Raise ModelError unless both shapes agree, as far as they are known."""
    teacher, student = tuple(teacher_logits.shape), tuple(student_logits.shape)
    same = len(teacher) == len(student) and all(
        t == s or t is None or s is None for t, s in zip(teacher, student, strict=True)
    )
    if not same:
        raise ModelError(
            f"teacher and student must give {of} of one shape, got {_words(teacher)} from the "
            f"teacher and {_words(student)} from the student"
        )


def result_dtype(*tensors: Any) -> str:
    """Return the number format of a loss of ``tensors``: float32, or wider where they are."""
    return keras.backend.result_type(*(tensor.dtype for tensor in tensors))


def as_class_numbers(labels: Any, classes: int) -> Any:
    """Return labels as class numbers [batch], from [batch], [batch, 1] or one-hot [batch, classes].

    A class number below 0 says that the row has no true label.
    """
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) == 1:
        return ops.cast(labels, "int32")
    if len(labels.shape) == 2 and labels.shape[-1] == 1:
        return ops.cast(labels[:, 0], "int32")
    if len(labels.shape) == 2 and labels.shape[-1] == classes:
        return ops.cast(ops.argmax(labels, axis=-1), "int32")
    raise ModelError(
        f"labels must have the shape [batch], [batch, 1] or [batch, {classes}], "
        f"got {_words(tuple(labels.shape))}"
    )


def check_weight(name: str, weight: Any) -> None:
    """Raise ConfigError unless ``weight`` is a finite number of at least 0.

    A tensor's value is not looked at.
    """
    if is_number(weight):
        _check_number(name, weight)
        require(weight >= 0, name, "at least 0", weight)


def _words(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


def check_loss_fits_labels(loss: Any, field: str, one_hot: bool, logits: Any) -> None:
    """Raise ModelError where one of Keras' losses cannot compare such labels with logits.

    A loss that compares number by number would stretch a class number over all classes without a
    word. What a function of one's own takes is not known here.
    """
    function = getattr(loss, "fn", loss)
    name = getattr(function, "__name__", "")
    if not getattr(function, "__module__", "").startswith("keras.") or logits.shape[-1] == 1:
        return
    takes_numbers = name.startswith("sparse_")
    if takes_numbers and one_hot:
        raise ModelError(
            f"{field} must take labels that are a row over the classes, as categorical_crossentropy "
            f"does, got {name}"
        )
    if not takes_numbers and not one_hot:
        raise ModelError(
            f"{field} must take class numbers, as sparse_categorical_crossentropy does, got {name}: "
            "give another loss, or labels that are a row over the classes"
        )
