"""Datasets by name: loaded once, split by seed, the same arrays for every worker.

``KD_DATA_DIR`` is looked in first (for example ``mnist.npz`` with x_train, y_train, x_test,
y_test); then the files are fetched (see :mod:`kdcore.data.downloads`). To add a dataset: one
function that returns a :class:`RawData`, and one line in :data:`kdcore.config.catalog.DATASETS`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tarfile
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdcore.config.cards import DatasetCard
from kdcore.config.catalog import DATASETS, dataset_card, resolve, short_name
from kdcore.config.experiment import ExperimentConfig
from kdcore.config.sources import sources
from kdcore.data import reviews
from kdcore.data.downloads import Arrays, fetch
from kdcore.data.raw import RawData
from kdcore.errors import DatasetError
from kdcore.storage import user_data
from kdcore.storage.arrays import unpack
from kdcore.storage.store import Store
from kdcore.tasks.columns import Column, columns_from_json, filled, learn_fill
from kdcore.tasks.text import texts_of
from kdcore.tasks.values import InputValues
from kdcore.tasks.vocabulary import Tokens, Vocabulary, learn_vocabulary

PROBE_EXAMPLES = 64
EMBEDDED = ("digits", "languages")  # come with the packages


@dataclass(frozen=True)
class Split:
    """Examples of one part of a dataset: inputs [n, height, width, channels] as stored, labels [n]
    int32, and ``rows`` [n]: which examples of the source they are. ``texts`` [n, width] are the
    UTF-8 bytes that tokens come from. At the end of a training part, labels are -1 where the class
    is not known.
    """

    inputs: NDArray
    labels: NDArray[np.int32]
    rows: NDArray[np.int64]
    texts: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A dataset split three ways. Models see ``inputs * scale`` as float32.

    The features of a table are ``inputs * spread + centre`` in their own units; they come from
    ``columns``, and ``fill`` [features] is what a missing one is given. Inputs of texts are tokens
    of the ``vocabulary``.
    """

    name: str
    class_names: tuple[str, ...]
    scale: float
    train: Split
    validation: Split
    test: Split
    probe: Split
    fingerprint: str
    centre: NDArray | None = None
    spread: NDArray | None = None
    fill: NDArray[np.float64] | None = None
    columns: tuple[Column, ...] = ()
    vocabulary: Vocabulary | None = None
    test_is_drawn: bool = True  # from the same rows as the others; else a part of its own

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.train.inputs.shape[1:]

    @functools.cached_property
    def values(self) -> InputValues:
        """What values models see."""
        if self.vocabulary is not None:
            return InputValues(
                0.0,
                self.vocabulary.size - 1.0,
                tokens=self.vocabulary.size,
                vocabulary=self.vocabulary.digest,
            )
        low, high = dataset_card(self.name).value_range
        return InputValues(low, high, self.train.inputs, self.scale, self.centre, self.spread)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def load(config: ExperimentConfig) -> Dataset:
    """Return the dataset of a config, split by its seeds; raises DatasetError with the way out."""
    return load_named(
        config.dataset, config.split_seed, config.training_examples, config.vocabulary
    )


def load_named(
    name: str, split_seed: int = 0, training_examples: int | None = None, vocabulary: str = ""
) -> Dataset:
    """Return a dataset split by a seed, texts in tokens of the pretrained network that
    ``vocabulary`` names.

    Raises DatasetError with the way out, and ModelError where the network cannot be had.
    """
    return _load(name, split_seed, training_examples, vocabulary)


