"""What is measured of a trained model, and how its weights and logits get into the store."""

from __future__ import annotations

import hashlib
import importlib
import platform
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kdcore.analysis import metrics
from kdcore.config.catalog import dataset_card
from kdcore.data.datasets import Dataset, Split
from kdcore.errors import ModelError
from kdcore.methods.distillation_token import TOKEN_HEADS
from kdcore.models.families import multiply_accumulates
from kdcore.models.token_heads import both_heads, has_token_heads
from kdcore.storage.arrays import pack, pack_many
from kdcore.storage.store import Store
from kdcore.tasks.text import as_bytes, padded
from kdcore.training.loop import Network
from kdcore.version import __version__

# The gallery of the temperature page shows this many test examples; figures are always over all of
# them.
STORED_TEST_IMAGES = 2_000


class ValidationProbe:
    """Evaluates a network on validation data and probe examples.

    What MetricStream asks at an epoch's end.
    """

    def __init__(self, network: Network, dataset: Dataset) -> None:
        self.network, self.dataset = network, dataset

    def validation(self) -> dict[str, float]:
        """Return ``loss`` (mean cross-entropy, nats) and ``accuracy`` (fraction) on the validation
        examples.
        """
        return measures(self.network, self.dataset.validation)

    def probe_logits(self) -> NDArray[np.float32]:
        """Return logits [examples, classes] of the probe examples."""
        return self.network.logits(self.dataset.probe.inputs)


def measures(network: Network, split: Split) -> dict[str, float]:
    """Return ``loss`` (mean cross-entropy, nats) and ``accuracy`` (fraction) of a network on a
    split.
    """
    logits = network.logits(split.inputs)
    loss = metrics.negative_log_likelihood(logits, split.labels)
    return {"loss": loss, "hard_loss": loss, "accuracy": metrics.accuracy(logits, split.labels)}


def store_examples(store: Store, dataset: Dataset) -> str:
    """Put the examples that pages show into the store, once a dataset; returns the dataset's key.

    ``examples/<key>/probe``, ``/validation`` and ``/test`` hold ``labels`` and, but for validation,
    ``images``; those of a table are bars, and ``features``, ``centre`` and ``spread`` say what is
    behind them; those of texts are texts, and ``/vocabulary`` makes tokens of others.
    """
    key = f"examples/{dataset.fingerprint}"
    if not store.has_artifact(f"{key}/test"):
        probe, shown = dataset.probe, slice(STORED_TEST_IMAGES)
        test = replace(
            dataset.test,
            inputs=dataset.test.inputs[shown],
            labels=dataset.test.labels[shown],
            rows=dataset.test.rows[shown],
            texts=None if dataset.test.texts is None else dataset.test.texts[shown],
        )
        images = {
            name: display_images(dataset, split)
            for name, split in (("probe", probe), ("test", test))
        }
        if dataset.vocabulary is not None:
            store.put_artifact(f"{key}/vocabulary", dataset.vocabulary.definition.encode())
        store.put_artifacts(
            {
                f"{key}/probe": pack_many(
                    {"images": images["probe"], "labels": probe.labels, **features(dataset, probe)}
                ),
                f"{key}/validation": pack_many({"labels": dataset.validation.labels}),
                f"{key}/test": pack_many(
                    {
                        "images": images["test"],
                        "labels": dataset.test.labels,
                        **features(dataset, test),
                    },
                    compress=True,
                ),
            }
        )
    return dataset.fingerprint


def display_images(dataset: Dataset, split: Split) -> NDArray:
    """Return a split's inputs as pictures [n, height, width, channels] of 0 to 255.

    Rows of a table as bars, texts [n] as they are.
    """
    card = dataset_card(dataset.name)
    raw = split.inputs if split.texts is None else split.texts
    return card.task.show(raw, dataset.train.inputs, dataset.scale, card.value_range)


def training_examples(dataset: Dataset, rows: NDArray) -> Split:
    """Return some examples of the training part, to be shown; texts as their tokens say them."""
    train = dataset.train
    texts = None
    if dataset.vocabulary is not None:
        texts = padded([as_bytes(dataset.vocabulary.decode(each)) for each in train.inputs[rows]])
    return Split(train.inputs[rows], train.labels[rows], train.rows[rows], texts)


