"""Small networks saved as KerasHub saves those that it has pretrained."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import keras

LETTERS = [*string.ascii_lowercase, *"äöüéèñçãåøß-',.!?0123456789"]
SOME_WORDS = ["the", "and", "de", "la", "na", "of", "time", "##en", "##er", "##an", "##ia", "##st"]
SIDE = 16
SCALE, OFFSET = (0.017, 0.0175, 0.0174), (-2.1, -2.0, -1.8)


def pieces(first: tuple[str, ...] = ()) -> list[str]:
    """Return a vocabulary of word pieces, its special tokens as far from the first as BERT's."""
    special = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return [*special, *first, *LETTERS, *(f"##{letter}" for letter in LETTERS), *SOME_WORDS]


def save_bert(
    folder: Path, *, distil: bool = False, first: tuple[str, ...] = (), depth: int = 1
) -> Any:
    """Save a BERT, or a DistilBERT, with its preprocessor; returns that."""
    from keras_hub import models

    keras.utils.set_random_seed(3)
    words = pieces(first)
    sizes = {"num_layers": depth, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
    kind = "DistilBert" if distil else "Bert"
    backbone = getattr(models, f"{kind}Backbone")(
        vocabulary_size=len(words), max_sequence_length=48, **sizes
    )
    tokenizer = getattr(models, f"{kind}Tokenizer")(
        vocabulary=words, lowercase=True, strip_accents=True
    )
    preprocessor = getattr(models, f"{kind}TextClassifierPreprocessor")(
        tokenizer, sequence_length=40
    )
    preprocessor.save_to_preset(folder)
    backbone.save_to_preset(folder)
    return preprocessor


def save_for_images(folder: Path, kind: str, *, converter: bool = True) -> None:
    """Save a "vit", a "deit" or a "resnet", and what makes its inputs of images."""
    from keras_hub import layers, models

    keras.utils.set_random_seed(4)
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16}
    if kind == "vit":
        called = "ViT"
        backbone: Any = models.ViTBackbone(
            image_shape=(SIDE, SIDE, 3), patch_size=4, mlp_dim=32, **sizes
        )
    elif kind == "deit":
        called = "DeiT"
        backbone = models.DeiTBackbone(
            image_shape=(SIDE, SIDE, 3), patch_size=4, intermediate_dim=32, **sizes
        )
    else:
        called = "ResNet"
        backbone = models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[3],
            stackwise_num_filters=[64, 64],
            stackwise_num_blocks=[1, 1],
            stackwise_num_strides=[1, 2],
            block_type="basic_block",
        )
    backbone.save_to_preset(folder)
    if converter:
        shape = None if kind == "resnet" else (SIDE, SIDE)
        images = getattr(layers, f"{called}ImageConverter")(
            image_size=shape, scale=SCALE, offset=OFFSET
        )
        images.save_to_preset(folder)
