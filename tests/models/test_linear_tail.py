"""Linear layers at a model's end as one matrix: the same logits, and only where that is so and
pays.
"""

import keras
import numpy as np
import pytest
from keras import layers

from kdcore import models
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.models.families import multiply_accumulates
from kdcore.models.linear_tail import collapse_linear_tail
from kdcore.models.precision import policy_scope
from kdcore.storage.store import Store
from kdcore.training.evaluation import model_from_bytes, model_to_bytes
from kdcore.training.loop import Network
from kdcore.training.teacher_logits import training_logits

# Keras' own, where it writes a file.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE, CLASSES = (12, 10, 3), 4


def images(count: int = 6, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(1).random((count, *shape)).astype(np.float32)


def with_tail(*tail: keras.Layer, start: keras.Layer | None = None) -> keras.Model:
    """A nonlinear start, then ``tail``, then the logits; biases are not zero."""
    keras.utils.set_random_seed(3)
    first = start or layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")
    model = keras.Sequential(
        [keras.Input(SHAPE), first, *tail, layers.Flatten(), layers.Dense(CLASSES)]
    )
    model.set_weights(
        [
            np.random.default_rng(2).normal(size=w.shape).astype(np.float32)
            for w in model.get_weights()
        ]
    )
    return model


TAILS = {
    "a strided convolution": lambda: [layers.Conv2D(64, 3, strides=2, padding="same")],
    "one without padding": lambda: [layers.Conv2D(64, 3, padding="valid")],
    "two": lambda: [layers.Conv2D(32, 3, padding="same"), layers.Conv2D(32, 2, use_bias=False)],
    "depthwise and pooled": lambda: [
        layers.ZeroPadding2D(1),
        layers.DepthwiseConv2D(3, depth_multiplier=8),
        layers.AveragePooling2D(2),
        layers.Conv2D(64, 1),
    ],
    "dense": lambda: [layers.Flatten(), layers.Dense(512), layers.Dense(512)],
    "reshaped": lambda: [
        layers.Conv2D(64, 3, padding="same"),
        layers.Reshape((-1, 16)),
        layers.Dense(64),
    ],
    "to a global average": lambda: [
        layers.Conv2D(64, 5, padding="same"),
        layers.GlobalAveragePooling2D(),
    ],
}


def from_file(model: keras.Model) -> keras.Model:
    return model_from_bytes(model_to_bytes(model))


def as_graph(model: keras.Model) -> keras.Model:
    return keras.Model(model.inputs[0], model.outputs[0])


WAYS = {
    "built": lambda model: model,
    "from a file": from_file,
    "a graph": as_graph,
    "a graph from a file": lambda model: from_file(as_graph(model)),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_the_logits_are_the_same_for_less_work(tail: object, way: object) -> None:
    model = way(with_tail(*tail()))  # type: ignore[operator]
    work, whole = multiply_accumulates(model), model(images(), training=False).numpy()
    collapsed = collapse_linear_tail(model)
    assert 2 * multiply_accumulates(collapsed) <= work
    np.testing.assert_allclose(
        collapsed(images()).numpy(), whole, rtol=1e-4, atol=1e-4 * np.abs(whole).max()
    )
    assert multiply_accumulates(model) == work, "the model itself is as before"
    assert np.array_equal(model(images(), training=False), whole)


KEPT = {
    "a nonlinearity behind the last costly layer": lambda: [
        layers.Conv2D(64, 3, padding="same", activation="relu")
    ],
    "a layer of its own": lambda: [layers.Conv2D(64, 3, padding="same"), layers.ReLU()],
    "chance": lambda: [layers.Conv2D(64, 3, padding="same"), layers.Dropout(0.5)],
    "little to save": lambda: [layers.Conv2D(2, 1)],
}


@pytest.mark.parametrize("tail", KEPT.values(), ids=KEPT)
def test_another_model_is_left_as_it_is(tail: object) -> None:
    model = with_tail(*tail())  # type: ignore[operator]
    assert collapse_linear_tail(model) is model


def test_a_class_of_ones_own_may_do_anything_and_is_left() -> None:
    class Squared(layers.Conv2D):
        def call(self, inputs: object) -> object:
            return super().call(inputs) ** 2

    model = with_tail(Squared(64, 3, padding="same"))
    assert collapse_linear_tail(model) is model


def test_models_that_are_no_chain_are_left() -> None:
    inputs = keras.Input(SHAPE)
    branch = layers.Conv2D(64, 3, padding="same")(layers.ReLU()(inputs))
    joined = layers.Add()([branch, layers.Conv2D(64, 1)(inputs)])
    residual = keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(joined)))
    twice = layers.Conv2D(3, 3, padding="same")
    shared = keras.Model(
        inputs, layers.Dense(CLASSES)(layers.Flatten()(twice(twice(layers.ReLU()(inputs)))))
    )

    class Code(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.head = layers.Dense(CLASSES)

        def call(self, inputs: object) -> object:
            return self.head(keras.ops.reshape(inputs, (-1, 360)))

    code = Code()
    code(images())
    any_size = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.ReLU(),
            layers.Conv2D(64, 3),
            layers.Conv2D(4, 1),
            layers.GlobalAveragePooling2D(),
        ]
    )
    for model in (residual, shared, code, any_size):
        assert collapse_linear_tail(model) is model


