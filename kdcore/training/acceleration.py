"""When XLA pays: for transformers of images that are trained for long.

On processors it makes a step of them 1.1 to 1.8 times as fast, and takes seconds to compile for
every network and size of batch (``benchmarks/transformers.py``); convolutions it makes slower. The
rule is one of settings alone, so that a training that is resumed takes the very same steps. On a
GPU it was not measured, and is left out.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from kdcore.training.loop import takes_any_length

# Seen in the whole training: in so many the compiling is won back many times.
EXAMPLES_THAT_PAY = 100_000


def is_long(examples: int) -> bool:
    """Return whether a training that sees so many examples is long enough."""
    return examples >= EXAMPLES_THAT_PAY


def xla_pays(network: keras.Model, examples: int) -> bool:
    """Return whether the steps of a network that sees so many ``examples`` in its training, epoch
    for epoch, are to be compiled with XLA.
    """
    parts = network._flatten_layers(include_self=False)
    attends = any(isinstance(part, keras.layers.MultiHeadAttention) for part in parts)
    measured = not tf.config.list_physical_devices("GPU")
    return is_long(examples) and attends and measured and not takes_any_length(network)
