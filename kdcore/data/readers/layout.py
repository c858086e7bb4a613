"""Which folders are parts of a dataset and which are classes, told from the paths of its images."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from kdcore.tasks.report import Unlabelled

WORDS = {
    **dict.fromkeys(("train", "training", "trn", "labeled", "labelled"), "train"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "heldout"), "test"),
    **dict.fromkeys(
        ("val", "valid", "validation", "validate", "dev", "eval", "evaluation"), "validation"
    ),
}
# What people put beside such a word: seg_train, training_set, train-images.
BESIDE = {"seg", "set", "data", "dataset", "images", "image", "imgs", "img", "split", "part"}
UNLABELLED = {"unlabeled", "unlabelled", "unsup", "unsupervised"}
LEFT_OUT = "left out (unlabelled test takes them in without a label)"
FOLDERS_NAMED = 4


def part_of(folder: str) -> str | None:
    """Return the part that a folder's name stands for: train, test, validation; None for others.

    Numbers do not matter: Kaggle's test1 is a test part.
    """
    words = [word for word in re.split(r"[\W_\d]+", folder.lower()) if word]
    parts = [WORDS[word] for word in words if word in WORDS]
    rest = [word for word in words if word not in WORDS]
    return parts[0] if len(parts) == 1 and set(rest) <= BESIDE else None


class Place(NamedTuple):
    """Where an image belongs: a part ("all" where there are none), and its class."""

    part: str
    label: str


@dataclass
class Layout:
    """The place of each path that is used, those without a class, what was left out, and what was
    understood in words.

    ``loose`` is a path whose class cannot be told, if there is one; ``unclear`` says in words what
    may be read in two ways, if anything.
    """

    places: dict[str, Place] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    loose: str | None = None
    unclear: str = ""


def understand(names: list[str], unlabelled: Unlabelled = "named") -> Layout:
    """Return where each image belongs, from its path with ``/`` between folders.

    ``unlabelled`` says which have no class, as :class:`~kdcore.tasks.report.DataOptions` has it.

    Known are: a folder a class; train, test and validation above the classes, by many names and
    also one in another; classes with their parts inside; folders beside the parts, which are left
    out; a folder of unlabelled images beside either, or in the train folder; a test folder without
    classes, which is left out unless it is asked for. A train folder beside others that are no
    parts, and folders that all have the same folders in them (fold1/cat, fold2/cat), are unclear.
    """
    folders = {name: name.split("/")[:-1] for name in names}
    depth = _common_depth(list(folders.values()))
    below = {name: path[depth:] for name, path in folders.items()}
    if unlabelled != "no":
        apart = {name: None for name, path in below.items() if path and is_unlabelled(path[0])}
        if 0 < len(apart) < len(names):
            found = understand([name for name in names if name not in apart], unlabelled)
            _set_apart(found, Counter(below[name][0] for name in apart))
            found.unlabelled += apart
            return found
    first = Counter(path[0] for path in below.values() if path)
    parts = {folder: part for folder in first if (part := part_of(folder))}
    if _is_divided(below, parts):
        return _divided(below, parts, unlabelled)
    if swapped := _parts_within_classes(below):
        return swapped
    found = _by_class(below, folders)
    found.unclear = _two_ways(below, parts)
    return found


def _two_ways(below: dict[str, list[str]], parts: dict[str, str]) -> str:
    """Return in words what could be parts as well as classes; empty where nothing could."""
    inside: dict[str, set[str]] = {}
    for path in below.values():
        if path:
            inside.setdefault(path[0], set()).add("/".join(path[1:2]))
    holders = sorted(folder for folder, within in inside.items() if "" not in within)
    trains = [folder for folder in holders if parts.get(folder) == "train"]
    flat = [folder for folder, within in inside.items() if within == {""}]
    if trains or (len(holders) == 1 and len(inside[holders[0]]) > 1 and flat):
        outer = (trains or holders)[0]
        within, others = sorted(inside[outer]), sorted(set(inside) - {outer})
        return f"{outer} with {_some(within)} in it, beside {_some(others)}"
    alike = {frozenset(within) for within in inside.values()}
    if len(inside) == len(holders) > 1 and len(alike) == 1 and len(inside[holders[0]]) > 1:
        return f"{_some(holders)} with {_some(sorted(inside[holders[0]]))} in each"
    return ""


def _some(folders: list[str]) -> str:
    return ", ".join(folders[:FOLDERS_NAMED]) + (", ..." if len(folders) > FOLDERS_NAMED else "")


def _common_depth(folders: list[list[str]]) -> int:
    depth = 0
    while all(len(path) > depth + 1 for path in folders) and (
        len({path[depth] for path in folders}) == 1
    ):
        depth += 1
    return depth


def _is_divided(below: dict[str, list[str]], parts: dict[str, str]) -> bool:
    """Whether the folders on top are parts: a train folder that has folders in it, and another, or
    nothing else. A class may be called train, as vehicles are: it has images in it, not folders.
    """
    inside = {
        folder: any(len(path) > 1 for path in below.values() if path and path[0] == folder)
        for folder in parts
    }
    trains = [folder for folder, part in parts.items() if part == "train" and inside[folder]]
    others = {path[0] for path in below.values() if path and not is_unlabelled(path[0])}
    others -= set(parts)
    return bool(trains) and (len(set(parts.values())) > 1 or not others)


def is_unlabelled(folder: str) -> bool:
    """Return whether a folder's name says that what is in it has no label."""
    words = {word for word in re.split(r"[\W_\d]+", folder.lower()) if word}
    return bool(words & UNLABELLED) and words - UNLABELLED <= BESIDE


