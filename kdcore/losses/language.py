"""The three losses of DistilBERT's pre-training (Sanh 2019), over the tokens that count."""

from __future__ import annotations

from typing import Any

from keras import ops

from kdcore.losses.arguments import at_least_float32, check_same_shape, result_dtype
from kdcore.losses.distillation import kd_loss_per_example


def token_kd_loss(
    teacher_logits: Any, student_logits: Any, mask: Any, temperature: Any = 2.0
) -> Any:
    """Return distillation of a language model, a scalar: the mean over the tokens that count.

    ``T² · Σ_tokens mask · KL(p_t ‖ p_s) / Σ mask``.

    Args:
        teacher_logits: shape [batch, tokens, vocabulary].
        student_logits: the same shape.
        mask: shape [batch, tokens], 1 for each token that counts.
        temperature: above 0.
    """
    rows = kd_loss_per_example(teacher_logits, student_logits, temperature)
    return _mean_over(rows, mask)


def masked_language_model_loss(labels: Any, logits: Any) -> Any:
    """Return the mean cross-entropy over the masked tokens, a scalar; 0 where there are none.

    Args:
        labels: shape [batch, tokens]; the masked token's number, below 0 for tokens not masked.
        logits: shape [batch, tokens, vocabulary].
    """
    logits = at_least_float32(logits)
    labels = ops.cast(ops.convert_to_tensor(labels), "int32")
    rows = -ops.take_along_axis(
        ops.log_softmax(logits, axis=-1),
        ops.expand_dims(ops.maximum(labels, 0), -1),
        axis=-1,
    )
    return _mean_over(ops.squeeze(rows, -1), labels >= 0)


def hidden_cosine_loss(teacher_hidden: Any, student_hidden: Any, mask: Any) -> Any:
    """Return the mean of ``1 - cos`` of the last hidden states over the tokens that count.

    Args:
        teacher_hidden: shape [batch, tokens, width].
        student_hidden: the same shape.
        mask: shape [batch, tokens], 1 for each token that counts.

    Raises:
        ModelError: where the two shapes differ.
    """
    teacher, student = at_least_float32(teacher_hidden), at_least_float32(student_hidden)
    check_same_shape(teacher, student, "hidden states")
    dtype = result_dtype(teacher, student)
    teacher, student = ops.cast(ops.stop_gradient(teacher), dtype), ops.cast(student, dtype)
    squares = ops.sum(teacher**2, axis=-1) * ops.sum(student**2, axis=-1)
    cosines = ops.sum(teacher * student, axis=-1) / ops.sqrt(ops.maximum(squares, 1e-16))
    return _mean_over(1 - cosines, mask)


def _mean_over(values: Any, mask: Any) -> Any:
    weights = ops.cast(ops.convert_to_tensor(mask), values.dtype)
    return ops.divide_no_nan(ops.sum(values * weights), ops.sum(weights))
