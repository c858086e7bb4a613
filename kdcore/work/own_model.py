"""Taking in a model of a user's own, and looking at what it answers on labelled data."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdcore.analysis.brought_teacher import Examination, examine, keep_look
from kdcore.config.cards import ModelCard
from kdcore.config.catalog import dataset_card, dataset_key, own_model, short_name
from kdcore.data import datasets
from kdcore.data.datasets import Dataset
from kdcore.data.readers.answers import Answers, read_answers
from kdcore.errors import ConfigError, ModelError, require
from kdcore.models.answers import answers_model
from kdcore.models.own import adapt, describe, fetch_file, load_file, logits_of_file
from kdcore.storage import user_data, user_models
from kdcore.storage.arrays import pack_many, unpack_many
from kdcore.storage.schema import Job, UserModel
from kdcore.storage.store import Store, new_id
from kdcore.training.loop import Network

EXAMPLES_LOOKED_AT = 500


def model_job(store: Store, job: Job, check: Callable[[], None]) -> None:
    """Load an uploaded model, find out what it is, and store it under its name; refused in words
    otherwise.

    Then look at it on data: that of the payload's ``dataset``, or what is at hand and fits.

    The payload: ``upload``, ``file_name``, ``name``, ``inputs``, and where one of several outputs
    is meant ``output``; ``inputs_known`` says how the inputs are known, by default as the user
    said, ``divided_by`` the split seed and the training examples of a model
    that was trained here. Its key is then under ``model_report/<job id>``.
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
            card, file = _taken_in(path, payload)
        except (ConfigError, ModelError):
            user_data.drop_upload(store, upload["upload"])
            raise
        check()
        _keep(store, card, file)
    user_data.drop_upload(store, upload["upload"])
    store.put_artifact(f"model_report/{job.id}", card.key.encode())
    names = [payload["dataset"]] if payload.get("dataset") else _fitting(store, card)
    for number, name in enumerate(names):
        check()
        share = 0.5 + 0.5 * number / len(names)
        store.report(job.id, f"looking at its answers on {name}", share)
        _look_and_keep(store, card.key, name, *payload.get("divided_by", ()))


def _taken_in(path: Path, payload: dict[str, Any]) -> tuple[ModelCard, bytes]:
    """Return the card of an uploaded file, and what is stored of it."""
    name, inputs = payload["name"], payload["inputs"]
    output, dataset = payload.get("output", ""), payload.get("dataset", "")
    file = path.read_bytes()
    user_models.check_file(path, payload["file_name"])
    if user_models.file_format(payload["file_name"]) == "answers":
        return _answers_taken_in(path, name, dataset)
    digest = hashlib.sha256(file + (inputs + output).encode()).hexdigest()
    model = load_file(path, output, payload["file_name"])
    card = describe(name, f"{name}@{digest[:10]}", model, inputs, output)
    known = payload.get("inputs_known", card.inputs_known)
    return replace(card, inputs_known=known, vocabulary=payload.get("vocabulary", "")), file


def _answers_taken_in(path: Path, name: str, dataset: str) -> tuple[ModelCard, bytes]:
    """Return the card of a file of answers for a dataset, and its logits as they are stored."""
    require(bool(dataset), "dataset", "named: answers belong to the examples of one", dataset)
    key, card = dataset_key(dataset), dataset_card(dataset)
    loaded = datasets.load_named(key)
    own_test = None if loaded.test_is_drawn else len(loaded.test)
    examples = sum(map(len, (loaded.train, loaded.validation)))
    if own_test is None:
        examples += len(loaded.test)
    answers = read_answers(path, card.class_names, examples, own_test, datasets.load_ids(key))
    arrays = {"logits": answers.logits}
    if answers.test is not None:
        arrays["test"] = answers.test
    file = pack_many(arrays)
    digest = hashlib.sha256(file + key.encode()).hexdigest()
    known = "a file of answers"
    return (
        ModelCard(
            name,
            f"{name}@{digest[:10]}",
            card.input_shape,
            len(card.class_names),
            0,
            answers.words,
            "as they are",
            known,
            format="answers",
            dataset=key,
        ),
        file,
    )


def _keep(store: Store, card: ModelCard, file: bytes) -> None:
    """Store a model's card and its file."""
    prefix = f"own_model/{new_id()}"
    row = UserModel(
        key=card.key,
        name=card.title,
        digest=card.key.partition("@")[2],
        card=user_models.card_to_json(card),
        manifest={
            "prefix": prefix,
            "pieces": user_data.write_pieces(store, prefix, io.BytesIO(file)),
        },
        size=len(file),
    )
    user_data.add(store, row)


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


def _look_and_keep(
    store: Store,
    key: str,
    dataset: str,
    split_seed: int = 0,
    training_examples: int | None = None,
    vocabulary: str = "",
) -> None:
    found = look(key, datasets.load_named(dataset, split_seed, training_examples, vocabulary))
    keep_look(store, key, dataset_card(dataset).key or dataset, found)


def look(name: str, dataset: Dataset) -> Examination:
    """Run a model of a user's file on labelled validation examples, with its inputs as they are
    assumed and in the other ranges of its kind of data.

    Raises ModelError where it does not fit the data.
    """
    shown = dataset.validation
    inputs, labels = shown.inputs[:EXAMPLES_LOOKED_AT], shown.labels[:EXAMPLES_LOOKED_AT]
    brought = own_model(name)
    if brought is not None and brought.format == "answers":
        network = network_of_file(name, dataset)
        return examine({"as they are": network.logits(inputs)}, labels)
    logits, card = logits_of_file(name, dataset.classes)
    assumed, _ = user_models.inputs_of_data(card, dataset.input_shape)
    ranges = dataset_card(dataset.name).task.value_ranges
    answers = {}
    for each in dict.fromkeys((assumed, *ranges)):
        model = adapt(logits, dataset.input_shape, dataset.values, each)
        answers[each] = Network(model, dataset.scale).logits(inputs)
    return examine(answers, labels)


def network_of_file(name: str, dataset: Dataset, inputs: str | None = None) -> Network:
    """Return the trained network of a user's file for a dataset, its inputs in the range ``inputs``
    or as its card says; or a file of answers as one.

    Raises ModelError where it does not fit the data, or is gone.
    """
    brought = own_model(name)
    if brought is not None and brought.format == "answers":
        arrays = unpack_many(fetch_file(name)[0])
        answers = Answers(arrays["logits"], arrays.get("test"), brought.output)
        return Network(answers_model(answers, dataset), dataset.scale)
    logits, card = logits_of_file(name, dataset.classes)
    here = dataset.vocabulary.digest if dataset.vocabulary is not None else ""
    if here and card.vocabulary and here != card.vocabulary:
        raise ModelError(
            f"the model {short_name(name)} was trained with another vocabulary than these training texts give: "
            "take the dataset, training examples, split seed and vocabulary that it was trained with"
        )
    if inputs is None:
        inputs, _ = user_models.inputs_of_data(card, dataset.input_shape)
    return Network(adapt(logits, dataset.input_shape, dataset.values, inputs), dataset.scale)