@functools.lru_cache(maxsize=2)  # a worker runs many experiments on the same data
def _load(
    name: str, split_seed: int, training_examples: int | None, pretrained: str = ""
) -> Dataset:
    card = dataset_card(name)
    raw: RawData = resolve(card.builder)() if card.builder else load_stored(card.key)
    _check_version(name)
    train, validation, test = _divide(raw, card, split_seed, training_examples)
    vocabulary = None
    train = _with_unlabelled(train, raw, card.unlabelled_among(training_examples), split_seed)
    if raw.tokens is not None:
        vocabulary = _vocabulary(train, raw.tokens, pretrained)
        train, validation, test = (
            _in_tokens(split, vocabulary) for split in (train, validation, test)
        )
        train = replace(train, texts=None)  # tokens are enough, and smaller
    fill = learn_fill(train.inputs, raw.columns, raw.missing)
    if fill is not None:
        train, validation, test = (
            replace(split, inputs=filled(split.inputs, fill)) for split in (train, validation, test)
        )
    centre, spread = card.task.learn(train.inputs, raw.per_feature)
    if centre is not None and spread is not None:
        train, validation, test = (
            replace(split, inputs=((split.inputs - centre) / spread).astype(np.float32))
            for split in (train, validation, test)
        )
    probe_rows = np.sort(stratified_order(validation.labels, split_seed)[:PROBE_EXAMPLES])
    probe = _take(validation.inputs, validation.labels, probe_rows)
    texts = None if validation.texts is None else validation.texts[probe_rows]
    probe = replace(probe, rows=validation.rows[probe_rows], texts=texts)
    fingerprint = hashlib.sha256(repr((name, raw.scale)).encode())
    if vocabulary is not None:
        fingerprint.update(vocabulary.definition.encode())
    for split in (train, validation, test):
        fingerprint.update(np.ascontiguousarray(split.inputs).data)
        fingerprint.update(split.labels.tobytes())
    return Dataset(
        name,
        card.class_names,
        raw.scale,
        train,
        validation,
        test,
        probe,
        fingerprint.hexdigest()[:32],
        centre,
        spread,
        fill,
        raw.columns,
        vocabulary,
        raw.parts is None and (raw.test_inputs is None or raw.test_labels is None),
    )


def _check_version(name: str) -> None:
    """Raise DatasetError for a built-in dataset of another version than the one that is here."""
    here = dataset_card(short_name(name)).key
    if short_name(name) in DATASETS and name not in (short_name(name), here):
        raise DatasetError(
            f"{name} was made by another version of its package than is installed, which makes {here}: "
            f"train anew on {short_name(name)}"
        )


def _divide(
    raw: RawData, card: DatasetCard, seed: int, training_examples: int | None
) -> tuple[Split, Split, Split]:
    """Return training, validation and test part: those that the source says, or drawn ones."""
    order = stratified_order(raw.labels, seed)
    if raw.parts is not None:
        # In an order in which any first ones have all classes, as where parts are drawn.
        rest, validation, test = (
            order[raw.parts[order] == part] for part in ("train", "validation", "test")
        )
        return (
            _take(raw.inputs, raw.labels, rest[: training_examples or len(rest)]),
            _take(raw.inputs, raw.labels, validation),
            _take(raw.inputs, raw.labels, test),
        )
    if raw.test_inputs is None or raw.test_labels is None:
        test_rows, order = order[: card.test_examples], order[card.test_examples :]
        test_part = _take(raw.inputs, raw.labels, test_rows)
    else:
        test_part = _take(raw.test_inputs, raw.test_labels, np.arange(len(raw.test_labels)))
    rest = order[card.validation_examples :]
    return (
        _take(raw.inputs, raw.labels, rest[: training_examples or len(rest)]),
        _take(raw.inputs, raw.labels, order[: card.validation_examples]),
        test_part,
    )


def _with_unlabelled(train: Split, raw: RawData, count: int, seed: int) -> Split:
    """Return a training part with ``count`` of the examples without a label behind the others.

    Their rows are counted on from those of the source's labelled examples.
    """
    if raw.unlabelled is None or not count:
        return train
    drawn = np.random.default_rng(seed).permutation(len(raw.unlabelled))[:count]
    rows = np.sort(drawn)
    return Split(
        np.concatenate([train.inputs, raw.unlabelled[rows]]),
        np.concatenate([train.labels, np.full(len(rows), -1, np.int32)]),
        np.concatenate([train.rows, len(raw.labels) + rows]),
    )


