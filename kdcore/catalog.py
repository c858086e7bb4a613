"""Names that a config may use: datasets and model families. Adding one is one function and one line here.

This module is free of Keras so that forms and the CLI can list and check names; ``builder`` says where the
function lives that does the work ("module:function"), and only a worker ever calls it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kdcore.errors import require


@dataclass(frozen=True)
class DatasetCard:
    """What is known about a dataset before it is loaded. Shapes are one example's, channels last."""

    title: str
    builder: str
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    training_examples: int
    validation_examples: int
    test_examples: int


@dataclass(frozen=True)
class ModelFamily:
    """A family of models named by a pattern; the pattern's numbers are the builder's arguments."""

    title: str
    builder: str
    pattern: str
    suggestions: tuple[str, ...]


DIGIT_NAMES = tuple("0123456789")

DATASETS: dict[str, DatasetCard] = {
    "digits": DatasetCard(
        "Digits 8×8 (embedded)", "kdcore.datasets:load_digits", (8, 8, 1), DIGIT_NAMES, 1078, 270, 449
    ),
    "mnist": DatasetCard("MNIST", "kdcore.datasets:load_mnist", (28, 28, 1), DIGIT_NAMES, 55_000, 5_000, 10_000),
    "fashion_mnist": DatasetCard(
        "Fashion-MNIST",
        "kdcore.datasets:load_fashion_mnist",
        (28, 28, 1),
        ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
        55_000,
        5_000,
        10_000,
    ),
    "cifar10": DatasetCard(
        "CIFAR-10",
        "kdcore.datasets:load_cifar10",
        (32, 32, 3),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        45_000,
        5_000,
        10_000,
    ),
}

MODEL_FAMILIES: dict[str, ModelFamily] = {
    "conv": ModelFamily(
        "Convolutional, two layers (the Keras example's network)",
        "kdcore.models:build_conv",
        r"conv-(\d+)-(\d+)",
        ("conv-256-512", "conv-64-128", "conv-32-64", "conv-16-32", "conv-8-16", "conv-4-8"),
    ),
    "mlp": ModelFamily(
        "Dense layers", "kdcore.models:build_mlp", r"mlp-(\d+(?:-\d+)*)", ("mlp-512-256", "mlp-64", "mlp-16")
    ),
    "resnet": ModelFamily(
        "Residual network, CIFAR style (depth 6n+2, width)",
        "kdcore.models:build_resnet",
        r"resnet-(\d+)-(\d+)",
        ("resnet-20-16", "resnet-14-8", "resnet-8-8"),
    ),
}

MODEL_SUGGESTIONS: tuple[str, ...] = tuple(name for family in MODEL_FAMILIES.values() for name in family.suggestions)
LARGEST_MODEL_NUMBER = 4096


def dataset_card(name: str) -> DatasetCard:
    """Return the card of dataset ``name``; raises ConfigError for an unknown name."""
    require(name in DATASETS, "dataset", f"one of {', '.join(DATASETS)}", name)
    return DATASETS[name]


def parse_model_name(name: str) -> tuple[ModelFamily, tuple[int, ...]]:
    """Split ``"conv-16-32"`` into its family and numbers; raises ConfigError with the known forms otherwise."""
    for family in MODEL_FAMILIES.values():
        if re.fullmatch(family.pattern, name):
            numbers = tuple(int(digits) for digits in re.findall(r"\d+", name))
            in_range = all(1 <= number <= LARGEST_MODEL_NUMBER for number in numbers)
            require(in_range, "model", f"a name with numbers from 1 to {LARGEST_MODEL_NUMBER}", name)
            if family is MODEL_FAMILIES["resnet"]:
                require(
                    numbers[0] >= 8 and (numbers[0] - 2) % 6 == 0,
                    "model",
                    "a resnet of depth 8, 14, 20, ... (6n+2)",
                    name,
                )
            return family, numbers
    forms = ", ".join(family.suggestions[-1] for family in MODEL_FAMILIES.values())
    require(False, "model", f"a name such as {forms}", name)
    raise AssertionError("unreachable")


def resolve(builder: str) -> Callable[..., Any]:
    """Import the function behind a ``"module:function"`` reference."""
    module, function = builder.split(":")
    return getattr(importlib.import_module(module), function)
