"""Pretrained networks of KerasHub with a new head for a dataset's classes."""

from __future__ import annotations

import difflib
import functools
from pathlib import Path
from typing import Any

import keras
from keras import layers

from kdcore.config.families import brings_vocabulary
from kdcore.config.pretrained import (
    FOLDER,
    HEAD,
    called,
    folder_of,
    longest_text,
    own_layers,
    place_of,
)
from kdcore.errors import ModelError
from kdcore.models.own import SMALLEST_IMAGENET_SIDE, prepare
from kdcore.models.text import ENCODER, answer_from
from kdcore.models.transformers import answer_of_both_tokens, head
from kdcore.storage.artifacts import LARGEST_ARTIFACT
from kdcore.tasks.values import InputValues
from kdcore.tasks.vocabulary import PADDING_ID, Vocabulary, wordpiece_vocabulary
from kdcore.words import first_line

# Its weight and Adam's two means of it, in float32.
BYTES_OF_A_PARAMETER = 12


def build_for_images(
    input_shape: tuple[int, ...], classes: int, name: str, values: InputValues, start: str
) -> keras.Model:
    """Build a pretrained network for images with a new head on its features: on a transformer's
    class token, on both tokens of DeiT, on the mean over all places of a convolutional network.

    Images are resized to what it was trained with; to 96 pixels at least where any size will do.
    Raises ModelError where the network cannot be had, or is not for images.
    """
    if len(input_shape) != 3 or input_shape[2] not in (1, 3):
        raise ModelError(
            f"{called(name)} needs images of one or three channels, but one example has shape {input_shape}"
        )
    backbone = _load(name)
    if not isinstance(backbone.input, keras.KerasTensor) or len(backbone.input.shape) != 4:
        raise ModelError(f"{called(name)} must take one image, and it takes {backbone.input}")
    scale, offset = _values_of(name)
    sides = [
        max(SMALLEST_IMAGENET_SIDE, given) if wanted is None else wanted
        for wanted, given in zip(backbone.input.shape[1:3], input_shape[:2], strict=True)
    ]
    outside, x = prepare(input_shape, (*sides, 3), values, "0 to 255")
    features = backbone(layers.Rescaling(scale, offset)(x))
    kind = type(backbone).__name__
    if isinstance(features, keras.KerasTensor):
        # A layer that methods on features can compare: the inside of a network is no part of it.
        features = layers.Identity(name="features")(features)
    if kind == "DeiTBackbone":
        answers = answer_of_both_tokens(features, classes)
    elif kind == "ViTBackbone":
        answers = head(classes, "logits")(features[:, 0])
    elif isinstance(features, keras.KerasTensor) and len(features.shape) == 4:
        answers = head(classes, "logits")(layers.GlobalAveragePooling2D()(features))
    else:
        raise ModelError(f"{called(name)} must be a ViT, a DeiT or convolutional, got a {kind}")
    return keras.Model(outside, answers, name=_layer_name(name))


def build_for_texts(
    input_shape: tuple[int, ...], classes: int, name: str, values: InputValues, start: str
) -> keras.Model:
    """Build a pretrained encoder of texts, or a fresh one of its form with fewer layers, with a new
    head on the mean over the real tokens.

    It reads tokens of its own vocabulary: see :func:`vocabulary_of`. It is trained without dropout,
    as all networks here. Raises ModelError where the network cannot be had, or reads other tokens.
    """
    layers_asked = own_layers(name)
    fresh = {} if layers_asked is None else {"num_layers": layers_asked, "load_weights": False}
    backbone = _load(name, dropout=0.0, **fresh)
    output = backbone.output
    hidden = output.get("sequence_output") if isinstance(output, dict) else output
    if hidden is None or "token_ids" not in backbone.input:
        raise ModelError(f"{called(name)} must be an encoder of texts such as BERT")
    _check_length(name, input_shape[0], backbone.max_sequence_length)
    _check_vocabulary(name, input_shape[0], values)
    encoder = keras.Model(backbone.input, hidden, name=ENCODER)
    return answer_from(encoder, classes, _layer_name(name))


