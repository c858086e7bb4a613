"""Networks: families by name, models of one's own, number formats, augmentation."""

from kdcore.models.families import (
    all_layers,
    build,
    build_conv,
    build_mlp,
    build_resnet,
    multiply_accumulates,
    multiply_accumulates_of_layer,
)

__all__ = [
    "all_layers",
    "build",
    "build_conv",
    "build_mlp",
    "build_resnet",
    "multiply_accumulates",
    "multiply_accumulates_of_layer",
]
