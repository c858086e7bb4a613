"""Experiments with pretrained networks: trained, stopped, resumed, looked into, and taken away."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from keras_hub.models import Backbone, BertBackbone

from kdcore.analysis import results
from kdcore.analysis.attention import attention_of
from kdcore.analysis.layer_starts import LayerStarts, layer_starts
from kdcore.analysis.masked_words import riddle
from kdcore.cli import main
from kdcore.config import pretrained
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sweep import Axis, SweepConfig
from kdcore.data import datasets
from kdcore.engine.jobs import run_job
from kdcore.engine.predictions import from_text, vocabulary_of
from kdcore.errors import ConfigError, TrainingError
from kdcore.models import pretrained as built
from kdcore.plans.pretraining import Pretraining
from kdcore.storage.store import Store
from kdcore.sweeps.speed import training_time
from kdcore.takeaway.downloads import bundle, exports, request
from kdcore.takeaway.reproduce import command
from kdcore.tasks.text import texts_of
from kdcore.tasks.vocabulary import TokenNumbers
from kdcore.training.evaluation import model_from_bytes
from kdcore.training.language_model import LanguageModel
from kdcore.work.outcome import Outcome, run
from kdcore.work.pretraining import guessed_words, language_model_of
from tests.support import pretrained as small
from tests.support.stops import assert_goes_on_to_the_bit

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tf2onnx"),
]
BERT, DEIT, RESNET = "hub-bert_small_here", "hub-deit_here", "hub-resnet_here"
DEEPER, OTHER = "hub-bert_deeper_here", "hub-bert_other_here"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    small.save_bert(data / "presets" / "bert_small_here")
    small.save_bert(data / "presets" / "bert_deeper_here", depth=4)
    small.save_bert(data / "presets" / "bert_other_here", first=("zz",))
    for kind in ("deit", "resnet"):
        small.save_for_images(data / "presets" / f"{kind}_here", kind)
    return data


@pytest.fixture(autouse=True)
def at_hand(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_DATA_DIR", str(saved))


def of_texts(**changed: Any) -> ExperimentConfig:
    settings = {
        "dataset": "languages",
        "training_examples": 600,
        "labels": 150,
        "teacher": BERT,
        "student": "bag-16",
        "teacher_epochs": 2,
        "epochs": 2,
        "seeds": 1,
        "batch_size": 50,
        "optimizer": "sgd",  # traced in half the time of Adam
    }
    return ExperimentConfig(**{**settings, **changed})


def of_images(**changed: Any) -> ExperimentConfig:
    settings = {
        "training_examples": 200,
        "labels": 100,
        "teacher": RESNET,
        "student": DEIT,
        "method": "distillation_token",
        "teacher_epochs": 1,
        "epochs": 2,
        "seeds": 1,
        "optimizer": "sgd",
    }
    return ExperimentConfig(**{**settings, **changed})


@pytest.fixture(scope="module")
def trained_on_images(
    saved: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, Outcome]:
    """An experiment on images, trained once; to be read only."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('images')}/store.db")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("KD_DATA_DIR", str(saved))
        return store, run(of_images(), store=store, progress=False)


def test_a_stopped_training_on_texts_goes_on_to_the_bit(store: Store, tmp_path: Path) -> None:
    whole = run(of_texts(), store=store, progress=False)
    other = Store(f"sqlite:///{tmp_path}/other.db")
    assert_goes_on_to_the_bit(store, whole.experiment_id, other, ("teacher", "student", "baseline"))


def test_a_stopped_training_on_images_goes_on_to_the_bit(
    trained_on_images: tuple[Store, Outcome], store: Store
) -> None:
    trained, whole = trained_on_images
    roles = ("teacher", "student", "baseline")
    assert_goes_on_to_the_bit(trained, whole.experiment_id, store, roles)


def distilled(**changed: Any) -> ExperimentConfig:
    return of_texts(
        **{
            "plan": "distilbert",
            "teacher": DEEPER,
            "student": f"{DEEPER}-2",
            "pretraining_epochs": 1,
            **changed,
        }
    )


