"""Names that a config may use: datasets and model families. To add one: one function, one line
here.

This module is free of Keras so that forms and the CLI can list and check names; ``builder`` says
where the function lives that does the work ("module:function"), and only a worker ever calls it.

Users' own data and models are known here too: every open store is a :class:`Source` of them. Such a
dataset has a key, ``name@digest``, that names its content: a key never changes its meaning, so its
card is looked up once. The bare name stands for the version that was added last, and is looked up
each time.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import os
import re
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from kdcore.config import pretrained
from kdcore.errors import require
from kdcore.registry import Late
from kdcore.tasks import TASKS, Task
from kdcore.tasks import find as find_task


@dataclass(frozen=True)
class DatasetCard:
    """What is known about a dataset before it is loaded.

    Shapes are one example's, channels last. The training part has ``training_examples`` with their
    label and ``unlabelled_examples`` without; the others are all labelled.
    """

    title: str
    builder: str
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    training_examples: int
    validation_examples: int
    test_examples: int
    key: str = ""  # name@digest of a user's dataset
    kind: str = "images"  # of data: a name of kdcore.tasks
    feature_names: tuple[str, ...] = ()  # of a table
    value_range: tuple[float, float] = (0.0, 1.0)  # of what models see, where it is images
    unlabelled_examples: int = 0

    def unlabelled_among(self, training_examples: int | None) -> int:
        """Return how many examples without a label go with so many labelled ones: the same share
        of those that there are, all for None.
        """
        used = self.training_examples if training_examples is None else training_examples
        return round(self.unlabelled_examples * used / max(self.training_examples, 1))

    @property
    def task(self) -> Task:
        """Its kind of data; raises ConfigError for one that this process does not know."""
        return find_task(self.kind)


@dataclass(frozen=True)
class ModelCard:
    """What is known about a model of a user's own, before it is loaded.

    ``input_shape`` is one example's, None where any size will do. ``output`` says in words whether
    the file gives logits or probabilities and what is done about it, ``inputs`` the range of values
    that it expects ("0 to 1", "0 to 255", "-1 to 1", or "as they are"), ``inputs_known`` how that
    is known.
    """

    title: str
    key: str
    input_shape: tuple[int | None, ...] | None
    classes: int | None
    parameters: int
    output: str
    inputs: str = "0 to 1"
    inputs_known: str = "assumed"
    kind: Literal["file", "function"] = "file"
    output_name: str = ""  # which of several outputs is meant
    frozen_layers: int = 0  # with weights that are not trained
    format: Literal["keras", "onnx", "answers"] = "keras"  # of the file
    dataset: str = ""  # whose examples a file of answers is for, by its key
    vocabulary: str = ""  # of texts that it was trained with: the digest of its definition

    @property
    def can_be_trained(self) -> bool:
        """Whether it can be a student: ONNX files and files of answers only answer."""
        return self.format == "keras"


class Source(Protocol):
    """Something that holds users' own data and models: a store."""

    def user_model(self, name: str) -> ModelCard | None:
        """Return the card of a key, removed or not, or of the latest version of a bare name.

        None if there is none.
        """
        ...

    def user_models(self) -> dict[str, ModelCard]:
        """Return the cards of the latest versions by key, without those removed."""
        ...

    def user_dataset(self, name: str) -> DatasetCard | None:
        """Return the card of a key, removed or not, or of the latest version of a bare name.

        None if there is none.
        """
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
    takes: Literal["images", "values", "texts"] = "images"
    by_name: bool = False  # the builder is given the whole name, not numbers
    residual: bool = False  # of convolutions that are added to their shortcuts
    of_blocks: bool = False  # of blocks, convolutions or attention, that can be left out at random
    revision: int = 1  # goes up where the same name and seed begin to give other answers
    own_vocabulary: bool = False  # it reads tokens of the vocabulary that it was trained with
    rule: Callable[[tuple[int, ...]], str | None] = lambda numbers: None
    # What it asks of one example's shape, where its numbers do not go with it.
    shape_rule: Callable[[tuple[int, ...], tuple[int, ...]], str | None] = lambda numbers, shape: (
        None
    )
    key: Callable[[str], str] = lambda name: name  # what names the content of a name
    at_hand: Callable[[], list[str]] = list  # more names to suggest, found on this machine

    def fits(self, task: Task) -> bool:
        """Return whether it learns a kind of data; "values" are numbers of any shape."""
        if task.written:
            return self.takes == "texts"
        return self.takes == "values" or (self.takes == "images" and task.pictures)

    def numbers(self, name: str) -> tuple[int, ...] | None:
        """Return the numbers in ``name``; None where it is not one of this family's.

        Raises ConfigError where the numbers break the family's rule.
        """
        if not self.pattern or not re.fullmatch(self.pattern, name):
            return None
        if self.by_name:
            return ()
        found = tuple(int(digits) for digits in re.findall(r"\d+", name))
        in_range = all(1 <= number <= LARGEST_MODEL_NUMBER for number in found)
        require(in_range, "model", f"a name with numbers from 1 to {LARGEST_MODEL_NUMBER}", name)
        broken = self.rule(found)
        require(broken is None, "model", broken or "", name)
        return found