@functools.lru_cache(maxsize=4)
def vocabulary_of(name: str, length: int) -> Vocabulary:
    """Return the vocabulary that a pretrained network for texts was trained with, for texts of so
    many tokens.

    Raises ModelError where it cannot be had, or is none of word pieces.
    """
    from keras_hub.tokenizers import Tokenizer, WordPieceTokenizer

    tokenizer = _from_preset(Tokenizer, name)
    if not isinstance(tokenizer, WordPieceTokenizer):
        raise ModelError(f"{called(name)} must read word pieces, got a {type(tokenizer).__name__}")
    words = tokenizer.get_vocabulary()
    if tokenizer.pad_token_id != PADDING_ID:
        raise ModelError(
            f"{called(name)} must have padding as token {PADDING_ID}, got {tokenizer.pad_token_id}"
        )
    return wordpiece_vocabulary(
        words,
        length,
        lowercase=tokenizer.lowercase,
        strip_accents=tokenizer.strip_accents,
        split_on_cjk=tokenizer.split_on_cjk,
    )


def check(name: str, input_shape: tuple[int, ...], values: InputValues) -> None:
    """Raise ModelError where a pretrained network cannot be had or does not read such examples, as
    far as can be said before it is built.
    """
    if brings_vocabulary(name):
        _check_length(name, input_shape[0], longest_text(name))
        _check_vocabulary(name, input_shape[0], values)
    else:
        _values_of(name)


def _check_length(name: str, length: int, longest: int | None) -> None:
    if longest is not None and length > longest:
        raise ModelError(
            f"{called(name)} reads at most {longest:,} tokens, and texts have {length:,}: add the data with a "
            "smaller length"
        )


def _check_vocabulary(name: str, length: int, values: InputValues) -> None:
    if vocabulary_of(name, length).digest != values.vocabulary:
        raise ModelError(
            f"{called(name)} reads tokens of its own vocabulary, and the texts are in tokens of another: all networks "
            "of an experiment share one"
        )


def _load(name: str, **changed: Any) -> Any:
    from keras_hub.models import Backbone

    backbone = _from_preset(Backbone, name, **changed)
    most = LARGEST_ARTIFACT // BYTES_OF_A_PARAMETER
    if backbone.count_params() >= most:
        raise ModelError(
            f"{called(name)} must have fewer than {most:,} parameters, as many as a checkpoint holds, "
            f"got {backbone.count_params():,}"
        )
    return backbone


def _from_preset(kind: Any, name: str, **changed: Any) -> Any:
    """Load a part of a pretrained network; raises ModelError with what to do where that fails."""
    from keras_hub.models import Backbone

    place = place_of(name)
    if place == called(name) and place not in Backbone.presets:
        known = list(Backbone.presets)
        near = difflib.get_close_matches(place, known, 3) or known[:3]
        raise ModelError(
            f"pretrained network must be one of KerasHub's, such as {', '.join(near)}, got {place!r}"
        )
    try:
        return kind.from_preset(place, **changed)
    except Exception as error:  # KerasHub raises whatever download, file and network raise
        raise ModelError(_why(place, name, error)) from error


def _why(place: str, name: str, error: Exception) -> str:
    if place != called(name):
        return f"the pretrained network in {FOLDER}/{called(name)} cannot be loaded: {first_line(error)}"
    return (
        f"the pretrained network {called(name)} cannot be downloaded: {first_line(error)}. Without a network put "
        f"its folder, as save_to_preset writes it, into {FOLDER} in KD_DATA_DIR, and choose it anew"
    )


def _values_of(name: str) -> tuple[Any, Any]:
    """Return the scale and the offset that make of values from 0 to 255 what a network was trained
    with.

    Raises ModelError where it does not say.
    """
    from keras_hub.layers import ImageConverter

    folder = folder_of(name)
    if place_of(name) == str(folder) and not (Path(str(folder)) / "image_converter.json").exists():
        raise ModelError(
            f"{called(name)} must say what values it expects, and has no image_converter.json: save its image "
            "converter, or its preprocessor, into the same folder"
        )
    converter = _from_preset(ImageConverter, name)
    scale = 1.0 if converter.scale is None else converter.scale
    return scale, 0.0 if converter.offset is None else converter.offset


def _layer_name(name: str) -> str:
    return name.partition("@")[0].removeprefix(HEAD).replace(".", "_").replace("-", "_")