def test_a_pretrained_teacher_is_distilled_into_half_its_layers(store: Store) -> None:
    settings = distilled(learning_rate=1e-9, teacher_learning_rate=1e-9)
    assert settings.plan.values()["layers"] == "1,3"
    outcome = run(settings, store=store, progress=False)
    runs = {link.step: one for link, one in outcome.results.links}

    def model_of(step: str) -> Any:
        data = store.artifact(f"model/{runs[step].id}")
        assert data is not None
        return model_from_bytes(data)

    def encoder(step: str) -> Any:
        return model_of(step).get_layer("encoder")

    # With steps of almost no length all end where they began.
    teacher, student = encoder("teacher"), encoder("student")
    shared = ("token_embedding", "position_embedding", "segment_embedding", "embeddings_layer_norm")
    pairs = [
        (f"transformer_layer_{own}", f"transformer_layer_{at}") for own, at in ((0, 0), (1, 2))
    ]
    for own, its in [*zip(shared, shared, strict=True), *pairs]:
        for one, two in zip(
            student.get_layer(own).get_weights(), teacher.get_layer(its).get_weights(), strict=True
        ):
            np.testing.assert_allclose(one, two, atol=1e-6)
    pretrained_one = Backbone.from_preset(str(pretrained.folder_of(DEEPER)))
    for name in (*shared, *(f"transformer_layer_{at}" for at in range(4))):
        for one, two in zip(
            teacher.get_layer(name).get_weights(),
            pretrained_one.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_allclose(one, two, atol=1e-6)
    # Pre-trained alone it begins fresh, and so does the baseline.
    for step in ("pre-trained alone", "baseline"):
        fresh = encoder(step).get_layer("token_embedding").get_weights()[0]
        assert np.abs(fresh - student.get_layer("token_embedding").get_weights()[0]).max() > 0.01
    summary = runs["distilled language model"].summary
    assert 0 <= summary["test_masked_accuracy"] < 1
    # What is masked and guessed are tokens of its own vocabulary.
    dataset = datasets.load(settings)
    vocabulary = dataset.vocabulary
    assert vocabulary is not None
    trained = language_model_of(store, runs["language model"], model_of("language model"))
    words = guessed_words(LanguageModel(*trained, Pretraining(), vocabulary.numbers, 0), dataset)
    pieces = small.pieces()
    assert vocabulary.numbers == TokenNumbers(len(pieces), pieces.index("[MASK]"), 7)
    hidden = words.seen == pieces.index("[MASK]")
    assert hidden.any()
    assert (words.labels[hidden] >= 7).all()


def test_a_distillation_from_a_pretrained_teacher_goes_on_to_the_bit(
    store: Store, tmp_path: Path
) -> None:
    small_one = distilled(teacher=f"{DEEPER}-2", student=f"{DEEPER}-1")
    whole = run(small_one, store=store, progress=False)
    other = Store(f"sqlite:///{tmp_path}/other.db")
    assert_goes_on_to_the_bit(store, whole.experiment_id, other, ("teacher", "student", "baseline"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"student": "transformer-2-16"}, f"student must be {DEEPER} with its number of layers"),
        ({"student": DEEPER}, f"such as {DEEPER}-1"),
        ({"student": f"{BERT}-1"}, f"student must be {DEEPER} with its number of layers"),
        ({"student": f"{DEEPER}-5"}, f"student must be {DEEPER} with its number of layers"),
        ({"layers": "2,7"}, "layers must be empty, or 2 numbers from 1 to 4, got '2,7'"),
        ({"teacher": f"{DEEPER}-3", "student": f"{DEEPER}-4"}, "with at most 3"),
    ],
)
def test_a_student_that_cannot_start_from_its_teachers_layers_is_refused(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        distilled(**changed)


def test_layers_are_known_of_a_folder_and_of_bert_by_its_name(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pretrained.layers_of(DEEPER) == 4
    settings = distilled()
    assert layer_starts(settings) == LayerStarts(4, (0, 2))
    assert distilled(layers="2,4").plan.values()["layers"] == "2,4"
    monkeypatch.delenv("KD_DATA_DIR")
    again = ExperimentConfig.from_json(settings.to_json())
    assert again == settings, "what is stored is read without its folder"
    assert layer_starts(again) is None
    assert pretrained.layers_of("hub-bert_base_en_uncased") == 12
    assert pretrained.layers_of("hub-all_minilm_l6_v2_en") is None
    downloaded = distilled(teacher="hub-bert_base_en_uncased", student="hub-bert_base_en_uncased-6")
    assert downloaded.plan.values()["layers"] == "1,3,5,7,9,11"
    assert downloaded.vocabulary == "hub-bert_base_en_uncased@kerashub"
    for name, about in BertBackbone.presets.items():
        known = pretrained.layers_of(f"hub-{name}")
        said = re.match(r"(\d+)-layer", about["metadata"]["description"])
        if known is not None and said is not None:
            assert known == int(said[1]), name


def test_what_networks_fill_in_follows_them() -> None:
    filled = distilled()
    for changed in (
        {"student": f"{DEEPER}-1"},
        {"student": f"{DEEPER}-3"},
        {"layer_start": "off"},
        {"teacher": "transformer-6-64", "student": "transformer-2-64"},
        {"seed": 3},
    ):
        assert filled.replace(**changed) == distilled(**changed), changed
    plain = filled.replace(plan="distil", teacher="transformer-2-32", student="bag-16")
    assert plain == of_texts(teacher="transformer-2-32")
    typed = distilled(layers="2,4")
    assert typed.asked()["layers"] == "2,4"
    with pytest.raises(ConfigError, match="layers must be empty, or 1 numbers"):
        typed.replace(student=f"{DEEPER}-1")


def test_what_networks_filled_in_stays_where_they_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    filled = distilled()
    monkeypatch.delenv("KD_DATA_DIR")
    assert filled.asked() == filled.model_dump() | {"vocabulary": ""}
    assert filled.replace(seed=3).plan == filled.plan
    words = shlex.split(command(filled))
    assert words[words.index("--layers") + 1] == "1,3"


def test_a_vocabulary_is_that_of_a_network_that_reads_it() -> None:
    with pytest.raises(ConfigError, match=f"vocabulary must be empty, or {BERT}, whose tokens"):
        of_texts(vocabulary=DEEPER)
    assert of_texts(student=f"{DEEPER}-1", vocabulary=DEEPER).vocabulary == pretrained.key(DEEPER)


def test_a_sweep_names_pretrained_networks_by_their_content(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = (f"{DEEPER}-2", f"{DEEPER}-1", "bag-16")
    of_the_plan = SweepConfig(distilled(), (Axis("layer_start", ("on", "off")),))
    assert [cell["layer_start"] for cell in of_the_plan.combinations()] == ["on", "off"]
    base = of_texts(teacher=DEEPER)
    asked = SweepConfig(base, (Axis("student", names),))
    keys = tuple(pretrained.key(name) for name in names[:2])
    assert asked.axes[0].values == (*keys, "bag-16")
    prints = [asked.cell({"student": key}).fingerprint("student") for key in keys]
    stored = json.loads(json.dumps(asked.to_dict()))
    monkeypatch.delenv("KD_DATA_DIR")
    again = SweepConfig.from_dict(stored)
    assert [again.cell({"student": key}).fingerprint("student") for key in keys] == prints


def test_the_time_of_a_pretrained_recipe_can_be_measured(store: Store) -> None:
    needed = training_time(store, distilled()).unknown
    assert {config.teacher for role, config in needed if role == "teacher"} == {
        pretrained.key(name) for name in (DEEPER, f"{DEEPER}-2")
    }
    for _, config in needed:
        assert ExperimentConfig(**config.model_dump()) == config, "as the worker reads it"


@pytest.mark.parametrize(
    "changed",
    [
        {"plan": "noisy-student", "augmentation": "none", "student": f"{OTHER}-1"},
        {
            "plan": "distilbert",
            "teacher": DEEPER,
            "student": f"{OTHER}-1",
            "layer_start": "off",
            "hidden_weight": 0,
            "pretraining_epochs": 1,
        },
    ],
)
def test_networks_of_two_vocabularies_are_refused_before_anything_is_trained(
    store: Store, changed: dict[str, Any]
) -> None:
    settings = of_texts(**changed)
    with pytest.raises(TrainingError, match=r"all networks.*share one"):
        run(settings, store=store, progress=False)
    ((experiment, *_),) = store.experiments()
    assert store.metrics([one.id for _, one in store.runs_of(experiment.id)]).empty


def test_a_word_piece_is_guessed_right_as_it_is_in_the_vocabulary() -> None:
    vocabulary = built.vocabulary_of(pretrained.key(BERT), 40)
    asked = riddle("Zürich time of", vocabulary)
    assert (asked.answer, asked.token) == ("c", "##c")


def test_what_is_typed_is_read_as_the_pretrained_network_reads(store: Store) -> None:
    settings = of_texts(teacher_learning_rate=1e-4)
    outcome = run(settings, store=store, progress=False)
    key = outcome.results.experiment.dataset_key or ""
    vocabulary = vocabulary_of(store, key)
    assert vocabulary == built.vocabulary_of(pretrained.key(BERT), vocabulary.length)
    inputs = from_text(vocabulary, ["The Time OF écru"])
    assert vocabulary.decode(inputs[0]) == "the time of ecru"
    dataset = datasets.load(settings)
    for role in ("teacher", "student"):
        stored = results.logits(store, outcome.results.runs(role)[0], "test")
        answers = outcome.model(role)(dataset.test.inputs[:4].astype(np.float32))
        np.testing.assert_allclose(np.asarray(answers), stored[:4], atol=1e-4)
    # The teacher began with its own weights, and went on from them.
    fresh = built.build_for_texts((40,), 15, pretrained.key(BERT), dataset.values, "fresh")
    moved = [
        np.abs(one - two).mean() / np.abs(two).mean()
        for one, two in zip(
            outcome.model("teacher").get_layer("encoder").get_weights(),
            fresh.get_layer("encoder").get_weights(),
            strict=True,
        )
        if np.abs(two).mean() > 0.01
    ]
    assert 0 < np.median(moved) < 0.5


def test_features_of_a_pretrained_convolutional_network_teach(store: Store) -> None:
    settings = of_images(method="attention", student="conv-4-8")
    outcome = run(settings, store=store, progress=False)
    curves = outcome.curves()
    assert np.isfinite(curves[curves["role"] == "student"]["loss"]).any()


def test_where_a_pretrained_student_looks_is_kept_with_both_of_its_heads(
    trained_on_images: tuple[Store, Outcome],
) -> None:
    store, outcome = trained_on_images
    (student,) = outcome.results.runs("student")
    assert set(student.summary["heads"]) == {"class token", "distillation token"}
    maps = attention_of(store, student.id, 2)
    assert maps is not None
    assert maps.reach == (1.0, 1.0)
    assert set(maps.maps) == {"class token", "distillation token"}


def test_a_pretrained_student_leaves_with_its_own_tokens(store: Store, tmp_path: Path) -> None:
    settings = of_texts(teacher="bag-16", student=BERT, labels=600)
    outcome = run(settings, store=store, progress=False)
    (student,) = outcome.results.runs("student")
    formats = ("keras", "litert-float32", "onnx")
    assert run_job(store.url, request(store, student.id, formats)) == "finished"
    reports = {each.format: each.report for each in exports(store, student.id)}
    assert {name: report["reason"] for name, report in reports.items()} == dict.fromkeys(
        formats, ""
    )
    dataset, model = datasets.load(settings), outcome.model("student")
    assert dataset.test.texts is not None
    asked = texts_of(dataset.test.texts)[:3]
    logits = np.asarray(model(dataset.test.inputs[:3].astype(np.float32)))
    for name in formats:
        folder = tmp_path / name
        folder.mkdir()
        for file, data in bundle(store, student.id, name).items():
            (folder / file).write_bytes(data)
        command = [sys.executable, "run.py", *asked]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        for text, best in zip(asked, logits.argmax(axis=1), strict=True):
            assert f"{text!r}: {dataset.class_names[best]}" in done.stdout, name


def test_the_command_lists_those_on_this_machine(store: Store) -> None:
    said = CliRunner().invoke(main, ["--store", store.url, "model", "list"])
    assert said.exit_code == 0
    assert f"on this machine: {DEIT}, {RESNET}, {DEEPER}, {OTHER}, {BERT}" in said.output
