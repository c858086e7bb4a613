"""Models that are not of the catalog's families: users' files and functions, and networks of
``keras.applications``.

Whatever they are, what comes out is a plain Keras model from a dataset's examples to logits: inputs
are resized and scaled to what the model expects, and a softmax at its end is cut off or undone, so
that no loss softens it twice.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kdcore.config.cards import ModelCard
from kdcore.config.catalog import own_model, registered_function, short_name
from kdcore.config.families import APPLICATIONS
from kdcore.config.sources import sources
from kdcore.errors import ModelError
from kdcore.models.onnx_model import OnnxNetwork, load_onnx
from kdcore.models.outputs import LogitsReader
from kdcore.models.own_inputs import (
    ASSUMED,
    expected_values,
    frozen_layers,
    keep_what_was_learnt_from_data,
)
from kdcore.models.value_ranges import to_range
from kdcore.storage import user_data, user_models
from kdcore.storage.store import Store
from kdcore.tasks.values import InputValues
from kdcore.words import first_line

SMALLEST_IMAGENET_SIDE = 96  # below, the weights' features are blurs of blurs
# The layer that makes one channel of three.
TO_GREY = "to_grey"
GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
SMALLEST_PROBABILITY = 1e-7  # float32's softmax has no smaller ones worth the name
TESTED_EXAMPLES = 16


# Files


def load_file(path: Path, output: str = "", called: str = "") -> keras.Model:
    """Load a ``.keras`` file in safe mode, or an ONNX file; of several outputs the one called
    ``output``. For the user the file is ``called`` so.

    Raises ConfigError or ModelError for what cannot be trusted, loaded or used.
    """
    user_models.check_file(path, called)
    if user_models.file_format(called or path.name) == "onnx":
        return load_onnx(path.read_bytes(), output)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the file makes its layers raise
        raise ModelError(f"the model cannot be loaded: {first_line(error)}") from error
    if len(model.inputs) != 1:
        raise ModelError(f"a model must have one input, got {len(model.inputs)}")
    if model.inputs[0].dtype == "string":
        raise ModelError(
            "a model must take numbers, but this one takes text: cut off the layers that turn text "
            "into numbers, and bring what they give as data"
        )
    return _of_one_output(_functional(model), output)


def _of_one_output(model: keras.Model, output: str) -> keras.Model:
    """Return the model with the output that is meant; raises ModelError for one that cannot be."""
    struct = model._outputs_struct if hasattr(model, "_outputs_struct") else model.outputs
    chosen = LogitsReader(model, "model", output or None).choose(struct)
    if len(chosen.shape) != 2:
        raise ModelError(
            "a model must give one row of numbers an example, but this one gives outputs of shape "
            f"{tuple(chosen.shape)}: one that answers for each position is distilled with "
            "kdcore.Distiller in Python"
        )
    return model if model.output is chosen else keras.Model(model.inputs[0], chosen)


def _functional(model: keras.Model) -> keras.Model:
    """Return a sequential model as a functional one of the same layers: all that follows treats one
    kind.
    """
    return (
        keras.Model(model.inputs[0], model.outputs[0])
        if isinstance(model, keras.Sequential)
        else model
    )


def describe(
    name: str, key: str, model: keras.Model, inputs: str = "auto", output: str = ""
) -> ModelCard:
    """Return the card of a loaded model: its shapes, whether it gives logits, and what values it
    expects.
    """
    shape = tuple(model.inputs[0].shape[1:])
    given = model.outputs[0].shape[-1]
    if given is None:
        raise ModelError("a model must answer with a known number of classes, got any number")
    frozen = frozen_layers(model)
    network = next((each for each in model.layers if isinstance(each, OnnxNetwork)), None)
    if inputs != "auto":
        known = "as you said"
    elif network is not None:
        inputs, known = ASSUMED
    else:
        inputs, known = expected_values(model)
    _, words = to_logits(model)
    return ModelCard(
        name,
        key,
        shape,
        max(int(given), 2),
        model.count_params() if network is None else network.count_parameters(),
        words,
        inputs,
        known,
        output_name=output,
        frozen_layers=frozen,
        format="keras" if network is None else "onnx",
    )


def to_logits(model: keras.Model) -> tuple[keras.Model, str]:
    """Return the model with logits at its end, and in words how that was done.

    A softmax that ends the last layer is cut off; one that cannot be cut is undone through its
    logarithm. Whether there is one is also measured on random examples, and so is that the outcome
    is right. A single output judges between two classes: its logit z becomes the logits (0, z).
    Raises ModelError for a sigmoid head of several outputs.
    """
    if model.outputs[0].shape[-1] == 1:
        return _of_single_output(model)
    inputs = _random_inputs(model)
    before = np.asarray(model(inputs, training=False), np.float64)
    last = model.layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    ends_model = getattr(last, "output", None) is model.outputs[0]
    if activation == "sigmoid" and ends_model:
        raise ModelError(
            "the model ends in a sigmoid, which judges each class by itself: distillation needs a choice among classes "
            "(a softmax, or logits)"
        )
    if ends_model and (
        isinstance(last, layers.Softmax)
        or (isinstance(last, layers.Activation) and activation == "softmax")
    ):
        logits, words = (
            keras.Model(model.inputs[0], last.input, name=model.name),
            "its softmax layer is cut off",
        )
    elif ends_model and activation == "softmax" and isinstance(last, layers.Dense):
        last.activation = keras.activations.linear
        logits, words = model, "the softmax of its last layer is cut off"
    elif _are_probabilities(before):
        undone = ops.log(ops.maximum(model.outputs[0], SMALLEST_PROBABILITY))
        logits, words = (
            keras.Model(model.inputs[0], undone),
            "it gives probabilities, which the logarithm turns into logits",
        )
    else:
        return model, "it gives logits"
    after = _softmax(np.asarray(logits(inputs, training=False), np.float64))
    exact = last.compute_dtype == "float32"  # bfloat16 has three digits
    if not np.allclose(after, before, atol=1e-4 if exact else 2e-2):
        raise ModelError("the model's softmax cannot be undone: its probabilities do not come back")
    return logits, words


def _of_single_output(model: keras.Model) -> tuple[keras.Model, str]:
    """Return a model of one output with two logits, and in words how that was done."""
    reader = LogitsReader(model, "model")
    inputs = _random_inputs(model)
    before = np.asarray(model(inputs, training=False), np.float64)[:, 0]
    last = model.layers[-1]
    ends = getattr(last, "output", None) is model.outputs[0]
    words = "it gives one logit, which judges between two classes"
    single = model.outputs[0]
    if reader.kind != "logits":
        words = "its sigmoid is cut off; it judges between two classes"
        if ends and isinstance(last, layers.Activation):
            single = last.input
        elif ends and isinstance(last, layers.Dense):
            last.activation = keras.activations.linear
        else:
            words = "it gives a probability, which is turned back into a logit of two classes"
            both = keras.Model(model.inputs[0], reader.logits(single), name=model.name)
            return both, words
    pair = ops.concatenate([ops.zeros_like(single), single], axis=-1)
    both = keras.Model(model.inputs[0], pair, name=model.name)
    after = _softmax(np.asarray(both(inputs, training=False), np.float64))[:, 1]
    if reader.kind != "logits" and not np.allclose(after, before, atol=2e-2):
        raise ModelError("the model's sigmoid cannot be undone: its probabilities do not come back")
    return both, words


def _are_probabilities(outputs: np.ndarray) -> bool:
    return bool(
        np.all(outputs >= 0)
        and np.all(outputs <= 1 + 1e-6)
        and np.allclose(outputs.sum(axis=1), 1, atol=1e-3)
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _random_inputs(model: keras.Model) -> np.ndarray:
    shape = [32 if side is None else side for side in model.inputs[0].shape[1:]]
    return np.random.default_rng(0).random((TESTED_EXAMPLES, *shape)).astype(np.float32)


# Fitting a model to data


def adapt(
    model: keras.Model, input_shape: tuple[int, ...], values: InputValues, inputs: str
) -> keras.Model:
    """Put around ``model`` what takes examples of ``input_shape`` with ``values`` to what it
    expects.

    Images are resized bilinearly, grey is repeated or colour turned to grey, values are mapped
    linearly to the range named ``inputs``. Raises ModelError where shapes cannot be brought
    together.
    """
    outside, x = prepare(input_shape, tuple(model.inputs[0].shape[1:]), values, inputs)
    # float32 whatever the policy, as all logits here.
    return keras.Model(
        outside, layers.Activation("linear", dtype="float32", name="logits")(model(x))
    )


def prepare(
    input_shape: tuple[int, ...], wanted: tuple[int | None, ...], values: InputValues, inputs: str
) -> tuple[Any, Any]:
    """Return an input for examples of ``input_shape``, and what a model that takes ``wanted`` is
    given of them, as :func:`adapt` says.
    """
    outside = keras.Input(input_shape)
    x: Any = outside
    if len(wanted) == 1 and wanted[0] in (None, math.prod(input_shape)):
        pictures = len(input_shape) > 1
        x = to_range(x, inputs, values, pictures)
        x = layers.Flatten()(x) if pictures else x
    elif len(wanted) in (2, 3) and len(input_shape) == 3:
        height, width, channels = (*wanted, 1)[:3]
        if None not in (height, width) and (height, width) != input_shape[:2]:
            x = layers.Resizing(height, width)(x)
        if channels == 3 and input_shape[2] == 1:
            x = layers.Concatenate()([x, x, x])
        elif channels == 1 and input_shape[2] == 3:
            grey = layers.Conv2D(1, 1, use_bias=False, trainable=False, name=TO_GREY)
            x, values = grey(x), values.grey(GREY_WEIGHTS)
            grey.set_weights([GREY_WEIGHTS.reshape(1, 1, 3, 1)])
        elif channels not in (None, input_shape[2]):
            raise ModelError(
                f"the model wants {channels} channels, the images have {input_shape[2]}"
            )
        x = to_range(x, inputs, values, pictures=True)
        if len(wanted) == 2:  # without an axis of channels
            x = layers.Reshape(x.shape[1:3])(x)
    else:
        raise ModelError(f"the model wants examples of shape {wanted}, the data has {input_shape}")
    return outside, x


def build_own(
    input_shape: tuple[int, ...],
    classes: int,
    name: str,
    values: InputValues,
    start: str,
) -> keras.Model:
    """Build a user's model for data: of a function, or of a file with its weights or with fresh
    ones ("fresh").

    Raises ModelError where model and data do not fit, or the file is gone.
    """
    card = own_model(name)
    if card is not None and (function := registered_function(card.key)) is not None:
        return _of_function(function, name, input_shape, classes)
    if card is not None and card.kind == "function":
        raise ModelError(
            f"the function of {short_name(name)} is not known here, or has changed: name the module that registers it "
            "in KD_PLUGINS where workers and commands start"
        )
    logits, card = logits_of_file(name, classes)
    if start == "fresh":
        trained, logits = logits, keras.models.clone_model(logits)
        keep_what_was_learnt_from_data(logits, trained)
    inputs, _ = user_models.inputs_of_data(card, tuple(input_shape))
    return adapt(logits, input_shape, values, inputs)


def logits_of_file(name: str, classes: int) -> tuple[keras.Model, ModelCard]:
    """Return the trained model of a user's file with logits at its end, on its own inputs.

    Raises ModelError where it answers for another number of ``classes``, or is gone.
    """
    model, card = fetch(name)
    logits, _ = to_logits(model)
    given = logits.outputs[0].shape[-1]
    if given != classes:
        raise ModelError(f"{short_name(name)} answers for {given} classes, the data has {classes}")
    return logits, card


def _of_function(
    function: Callable[..., Any], name: str, input_shape: tuple[int, ...], classes: int
) -> keras.Model:
    model = function(input_shape, classes)
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"the function of {short_name(name)} must return a Keras model, got {type(model).__name__}"
        )
    if tuple(model.outputs[0].shape[1:]) != (classes,):
        raise ModelError(
            f"the function of {short_name(name)} must return a model of {classes} outputs, got {tuple(model.outputs[0].shape)}"
        )
    return adapt(to_logits(_functional(model))[0], input_shape, InputValues(), "as they are")


def fetch(name: str) -> tuple[keras.Model, ModelCard]:
    """Return a user's model with its weights from the open store that holds it.

    Raises ModelError where it is gone.
    """
    file, card = fetch_file(name)
    with tempfile.TemporaryDirectory(prefix="kdlab-") as folder:
        path = Path(folder) / f"model.{card.format}"
        path.write_bytes(file)
        return load_file(path, card.output_name), card


def fetch_file(name: str) -> tuple[bytes, ModelCard]:
    """Return the file of a user's model from the open store that holds it.

    Raises ModelError where it is gone.
    """
    for source in sources():
        row = user_models.find(source, name) if isinstance(source, Store) else None
        if row is not None and row.removed_at is None and isinstance(source, Store):
            prefix, pieces = row.manifest["prefix"], row.manifest["pieces"]
            file = b"".join(user_data.read_pieces(source, prefix, pieces))
            return file, user_models.to_card(row)
    raise ModelError(
        f"the model {name} has been removed from the store: add the same file again "
        f"(python -m kdcore model add {short_name(name)} FILE), and resume"
    )


# Networks of keras.applications


def build_application(
    input_shape: tuple[int, ...],
    classes: int,
    name: str,
    values: InputValues,
    start: str,
) -> keras.Model:
    """Build a network of ``keras.applications`` with a new head: "app-mobilenetv2", or
    "app-mobilenetv2-imagenet".

    Small images are enlarged to what the network needs at least; to 96 pixels where it starts from
    ImageNet weights. Raises ModelError where the data is no images, or the weights cannot be
    downloaded.
    """
    slug, _, weights = name.removeprefix("app-").partition("-")
    called, smallest, inputs = APPLICATIONS[slug]
    if len(input_shape) != 3 or input_shape[2] not in (1, 3):
        raise ModelError(
            f"{name} needs images of one or three channels, but one example has shape {input_shape}"
        )
    least = max(smallest, SMALLEST_IMAGENET_SIDE) if weights else smallest
    height, width = (max(least, side) for side in input_shape[:2])
    try:
        base = getattr(keras.applications, called)(
            include_top=False,
            weights=weights or None,
            input_shape=(height, width, 3),
            pooling="avg",
        )
    except Exception as error:  # get_file raises bare Exception when there is no network
        raise ModelError(
            f"the ImageNet weights of {called} cannot be downloaded: {first_line(error)}. Without a network use "
            f"app-{slug}, which starts from fresh weights, or put the file into ~/.keras/models"
        ) from error
    head = layers.Dense(classes, dtype="float32", name="head")(base.output)
    return adapt(keras.Model(base.input, head, name=slug), input_shape, values, inputs)
