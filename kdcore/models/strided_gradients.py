"""Weight gradients of strided convolutions in bfloat16 as one matrix product, on processors where
that is faster.

On AVX512-BF16 without AMX, oneDNN's own kernel for them is no faster than in float32, and takes
half of the training step of the Keras example's teacher. Gathering the patches and multiplying once
is 2 to 2.5 times as fast from 64 input channels on; for fewer channels, or without strides, it is
not, and such layers are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from kdcore.models.families import all_layers
from kdcore.models.precision import bfloat16_without_tiles

LEAST_CHANNELS = 64


@contextmanager
def strided_gradients(model: keras.Model) -> Iterator[None]:
    """Trace training steps of ``model`` in this ``with`` block for the faster gradients; the same
    up to rounding.

    Does nothing where processor or layers do not profit. The layers are as before when the block is
    left.
    """
    profiting = (
        [layer for layer in all_layers(model) if _profits(layer)]
        if bfloat16_without_tiles()
        else []
    )
    for layer in profiting:
        layer.convolution_op = partial(
            _convolve, strides=layer.strides, padding=layer.padding.upper()
        )
    try:
        yield
    finally:
        for layer in profiting:
            del layer.convolution_op  # the class's own again


def convolve(
    inputs: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int], padding: str
) -> tf.Tensor:
    """Return ``tf.nn.conv2d``, whose gradient by the kernel is one product of patches and outputs.

    Args:
        inputs: [batch, height, width, channels], of known height and width.
        kernel: [rows, columns, channels, filters].
        strides: down and across.
        padding: "SAME" or "VALID".
    """

    @tf.custom_gradient
    def convolution(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        outputs = tf.nn.conv2d(inputs, kernel, strides, padding)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            by_inputs = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs),
                filter=kernel,
                out_backprop=upstream,
                strides=[1, *strides, 1],
                padding=padding,
            )
            patches = _patches(inputs, tuple(kernel.shape[:2]), strides, padding)
            filters = kernel.shape[-1]
            by_kernel = tf.matmul(patches, tf.reshape(upstream, [-1, filters]), transpose_a=True)
            return by_inputs, tf.reshape(by_kernel, kernel.shape)

        return outputs, gradient

    return convolution(inputs, kernel)


def _convolve(inputs: Any, kernel: Any, *, strides: tuple[int, int], padding: str) -> Any:
    """Stand in for ``Conv2D.convolution_op``, which is given a Keras variable for its kernel."""
    # A tensor of the dtype that the layer computes in: a custom gradient must not see the variable
    # itself.
    return convolve(inputs, tf.identity(keras.ops.cast(kernel, inputs.dtype)), strides, padding)


def _patches(
    inputs: tf.Tensor, kernel_size: tuple[int, int], strides: tuple[int, int], padding: str
) -> tf.Tensor:
    """Return what each output saw, [batch · outputs, rows · columns · channels]."""
    _, height, width, channels = inputs.shape
    down, across = (
        _Steps(*sizes, same=padding == "SAME")
        for sizes in zip((height, width), kernel_size, strides, strict=True)
    )
    padded = tf.pad(inputs, [[0, 0], down.padding, across.padding, [0, 0]])
    padded_width = width + sum(across.padding)
    pixels = tf.reshape(
        padded, [tf.shape(inputs)[0], (height + sum(down.padding)) * padded_width, channels]
    )
    seen = down.seen[:, None, :, None] * padded_width + across.seen[None, :, None, :]
    return tf.reshape(
        tf.gather(pixels, seen.reshape(-1), axis=1),
        [-1, kernel_size[0] * kernel_size[1] * channels],
    )


class _Steps:
    """How a kernel steps along one side of an image: the padding at its ends, and what is seen from
    each place.
    """

    def __init__(self, size: int, kernel: int, stride: int, same: bool) -> None:
        places = -(-size // stride) if same else (size - kernel) // stride + 1
        missing = max((places - 1) * stride + kernel - size, 0) if same else 0
        self.padding = [missing // 2, missing - missing // 2]
        self.seen = (np.arange(places)[:, None] * stride + np.arange(kernel)[None, :]).astype(
            np.int32
        )


def _profits(layer: keras.Layer) -> bool:
    if type(layer) is not layers.Conv2D or layer.compute_dtype != "bfloat16" or layer.groups != 1:
        return False
    if (
        layer.data_format != "channels_last"
        or layer.dilation_rate != (1, 1)
        or min(layer.strides) < 2
    ):
        return False
    try:
        _, height, width, channels = layer.input.shape
    except (
        AttributeError,
        ValueError,
    ):  # used more than once, or in a model that is code and not a graph
        return False
    return (
        height is not None
        and width is not None
        and channels >= LEAST_CHANNELS
        and min(layer.kernel_size) > 1
    )
