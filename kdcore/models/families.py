"""How the catalog's model families are built: plain Keras models that end in logits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
from keras import layers

from kdcore.config.catalog import parse_model_name, resolve
from kdcore.config.families import residual_depth
from kdcore.errors import ModelError, require
from kdcore.models.layers_within import layers_within
from kdcore.tasks.values import InputValues

RESNET_STAGES = 3
# Of the running statistics. With Keras' 0.99 they lag behind the weights for hundreds of steps, and
# a network answers much worse than it has learnt: 35 % instead of 48 % on CIFAR-10 after 1,200.
RESNET_MOMENTUM = 0.9
AS_BUILT_IN = InputValues()  # from 0 to 1


def build(
    name: str,
    input_shape: tuple[int, ...],
    classes: int,
    seed: int | None = None,
    *,
    values: InputValues = AS_BUILT_IN,
    start: str = "fresh",
) -> keras.Model:
    """Build the model that ``name`` stands for, such as "conv-16-32".

    Args:
        name: a name of the catalog.
        input_shape: one example's shape, channels last, without the batch.
        classes: how many logits the model gives.
        seed: fixes the initial weights. It sets the seeds of Python, NumPy and Keras for the whole
            process.
        values: that the model will see; what a model of your own expects is made from them.
        start: of a file of your own: "file" for the weights in it, "fresh" for new ones.

    Raises:
        ConfigError: for a name that the catalog does not know.
        ModelError: where model and data do not fit.
    """
    family, numbers = parse_model_name(name)
    if seed is not None:
        keras.utils.set_random_seed(seed)
    if family.by_name:
        return resolve(family.builder)(tuple(input_shape), classes, name, values, start)
    if family.takes == "texts":
        return resolve(family.builder)(tuple(input_shape), classes, values.tokens, *numbers)
    return resolve(family.builder)(tuple(input_shape), classes, *numbers)


def build_conv(input_shape: tuple[int, ...], classes: int, first: int, second: int) -> keras.Model:
    """Build the two-layer network of the Keras distillation example with ``first`` and ``second``
    filters.

    Raises:
        ModelError: where ``input_shape`` is not (height, width, channels).
    """
    name = f"conv-{first}-{second}"
    _check_fit(name, input_shape, classes, images=True)
    return keras.Sequential(
        [
            keras.Input(shape=input_shape),
            layers.Conv2D(first, 3, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.MaxPooling2D(pool_size=2, strides=1, padding="same"),
            layers.Conv2D(second, 3, strides=2, padding="same"),
            layers.Flatten(),
            _logits(classes),
        ],
        name=_layer_name(name),
    )


def build_mlp(input_shape: tuple[int, ...], classes: int, *hidden: int) -> keras.Model:
    """Build dense layers of ``hidden`` units with ReLU between; any shape of example is flattened.

    Raises:
        ModelError: where ``input_shape`` is empty or not fully known.
    """
    name = "-".join(map(str, ("mlp", *hidden)))
    _check_fit(name, input_shape, classes)
    dense = [layers.Dense(units, activation="relu") for units in hidden]
    return keras.Sequential(
        [keras.Input(shape=input_shape), layers.Flatten(), *dense, _logits(classes)],
        name=_layer_name(name),
    )


def build_resnet(input_shape: tuple[int, ...], classes: int, depth: int, width: int) -> keras.Model:
    """Build a residual network in CIFAR style (He, Zhang, Ren, Sun 2016, "Deep Residual Learning",
    §4.2).

    Three stages of n = (depth - 2) / 6 blocks with ``width``, 2·width and 4·width filters, then
    global average pooling. Where the number of filters grows, the shortcut is a 1 by 1 convolution
    (the paper's option B).

    Raises:
        ConfigError: for a depth that is not 6n + 2.
        ModelError: where ``input_shape`` is not (height, width, channels).
    """
    require(residual_depth((depth, width)) is None, "depth", "8, 14, 20, ... (6n+2)", depth)
    name = f"resnet-{depth}-{width}"
    _check_fit(name, input_shape, classes, images=True)
    inputs = keras.Input(shape=input_shape)
    x = layers.ReLU()(_convolve(inputs, width, 3))
    for stage in range(RESNET_STAGES):
        for block in range((depth - 2) // 6):
            strides = 2 if stage > 0 and block == 0 else 1
            x = _residual_block(x, width * 2**stage, strides)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, _logits(classes)(x), name=_layer_name(name))


def all_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield the layers of a model, and those of models within it in their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        else:
            yield layer


def multiply_accumulates(model: keras.Model, length: int | None = None) -> int:
    """Return the multiply-accumulates of one forward pass of one example.

    ``length`` is that of a text in tokens, where the model takes any.

    Counted are Conv2D, DepthwiseConv2D and Dense layers and attention, in models within the model
    and in layers of layers too; other layers, biases and activations are not, and a layer applied
    several times counts once.

    Raises:
        ModelError: where the model is not built, or the size of its layers' outputs is not known.
    """
    return sum(multiply_accumulates_of_layer(layer, length) for layer in model.layers)


def multiply_accumulates_of_layer(layer: keras.Layer, length: int | None = None) -> int:
    """Return what one layer, or a model within a model, adds to :func:`multiply_accumulates`.

    Raises like it.
    """
    if isinstance(layer, keras.Model):
        return multiply_accumulates(layer, length)
    if not isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense):
        return _within(layer, length)
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):
        raise ModelError(
            f"layer {layer.name} is not part of a built functional or sequential model"
        ) from None
    channels_last = isinstance(layer, layers.Dense) or layer.data_format == "channels_last"
    positions = [size or length for size in _positions(shape, channels_last)]
    if None in positions:
        raise ModelError(
            f"the output size of layer {layer.name} is not known: give the model a full input shape"
        )
    return int(math.prod(layer.kernel.shape) * math.prod(filter(None, positions)))


def _positions(shape: tuple[int | None, ...], channels_last: bool) -> tuple[int | None, ...]:
    return shape[1:-1] if channels_last else shape[2:]


def _within(layer: keras.Layer, length: int | None = None) -> int:
    """Return the multiply-accumulates of the layers that a layer of tokens is made of.

    Of attention over t tokens: its projections, and 2 · t² · width for scores and mixing.
    """
    parts = layers_within(layer)
    attention = layers.MultiHeadAttention
    counted = (layers.Dense, layers.EinsumDense, layers.Conv2D, attention)
    if not any(isinstance(part, counted) for part in parts):
        return 0
    output = layer.output[0] if isinstance(layer.output, list | tuple) else layer.output
    sizes = [size or length for size in output.shape[1:-1]]
    if None in sizes:
        raise ModelError(
            f"the number of tokens in {layer.name} is not known: give the length of a text"
        )
    tokens, total = int(math.prod(filter(None, sizes))), 0
    for part in parts:
        if isinstance(part, layers.Conv2D):
            positions = part.compute_output_shape(layer.input.shape)[1:-1]
            total += math.prod(part.kernel.shape) * math.prod(positions)
        elif isinstance(part, layers.Dense | layers.EinsumDense):
            total += tokens * math.prod(part.kernel.shape)
        elif isinstance(part, attention):
            total += tokens**2 * part.num_heads * (part.key_dim + part.value_dim)
    return int(total)


def _convolve(x: Any, filters: int, size: int, strides: int = 1) -> Any:
    # No bias: the normalisation that follows has its own.
    convolution = layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )
    return layers.BatchNormalization(momentum=RESNET_MOMENTUM)(convolution(x))


def _residual_block(x: Any, filters: int, strides: int) -> Any:
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = _convolve(x, filters, 1, strides)
    x = layers.ReLU()(_convolve(x, filters, 3, strides))
    x = _convolve(x, filters, 3)
    return layers.ReLU()(layers.Add()([x, shortcut]))


def _logits(classes: int) -> keras.Layer:
    # float32 whatever the policy: losses and a temperature of 100 need more digits than bfloat16's
    # three.
    return layers.Dense(classes, dtype="float32", name="logits")


def _check_fit(name: str, input_shape: tuple[int, ...], classes: int, images: bool = False) -> None:
    require(classes >= 2, "classes", "at least 2", classes)
    known = len(input_shape) >= 1 and all(
        isinstance(size, int) and size > 0 for size in input_shape
    )
    if not known:
        raise ModelError(f"{name} needs the full shape of one example, got {input_shape}")
    if images and len(input_shape) != 3:
        raise ModelError(
            f"{name} needs images of shape (height, width, channels), but one example has shape {input_shape}; "
            "a model of dense layers such as mlp-64 takes any shape"
        )


def _layer_name(name: str) -> str:
    return name.replace("-", "_")
