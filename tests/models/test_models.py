"""The model families: what they are made of, that they fit the data, and that they survive
a save.
"""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from kdcore.config.catalog import parse_model_name
from kdcore.config.families import MODEL_SUGGESTIONS
from kdcore.errors import ConfigError, ModelError
from kdcore.models.families import build, build_conv, build_mlp, build_resnet, multiply_accumulates
from kdcore.models.precision import policy_scope
from kdcore.tasks.values import InputValues

# Keras 3.15 converts variables in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SMALLEST = ("conv-4-8", "mlp-16", "resnet-8-8")


def images(shape: tuple[int, ...], rows: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((rows, *shape), np.float32)


@pytest.mark.parametrize("name", MODEL_SUGGESTIONS)
def test_every_suggestion_gives_logits(name: str) -> None:
    written = parse_model_name(name)[0].takes == "texts"
    shape = (12,) if written else (8, 8, 1)
    examples = np.arange(36).reshape(3, 12) if written else images(shape)
    model = build(name, shape, 7, seed=0, values=InputValues(tokens=40))
    logits = model(examples).numpy()
    assert logits.shape == (3, 7)
    assert np.all(np.isfinite(logits))
    assert logits.min() < 0, "probabilities, not logits"
    assert model.name == name.replace("-", "_")


def test_conv_is_the_keras_examples_network() -> None:
    example = keras.Sequential(
        [
            keras.Input(shape=(28, 28, 1)),
            layers.Conv2D(16, (3, 3), strides=(2, 2), padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.MaxPooling2D(pool_size=(2, 2), strides=(1, 1), padding="same"),
            layers.Conv2D(32, (3, 3), strides=(2, 2), padding="same"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    model = build("conv-16-32", (28, 28, 1), 10, seed=0)
    assert [type(layer) for layer in model.layers] == [type(layer) for layer in example.layers]
    example.set_weights(model.get_weights())
    x = images((28, 28, 1))
    np.testing.assert_array_equal(model(x), example(x))


@pytest.mark.parametrize(
    ("name", "parameters"), [("conv-256-512", 1_433_610), ("conv-16-32", 20_490)]
)
def test_conv_has_the_examples_number_of_parameters(name: str, parameters: int) -> None:
    assert build(name, (28, 28, 1), 10).count_params() == parameters


def test_mlp_has_the_hidden_layers_of_its_name() -> None:
    model = build_mlp((8, 8, 1), 10, 32, 16)
    assert model.count_params() == (64 * 32 + 32) + (32 * 16 + 16) + (16 * 10 + 10)
    features = images((30,))
    weights = build_mlp((30,), 2, 5)
    hidden = np.maximum(features @ weights.get_weights()[0] + weights.get_weights()[1], 0)
    want = hidden @ weights.get_weights()[2] + weights.get_weights()[3]
    np.testing.assert_allclose(weights(features), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("depth", "width", "shape"), [(8, 4, (8, 8, 1)), (14, 8, (32, 32, 3))])
def test_resnet_has_the_depth_and_width_of_its_name(
    depth: int, width: int, shape: tuple[int, int, int]
) -> None:
    model = build_resnet(shape, 10, depth, width)
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    weighted = [layer for layer in convolutions if layer.kernel_size == (3, 3)]
    shortcuts = [layer for layer in convolutions if layer.kernel_size == (1, 1)]
    assert len(weighted) + 1 == depth  # and one dense layer
    assert len(shortcuts) == 2
    blocks = (depth - 2) // 6
    assert [layer.filters for layer in weighted] == [width] + [
        w * width for w in (1, 2, 4) for _ in range(2 * blocks)
    ]
    assert len(convolutions) == sum(
        isinstance(layer, layers.BatchNormalization) for layer in model.layers
    )
    assert weighted[-1].output.shape[1:3] == (shape[0] // 4, shape[1] // 4)
    per_filter = 4  # of a BatchNormalization: scale, offset, mean, variance
    want = (
        sum(np.prod(c.kernel.shape) + per_filter * c.filters for c in convolutions)
        + 4 * width * 10
        + 10
    )
    assert model.count_params() == want


def test_a_resnet_block_adds_its_input() -> None:
    model = build_resnet((8, 8, 1), 3, 8, 4)
    first = next(layer for layer in model.layers if isinstance(layer, layers.Add))
    block_input = first.input[1]
    # With the block's last normalisation at zero, the block is the identity.
    last = next(layer for layer in model.layers if layer.output is first.input[0])
    last.gamma.assign(np.zeros(4))
    last.beta.assign(np.zeros(4))
    both = keras.Model(model.input, [block_input, first.output])(images((8, 8, 1)))
    assert np.abs(both[0]).max() > 0
    np.testing.assert_array_equal(*both)


@pytest.mark.parametrize("name", SMALLEST)
def test_the_seed_fixes_the_initial_weights(name: str) -> None:
    first, again, other = (
        build(name, (8, 8, 1), 10, seed=seed).get_weights() for seed in (1, 1, 2)
    )
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.any(a != b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", SMALLEST)
def test_a_saved_model_reloads_without_custom_objects(name: str, tmp_path: Path) -> None:
    model = build(name, (8, 8, 1), 10, seed=0)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = images((8, 8, 1))
    np.testing.assert_array_equal(model(x), reloaded(x))


@pytest.mark.parametrize("name", SMALLEST)
def test_logits_are_float32_under_mixed_precision(name: str) -> None:
    with policy_scope("mixed_bfloat16"):
        model = build(name, (8, 8, 1), 10, seed=0)
    reference = build(name, (8, 8, 1), 10, seed=0)
    x = images((8, 8, 1))
    logits = model(x)
    assert logits.dtype == "float32"
    assert model.layers[-2].compute_dtype == "bfloat16"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    np.testing.assert_allclose(logits, reference(x), atol=0.1)
    assert np.any(logits != reference(x)), "nothing was computed in bfloat16"


@pytest.mark.parametrize("name", ["conv-16-32", "resnet-8-8"])
@pytest.mark.parametrize("shape", [(30,), (8, 8)])
def test_images_are_asked_for_in_words(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError) as caught:
        build(name, shape, 10)
    assert name in str(caught.value)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("shape", [(), (None,), (8, 0, 1)])
def test_an_incomplete_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="full shape"):
        build("mlp-16", shape, 10)


def test_bad_names_classes_and_depths_are_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="model must be a name such as"):
        build("transformer", (8, 8, 1), 10)
    with pytest.raises(ConfigError, match="classes must be at least 2, got 1"):
        build("mlp-16", (8, 8, 1), 1)
    with pytest.raises(ConfigError, match="depth must be 8, 14, 20"):
        build_resnet((8, 8, 1), 10, 10, 8)


def test_multiply_accumulates_of_the_examples_student() -> None:
    first, second, dense = 14 * 14 * (3 * 3 * 1 * 16), 7 * 7 * (3 * 3 * 16 * 32), 7 * 7 * 32 * 10
    assert multiply_accumulates(build_conv((28, 28, 1), 10, 16, 32)) == first + second + dense


def test_multiply_accumulates_counts_depthwise_grouped_and_nested_layers() -> None:
    inner = keras.Sequential(
        [keras.Input((8, 8, 6)), layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2)]
    )
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(6, 1, groups=2),
            inner,
            layers.ReLU(),
            layers.Dense(5),
        ]
    )
    assert multiply_accumulates(model) == 8 * 8 * (2 * 6) + 3 * 3 * (3 * 3 * 6 * 2) + 3 * 3 * (
        12 * 5
    )


def test_multiply_accumulates_needs_a_built_model_of_known_size() -> None:
    with pytest.raises(ModelError, match="built"):
        multiply_accumulates(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(ModelError, match="not known"):
        multiply_accumulates(keras.Sequential([keras.Input((None, None, 1)), layers.Conv2D(2, 3)]))
