"""What converters cannot do is known before they are tried; each entry of the list is tried."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kdcore.takeaway.limits import LITERT, MOST_UNROLLED_STEPS, limits_of
from kdcore.work import export
from kdcore.work.before_conversion import with_rescaling, with_unrolled_loops
from kdcore.work.export import Subject, make

X = np.random.default_rng(0).random((24, 64)).astype(np.float32)


def subject(model: keras.Model) -> Subject:
    labels = np.zeros(len(X), np.int32)
    return Subject(model, X, X, labels, np.asarray(model(X), np.float32))


def ending(operation: Any) -> keras.Model:
    inputs = keras.Input((64,))
    return keras.Model(inputs, layers.Dense(4)(layers.Flatten()(operation(inputs))))


def square(inputs: Any) -> Any:
    return layers.Reshape((8, 8, 1))(inputs)


NOT_HELD = {
    "erf": (ending(ops.erf), LITERT),
    "fft": (ending(lambda x: ops.fft((x, ops.zeros_like(x)))[0]), (*LITERT, "onnx")),
    "svd": (
        ending(lambda x: ops.svd(layers.Reshape((8, 8))(x), compute_uv=False)),
        (*LITERT, "onnx"),
    ),
    "discretization": (ending(layers.Discretization([0.2, 0.5])), ("onnx",)),
    "bicubic": (ending(lambda x: layers.Resizing(9, 9, "bicubic")(square(x))), LITERT),
    "lanczos3": (ending(lambda x: layers.Resizing(9, 9, "lanczos3")(square(x))), LITERT),
}


@pytest.mark.parametrize("name", NOT_HELD)
def test_what_is_on_the_list_is_really_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a converter that has learnt it is noticed."""
    model, formats = NOT_HELD[name]
    found = limits_of(json.loads(model.to_json()))
    assert set(found) == set(formats)
    untried = make(formats[-1], subject(model))[1]
    assert not untried["passed"]
    assert untried["reason"].startswith("it has no ")
    monkeypatch.setattr(export, "limits_of", lambda description: {})
    tried = make(formats[-1], subject(model))[1]
    assert not tried["passed"]
    assert tried["reason"].startswith("it could not be made")


@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_recurrent_layers_leave_as_int8(layer: Any) -> None:
    """Calibrating their loop kills the process; unrolled they answer the same."""
    model = ending(lambda x: layer(5)(layers.Reshape((8, 8))(x)))
    assert limits_of(json.loads(model.to_json())) == {}
    unrolled = with_unrolled_loops(model)
    np.testing.assert_allclose(unrolled(X), model(X), atol=1e-5)
    report = make("litert-int8", subject(model))[1]
    assert report["max_difference"] is not None, report["reason"]


def test_long_recurrences_are_refused_as_int8_before_they_are_tried() -> None:
    inputs = keras.Input((MOST_UNROLLED_STEPS + 1, 3))
    model = keras.Model(inputs, layers.Dense(4)(layers.Bidirectional(layers.LSTM(2))(inputs)))
    assert list(limits_of(json.loads(model.to_json()))) == ["litert-int8"]


@pytest.mark.parametrize("axis", [-1, None])
@pytest.mark.parametrize("invert", [False, True])
def test_a_normalization_that_was_adapted_leaves_as_onnx(axis: int | None, invert: bool) -> None:
    known = layers.Normalization(axis=axis, invert=invert)
    known.adapt(X * np.arange(1, 65))
    inner = keras.Sequential([keras.Input((64,)), known, layers.Dense(6, activation="relu")])
    inputs = keras.Input((64,))
    model = keras.Model(inputs, layers.Dense(4)(inner(inputs)))
    np.testing.assert_allclose(with_rescaling(model)(X), model(X), rtol=1e-4, atol=1e-3)
    report = make("onnx", subject(model))[1]
    assert report["passed"], report["reason"]