def _set_apart(found: Layout, folders: Counter[str]) -> None:
    for folder, count in folders.items():
        found.notes.append(f"The folder {folder} has {count:,} files without a class.")


def _divided(below: dict[str, list[str]], parts: dict[str, str], unlabelled: Unlabelled) -> Layout:
    found = Layout()
    outside, apart, without = Counter[str](), Counter[str](), Counter[str]()
    for name, path in below.items():
        if not path or path[0] not in parts:
            outside[path[0] if path else "the top"] += 1
            found.left_out.append(name)
            continue
        part, rest = parts[path[0]], path[1:]
        while rest and part_of(rest[0]) == part and len(rest) > 1:  # training_set/training_set/cat
            rest = rest[1:]
        if rest and part_of(rest[0]) == part and part != "train":
            rest = []  # test/test/1.png
        named = bool(rest) and unlabelled != "no" and is_unlabelled(rest[0])
        if named and part == "train":
            apart[f"{path[0]}/{rest[0]}"] += 1
            found.unlabelled.append(name)
        elif rest and not named:
            found.places[name] = Place(part, rest[0])
        elif part == "train":
            found.loose = found.loose or name
        elif unlabelled == "test":
            apart[path[0]] += 1
            found.unlabelled.append(name)
        else:
            without[path[0]] += 1
            found.left_out.append(name)
    _set_apart(found, apart)
    for folder, count in outside.items():
        found.notes.append(
            f"The folder {folder} lies beside the parts and was left out ({count:,} images)."
        )
    for folder, count in without.items():
        found.notes.append(
            f"The folder {folder} has {count:,} images that are in no folder of a class: {LEFT_OUT}."
        )
    return found


def _parts_within_classes(below: dict[str, list[str]]) -> Layout | None:
    """Read cat/train/1.png, where every image's second folder is a part; None where it is not."""
    seconds = {name: part_of(path[1]) if len(path) > 1 else None for name, path in below.items()}
    if (
        None in seconds.values()
        or "train" not in seconds.values()
        or len(set(seconds.values())) < 2
    ):
        return None
    places = {name: Place(str(seconds[name]), path[0]) for name, path in below.items()}
    return Layout(places, notes=["The parts lie within the classes' folders."])


def _by_class(below: dict[str, list[str]], folders: dict[str, list[str]]) -> Layout:
    found = Layout()
    single = all(len(path) <= 1 for path in below.values()) and (
        len({tuple(path) for path in below.values()}) == 1
    )
    for name, path in below.items():
        label = path[0] if path else (folders[name][-1] if single and folders[name] else None)
        if label is None:
            found.loose = found.loose or name
        else:
            found.places[name] = Place("all", label)
    deeper = sorted({path[1] for path in below.values() if len(path) > 1})
    if deeper:
        found.notes.append(f"Folders within a class's folder ({_some(deeper)}) count as its class.")
    return found
