"""What the readers of users' data share: limits, batches, labels as class numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdcore.errors import Words, require
from kdcore.tasks.columns import Column, Missing

MOST_BYTES = 8 * 2**30  # unpacked
MOST_BYTES_OF_A_TABLE = 2 * 2**30  # in memory
MOST_BYTES_OF_AN_IMAGE = 128 * 2**20  # as a file
MOST_PIXELS = 64_000_000
MOST_EXAMPLES = 2_000_000
MOST_CLASSES = 1000
MOST_COMPRESSION = 1000  # a member of a zip over a megabyte that is packed tighter is no image
BATCH_BYTES = 8 * 2**20
IMAGES_A_BATCH = 256

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jfif",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
)
FILE = "file"  # what examples are told by that are files
ID = "id"  # and by the ids of a source that has no other name for them
LABEL_COLUMNS = ("label", "target", "class", "y")
UNLABELLED = "unlabelled"  # the part of examples whose class is not known
NO_LABEL = -1


class Batch(NamedTuple):
    """Some examples: values as the source has them (images may differ in size), class numbers, and
    their names.

    ``ids`` [n] by the column that they stand in, or by "file", are what others may call the
    examples.
    """

    inputs: Sequence[NDArray] | NDArray
    labels: NDArray[np.int64]
    names: list[str]
    corrupt: list[str]
    ids: Mapping[str, Sequence[str]] = {}


class Source(Protocol):
    """A dataset as it lies on the user's disk.

    Parts are "train" and "test", or "all", which is then to be divided; and "unlabelled", last,
    whose labels are all -1. ``columns`` are those that
    the features of a table come from; gaps (NaN) in features are allowed unless ``missing`` is
    "refuse".
    """

    kind: str
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    columns: tuple[Column, ...]
    missing: Missing
    parts: dict[str, int]
    notes: list[str]
    ignored: list[str]

    def batches(self, part: str) -> Iterator[Batch]:
        """Read a part from its beginning."""
        ...


def number_labels(
    raw: dict[str, NDArray], names: list[str] | None, notes: list[str]
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Return the labels of each part as class numbers from 0, and the names of the classes.

    ``raw`` holds numbers, texts or one-hot rows; ``names`` are the classes' names where the source
    gives them: labels must then be their numbers. What is learnt on the way goes into ``notes``.
    Raises ConfigError.
    """
    flat = {
        part: _flat_labels(
            values, "labels" if part == "all" else f"{part} labels", names is not None, notes
        )
        for part, values in raw.items()
    }
    first = next(iter(flat))
    as_text = flat[first].dtype.kind == "U"
    alike = all((values.dtype.kind == "U") == as_text for values in flat.values())
    require(alike, "labels", "of one kind in all parts", Words("text and numbers"))
    if names is not None and not as_text:
        return _numbers_of_names(flat, len(names)), tuple(names)
    known = np.unique(flat[first])
    for part, values in flat.items():
        strange = np.setdiff1d(np.unique(values), known)
        require(
            not len(strange),
            f"{part} labels",
            "among the classes of the training part",
            strange[0].item() if len(strange) else None,
        )
    if not as_text and (known[0] != 0 or known[-1] != len(known) - 1):
        notes.append(
            f"Labels {', '.join(map(str, known[:12]))} are numbered 0 to {len(known) - 1} and named as they were."
        )
    return {part: np.searchsorted(known, values) for part, values in flat.items()}, tuple(
        map(str, known)
    )


def _flat_labels(values: NDArray, field: str, named: bool, notes: list[str]) -> NDArray:
    """Return the labels of a part [n] as whole numbers or texts; ``named`` says whether they must
    be the numbers of names.
    """
    if values.ndim == 2 and values.shape[1] > 1:
        values = _from_one_hot(values, field)
        notes.append("One-hot labels are read as class numbers.")
    values = values.reshape(len(values), -1)
    require(values.shape[1] == 1, field, "one class each", values.shape)
    values = values[:, 0]
    if values.dtype.kind == "f":
        values = _whole(values, field)
    require(values.dtype.kind in "buiUS", field, "whole numbers or text", Words(values.dtype))
    if values.dtype.kind in "US":
        values = np.char.strip(decoded(values))
        require(not np.any(values == ""), field, "filled in everywhere", Words("an empty label"))
        return values
    if values.dtype != np.uint64:  # whose largest are larger than any int64
        values = values.astype(np.int64)
    require(
        not named or int(values.min(initial=0)) >= 0,
        field,
        "class numbers from 0, since there are class_names",
        int(values.min()),
    )
    return values


