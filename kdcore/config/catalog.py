"""Names that a config may use: datasets and models, built in or of a user's own. To add a dataset:
one function, one line here.

This module is free of Keras so that forms and the CLI can list and check names; ``builder`` says
where the function lives that does the work ("module:function"), and only a worker ever calls it.

A dataset of a user's own has a key, ``name@digest``, that names its content: a key never changes
its meaning, so its card is looked up once. The bare name is looked up each time.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kdcore.config.cards import DatasetCard, ModelCard
from kdcore.config.families import MODEL_FAMILIES, OWN, ModelFamily, is_built_in
from kdcore.config.sources import USER_KEY, USER_NAME, sources
from kdcore.errors import require
from kdcore.registry import Late
from kdcore.tasks import TASKS, Task

DIGIT_NAMES = tuple("0123456789")

_IMAGES = {
    "digits": DatasetCard(
        "Digits 8×8 (embedded)",
        "kdcore.data.datasets:load_digits",
        (8, 8, 1),
        DIGIT_NAMES,
        1078,
        270,
        449,
    ),
    "mnist": DatasetCard(
        "MNIST", "kdcore.data.datasets:load_mnist", (28, 28, 1), DIGIT_NAMES, 55_000, 5_000, 10_000
    ),
    "fashion_mnist": DatasetCard(
        "Fashion-MNIST",
        "kdcore.data.datasets:load_fashion_mnist",
        (28, 28, 1),
        (
            "T-shirt",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ),
        55_000,
        5_000,
        10_000,
    ),
    "cifar10": DatasetCard(
        "CIFAR-10",
        "kdcore.data.datasets:load_cifar10",
        (32, 32, 3),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        45_000,
        5_000,
        10_000,
    ),
}

_IMDB = DatasetCard(
    "IMDb film reviews",
    "kdcore.data.datasets:load_imdb",
    (256,),
    ("disliked", "liked"),
    20_000,
    5_000,
    25_000,
    kind="text",
)

# Cards that take work to make are made when they are first asked for.
DATASETS: Late[DatasetCard] = Late(
    {
        **{name: functools.partial(_IMAGES.__getitem__, name) for name in _IMAGES},
        "languages": lambda: resolve("kdcore.data.languages:card")(),
        "imdb": lambda: _IMDB,
    }
)
_cards: dict[str, DatasetCard] = {}


def dataset_card(name: str) -> DatasetCard:
    """Return the card of dataset ``name``; raises ConfigError for an unknown name."""
    built_in = DATASETS.get(short_name(name))
    if built_in is not None and (name == short_name(name) or built_in.key):
        # One of another version is shown as what it is; its content cannot be had again.
        return built_in if short_name(name) == name else replace(built_in, key=name)
    if card := _cards.get(name):
        return card
    if re.fullmatch(USER_KEY, name):
        for source in sources():
            if card := source.user_dataset(name):
                return _cards.setdefault(card.key, card)
    require(False, "dataset", f"one of {', '.join(map(short_name, datasets()))}", name)
    raise AssertionError("unreachable")


def dataset_key(name: str) -> str:
    """Return what names the content that ``name`` stands for now.

    Raises ConfigError for an unknown name.
    """
    return dataset_card(name).key or name


def datasets() -> dict[str, DatasetCard]:
    """Return the cards of all datasets that can be chosen, by key: those built in, then the users'
    latest versions, without those of a kind that only a plugin knows which is not there.
    """
    return {
        **{card.key or name: card for name, card in DATASETS.items()},
        **{
            key: card
            for source in reversed(sources())
            for key, card in source.user_datasets().items()
            if card.kind in TASKS
        },
    }


def short_name(name: str) -> str:
    """Return a dataset's or a model's name without the digest of its version."""
    return name.partition("@")[0]


def parse_model_name(name: str) -> tuple[ModelFamily, tuple[int, ...]]:
    """Split ``"conv-16-32"`` into its family and numbers.

    Raises ConfigError with the known forms otherwise.
    """
    for family in MODEL_FAMILIES.values():
        numbers = family.numbers(name)
        if numbers is not None:
            return family, numbers
    if own_model(name) is not None:
        return OWN, ()
    forms = ", ".join(
        family.suggestions[-1] for family in MODEL_FAMILIES.values() if not family.by_name
    )
    require(False, "model", f"a name such as {forms}", name)
    raise AssertionError("unreachable")


def network_in_words(name: str, dataset: str) -> str:
    """Say what a network's name leaves open and the data's shape decides; empty where nothing is.

    Raises ConfigError for a name that is not known.
    """
    family, numbers = parse_model_name(name)
    return family.said_of_shape(numbers, dataset_card(dataset).input_shape)


_functions: dict[str, tuple[ModelCard, Callable[..., Any]]] = {}
_model_cards: dict[str, ModelCard] = {}


def own_model(name: str) -> ModelCard | None:
    """Return the card of a model of a user's own, by key or by name.

    None for any other name.
    """
    if is_built_in(name):  # before any store is asked: configs are made at every tick
        return None
    if name in _functions:
        return _functions[name][0]
    if card := _model_cards.get(name):
        return card
    if re.fullmatch(USER_KEY, name):
        for source in sources():
            if card := source.user_model(name):
                return _model_cards.setdefault(card.key, card)
    return None


def model_key(name: str) -> str:
    """Return what names the content of model ``name``; raises ConfigError for an unknown name."""
    family, _ = parse_model_name(name)
    card = own_model(name)
    return family.key(name) if card is None else card.key


def models_of(task: Task) -> list[str]:
    """Return the names of models to choose from for a kind of data: suggested, then users' own."""
    fitting = [family for family in MODEL_FAMILIES.values() if family.fits(task)]
    names = [name for family in fitting for name in (*family.suggestions, *family.at_hand())]
    yours = [key for source in sources() for key in source.user_models()]
    names = list(dict.fromkeys(names))
    return [*names, *(key for key, (card, _) in _functions.items() if key == card.key), *yours]


