"""Weight gradients of strided convolutions as one product: the same numbers, only where layers and
processor profit.
"""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from kdcore import models
from kdcore.models import precision, strided_gradients
from kdcore.models.precision import policy_scope
from kdcore.training.loop import Learner, Loop, Network, student_order, train_together
from kdcore.training.trainer import Trainer

EXAMPLES, BATCH = 64, 16


def by_hand(
    inputs: np.ndarray,
    kernel: np.ndarray,
    upstream: np.ndarray,
    strides: tuple[int, int],
    padding: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Output of a convolution and its gradients by inputs and kernel, place by place in float64."""
    rows, columns = kernel.shape[:2]
    height, width = upstream.shape[1:3]
    down, across = (
        max((places - 1) * stride + length - size, 0) if padding == "SAME" else 0
        for places, stride, length, size in zip(
            (height, width), strides, (rows, columns), inputs.shape[1:3], strict=True
        )
    )
    ends = ((0, 0), (down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0))
    padded = np.pad(inputs.astype(np.float64), ends)
    outputs, by_inputs, by_kernel = (
        np.zeros(upstream.shape),
        np.zeros_like(padded),
        np.zeros(kernel.shape),
    )
    for row, column in np.ndindex(height, width):
        seen = np.s_[
            :,
            row * strides[0] : row * strides[0] + rows,
            column * strides[1] : column * strides[1] + columns,
        ]
        outputs[:, row, column] = np.einsum("nijc,ijcf->nf", padded[seen], kernel)
        by_kernel += np.einsum("nijc,nf->ijcf", padded[seen], upstream[:, row, column])
        by_inputs[seen] += np.einsum("ijcf,nf->nijc", kernel, upstream[:, row, column])
    inner = np.s_[
        :, down // 2 : down // 2 + inputs.shape[1], across // 2 : across // 2 + inputs.shape[2]
    ]
    return outputs, by_inputs[inner], by_kernel


@settings(max_examples=100)
@given(data=st.data())
def test_output_and_gradients_are_those_worked_out_by_hand(data: st.DataObject) -> None:
    def draw(lowest: int, highest: int) -> int:
        return data.draw(st.integers(lowest, highest))

    size, kernel_size = (draw(4, 9), draw(4, 9)), (draw(2, 4), draw(2, 4))
    strides = (draw(2, kernel_size[0]), draw(2, kernel_size[1]))
    padding = data.draw(st.sampled_from(["SAME", "VALID"]))
    random = np.random.default_rng(draw(0, 999))
    inputs = random.normal(size=(draw(1, 3), *size, draw(1, 3))).astype(np.float32)
    kernel = random.normal(size=(*kernel_size, inputs.shape[-1], draw(1, 4))).astype(np.float32)
    with tf.GradientTape() as tape:
        watched = tf.constant(inputs), tf.constant(kernel)
        tape.watch(watched)
        outputs = strided_gradients.convolve(*watched, strides, padding)
        upstream = random.normal(size=outputs.shape).astype(np.float32)
        total = tf.reduce_sum(outputs * upstream)
    got = [outputs, *tape.gradient(total, watched)]
    for expected, found in zip(
        by_hand(inputs, kernel, upstream, strides, padding), got, strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def trained(
    monkeypatch: pytest.MonkeyPatch, flags: str, policy: str = "mixed_bfloat16"
) -> tuple[Loop, list[np.ndarray]]:
    """A network with a strided convolution of 64 channels, trained for an epoch on a processor of
    ``flags``.
    """
    monkeypatch.setattr(precision, "_cpu_flags", lambda: frozenset(flags.split()))
    monkeypatch.setattr(precision, "gpus", list)
    random = np.random.default_rng(0)
    inputs = random.integers(0, 17, (EXAMPLES, 8, 8, 1)).astype(np.uint8)
    labels = random.integers(0, 10, EXAMPLES)
    with policy_scope(policy):  # type: ignore[arg-type]
        model = models.build("conv-64-128", (8, 8, 1), 10, seed=0)
    model.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    loop = Loop(Trainer(model), 1 / 16)
    steps = EXAMPLES // BATCH
    order = partial(student_order, EXAMPLES, 0)
    train_together(
        [Learner("run", loop, Network(model, 1 / 16), inputs, labels, order, BATCH, steps)], 1
    )
    return loop, model.get_weights()


def kernel_gradients(loop: Loop) -> int:
    """How many of a compiled loop's gradients by a kernel are TensorFlow's own."""
    graph = loop._compiled.graph.as_graph_def()
    nodes = [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]
    return sum(node.op == "Conv2DBackpropFilter" for node in nodes)


def test_training_takes_them_where_they_pay_and_learns_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow, expected = trained(monkeypatch, "avx512f")
    fast, got = trained(monkeypatch, "avx512f avx512_bf16")
    assert (kernel_gradients(slow), kernel_gradients(fast)) == (2, 1)
    start = models.build("conv-64-128", (8, 8, 1), 10, seed=0).get_weights()
    for before, one, other in zip(start, expected, got, strict=True):
        moved = np.linalg.norm(one - before)
        assert moved > 0
        assert np.linalg.norm(one - other) < 0.02 * moved  # bfloat16 has three digits


@pytest.mark.parametrize(
    ("flags", "policy"),
    [
        ("avx512_bf16", "float32"),
        ("avx512_bf16 amx_bf16", "mixed_bfloat16"),
        ("sse", "mixed_bfloat16"),
    ],
)
def test_elsewhere_tensorflows_own_are_taken(
    monkeypatch: pytest.MonkeyPatch, flags: str, policy: str
) -> None:
    assert kernel_gradients(trained(monkeypatch, flags, policy)[0]) == 2


def test_the_gpu_does_not_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_flags", lambda: frozenset({"avx512_bf16"}))
    monkeypatch.setattr(precision, "gpus", lambda: [("A100", (8, 0))])
    assert not precision.bfloat16_without_tiles()


def convolution(**changes: object) -> layers.Conv2D:
    arguments = {"filters": 8, "kernel_size": 3, "strides": 2, "padding": "same", **changes}
    return layers.Conv2D(**arguments)


@pytest.mark.parametrize(
    "changes",
    [
        {"strides": 1},
        {"kernel_size": 1},
        {"groups": 2},
        {"data_format": "channels_first"},
        {"dtype": "float32"},
        {"strides": 1, "dilation_rate": 2},
    ],
)
def test_other_convolutions_are_left_alone(changes: dict[str, object]) -> None:
    with policy_scope("mixed_bfloat16"):
        for layer, channels, expected in (
            (convolution(), 64, True),
            (convolution(), 63, False),
            (convolution(**changes), 64, False),
        ):
            layer(keras.Input((64, 64, channels)))
            assert strided_gradients._profits(layer) == expected


def test_layers_are_as_before_afterwards_even_after_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strided_gradients, "bfloat16_without_tiles", lambda: True)
    with policy_scope("mixed_bfloat16"):
        inner = models.build("conv-64-128", (8, 8, 1), 10, seed=0)
        model = keras.Sequential([keras.Input((8, 8, 1)), inner])
    layer = next(layer for layer in inner.layers if strided_gradients._profits(layer))

    def trace_in_vain() -> None:
        with strided_gradients.strided_gradients(model):
            assert "convolution_op" in vars(layer)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trace_in_vain()
    assert "convolution_op" not in vars(layer)
    keras.models.clone_model(model)
