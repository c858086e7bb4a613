"""Self-attention with one product for queries, keys and values, for steps that XLA compiles.

Keras projects them by three products. Under XLA on a processor one product of all three and plain
batched products after it are faster (``benchmarks/transformers.py``); without XLA they are slower,
and with the mask of texts no faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import keras
from keras import layers, ops

from kdcore.models.layers_within import attention_layers, called_as


@contextmanager
def fused_attention(network: keras.Model) -> Iterator[None]:
    """Trace training steps of ``network`` in this ``with`` block with fused attention; the same up
    to rounding.

    Layers that do more than plain self-attention are left alone, and all are as before when the
    block is left.
    """
    with ExitStack() as fused:
        for layer in attention_layers(network):
            if _is_plain(layer):
                fused.enter_context(called_as(layer, partial(_call, layer, layer.call)))
        yield


def attend(layer: layers.MultiHeadAttention, tokens: Any) -> Any:
    """Return the self-attention of tokens [batch, tokens, width], as the layer itself would."""
    heads, size = layer.num_heads, layer.key_dim
    batch, length, width = ops.shape(tokens)
    kernel, bias = _joined(layer, width)
    projected = ops.matmul(ops.reshape(tokens, (-1, width)), kernel) + bias
    projected = ops.reshape(projected, (batch, length, 3, heads, size))
    query, key, value = ops.unstack(ops.transpose(projected, (2, 0, 3, 1, 4)), 3)
    scores = ops.matmul(query * size**-0.5, ops.swapaxes(key, -1, -2))
    scores = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
    weights = ops.cast(ops.softmax(scores), value.dtype)
    return layer.output_dense(ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3)))


def _joined(layer: layers.MultiHeadAttention, width: int) -> tuple[Any, Any]:
    """Return the kernel [width, 3 · heads · size] and the bias of all three projections."""
    projections = (layer.query_dense, layer.key_dense, layer.value_dense)
    kernels = [ops.reshape(each.kernel, (width, -1)) for each in projections]
    kernel = ops.cast(ops.concatenate(kernels, axis=1), layer.compute_dtype)
    if not layer.use_bias:
        return kernel, ops.zeros((), layer.compute_dtype)
    biases = [ops.reshape(each.bias, (-1,)) for each in projections]
    return kernel, ops.cast(ops.concatenate(biases), layer.compute_dtype)


def _call(
    layer: layers.MultiHeadAttention,
    call: Any,
    query: Any,
    value: Any,
    key: Any = None,
    *,
    training: bool | None = None,
    **others: Any,
) -> Any:
    """Stand in for the layer's ``call``, which still handles all but plain self-attention."""
    of_itself = query is value and (key is None or key is value) and len(query.shape) == 3
    if of_itself and not any(map(_is_set, others.values())):
        return attend(layer, query)
    return call(query, value, key, training=training, **others)


def _is_set(given: Any) -> bool:
    return given is not None and given is not False


def _is_plain(layer: layers.MultiHeadAttention) -> bool:
    """Return whether a layer attends in no other way than :func:`attend` does."""
    if type(layer) is not layers.MultiHeadAttention or not layer.built:
        return False
    config = layer.get_config()
    extras = ("dropout", "use_gate", "sliding_window", "activity_regularizer")
    return (
        not any(config.get(name) for name in extras)
        and layer.value_dim == layer.key_dim
        and tuple(layer.attention_axes) == (1,)
        and all(map(_has_plain_kernel, (layer.query_dense, layer.key_dense, layer.value_dense)))
    )


def _has_plain_kernel(dense: keras.Layer) -> bool:
    """Return whether a projection is its kernel and its bias alone: neither quantised nor LoRA."""
    return dense.quantization_mode is None and not dense.lora_enabled
