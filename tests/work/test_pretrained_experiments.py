"""Experiments with pretrained networks: trained, stopped, resumed, looked into, and taken away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from kdcore.analysis import results
from kdcore.analysis.attention import attention_of
from kdcore.cli import main
from kdcore.config import pretrained
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.engine.jobs import run_job
from kdcore.engine.predictions import from_text, vocabulary_of
from kdcore.errors import StopRequested
from kdcore.models import pretrained as built
from kdcore.storage.store import Store
from kdcore.takeaway.downloads import bundle, exports, request
from kdcore.tasks.text import texts_of
from kdcore.work.experiment import run_experiment
from kdcore.work.outcome import run
from tests.support import pretrained as small

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tf2onnx"),
]
BERT, DEIT, RESNET = "hub-bert_small_here", "hub-deit_here", "hub-resnet_here"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    small.save_bert(data / "presets" / "bert_small_here")
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
    }
    return ExperimentConfig(**{**settings, **changed})


@pytest.mark.parametrize("settings", [of_texts, of_images])
def test_a_stopped_training_goes_on_to_the_bit(store: Store, tmp_path: Path, settings: Any) -> None:
    whole = run(settings(), store=store, progress=False)
    other = Store(f"sqlite:///{tmp_path}/other.db")
    stopped = other.create(settings())
    checks = 0

    def stop() -> None:
        nonlocal checks
        checks += 1
        if checks == 15:
            raise StopRequested

    with pytest.raises(StopRequested):
        run_experiment(other, stopped, check=stop)
    run_experiment(other, stopped)
    for role in ("teacher", "student", "baseline"):
        one, two = (
            results.logits(each, results.load_results(each, number).runs(role)[0], "test")
            for each, number in ((store, whole.experiment_id), (other, stopped))
        )
        np.testing.assert_array_equal(one, two)


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


def test_where_a_pretrained_student_looks_is_kept_with_both_of_its_heads(store: Store) -> None:
    outcome = run(of_images(), store=store, progress=False)
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
    assert f"on this machine: {DEIT}, {RESNET}, {BERT}" in said.output
