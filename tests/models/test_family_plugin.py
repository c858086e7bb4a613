"""A family of networks from outside owns its name rule and is built like any other."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import pytest

from kdcore.config.catalog import dataset_card, models_of
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.families import MODEL_FAMILIES, ModelFamily, register_family
from kdcore.errors import ConfigError
from kdcore.models import build


def build_pool(shape: tuple[int, ...], classes: int, size: int) -> keras.Model:
    """Average ``size`` by ``size`` pixels, then one dense layer."""
    pool = keras.layers.AveragePooling2D(size)
    head = keras.layers.Dense(classes, name="logits")
    return keras.Sequential([keras.Input(shape), pool, keras.layers.Flatten(), head])


def even(numbers: tuple[int, ...]) -> str | None:
    return None if numbers[0] % 2 == 0 else "a pool of an even size"


POOL = ModelFamily(
    "Pooling and one layer",
    f"{__name__}:build_pool",
    r"pool-(\d+)",
    ("pool-4", "pool-2"),
    rule=even,
)


@pytest.fixture(autouse=True)
def plugin() -> Iterator[None]:
    register_family("pool", POOL)
    yield
    MODEL_FAMILIES.pop("pool")


def test_it_is_offered_checked_and_built() -> None:
    assert "pool-4" in models_of(dataset_card("digits").task)
    assert ExperimentConfig(student="pool-2").student == "pool-2"
    assert build("pool-2", (8, 8, 1), 10).count_params() == 4 * 4 * 10 + 10


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("pool-3", "a pool of an even size"),
        ("pool-0", "numbers from 1 to 4096"),
        ("pool-9999", "numbers from 1 to 4096"),
        ("pool", "a name such as .*pool-2"),
        ("resnet-9-8", r"6n\+2"),
        ("vit-2-20", "multiple of 16"),
    ],
)
def test_its_rule_is_asked(name: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        ExperimentConfig(student=name)


def test_a_taken_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="a name that is not taken"):
        register_family("conv", POOL)
