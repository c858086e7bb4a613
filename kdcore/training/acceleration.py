"""When XLA pays: for transformers that are trained for long.

On processors it makes a step of them 1.2 to 2 times as fast, and takes seconds to compile for
every network, size of batch and length of texts (``benchmarks/transformers.py``); convolutions it
makes slower. The rule is one of settings and data alone, so that a training that is resumed takes
the very same steps. On a GPU it was not measured, and is left out.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from kdcore.models.layers_within import attention_layers
from kdcore.training.loop import TOKENS_A_STEP, takes_any_length

# Seen in the whole training: in so many the compiling is won back many times.
EXAMPLES_THAT_PAY = 100_000
# Of texts, for each length that is compiled.
TEXTS_THAT_PAY = 50_000


def is_long(examples: int, longest: int | None = None) -> bool:
    """Return whether a training that sees so many examples is long enough.

    ``longest`` is the length of the longest text in tokens, None where the examples are no texts.
    """
    if longest is None:
        return examples >= EXAMPLES_THAT_PAY
    return examples >= TEXTS_THAT_PAY * -(-longest // TOKENS_A_STEP)


def xla_pays(network: keras.Model, examples: int, longest: int | None = None) -> bool:
    """Return whether the steps of a network that sees so many ``examples`` in its training, epoch
    for epoch, are to be compiled with XLA.

    ``longest`` is the length of the longest text in tokens, None where the examples are no texts.
    """
    attends = bool(attention_layers(network))
    measured = not tf.config.list_physical_devices("GPU")
    # A network for texts is one that takes them at any length.
    goes_with = takes_any_length(network) == (longest is not None)
    return is_long(examples, longest) and attends and measured and goes_with
