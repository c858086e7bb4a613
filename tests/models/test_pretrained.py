"""Pretrained networks of KerasHub: their own weights, values and tokens under a new head."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from kdcore import models
from kdcore.config import catalog, pretrained
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.errors import ConfigError, ModelError
from kdcore.methods.distillation_token import TOKEN_HEADS
from kdcore.models.pretrained import vocabulary_of
from kdcore.models.token_heads import both_heads
from kdcore.tasks.values import InputValues
from kdcore.training.attention_maps import attention_maps
from kdcore.training.evaluation import model_from_bytes, model_to_bytes
from kdcore.training.loop import Network
from kdcore.training.paired_layers import candidates
from kdcore.training.taps import tap
from tests.support import pretrained as small

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BERT, OTHER, DISTIL = "hub-bert_small_here", "hub-bert_other_here", "hub-distil_bert_here"
TEXTS = [
    "Österreich",
    "the time of the sea",
    "DON'T stop, believing!",
    "naïve café -- déjà vu",
    "  blanks \t and\nlines  ",
    "漢字 and kana かな",
    "emoji 🙂 and ‮right-to-left‬ שלום",
    "",
    "x" * 150,
    "a.b,c!d?e'f-g",
    "[MASK] [CLS] <b>html</b>",
    "zero\x00byte \x07 bell",
    "word " * 60,
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    folder = data / "presets"
    small.save_bert(folder / "bert_small_here")
    small.save_bert(folder / "bert_other_here", first=("another",))
    small.save_bert(folder / "distil_bert_here", distil=True)
    for kind in ("vit", "deit", "resnet"):
        small.save_for_images(folder / f"{kind}_here", kind)
    return data


@pytest.fixture(autouse=True)
def at_hand(saved: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("KD_DATA_DIR", str(saved))
    return saved / "presets"


@pytest.mark.parametrize("kind", ["vit", "deit", "resnet"])
def test_a_network_for_images_sees_what_it_was_trained_with(kind: str, at_hand: Path) -> None:
    from keras_hub.models import Backbone

    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1)).astype(np.uint8)
    model = models.build(f"hub-{kind}_here", (8, 8, 1), 10, seed=1)
    side = 96 if kind == "resnet" else small.SIDE
    large = np.asarray(keras.layers.Resizing(side, side)(images.astype(np.float32)))
    expected_inputs = large.repeat(3, axis=-1) * np.array(small.SCALE) + np.array(small.OFFSET)
    original = Backbone.from_preset(str(at_hand / f"{kind}_here"))
    expected = np.asarray(original(expected_inputs.astype(np.float32), training=False))
    inputs = images.astype(np.float32) / 255
    found = np.asarray(tap(model, ["features"])(inputs)["features"])
    np.testing.assert_allclose(found, expected, atol=2e-3)
    if kind == "resnet":
        assert candidates(model).maps[found.shape[1:3]] == "features"
    again = model_from_bytes(model_to_bytes(model))
    np.testing.assert_array_equal(np.asarray(again(inputs)), np.asarray(model(inputs)))
    others = models.build(f"hub-{kind}_here", (8, 8, 1), 10, seed=2)
    assert not np.allclose(model(inputs), others(inputs)), "the head is new, by its seed"


def test_the_heads_of_a_pretrained_deit_are_those_of_its_two_tokens() -> None:
    model = models.build("hub-deit_here", (8, 8, 1), 10, seed=1)
    inputs = np.random.default_rng(0).random((4, 8, 8, 1)).astype(np.float32)
    heads = np.asarray(both_heads(model)(inputs), np.float64)
    assert heads.shape == (4, len(TOKEN_HEADS), 10)
    probabilities = np.exp(heads) / np.exp(heads).sum(axis=-1, keepdims=True)
    answer = np.exp(np.asarray(model(inputs), np.float64))
    np.testing.assert_allclose(answer, probabilities.mean(axis=1), atol=1e-6)
    config = ExperimentConfig(method="distillation_token", student="hub-deit_here")
    assert config.student.startswith("hub-deit_here@")
    with pytest.raises(ConfigError, match="student must be one such as deit-4-64"):
        ExperimentConfig(method="distillation_token", student="hub-vit_here")


@pytest.mark.parametrize("kind", ["vit", "deit"])
def test_an_enlarged_image_is_looked_at_whole(kind: str) -> None:
    network = Network(models.build(f"hub-{kind}_here", (8, 8, 1), 10, seed=1), 1.0)
    maps = attention_maps(network, np.random.default_rng(0).random((2, 8, 8, 1)))
    assert maps is not None
    assert maps.reach == (1.0, 1.0)
    for found in maps.maps.values():
        assert found.shape == (2, 4, 4)


@pytest.mark.parametrize(("name", "distil"), [(BERT, False), (DISTIL, True)])
def test_tokens_are_those_that_kerashub_makes(name: str, distil: bool, tmp_path: Path) -> None:
    preprocessor = small.save_bert(tmp_path / "again", distil=distil)
    # Null bytes end a text in TensorFlow's strings; here they never reach a vocabulary.
    texts = [text.replace("\x00", " ") for text in TEXTS]
    expected = preprocessor(np.array(texts, object))["token_ids"]
    np.testing.assert_array_equal(vocabulary_of(name, 40).encode(texts), np.asarray(expected))


def test_spans_say_where_a_token_stands() -> None:
    text, vocabulary = "Déjà  THE vu", vocabulary_of(BERT, 40)
    spans = [text[begin:end] for begin, end in vocabulary.spans(text) if end > begin]
    assert "".join(spans) == "DéjàTHEvu"
    assert "THE" in spans


@pytest.mark.parametrize("name", [BERT, DISTIL])
def test_a_network_for_texts_answers_with_its_own_weights(name: str, at_hand: Path) -> None:
    from keras_hub.models import Backbone

    vocabulary = vocabulary_of(name, 40)
    values = InputValues(tokens=vocabulary.size, vocabulary=vocabulary.digest)
    model = models.build(name, (40,), 5, seed=1, values=values)
    tokens = vocabulary.encode(["the time of day", "and so on"])
    original = Backbone.from_preset(str(at_hand / pretrained.called(name)))
    given = {"token_ids": tokens, "padding_mask": tokens != 0, "segment_ids": np.zeros_like(tokens)}
    output = original({each: given[each] for each in original.input}, training=False)
    hidden = np.asarray(output["sequence_output"] if isinstance(output, dict) else output)
    real = (tokens != 0)[..., np.newaxis]
    kernel, bias = (np.asarray(each) for each in model.get_layer("logits").weights)
    expected = ((hidden * real).sum(axis=1) / real.sum(axis=1)) @ kernel + bias
    found = np.asarray(model(tokens.astype(np.float32)))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    short = tokens[:, : int(real.sum(axis=1).max())]
    np.testing.assert_allclose(np.asarray(model(short)), expected, atol=1e-5)
    again = model_from_bytes(model_to_bytes(model))
    np.testing.assert_array_equal(np.asarray(again(tokens)), np.asarray(model(tokens)))


def test_all_networks_of_an_experiment_share_the_pretrained_ones_vocabulary() -> None:
    config = ExperimentConfig(
        dataset="languages", training_examples=300, labels=60, teacher=BERT, student="bag-16"
    )
    data = datasets.load(config)
    assert data.vocabulary == vocabulary_of(BERT, data.vocabulary.length)  # type: ignore[union-attr]
    plain = config.replace(teacher="transformer-1-32", vocabulary="")
    for step in ("student", "baseline", "teacher"):
        assert config.fingerprint(step) != plain.fingerprint(step)
    as_student = config.replace(teacher="transformer-1-32", student=BERT)
    assert as_student.vocabulary == config.vocabulary == pretrained.key(BERT)
    assert config.replace(teacher="transformer-1-32").vocabulary == "", "it followed its teacher"
    alone = ExperimentConfig(
        dataset="languages", teacher="bag-16", student="bag-8", vocabulary=BERT
    )
    assert alone.vocabulary == config.vocabulary
    assert config.replace(dataset="digits", teacher="mlp-8", student="mlp-4").vocabulary == ""
    with pytest.raises(ConfigError, match="vocabulary must be empty, or a pretrained network for"):
        alone.replace(vocabulary="hub-vit_here")
    assert plain.vocabulary == ""
    other = models.build("bag-16", data.input_shape, 15, seed=1, values=data.values)
    assert other.get_layer("token_embedding").input_dim == len(small.pieces())
    for stranger in (OTHER, DISTIL):
        same = vocabulary_of(stranger, 40) == vocabulary_of(BERT, 40)
        assert same == (stranger == DISTIL)
    with pytest.raises(ModelError, match=r"all networks.*share one"):
        models.build(OTHER, data.input_shape, 15, seed=1, values=data.values)
    with pytest.raises(ConfigError, match=r"teacher must be .*images"):
        ExperimentConfig(teacher=BERT)


def test_a_name_stands_for_the_content_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_hand: Path
) -> None:
    assert "hub-vit_here" in pretrained.at_hand(pretrained.IMAGES)
    assert pretrained.at_hand(pretrained.TEXTS) == sorted([BERT, OTHER, DISTIL])
    assert BERT in catalog.models_of(catalog.dataset_card("languages").task)
    folder = tmp_path / "presets" / "vit_mine"
    shutil.copytree(at_hand / "vit_here", folder)
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path))
    key = ExperimentConfig(student="hub-vit_mine").student
    assert key == pretrained.key("hub-vit_mine") == pretrained.key(key)
    models.build(key, (8, 8, 1), 10, seed=0)
    small.save_for_images(folder, "deit")
    assert pretrained.key("hub-vit_mine") != key
    with pytest.raises(ModelError, match=r"must hold what it held .* has changed"):
        models.build(key, (8, 8, 1), 10, seed=0)
    shutil.rmtree(folder)
    assert ExperimentConfig(student=key).student == key, "old experiments can still be read"
    with pytest.raises(ModelError, match="is not there: put it back"):
        models.build(key, (8, 8, 1), 10, seed=0)


def test_what_cannot_be_had_or_used_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_hand: Path
) -> None:
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path))
    with pytest.raises(ModelError, match=r"such as resnet_50_imagenet.*got 'resnet_5_imagenet'"):
        models.build("hub-resnet_5_imagenet", (8, 8, 1), 10)

    def no_network(preset: str, path: str) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr("keras_hub.src.utils.preset_utils.get_file", no_network)
    with pytest.raises(ModelError, match=r"no route to host. Without a network put its folder"):
        models.build("hub-resnet_50_imagenet", (8, 8, 1), 10)
    monkeypatch.undo()
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path))
    silent = tmp_path / "presets" / "resnet_silent"
    small.save_for_images(silent, "resnet", converter=False)
    with pytest.raises(ModelError, match="must say what values it expects"):
        models.build("hub-resnet_silent", (8, 8, 1), 10)
    config = json.loads((silent / "config.json").read_text())
    (silent / "config.json").write_text(json.dumps({**config, "registered_name": "evil>Own"}))
    with pytest.raises(ModelError, match="must be of one of KerasHub's classes"):
        models.build("hub-resnet_silent", (8, 8, 1), 10)
    (silent / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"resnet_silent/config.json cannot be read"):
        models.build("hub-resnet_silent", (8, 8, 1), 10)
    os.symlink(at_hand / "bert_small_here", tmp_path / "presets" / "no_images")
    with pytest.raises(ModelError, match="no_images must take one image"):
        models.build("hub-no_images", (8, 8, 1), 10)
    long = InputValues(tokens=5, vocabulary="x")
    os.symlink(at_hand / "bert_small_here", tmp_path / "presets" / "bert_short")
    with pytest.raises(ModelError, match="reads at most 48 tokens, and texts have 64"):
        models.build("hub-bert_short", (64,), 10, values=long)
    with pytest.raises(ModelError, match="needs images of one or three channels"):
        models.build("hub-vit_here", (13,), 3)
