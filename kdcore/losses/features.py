"""Losses of what teacher and student compute on the way: feature maps and pooled features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from kdcore.errors import ModelError
from kdcore.losses.arguments import (
    at_least_float32,
    check_same_shape,
    check_weight,
    result_dtype,
)

# Below this a length counts as 0, as in PyTorch's normalize, which the papers' code uses.
SMALLEST_LENGTH = 1e-12


def hint_loss(teacher_features: Any, student_features: Any) -> Any:
    """Return the mean squared difference over all elements, a scalar (FitNet, Romero 2015).

    Where the shapes differ an adapter of the student's comes first, a 1×1 convolution for example.
    The paper has half the sum; the authors' code, as most since, the mean.

    Args:
        teacher_features: shape [batch, ...].
        student_features: the same shape.

    Raises:
        ModelError: where the two shapes differ.
    """
    teacher, student = _both(teacher_features, student_features)
    check_same_shape(teacher, student, "features")
    return ops.mean((student - teacher) ** 2)


def strength_of_places(features: Any, size: tuple[int, ...] | None = None, power: float = 2) -> Any:
    """Return how strong a layer is at each place: mean over channels of F^power.

    Args:
        features: shape [batch, height, width, channels], or tokens [batch, tokens, width].
        size: (height, width) that the features are adaptively average-pooled to first.
        power: of each activation.

    Returns:
        Shape [batch, height, width], or [batch, tokens].

    Raises:
        ModelError: for features without places.
    """
    features = at_least_float32(features)
    if len(features.shape) not in (3, 4):
        raise ModelError(
            "the strength of places needs feature maps [batch, height, width, channels] or tokens "
            f"[batch, tokens, width], got {len(features.shape)} dimensions"
        )
    return ops.mean(_pooled(features, size or tuple(features.shape[1:-1])) ** power, axis=-1)


def attention_map(features: Any, power: float = 2) -> Any:
    """Return where a layer looks: ℓ2-normalised flatten(mean over channels of F^power).

    Args:
        features: shape [batch, height, width, channels].
        power: of each activation.

    Returns:
        Shape [batch, height · width]; each row has length 1 (0 where all is 0).
    """
    return _normalized(_flat(strength_of_places(features, None, power)))


def attention_transfer_loss(teacher_features: Any, student_features: Any, power: float = 2) -> Any:
    """Return the mean squared difference of two attention maps, a scalar (Zagoruyko 2017).

    ``mean (a_s - a_t)²`` over batch and positions, with a of :func:`attention_map`. The larger map
    is adaptively average-pooled to the size of the smaller first; channels may differ.

    Args:
        teacher_features: shape [batch, height, width, channels].
        student_features: shape [batch, height, width, channels], of any size.
        power: of each activation.

    Raises:
        ModelError: for features that are no maps.
    """
    teacher, student = _both(teacher_features, student_features)
    size = smaller_size(teacher.shape, student.shape)
    return strength_difference(
        *(strength_of_places(features, size, power) for features in (teacher, student))
    )


def smaller_size(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """Return the (height, width) that the larger of two shapes of feature maps [batch, height,
    width, channels] is pooled to, or the number of tokens of two [batch, tokens, width].

    Raises ModelError for others, and for tokens of which there are not as many.
    """
    for role, shape in (("teacher", one), ("student", other)):
        if len(shape) not in (3, 4) or len(shape) != len(one):
            raise ModelError(
                "attention transfer needs feature maps [batch, height, width, channels] of both, or "
                f"tokens [batch, tokens, width] of both, got {len(shape)} dimensions from the {role}"
            )
    if len(one) == 3 and one[1] != other[1]:
        raise ModelError(
            "attention transfer needs as many tokens of both, got "
            f"{one[1]} from the teacher and {other[1]} from the student"
        )
    return tuple(min(sides) for sides in zip(one[1:-1], other[1:-1], strict=True))


def strength_difference(teacher_strengths: Any, student_strengths: Any) -> Any:
    """Return the mean squared difference of two attention maps, a scalar, from what
    :func:`strength_of_places` gave of each.

    Args:
        teacher_strengths: shape [batch, height, width].
        student_strengths: the same shape.

    Raises:
        ModelError: where the two shapes differ.
    """
    teacher, student = _both(teacher_strengths, student_strengths)
    check_same_shape(teacher, student, "strengths of places")
    return ops.mean((_normalized(_flat(student)) - _normalized(_flat(teacher))) ** 2)


def similarity_preserving_loss(teacher_features: Any, student_features: Any) -> Any:
    """Return how differently two batches of features see which examples are alike, a scalar.

    ``‖G_t - G_s‖² / N²`` with G the Gram matrix F Fᵀ of the flattened features, each row of it
    ℓ2-normalised (Tung 2019, eq. 4). Not in it: the ℓ1 norm that one library takes.

    Args:
        teacher_features: shape [batch, ...].
        student_features: shape [batch, ...], of any size.
    """
    teacher, student = _both(teacher_features, student_features)
    difference = _normalized(_gram(teacher)) - _normalized(_gram(student))
    return ops.sum(ops.mean(difference**2, axis=-1)) / ops.cast(
        ops.shape(difference)[0], difference.dtype
    )


def relational_loss(
    teacher_features: Any,
    student_features: Any,
    distance_weight: Any = 25.0,
    angle_weight: Any = 50.0,
) -> Any:
    """Return how differently the examples of a batch lie to each other, a scalar (Park 2019).

    ``distance_weight · Huber(d_s, d_t) + angle_weight · Huber(cos_s, cos_t)``: distances of pairs
    over their mean, and cosines of the angles of triples. Means run over all N² pairs and N³
    triples, the Huber loss turns linear at 1.

    Args:
        teacher_features: shape [batch, ...].
        student_features: shape [batch, ...], of any size.
        distance_weight: of the pairs.
        angle_weight: of the triples.

    Raises:
        ConfigError: for a weight below 0.
        ModelError: for a batch of one, which has no pairs.
    """
    check_weight("distance_weight", distance_weight)
    check_weight("angle_weight", angle_weight)
    teacher, student = map(_flat, _both(teacher_features, student_features))
    if student.shape[0] == 1:
        raise ModelError("relations need a batch of 2 examples or more, got 1")
    distances = _huber(_relative_distances(student) - _relative_distances(teacher))
    angles = _huber(_angles(student) - _angles(teacher))
    weights = (ops.cast(weight, student.dtype) for weight in (distance_weight, angle_weight))
    return next(weights) * distances + next(weights) * angles


def _both(teacher_features: Any, student_features: Any) -> tuple[Any, Any]:
    """Return both in the wider of their number formats, the teacher's without gradient."""
    teacher, student = at_least_float32(teacher_features), at_least_float32(student_features)
    dtype = result_dtype(teacher, student)
    return ops.cast(ops.stop_gradient(teacher), dtype), ops.cast(student, dtype)


