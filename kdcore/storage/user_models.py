"""Users' own models in the store, as ``.keras`` files.

A file is checked here without opening it as a model: its architecture is JSON inside a zip, and
only layers of Keras itself are let through. It is loaded in a worker, in safe mode, and nowhere
else.
"""

from __future__ import annotations

import io
import json
import math
import re
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from kdcore.config.cards import DatasetCard, ModelCard
from kdcore.config.catalog import own_model
from kdcore.config.families import is_built_in
from kdcore.config.sources import USER_NAME
from kdcore.errors import StoreError, Words, require, with_mend
from kdcore.storage import user_data
from kdcore.storage.artifacts import ArtifactStore
from kdcore.storage.jobs import new_id
from kdcore.storage.schema import Run, UserModel
from kdcore.tasks.vocabulary import Vocabulary
from kdcore.words import in_bytes

LARGEST_MODEL_BYTES = 500 * 10**6
LARGEST_ARCHITECTURE_BYTES = 50 * 10**6
FILES = {
    ".keras": "keras",
    ".onnx": "onnx",
    ".csv": "answers",
    ".parquet": "answers",
    ".npz": "answers",
}
# What people also bring, and what to do with it.
MENDS = {
    **dict.fromkeys(
        (".h5", ".hdf5"), "load it with Keras and save it with model.save('name.keras')"
    ),
    **dict.fromkeys(
        (".pt", ".pth", ".safetensors"), "torch.onnx.export writes an .onnx of the model"
    ),
    **dict.fromkeys(
        (".pkl", ".joblib"), "nothing is unpickled here; skl2onnx writes an .onnx of it"
    ),
    **dict.fromkeys((".tflite", ".pb"), "bring the .keras file that it was made of"),
    **dict.fromkeys((".zip", ".tsv", ".txt"), "a dataset is brought under Data, or by data add"),
}
MOST_LOOKS = 3  # datasets that a new model is looked at on, unless one is named
INPUTS = (
    "auto",
    "0 to 1",
    "0 to 255",
    "-1 to 1",
    "standardised",
    "as in the file",
    "as they are",
)


def find(store: ArtifactStore, name: str) -> UserModel | None:
    """Return a version by its key, removed or not, or the latest version of a bare name that is not
    removed.
    """
    return user_data.find(store, name, UserModel)


def latest(store: ArtifactStore) -> list[UserModel]:
    """Return the latest version of every name, by name."""
    return user_data.latest(store, UserModel)


def to_card(row: UserModel) -> ModelCard:
    """Return what the catalog needs to know of a version."""
    known = {field.name for field in fields(ModelCard)}
    lists: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row.card.items()
    }
    return ModelCard(**{name: value for name, value in lists.items() if name in known})


def card_to_json(card: ModelCard) -> dict[str, Any]:
    """Return a card as what a row holds."""
    return asdict(card)


def remember_functions(store: ArtifactStore, *names: str) -> None:
    """Note the registered functions among ``names``, so that processes without them still know what
    was trained.
    """
    for name in names:
        card = own_model(name)
        if card is not None and card.kind == "function" and find(store, card.key) is None:
            digest = card.key.partition("@")[2]
            row = UserModel(
                key=card.key,
                name=card.title,
                digest=digest,
                card=card_to_json(card),
                manifest={},
                size=0,
                created_at=time.time(),
                removed_at=None,
            )
            with store.writing() as session:
                session.merge(row)


def payload_of_run(store: ArtifactStore, run: Run, name: str) -> dict[str, Any]:
    """Return the payload of a job that takes in a model that was trained here as NAME, so that it
    can teach: a student as well as a teacher.

    It sees what it saw in training. Raises StoreError where its weights are not kept.
    """
    check_name(name)
    data = store.artifact(f"model/{run.id}")
    if data is None:
        raise StoreError(f"the {run.role} {run.id} has no trained model to teach with")
    return {
        "upload": user_data.put_upload(store, new_id(), io.BytesIO(data)),
        "file_name": f"{run.id}.keras",
        "name": name,
        "inputs": "as they are",
        "inputs_known": "as in its training",
        "vocabulary": _vocabulary_of(store, run),
        "divided_by": [
            run.config["split_seed"],
            run.config["training_examples"],
            run.config.get("vocabulary", ""),
        ],
        "dataset": run.config["dataset"],
    }


def _vocabulary_of(store: ArtifactStore, run: Run) -> str:
    """Return the digest of the vocabulary that a run was trained with; nothing without texts."""
    data = store.artifact(f"examples/{run.summary.get('dataset')}/vocabulary")
    return "" if data is None else Vocabulary(data.decode()).digest


def check_name(name: str) -> str:
    """Return ``name``, which must do for a user's model; raises ConfigError."""
    rule = "lower-case letters, digits, _ . or -, at most 40, beginning with a letter or digit"
    require(bool(re.fullmatch(USER_NAME, name)), "name", rule, name)
    require(not is_built_in(name), "name", "other than those of the built-in models", name)
    return name


def file_format(name: str) -> str | None:
    """Return the format of a model's file by its name, None for an unknown one."""
    return FILES.get(Path(name).suffix.lower())


def check_file_name(name: str) -> None:
    """Raise ConfigError for the name of a file that holds no model, with what to do instead."""
    received = with_mend(name, MENDS.get(Path(name).suffix.lower()))
    require(file_format(name) is not None, "file", f"one of {', '.join(FILES)}", received)


