"""A model's last layers as one matrix, where no nonlinearity lies between them: the same logits for
less work.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from kdcore.errors import ModelError
from kdcore.models.families import multiply_accumulates, multiply_accumulates_of_layer

# Each is a linear map and a constant; of these classes exactly, as a class of one's own may do
# anything.
LINEAR = {
    layers.AveragePooling2D,
    layers.Conv2D,
    layers.Dense,
    layers.DepthwiseConv2D,
    layers.Flatten,
    layers.GlobalAveragePooling2D,
    layers.Reshape,
    layers.ZeroPadding2D,
}
# What is given up is the model's own order of additions: only for a saving that can be felt.
LEAST_SAVING = 2.0


def collapse_linear_tail(model: keras.Model) -> keras.Model:
    """Return a model of the same logits, up to rounding, that multiplies less; ``model`` itself
    where there is none.

    From where on a network is linear, its logits are x · J + f(0), with J the Jacobian of those
    layers, [features, classes]. The network of the Keras distillation example has nothing between
    its second convolution and its logits, so that one matrix does the work of both: 501,760
    multiplications for an image of MNIST with the teacher of 256 and 512 filters, in place of 58
    million. The matrix is computed and applied in float32, whatever the model computes in.

    For inference with weights that stay as they are: nothing is shared with ``model`` behind the
    cut.
    """
    chain = _chain(model)
    tail = 0
    while tail < len(chain) - 1 and _is_linear(chain[-1 - tail]):
        tail += 1
    cuts = range(
        len(chain) - tail, len(chain)
    )  # the first layer of the tail; at least one layer stays before it
    try:
        work = {cut: _work(chain, cut, model.output_shape[-1]) for cut in cuts}
        if not cuts or multiply_accumulates(model) < LEAST_SAVING * min(work.values()):
            return model
    except ModelError:  # the work of a part of the model is not known
        return model
    cut = min(work, key=lambda candidate: work[candidate])
    matrix, constant = _as_matrix(
        chain[cut:], tuple(chain[cut].input.shape[1:]), model.output_shape[-1]
    )
    inputs, features = _front(model, chain[:cut])
    logits = layers.Dense(len(constant), dtype="float32", name="linear_tail")
    collapsed = keras.Model(inputs, logits(layers.Flatten(dtype="float32")(features)))
    logits.set_weights([matrix, constant])
    return collapsed


def _chain(model: keras.Model) -> list[keras.Layer]:
    """Return the layers of a model that is one chain of them, from one input to one output.

    Else none.
    """
    chain = [
        layer for layer in getattr(model, "layers", []) if not isinstance(layer, layers.InputLayer)
    ]
    if isinstance(model, keras.Sequential):
        return chain if model.built else []
    try:
        received = [*(layer.input for layer in chain), *model.outputs]
        given = [*model.inputs, *(layer.output for layer in chain)]
        return (
            chain if all(one is other for one, other in zip(received, given, strict=True)) else []
        )
    except (
        AttributeError,
        TypeError,
        ValueError,
    ):  # a layer used twice, or a model that is code and not a graph
        return []


def _front(model: keras.Model, chain: list[keras.Layer]) -> tuple[Any, Any]:
    """Return the input of ``model``, and what the first layers make of it."""
    if not isinstance(model, keras.Sequential):
        return model.inputs[0], chain[-1].output
    # The tensors of a sequential model that came from a file do not hang together: its layers are
    # called anew.
    first = model.inputs[0]
    inputs = features = keras.Input(batch_shape=first.shape, dtype=first.dtype)
    for layer in chain:
        features = layer(features)
    return inputs, features


def _is_linear(layer: keras.Layer) -> bool:
    known = (
        type(layer) in LINEAR
        and None not in layer.output.shape[1:]
        and layer.quantization_mode is None
    )
    return known and getattr(layer, "activation", None) in (None, keras.activations.linear)


def _work(chain: list[keras.Layer], cut: int, classes: int) -> int:
    """Return the multiply-accumulates of one example where the layers from ``cut`` on are one
    matrix.
    """
    return (
        sum(map(multiply_accumulates_of_layer, chain[:cut]))
        + math.prod(chain[cut].input.shape[1:]) * classes
    )


def _as_matrix(
    tail: list[keras.Layer], shape: tuple[int, ...], classes: int
) -> tuple[NDArray, NDArray]:
    """Return J [features, classes] and f(0) [classes] of ``tail``, from one pass over a zero
    example a class.
    """
    copies = [_in_float32(layer) for layer in tail]
    examples = tf.zeros([classes, *shape])
    with tf.GradientTape() as tape:
        tape.watch(examples)
        logits = examples
        for layer in copies:
            logits = layer(logits, training=False)
        own = tf.linalg.trace(logits)  # of each example the logit of the class that it stands for
    jacobian = tape.gradient(own, examples)
    return tf.transpose(tf.reshape(jacobian, [classes, -1])).numpy(), logits[0].numpy()


def _in_float32(layer: keras.Layer) -> keras.Layer:
    copy = type(layer).from_config({**layer.get_config(), "dtype": "float32"})
    copy.build(layer.input.shape)
    copy.set_weights(layer.get_weights())
    return copy