def _vocabulary(train: Split, tokens: Tokens, pretrained: str) -> Vocabulary:
    """Return the vocabulary of a pretrained network, or the one that the training part gives."""
    if pretrained:
        found: Vocabulary = resolve("kdcore.models.pretrained:vocabulary_of")(
            pretrained, tokens.length
        )
        return found
    return learn_vocabulary(texts_of(train.inputs), tokens)


def _in_tokens(split: Split, vocabulary: Vocabulary) -> Split:
    """Return a part of texts as tokens; the bytes stay with it, to be shown."""
    tokens = vocabulary.encode(texts_of(split.inputs))
    small = vocabulary.size <= np.iinfo(np.uint16).max
    return replace(
        split, inputs=tokens.astype(np.uint16 if small else np.int32), texts=split.inputs
    )


def stratified_order(labels: NDArray, seed: int) -> NDArray[np.int64]:
    """Return a seeded order of all examples in which every beginning has the classes in their
    proportions.

    The first examples are one of each class. Beginnings are nested: the first 50 are among the
    first 100.
    """
    generator = np.random.default_rng(seed)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        position[generator.permutation(members)] = (
            np.arange(len(members)) + generator.random()
        ) / len(members)
        first = members[np.argmin(position[members])]
        position[first] -= 1.0
    return np.argsort(position, kind="stable")


def labelled_rows(dataset: Dataset, labels: int | None, seed: int) -> NDArray[np.int64]:
    """Return which training examples keep their true label under a budget (all that have one for
    None), in rising order.
    """
    known = np.flatnonzero(dataset.train.labels >= 0)
    if labels is None or labels >= len(known):
        return known
    return known[np.sort(stratified_order(dataset.train.labels[known], seed)[:labels])]


def load_stored(key: str) -> RawData:
    """Return a user's dataset from the open store that holds it.

    Raises DatasetError where its data is gone.
    """
    for source in sources():
        if not isinstance(source, Store):
            continue
        row = user_data.find(source, key)
        if row is not None and row.removed_at is None:
            parts = {
                part: _read_part(source, row.manifest["prefix"], part, of)
                for part, of in row.manifest["parts"].items()
            }
            inputs, labels = parts["all"] if "all" in parts else parts["train"]
            test_inputs, test_labels = parts.get("test", (None, None))
            scaling = row.manifest["scaling"]
            return RawData(
                inputs,
                labels,
                row.manifest["scale"],
                test_inputs,
                test_labels,
                scaling,
                columns_from_json(row.manifest.get("columns", [])),
                row.manifest.get("missing", "refuse"),
                tokens=Tokens(**row.manifest["tokens"]) if row.manifest.get("tokens") else None,
                unlabelled=parts["unlabelled"][0] if "unlabelled" in parts else None,
            )
    raise DatasetError(
        f"the data of {key} has been removed from the store: add the same file again "
        f"(python -m kdcore data add {short_name(key)} FILE), and resume"
    )