LARGEST_MODEL_NUMBER = 4096


def residual_depth(numbers: tuple[int, ...]) -> str | None:
    """Return the rule where a residual network cannot have this depth: the first number."""
    depth = numbers[0]
    fits = depth >= 8 and (depth - 2) % 6 == 0
    return None if fits else "a resnet of depth 8, 14, 20, ... (6n+2)"


def transformer_size(numbers: tuple[int, ...]) -> str | None:
    """Return the rule where a transformer cannot have these layers and width."""
    fits = numbers[0] <= 48 and numbers[1] % 16 == 0
    rule = "a transformer of 1 to 48 layers and a width that is a multiple of 16"
    return None if fits else rule


# Attention compares each patch with each other one.
MOST_PATCHES = 1024


def patch_fits(numbers: tuple[int, ...], shape: tuple[int, ...]) -> str | None:
    """Return the rule where images of this shape cannot be cut into patches of the named size."""
    if len(numbers) < 3 or len(shape) != 3:
        return None
    height, width, _ = shape
    sides = range(1, min(height, width) + 1)
    fitting = [side for side in sides if -(-height // side) * -(-width // side) <= MOST_PATCHES]
    if not fitting or numbers[2] in fitting:
        return None
    return f"a transformer with patches of {fitting[0]} to {fitting[-1]} pixels"


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

# Networks of keras.applications: what the class is called, its smallest side, and what its ImageNet
# weights expect.
APPLICATIONS: dict[str, tuple[str, int, str]] = {
    "mobilenet": ("MobileNet", 32, "-1 to 1"),
    "mobilenetv2": ("MobileNetV2", 32, "-1 to 1"),
    "mobilenetv3small": ("MobileNetV3Small", 32, "0 to 255"),
    "efficientnetb0": ("EfficientNetB0", 32, "0 to 255"),
    "efficientnetv2b0": ("EfficientNetV2B0", 32, "0 to 255"),
    "resnet50v2": ("ResNet50V2", 32, "-1 to 1"),
    "inceptionv3": ("InceptionV3", 75, "-1 to 1"),
}

MODEL_FAMILIES: dict[str, ModelFamily] = {
    "conv": ModelFamily(
        "Convolutional, two layers (the Keras example's network)",
        "kdcore.models.families:build_conv",
        r"conv-(\d+)-(\d+)",
        ("conv-256-512", "conv-64-128", "conv-32-64", "conv-16-32", "conv-8-16", "conv-4-8"),
    ),
    "mlp": ModelFamily(
        "Dense layers",
        "kdcore.models.families:build_mlp",
        r"mlp-(\d+(?:-\d+)*)",
        ("mlp-512-256", "mlp-64", "mlp-16"),
        takes="values",
    ),
    "resnet": ModelFamily(
        "Residual network, CIFAR style (depth 6n+2, width)",
        "kdcore.models.families:build_resnet",
        r"resnet-(\d+)-(\d+)",
        ("resnet-20-16", "resnet-14-8", "resnet-8-8"),
        rule=residual_depth,
        residual=True,
        of_blocks=True,
        revision=2,  # 2: statistics of normalisation that keep up
    ),
    "vit": ModelFamily(
        "Vision transformer (layers, width; with -p8 of patches of 8 pixels)",
        "kdcore.models.transformers:build_vit",
        r"vit-(\d+)-(\d+)(?:-p(\d+))?",
        ("vit-4-64", "vit-2-32"),
        rule=transformer_size,
        shape_rule=patch_fits,
        of_blocks=True,
    ),
    "deit": ModelFamily(
        "Vision transformer with a distillation token (layers, width; with -p8 of patches of 8 pixels)",
        "kdcore.models.transformers:build_deit",
        r"deit-(\d+)-(\d+)(?:-p(\d+))?",
        ("deit-4-64", "deit-2-32"),
        rule=transformer_size,
        shape_rule=patch_fits,
        of_blocks=True,
    ),
    "transformer": ModelFamily(
        "Transformer for texts, as BERT's (layers, width)",
        "kdcore.models.text:build_transformer",
        r"transformer-(\d+)-(\d+)",
        ("transformer-4-128", "transformer-2-64", "transformer-1-32"),
        takes="texts",
        rule=transformer_size,
    ),
    "bag": ModelFamily(
        "The mean of what each token means, in any order (width)",
        "kdcore.models.text:build_bag",
        r"bag-(\d+)",
        ("bag-64", "bag-16"),
        takes="texts",
    ),
    "app": ModelFamily(
        "A network of keras.applications, with -imagenet from its ImageNet weights",
        "kdcore.models.own:build_application",
        rf"app-({'|'.join(APPLICATIONS)})(-imagenet)?",
        ("app-mobilenetv2", "app-mobilenetv2-imagenet"),
        by_name=True,
    ),
    "hub": ModelFamily(
        "A network for images that KerasHub has pretrained, with a new head",
        "kdcore.models.pretrained:build_for_images",
        pretrained.IMAGES,
        (
            "hub-mobilenet_v3_small_100_imagenet",
            "hub-deit_tiny_distilled_patch16_224_imagenet",
        ),
        by_name=True,
        key=pretrained.key,
        at_hand=functools.partial(pretrained.at_hand, pretrained.IMAGES),
    ),
    "hub-texts": ModelFamily(
        "A network for texts that KerasHub has pretrained, with a new head",
        "kdcore.models.pretrained:build_for_texts",
        pretrained.TEXTS,
        ("hub-bert_tiny_en_uncased", "hub-distil_bert_base_en_uncased"),
        takes="texts",
        by_name=True,
        own_vocabulary=True,
        key=pretrained.key,
        at_hand=functools.partial(pretrained.at_hand, pretrained.TEXTS),
    ),
}

OWN = ModelFamily(
    "A model of your own", "kdcore.models.own:build_own", "", (), takes="values", by_name=True
)

MODEL_SUGGESTIONS: tuple[str, ...] = tuple(
    name for family in MODEL_FAMILIES.values() if not family.by_name for name in family.suggestions
)


def register_family(head: str, family: ModelFamily) -> None:
    """Make a family of networks known whose names begin with ``head`` and a hyphen.

    Raises ConfigError for a head that is taken by another family, or that is no name.
    """
    require(bool(re.fullmatch(r"[a-z][a-z0-9]{0,19}", head)), "family", "lower case", head)
    known = MODEL_FAMILIES.get(head)
    same = known is None or known.builder == family.builder
    require(same, "family", "a name that is not taken", head)
    MODEL_FAMILIES[head] = family


# What a user may call a dataset or a model, and what names one version of it.
USER_NAME = r"[a-z0-9][a-z0-9_.-]{0,39}"
USER_KEY = rf"({USER_NAME})(?:@[0-9a-f]{{10}})?"

_sources: list[weakref.ref[Source]] = []
_cards: dict[str, DatasetCard] = {}


def add_source(source: Source) -> None:
    """Make users' own data and models in ``source`` known by name, for as long as it lives.

    The latest source comes first.
    """
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


def revision_of(name: str) -> int:
    """Return the revision of the family that ``name`` is of; 1 for a name that is of none."""
    matching = (each for each in MODEL_FAMILIES.values() if each.numbers(name) is not None)
    return next((each.revision for each in matching), 1)


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


def brings_vocabulary(name: str) -> bool:
    """Return whether a network reads tokens of the vocabulary that it was pretrained with."""
    reading = [family for family in MODEL_FAMILIES.values() if family.own_vocabulary]
    return any(re.fullmatch(family.pattern, name) for family in reading)


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


def is_built_in(name: str) -> bool:
    """Return whether ``name`` is one of the families' names, or looks like it."""
    return any(name == head or name.startswith(f"{head}-") for head in MODEL_FAMILIES)


def resolve(builder: str) -> Callable[..., Any]:
    """Import the function behind a ``"module:function"`` reference."""
    module, function = builder.split(":")
    return getattr(importlib.import_module(module), function)
