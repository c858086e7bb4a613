"""Vision transformers of KerasHub: plain ones, and ones with a distillation token."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops

from kdcore.config.families import patch_of
from kdcore.errors import ModelError, require
from kdcore.methods.distillation_token import CLASS_HEAD, DISTILLATION_HEAD

# Dimensions of a head: as near to it as the width allows.
HEAD_DIMENSIONS = 32


def build_vit(
    input_shape: tuple[int, ...], classes: int, depth: int, width: int, patch: int | None = None
) -> keras.Model:
    """Build a vision transformer of ``depth`` layers and ``width`` dimensions, which answers from
    its class token (Dosovitskiy 2021, arXiv:2010.11929).

    ``patch`` is the side of a patch in pixels, None for the usual one, see
    :func:`kdcore.config.families.patch_of`.

    Raises:
        ConfigError: for a width that is no multiple of 16.
        ModelError: where ``input_shape`` is not (height, width, channels).
    """
    from keras_hub.models import ViTBackbone

    inputs, x, patch = _patched(input_shape, width, patch, f"vit-{depth}-{width}")
    backbone = ViTBackbone(
        image_shape=tuple(x.shape[1:]),
        patch_size=(patch, patch),
        num_layers=depth,
        num_heads=heads_of(width),
        hidden_dim=width,
        mlp_dim=2 * width,
        name="vit_backbone",
    )
    answers = head(classes, "logits")(backbone(x)[:, 0])
    return keras.Model(inputs, answers, name=f"vit_{depth}_{width}")


def build_deit(
    input_shape: tuple[int, ...], classes: int, depth: int, width: int, patch: int | None = None
) -> keras.Model:
    """Build a vision transformer with a class token and a distillation token, each with a head of
    its own (DeiT: Touvron 2021, arXiv:2012.12877).

    It answers with the logarithm of the mean of both heads' probabilities. ``patch`` is the side of
    a patch in pixels, None for the usual one, see
    :func:`kdcore.config.families.patch_of`.

    Raises:
        ConfigError: for a width that is no multiple of 16.
        ModelError: where ``input_shape`` is not (height, width, channels).
    """
    from keras_hub.models import DeiTBackbone

    inputs, x, patch = _patched(input_shape, width, patch, f"deit-{depth}-{width}")
    backbone = DeiTBackbone(
        image_shape=tuple(x.shape[1:]),
        patch_size=patch,
        num_layers=depth,
        num_heads=heads_of(width),
        hidden_dim=width,
        intermediate_dim=2 * width,
        name="deit_backbone",
    )
    answers = answer_of_both_tokens(backbone(x), classes)
    return keras.Model(inputs, answers, name=f"deit_{depth}_{width}")


def answer_of_both_tokens(tokens: Any, classes: int) -> Any:
    """Return the logarithm of the mean of two heads' probabilities [n, classes]: of the class token
    and of the distillation token, the first two of ``tokens`` [n, t, width].
    """
    of_class = head(classes, CLASS_HEAD)(tokens[:, 0])
    of_teacher = head(classes, DISTILLATION_HEAD)(tokens[:, 1])
    # Of what every converter knows: logaddexp is made of log1p, which ONNX has not.
    both = ops.stack([ops.log_softmax(each, axis=-1) for each in (of_class, of_teacher)])
    return ops.logsumexp(both, axis=0) - math.log(2)


def heads_of(width: int) -> int:
    """Return how many heads attention has: of 16 to 64 dimensions each, as near to 32 as it goes.

    Raises ConfigError for a width that is no multiple of 16.
    """
    require(width % 16 == 0, "width", "a multiple of 16", width)
    fitting = [heads for heads in range(1, width // 16 + 1) if width % heads == 0]
    return min(fitting, key=lambda heads: abs(width // heads - HEAD_DIMENSIONS))


def _patched(
    input_shape: tuple[int, ...], width: int, patch: int | None, name: str
) -> tuple[Any, Any, int]:
    """Return the input, the images with margins so that patches fit, and the side of a patch."""
    heads_of(width)
    if len(input_shape) != 3 or None in input_shape:
        raise ModelError(
            f"{name} needs images of shape (height, width, channels), but one example has shape {input_shape}; "
            "a model of dense layers such as mlp-64 takes any shape"
        )
    patch = patch or patch_of(input_shape)
    inputs = keras.Input(input_shape)
    margins = [(0, -side % patch) for side in input_shape[:2]]
    if any(after for _, after in margins):
        return inputs, layers.ZeroPadding2D(tuple(margins))(inputs), patch
    return inputs, inputs, patch


def head(classes: int, name: str) -> keras.Layer:
    """Return the layer that gives logits; raises ConfigError for fewer than two classes."""
    require(classes >= 2, "classes", "at least 2", classes)
    # float32 whatever the policy, as the other families' logits.
    return layers.Dense(classes, dtype="float32", name=name)