def load_ids(key: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return what others may call the examples of a user's dataset: values by column, or files'
    names under "file", in the order of its rows, and the same of a test part of its own.

    Nothing for built-in data, and for what was stored before ids were kept.
    """
    for source in sources():
        if not isinstance(source, Store):
            continue
        row = user_data.find(source, key)
        if row is not None and row.removed_at is None:
            parts = {
                part: user_data.read_ids(source, row.manifest["prefix"], part, about)
                for part, about in row.manifest["parts"].items()
            }
            first = parts.get("all") or parts.get("train", {})
            if "unlabelled" in parts:  # their rows stand behind the labelled ones
                behind = parts["unlabelled"]
                first = {
                    name: [*ids, *behind[name]] for name, ids in first.items() if name in behind
                }
            return first, parts.get("test", {})
    return {}, {}


def _read_part(
    store: Store, prefix: str, part: str, about: dict[str, int]
) -> tuple[NDArray, NDArray]:
    """Return inputs and labels of a part.

    The inputs lie in a file without a name: not in memory until they are used.
    """
    labels = store.artifact(f"{prefix}/{part}/labels")
    if labels is None:
        raise DatasetError(f"the labels of {prefix}/{part} are no longer in the store")
    inputs: NDArray | None = None
    done = 0
    for piece in map(unpack, user_data.read_pieces(store, f"{prefix}/{part}", about["pieces"])):
        if inputs is None:
            with tempfile.TemporaryFile(prefix="kdlab-") as file:
                inputs = np.memmap(
                    file, piece.dtype, "w+", shape=(about["examples"], *piece.shape[1:])
                )
        inputs[done : done + len(piece)] = piece
        done += len(piece)
    assert inputs is not None, "a stored part has examples"
    return inputs, unpack(labels)


def load_digits() -> RawData:
    """Return scikit-learn's 1,797 handwritten digits of 8x8 pixels, which need no download."""
    from sklearn.datasets import load_digits as load

    bunch = load()
    return RawData(bunch.images.astype(np.uint8)[..., np.newaxis], bunch.target, 1 / 16)


def load_mnist() -> RawData:
    """Return MNIST: 60,000 and 10,000 digits of 28x28 pixels (LeCun et al. 1998)."""
    return _images("mnist")


def load_fashion_mnist() -> RawData:
    """Return Fashion-MNIST: 60,000 and 10,000 pictures of clothes, 28x28 pixels (Xiao et al.

    2017).
    """
    return _images("fashion_mnist")


def load_cifar10() -> RawData:
    """Return CIFAR-10: 50,000 and 10,000 colour pictures of 32x32 pixels (Krizhevsky 2009)."""
    return _images("cifar10")


def load_imdb() -> RawData:
    """Return 25,000 and 25,000 film reviews, liked or not (Maas et al. 2011)."""
    folder = os.environ.get("KD_DATA_DIR")
    local = Path(folder) / reviews.ARCHIVE if folder else None
    if local is None or not local.exists():
        train, test = fetch("imdb")
    else:
        try:
            train, test = reviews.read_reviews([local])
        except (OSError, ValueError, EOFError, zlib.error, tarfile.TarError) as error:
            raise DatasetError(
                f"{local} is not the archive of film reviews: {error}. "
                "Replace or remove it, or point KD_DATA_DIR elsewhere."
            ) from error
    return RawData(train[0], train[1], 1.0, *test, tokens=reviews.TOKENS)


def built_in_at_hand() -> list[str]:
    """Return the built-in datasets that can be had without a download."""
    folder = os.environ.get("KD_DATA_DIR")
    files = {name: f"{name}.npz" for name in DATASETS} | {"imdb": reviews.ARCHIVE}
    local = [name for name, file in files.items() if folder and (Path(folder) / file).exists()]
    return list(dict.fromkeys((*EMBEDDED, *local)))


def _images(name: str) -> RawData:
    folder = os.environ.get("KD_DATA_DIR")
    local = Path(folder) / f"{name}.npz" if folder else None
    arrays = _read_npz(local) if local is not None and local.exists() else fetch(name)
    (train_inputs, train_labels), (test_inputs, test_labels) = arrays
    if train_inputs.ndim == 3:
        train_inputs, test_inputs = train_inputs[..., np.newaxis], test_inputs[..., np.newaxis]
    return RawData(
        train_inputs, train_labels.reshape(-1), 1 / 255, test_inputs, test_labels.reshape(-1)
    )


def _read_npz(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f"{path} is not a dataset of arrays x_train, y_train, x_test, y_test: {error}. "
            "Replace or remove it, or point KD_DATA_DIR elsewhere."
        ) from error


def _take(inputs: NDArray, labels: NDArray, rows: NDArray) -> Split:
    return Split(inputs[rows], labels[rows].astype(np.int32), rows)
