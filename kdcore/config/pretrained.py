"""Networks that KerasHub has pretrained, by their names there, and what names their content.

``hub-NAME`` is downloaded when a worker first builds it, unless there is a folder NAME in
``presets`` below ``KD_DATA_DIR``, as KerasHub's ``save_to_preset`` writes it. A key says which of
the two was meant: ``hub-NAME@kerashub``, or ``hub-NAME@digest`` of what is in the folder. It never
changes its meaning.

``hub-NAME-3`` is a network for texts of the same form and vocabulary with three layers, which
begins fresh: the student of a network that has more. This module is free of Keras.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from pathlib import Path

from kdcore.errors import ModelError, require

# What the names of networks for texts begin with; all others are for images.
FOR_TEXTS = ("bert", "distil_bert", "electra", "all_minilm", "bge")
HEAD, DOWNLOADED = "hub-", "kerashub"
_NAME, _DIGEST = r"[a-z0-9][a-z0-9_.]{0,79}", rf"(?:@(?:[0-9a-f]{{10}}|{DOWNLOADED}))?"
_LAYERS = "(?:-[1-9][0-9]?)?"
TEXTS = rf"hub-(?:{'|'.join(FOR_TEXTS)})_{_NAME}{_LAYERS}{_DIGEST}"
IMAGES = rf"hub-(?!(?:{'|'.join(FOR_TEXTS)})_){_NAME}{_DIGEST}"

FOLDER = "presets"
PARTS = ("config.json", "tokenizer.json", "image_converter.json")
# How many layers those have that go by these sizes (Turc 2019, arXiv:1908.08962).
BERT_SIZES = {"tiny": 2, "small": 4, "medium": 8, "base": 12, "large": 24}
# When it was saved is no part of what is in it.
NOT_CONTENT = ("metadata.json", "README.md")


def is_one(name: str) -> bool:
    """Return whether a name is that of a network of KerasHub."""
    return re.fullmatch(f"{TEXTS}|{IMAGES}", name) is not None


def called(name: str) -> str:
    """Return what KerasHub calls a network: "bert_tiny_en_uncased"."""
    return name.partition("@")[0].removeprefix(HEAD).partition("-")[0]


def whole(name: str) -> str:
    """Return the pretrained network of a name: itself, or the one whose form it has."""
    _, at, digest = name.partition("@")
    return f"{HEAD}{called(name)}{at}{digest}"


def own_layers(name: str) -> int | None:
    """Return how many layers a name asks for; None for those of the pretrained network."""
    layers = name.partition("@")[0].removeprefix(HEAD).partition("-")[2]
    return int(layers) if layers else None


def layers_of(name: str) -> int | None:
    """Return how many layers a network for texts has; None where nothing here says so."""
    if own_layers(name) is not None:
        return own_layers(name)
    if key(name).endswith(f"@{DOWNLOADED}"):
        sized = re.fullmatch(rf"bert_({'|'.join(BERT_SIZES)})_.*", called(name))
        return None if sized is None else BERT_SIZES[sized[1]]
    return _said(name, "num_layers")


def longest_text(name: str) -> int | None:
    """Return how many tokens a network for texts reads; None where nothing here says so."""
    return None if key(name).endswith(f"@{DOWNLOADED}") else _said(name, "max_sequence_length")


def _said(name: str, setting: str) -> int | None:
    """Return a number that the folder of a network says, None where it is gone or has changed."""
    folder = folder_of(name)
    if folder is None or _digest_of(folder) != key(name).partition("@")[2]:
        return None
    try:
        return int(json.loads((folder / PARTS[0]).read_text("utf-8"))["config"][setting])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # what is wrong with it is said when it is built


def begins_pretrained(name: str) -> bool:
    """Return whether a network begins with pretrained weights of KerasHub."""
    return is_one(name) and own_layers(name) is None


def start_in_words(name: str) -> str:
    """Return where the weights of a network begin, "" for one that is none of these."""
    if not is_one(name):
        return ""
    shown, layers = name.partition("@")[0], own_layers(name)
    if layers is not None:
        return f"{shown} has the form of {HEAD}{called(name)} with {layers} layers, and no pretrained weights of its own."
    return f"{shown} begins with its pretrained weights, under a new head."


def folder_of(name: str) -> Path | None:
    """Return the folder on this machine that holds a network; None where there is none."""
    data = os.environ.get("KD_DATA_DIR")
    found = Path(data) / FOLDER / called(name) if data else None
    return found if found is not None and (found / "config.json").is_file() else None


def key(name: str) -> str:
    """Return what names the content that ``name`` stands for now; a key stands for itself."""
    if "@" in name:
        return name
    folder = folder_of(name)
    return f"{name}@{DOWNLOADED if folder is None else _digest_of(folder)}"


def at_hand(pattern: str) -> list[str]:
    """Return the names of the networks on this machine that match a pattern."""
    data = os.environ.get("KD_DATA_DIR")
    folders = (Path(data) / FOLDER).glob("*/config.json") if data else ()
    names = sorted(f"hub-{each.parent.name}" for each in folders)
    return [name for name in names if re.fullmatch(pattern, name)]


def place_of(name: str) -> str:
    """Return what KerasHub loads a network from: a folder, or its name there.

    Raises ModelError for a folder that has changed or is gone since, and for one that holds code of
    others.
    """
    folder = folder_of(name)
    digest = key(name).partition("@")[2]
    if digest == DOWNLOADED:
        return called(name)
    if folder is None or _digest_of(folder) != digest:
        raise ModelError(
            f"{FOLDER}/{called(name)} in KD_DATA_DIR must hold what it held when this was set up, and "
            f"{'is not there' if folder is None else 'has changed'}: put it back, or choose the network anew"
        )
    for file in PARTS:
        if (folder / file).exists():
            _check(folder / file)
    return str(folder)


def _check(file: Path) -> None:
    """Raise ModelError where a part of a network is of other code than KerasHub's."""
    try:
        about = json.loads(file.read_text("utf-8"))
        registered = str(about.get("registered_name"))
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{file.parent.name}/{file.name} cannot be read: {error}") from error
    if not registered.startswith("keras_hub>"):
        raise ModelError(
            f"{file.parent.name}/{file.name} must be of one of KerasHub's classes, as save_to_preset writes it, "
            f"got {registered!r}"
        )


def _digest_of(folder: Path) -> str:
    """Return a digest of a folder's content; raises ConfigError for one that cannot be read."""
    try:
        files = sorted(
            path
            for path in folder.rglob("*")
            if path.is_file() and path.name not in NOT_CONTENT and not path.name.startswith(".")
        )
        state = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return _digest(folder, tuple(state))
    except OSError as error:
        require(False, f"{FOLDER}/{folder.name}", f"a folder that can be read ({error})", folder)
        raise AssertionError("unreachable") from error


@functools.lru_cache(maxsize=64)
def _digest(folder: Path, state: tuple[tuple[str, int, int], ...]) -> str:
    found = hashlib.sha256()
    for path, _, _ in state:
        found.update(str(Path(path).relative_to(folder)).encode())
        with open(path, "rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:10]
