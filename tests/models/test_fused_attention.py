"""Attention with one product for queries, keys and values: the same numbers, and only where a layer
does nothing else.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

from kdcore import Distiller, models
from kdcore.models import fused_attention as module
from kdcore.models.fused_attention import attend, fused_attention
from kdcore.models.precision import policy_scope
from kdcore.tasks.values import InputValues
from kdcore.training.loop import Loop
from kdcore.training.trainer import Trainer


def built(width: int, *, seed: int = 0, **told: Any) -> layers.MultiHeadAttention:
    """Return a layer over tokens of a width, with biases that are not 0."""
    keras.utils.set_random_seed(seed)
    start = keras.initializers.RandomNormal(stddev=0.5)
    layer = layers.MultiHeadAttention(**told, kernel_initializer=start, bias_initializer=start)
    layer.build((None, None, width), (None, None, width))
    return layer


def by_hand(layer: layers.MultiHeadAttention, tokens: np.ndarray) -> np.ndarray:
    """Attention head by head in float64."""

    def weights(dense: keras.Layer) -> tuple[np.ndarray, np.ndarray]:
        bias = dense.bias if layer.use_bias else np.zeros(())
        return np.asarray(dense.kernel, np.float64), np.asarray(bias, np.float64)

    query, key, value = (
        np.einsum("btc,cnh->btnh", tokens, kernel) + bias
        for kernel, bias in map(weights, (layer.query_dense, layer.key_dense, layer.value_dense))
    )
    scores = np.einsum("btnh,bsnh->bnts", query, key) / np.sqrt(layer.key_dim)
    seen = np.exp(scores - scores.max(axis=-1, keepdims=True))
    seen /= seen.sum(axis=-1, keepdims=True)
    kernel, bias = weights(layer.output_dense)
    return np.einsum("bnts,bsnh,nhc->btc", seen, value, kernel) + bias


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_it_attends_as_worked_out_by_hand(data: st.DataObject) -> None:
    def draw(lowest: int, highest: int) -> int:
        return data.draw(st.integers(lowest, highest))

    batch, length, width, seed = draw(1, 3), draw(2, 6), draw(1, 8), draw(0, 99)
    # Of two heads of one dimension Keras' own layer adds its biases along the tokens.
    heads, size, use_bias = draw(1, 3), draw(2, 4), data.draw(st.booleans())
    layer = built(width, seed=seed, num_heads=heads, key_dim=size, use_bias=use_bias)
    generator = np.random.default_rng(seed)
    tokens = generator.normal(size=(batch, length, width)).astype(np.float32)
    found = ops.convert_to_numpy(attend(layer, ops.convert_to_tensor(tokens)))
    np.testing.assert_allclose(found, by_hand(layer, tokens), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found, layer(tokens, tokens), rtol=1e-4, atol=1e-4)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The layers that were fused, in the order in which they were asked."""
    names: list[str] = []

    def watched(layer: keras.Layer, *given: Any) -> Any:
        names.append(layer.name)
        return attend(layer, *given)

    monkeypatch.setattr(module, "attend", watched)
    return names