def register_model(name: str, builder: Callable[..., Any]) -> str:
    """Make a Python function known as a model: ``builder(input_shape, classes)`` returns a Keras
    model.

    The model may end in logits or in a softmax. Returns the key, ``name@digest``: the digest is
    that of the function's source, so that a changed function is another model; what the function
    itself calls is not in it. The function is known to this process; so that workers and the
    command line know it too, name the module that registers it in ``KD_PLUGINS``. Raises
    ConfigError for a name that is taken.
    """
    require(
        bool(re.fullmatch(USER_NAME, name)), "name", "lower-case letters, digits, _ . or -", name
    )
    require(not is_built_in(name), "name", "other than those of the built-in models", name)
    try:
        text = inspect.getsource(builder)
    except (OSError, TypeError):  # typed at a prompt
        code = getattr(builder, "__code__", None)
        text = repr((code.co_code, code.co_consts, code.co_names)) if code else repr(builder)
    key = f"{name}@{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    card = ModelCard(name, key, None, None, 0, "found out when it is built", kind="function")
    _functions[name] = _functions[key] = (card, builder)
    return key


def registered_function(name: str) -> Callable[..., Any] | None:
    """Return the function registered as ``name`` or under a key; None if there is none."""
    return _functions[name][1] if name in _functions else None


def load_plugins() -> None:
    """Import the modules named in ``KD_PLUGINS`` (comma-separated): they register models, methods.

    Once a process.
    """
    for module in filter(None, os.environ.get("KD_PLUGINS", "").split(",")):
        try:
            importlib.import_module(module.strip())
        except ImportError as error:
            require(False, "KD_PLUGINS", f"modules that can be imported ({error})", module)


def resolve(builder: str) -> Callable[..., Any]:
    """Import the function behind a ``"module:function"`` reference."""
    module, function = builder.split(":")
    return getattr(importlib.import_module(module), function)
