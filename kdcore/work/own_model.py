"""Taking in a model of a user's own, and looking at what it answers on labelled data."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from kdcore.analysis.brought_teacher import Examination, examine, keep_look
from kdcore.config.catalog import ModelCard, dataset_card, own_model
from kdcore.data import datasets
from kdcore.data.datasets import Dataset
from kdcore.errors import ConfigError, ModelError, require
from kdcore.models.own import adapt, describe, load_file, logits_of_file
from kdcore.storage import user_data, user_models
from kdcore.storage.schema import Job, UserModel
from kdcore.storage.store import Store, new_id
from kdcore.training.loop import Network

EXAMPLES_LOOKED_AT = 500


def model_job(store: Store, job: Job, check: Callable[[], None]) -> None:
    """Load an uploaded ``.keras`` or ONNX file, find out what it is, and store it under its name;
    refused in words otherwise.

    Then look at it on data: that of the payload's ``dataset``, or what is at hand and fits.

    The payload: ``upload``, ``file_name``, ``name``, ``inputs``, and where one of several outputs
    is meant ``output``. Its key is then under ``model_report/<job id>``.
    """
    payload, upload = job.payload, job.payload["upload"]
    user_models.check_name(payload["name"])
    if payload.get("dataset"):
        dataset_card(payload["dataset"])  # refused before the file is read
    with tempfile.TemporaryDirectory(prefix="kdlab-") as folder:
        path = Path(folder) / f"model{Path(payload['file_name']).suffix.lower()}"
        store.report(job.id, "loading the model, in safe mode", 0.2)
        user_data.fetch_upload(store, upload, path)
        check()
        try:
            model = load_file(path, payload.get("output", ""), payload["file_name"])
            card = _add(store, path, model, payload)
        except (ConfigError, ModelError):
            user_data.drop_upload(store, upload["upload"])
            raise
        check()
    user_data.drop_upload(store, upload["upload"])
    store.put_artifact(f"model_report/{job.id}", card.key.encode())
    names = [payload["dataset"]] if payload.get("dataset") else _fitting(store, card)
    for number, name in enumerate(names):
        check()
        share = 0.5 + 0.5 * number / len(names)
        store.report(job.id, f"looking at its answers on {name}", share)
        _look_and_keep(store, card.key, name)


def _add(store: Store, path: Path, model: keras.Model, payload: dict[str, Any]) -> ModelCard:
    """Describe the model of a file and store both; returns its card."""
    name, inputs, output = payload["name"], payload["inputs"], payload.get("output", "")
    digest = hashlib.sha256(path.read_bytes() + (inputs + output).encode()).hexdigest()
    key = f"{name}@{digest[:10]}"
    card = describe(name, key, model, inputs, output)
    prefix = f"own_model/{new_id()}"
    with path.open("rb") as file:
        pieces = user_data.write_pieces(store, prefix, file)
    row = UserModel(
        key=key,
        name=name,
        digest=digest,
        card=user_models.card_to_json(card),
        manifest={"prefix": prefix, "pieces": pieces},
        size=path.stat().st_size,
    )
    user_data.add(store, row)
    return card


def _fitting(store: Store, card: ModelCard) -> list[str]:
    """Return the datasets at hand that a model can be looked at on, the user's own first."""
    own = store.user_datasets()
    at_hand = [*own, *datasets.built_in_at_hand()]
    return [name for name in at_hand if user_models.fits(card, dataset_card(name))][
        : user_models.MOST_LOOKS
    ]


def look_job(store: Store, job: Job, check: Callable[[], None]) -> None:
    """Look at the payload's ``model`` on its ``dataset``."""
    name, dataset = job.payload["model"], job.payload["dataset"]
    card = own_model(name)
    require(card is not None and card.kind == "file", "model", "a file that was added", name)
    check()
    store.report(job.id, f"looking at its answers on {dataset}", 0.1)
    assert card is not None, "it was required"
    _look_and_keep(store, card.key, dataset)


def _look_and_keep(store: Store, key: str, dataset: str) -> None:
    found = look(key, datasets.load_named(dataset))
    keep_look(store, key, dataset_card(dataset).key or dataset, found)


def look(name: str, dataset: Dataset) -> Examination:
    """Run a model of a user's file on labelled validation examples, with its inputs as they are
    assumed and in the other ranges of its kind of data.

    Raises ModelError where it does not fit the data.
    """
    shown = dataset.validation
    inputs, labels = shown.inputs[:EXAMPLES_LOOKED_AT], shown.labels[:EXAMPLES_LOOKED_AT]
    logits, card = logits_of_file(name, dataset.classes)
    assumed, _ = user_models.inputs_of_data(card, dataset.input_shape)
    ranges = dataset_card(dataset.name).task.value_ranges
    answers = {}
    for each in dict.fromkeys((assumed, *ranges)):
        model = adapt(logits, dataset.input_shape, dataset.values, each)
        answers[each] = Network(model, dataset.scale).logits(inputs)
    return examine(answers, labels)