def _flat(features: Any) -> Any:
    if None in features.shape[1:]:  # a text's, as long as the longest of its batch
        return ops.reshape(features, (ops.shape(features)[0], -1))
    return ops.reshape(features, (-1, math.prod(features.shape[1:])))


def _gram(features: Any) -> Any:
    flat = _flat(features)
    return ops.matmul(flat, ops.transpose(flat))


def _normalized(rows: Any) -> Any:
    """Return rows of length 1; a row of zeros stays one, with gradient 0."""
    return rows / ops.sqrt(
        ops.maximum(ops.sum(rows**2, axis=-1, keepdims=True), SMALLEST_LENGTH**2)
    )


def _pooled(features: Any, size: tuple[int, ...]) -> Any:
    if tuple(features.shape[1:-1]) == size:
        return features
    return ops.adaptive_average_pool(features, size, data_format="channels_last")


def _relative_distances(features: Any) -> Any:
    """Return the distances of all pairs [N, N] over the mean of those of different examples."""
    squares = ops.sum(features**2, axis=-1)
    products = ops.matmul(features, ops.transpose(features))
    squared = ops.expand_dims(squares, 0) + ops.expand_dims(squares, 1) - 2 * products
    count = ops.shape(features)[0]
    others = 1 - ops.eye(count, dtype=features.dtype)
    distances = ops.sqrt(ops.maximum(squared, SMALLEST_LENGTH)) * others
    # A single last example, as a batch may have, has no pairs: 0.
    return distances / ops.maximum(
        ops.divide_no_nan(ops.sum(distances), ops.sum(others)), SMALLEST_LENGTH
    )


def _angles(features: Any) -> Any:
    """Return the cosines of the angles of all triples, [N, N, N]."""
    directions = _normalized(ops.expand_dims(features, 0) - ops.expand_dims(features, 1))
    return ops.matmul(directions, ops.transpose(directions, (0, 2, 1)))


def _huber(difference: Any) -> Any:
    size = ops.abs(difference)
    return ops.mean(ops.where(size <= 1, 0.5 * difference**2, size - 0.5))
