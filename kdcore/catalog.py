"""Names that a config may use: datasets and model families. Adding one is one function and one line here.

This module is free of Keras so that forms and the CLI can list and check names; ``builder`` says where the
function lives that does the work ("module:function"), and only a worker ever calls it.

What users bring along is known here too: every open store is a :class:`Source` of their datasets. Such a dataset has a
key, ``name@digest``, that names its content: a key never changes its meaning, so its card is looked up once. The bare
name stands for the version that was added last, and is looked up each time.
"""

from __future__ import annotations

import importlib
import re
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

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
    key: str = ""  # name@digest of a user's dataset
    kind: Literal["images", "table"] = "images"
    feature_names: tuple[str, ...] = ()  # of a table
    value_range: tuple[float, float] = (0.0, 1.0)  # of what models see, where it is images


class Source(Protocol):
    """Something that holds what users brought along: a store."""

    def user_dataset(self, name: str) -> DatasetCard | None:
        """Return the card of a key, removed or not, or of the latest version of a bare name; None if there is none."""
        ...

    def user_datasets(self) -> dict[str, DatasetCard]:
        """Return the cards of the latest versions by key, without those removed."""
        ...


@dataclass(frozen=True)
class ModelFamily:
    """A family of models named by a pattern; the pattern's numbers are the builder's arguments."""

    title: str
    builder: str
    pattern: str
    suggestions: tuple[str, ...]
    needs_images: bool = True


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
        "Dense layers",
        "kdcore.models:build_mlp",
        r"mlp-(\d+(?:-\d+)*)",
        ("mlp-512-256", "mlp-64", "mlp-16"),
        needs_images=False,
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


# What a user may call a dataset or a model, and what names one version of it.
USER_NAME = r"[a-z0-9][a-z0-9_.-]{0,39}"
USER_KEY = rf"({USER_NAME})(?:@[0-9a-f]{{10}})?"

_sources: list[weakref.ref[Source]] = []
_cards: dict[str, DatasetCard] = {}


def add_source(source: Source) -> None:
    """Make what users brought into ``source`` known by name, for as long as it lives; the latest source comes first."""
    remove_source(source)
    _sources.insert(0, weakref.ref(source))


def remove_source(source: Source) -> None:
    """Forget a source."""
    _sources[:] = [known for known in _sources if known() not in (source, None)]


def sources() -> list[Source]:
    """Return the live sources, the latest first."""
    return [source for known in list(_sources) if (source := known()) is not None]


def dataset_card(name: str) -> DatasetCard:
    """Return the card of dataset ``name``; raises ConfigError for an unknown name."""
    if card := DATASETS.get(name) or _cards.get(name):
        return card
    if re.fullmatch(USER_KEY, name):
        for source in sources():
            if card := source.user_dataset(name):
                return _cards.setdefault(card.key, card)
    require(False, "dataset", f"one of {', '.join(map(short_name, datasets()))}", name)
    raise AssertionError("unreachable")


def dataset_key(name: str) -> str:
    """Return what names the content that ``name`` stands for now; raises ConfigError for an unknown name."""
    return dataset_card(name).key or name


def datasets() -> dict[str, DatasetCard]:
    """Return the cards of all datasets that can be chosen, by key: those built in, then the users' latest versions."""
    return {**DATASETS, **{key: card for source in reversed(sources()) for key, card in source.user_datasets().items()}}


def short_name(name: str) -> str:
    """Return a dataset's or a model's name without the digest of its version."""
    return name.partition("@")[0]


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