def features(dataset: Dataset, split: Split) -> dict[str, NDArray]:
    """Return what a page needs to say what a row of a table holds, in its own units.

    Nothing for images.
    """
    if dataset.centre is None or dataset.spread is None:
        return {}
    train = dataset.train.inputs * dataset.spread + dataset.centre
    values = split.inputs * dataset.spread + dataset.centre
    about = {"features": values, "centre": train.mean(axis=0), "spread": train.std(axis=0)}
    return {name: array.astype(np.float32) for name, array in about.items()}


def evaluate(store: Store, run_id: str, network: Network, dataset: Dataset) -> dict[str, Any]:
    """Measure a trained network on validation and test data and keep its logits.

    Returns the run's summary.
    """
    logits = {
        name: network.logits(getattr(dataset, name).inputs) for name in ("validation", "test")
    }
    store.put_artifacts(
        {f"logits/{run_id}/{name}": pack(values) for name, values in logits.items()}
    )
    test, labels = logits["test"], dataset.test.labels
    heads = _heads_apart(store, run_id, network, dataset)
    return {
        **({"heads": heads} if heads else {}),
        "dataset": dataset.fingerprint,
        "validation_accuracy": metrics.accuracy(logits["validation"], dataset.validation.labels),
        "test_accuracy": metrics.accuracy(test, labels),
        "test_correct": int(np.sum(test.argmax(axis=1) == labels)),
        "test_examples": len(labels),
        "test_loss": metrics.negative_log_likelihood(test, labels),
        "test_calibration_error": metrics.expected_calibration_error(test, labels),
        # Of what runs in a file of another kind, nothing is known.
        "multiply_accumulates": multiply_accumulates(network.model, dataset.input_shape[0]) or None,
    }


def _heads_apart(
    store: Store, run_id: str, network: Network, dataset: Dataset
) -> dict[str, dict[str, float]]:
    """Measure the heads of a network with two tokens apart and keep their logits on test data."""
    if not has_token_heads(network.model):
        return {}
    apart = Network(both_heads(network.model), network.scale)
    found: dict[str, dict[str, float]] = {name: {} for name in TOKEN_HEADS}
    for split in ("validation", "test"):
        data: Split = getattr(dataset, split)
        answers = apart.logits(data.inputs)
        for at, name in enumerate(TOKEN_HEADS):
            of_head = np.ascontiguousarray(answers[:, at])
            found[name][f"{split}_accuracy"] = metrics.accuracy(of_head, data.labels)
            if split == "test":
                store.put_artifact(f"logits/{run_id}/test/{name}", pack(of_head))
    return found


def versions() -> dict[str, str]:
    """Return the versions of all that a result depends on, in this process: what a run records when
    it is trained.
    """
    backend = keras.backend.backend()
    packages = {
        name: str(importlib.import_module(name).__version__) for name in ("keras", backend, "numpy")
    }
    return {"kdcore": __version__, "python": platform.python_version(), **packages}


def model_to_bytes(model: keras.Model) -> bytes:
    """Return a model as the bytes of a .keras file, without its optimizer: that holds twice the
    weights once more.

    So a baseline's file is as large as that of its distilled twin, which never had an optimizer of
    its own.
    """
    data = _saved(model)
    return _saved(model_from_bytes(data)) if getattr(model, "optimizer", None) is not None else data


def _saved(model: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()


def model_from_bytes(data: bytes) -> keras.Model:
    """Load a .keras file in safe mode, without its training state.

    Raises ModelError for anything else.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(data)
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises whatever the file makes its layers raise
            raise ModelError(f"the model file cannot be loaded: {error}") from error


def weights_digest(model: keras.Model) -> str:
    """Return a hex digest of all weights: two models of one architecture with equal digests answer
    alike.
    """
    digest = hashlib.sha256()
    for layer_weights in model.get_weights():
        digest.update(np.ascontiguousarray(layer_weights).data)
    return digest.hexdigest()[:32]