@pytest.mark.parametrize("name", ["vit-2-16", "deit-2-16"])
def test_answers_and_gradients_of_a_network_are_its_own(name: str, asked: list[str]) -> None:
    network = models.build(name, (8, 8, 1), 4, seed=1)
    inputs = tf.constant(np.random.default_rng(0).random((3, 8, 8, 1)), tf.float32)

    def learnt() -> list[np.ndarray]:
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(network(inputs, training=True))
            loss = tf.add_n([tf.reduce_sum(each**2) for each in outputs])
        gradients = tape.gradient(loss, [each.value for each in network.trainable_variables])
        return [loss.numpy(), *(tf.convert_to_tensor(each).numpy() for each in gradients)]

    own = learnt()
    with fused_attention(network):
        fused = learnt()
    assert len(asked) == 2, "both blocks"
    for one, two in zip(fused, own, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_texts_whose_padding_is_masked_are_left_alone(asked: list[str]) -> None:
    network = models.build("transformer-1-16", (4,), 4, seed=1, values=InputValues(tokens=9))
    texts = np.array([[5, 3, 7, 2], [4, 6, 0, 0]], np.int32)  # 0 is padding
    own = ops.convert_to_numpy(network(texts))
    with fused_attention(network):
        np.testing.assert_array_equal(network(texts), own)
    assert asked == []


@pytest.mark.parametrize(
    "told",
    [{"dropout": 0.1}, {"value_dim": 3}, {"attention_axes": (1, 2)}, {"use_gate": True}],
    ids=lambda told: next(iter(told)),
)
def test_layers_that_do_more_are_left_alone(told: dict[str, Any], asked: list[str]) -> None:
    inputs = keras.Input((3, 8) if "attention_axes" not in told else (3, 3, 8))
    layer = layers.MultiHeadAttention(2, 4, **told)
    network = keras.Model(inputs, layer(inputs, inputs))
    with fused_attention(network):
        network(np.ones((1, *inputs.shape[1:]), np.float32))
    assert asked == []


@pytest.mark.parametrize("call", ["another value", "scores", "causal", "another key", "a mask"])
def test_calls_for_more_are_the_layers_own(call: str, asked: list[str]) -> None:
    layer = built(8, num_heads=2, key_dim=4)
    one, two = np.random.default_rng(0).normal(size=(2, 1, 3, 8)).astype(np.float32)
    one, two = ops.convert_to_tensor(one), ops.convert_to_tensor(two)
    given, named = {
        "another value": ((one, two), {}),
        "scores": ((one, one), {"return_attention_scores": True}),
        "causal": ((one, one), {"use_causal_mask": True}),
        "another key": ((one, one, two), {}),
        "a mask": ((one, one), {"attention_mask": np.tri(3, dtype=bool)[None]}),
    }[call]
    own = layer(*given, **named)
    with fused_attention(keras.Sequential([layer])):
        found = layer(*given, **named)
        assert asked == []
        layer(one, one)
        assert asked == [layer.name]
    for first, second in zip(tf.nest.flatten(found), tf.nest.flatten(own), strict=True):
        np.testing.assert_array_equal(first, second)
    layer(one, one)
    assert asked == [layer.name], "the layer is its own again"


@pytest.mark.parametrize("changed", ["float8", "LoRA"])
def test_layers_with_other_kernels_are_left_alone(changed: str, asked: list[str]) -> None:
    layer = built(8, num_heads=2, key_dim=4)
    if changed == "LoRA":
        layer.value_dense.enable_lora(2)
    else:
        layer.value_dense.quantize("float8")
    with fused_attention(keras.Sequential([layer])):
        layer(np.ones((1, 3, 8), np.float32), np.ones((1, 3, 8), np.float32))
    assert asked == []


def test_it_attends_in_float64_to_the_last_digits() -> None:
    layer = built(8, num_heads=2, key_dim=4, dtype="float64")
    tokens = np.random.default_rng(0).normal(size=(2, 3, 8))
    found = ops.convert_to_numpy(attend(layer, ops.convert_to_tensor(tokens, "float64")))
    np.testing.assert_allclose(found, by_hand(layer, tokens), rtol=1e-12)


def test_it_attends_in_bfloat16_too(asked: list[str]) -> None:
    with policy_scope(keras.DTypePolicy("mixed_bfloat16")):
        network = models.build("vit-1-16", (8, 8, 1), 4, seed=1)
    images = np.random.default_rng(0).random((2, 8, 8, 1)).astype(np.float32)
    own = ops.convert_to_numpy(network(images))
    with fused_attention(network):
        fused = ops.convert_to_numpy(network(images))
    assert len(asked) == 1
    np.testing.assert_allclose(fused, own, atol=0.05)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_loops_that_xla_compiles_are_fused(jit_compile: bool, asked: list[str]) -> None:
    network = models.build("vit-1-16", (8, 8, 1), 4, seed=1)
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    loop = Loop(Trainer(network), 1.0, jit_compile=jit_compile)
    data = tf.zeros((4, 8, 8, 1)), tf.zeros(4, tf.int32)
    loop.build(*data)
    loop(np.array([[0, 1], [2, 3]], np.int32), *data)
    assert bool(asked) == jit_compile


def test_a_teacher_of_several_learners_is_left_as_it_is(asked: list[str]) -> None:
    student, teacher = (models.build("vit-1-16", (8, 8, 1), 4, seed=seed) for seed in (1, 2))
    distiller = Distiller(student=student, teacher=teacher)
    distiller.compile("adam", temperature=4.0)
    loop = Loop(Trainer(distiller, student), 1.0, jit_compile=True)
    data = tf.zeros((4, 8, 8, 1)), tf.zeros(4, tf.int32)
    loop.build(*data)
    loop(np.array([[0, 1], [2, 3]], np.int32), *data)
    assert len(asked) == 1, "the student's block alone: another loop may be tracing the teacher's"
