"""Arrays of a ``.npz``, read some rows at a time and never unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdcore.data.readers import array_ids
from kdcore.data.readers.common import (
    BATCH_BYTES,
    MOST_BYTES,
    MOST_EXAMPLES,
    NO_LABEL,
    UNLABELLED,
    Batch,
    are_empty_labels,
    are_no_labels,
    number_labels,
    said_of_no_labels,
)
from kdcore.data.readers.layout import LEFT_OUT
from kdcore.errors import Words, require
from kdcore.tasks import task_of_shape
from kdcore.tasks.columns import Column, Missing
from kdcore.tasks.report import DEFAULTS, DataOptions
from kdcore.words import in_bytes


@dataclass(frozen=True)
class _Member:
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool


# What arrays are called: x_train and y_train, train_images and train_labels, data and target.
ROLES = {
    **dict.fromkeys(("x", "images", "image", "data", "inputs", "features"), "x"),
    **dict.fromkeys(("y", "labels", "label", "targets", "target"), "y"),
    **array_ids.ROLES,
}
# Beside these, others of the same meaning do not matter.
CANONICAL = {"x", "y", "x_train", "y_train", "x_test", "y_test"}
PARTS = {
    "all": ("",),
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
    UNLABELLED: ("unlabelled", "unlabeled", "unsup", "unsupervised"),
}


def _role(name: str) -> tuple[str, str] | None:
    """Return of which part an array is and whether it holds inputs, labels or ids, by its name."""
    words = name.lower().split("_")
    roles = [ROLES[word] for word in words if word in ROLES]
    rest = "_".join(word for word in words if word not in ROLES)
    parts = [part for part, known in PARTS.items() if rest in known]
    return (parts[0], roles[0]) if len(roles) == len(parts) == 1 else None


def _part_of(name: str) -> str:
    """Return of which part an array is that has a role."""
    role = _role(name)
    assert role is not None, "arrays without a role are not read"
    return role[0]


class NamedArrays:
    """A ``.npz`` of x_train, y_train, x_test, y_test, or of x, y; optionally class_names,
    x_unlabelled, and ids or filenames of each part.
    """

    feature_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()

    def __init__(self, path: Path, options: DataOptions = DEFAULTS) -> None:
        self.path = path
        self.notes: list[str] = []
        self.ignored: list[str] = []
        self._way = options.unlabelled
        members = self._members()
        pairs, apart = self._pairs(members)
        used = {name for several in pairs.values() for pair in several for name in pair}
        used |= {*apart, *self._named.values()}
        self.ignored = [name for name in members if name not in {*used, "class_names"}]
        for several in pairs.values():
            for x, y in several:
                _check_pair(members[x], members[y])
        self._inputs = {part: [members[x] for x, _ in several] for part, several in pairs.items()}
        self._apart = [members[name] for name in apart if members[name].shape[:1] != (0,)]
        examples = [member for several in self._inputs.values() for member in several]
        examples += self._apart
        first = examples[0].shape[1:]
        for member in examples:
            require(
                member.shape[1:] == first,
                member.name,
                f"of the same shape as the others, {first}",
                member.shape[1:],
            )
            numeric = member.dtype.kind in "buif"
            require(numeric, member.name, "of numbers", Words(member.dtype))
        self._task = task_of_shape(first)
        self.kind = self._task.name
        self._task.refuse_shape(examples[0].name, first)
        self.feature_names = self._task.feature_names(first)
        self.missing: Missing = "refuse" if self._task.pictures else options.missing
        flags = self.missing != "own category"
        require(flags, "missing", "median, most frequent or refuse for arrays", self.missing)
        raw = {
            part: _in_one([self._read(members[y]) for _, y in several])
            for part, several in pairs.items()
        }
        given = self._read(members["class_names"]) if "class_names" in members else None
        names = None if given is None else [str(name) for name in given.reshape(-1)]
        without = self._without_labels(raw, names)
        if self._way == "test" and "test" in raw and without["test"].all():
            self._apart += self._inputs.pop("test")
            self._inputs["all"] = self._inputs.pop("train")
            raw, without = {"all": raw["train"]}, {"all": without["train"]}
            self.notes.append("There are no test labels: a test part is drawn.")
        known = {part: labels[~without[part]] for part, labels in raw.items()}
        numbered, self.class_names = number_labels(known, names, self.notes)
        self._labels = {}
        for part, labels in numbered.items():
            self._labels[part] = np.full(len(raw[part]), NO_LABEL, np.int64)
            self._labels[part][~without[part]] = labels
        self._ids = self._read_ids(members)
        self.parts = {part: len(labels) for part, labels in known.items()}
        unlabelled = sum(member.shape[0] for member in self._apart)
        unlabelled += sum(int(without[part].sum()) for part in self._with_unlabelled)
        if unlabelled:
            self.parts[UNLABELLED] = unlabelled

    @property
    def _with_unlabelled(self) -> list[str]:
        """The parts whose examples without a label are used."""
        return [part for part in self._inputs if part != "test" or self._way == "test"]

    def _without_labels(
        self, raw: dict[str, NDArray], names: list[str] | None
    ) -> dict[str, NDArray[np.bool_]]:
        """Return which examples of each part have no label, and say so; raises ConfigError where a
        part would have none left.
        """
        found = {part: np.zeros(len(labels), bool) for part, labels in raw.items()}
        if self._way == "no":
            return found
        flat = {part: labels.reshape(len(labels), -1) for part, labels in raw.items()}
        first = next(iter(flat.values()))[:, 0]
        counted = bool(are_no_labels(np.append(first, NO_LABEL), names).any())
        for part, labels in flat.items():
            if labels.shape[1] != 1:  # one-hot
                continue
            empty = are_empty_labels(labels[:, 0])
            marked = labels[:, 0] == NO_LABEL if counted else np.zeros_like(empty)
            found[part] = empty | marked
            self._say_of_no_labels(part, empty, marked)
        return found

    def _say_of_no_labels(
        self, part: str, empty: NDArray[np.bool_], marked: NDArray[np.bool_]
    ) -> None:
        """Say which examples of a part are read as without a label: labels that are ``empty``, and
        those ``marked`` by -1; raises ConfigError where all are.
        """
        rule = "classes for some of the examples"
        if part == "test":
            rule += ", or taken in without labels (unlabelled test)"
        some = not (empty | marked).all() or (part == "test" and self._way == "test")
        received = "-1 for all of them" if marked.any() else "none for any of them"
        require(some, f"{part} labels", rule, Words(received))
        used = part in self._with_unlabelled
        if count := int(empty.sum()):
            left_out = "" if used else f": {LEFT_OUT}"
            self.notes.append(f"{count:,} {part} labels are empty or NaN{left_out}.")
        if not (count := int(marked.sum())):
            return
        if used:
            self.notes.append(said_of_no_labels(count, "examples"))
        else:
            self.notes.append(
                f"{count:,} test examples have the label -1, which is read as none: {LEFT_OUT}."
            )

    def _read_ids(self, members: Mapping[str, _Member]) -> dict[str, dict[str, list[str]]]:
        """Return what the examples of each array of inputs are called, by "id" or "file"."""
        test = self._inputs.get("test", [])
        first = [
            each for part, several in self._inputs.items() if part != "test" for each in several
        ]
        found = {}
        for arrays in ([*first, *self._apart], test):
            parts = [(_part_of(each.name), each.shape[0]) for each in arrays]
            ids = array_ids.read_ids(
                parts, self._named, lambda name: self._read(members[name]), self.notes
            )
            found.update({each.name: of_array for each, of_array in zip(arrays, ids, strict=True)})
        return found

    def _pairs(
        self, members: Mapping[str, _Member]
    ) -> tuple[dict[str, list[tuple[str, str]]], list[str]]:
        """Return the names of the arrays of inputs and labels, by part, and of inputs without
        labels; raises ConfigError where none, or several, could be meant.
        """
        found: dict[tuple[str, str], list[str]] = {}
        for name in members:
            role = _role(name)
            if role is not None and found.get(role, [""])[0] not in CANONICAL:
                named = [] if name in CANONICAL else found.get(role, [])
                found[role] = [*named, name]
        self._named = {
            role: found.pop(role)[0] for role in list(found) if role[1] in array_ids.ROLES.values()
        }
        apart = found.pop((UNLABELLED, "x"), [])
        if unread := found.pop((UNLABELLED, "y"), []):
            self.notes.append(
                f"The array {unread[0]} is not read: it is for examples without labels."
            )
        if self._way == "no":
            apart = []
        if self._way == "test" and ("test", "y") not in found:
            apart = [*apart, *found.pop(("test", "x"), [])]
        rule = "arrays x_train, y_train, x_test, y_test, or x, y"
        received = Words(", ".join(members) or "no arrays")
        once = all(len(names) == 1 for names in found.values())
        parts = [part for part in PARTS if (part, "x") in found and (part, "y") in found]
        lonely = {part for part, _ in found} - set(parts)
        divided = "train" in parts
        known = divided if len(parts) > 1 or "all" not in parts else bool(parts)
        require(once and known and not lonely, "file", rule, received)
        pairs = {part: (found[part, "x"][0], found[part, "y"][0]) for part in parts}
        return self._joined(pairs), apart

    def _joined(self, pairs: dict[str, tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
        """Return which arrays make up the training and the test part, or all."""
        if "train" not in pairs:
            return {"all": [pairs["all"]]}
        if pairs.keys() == {"train"}:
            self.notes.append("There are no arrays for a test: a test part is drawn.")
            return {"all": [pairs["train"]]}
        if "test" not in pairs:
            self.notes.append("There are no test arrays: the validation arrays are the test data.")
            return {"train": [pairs["train"]], "test": [pairs["validation"]]}
        train = [pairs["train"]]
        if "validation" in pairs:
            train.append(pairs["validation"])
            self.notes.append(
                "The validation arrays join the training part: KD Lab draws its own validation "
                "part."
            )
        return {"train": train, "test": [pairs["test"]]}

    def batches(self, part: str) -> Iterator[Batch]:
        """Read a part from its beginning."""
        if part != UNLABELLED:
            yield from self._chosen(part, self._labels[part] != NO_LABEL)
            return
        for other in self._with_unlabelled:
            yield from self._chosen(other, self._labels[other] == NO_LABEL)
        for member in self._apart:
            for start, rows in self._rows(member):
                here = start + np.arange(len(rows))
                names = [f"{member.name}[{at}]" for at in here]
                labels = np.full(len(rows), NO_LABEL, np.int64)
                yield Batch(self._task.as_read(rows), labels, names, [], self._called(member, here))

    def _chosen(self, part: str, chosen: NDArray[np.bool_]) -> Iterator[Batch]:
        """Read some examples of the arrays of a part."""
        labels, before = self._labels[part], 0
        if not chosen.any():
            return
        for member in self._inputs[part]:
            for start, rows in self._rows(member):
                at = before + start
                here = np.flatnonzero(chosen[at : at + len(rows)])
                if len(here) < len(rows):
                    rows = rows[here]
                names = [f"{member.name}[{start + each}]" for each in here]
                called = self._called(member, start + here)
                yield Batch(self._task.as_read(rows), labels[at + here], names, [], called)
            before += member.shape[0]

    def _called(self, member: _Member, rows: NDArray[np.int64]) -> dict[str, list[str]]:
        """Return what some rows of an array are called."""
        return {role: [ids[at] for at in rows] for role, ids in self._ids[member.name].items()}

    def _members(self) -> dict[str, _Member]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                total = sum(info.file_size for info in archive.infolist())
                require(
                    total <= MOST_BYTES,
                    "file",
                    f"at most {in_bytes(MOST_BYTES)} unpacked",
                    Words(in_bytes(total)),
                )
                found = {}
                for info in archive.infolist():
                    if info.filename.endswith(".npy"):
                        with archive.open(info) as file:
                            member = _read_header(info.filename[:-4], file)
                        said = math.prod(member.shape) * member.dtype.itemsize
                        rule = "as long as its header says"
                        require(
                            said <= info.file_size,
                            member.name,
                            rule,
                            Words(f"{info.file_size:,} of {said:,} bytes"),
                        )
                        found[member.name] = member
                return found
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
            require(False, "file", f"a readable .npz ({error})", self.path.name)
            raise AssertionError("unreachable") from None

    def _read(self, member: _Member) -> NDArray:
        return np.concatenate([rows for _, rows in self._rows(member)])

    def _rows(self, member: _Member) -> Iterator[tuple[int, NDArray]]:
        """Read an array some megabytes at a time."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{member.name}.npy") as file:
                _read_header(member.name, file)
                if (
                    member.fortran
                ):  # stored column by column: there are no rows to read one after the other
                    whole = np.frombuffer(file.read(), member.dtype).reshape(
                        member.shape, order="F"
                    )
                    yield 0, whole
                    return
                row_bytes = math.prod(member.shape[1:]) * member.dtype.itemsize
                step = max(1, BATCH_BYTES // max(1, row_bytes))
                for start in range(0, member.shape[0], step):
                    count = min(step, member.shape[0] - start)
                    data = file.read(count * row_bytes)
                    require(
                        len(data) == count * row_bytes,
                        member.name,
                        "as long as its header says",
                        Words(f"{len(data):,} bytes"),
                    )
                    yield start, np.frombuffer(data, member.dtype).reshape(count, *member.shape[1:])
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            require(False, member.name, f"readable ({error})", self.path.name)


def _check_pair(inputs: _Member, labels: _Member) -> None:
    """Raise ConfigError for inputs that are none, or too many, or not as many as labels."""
    shape, of_labels = inputs.shape, labels.shape
    filled = len(shape) >= 2 and shape[0] > 0
    require(filled, inputs.name, "an array [examples, ...] that is not empty", shape)
    require(
        of_labels[:1] == shape[:1],
        labels.name,
        f"one label for each of the {shape[0]:,} examples of {inputs.name}",
        of_labels,
    )
    most = f"at most {MOST_EXAMPLES:,} examples"
    require(shape[0] <= MOST_EXAMPLES, inputs.name, most, Words(f"{shape[0]:,}"))


def _in_one(labels: list[NDArray]) -> NDArray:
    """Return the labels of several arrays as those of one; raises ConfigError where their shapes
    differ.
    """
    shapes = {each.shape[1:] for each in labels}
    require(
        len(shapes) == 1, "labels", "of one shape in all arrays", Words(f"{len(shapes)} shapes")
    )
    return np.concatenate(labels)


def _read_header(name: str, file: Any) -> _Member:
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(file)
    except ValueError as error:
        require(False, name, f"a NumPy array ({error})", Words("something else"))
    require(
        not dtype.hasobject,
        name,
        "an array of numbers; pickled objects are never opened",
        Words(f"dtype {dtype}"),
    )
    return _Member(name, shape, dtype, fortran)
