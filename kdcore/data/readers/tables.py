"""Tables with a column of classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kdcore.data.readers.common import (
    BATCH_BYTES,
    LABEL_COLUMNS,
    MOST_BYTES_OF_A_TABLE,
    MOST_EXAMPLES,
    NO_LABEL,
    UNLABELLED,
    Batch,
    are_no_labels,
    ids_in,
    number_labels,
    refuse_what_is_not_finite,
    said_of_no_labels,
)
from kdcore.data.readers.delimited import read_delimited
from kdcore.errors import ConfigError, Problem, Words, require
from kdcore.tasks.columns import (
    MISSING_WAYS,
    MISSING_WORDS,
    Column,
    Missing,
    columns_of,
    encode,
)
from kdcore.tasks.report import DEFAULTS, DataOptions, Unlabelled
from kdcore.tasks.table import MOST_FEATURES
from kdcore.words import first_line, in_bytes


def read_table(path: Path) -> pd.DataFrame:
    """Read a ``.csv``, ``.jsonl`` or ``.parquet``.

    Raises ConfigError for what is neither, or too large for memory.
    """
    most = in_bytes(MOST_BYTES_OF_A_TABLE)
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet

            about = pyarrow.parquet.read_metadata(path)
            size = max(
                about.num_rows * about.num_columns * 8,
                sum(
                    about.row_group(group).total_byte_size for group in range(about.num_row_groups)
                ),
            )
            require(
                size <= MOST_BYTES_OF_A_TABLE,
                "table",
                f"at most {most} in memory",
                Words(in_bytes(size)),
            )
            return pd.read_parquet(path)
        require(
            path.stat().st_size <= MOST_BYTES_OF_A_TABLE,
            "table",
            f"at most {most}",
            Words(in_bytes(path.stat().st_size)),
        )
        if path.suffix.lower() == ".jsonl":
            return pd.read_json(path, lines=True)
        return read_delimited(path)
    except (
        ValueError,
        OSError,
        pd.errors.ParserError,
    ) as error:  # also UnicodeDecodeError, EmptyDataError, ArrowInvalid
        require(False, "file", f"a readable table ({first_line(error)})", path.name)
        raise AssertionError("unreachable") from None


# Words for a missing value, as pandas knows them; in a column of classes they are names.
MISSING = (
    "NA",
    "N/A",
    "n/a",
    "NaN",
    "nan",
    "-NaN",
    "-nan",
    "NULL",
    "null",
    "None",
    "<NA>",
    "#N/A",
    "?",
)
# In text, NA and None may well be categories.
MISSING_IN_TEXT = tuple(word for word in MISSING if word not in ("NA", "None"))
# In a table of fewer rows a measurement may well differ in each.
LEAST_ROWS_TO_TELL = 10
# A number as people write it: 1,234.50, 12 %, $5; with a decimal comma 1.234,50.
SIGNS = r"[€$£¥]"

ROWS_PEEKED = 200
ROWS_SHOWN = 6


def peek(path: Path) -> dict[str, Any]:
    """Return what the first rows of a table show, as plain values: ``columns``, their ``kinds``
    ("numbers" or "text"), some ``rows`` as text, and the column of classes where it is told by its
    name (else None).

    Raises ConfigError as reading it all does.
    """
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet

            with pyarrow.parquet.ParquetFile(path) as file:
                frame = next(file.iter_batches(ROWS_PEEKED)).to_pandas()
        elif path.suffix.lower() == ".jsonl":
            frame = pd.read_json(path, lines=True, nrows=ROWS_PEEKED)
        else:
            frame = read_delimited(path, ROWS_PEEKED)
    except (ValueError, OSError, StopIteration, pd.errors.ParserError) as error:
        require(False, "file", f"a readable table ({first_line(error)})", path.name)
    frame = _tidy(frame, [])
    columns = [str(name) for name in frame.columns]
    try:
        label = label_column(columns)
    except ConfigError:  # it is asked for
        label = None
    kinds = ["numbers" if pd.api.types.is_numeric_dtype(frame[name]) else "text" for name in frame]
    rows = [
        ["" if pd.isna(cell) else str(cell) for cell in row]
        for row in frame.head(ROWS_SHOWN).values
    ]
    return {"columns": columns, "kinds": kinds, "rows": rows, "label": label}


@dataclass
class Table:
    """A table of numbers and text with one column of classes."""

    frame: pd.DataFrame
    options: DataOptions = DEFAULTS
    notes: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    kind: str = "table"

    def __post_init__(self) -> None:
        self.notes += self.frame.attrs.get("notes", [])
        frame = _tidy(self.frame, self.notes)
        decimal, signs = frame.attrs.get("decimal", "."), frame.attrs["signs"]
        columns = list(frame.columns)
        self._refuse_impossible(frame)
        self.label = label = label_column(columns, self.options.label)
        for name in (*self.options.keep, *self.options.drop):
            require(name in columns, "column", f"one of {shown_columns(columns)}", name)
        self._known = have_labels(frame[label], self.options.unlabelled, self.notes)
        column, whole = classes_of(frame[label][self._known]), frame
        frame = frame.drop(columns=[name for name in self.options.drop if name != label])
        frame = self._without_leaks(frame, column)
        features = self._without_texts(frame.drop(columns=label))
        require(len(features.columns) > 0, "features", "at least one column of numbers", 0)
        if unsaid := [*self._texts_unsaid(features), *self._gaps_unsaid(features)]:
            raise ConfigError(*unsaid)
        others = [name for name in columns if name != label and name not in features.columns]
        self._ids = ids_in(whole, others)
        self.columns = columns_of(features, self.options.missing, decimal, signs)
        gaps = any(column.missing for column in self.columns)
        self.missing: Missing = self.options.missing if gaps else "refuse"
        self.feature_names = tuple(name for column in self.columns for name in column.features)
        most = f"at most {MOST_FEATURES:,}"
        require(len(self.feature_names) <= MOST_FEATURES, "features", most, len(self.feature_names))
        values = encode(features, self.columns)
        self._values = values if _loses_digits(values) else values.astype(np.float32)
        labels, self.class_names = number_labels({"all": column}, None, self.notes)
        self._labels = np.full(len(frame), NO_LABEL, np.int64)
        self._labels[self._known] = labels["all"]
        self.parts = {"all": len(column)}
        if len(column) < len(frame):
            self.parts[UNLABELLED] = len(frame) - len(column)
        self.notes.append(
            f"Classes are read from the column {label!r}, features from the other "
            f"{len(self.columns)}."
        )
        self.notes += _how_it_was_encoded(features, self.columns, self.missing)
        del self.frame

    def _refuse_impossible(self, frame: pd.DataFrame) -> None:
        columns = list(frame.columns)
        require(
            len(frame) > 0 and len(columns) > 1,
            "table",
            "rows of at least one feature and a label",
            frame.shape,
        )
        different = len(set(columns)) == len(columns)
        require(different, "columns", "each of its own name", Words(shown_columns(columns)))
        for count, most, what in (
            (len(frame), MOST_EXAMPLES, "rows"),
            (len(columns), MOST_FEATURES, "columns"),
        ):
            require(count <= most, "table", f"at most {most:,} {what}", Words(f"{count:,}"))

    def _without_texts(self, features: pd.DataFrame) -> pd.DataFrame:
        """Leave out columns of text where that is asked for."""
        texts = [name for name in features if not pd.api.types.is_numeric_dtype(features[name])]
        for name in texts:
            features[name] = features[name].mask(features[name].isin(MISSING_IN_TEXT))
        if texts and self.options.text == "leave out":
            self.notes.append(f"Columns of text are left out: {shown_columns(texts)}.")
            return features.drop(columns=texts)
        return features

    def _texts_unsaid(self, features: pd.DataFrame) -> Iterator[Problem]:
        """Ask what becomes of text where nothing is said of it."""
        texts = [name for name in features if not pd.api.types.is_numeric_dtype(features[name])]
        if texts and self.options.text == "refuse":
            rule = "numbers, unless text is encode (a feature for each category) or leave out"
            yield Problem("column", rule, Words(f"text in {shown_columns(texts)}"))

    def _gaps_unsaid(self, features: pd.DataFrame) -> Iterator[Problem]:
        """Refuse infinite numbers, and ask about missing values where nothing is said of them."""
        for name in features:
            if pd.api.types.is_numeric_dtype(features[name]):
                values = features[name].to_numpy(np.float64, na_value=np.nan)
                refuse_what_is_not_finite(values[~np.isnan(values)], f"column {name!r}")
        counts = {str(name): int(features[name].isna().sum()) for name in features}
        gaps = {name: count for name, count in counts.items() if count}
        if gaps and self.options.missing == "refuse":
            rule = f"without missing values, unless missing is {', '.join(MISSING_WAYS[1:])}"
            named = "; ".join(f"{count:,} in {name}" for name, count in list(gaps.items())[:5])
            yield Problem("column", rule, Words(named))

    def _without_leaks(self, frame: pd.DataFrame, labels: NDArray) -> pd.DataFrame:
        """Leave out columns that number or name the rows, or hold the answer a second time.

        A measurement, a column of numbers that are not all whole, never is one.
        """
        assert self.label is not None
        gone: list[str] = []
        if len(frame) < LEAST_ROWS_TO_TELL:
            return frame
        for name in frame.columns:
            if name == self.label or name in self.options.keep:
                continue
            column = frame[name]
            if not _is_whole_or_text(column) or column.isna().any():
                continue
            different = column.nunique()
            if different == len(column):
                gone.append(name)
                written = not pd.api.types.is_numeric_dtype(column)
                texts = ", or named as the texts to learn (text column)" if written else ""
                self.notes.append(
                    f"The column {name!r} has another value in every row, as row numbers and names "
                    f"have: left out, unless it is kept{texts}."
                )
            elif different > 1 and _says_the_same(column[self._known], labels):
                gone.append(name)
                self.notes.append(
                    f"The column {name!r} holds the answer a second time: left out, unless it is "
                    "kept."
                )
        self.ignored += gone
        return frame.drop(columns=gone)

    def batches(self, part: str) -> Iterator[Batch]:
        """Read the rows of a part from the first."""
        chosen = np.flatnonzero(self._known != (part == UNLABELLED))
        step = max(1, BATCH_BYTES // (4 * len(self.feature_names)))
        for start in range(0, len(chosen), step):
            rows = chosen[start : start + step]
            names = [f"row {row + 1}" for row in rows]
            ids = {name: [all_of[row] for row in rows] for name, all_of in self._ids.items()}
            yield Batch(self._values[rows], self._labels[rows], names, [], ids)


def label_column(columns: list[str], asked: str | None = None) -> str:
    """Return the column of classes: the one that was named, or the only one called so.

    Raises ConfigError where there is none, or more than one.
    """
    found = [name for name in columns if name.lower() in LABEL_COLUMNS]
    rule = f"the name of the column that holds the classes, one of {shown_columns(columns)}"
    if asked is None and len(found) > 1:
        several = Words(f"none, and {', '.join(found)} could be it")
        require(False, "label", rule, several)
    label = asked.strip() if asked is not None else next(iter(found), None)
    require(label in columns, "label", rule, Words("none") if label is None else label)
    assert label is not None
    return label


def _how_it_was_encoded(
    features: pd.DataFrame, columns: Sequence[Column], missing: Missing
) -> list[str]:
    notes = []
    texts = [f"{column.name} ({len(column.categories)})" for column in columns if column.categories]
    if texts:
        notes.append(f"Text is encoded, a feature for each category: {shown_columns(texts)}.")
    gaps = [
        f"{column.name} ({int(features[column.name].isna().sum()):,})"
        for column in columns
        if column.missing
    ]
    if gaps:
        notes.append(f"Missing values in {shown_columns(gaps)}: {MISSING_WORDS[missing]}.")
    return notes


def _tidy(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Return the table with trimmed names and texts, missing values as such, without empty columns
    and without a first column that only counts the rows.

    Its attribute ``signs`` names columns whose numbers were written with signs.
    """
    decimal = frame.attrs.get("decimal", ".")
    frame = frame.rename(columns=lambda name: str(name).strip())
    empty = [
        name for name in frame.columns if name.startswith("Unnamed: ") and frame[name].isna().all()
    ]
    if empty:
        frame = frame.drop(columns=empty)
        notes.append("Empty columns without a name, from separators at the line's end: left out.")
    first = frame.columns[0] if len(frame.columns) else ""
    if first.startswith("Unnamed: "):
        values = pd.to_numeric(frame[first], errors="coerce").to_numpy()
        counted = np.arange(len(frame))
        if np.array_equal(values, counted) or np.array_equal(values, counted + 1):
            frame = frame.drop(columns=first)
            notes.append("The first column has no name and only counts the rows: left out.")
        else:
            frame = frame.rename(columns={first: "column 1"})
            notes.append("The first column has no name: it is called column 1.")
    signs = []
    for name in frame.columns:
        if pd.api.types.is_numeric_dtype(frame[name]):
            continue
        texts = frame[name].map(lambda value: value.strip() if isinstance(value, str) else value)
        numbers = _numbers(texts)
        if numbers is None:
            numbers = _numbers(_undecorated(texts, decimal))
            if numbers is not None:
                signs.append(name)
                first = numbers.first_valid_index()
                notes.append(
                    f"Numbers of the column {name!r} are read without their signs for thousands, "
                    f"percent or money: {texts[first]!r} is {numbers[first]:g}."
                )
        frame[name] = texts if numbers is None else numbers
    frame.attrs["signs"] = signs
    return frame


