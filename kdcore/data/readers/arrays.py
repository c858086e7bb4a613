"""Arrays of a ``.npz``, read some rows at a time and never unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdcore.data.readers.common import (
    BATCH_BYTES,
    MOST_BYTES,
    MOST_EXAMPLES,
    Batch,
    number_labels,
)
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


class NamedArrays:
    """A ``.npz`` of x_train, y_train, x_test, y_test, or of x, y; optionally class_names."""

    feature_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()

    def __init__(self, path: Path, options: DataOptions = DEFAULTS) -> None:
        self.path = path
        self.notes: list[str] = []
        self.ignored: list[str] = []
        members = self._members()
        divided = "x_train" in members or "x_test" in members
        wanted: tuple[str, ...] = (
            ("x_train", "y_train", "x_test", "y_test") if divided else ("x", "y")
        )
        missing = [name for name in wanted if name not in members]
        rule = "arrays x_train, y_train, x_test, y_test, or x, y"
        require(not missing, "file", rule, Words(", ".join(members) or "no arrays"))
        self.ignored = [name for name in members if name not in (*wanted, "class_names")]
        pairs = {"train": wanted[:2], "test": wanted[2:]} if divided else {"all": wanted}
        self._inputs = {part: members[pair[0]] for part, pair in pairs.items()}
        for part, (x, y) in pairs.items():
            shape, of_labels = self._inputs[part].shape, members[y].shape
            require(
                len(shape) >= 2 and shape[0] > 0,
                x,
                "an array [examples, ...] that is not empty",
                shape,
            )
            require(
                of_labels[:1] == shape[:1],
                y,
                f"one label for each of the {shape[0]:,} examples of {x}",
                of_labels,
            )
            require(
                shape[0] <= MOST_EXAMPLES,
                x,
                f"at most {MOST_EXAMPLES:,} examples",
                Words(f"{shape[0]:,}"),
            )
        first = next(iter(self._inputs.values())).shape[1:]
        for part, member in self._inputs.items():
            require(
                member.shape[1:] == first,
                f"x_{part}",
                f"of the same shape as the others, {first}",
                member.shape[1:],
            )
            numeric = member.dtype.kind in "buif"
            require(numeric, member.name, "of numbers", Words(member.dtype))
        self._task = task_of_shape(first)
        self.kind = self._task.name
        self._task.refuse_shape(next(iter(self._inputs.values())).name, first)
        self.feature_names = self._task.feature_names(first)
        self.missing: Missing = "refuse" if self._task.pictures else options.missing
        flags = self.missing != "own category"
        require(flags, "missing", "median, most frequent or refuse for arrays", self.missing)
        raw = {part: self._read(members[pair[1]]) for part, pair in pairs.items()}
        given = self._read(members["class_names"]) if "class_names" in members else None
        names = None if given is None else [str(name) for name in given.reshape(-1)]
        self._labels, self.class_names = number_labels(raw, names, self.notes)
        self.parts = {part: member.shape[0] for part, member in self._inputs.items()}

    def batches(self, part: str) -> Iterator[Batch]:
        """Read a part from its beginning."""
        member, labels = self._inputs[part], self._labels[part]
        array_name = member.name
        for start, rows in self._rows(member):
            rows = self._task.as_read(rows)
            names = [f"{array_name}[{start + at}]" for at in range(len(rows))]
            yield Batch(rows, labels[start : start + len(rows)], names, [])

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