def check_file(path: Path, called: str = "") -> None:
    """Check a model's file without loading it; ``called`` is its name for the user, where that is
    another. An ONNX file is looked into where it is loaded.

    Raises ConfigError for what is none, too large, or not Keras alone.
    """
    require(path.is_file(), "path", "a file that exists", str(path))
    called = called or path.name
    check_file_name(called)
    size = path.stat().st_size
    require(
        size <= LARGEST_MODEL_BYTES,
        "file",
        f"at most {in_bytes(LARGEST_MODEL_BYTES)}",
        Words(in_bytes(size)),
    )
    if file_format(called) != "keras":
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
            most = 2 * LARGEST_MODEL_BYTES
            require(
                unpacked <= most,
                "file",
                f"at most {in_bytes(most)} unpacked",
                Words(in_bytes(unpacked)),
            )
            about = archive.getinfo("config.json")
            small = about.file_size <= LARGEST_ARCHITECTURE_BYTES
            require(
                small,
                "architecture",
                f"at most {in_bytes(LARGEST_ARCHITECTURE_BYTES)}",
                Words(in_bytes(about.file_size)),
            )
            architecture = json.loads(archive.read(about))
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError, OSError):
        require(
            False,
            "file",
            "a .keras file, as model.save('name.keras') writes it",
            called or path.name,
        )
    for part in _objects(architecture):
        name, module = str(part.get("class_name")), part.get("module")
        require(
            name != "Lambda" and name != "__lambda__",
            "layer",
            "without Python code: a Lambda layer runs whatever is in the file",
            Words("a Lambda layer"),
        )
        of_keras = (
            module is None or module in ("builtins", "keras") or str(module).startswith("keras.")
        )
        registered = str(part.get("registered_name") or "")
        # KerasHub belongs to what is installed: its transformers are among the built-in networks.
        of_hub = str(module).startswith("keras_hub.") and registered == f"keras_hub>{name}"
        foreign = not of_hub and (not of_keras or ">" in registered)
        require(
            not foreign,
            "layer",
            "of Keras itself or KerasHub, not a class of your own (export the model with Keras' own layers)",
            name,
        )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Walk through all serialised objects of an architecture."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def fits(card: ModelCard, data: DatasetCard) -> bool:
    """Return whether a model takes a dataset's examples as they are and has as many classes."""
    wanted, shape = card.input_shape or (), data.input_shape
    if card.classes != len(data.class_names):
        return False
    if len(wanted) == 1:
        return wanted[0] == math.prod(shape)
    if len(wanted) == 2 and shape[2:] == (1,):
        shape = shape[:2]
    return len(wanted) == len(shape) and all(
        side in (None, other) for side, other in zip(wanted, shape, strict=True)
    )


def inputs_of_data(card: ModelCard, shape: tuple[int, ...]) -> tuple[str, str]:
    """Return the range of values that a model is given of data with examples of ``shape``, and how
    that is known.

    A model of a table that does something to its features before it learns is given them in their
    own units: ranges of pixels mean nothing there.
    """
    if len(shape) == 1 and card.inputs_known.startswith("told"):
        return "as in the file", card.inputs_known
    if len(shape) == 1 and card.format == "onnx" and card.inputs_known.startswith("assumed"):
        return "as in the file", card.inputs_known  # as scikit-learn and others were fitted
    return card.inputs, card.inputs_known


def values_in_words(card: ModelCard) -> str:
    """Say what values a model that was added is given, and how that is known.

    One of flat inputs may meet a table, or images that are laid flat.
    """
    flat = len(card.input_shape or ()) == 1
    of_tables, _ = inputs_of_data(card, (1,))
    if flat and of_tables != card.inputs:
        return f"tables {of_tables}, images {card.inputs} ({card.inputs_known})"
    return f"values {card.inputs} ({card.inputs_known})"


def suggest_name(file_name: str) -> str:
    """Return a name for a model that may be used, made of its file's."""
    stem = re.sub(r"[^a-z0-9_.-]+", "-", Path(file_name).stem.lower()).strip("-._")[:40] or "model"
    return f"my-{stem}"[:40] if is_built_in(stem) else stem


def fit_in_words(card: ModelCard, data: DatasetCard, inputs: str = "checked") -> str:
    """Say what is put around a model so that it fits a dataset: what it sees, and what is done with
    its answer.

    ``inputs`` is the range that an experiment asks for, where it asks for one.
    """
    if inputs in INPUTS:
        card = replace(card, inputs=inputs, inputs_known="as this experiment says")
    if card.kind == "function":
        return "Built by your function for this data."
    if card.format == "answers":
        return f"A file of answers: {card.output}."
    parts = []
    given, known = inputs_of_data(card, data.input_shape)
    wanted = card.input_shape or ()
    if len(wanted) in (2, 3) and len(data.input_shape) == 3:
        height, width, channels = (*wanted, 1)[:3]
        if height is not None and width is not None and (height, width) != data.input_shape[:2]:
            parts.append(
                f"images are resized from {data.input_shape[0]} × {data.input_shape[1]} to {height} × {width}"
            )
        if channels is not None and channels != data.input_shape[2]:
            parts.append(
                "grey is repeated as colour" if channels == 3 else "colour is turned to grey"
            )
    elif len(wanted) == 1 and len(data.input_shape) == 3:
        parts.append("images are flattened")
    if given != "as they are":
        parts.append(f"it sees values {given} ({known})")
    words = "; ".join([*parts, card.output])
    return f"{words[:1].upper()}{words[1:]}."