def test_models_within_a_model_may_come_before_the_tail() -> None:
    start = keras.Sequential(
        [keras.Input(SHAPE), layers.Conv2D(8, 3, padding="same"), layers.ReLU()]
    )
    model = with_tail(layers.Conv2D(64, 3, padding="same"), start=start)
    collapsed = collapse_linear_tail(model)
    assert collapsed is not model
    np.testing.assert_allclose(collapsed(images()), model(images()), rtol=1e-3, atol=1e-3)


def test_the_teacher_of_the_keras_example_needs_a_small_part_of_the_work() -> None:
    model = models.build("conv-256-512", (28, 28, 1), 10, seed=0)
    collapsed = collapse_linear_tail(model)
    assert multiply_accumulates(collapsed) == 14 * 14 * 256 * 9 + 14 * 14 * 256 * 10
    assert multiply_accumulates(model) > 58e6


def test_a_bfloat16_models_matrix_is_nearer_to_float32_than_the_model_itself() -> None:
    with policy_scope("mixed_bfloat16"):
        rounded = models.build("conv-32-64", (8, 8, 1), 10, seed=0)
    exact = models.build("conv-32-64", (8, 8, 1), 10, seed=0)
    exact.set_weights(rounded.get_weights())
    inputs = images(64, (8, 8, 1))
    expected = exact(inputs).numpy()

    def error(model: keras.Model) -> float:
        return float(np.abs(model(inputs).numpy().astype(np.float64) - expected).mean())

    collapsed = collapse_linear_tail(rounded)
    assert collapsed is not rounded
    assert 0 < error(collapsed) < error(rounded)


def test_the_teachers_stored_answers_are_made_that_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = datasets.load(ExperimentConfig(training_examples=100))
    teacher = models.build("conv-64-128", dataset.input_shape, dataset.classes, seed=0)
    untouched = [weights.copy() for weights in teacher.get_weights()]
    asked: list[keras.Model] = []
    answer = Network.logits

    def noted(network: Network, inputs: np.ndarray) -> np.ndarray:
        asked.append(network.model)
        return answer(network, inputs)

    monkeypatch.setattr(Network, "logits", noted)
    logits, cached = training_logits(store, Network(teacher, dataset.scale), dataset)
    assert not cached
    assert [multiply_accumulates(model) for model in asked] == [
        multiply_accumulates(collapse_linear_tail(teacher))
    ]
    expected = answer(Network(teacher, dataset.scale), dataset.train.inputs)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert all(map(np.array_equal, teacher.get_weights(), untouched))
