"""Real data that a user brings, trained on for real: MNIST as arrays, CIFAR as an image folder,
wine as a table.
"""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_wine

from kdcore.analysis.results import correct, example_in_words, examples, load_results
from kdcore.config.catalog import dataset_card
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import ingest
from kdcore.storage.store import Store
from kdcore.work.experiment import run_experiment

# Keras 3.15 reads variables in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

REAL_DATA = Path(os.environ.get("KD_DATA_DIR", "no such folder"))
TINY = {"epochs": 2, "teacher_epochs": 2, "seeds": 1}


def trained(store: Store, config: ExperimentConfig) -> str:
    experiment = store.create(config)
    run_experiment(store, experiment)
    results = load_results(store, experiment)
    data = dataset_card(config.dataset)
    for role in ("teacher", "student", "baseline"):
        run = results.runs(role)[0]
        assert run.finished_at is not None
        assert run.summary["test_examples"] == data.test_examples == len(correct(store, run))
        assert correct(store, run).mean() == pytest.approx(run.summary["test_accuracy"])
    return experiment


def test_wine_is_learnt_by_dense_networks_and_shown_as_bars(store: Store, tmp_path: Path) -> None:
    load_wine(as_frame=True).frame.to_csv(tmp_path / "wine.csv", index=False)
    ingest.add(store, "wine", tmp_path / "wine.csv")
    config = ExperimentConfig(
        dataset="wine",
        labels=20,
        teacher="mlp-64",
        student="mlp-8",
        **{**TINY, "teacher_epochs": 15},
    )
    experiment = trained(store, config)
    assert load_results(store, experiment).accuracies("teacher")[0] > 0.85, (
        "the features are scaled and the labels right"
    )
    key = store.experiment(experiment).dataset_key
    assert key is not None
    shown = examples(store, key, "test")
    count = dataset_card(config.dataset).test_examples
    assert shown["images"].shape[0] == len(shown["labels"]) == count
    assert shown["images"].dtype == np.uint8
    assert {tuple(np.round(row, 2)) for row in shown["features"]} <= {
        tuple(np.round(row, 2)) for row in load_wine().data.astype(np.float32)
    }
    words = example_in_words(shown, 0, dataset_card(config.dataset).feature_names)
    assert words.count(",") == 5
    assert any(name in words for name in load_wine().feature_names)


@pytest.mark.skipif(not (REAL_DATA / "mnist.npz").exists(), reason="KD_DATA_DIR holds no mnist.npz")
def test_mnist_as_arrays_is_the_built_in_mnist(store: Store) -> None:
    ingest.add(store, "my-mnist", REAL_DATA / "mnist.npz")
    config = ExperimentConfig(
        dataset="my-mnist",
        training_examples=600,
        labels=100,
        teacher="conv-8-16",
        student="mlp-8",
        **TINY,
    )
    experiment = trained(store, config)
    assert load_results(store, experiment).accuracies("teacher")[0] > 0.6
    built_in, own = (dataset_card(name) for name in ("mnist", "my-mnist"))
    assert (own.training_examples, own.validation_examples) == (
        built_in.training_examples,
        built_in.validation_examples,
    )


@pytest.mark.skipif(
    not (REAL_DATA / "cifar10_12k.zip").exists(), reason="KD_DATA_DIR holds no cifar10_12k.zip"
)
def test_cifar_as_an_image_folder_with_a_resnet_teacher(store: Store, tmp_path: Path) -> None:
    """The zip's own files, 40 + 10 of each class; test_ingest reads all 12,000."""
    with (
        zipfile.ZipFile(REAL_DATA / "cifar10_12k.zip") as whole,
        zipfile.ZipFile(tmp_path / "part.zip", "w") as part,
    ):
        for name in whole.namelist():
            if int(Path(name).stem) < (40 if "/train/" in name else 10):
                part.writestr(name, whole.read(name))
    ingest.add(store, "cifar", tmp_path / "part.zip")
    config = ExperimentConfig(
        dataset="cifar", labels=100, teacher="resnet-8-4", student="conv-4-8", **TINY
    )
    experiment = trained(store, config)
    key = store.experiment(experiment).dataset_key
    assert key is not None
    shown = examples(store, key, "test")
    assert shown["images"].shape == (100, 32, 32, 3)
    assert 60 < shown["images"].mean() < 180, "pictures as they were"
