"""Families of networks, by name. To add one: one function, one line here.

``builder`` says where the function lives that builds a network ("module:function"); only a worker
ever calls it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kdcore.config import pretrained
from kdcore.errors import require
from kdcore.tasks import Task


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
    # What is chosen for images of a shape where its numbers leave it open, in words; or nothing.
    said_of_shape: Callable[[tuple[int, ...], tuple[int, ...]], str] = lambda numbers, shape: ""
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
LARGEST_PATCH = 16


def patches_of(side: int, shape: tuple[int, ...]) -> int:
    """Return how many patches of a side cover images of shape (height, width, channels)."""
    return -(-shape[0] // side) * -(-shape[1] // side)


def patch_of(shape: tuple[int, ...]) -> int:
    """Return the side of a patch where none is named: some 8 patches across, 2 to 16 pixels; more
    where there would be too many.
    """
    side = min(max(round(min(shape[:2]) / 8), 2), LARGEST_PATCH)
    while patches_of(side, shape) > MOST_PATCHES:
        side += 1
    return side


def patch_fits(numbers: tuple[int, ...], shape: tuple[int, ...]) -> str | None:
    """Return the rule where images of this shape cannot be cut into patches of the named size."""
    if len(numbers) < 3 or len(shape) != 3:
        return None
    sides = range(1, min(shape[:2]) + 1)
    fitting = [side for side in sides if patches_of(side, shape) <= MOST_PATCHES]
    if not fitting or numbers[2] in fitting:
        return None
    return f"a transformer with patches of {fitting[0]} to {fitting[-1]} pixels"


def patches_in_words(numbers: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Say into how many patches of which size a vision transformer cuts images."""
    if len(shape) != 3:
        return ""
    side = numbers[2] if len(numbers) > 2 else patch_of(shape)
    return f"{patches_of(side, shape):,} patches of {side} × {side} pixels"


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
        said_of_shape=patches_in_words,
        of_blocks=True,
    ),
    "deit": ModelFamily(
        "Vision transformer with a distillation token (layers, width; with -p8 of patches of 8 pixels)",
        "kdcore.models.transformers:build_deit",
        r"deit-(\d+)-(\d+)(?:-p(\d+))?",
        ("deit-4-64", "deit-2-32"),
        rule=transformer_size,
        shape_rule=patch_fits,
        said_of_shape=patches_in_words,
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


def revision_of(name: str) -> int:
    """Return the revision of the family that ``name`` is of; 1 for a name that is of none."""
    matching = (each for each in MODEL_FAMILIES.values() if each.numbers(name) is not None)
    return next((each.revision for each in matching), 1)


def brings_vocabulary(name: str) -> bool:
    """Return whether a network reads tokens of the vocabulary that it was pretrained with."""
    reading = [family for family in MODEL_FAMILIES.values() if family.own_vocabulary]
    return any(re.fullmatch(family.pattern, name) for family in reading)


def is_built_in(name: str) -> bool:
    """Return whether ``name`` is one of the families' names, or looks like it."""
    return any(name == head or name.startswith(f"{head}-") for head in MODEL_FAMILIES)
