"""Classes of images that stand in a list beside them: a table of file names and classes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from kdcore.data.readers.common import are_no_labels, said_of_no_labels
from kdcore.data.readers.layout import Layout, Place
from kdcore.data.readers.tables import label_column
from kdcore.tasks.report import Unlabelled

ENDINGS = (".csv", ".tsv")
# A list names nearly all images; of one that names few, the images are not what it is about.
MOST_UNNAMED = 0.1


def labels_beside(
    read: Callable[[str], bytes],
    others: Sequence[str],
    images: Sequence[str],
    unlabelled: Unlabelled = "named",
) -> tuple[str, Layout] | None:
    """Return the list among the ``others`` that names the images, and where they belong by it; None
    where there is none.

    Names in the list may have folders and endings or not. Images that it names without a class are
    ``unlabelled``, unless nothing is to be. Raises ConfigError where it does not tell which column
    holds the classes.
    """
    for name in (each for each in others if each.lower().endswith(ENDINGS)):
        try:
            table = pd.read_csv(io.BytesIO(read(name)), dtype=str, sep=None, engine="python")
        except (ValueError, UnicodeDecodeError, pd.errors.ParserError):
            continue  # some other text: the images are then refused for what they are
        for column in table.columns:
            found = _by_name(table, str(column), images)
            if len(found) >= (1 - MOST_UNNAMED) * len(images):
                return name, _layout(table, name, str(column), found, images, unlabelled)
    return None


def _by_name(table: pd.DataFrame, column: str, images: Sequence[str]) -> dict[str, int]:
    """Return the line of each image that a column names."""
    lines = {str(value).strip(): line for line, value in enumerate(table[column])}
    found = {}
    for image in images:
        path = PurePosixPath(image)
        for known in (image, path.name, path.stem):
            if known in lines:
                found[image] = lines[known]
                break
    return found


def _layout(
    table: pd.DataFrame,
    name: str,
    column: str,
    found: dict[str, int],
    images: Sequence[str],
    unlabelled: Unlabelled,
) -> Layout:
    others = [str(each) for each in table.columns if str(each) != column]
    label = others[0] if len(others) == 1 else label_column(others)
    places, empty, marked = {}, [], []
    numbers = pd.to_numeric(table[label], errors="coerce").to_numpy(np.float64)
    only_numbers = bool(np.array_equal(np.isnan(numbers), table[label].isna()))
    says_none = are_no_labels(numbers) & (only_numbers and unlabelled != "no")
    for image, line in found.items():
        value = table[label].iloc[line]
        if says_none[line]:
            marked.append(image)
        elif isinstance(value, str) and value.strip():
            places[image] = Place("all", value.strip())
        elif unlabelled != "no":
            empty.append(image)
    used = {*places, *empty, *marked}
    left_out = [image for image in images if image not in used]
    notes = [f"Classes are read from {name}: column {label!r}, by the names in {column!r}."]
    if marked:
        notes.append(said_of_no_labels(len(marked), "images"))
    if empty:
        notes.append(f"{len(empty):,} images have an empty class in {name}.")
    if left_out:
        notes.append(f"Without a class there, and left out: {len(left_out):,} images.")
    return Layout(places, [*empty, *marked], left_out, notes)