def _numbers(texts: pd.Series) -> pd.Series | None:
    """Return a column of texts as numbers; None where a text is neither that nor missing."""
    numbers = pd.to_numeric(texts.mask(texts.isin(MISSING)), errors="coerce")
    only_numbers = numbers.notna() | texts.isna() | texts.isin(MISSING)
    return numbers if only_numbers.all() and numbers.notna().any() else None


def _undecorated(texts: pd.Series, decimal: str) -> pd.Series:
    """Return numbers with signs for thousands, percent or money as plain ones; other texts as they
    are.
    """
    thousands = "." if decimal == "," else ","
    number = (
        rf"[-+]?(?:\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})+|\d+)(?:{re.escape(decimal)}\d+)?"
    )
    whole = re.compile(rf"(?:{SIGNS}\s*)?({number})(?:\s*(?:%|{SIGNS}))?")

    def plain(text: Any) -> Any:
        found = whole.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            return text
        return found[1].replace(thousands, "").replace(decimal, ".")

    return texts.map(plain)


def have_labels(column: pd.Series, unlabelled: Unlabelled, notes: list[str]) -> NDArray[np.bool_]:
    """Return which rows of a column of classes have one: not those that are empty, nor -1 where the
    others are 0 to k-1. How many have none goes into ``notes``.

    Raises ConfigError where no row has one.
    """
    empty = (column.isna() | column.map(_is_blank)).to_numpy(bool)
    if unlabelled == "no":
        return np.ones(len(column), bool)
    rule = "filled in for some of the rows"
    require(not empty.all(), "label", rule, Words(f"none of {len(column):,} rows"))
    known = ~empty
    if pd.api.types.is_numeric_dtype(column):
        known[known] = ~are_no_labels(column[known].to_numpy())
    if empty.any():
        notes.append(f"{int(empty.sum()):,} rows have an empty label.")
    if marked := int((~known & ~empty).sum()):
        notes.append(said_of_no_labels(marked, "rows"))
    return known


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def classes_of(column: pd.Series) -> NDArray:
    """Return a column of classes as numbers or texts; raises ConfigError where one is missing."""
    missing = int(column.isna().sum())
    require(not missing, "label", "filled in everywhere", Words(f"{missing:,} rows without one"))
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.to_numpy()
    return column.astype(str).to_numpy(dtype=str)


def _is_whole_or_text(column: pd.Series) -> bool:
    if not pd.api.types.is_numeric_dtype(column):
        return True
    values = column.to_numpy(np.float64, na_value=np.nan)
    return bool(np.all(values == np.rint(values)))


def _says_the_same(column: pd.Series, labels: NDArray) -> bool:
    """Whether a column and the labels map one to one onto each other."""
    pairs = pd.DataFrame({"column": column.to_numpy(), "label": labels}).drop_duplicates()
    return pairs["column"].is_unique and pairs["label"].is_unique


def _loses_digits(values: NDArray[np.float64]) -> bool:
    """Whether float32 rounds a column by more than a thousandth of its spread."""
    known = np.where(np.isnan(values), 0.0, values)
    spread = known.std(axis=0, where=~np.isnan(values))
    rounded = np.abs(known - known.astype(np.float32)).max(axis=0)
    return bool(np.any(rounded > 1e-3 * spread))


def shown_columns(columns: list[str]) -> str:
    """Name columns in a refusal, the first dozen."""
    return ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
