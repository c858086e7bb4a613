"""Texts with a class each: a column of a table, or a file each in folders named by their class."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdcore.data.readers.common import (
    MOST_EXAMPLES,
    NO_LABEL,
    UNLABELLED,
    Batch,
    ids_in,
    number_labels,
)
from kdcore.data.readers.folders import FilesInFolders
from kdcore.data.readers.layout import LEFT_OUT
from kdcore.data.readers.tables import classes_of, have_labels, label_column, shown_columns
from kdcore.errors import KDLabError, Words, require
from kdcore.tasks.columns import Column, Missing
from kdcore.tasks.report import DataOptions, Unlabelled
from kdcore.tasks.text import as_bytes

TEXT_SUFFIXES = (".txt",)
SPLIT_COLUMNS = ("split", "set", "part", "subset")
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# A column whose texts are mostly different ones holds texts, not categories.
LEAST_DIFFERENT = 0.5
TEXTS_A_BATCH = 2048


def text_column(frame: pd.DataFrame, options: DataOptions) -> str | None:
    """Return the column of a table that holds texts to learn: the one that was named, or the only
    column of different texts where nothing else in the table could be a feature.

    None for a table of features. Raises ConfigError for a name that is no column.
    """
    columns = [str(name).strip() for name in frame.columns]
    if options.text_column is not None:
        rule = f"one of {shown_columns(columns)}"
        require(options.text_column in columns, "text column", rule, options.text_column)
        return options.text_column
    try:
        label = label_column(columns, options.label)
    except KDLabError:  # it is asked about when the table is read
        return None
    frame = frame.set_axis(columns, axis=1)
    rest = [
        name for name in columns if name not in (label, *options.drop) and not _parts(frame, name)
    ]
    texts = [name for name in rest if _holds_texts(frame[name])]
    others = [name for name in rest if name not in texts and not _numbers_rows(frame[name])]
    return texts[0] if len(texts) == 1 and not others else None


def _holds_texts(column: pd.Series) -> bool:
    known = column.dropna()
    if pd.api.types.is_numeric_dtype(column) or not len(known):
        return False
    words = known.astype(str)
    numbers = pd.to_numeric(words, errors="coerce").notna().mean()
    return bool(numbers < LEAST_DIFFERENT and words.nunique() > LEAST_DIFFERENT * len(words))


def _numbers_rows(column: pd.Series) -> bool:
    return bool(column.is_unique and pd.api.types.is_integer_dtype(column))


def _parts(frame: pd.DataFrame, name: str) -> bool:
    """Return whether a column says which part each row belongs to."""
    if name.lower() not in SPLIT_COLUMNS:
        return False
    values = frame[name].dropna().astype(str).str.strip().str.lower()
    return len(values) == len(frame) and set(values) <= set(PARTS)


class TextTable:
    """A table with a column of texts and one of classes.

    A column called "split" may say which part a row belongs to.
    """

    kind: str = "text"
    feature_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    missing: Missing = "refuse"

    def __init__(self, frame: pd.DataFrame, texts: str, options: DataOptions) -> None:
        self.notes: list[str] = list(frame.attrs.get("notes", []))
        frame = frame.rename(columns=lambda name: str(name).strip())
        require(len(frame) <= MOST_EXAMPLES, "table", f"at most {MOST_EXAMPLES:,} rows", len(frame))
        label = label_column(list(frame.columns), options.label)
        rule = "another column than that of the classes"
        require(label != texts, "text column", rule, texts)
        split = next((name for name in frame.columns if _parts(frame, name)), None)
        self.ignored = [name for name in frame.columns if name not in (label, texts, split)]
        self.notes.append(
            f"Texts are read from the column {texts!r}, classes from the column {label!r}."
        )
        known = have_labels(frame[label], options.unlabelled, self.notes)
        rows, apart = self._rows(frame, split, known, options.unlabelled)
        raw = {part: classes_of(frame[label].iloc[chosen]) for part, chosen in rows.items()}
        self._labels, self.class_names = number_labels(raw, None, self.notes)
        if len(apart):
            rows[UNLABELLED] = apart
            self._labels[UNLABELLED] = np.full(len(apart), NO_LABEL, np.int64)
        self._rows_of = rows
        self._texts = frame[texts]
        self._ids = ids_in(frame, self.ignored)
        self.parts = {part: len(chosen) for part, chosen in rows.items()}

    def _rows(
        self,
        frame: pd.DataFrame,
        split: str | None,
        known: NDArray[np.bool_],
        unlabelled: Unlabelled,
    ) -> tuple[dict[str, NDArray[np.intp]], NDArray[np.intp]]:
        """Return which rows belong to each part, "train" and "test", or "all", and which ones have
        no label and are used.
        """
        if split is None:
            return {"all": np.flatnonzero(known)}, np.flatnonzero(~known)
        named = frame[split].astype(str).str.strip().str.lower().map(PARTS).to_numpy()
        found = set(named[known])
        require(
            "train" in found, "parts", "some rows for training", Words(", ".join(sorted(found)))
        )
        held = "test" if "test" in found else "validation"
        self.notes.append(
            f"The column {split!r} says which rows are for training and which for test."
        )
        untold = ~known & (named == "test")
        if untold.any() and unlabelled != "test":
            self.notes.append(f"{int(untold.sum()):,} rows for test have no label: {LEFT_OUT}.")
        apart = np.flatnonzero(~known & (~untold | (unlabelled == "test")))
        if held not in found:
            return {"all": np.flatnonzero(known)}, apart
        if held == "test" and "validation" in found:
            self.notes.append(
                "Rows for validation join the training part: KD Lab draws its own validation part."
            )
        elif held == "validation":
            self.notes.append("No row is for test: those for validation are used as test data.")
        test = named == held
        parts = {"train": np.flatnonzero(known & ~test), "test": np.flatnonzero(known & test)}
        return parts, apart

    def batches(self, part: str) -> Iterator[Batch]:
        """Read the rows of a part from the first; those without a text are corrupt."""
        rows, labels = self._rows_of[part], self._labels[part]
        for start in range(0, len(rows), TEXTS_A_BATCH):
            inputs, kept, names, corrupt = [], [], [], []
            ids: dict[str, list[str]] = {name: [] for name in self._ids}
            for at in range(start, min(start + TEXTS_A_BATCH, len(rows))):
                value, name = self._texts.iloc[rows[at]], f"row {rows[at] + 1}"
                if isinstance(value, bytes):  # as some programs write texts into Parquet
                    value = value.decode("utf-8", "replace")
                if pd.isna(value) or not str(value).strip():
                    corrupt.append(f"{name} (no text)")
                    continue
                inputs.append(as_bytes(str(value)))
                kept.append(labels[at])
                names.append(name)
                for column, of_rows in self._ids.items():
                    ids[column].append(of_rows[rows[at]])
            yield Batch(inputs, np.asarray(kept, np.int64), names, corrupt, ids)


# Of these a file says itself what it is.
UNSAID = ("utf-8-sig", "utf-16")


class TextFiles(FilesInFolders):
    """Files of text in folders named by their class, with train/ and test/ above them or not."""

    kind: str = "text"
    noun: ClassVar[str] = "text"
    suffixes: ClassVar[tuple[str, ...]] = TEXT_SUFFIXES

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """Return the text of a file as UTF-8; raises ValueError where there is none."""
        encoding = _encoding_of(data)
        if encoding not in UNSAID:
            said = encoding.upper().replace("CP", "Windows-")
            note = (
                f"Files that are no UTF-8 are read as {said}; save them as UTF-8 if that is wrong."
            )
            if note not in self.notes:
                self.notes.append(note)
        text = data.decode(encoding, "replace")
        if not text.strip():
            raise ValueError("no text")
        return as_bytes(text)


def _encoding_of(data: bytes) -> str:
    """Return what a file of text is written in, as far as its bytes tell."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        high = data[start::2]
        # Every second byte of most alphabets is 0 there, and none is in any other encoding.
        if len(high) > 1 and high.count(0) > len(high) // 2 > data[1 - start :: 2].count(0):
            return encoding
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"
