"""Splits are seeded, disjoint and stratified; what cannot be loaded is explained."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdcore.config.catalog import DATASETS
from kdcore.config.experiment import ExperimentConfig
from kdcore.data import datasets
from kdcore.errors import DatasetError

REAL_DATA = Path(os.environ.get("KD_DATA_DIR", "no such folder"))


def rows(split: datasets.Split) -> set[bytes]:
    return {example.tobytes() for example in split.inputs}


def test_digits_are_the_real_ones_split_three_ways() -> None:
    from sklearn.datasets import load_digits

    data = datasets.load(ExperimentConfig())
    sizes = (len(data.train), len(data.validation), len(data.test))
    card = DATASETS["digits"]
    assert sizes == (card.training_examples, card.validation_examples, card.test_examples)
    assert sum(sizes) == 1797
    everything = np.concatenate([data.train.inputs, data.validation.inputs, data.test.inputs])[
        ..., 0
    ]
    real = load_digits().images
    assert np.array_equal(
        np.sort(everything.reshape(1797, -1), axis=0), np.sort(real.reshape(1797, -1), axis=0)
    )
    shared = rows(data.train) & rows(data.test)
    assert len(shared) <= 1, "splits may share an example only where the source holds it twice"
    assert data.input_shape == (8, 8, 1)
    assert float((data.train.inputs * data.scale).max()) == 1.0


def test_the_split_follows_its_seed() -> None:
    first, again, other = (datasets._load.__wrapped__("digits", seed, None) for seed in (0, 0, 1))
    assert np.array_equal(first.test.inputs, again.test.inputs)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert not np.array_equal(first.test.inputs, other.test.inputs)


def test_fewer_training_examples_leave_validation_and_test_alone() -> None:
    whole = datasets.load(ExperimentConfig())
    part = datasets.load(ExperimentConfig(training_examples=200))
    assert len(part.train) == 200
    assert np.array_equal(part.test.inputs, whole.test.inputs)
    assert np.array_equal(part.validation.inputs, whole.validation.inputs)


labels_arrays = arrays(np.int64, st.integers(5, 60), elements=st.integers(0, 4))


@given(labels_arrays, st.integers(0, 5))
@settings(deadline=None, max_examples=100)
def test_every_beginning_of_the_stratified_order_has_all_classes_in_proportion(
    labels: np.ndarray, seed: int
) -> None:
    order = datasets.stratified_order(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    present = set(labels)
    assert set(labels[order[: len(present)]]) == present
    for size in range(len(present), len(labels) + 1):
        counts = np.bincount(labels[order[:size]], minlength=5)
        wanted = np.bincount(labels, minlength=5) * size / len(labels)
        assert np.all(np.abs(counts - wanted) <= len(present) + 1)


def test_label_budgets_are_nested_seeded_and_sorted() -> None:
    data = datasets.load(ExperimentConfig())
    few, many = datasets.labelled_rows(data, 50, 0), datasets.labelled_rows(data, 100, 0)
    assert len(few) == 50
    assert set(few) < set(many)
    assert list(many) == sorted(many)
    assert set(many) != set(datasets.labelled_rows(data, 100, 1))
    assert np.bincount(data.train.labels[many]).tolist() == [10] * 10
    assert len(datasets.labelled_rows(data, None, 0)) == len(data.train)


def test_no_network_is_explained_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import keras

    def fail() -> None:
        raise Exception("URL fetch failure on https://example.org: no network")

    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    with pytest.raises(DatasetError, match=r"mnist\.npz .* KD_DATA_DIR .* digits"):
        datasets.load_mnist()


def test_a_bad_local_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path))
    (tmp_path / "mnist.npz").write_bytes(b"broken")
    with pytest.raises(DatasetError, match=r"mnist\.npz is not a dataset"):
        datasets.load_mnist()


def test_a_local_file_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images, labels = np.full((4, 28, 28), 7, np.uint8), np.arange(4)
    np.savez(
        tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2]
    )
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path))
    raw = datasets.load_mnist()
    assert raw.inputs.shape == (4, 28, 28, 1)
    assert raw.test_labels is not None
    assert raw.test_labels.tolist() == [0, 1]


@pytest.mark.skipif(not (REAL_DATA / "mnist.npz").exists(), reason="KD_DATA_DIR holds no mnist.npz")
def test_real_mnist_loads_whole() -> None:
    data = datasets.load(ExperimentConfig(dataset="mnist"))
    assert (len(data.train), len(data.validation), len(data.test)) == (55_000, 5_000, 10_000)
    # Properties of the published test set.
    assert np.bincount(data.test.labels).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
