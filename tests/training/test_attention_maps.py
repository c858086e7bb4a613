"""What is read off a network about where it looks, against attention worked out by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from kdcore import models
from kdcore.analysis.attention import (
    ALL_TOKENS,
    CLASS_TOKEN,
    DISTILLATION_TOKEN,
    FEATURE_MAPS,
    rollout,
)
from kdcore.models.noise import with_dropout
from kdcore.tasks.values import InputValues
from kdcore.training.attention_maps import attention_maps, attention_scores
from kdcore.training.loop import Network

# Keras 3.15 converts variables in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PICTURES = np.random.default_rng(1).integers(0, 255, (6, 8, 8, 1)).astype(np.uint8)


def restless(model: keras.Model) -> keras.Model:
    """Make weights large enough that attention is not even."""
    rng = np.random.default_rng(2)
    model.set_weights([each + rng.normal(0, 0.3, each.shape) for each in model.get_weights()])
    return model


def network(name: str, shape: tuple[int, ...] = (8, 8, 1)) -> Network:
    return Network(restless(models.build(name, shape, 10, 0)), 1 / 255)


def attended(attention: keras.layers.MultiHeadAttention, tokens: NDArray) -> NDArray:
    """softmax(q · k / √d) of normalised tokens [n, t, width], in float64."""
    asked, known = (
        np.einsum("ntw,whd->nhtd", tokens, np.asarray(dense.kernel, np.float64))
        + np.asarray(dense.bias, np.float64)[:, None]
        for dense in (attention._query_dense, attention._key_dense)
    )
    return softmax(np.einsum("nhqd,nhkd->nhqk", asked, known) / np.sqrt(asked.shape[-1]), axis=-1)


@pytest.mark.parametrize("name", ["vit-3-32", "deit-3-32"])
def test_scores_are_those_of_the_layers_and_each_row_has_the_sum_one(name: str) -> None:
    asked = network(name)
    inputs = PICTURES.astype(np.float32) / 255
    scores, hidden = attention_scores(asked.model, inputs)
    assert scores.shape[:3] == (6, 3, 1)
    np.testing.assert_allclose(scores.sum(axis=-1), 1.0, rtol=1e-5)
    assert len(hidden) == 4
    kinds = ("ViTEncoder", "DeiTEncoder")
    parts = asked.model._flatten_layers()
    encoder = next(part for part in parts if type(part).__name__ in kinds)
    blocks = encoder.encoder_layers
    for layer, block in enumerate(blocks):
        normalised = np.asarray(block.layer_norm_1(hidden[layer]), np.float64)
        np.testing.assert_allclose(scores[:, layer], attended(block.mha, normalised), atol=1e-5)


@pytest.mark.parametrize("name", ["vit-2-32", "deit-2-32", "conv-8-16", "mlp-16"])
def test_looking_changes_neither_answers_nor_layers(name: str) -> None:
    asked = network(name)
    before = asked.logits(PICTURES)
    attention_maps(asked, PICTURES)
    np.testing.assert_array_equal(asked.logits(PICTURES), before)
    assert all("call" not in vars(part) for part in asked.model._flatten_layers())


def test_noise_inside_the_network_is_off_while_one_looks() -> None:
    model = with_dropout(models.build("conv-8-16", (8, 8, 1), 10, 0), 0.5, 0)
    maps = [attention_maps(Network(model, 1 / 255), PICTURES) for _ in range(2)]
    assert maps[0] is not None
    assert maps[1] is not None
    np.testing.assert_array_equal(maps[0].maps[FEATURE_MAPS], maps[1].maps[FEATURE_MAPS])


def test_each_token_has_a_map_of_its_own() -> None:
    asked = network("deit-2-32")
    found = attention_maps(asked, PICTURES)
    assert found is not None
    scores, hidden = attention_scores(asked.model, PICTURES.astype(np.float32) / 255)
    through = rollout(scores)
    for at, name in enumerate((CLASS_TOKEN, DISTILLATION_TOKEN)):
        assert found.maps[name].shape == (6, 4, 4)
        np.testing.assert_allclose(found.maps[name].reshape(6, 16), through[:, at, 2:], rtol=1e-5)
        heads = found.heads[name].reshape(6, 2, 1, 16)
        np.testing.assert_allclose(heads, scores[:, :, :, at, 2:], atol=1e-6)
    assert not np.allclose(found.maps[CLASS_TOKEN], found.maps[DISTILLATION_TOKEN])
    first, last = (
        np.sum(a * b, axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
        for a, b in ((each[:, 0], each[:, 1]) for each in (hidden[0], hidden[-1]))
    )
    assert found.likeness is not None
    np.testing.assert_allclose(found.likeness[:, [0, -1]], np.stack([first, last], 1), atol=1e-5)


def test_patches_that_stand_out_over_the_edge_are_said() -> None:
    asked = network("vit-1-16", (9, 8, 1))
    found = attention_maps(asked, np.zeros((2, 9, 8, 1), np.uint8))
    assert found is not None
    assert found.maps[CLASS_TOKEN].shape == (2, 5, 4)
    assert found.reach == pytest.approx((10 / 9, 1.0))


def test_a_convolutional_network_s_map_is_the_mean_square_over_channels() -> None:
    asked = network("conv-8-16")
    found = attention_maps(asked, PICTURES)
    assert found is not None
    assert list(found.maps) == [FEATURE_MAPS]
    # Its second convolution leaves 2 × 2, too coarse for places.
    activation = next(
        each for each in asked.model.layers if isinstance(each, keras.layers.LeakyReLU)
    )
    view = keras.Model(asked.model.inputs[0], activation.output)
    features = np.asarray(view(PICTURES.astype(np.float32) / 255), np.float64)
    expected = (features**2).mean(axis=-1)
    expected /= expected.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found.maps[FEATURE_MAPS], expected, rtol=1e-4)
    np.testing.assert_allclose(found.maps[FEATURE_MAPS].sum(axis=(1, 2)), 1.0, rtol=1e-5)


def test_a_network_without_places_says_nothing() -> None:
    assert attention_maps(network("mlp-16"), PICTURES) is None


def test_padding_gets_no_attention_and_changes_none() -> None:
    values = InputValues(tokens=30)
    model = restless(models.build("transformer-2-32", (12,), 3, 0, values=values))
    texts = np.zeros((2, 12), np.int32)
    texts[0, :5], texts[1, :9] = [2, 7, 8, 9, 3], [2, 7, 8, 9, 10, 11, 12, 13, 3]
    both = attention_maps(Network(model, 1.0), texts)
    alone = attention_maps(Network(model, 1.0), texts[:1])
    assert both is not None
    assert alone is not None
    found = both.maps[ALL_TOKENS]
    assert found.shape == (2, 9)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(found[0, 5:], 0.0, atol=1e-6)
    np.testing.assert_allclose(found[0, :5], alone.maps[ALL_TOKENS][0], rtol=1e-4)


def test_a_bag_of_embeddings_has_no_attention() -> None:
    model = models.build("bag-16", (12,), 3, 0, values=InputValues(tokens=30))
    assert attention_maps(Network(model, 1.0), np.ones((2, 12), np.int32)) is None