def _from_one_hot(values: NDArray, field: str) -> NDArray[np.int64]:
    one_hot = values.dtype.kind in "buif" and bool(np.all((values == 0) | (values == 1)))
    require(
        one_hot and bool(np.all(values.sum(axis=1) == 1)),
        field,
        "one class each, as a number or one-hot",
        Words(values.shape),
    )
    return values.argmax(axis=1)


def _whole(values: NDArray, field: str) -> NDArray[np.int64]:
    require(
        bool(np.all(np.isfinite(values))),
        field,
        "without NaN",
        Words(f"{int(np.sum(~np.isfinite(values)))} NaN"),
    )
    broken = values[values != np.rint(values)]
    require(
        not len(broken),
        field,
        "classes, not a quantity (whole numbers or text)",
        float(broken[0]) if len(broken) else None,
    )
    return values.astype(np.int64)


def _numbers_of_names(flat: dict[str, NDArray], classes: int) -> dict[str, NDArray[np.int64]]:
    """Return labels that are the numbers of so many classes; raises ConfigError for others."""
    for part, values in flat.items():
        require(
            int(values.max()) < classes,
            f"{part} labels",
            f"from 0 to {classes - 1}, the numbers of class_names",
            int(values.max()),
        )
    return {part: values.astype(np.int64) for part, values in flat.items()}


def are_no_labels(labels: NDArray, names: Sequence[str] | None = None) -> NDArray[np.bool_]:
    """Return which of some labels [n] say that there is none: -1 where all others are the numbers
    0 to k-1 of at least two classes, of all that have ``names`` where they have them.
    """
    if labels.ndim != 1 or labels.dtype.kind not in "if":
        return np.zeros(len(labels), bool)
    marked = labels == NO_LABEL
    others = np.unique(labels[~marked & ~np.isnan(labels)])
    classes = max(2, len(others)) if names is None else len(names)
    counted = np.array_equal(others, np.arange(classes))
    return marked if counted else np.zeros_like(marked)


def are_empty_labels(labels: NDArray) -> NDArray[np.bool_]:
    """Return which of some labels [n] are NaN or an empty text."""
    if labels.dtype.kind == "f":
        return np.isnan(labels)
    if labels.dtype.kind in "US":
        return np.char.str_len(np.char.strip(labels)) == 0
    return np.zeros(len(labels), bool)


def said_of_no_labels(count: int, what: str) -> str:
    """Say that -1 was read as no label."""
    return (
        f"{count:,} {what} have the label -1, which is read as none (if it is a class: "
        "unlabelled no)."
    )


def decoded(values: NDArray) -> NDArray[np.str_]:
    """Return labels as text; bytes are read as UTF-8, or as Latin-1 where they are not that."""
    if values.dtype.kind != "S":
        return values.astype(str)
    try:
        return np.char.decode(values, "utf-8")
    except UnicodeDecodeError:
        return np.char.decode(values, "latin-1")


def refuse_what_is_not_finite(
    values: NDArray, field: str, columns: Sequence[str] | None = None
) -> None:
    """Raise ConfigError where ``values`` [n, ...] hold NaN, infinity or what float32 cannot hold,
    and say where.
    """
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(values.astype(np.float32, copy=False))
    if bad.any():
        rule = "without NaN or infinity"
        if columns is not None:
            which = int(bad.any(axis=0).argmax())
            require(
                False,
                f"{field} {columns[which]!r}",
                rule,
                Words(f"{int(bad[:, which].sum()):,} such values"),
            )
        require(False, field, rule, Words(f"{int(bad.sum()):,} such values"))


def as_id(value: Any) -> str:
    """Return an id as text: 7, 7.0 and "007" are the same one."""
    text = str(value).strip()
    return str(int(text.partition(".")[0])) if re.fullmatch(r"\d+(\.0+)?", text) else text


def ids_in(frame: pd.DataFrame, columns: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of those ``columns`` that have another one in every row, as ids."""
    found: dict[str, list[str]] = {}
    for name in columns:
        column = frame[name]
        if column.isna().any() or pd.api.types.is_float_dtype(column):
            continue
        values = [as_id(value) for value in column]
        if len(set(values)) == len(values):
            found[str(name)] = values
    return found
