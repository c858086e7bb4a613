"""What the examples in the arrays of a ``.npz`` are called: ids, ids_train, filenames_test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kdcore.data.readers.common import FILE, ID, as_id, decoded
from kdcore.errors import Words, require

# What such arrays are called.
ROLES = {
    **dict.fromkeys(("id", "ids"), ID),
    **dict.fromkeys(("file", "files", "filename", "filenames"), FILE),
}


def read_ids(
    parts: Sequence[tuple[str, int]],
    named: Mapping[tuple[str, str], str],
    read: Callable[[str], NDArray],
    notes: list[str],
) -> list[dict[str, list[str]]]:
    """Return what the examples of several arrays are called, for each array its ids by "id" or
    "file".

    Only what names all of them, each in another way, is an id; what is not goes into ``notes``.

    Args:
        parts: the part that each array of inputs is of, and its number of examples.
        named: the array of ids, by the part and by "id" or "file".
        read: returns an array by its name.
        notes: what is said about the arrays.

    Raises ConfigError for ids that are not as many as the examples, or not whole numbers or text.
    """
    found: list[dict[str, list[str]]] = [{} for _ in parts]
    for role in (ID, FILE):
        arrays = [named[part, role] for part, _ in parts if (part, role) in named]
        if not arrays:
            continue
        if len(arrays) < len(parts):
            notes.append(f"The array {arrays[0]} is not read: other examples have no such ids.")
            continue
        ids = [
            _checked(name, read(name), count)
            for name, (_, count) in zip(arrays, parts, strict=True)
        ]
        doubled = sum(map(len, ids)) - len(set().union(*ids))
        if doubled:
            notes.append(f"The array {arrays[0]} is not read: {doubled:,} ids stand there twice.")
            continue
        for of_array, values in zip(found, ids, strict=True):
            of_array[role] = values
    return found


def _checked(name: str, values: NDArray, count: int) -> list[str]:
    rule = f"one id for each of the {count:,} examples"
    require(values.shape in ((count,), (count, 1)), name, rule, values.shape)
    require(values.dtype.kind in "iuUS", name, "whole numbers or text", Words(values.dtype))
    if values.dtype.kind == "S":
        values = decoded(values)
    return [as_id(value) for value in np.ravel(values)]
