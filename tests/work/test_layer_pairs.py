"""Which layers are compared is what the loss really taps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kdcore.analysis.layer_pairs import LayerPairs, get_layer_pairs, in_words
from kdcore.charts.layer_pairs import draw_layer_pairs
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.engine.jobs import run_job
from kdcore.errors import ModelError
from kdcore.models import build
from kdcore.storage.store import Store
from kdcore.training.taps import tap
from kdcore.words import in_bytes
from kdcore.work.layer_pairs import find_layer_pairs

CONFIG = ExperimentConfig(teacher="resnet-14-8", student="resnet-8-4", method="hints")


def found(config: ExperimentConfig) -> LayerPairs:
    return find_layer_pairs(config, datasets.load(config))


def test_shapes_are_those_of_the_features() -> None:
    pairs = found(CONFIG)
    model = build("resnet-14-8", (8, 8, 1), 10, 0)
    names = [layer.name for layer in model.layers]
    views = tap(model, names)(np.zeros((1, 8, 8, 1), np.float32))
    shapes = [tuple(int(side) for side in views[name].shape[1:]) for name in names]
    assert [each.shape for each in pairs.teacher] == shapes
    (pair,) = pairs.pairs
    assert pairs.teacher[pair.teacher].shape[:2] == pairs.student[pair.student].shape[:2]
    wide = pairs.teacher[pair.teacher].shape[-1]
    assert pair.adapter == f"1 × 1 convolution to {wide} channels"
    both = [pairs.teacher[pair.teacher].shape, pairs.student[pair.student].shape]
    expected = 4 * CONFIG.batch_size * sum(int(np.prod(shape)) for shape in both)
    assert pairs.batch_bytes == expected


def test_relations_take_the_batch_times_as_much() -> None:
    similar = found(CONFIG.replace(method="similarity"))
    related = found(CONFIG.replace(method="similarity", variant="relational"))
    assert related.batch_bytes == CONFIG.batch_size * similar.batch_bytes


def test_blocks_of_transformers_are_listed_behind_their_backbone_and_paired() -> None:
    pairs = found(CONFIG.replace(teacher="vit-4-32", student="vit-2-16", method="attention"))
    names = [layer.name for layer in pairs.teacher]
    assert names[:6] == ["input_layer", "vit_backbone", *(f"block_{at}" for at in (1, 2, 3, 4))]
    assert {layer.shape for layer in pairs.teacher if layer.name.startswith("block")} == {(17, 32)}
    joined = [
        (pairs.teacher[pair.teacher].name, pairs.student[pair.student].name) for pair in pairs.pairs
    ]
    assert joined == [("block_2", "block_1"), ("block_4", "block_2")]


def test_attention_pairs_each_size_and_has_no_adapter() -> None:
    pairs = found(CONFIG.replace(method="attention"))
    assert len(pairs.pairs) == 3
    assert all(not pair.adapter for pair in pairs.pairs)
    sizes = [pairs.student[pair.student].shape[:2] for pair in pairs.pairs]
    assert sizes == [(8, 8), (4, 4), (2, 2)]


def test_layers_that_are_named_are_the_ones_and_unknown_ones_are_refused() -> None:
    automatic = found(CONFIG)
    first = automatic.teacher[1].name, automatic.student[1].name
    named = found(CONFIG.replace(layers=":".join(first)))
    (pair,) = named.pairs
    assert (named.teacher[pair.teacher].name, named.student[pair.student].name) == first
    with pytest.raises(ModelError, match=r"layer must be one of .*, got 'nowhere'"):
        found(CONFIG.replace(layers="nowhere:nowhere"))


def test_layers_as_long_as_a_text_are_shown_and_not_kept() -> None:
    config = ExperimentConfig(
        dataset="languages",
        teacher="transformer-2-32",
        student="transformer-1-16",
        method="similarity",
        layers="encoder:encoder",
    )
    pairs = found(config)
    assert pairs.kept_values is None
    words = in_words(pairs, config)
    assert "encoder, any × 32" in words
    assert words.endswith(
        "at every step: how much there is to keep differs from example to example."
    )


def test_it_is_kept_drawn_and_said(store: Store) -> None:
    job_id = store.add_job("layer_pairs", {"config": CONFIG.model_dump(mode="json")})
    assert run_job(store.url, job_id) == "finished"
    pairs = get_layer_pairs(store, CONFIG)
    assert pairs == found(CONFIG)
    assert pairs is not None
    assert get_layer_pairs(store, CONFIG.replace(student="resnet-8-8")) is None
    figure = draw_layer_pairs(pairs)
    texts = {trace.uid: list(trace.text) for trace in figure.data if trace.uid}
    assert len(texts["teacher"]) == len(pairs.teacher)
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert len(lines) == len(pairs.pairs)
    words = in_words(pairs, CONFIG)
    assert "1 × 1 convolution" in words
    (pair,) = pairs.pairs
    values = int(np.prod(pairs.teacher[pair.teacher].shape))
    assert pairs.kept_values == values
    kept = in_bytes(4 * values * len(datasets.load(CONFIG).train))
    assert f"kept for all training examples, {kept}." in words
    live = in_words(pairs, CONFIG.replace(augmentation="shifts"))
    assert "The teacher answers at every step: what the student sees changes" in live
    large = in_words(replace(pairs, kept_values=10**7), CONFIG)
    assert "The teacher answers at every step: all of them take " in large
    job_id = store.add_job(
        "layer_pairs", {"config": ExperimentConfig(student="mlp-8").model_dump(mode="json")}
    )
    assert run_job(store.url, job_id) == "failed"
    assert "method must be one on features" in (store.job(job_id).error or "")
